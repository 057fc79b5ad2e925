//! An answer while it passes, and what is read of it once its caller has left.

use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;
use memchr::memmem;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use super::Begun;
use super::tee::Tee;
use crate::base::clock::within;
use crate::base::panics;
use crate::exchange::draft::Draft;
use crate::exchange::ending::{Ended, Ending};
use crate::wire::Mask;

/// Longest time for which the rest of an answer is read for its price alone.
pub const REST_TIME: Duration = Duration::from_secs(5);
/// Most bytes that are read for it.
pub const REST_BYTES: usize = 64 << 20;
/// Answers that are read so at a time. Beyond it, what they cost is estimated.
const MOST_RESTS: u32 = 1_024;
static RESTS: Semaphore = Semaphore::const_new(MOST_RESTS as usize);

/// Room to read the rest of an answer for its count alone, if there is any.
pub fn rest() -> Option<SemaphorePermit<'static>> {
    RESTS.try_acquire().ok()
}

/// Waits until no answer is read for its count alone, so that their records are made.
pub async fn rests_ended() {
    let all = RESTS.acquire_many(MOST_RESTS);
    if within(REST_TIME * 2, all).await.is_err() {
        tracing::warn!("responses were still read for their counts");
    }
}

/// An answer while it passes.
pub(super) struct Live {
    pub(super) upstream: Begun,
    pub(super) tee: Tee,
    pub(super) draft: Draft,
    /// Its status is that of a success.
    pub(super) is_success: bool,
    /// Hides credentials in an error that a successful response reports.
    pub(super) mask: Option<Box<Mask>>,
    /// Something in a response that is no stream may be an error.
    pub(super) may_fail: bool,
    /// All of it has come.
    pub(super) is_whole: bool,
}

impl Live {
    /// Meters a piece and returns what the caller gets of it.
    pub(super) fn pass(&mut self, piece: Bytes) -> Bytes {
        let had_output = self.tee.has_output();
        panics::point("meter");
        let out = self.tee.pass(piece);
        let out = self.masked(out);
        let says = !had_output && self.tee.has_output();
        let elapsed = self.draft.elapsed_ms();
        let sent = out.len() as u64;
        self.draft.note(|entry| {
            entry.response_bytes += sent;
            if says {
                entry.first_token_ms = Some(elapsed);
            }
        });
        out
    }

    /// What passes of an error, without the credentials that it quotes. Most responses are none, and
    /// pass as they are.
    fn masked(&mut self, out: Bytes) -> Bytes {
        let Some(mask) = &mut self.mask else {
            return out;
        };
        if self.tee.has_events() {
            return if self.tee.has_failed() {
                mask.whole(out)
            } else {
                out
            };
        }
        self.may_fail |= memmem::find(&out, b"rror").is_some();
        if !self.may_fail {
            return out;
        }
        let passed = mask.pass(out);
        if self.upstream.is_end_stream() {
            return [passed, mask.rest()].concat().into();
        }
        passed
    }

    /// What was held back when the stream ended in the middle of an event.
    pub(super) fn rest(&mut self) -> Option<Bytes> {
        let rest = self.tee.rest().map(|rest| self.masked(rest));
        let rest = match &mut self.mask {
            Some(mask) if self.may_fail => {
                let rest = [rest.unwrap_or_default(), mask.rest()].concat();
                (!rest.is_empty()).then(|| rest.into())
            }
            _ => rest,
        };
        let sent = rest.as_ref().map_or(0, Bytes::len) as u64;
        self.draft.note(|entry| entry.response_bytes += sent);
        rest
    }

    /// Makes the record. An error that the provider has reported is how it ended, whatever came after.
    pub(super) fn end(mut self, ending: Ending) {
        self.record(|failure, seen| match (ending, failure) {
            (ending @ (Ending::Revoked(_) | Ending::Panicked(_)), _) => ending,
            (_, Some(words)) => Ending::ProviderFailed(words),
            (_, None) if seen.is_foreign => Ending::ProviderFailed(seen.foreign()),
            (ending, None) => ending,
        });
    }

