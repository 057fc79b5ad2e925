//! One answer in the making: what its frames tell, and the record that ends with it.

use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::api::{Call, Meter};
use crate::ledger::Outcome;
use crate::relay::{Ended, Recording, Watch};
use crate::wire::sse;

/// One answer in the making.
pub(super) struct Running {
    pub call: Call,
    pub meter: Box<dyn Meter>,
    pub recording: Recording,
    pub revoked: Watch,
}

impl Running {
    /// Reads one event of the answer.
    pub(super) fn take(&mut self, text: &Utf8Bytes) {
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

    pub(super) fn end(mut self, outcome: Outcome, error: Option<String>) {
        let mut reading = self.meter.finish();
        let body = reading.response.take().unwrap_or_default();
        let truncated = reading.truncated;
        self.recording.end(Ended {
            reading,
            body,
            truncated,
            ..Ended::new(outcome, error)
        });
    }
}
