//! The record of a request while it runs. However the request ends, exactly one entry
//! reaches the ledger.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;

use super::{Ending, blobs, charge};
use crate::base::bucket::Settlement;
use crate::base::clock;
use crate::base::memory;
use crate::base::panics;
use crate::config::Routing;
use crate::exchange::hooks::After;
use crate::exchange::responses::Responses;
use crate::formats::{Density, Reading, Tokens, ToolCall};
use crate::policy::pricing::{Prices, Quote};
use crate::policy::route;
use crate::records::balances::Reservation;
use crate::records::metrics::{self, Key, Metrics};
use crate::records::{Capture, Delivery, Entry, Outcome, Record, Slot};
use crate::wire::{Rejection, headers};

/// A record being made.
pub struct Recording {
    started: Instant,
    open: Option<Open>,
}

struct Open {
    slot: Slot,
    entry: Box<Entry>,
    headers: Vec<(String, String)>,
    /// Those of the response, by which the record can be found too.
    response_headers: Vec<(String, String)>,
    capture: Option<Box<Capture>>,
    /// What the provider's answer costs; `None` until one is chosen, and for what is not billed.
    quote: Option<Box<Quote>>,
    /// The prices of other models, one of which the provider may have used.
    prices: Option<Arc<Prices>>,
    /// What the bytes of the request and of its response stand for, where nobody counts.
    density: Density,
    /// Bytes of the request that count as text.
    asked_bytes: u64,
    /// What the head of the response counts.
    in_head: Tokens,
    /// What is held of budgets.
    reservation: Option<Box<Reservation>>,
    /// What was taken of them in the end.
    settlement: Option<Settlement>,
    /// A provider has been asked, so it may have worked.
    asked: bool,
    /// The request as it is open at its provider.
    provider: Option<(route::InFlight, Routing)>,
    /// Who is told of the request once it has ended.
    after: Option<Box<After>>,
    /// Where the request is counted.
    metrics: Option<Arc<Metrics>>,
    /// Where its response is remembered.
    responses: Option<Arc<Responses>>,
    /// How often something was held of budgets.
    attempts: u32,
    /// Of each budget that began to run low, with whichever attempt: what is left.
    crossed: Vec<String>,
    /// Keys whose values the capture leaves out.
    opaque: &'static [&'static str],
    /// Bytes of each body that the capture keeps.
    room: usize,
}

/// How a request ended, and what was read of its answer.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub ending: Ending,
    /// What the meter read.
    pub reading: Reading,
    /// The answer, as a capture keeps it.
    pub body: Bytes,
    /// The answer as it came.
    pub raw: Option<Bytes>,
    /// There was more than what is kept.
    pub truncated: bool,
    /// Bytes of the response, decompressed.
    pub length: u64,
}

impl Ended {
    /// An end without an answer.
    #[must_use]
    pub fn new(ending: Ending) -> Self {
        Self {
            ending,
            reading: Reading::default(),
            body: Bytes::new(),
            raw: None,
            truncated: false,
            length: 0,
        }
    }
}

impl Recording {
    /// Starts a record; `slot` is the room that the ledger has reserved for it.
    #[must_use]
    pub fn new(slot: Slot, entry: Entry) -> Self {
        Self {
            started: Instant::now(),
            open: Some(Open {
                slot,
                entry: Box::new(entry),
                headers: Vec::new(),
                response_headers: Vec::new(),
                capture: None,
                quote: None,
                prices: None,
                density: Density::TEXT,
                asked_bytes: 0,
                in_head: Tokens::default(),
                reservation: None,
                settlement: None,
                asked: false,
                provider: None,
                after: None,
                room: 0,
                metrics: None,
                responses: None,
                attempts: 0,
                crossed: Vec::new(),
                opaque: &[],
            }),
        }
    }

    /// Changes the entry, as more becomes known.
    pub fn note(&mut self, change: impl FnOnce(&mut Entry)) {
        if let Some(open) = &mut self.open {
            change(&mut open.entry);
        }
    }

    /// Notes the price of what a provider is asked, and what bytes stand for where it doesn't count.
    pub fn priced(
        &mut self,
        quote: Quote,
        prices: &Arc<Prices>,
        density: Density,
        asked_bytes: u64,
    ) {
        if let Some(open) = &mut self.open {
            open.quote = Some(Box::new(quote));
            open.prices = Some(prices.clone());
            open.density = density;
            open.asked_bytes = asked_bytes;
        }
    }

    /// The price of what the provider is asked.
    #[must_use]
    pub fn quote(&self) -> Option<&Quote> {
        self.open.as_ref()?.quote.as_deref()
    }

    /// Notes what the head of the response counts, for what its body doesn't.
    pub fn counted(&mut self, in_head: Tokens) {
        if let Some(open) = &mut self.open {
            open.in_head = in_head;
        }
    }

