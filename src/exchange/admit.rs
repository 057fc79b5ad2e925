//! The first stage: whether the caller may use this gateway at all (403), and whether what they do
//! can be recorded (503).

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::request::Parts;

use super::conclude::Room;
use super::context::{Context, Formats, Surface};
use super::draft::{Draft, Outlets};
use super::{Gateway, Verified, entry};
use crate::base::{clock, panics};
use crate::records::EntryId;
use crate::wire::Rejection;

/// A request whose caller has a role, and for whose record there is room. From here on it leaves
/// exactly one record.
pub struct Admitted {
    draft: Draft,
    context: Context,
}

/// The name of an exchange, and when it began: the ledger looks for times by ranges of names.
pub(super) struct Ticket {
    pub(super) id: EntryId,
    pub(super) now: i64,
}

impl Ticket {
    pub(super) fn new() -> Self {
        let now = clock::unix_ms();
        let id = EntryId::new(now);
        Self { id, now }
    }
}

impl Admitted {
    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    pub(super) fn into_parts(self) -> (Draft, Context) {
        (self.draft, self.context)
    }
}

impl Gateway {
    /// Admits a request; `head` is its own, or that of its WebSocket.
    pub(super) fn admit(
        &self,
        ticket: Ticket,
        who: Verified,
        head: &Parts,
        surface: Surface,
        formats: Formats,
    ) -> Result<Admitted, Rejection> {
        panics::point("access");
        let rules = self.rules.borrow().clone();
        let permit = rules
            .access
            .permit_again(&who.caller)
            .map_err(|none| none.rejection(&who.caller))?;
        // Room for the record first: what can't be recorded isn't done.
        let outlets = Outlets {
            room: self.room_for_record()?,
            metrics: Arc::clone(&self.metrics),
            responses: Arc::clone(&self.responses),
        };
        let entry = entry::new(ticket, formats.caller, &who.caller, head, &permit);
        let admitted = Admitted {
            draft: Draft::new(entry, rules.file.routing, outlets),
            context: Context {
                who,
                rules,
                permit,
                surface,
                formats,
            },
        };
        panics::point("record");
        Ok(admitted)
    }

    fn room_for_record(&self) -> Result<Room, Rejection> {
        let unavailable = |why: String| {
            Rejection::new(StatusCode::SERVICE_UNAVAILABLE, "ledger_unavailable", why)
                .retry_after(Duration::from_secs(5))
        };
        if !self.ledger.healthy() {
            return Err(unavailable(
                "requests cannot be recorded right now".to_owned(),
            ));
        }
        Room::reserve(&self.ledger).map_err(|full| unavailable(full.to_string()))
    }
}
