//! The record of a request while it runs. However the request ends, exactly one entry
//! reaches the ledger: whoever drops a recording without ending it has lost its caller.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;

use super::blobs;
use crate::api::{Reading, Tokens, ToolCall, tokens};
use crate::bucket::Settlement;
use crate::config::Routing;
use crate::hooks::After;
use crate::ledger::{Capture, Delivery, Entry, Outcome, Record, Slot};
use crate::metrics::{self, Key, Metrics};
use crate::money::{Mode, Money};
use crate::panics;
use crate::quota::{Amounts, Reservation};
use crate::route;
use crate::usage::Quote;
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
    capture: Option<Box<Capture>>,
    /// What the provider's answer costs; `None` until one is chosen, and for what is not billed.
    quote: Option<Box<Quote>>,
    /// What is held of budgets.
    reservation: Option<Box<Reservation>>,
    /// What was taken of them in the end.
    settlement: Option<Settlement>,
    /// A provider has been asked, so it may have worked.
    asked: bool,
    /// The request as it is open at its provider.
    provider: Option<(route::Open, Routing)>,
    /// Who is told of the request once it has ended.
    after: Option<Box<After>>,
    /// Where the request is counted.
    metrics: Option<Arc<Metrics>>,
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
    pub outcome: Outcome,
    /// What the meter read.
    pub reading: Reading,
    /// The answer, as a capture keeps it.
    pub body: Bytes,
    /// The answer as it came.
    pub raw: Option<Bytes>,
    /// There was more than what is kept.
    pub truncated: bool,
    /// What went wrong.
    pub error: Option<String>,
}

impl Ended {
    /// An end without an answer.
    #[must_use]
    pub fn new(outcome: Outcome, error: Option<String>) -> Self {
        Self {
            outcome,
            reading: Reading::default(),
            body: Bytes::new(),
            raw: None,
            truncated: false,
            error,
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
                capture: None,
                quote: None,
                reservation: None,
                settlement: None,
                asked: false,
                provider: None,
                after: None,
                room: 0,
                metrics: None,
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

    /// Notes the price of what a provider is asked.
    pub fn priced(&mut self, quote: Quote) {
        if let Some(open) = &mut self.open {
            open.quote = Some(Box::new(quote));
        }
    }

    /// The price of what the provider is asked.
    #[must_use]
    pub fn quote(&self) -> Option<&Quote> {
        self.open.as_ref()?.quote.as_deref()
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
    pub fn opened(&mut self, provider: route::Open, rules: Routing) {
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
            open.capture = Some(Box::new(Capture {
                request_headers: headers::redacted(head),
                request_body: body.slice(..body.len().min(room)),
                truncated: body.len() > room,
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

    /// Milliseconds since the request came.
    #[must_use]
    pub fn elapsed_ms(&self) -> f64 {
        self.started.elapsed().as_secs_f64() * 1000.0
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
        entry.outcome = ended.outcome;
        if self.asked && self.quote.is_some() && entry.outcome.leaves_work() {
            assume_read(&mut ended.reading.tokens, entry.request_bytes);
        }
        entry.tokens = ended.reading.tokens;
        let quote = self.quote.as_deref().filter(|_| self.asked);
        charge(entry, quote, &ended.reading);
        // Nobody has worked where no provider was reached: what was held is given back.
        let reservation = self.reservation.take().filter(|_| self.asked);
        self.settlement = reservation.and_then(|reservation| reservation.settle(spent(entry)));
        entry.finish_reason = ended.reading.finish_reason.take();
        entry.tool_calls = u32::try_from(ended.reading.tool_calls.len()).unwrap_or(u32::MAX);
        if let Some((mut provider, rules)) = self.provider.take() {
            match entry.outcome {
                Outcome::UpstreamError | Outcome::TimedOut => {
                    let why = ended.error.as_deref().unwrap_or("its answer broke off");
                    provider.failed(why, route::Scope::Model, &rules);
                }
                Outcome::Complete => provider.succeeded(),
                // A caller who leaves tells nothing of the provider.
                _ => {}
            }
        }
        entry.error = ended.error.take();
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

/// A provider that was asked has read the request, whether or not its answer was waited for.
fn assume_read(tokens: &mut Tokens, request_bytes: u64) {
    if tokens.input.is_none() && tokens.output.is_none() {
        tokens.input = Some(tokens::roughly(request_bytes));
        tokens.estimated = true;
    }
}

/// What the request takes of budgets.
fn spent(entry: &Entry) -> Amounts {
    let counted = [entry.tokens.input, entry.tokens.output];
    let tokens = counted
        .into_iter()
        .flatten()
        .fold(0_u64, u64::saturating_add);
    Amounts {
        tokens: i64::try_from(tokens).unwrap_or(i64::MAX),
        cost: entry.cost.map(Money::from_nanodollars),
    }
}

/// Puts the cost of an answer on its entry. What no provider was asked for costs nothing, and
/// neither does an error without usage; what has no known price stays unknown.
fn charge(entry: &mut Entry, quote: Option<&Quote>, reading: &Reading) {
    let Some(quote) = quote else {
        entry.cost = Some(0);
        return;
    };
    let mode = match reading.tier.as_deref() {
        Some("batch") => Mode::Batch,
        _ => Mode::Standard,
    };
    let uncounted = reading.tokens.input.is_none() && reading.tokens.output.is_none();
    if entry.status >= 400 && uncounted {
        entry.cost = Some(0);
    } else if let Some(cost) = quote.cost(&reading.tokens, mode) {
        entry.cost = Some(cost.total.nanodollars());
        entry.cost_basis.clone_from(&quote.resolved_model);
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return self.end(Ended::new(Outcome::ClientClosed, None));
        }
        let failed = Rejection::panicked();
        self.note(|entry| entry.status = failed.status.as_u16());
        let why = Some(failed.message.into_owned());
        self.end(Ended::new(Outcome::Failed, why));
    }
}
