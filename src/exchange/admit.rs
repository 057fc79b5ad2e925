//! The first stage: whether the caller may use this gateway at all (403), and whether what they do
//! can be recorded (503).

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, StatusCode};

use super::conclude::{Outlets, Room};
use super::context::{Context, Surface};
use super::draft::Draft;
use super::ending::Stage;
use super::entry::{self, Ticket};
use super::person::Identified;
use super::refusal::Refused;
use super::{Gateway, Verified};
use crate::base::labels::Labels;
use crate::base::panics;
use crate::formats::Format;
use crate::wire::Rejection;

/// A request whose caller has a role, and for whose record there is room. From here on it leaves
/// exactly one record.
pub struct Admitted {
    pub(super) draft: Draft,
    context: Context,
}

impl Admitted {
    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    /// The same with the labels of its head.
    pub(super) fn labelled(mut self, headers: &HeaderMap) -> Result<Self, Refused> {
        match entry::labels(headers) {
            Ok(labels) => {
                self.draft.entry.labels = labels.clone();
                self.context.labels = labels;
                Ok(self)
            }
            Err(rejection) => Err(Refused::new(self.draft, Stage::Route, rejection)),
        }
    }

    pub(super) fn into_parts(self) -> (Draft, Context) {
        (self.draft, self.context)
    }
}

impl Gateway {
    /// Admits a request; `head` is its own, or that of its WebSocket.
    pub(super) async fn admit(
        &self,
        ticket: Ticket,
        who: Verified,
        identified: Identified,
        head: &Parts,
        surface: Surface,
        format: &'static Format,
    ) -> Result<Admitted, Rejection> {
        let Identified {
            rules,
            asker,
            named,
        } = identified;
        // Room for the record first: what can't be recorded isn't done.
        let outlets = Outlets {
            room: self.room_for_record().await?,
            metrics: Arc::clone(&self.metrics),
            responses: Arc::clone(&self.responses),
            stored: Arc::clone(&self.stored),
        };
        let entry = entry::new(ticket, format, &asker, head);
        let draft = Draft::new(entry, rules.file.routing, outlets);
        let context = Context {
            who,
            rules,
            asker,
            named,
            surface,
            format,
            labels: Labels::default(),
        };
        let admitted = Admitted { draft, context };
        panics::point("record");
        Ok(admitted)
    }

    async fn room_for_record(&self) -> Result<Room, Rejection> {
        Room::reserve(&self.ledger).await.map_err(|why| {
            Rejection::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "ledger_unavailable",
                why.to_string(),
            )
            .retry_after(Duration::from_secs(5))
        })
    }
}
