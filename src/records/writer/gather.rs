//! How a group comes together: until it is full, something waits for it, or its first record has waited for
//! long enough.

use std::sync::mpsc::{RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use super::room::held_max;
use super::{GROUP, GROUP_BYTES, Writer};

/// How long a group is gathered, from its first record on, unless something waits for it: records then
/// share a sync and the pages that all of them touch. What is gathered is lost when the process is killed.
pub(super) const GATHER: Duration = Duration::from_millis(8);

/// What the writer does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Writes the group, and what waits for it.
    Write,
    /// Something that waits for no group.
    Besides,
    /// Nothing comes any more.
    End,
}

impl Writer {
    /// Takes what comes, until a group is complete or something else is to be done.
    pub(super) fn gather(&mut self) -> Next {
        loop {
            let has_ended = self.take_all();
            let now = Instant::now();
            let besides = self.purge_at.min(self.fold_at.unwrap_or(self.purge_at));
            if self.group.is_empty() && self.flushes.is_empty() && self.work.is_empty() {
                if besides <= now {
                    return Next::Besides;
                }
                if has_ended {
                    return Next::End;
                }
                match self.messages.recv_timeout(besides - now) {
                    Ok(message) => self.take(message),
                    Err(RecvTimeoutError::Timeout) => return Next::Besides,
                    Err(RecvTimeoutError::Disconnected) => return Next::End,
                }
                continue;
            }
            let due = *self.gathered_at.get_or_insert(now + GATHER);
            if has_ended || self.is_urgent() || due <= now {
                return Next::Write;
            }
            if besides <= now {
                return Next::Besides;
            }
            // Woken by everything but records.
            std::thread::park_timeout(due.min(besides) - now);
        }
    }

    /// Takes what is there, as far as it belongs into the group. Whether nothing can come any more.
    fn take_all(&mut self) -> bool {
        while !self.is_urgent() {
            match self.messages.try_recv() {
                Ok(message) => self.take(message),
                Err(TryRecvError::Empty) => return false,
                Err(TryRecvError::Disconnected) => return true,
            }
        }
        // What is there still is for the next group.
        false
    }

    /// Whether the group takes no more: it is full, something waits for it, or it was tried. Its row may be
    /// there already then, so it stays as it was packed.
    fn is_urgent(&self) -> bool {
        self.is_again
            || self.group.len() >= GROUP
            || self.group_bytes >= GROUP_BYTES.min(held_max() / 8)
            || !self.flushes.is_empty()
            || !self.work.is_empty()
            || !self.purges.is_empty()
    }
}
