//! Responses whose requests end before they do: those that are made in the background, and those of a provider's
//! batches. What their records need is stored, and they are paid for once their providers have made them.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Gateway;
use super::attempt::Price;
use super::conclude::{Room, conclude_followed};
use super::ending::{Ended, Ending, Metered};
use super::facts::Kept;
use super::stored::Running;
use crate::base::clock;
use crate::base::money::Mode;
use crate::formats::{Format, MeteredRequest, Path};

/// Between two tries to write a record.
const PAUSE: Duration = Duration::from_secs(2);

/// A response that has ended.
pub(super) struct Followed<'f> {
    pub(super) running: &'f Running,
    pub(super) provider: &'f str,
    /// As the provider names it.
    pub(super) model: &'f str,
    pub(super) format: &'static Format,
    /// The path of the request, where the format has several.
    pub(super) path: Option<&'f str>,
    pub(super) mode: Mode,
    pub(super) ending: Ending,
    pub(super) status: u16,
    pub(super) body: &'f Bytes,
    /// What is kept of its request.
    pub(super) kept: Kept,
}

impl Gateway {
    /// Charges for a response and records it. Returns false if the ledger can't take the record now; else
    /// `give_back` was called, which gives back what is held for it.
    pub(super) async fn pay_followed(
        &self,
        followed: Followed<'_>,
        give_back: impl FnOnce(),
    ) -> bool {
        let Ok(room) = Room::reserve(&self.ledger).await else {
            return false;
        };
        let Followed {
            running,
            format,
            body,
            ..
        } = followed;
        let rules = self.rules.borrow().clone();
        let path = followed.path.map_or_else(Path::default, |path| {
            Path::Fixed(Cow::Owned(path.to_owned()))
        });
        let price = Price {
            format: format.name,
            quote: rules.prices.quote(followed.provider, followed.model).into(),
            mode: followed.mode,
            prices: Arc::clone(&rules.prices),
            density: (format.density)(&path),
            asked_bytes: running.asked_bytes,
        };
        let mut meter = format.meter(&MeteredRequest {
            path: &path,
            billed: true,
            hide_usage: false,
            text_bytes: running.asked_bytes,
            room: 0,
        });
        if !body.is_empty() {
            meter.body(body);
        }
        let mut reading = meter.finish();
        let items = std::mem::take(&mut reading.stored_items);
        let entry = &running.entry;
        self.stored
            .note_items(&entry.caller, &entry.provider, items);
        // What has no whole response doesn't say how much was written.
        let length = match followed.ending {
            Ending::Complete => body.len() as u64,
            _ => 0,
        };
        let ended = Ended {
            ending: followed.ending,
            metered: Metered {
                reading,
                body: body.clone(),
                length,
                ..Metered::default()
            },
        };
        let mut entry = running.entry.clone();
        entry.status = followed.status;
        entry.response_bytes = body.len() as u64;
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of some days")]
        let duration = clock::unix_ms().saturating_sub(entry.started_at) as f64;
        entry.duration_ms = duration;
        // What was held is free for what it has cost.
        give_back();
        let charge = |spent| Some(self.quotas.charge(running.links(&rules.quotas), spent));
        let kept = followed.kept;
        conclude_followed(room, &self.metrics, (entry, kept), &price, ended, charge);
        true
    }

    /// Waits until the records that were made so far are found after a crash.
    pub(super) async fn recorded(&self) {
        while self.ledger.durable().await.is_err() {
            tokio::time::sleep(PAUSE).await;
        }
    }
}