    /// Makes the record of an answer that came to its own end.
    pub(super) fn finish(mut self) {
        let is_success = self.is_success;
        self.is_whole = true;
        self.record(|failure, entry| match failure {
            Some(words) => Ending::ProviderFailed(words),
            None if !is_success => {
                Ending::ProviderFailed(format!("the provider answered {}", entry.status))
            }
            None if entry.is_silent => {
                Ending::ProviderFailed("the provider's response is empty".to_owned())
            }
            None if entry.is_foreign => Ending::ProviderFailed(entry.foreign()),
            None => Ending::Complete,
        });
    }

    fn record(&mut self, ending: impl FnOnce(Option<String>, Seen) -> Ending) {
        let taken = panics::caught_now("a meter", || self.tee.finish());
        let mut taken = taken.unwrap_or_default();
        if let (Some(mask), Some(words)) = (&self.mask, &mut taken.reading.failure) {
            let hidden = mask.whole(Bytes::from(std::mem::take(words)));
            *words = String::from_utf8_lossy(&hidden).into_owned();
            taken.body = mask.whole(taken.body);
            taken.raw = taken.raw.map(|raw| mask.whole(raw));
        }
        let is_foreign = self.is_whole && taken.reading.is_foreign && taken.length > 0;
        let mut seen = Seen::default();
        self.draft.note(|entry| {
            seen = Seen {
                status: entry.status,
                format: entry.api.clone(),
                is_foreign: is_foreign && (200..300).contains(&entry.status),
                is_silent: (200..300).contains(&entry.status)
                    && entry.status != 204
                    && entry.status != 205
                    && taken.length == 0,
            };
        });
        // Only what costs something is expected to say something.
        seen.is_silent &= self.draft.is_billed();
        seen.is_foreign &= self.draft.is_billed();
        let ending = ending(taken.reading.failure.clone(), seen);
        self.draft.end(Ended {
            reading: taken.reading,
            body: taken.body,
            raw: taken.raw,
            truncated: taken.truncated,
            length: taken.length,
            ..Ended::new(ending)
        });
    }

    /// The caller has left. What the model has yet to write is cancelled; what it has written is
    /// read to its end, because the count stands there. Where an item of the output has just ended,
    /// nobody knows which of the two it is: reasoning that nobody sees counts at the end too.
    pub(super) fn abandon(self) {
        // A status that tells of an error says all.
        if !self.is_success {
            return self.finish();
        }
        let has_events = self.tee.is_stream();
        let is_complete = self.tee.is_complete();
        let is_written = !has_events || is_complete || self.tee.is_closing();
        let ending = if has_events && is_complete {
            Ending::Complete
        } else {
            Ending::ClientLeft
        };
        let is_counted = has_events && is_complete && self.tee.is_counted();
        if !is_written || is_counted || std::thread::panicking() {
            return self.end(ending);
        }
        match (tokio::runtime::Handle::try_current(), rest()) {
            (Ok(runtime), Some(permit)) => {
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
        loop {
            let frame = match timeout_at(until, self.upstream.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(None) => {
                    self.tee.end();
                    self.is_whole = true;
                    break;
                }
                Ok(Some(Err(_))) | Err(_) => break,
            };
            let Ok(data) = frame.into_data() else {
                continue;
            };
            let Some(after) = left.checked_sub(data.len()) else {
                break;
            };
            left = after;
            let passed = panics::caught_now("a meter", || self.tee.pass(data));
            if self.upstream.is_end_stream() {
                self.tee.end();
                self.is_whole = true;
                break;
            }
            if self.tee.is_stream() && self.tee.is_complete() && self.tee.is_counted() {
                break;
            }
            if passed.is_none() {
                break;
            }
        }
        self.end(ending);
    }
}

/// What is known of an answer at its end.
#[derive(Clone, Default)]
struct Seen {
    status: u16,
    format: String,
    /// It is whole, and no response of the format.
    is_foreign: bool,
    /// It is empty, though something was to be written.
    is_silent: bool,
}

impl Seen {
    /// What is wrong with a response that is none of its format.
    fn foreign(&self) -> String {
        format!("the response is not of the format {}", self.format)
    }
}
