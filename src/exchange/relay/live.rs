//! A response while it passes, and what is read of it once its caller has left.

use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use super::Begun;
use super::begun::RROR;
use super::tee::Tee;
use super::translating::Translating;
use crate::base::clock::within;
use crate::base::panics;
use crate::exchange::draft::Draft;
use crate::exchange::ending::{Ended, Ending, Metered};
use crate::wire::Mask;

/// Longest time for which the rest of an answer is read for its price alone.
pub(in crate::exchange) const REST_TIME: Duration = Duration::from_secs(5);
/// Most bytes that are read for it.
pub(in crate::exchange) const REST_BYTES: usize = 64 << 20;
/// Answers that are read so at a time. Beyond it, what they cost is estimated.
const MOST_RESTS: u32 = 1_024;
static RESTS: Semaphore = Semaphore::const_new(MOST_RESTS as usize);

/// Room to read the rest of an answer for its count alone, if there is any.
pub(in crate::exchange) fn rest() -> Option<SemaphorePermit<'static>> {
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
    pub(super) mask: Option<Mask>,
    /// Translates it, if the caller speaks another format.
    pub(super) translating: Option<Box<Translating>>,
    /// Something in an unstreamed response may be an error.
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
        let speaks = !had_output && self.tee.has_output();
        self.draft.received(out.len(), speaks);
        out
    }

    /// What passes of an error, without the credentials that it quotes. Most responses are none, and
    /// pass as they are.
    fn masked(&mut self, out: Bytes) -> Bytes {
        let Some(mask) = &mut self.mask else {
            return out;
        };
        if self.tee.has_events() {
            return if self.tee.meter.has_failed() {
                mask.whole(out)
            } else {
                out
            };
        }
        self.may_fail |= RROR.find(&out).is_some();
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
        if let Some(rest) = &rest {
            self.draft.received(rest.len(), false);
        }
        rest
    }

    /// Makes the record of a response that came to its own end.
    pub(super) fn finish(&mut self) {
        self.is_whole = true;
        self.end(Ending::Complete);
    }

    /// Makes the record. What the provider has reported is how it ended, whatever came after.
    pub(super) fn end(&mut self, ending: Ending) {
        let metered = panics::caught_now("a meter", || self.tee.finish());
        let mut metered = metered.unwrap_or_default();
        if let (Some(mask), Some(words)) = (&self.mask, &mut metered.reading.failure) {
            let hidden = mask.whole(Bytes::from(std::mem::take(words)));
            *words = String::from_utf8_lossy(&hidden).into_owned();
            metered.body = mask.whole(metered.body);
            metered.raw = metered.raw.map(|raw| mask.whole(raw));
        }
        // What is kept is what the caller got.
        if let Some(translating) = &self.translating
            && !metered.body.is_empty()
            && translating.has_begun()
        {
            let (body, is_cut) = translating.response();
            (metered.body, metered.truncated) = (body, metered.truncated || is_cut);
        }
        if let Some(translating) = &mut self.translating {
            metered.raw = translating.take_raw();
        }
        let words = metered.reading.failure.clone();
        let words = words.or_else(|| self.fault(&ending, &metered));
        self.draft.end(Ended {
            ending: ending.unless_reported(words),
            metered,
        });
    }

    /// What is wrong with a response that reports no error.
    fn fault(&self, ending: &Ending, metered: &Metered) -> Option<String> {
        let entry = &self.draft.entry;
        let is_complete = *ending == Ending::Complete;
        if !self.is_success {
            return is_complete.then(|| format!("the provider answered {}", entry.status));
        }
        // Only what costs something is expected to say something.
        if !self.draft.is_billed() || matches!(entry.status, 204 | 205) && metered.length == 0 {
            return None;
        }
        if metered.length == 0 {
            let is_empty = is_complete && self.is_whole;
            return is_empty.then(|| "the provider's response is empty".to_owned());
        }
        let is_foreign = self.is_whole && metered.reading.is_foreign;
        is_foreign.then(|| format!("the response is not of the format {}", entry.api))
    }

    /// The caller has left. What the model has yet to write is cancelled; what it has written is
    /// read to its end, because the count stands there. Where an item of the output has just ended,
    /// nobody knows which of the two it is: reasoning that nobody sees counts at the end too.
    pub(super) fn abandon(mut self) {
        // An error status says enough.
        if !self.is_success {
            return self.finish();
        }
        let has_events = self.tee.is_stream();
        let is_complete = self.tee.is_complete();
        let is_written = !has_events || is_complete || self.tee.meter.is_closing();
        let ending = if has_events && is_complete {
            Ending::Complete
        } else {
            Ending::ClientLeft
        };
        let is_counted = has_events && is_complete && self.tee.meter.is_counted();
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
        while let Ok(next) = timeout_at(until, self.upstream.frame()).await {
            let is_end = match next.transpose().map(|frame| frame.map(Frame::into_data)) {
                Ok(Some(Ok(data))) if data.len() <= left => {
                    left -= data.len();
                    let passed = panics::caught_now("a meter", || self.tee.pass(data));
                    let is_end = self.upstream.is_end_stream();
                    if passed.is_none() && !is_end {
                        break;
                    }
                    is_end
                }
                // Trailers.
                Ok(Some(Err(_))) => false,
                Ok(None) => true,
                Ok(Some(Ok(_))) | Err(_) => break,
            };
            if is_end {
                self.tee.end();
                self.is_whole = true;
            }
            let is_counted = self.tee.is_complete() && self.tee.meter.is_counted();
            if is_end || self.tee.is_stream() && is_counted {
                break;
            }
        }
        self.end(ending);
    }
}