    /// The tokens of the request, estimated by its bytes.
    #[must_use]
    pub fn asked_tokens(&self) -> u64 {
        let open = self.open.as_ref();
        open.map_or(0, |open| open.density.input(open.asked_bytes))
    }

    /// Has the response remembered, for requests that go on with it.
    pub fn remembers(&mut self, responses: Arc<Responses>) {
        if let Some(open) = &mut self.open {
            open.responses = Some(responses);
        }
    }

    /// Has the request counted when it ends.
    pub fn counts(&mut self, metrics: Arc<Metrics>) {
        if let Some(open) = &mut self.open {
            open.metrics = Some(metrics);
        }
    }

    /// Keeps what is held of budgets until the end, instead of what was held before.
    pub fn reserve(&mut self, reservation: Reservation) {
        if let Some(open) = &mut self.open {
            open.reservation = Some(Box::new(reservation));
        }
    }

    /// The name under which this attempt holds what it may cost.
    pub fn hold(&mut self) -> String {
        self.open.as_mut().map_or_else(String::new, |open| {
            open.attempts += 1;
            format!("{}/{}", open.entry.id, open.attempts)
        })
    }

    /// Notes budgets that began to run low, and answers with all that did with this request.
    pub fn crossed(&mut self, more: Vec<String>) -> Vec<String> {
        self.open.as_mut().map_or_else(Vec::new, |open| {
            open.crossed.extend(more);
            open.crossed.clone()
        })
    }

    /// Gives back what is held of budgets.
    pub fn forgo(&mut self) {
        if let Some(open) = &mut self.open {
            open.reservation = None;
        }
    }

    /// Notes whether a provider may be at work, for which budgets pay.
    pub fn asked(&mut self, asked: bool) {
        if let Some(open) = &mut self.open {
            open.asked = asked;
        }
    }

    /// Notes who is told of the request once it has ended, if a provider was asked.
    pub fn tell(&mut self, after: Option<After>) {
        if let Some(open) = &mut self.open {
            open.after = after.map(Box::new);
        }
    }

    /// Who is told of the request once it has ended.
    pub fn told(&mut self) -> Option<&mut After> {
        self.open.as_mut()?.after.as_deref_mut()
    }

    /// The entry, as far as it is known.
    #[must_use]
    pub fn entry(&self) -> Option<&Entry> {
        self.open.as_ref().map(|open| &*open.entry)
    }

    /// Notes at which provider the request is open, which ends with the record.
    pub fn opened(&mut self, provider: route::InFlight, rules: Routing) {
        if let Some(open) = &mut self.open {
            open.provider = Some((provider, rules));
        }
    }

    /// Notes that the request is open at no provider: the answer of the one before was not good
    /// enough, and was judged already.
    pub fn closed(&mut self) {
        if let Some(open) = &mut self.open {
            open.provider = None;
        }
    }

    /// Notes that the provider at which the request was open has failed, and why.
    pub fn failed(&mut self, why: &str) {
        let provider = self.open.as_mut().and_then(|open| open.provider.take());
        if let Some((mut provider, rules)) = provider {
            provider.failed(why, route::Scope::Model, &rules);
        }
    }

    /// Keeps what was asked, for a capture with up to `room` bytes of the body; the values of
    /// the keys in `opaque` are left out of both bodies.
    pub fn capture_request(
        &mut self,
        head: &HeaderMap,
        body: &Bytes,
        room: usize,
        opaque: &'static [&'static str],
    ) {
        if let Some(open) = &mut self.open {
            open.opaque = opaque;
            open.room = room;
            // A slice would hold all of the body for as long as the response takes.
            let kept = memory::all().copy(&body[..body.len().min(room)]);
            let kept = kept.unwrap_or_default();
            open.capture = Some(Box::new(Capture {
                request_headers: headers::redacted(head),
                truncated: kept.len() < body.len(),
                request_body: kept,
                ..Capture::default()
            }));
        }
    }

    /// Keeps the head of the answer, if the request was kept.
    pub fn capture_response(&mut self, head: &HeaderMap) {
        if let Some(capture) = self.open.as_mut().and_then(|open| open.capture.as_mut()) {
            capture.response_headers = headers::redacted(head);
        }
    }

    /// Adds headers by which the record can be found.
    pub fn index(&mut self, headers: impl IntoIterator<Item = (String, String)>) {
        if let Some(open) = &mut self.open {
            open.headers.extend(headers);
        }
    }

    /// Notes the headers of the response by which the record can be found, instead of those of an
    /// attempt before.
    pub fn index_response(&mut self, headers: impl IntoIterator<Item = (String, String)>) {
        if let Some(open) = &mut self.open {
            open.response_headers = headers.into_iter().collect();
        }
    }

    /// Milliseconds since the request came, to the microsecond.
    #[must_use]
    pub fn elapsed_ms(&self) -> f64 {
        clock::to_microsecond(self.started.elapsed().as_secs_f64() * 1000.0)
    }

    /// Ends the record.
    pub fn end(&mut self, ended: Ended) {
        let Some(mut open) = self.open.take() else {
            return;
        };
        open.entry.duration_ms = self.elapsed_ms();
        // Whatever goes wrong with what belongs to it: there is a record.
        let rest = panics::caught_now("the end of a request", || open.read(ended));
        let rest = rest.unwrap_or_else(|| {
            open.entry.outcome = Outcome::Failed;
            open.entry.error = Some(Rejection::panicked().message.into_owned());
            Rest::default()
        });
        open.headers.append(&mut open.response_headers);
        open.slot.record(Record {
            entry: *open.entry,
            tools: rest.tools,
            headers: open.headers,
            capture: rest.capture,
            settlement: open.settlement,
            deliveries: rest.deliveries,
        });
    }
}

