//! One answer in the making over a WebSocket, metered frame by frame.

use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::asking::Again;
use crate::exchange::held::Remember;
use crate::exchange::relay::{Ended, Ending, Recording, Watch};
use crate::formats::{Call, Meter};
use crate::net::client::Timeouts;
use crate::wire::sse;

/// One answer in the making.
pub(super) struct Running {
    pub(super) call: Call,
    meter: Box<dyn Meter>,
    recording: Recording,
    pub(super) revoked: Watch,
    /// How to ask once more, while nothing has come.
    pub(super) again: Option<Again>,
    remember: Option<Remember>,
    began: Instant,
    /// When the provider last said something.
    heard: Instant,
    ended: bool,
}

impl Running {
    pub(super) fn new(
        mut call: Call,
        meter: Box<dyn Meter>,
        recording: Recording,
        (revoked, again, remember): (Watch, Option<Again>, Option<Remember>),
    ) -> Self {
        // What was asked may be large, and is needed only to ask another provider.
        if !again.as_ref().is_some_and(Again::has_others) {
            call.body = bytes::Bytes::new();
        }
        let now = Instant::now();
        Self {
            call,
            meter,
            recording,
            revoked,
            again,
            remember,
            began: now,
            heard: now,
            ended: false,
        }
    }

    /// When the provider has been silent for too long, or the answer has taken too long: what a
    /// caller sends in the meantime moves neither.
    pub(super) fn deadline(&self, bounds: &Timeouts) -> Option<Instant> {
        let idle = (!bounds.idle.is_zero()).then(|| self.heard + bounds.idle);
        let total = (!bounds.total.is_zero()).then(|| self.began + bounds.total);
        idle.into_iter().chain(total).min()
    }

    /// The record in the making.
    pub(super) fn recording(&mut self) -> &mut Recording {
        &mut self.recording
    }

    /// What is asked, and the record in the making.
    pub(super) fn asking(&mut self) -> (&Call, &mut Recording) {
        (&self.call, &mut self.recording)
    }

    /// Another provider was asked, while nothing had come of the one before.
    pub(super) fn moved(
        &mut self,
        (revoked, again, remember): (Watch, Option<Again>, Option<Remember>),
    ) {
        self.revoked = revoked;
        self.again = again;
        self.remember = remember;
        self.heard = Instant::now();
    }

    /// Whether the format's own end was seen.
    pub(super) fn is_complete(&self) -> bool {
        self.meter.is_complete()
    }

    /// Whether an item of the output has ended, so that the end of the response may follow.
    pub(super) fn is_closing(&self) -> bool {
        self.meter.is_closing()
    }

    /// What the provider said has reached the caller: its silence begins.
    pub(super) fn given(&mut self) {
        self.heard = Instant::now();
    }

    /// Reads one event of the answer.
    pub(super) fn take(&mut self, text: &Utf8Bytes) {
        self.heard = Instant::now();
        self.again = None;
        self.call.body = bytes::Bytes::new();
        if let Some(remember) = &mut self.remember {
            remember.read(text.as_bytes());
        }
        let had_output = self.meter.has_output();
        self.meter.event(&sse::Event {
            name: b"",
            data: text.as_bytes(),
        });
        let says = !had_output && self.meter.has_output();
        let elapsed = self.recording.elapsed_ms();
        self.recording.note(|entry| {
            entry.response_bytes += text.len() as u64;
            entry.first_byte_ms.get_or_insert(elapsed);
            if says {
                entry.first_token_ms = Some(elapsed);
            }
        });
    }

    /// Ends the record, once.
    pub(super) fn end(&mut self, ending: Ending) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let mut reading = self.meter.finish();
        let body = reading.response.take().unwrap_or_default();
        let truncated = reading.truncated;
        let ending = match (ending, reading.failure.clone()) {
            (ending @ (Ending::Revoked(_) | Ending::Panicked(_)), _) | (ending, None) => ending,
            (_, Some(words)) => Ending::ProviderFailed(words),
        };
        let mut length = 0;
        self.recording.note(|entry| length = entry.response_bytes);
        self.recording.end(Ended {
            reading,
            body,
            truncated,
            length,
            ..Ended::new(ending)
        });
    }
}

/// An answer that is dropped before its end has lost its caller; what came of it counts.
impl Drop for Running {
    fn drop(&mut self) {
        self.end(Ending::ClientLeft);
    }
}
