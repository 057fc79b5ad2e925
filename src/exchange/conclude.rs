//! What follows once it is settled what an exchange comes to: budgets pay, its provider's health is
//! judged, its response is remembered, it is logged and counted, hooks are told, and its record is
//! handed over.

use std::sync::Arc;

use super::attempt::Price;
use super::ending::{Ended, Ending};
use super::facts::{Facts, Kept};
use super::responses::Responses;
use super::settle::{captured, settle, settle_followed};
use super::stored::{Note, StoredResponses};
use crate::base::bucket::Settlement;
use crate::base::panics;
use crate::formats::ToolCall;
use crate::policy::budget::Amounts;
use crate::records::metrics::{self, Key, Metrics};
use crate::records::{Capture, Delivery, Entry, Ledger, Outcome, Record, Slot, Unavailable};
use crate::wire::Rejection;

/// The room that the ledger has reserved for the record of an exchange. Only `conclude` can use it, so
/// nothing is recorded without being settled.
pub struct Room(Slot);

impl Room {
    pub(super) async fn reserve(ledger: &Ledger) -> Result<Self, Unavailable> {
        ledger.admit_soon().await.map(Self)
    }
}

/// Where the record of an exchange goes, and what else hears of its end.
pub(super) struct Outlets {
    pub(super) room: Room,
    /// Where it is counted.
    pub(super) metrics: Arc<Metrics>,
    /// Where its response is remembered, for requests that go on with it.
    pub(super) responses: Arc<Responses>,
    /// Where it is noted, if its provider keeps it.
    pub(super) stored: Arc<StoredResponses>,
}

/// What a record has besides its entry.
#[derive(Default)]
struct Rest {
    tools: Vec<ToolCall>,
    capture: Option<Capture>,
    deliveries: Vec<Delivery>,
}

/// Ends an exchange: makes its record.
pub(super) fn conclude(facts: &mut Facts, outlets: Outlets, ended: Ended) {
    facts.entry.duration_ms = facts.elapsed_ms();
    let mut settlement = None;
    // Whatever goes wrong with the rest of it, there is a record.
    let rest = panics::caught_now("the end of a request", || {
        follow(facts, &outlets, ended, &mut settlement)
    });
    let rest = rest.unwrap_or_else(|| {
        facts.entry.outcome = Outcome::Failed;
        facts.entry.error = Some(Rejection::panicked().message.into_owned());
        Rest::default()
    });
    facts.charged = facts.entry.tokens;
    let mut headers = std::mem::take(&mut facts.kept.headers);
    if let Some(attempt) = facts.attempt() {
        headers.append(&mut attempt.headers);
    }
    outlets.room.0.record(Record {
        entry: std::mem::take(&mut facts.entry),
        tools: rest.tools,
        headers,
        capture: rest.capture,
        settlement,
        deliveries: rest.deliveries,
    });
}

fn follow(
    facts: &mut Facts,
    outlets: &Outlets,
    mut ended: Ended,
    settlement: &mut Option<Settlement>,
) -> Rest {
    panics::point("usage");
    let settled = settle(facts, &mut ended);
    let (entry, attempt) = (&mut facts.entry, facts.attempts.last_mut());
    if let Some(id) = &ended.metered.reading.response_id {
        outlets.responses.note(&entry.caller, id, &entry.session);
        // Under an id of the gateway's, a provider of another format finds nothing.
        let native = attempt
            .as_ref()
            .filter(|one| one.is_native && one.is_asked());
        if let Some(attempt) = native.filter(|_| ended.metered.reading.is_stored) {
            outlets.stored.note(&Note {
                owner: &entry.caller,
                id,
                provider: &entry.provider,
                asked: &entry.model_requested,
                model: &entry.model,
                key: attempt.key,
            });
            let items = std::mem::take(&mut ended.metered.reading.stored_items);
            outlets
                .stored
                .note_items(&entry.caller, &entry.provider, items);
        }
    }
    let spent = settled.spent();
    let tools = settled.complete(entry);
    if let Some(attempt) = attempt {
        // If no provider has worked, what was held is given back.
        let hold = attempt.hold.take().filter(|_| attempt.is_asked());
        *settlement = hold.and_then(|hold| hold.settle(spent));
        attempt.judge(&ended.ending, &facts.routing);
    }
    // Of several providers that had the request, the last one's hooks: an attempt that was refused
    // before it was sent doesn't hide the one before it.
    let asked = facts.attempts.iter_mut().rev().find(|one| one.is_asked());
    let after = asked.and_then(|attempt| attempt.after.take());
    let is_complete = ended.ending == Ending::Complete && !ended.metered.truncated;
    let keeping = facts.kept.cache.take().filter(|_| is_complete);
    if let (Some(keeping), Some(last)) = (keeping, facts.attempts.last()) {
        keeping.keep(&facts.entry, &last.route, &last.terms, &ended.metered.body);
    }
    let entry = &mut facts.entry;
    log(entry);
    count(&outlets.metrics, entry);
    let (body, raw) = (&ended.metered.body, ended.metered.raw.as_deref());
    let deliveries = after.map(|after| after.deliveries(entry, &tools, body, raw));
    Rest {
        deliveries: deliveries.unwrap_or_default(),
        capture: captured(&mut facts.kept, ended.metered),
        tools,
    }
}

/// Ends a response whose request is over: charges for it, and makes its record with what is kept of the request.
pub(super) fn conclude_followed(
    room: Room,
    metrics: &Metrics,
    (mut entry, mut kept): (Entry, Kept),
    price: &Price,
    mut ended: Ended,
    charge: impl FnOnce(Amounts) -> Option<Settlement>,
) {
    let settled = settle_followed(&entry, price, &mut ended);
    let settlement = charge(settled.spent());
    let tools = settled.complete(&mut entry);
    log(&entry);
    count(metrics, &entry);
    room.0.record(Record {
        entry,
        tools,
        headers: std::mem::take(&mut kept.headers),
        capture: captured(&mut kept, ended.metered),
        settlement,
        deliveries: Vec::new(),
    });
}

fn log(entry: &Entry) {
    tracing::info!(
        id = entry.id.as_str(),
        login = entry.login.as_str(),
        node = entry.node_name.as_str(),
        model = entry.model_requested.as_str(),
        provider = entry.provider.as_str(),
        status = entry.status,
        outcome = entry.outcome.as_str(),
        duration_ms = entry.duration_ms,
        "request"
    );
}

fn count(metrics: &Metrics, entry: &Entry) {
    let key = Key {
        api: entry.api.clone(),
        provider: entry.provider.clone(),
        model: entry.model.clone(),
        outcome: entry.outcome.as_str(),
        class: entry.status / 100,
    };
    let seconds = |ms: f64| ms / 1_000.0;
    let ended = metrics::Ended {
        tokens: entry.tokens,
        cost: entry.cost,
        own_credential: entry.own_credential,
        duration: seconds(entry.duration_ms),
        first_token: entry.first_token_ms.map(seconds),
        overhead: entry.overhead_ms.map(seconds),
    };
    metrics.count(key, &ended);
}