/// What a record has besides its entry.
#[derive(Default)]
struct Rest {
    tools: Vec<ToolCall>,
    capture: Option<Capture>,
    deliveries: Vec<Delivery>,
}

impl Open {
    /// Completes the entry by what was read of the answer, pays for it, and counts it.
    fn read(&mut self, mut ended: Ended) -> Rest {
        panics::point("usage");
        let entry = &mut *self.entry;
        entry.outcome = ended.ending.outcome();
        let quote = self.quote.as_deref().filter(|_| self.asked);
        let tokens = &mut ended.reading.tokens;
        tokens.input = tokens.input.or(self.in_head.input);
        tokens.output = tokens.output.or(self.in_head.output);
        if quote.is_some() {
            let sizes = charge::Sizes {
                density: self.density,
                request: self.asked_bytes,
                response: ended.length,
            };
            charge::complete(&mut ended.reading, &ended.ending, entry.status, sizes);
        }
        if let (Some(responses), Some(id)) = (&self.responses, &ended.reading.response_id) {
            responses.note(&entry.caller, id, &entry.session);
        }
        entry.tokens = ended.reading.tokens;
        let used = quote
            .zip(self.prices.as_deref())
            .and_then(|(quote, prices)| charge::of_used(entry, quote, prices, &ended.reading));
        charge::charge(
            entry,
            used.as_ref().or(quote),
            &ended.reading,
            &ended.ending,
        );
        // Nobody has worked where no provider was reached: what was held is given back.
        let reservation = self.reservation.take().filter(|_| self.asked);
        self.settlement =
            reservation.and_then(|reservation| reservation.settle(charge::spent(entry)));
        entry.finish_reason = ended.reading.finish_reason.take();
        entry.tool_calls = u32::try_from(ended.reading.tool_calls.len()).unwrap_or(u32::MAX);
        if let Some((mut provider, rules)) = self.provider.take() {
            match (ended.ending.fault(), &ended.ending) {
                (Some(why), _) => provider.failed(why, route::Scope::Model, &rules),
                (None, Ending::Complete) => provider.succeeded(),
                // A caller who leaves tells nothing of the provider.
                _ => {}
            }
        }
        entry.error = ended.ending.error().map(str::to_owned);
        tracing::info!(
            id = entry.id.as_str(),
            login = entry.login,
            node = entry.node_name,
            model = entry.model_requested,
            provider = entry.provider,
            status = entry.status,
            outcome = entry.outcome.as_str(),
            duration_ms = entry.duration_ms,
            "request"
        );
        if let Some(metrics) = &self.metrics {
            count(metrics, entry);
        }
        let deliveries = self
            .after
            .take()
            .filter(|_| self.asked)
            .map(|after| {
                let tools = &ended.reading.tool_calls;
                after.deliveries(entry, tools, &ended.body, ended.raw.as_deref())
            })
            .unwrap_or_default();
        Rest {
            deliveries,
            capture: self.captured(&mut ended),
            tools: ended.reading.tool_calls,
        }
    }

    fn captured(&mut self, ended: &mut Ended) -> Option<Capture> {
        let mut capture = *self.capture.take()?;
        // Hooks may be told more than is kept.
        let over = ended.body.len() > self.room;
        ended.body.truncate(self.room);
        if let Some(raw) = &mut ended.raw {
            raw.truncate(self.room);
        }
        capture.request_body = blobs::without(&capture.request_body, self.opaque);
        capture.response_body = blobs::without(&ended.body, self.opaque);
        capture.raw = ended.raw.take();
        capture.truncated |= ended.truncated || over;
        Some(capture)
    }
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
        duration: seconds(entry.duration_ms),
        first_token: entry.first_token_ms.map(seconds),
        overhead: entry.overhead_ms.map(seconds),
    };
    metrics.count(key, &ended);
}

impl Drop for Recording {
    /// What nobody has ended was dropped by the server, which does so when a connection closes.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return self.end(Ended::new(Ending::ClientLeft));
        }
        let failed = Rejection::panicked();
        self.note(|entry| entry.status = failed.status.as_u16());
        self.end(Ended::new(Ending::of(&failed)));
    }
}
