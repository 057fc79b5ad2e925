//! The stages of the pipeline for what a caller sends in a session, and for turns that a provider begins.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::journal::Journal;
use super::session::Session;
use super::surface;
use super::turn::{Cause, Turn};
use crate::exchange::admit::Admitted;
use crate::exchange::ending::{Ending, Stage};
use crate::exchange::entry::Ticket;
use crate::exchange::refusal::Refused;
use crate::exchange::websocket::verify;
use crate::formats::known::Why;
use crate::formats::realtime::{Event, Names, Told};
use crate::formats::{Call, Sound, Tokens};
use crate::wire::{Rejection, sse};

/// What a provider has counted apart from its turns.
pub(super) struct CountedApart {
    /// The counts, as an event of a turn.
    counts: Utf8Bytes,
    /// The model whose counts they are.
    names: Arc<Names>,
    /// What of them was charged with a turn.
    charged: Tokens,
}

impl Session<'_> {
    /// Has guards and hooks judge a message that a model will read. Returns what goes on.
    pub(super) async fn judge(&mut self, call: Call) -> Result<Bytes, Rejection> {
        let admitted = self.admitted().await?;
        let call = self.of_session(call, &Arc::clone(&self.link.names));
        let gateway = self.gateway;
        let routed = gateway.route_call(admitted, Arc::clone(&self.head), call);
        let routed = routed.map_err(Refused::record)?;
        let before = routed.draft.entry.reasons.len();
        let cleared = gateway.clear(routed).await.map_err(Refused::record)?;
        let asked = cleared.asked();
        let route = cleared.choices.front().map(|first| &first.route);
        let route = route.ok_or_else(Rejection::panicked)?;
        let to = route.provider.destination(&route.model);
        let outbound = asked.format.prepare(&asked.call, &to)?;
        self.journal.note(&asked.call.body);
        let named = asked.call.choices.iter();
        let mut heard_by = named.filter(|choice| choice.why == Why::ToolModel);
        if let Some([model]) = heard_by.find_map(|choice| choice.models.as_deref()) {
            self.hears_with = Some(model.clone());
        }
        // Why it was let pass stands on the record of the turn that follows.
        let reasons = cleared.draft.withdraw();
        self.reasons.extend(reasons.into_iter().skip(before));
        Ok(outbound.body)
    }

    /// Takes a turn through all stages. Returns it, and what asks the provider for it.
    pub(super) async fn turn(
        &mut self,
        call: Call,
        names: &Arc<Names>,
        cause: Cause,
    ) -> Result<(Turn, Bytes), Rejection> {
        let admitted = self.admitted().await?;
        let mut call = self.of_session(call, names);
        let is_answer = !matches!(cause, Cause::Apart);
        if !is_answer {
            (call.held_tokens, call.sound) = (0, Sound::default());
        }
        let gateway = self.gateway;
        let routed = gateway.route_call(admitted, Arc::clone(&self.head), call);
        let mut routed = routed.map_err(Refused::record)?;
        if is_answer {
            routed.draft.entry.reasons.append(&mut self.reasons);
        }
        let cleared = gateway.clear(routed).await;
        let mut cleared = cleared.map_err(Refused::record)?;
        let message = cleared.asked().call.body.clone();
        let funded = match gateway.fund(&mut cleared).await {
            Ok(funded) if funded.route().provider.id != self.link.names.provider => {
                Err(moved(&self.link.names))
            }
            Ok(funded) => {
                let routing = funded.rules.file.routing;
                if let Some(request) = funded.attempt.in_flight() {
                    request.answering(&routing);
                }
                funded.attempt.ask();
                funded.entry.status = StatusCode::OK.as_u16();
                funded.entry.overhead_ms = Some(funded.attempt.before_ms);
                Ok(funded.outbound().body.clone())
            }
            Err(rejection) => Err(rejection),
        };
        let sent = match funded {
            Ok(sent) => sent,
            Err(rejection) => {
                return Err(Refused::new(cleared.draft, Stage::Send, rejection).record());
            }
        };
        let (id, page) = match cause {
            Cause::Asked => {
                self.journal.note(&message);
                (None, self.journal.turn_page(names))
            }
            Cause::Begun(id) => (id, self.journal.turn_page(names)),
            // What was sent belongs to the turn that answers it.
            Cause::Apart => (None, Journal::default().turn_page(names)),
        };
        let draft = &mut cleared.draft;
        draft.entry.request_bytes = page.bytes;
        let room = draft.kept.room;
        if let Some(capture) = &mut draft.kept.capture {
            capture.truncated = page.truncated || page.body.len() > room;
            capture.request_body = page.body.slice(..page.body.len().min(room));
        }
        Ok((Turn::new(cleared, id, &message), sent))
    }

    /// What the provider has counted apart from its turns, and was not charged for yet.
    pub(super) fn apart(&mut self, event: &Event, text: &Utf8Bytes) -> Option<CountedApart> {
        match &event.told {
            Told::Heard(counts) => Some(CountedApart {
                counts: Utf8Bytes::try_from(counts.clone()).unwrap_or_default(),
                names: self.hearing(),
                charged: Tokens::default(),
            }),
            Told::Counts if self.nth_of(event).is_none() => self.counted_late(text),
            _ => None,
        }
    }

    /// Counts that come when no turn waits for them. They repeat those of the turn that ended last, or are the whole
    /// of what was only counted in part or estimated for it: then what is new is charged.
    fn counted_late(&mut self, text: &Utf8Bytes) -> Option<CountedApart> {
        let call = self.begun().ok()?;
        let mut meter = self.format.meter(&call.metered(0));
        meter.event(&sse::Event {
            name: b"",
            data: text.as_bytes(),
        });
        let counted = meter.finish().tokens;
        let may_be_late = Instant::now() < self.late_until;
        let charged = Some(self.charged).filter(|one| may_be_late && counted.may_follow(one));
        let charged = charged.unwrap_or_default();
        self.charged = counted;
        self.holds(&counted);
        let is_new = !counted.beyond(&charged).is_nothing();
        is_new.then(|| CountedApart {
            counts: text.clone(),
            names: Arc::clone(&self.link.names),
            charged,
        })
    }

    /// Charges for what was counted apart: a turn that ends as it begins.
    pub(super) async fn charge(&mut self, apart: &CountedApart) -> Result<(), Rejection> {
        let call = self.begun()?;
        let (mut turn, _) = Box::pin(self.turn(call, &apart.names, Cause::Apart)).await?;
        turn.take(&apart.counts);
        turn.already_charged(apart.charged);
        turn.end(Ending::Complete);
        Ok(())
    }

    /// A message that stands for a turn which the provider has begun.
    pub(super) fn begun(&self) -> Result<Call, Rejection> {
        let message = Bytes::from_static(self.realtime.begun.as_bytes());
        let (_, call) = (self.realtime.understand)(message, &self.link.names)?;
        Ok(call)
    }

    /// The names of the model that makes text of what is heard: the session's own, if its provider isn't
    /// known to serve another one.
    fn hearing(&self) -> Arc<Names> {
        let own = &self.link.names;
        let Some(model) = &self.hears_with else {
            return Arc::clone(own);
        };
        let rules = self.gateway.rules.borrow();
        let mut providers = rules.routes.providers().iter();
        let is_served = providers.any(|provider| {
            provider.id == own.provider && provider.models.iter().any(|one| one == model)
        });
        if !is_served {
            return Arc::clone(own);
        }
        Arc::new(Names {
            asked: model.as_str().into(),
            served: model.as_str().into(),
            provider: own.provider.clone(),
        })
    }

    async fn admitted(&mut self) -> Result<Admitted, Rejection> {
        verify(&mut self.who).await?;
        let surface = surface(&self.realtime);
        let (who, format) = (self.who.clone(), self.format);
        let (gateway, head) = (self.gateway, &self.head);
        let identified = gateway.identify(&who, &head.headers).await?;
        let admitted = gateway
            .admit(Ticket::new(), who, identified, head, surface, format)
            .await?;
        let labelled = admitted.labelled(&head.headers);
        labelled.map_err(Refused::record)
    }

    /// A message with what is known of its session.
    fn of_session(&self, call: Call, names: &Arc<Names>) -> Call {
        let sound = self.journal.sound().div_ceil(self.realtime.sound);
        Call {
            model: names.subject().into(),
            session: Some(self.link.session.clone()),
            session_model: Some(Arc::clone(names)),
            held_tokens: self.held_tokens.saturating_add(sound),
            sound: Sound {
                held_tokens: self.sound.held_tokens.saturating_add(sound),
                ..self.sound
            },
            ..call
        }
    }
}

/// The provider of a session is another one by the rules in force.
fn moved(names: &Names) -> Rejection {
    Rejection::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "session_moved",
        format!(
            "{:?} is served by another provider now: open another session",
            names.asked.as_str()
        ),
    )
}
