//! An answer while it passes, and what is read of it once its caller has left.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::tee::Tee;
use super::{Begun, Ended, Ending, Recording};
use crate::panics;

/// Longest time for which the rest of an answer is read for its price alone.
const REST_TIME: Duration = Duration::from_secs(5);
/// Most bytes that are read for it.
const REST_BYTES: usize = 64 << 20;
/// Answers that are read so at a time. Beyond it, what they cost is estimated.
static RESTS: Semaphore = Semaphore::const_new(1_024);

/// An answer while it passes.
pub(super) struct Live {
    pub(super) upstream: Begun,
    pub(super) tee: Tee,
    pub(super) recording: Recording,
    /// Its status is that of a success.
    pub(super) is_success: bool,
}

impl Live {
    /// Meters a piece and returns what the caller gets of it.
    pub(super) fn pass(&mut self, piece: Bytes) -> Bytes {
        let had_output = self.tee.has_output();
        panics::point("meter");
        let out = self.tee.pass(piece);
        let says = !had_output && self.tee.has_output();
        let elapsed = self.recording.elapsed_ms();
        let sent = out.len() as u64;
        self.recording.note(|entry| {
            entry.response_bytes += sent;
            if says {
                entry.first_token_ms = Some(elapsed);
            }
        });
        out
    }

    /// What was held back when the stream ended in the middle of an event.
    pub(super) fn rest(&mut self) -> Option<Bytes> {
        let rest = self.tee.rest();
        let sent = rest.as_ref().map_or(0, Bytes::len) as u64;
        self.recording.note(|entry| entry.response_bytes += sent);
        rest
    }

    /// Makes the record.
    pub(super) fn end(mut self, ending: Ending) {
        self.record(|_, _| ending);
    }

    /// Makes the record of an answer that came to its own end.
    pub(super) fn finish(mut self) {
        let is_success = self.is_success;
        self.record(|failure, entry| match failure {
            Some(words) => Ending::ProviderFailed(words),
            None if !is_success => {
                Ending::ProviderFailed(format!("the provider answered {}", entry.status))
            }
            None if entry.is_silent => {
                Ending::ProviderFailed("the provider's response is empty".to_owned())
            }
            None => Ending::Complete,
        });
    }

    fn record(&mut self, ending: impl FnOnce(Option<String>, Seen) -> Ending) {
        let taken = panics::caught_now("a meter", || self.tee.finish()).unwrap_or_default();
        let mut seen = Seen::default();
        self.recording.note(|entry| {
            seen = Seen {
                status: entry.status,
                is_silent: entry.status == 200 && taken.length == 0,
            };
        });
        // Only what costs something is expected to say something.
        seen.is_silent &= self.recording.quote().is_some();
        let ending = ending(taken.reading.failure.clone(), seen);
        self.recording.end(Ended {
            reading: taken.reading,
            body: taken.body,
            raw: taken.raw,
            truncated: taken.truncated,
            length: taken.length,
            ..Ended::new(ending)
        });
    }

    /// The caller has left. What the model has yet to write is cancelled; what it has written is
    /// read to its end, because the count stands there.
    pub(super) fn abandon(self) {
        let has_events = self.tee.has_events();
        let is_written = self.is_success && (!has_events || self.tee.is_complete());
        let ending = if has_events && is_written {
            Ending::Complete
        } else {
            Ending::ClientLeft
        };
        let is_counted = has_events && self.tee.is_counted();
        if !is_written || is_counted || std::thread::panicking() {
            return self.end(ending);
        }
        match (tokio::runtime::Handle::try_current(), RESTS.try_acquire()) {
            (Ok(runtime), Ok(permit)) => {
                runtime.spawn(async move {
                    let _permit = permit;
                    self.read_on(ending).await;
                });
            }
            _ => self.end(ending),
        }
    }

    async fn read_on(mut self, ending: Ending) {
        let until = Instant::now() + REST_TIME;
        let mut left = REST_BYTES;
        while let Ok(Some(Ok(frame))) = timeout_at(until, self.upstream.frame()).await {
            let Ok(data) = frame.into_data() else {
                continue;
            };
            let Some(after) = left.checked_sub(data.len()) else {
                break;
            };
            left = after;
            let passed = panics::caught_now("a meter", || self.tee.pass(data));
            if passed.is_none() || Pin::new(&self.upstream).is_end_stream() {
                break;
            }
        }
        self.end(ending);
    }
}

/// What is known of an answer at its end.
#[derive(Clone, Copy, Default)]
struct Seen {
    status: u16,
    /// It is empty, though something was to be written.
    is_silent: bool,
}
