//! The way of a model request, from the verified caller to the relayed answer: one function.

mod agent;
mod attempt;
mod budget;
mod count;
mod entry;
mod guard;
pub mod guardrails;
mod held;
pub mod hooks;
mod lists;
mod refusal;
pub mod relay;
mod responses;
mod revoke;
pub mod rules;
pub mod upstream;
mod websocket;

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use tokio::sync::watch;

use crate::base::clock;
use crate::base::panics;
use crate::exchange::hooks::Tally;
use crate::exchange::relay::{Begun, Form, Reader, Recording, RelayBody};
use crate::exchange::rules::Rules;
use crate::exchange::upstream::Upstream;
use crate::formats::{Call, Format, Head, NO_MODEL, known};
use crate::net::tailnet::Resolver;
use crate::policy::identity::Caller;
use crate::policy::route::{Route, Traffic};
use crate::records::balances::Quotas;
use crate::records::metrics::Metrics;
use crate::records::{Entry, EntryId, Ledger, Slot};
use crate::wire::decode::Decoding;
use crate::wire::{Body, Framing, Rejection, body, headers, hops, unpack};

use attempt::{Answer, Asking};
pub use count::Uncounted;
use guard::Passing;
pub use held::Held;
pub use websocket::Pending;

/// The engines that a request passes through. They outlive every configuration.
pub struct Gateway {
    /// Rules in force.
    pub rules: watch::Receiver<Arc<Rules>>,
    /// Connections to providers.
    pub upstream: Upstream,
    /// What is known of providers from their traffic.
    pub traffic: Traffic,
    /// Which provider made what later requests may name.
    pub held: Held,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Balances of budgets.
    pub quotas: Quotas,
    /// What came of calls of hooks.
    pub tally: Tally,
    /// Responses that requests can go on with.
    pub responses: Arc<responses::Responses>,
    /// Providers that don't count tokens.
    pub uncounted: Uncounted,
    /// Records.
    pub ledger: Ledger,
}

/// A caller with the means to see whether they still are who they were.
#[derive(Clone)]
pub struct Verified {
    /// Who it is.
    pub caller: Arc<Caller>,
    /// Asks again; `None` for loopback, which cannot change.
    pub resolver: Option<(Arc<Resolver>, std::net::IpAddr)>,
    /// The network map's epoch for which `caller` was true.
    pub epoch: u64,
    /// Tells that the tailnet has changed.
    pub changes: Option<watch::Receiver<crate::net::tailnet::Status>>,
    /// The whole URL that was asked for, without its query.
    pub url: Arc<str>,
}

impl Gateway {
    /// Handles one request of a format. Refusals are responses in the format's own shape.
    pub async fn handle<B>(
        &self,
        api: &'static Format,
        who: Verified,
        request: Request<B>,
    ) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        let now = clock::unix_ms();
        let id = EntryId::new(now);
        let named = HeaderValue::from_str(id.as_str());
        let mut response = panics::caught("a request", self.relay(api, who, request, (id, now)))
            .await
            .unwrap_or_else(|| Err(Rejection::panicked()))
            .unwrap_or_else(|rejection| api.refuse(&rejection));
        // With it, a user who asks an admin about an answer can name its record.
        if let Ok(named) = named {
            response.headers_mut().insert("x-iris-request-id", named);
        }
        response
    }

    async fn relay<B>(
        &self,
        api: &'static Format,
        who: Verified,
        request: Request<B>,
        id: (EntryId, i64),
    ) -> Result<Response<Body>, Rejection>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        panics::point("access");
        let rules = self.rules.borrow().clone();
        let permit = rules
            .access
            .permit_again(&who.caller)
            .map_err(|none| none.rejection(&who.caller))?;
        // Room for the record first: what can't be recorded isn't done.
        let slot = self.room_for_record()?;
        let (mut head, incoming) = request.into_parts();
        let mut recording = self.recording(slot, entry::new(id, api, &who.caller, &head, &permit));
        panics::point("record");
        let outcome = async {
            hops::check(&head.headers)?;
            refusal::unreadable_type(api, &head.headers)?;
            let coding = unpack::coding(&head.headers)?;
            // From here on the body is plain, for all that look at it and for the provider.
            head.headers.remove(header::CONTENT_ENCODING);
            let limit = rules.request_body;
            let (idle, unreadable) = (rules.body_idle, refusal::unreadable);
            let bytes = if let Some(coding) = coding {
                let packed = body::read_packed(incoming, limit, idle).await;
                let packed = packed.map_err(|error| unreadable(&error))?;
                unpack::open(coding, packed, limit).await?
            } else {
                let read = body::read(incoming, limit, idle).await;
                read.map_err(|error| unreadable(&error))?
            };
            let passing = Passing {
                api,
                rules: &rules,
                permit: &permit,
                who: &who,
                head: &head,
                is_socket: false,
                fits: &|provider| provider.speaks(api),
            };
            // Boxed, so that who sends a body slowly takes no room for what comes after it.
            Box::pin(self.forward(&passing, bytes, &mut recording)).await
        }
        .await;
        let (call, answer) = match outcome {
            Ok(answered) => answered,
            Err(rejection) => {
                refusal::record(&mut recording, &rejection);
                return Err(rejection);
            }
        };
        let first_byte = recording.elapsed_ms();
        recording.note(|entry| {
            entry.status = answer.response.status().as_u16();
            entry.first_byte_ms = Some(first_byte);
            entry.overhead_ms = Some(answer.before);
        });
        let revoked = revoke::watch(self.rules.clone(), who, answer.route, rules.generation);
        Ok(self.answer(answer.response, api, call, recording, (revoked, &rules)))
    }

    /// Reads a request, whose body is whole, has the guards look at it, and asks for its answer.
    async fn forward(
        &self,
        passing: &Passing<'_>,
        body: Bytes,
        recording: &mut Recording,
    ) -> Result<(Call, Answer), Rejection> {
        panics::point("api");
        let call = read(passing, body);
        let call = call.map_err(|rejection| refusal::with_models(rejection, passing))?;
        known::check_query(passing.api.known, &call, passing.head.uri.query())?;
        let earlier = self.earlier(&call, passing.who);
        recording.note(|entry| entry::describe(entry, &call, &passing.head.headers, earlier));
        panics::point("route");
        let choice = self.chosen(passing, &call, recording)?;
        panics::point("hooks");
        let (call, choice) = self.guarded(passing, call, choice, recording).await?;
        let asking = Asking {
            api: passing.api,
            call: &call,
            rules: passing.rules,
            permit: passing.permit,
            who: passing.who,
            head: passing.head,
        };
        let count = passing.api.estimated_count(&call);
        let Some(count) = count
            .as_ref()
            .map(|count| (count, passing.rules.generation))
        else {
            let answer = self.ask(choice, asking, recording).await?;
            return Ok((call, answer));
        };
        if let Some(answer) = self.estimated(&choice.first, passing.api.name, count, recording) {
            let (first, way) = (&choice.first, (passing.api, &call));
            self.routed(recording, passing.rules, first, way, &passing.head.headers);
            return Ok((call, answer));
        }
        let answer = self.ask(choice, asking, recording).await?;
        let answer = self
            .counted(answer, &call, passing.api.name, count, recording)
            .await;
        Ok((call, answer))
    }

    /// A record that is counted, and whose response is remembered.
    fn recording(&self, slot: Slot, entry: Entry) -> Recording {
        let mut recording = Recording::new(slot, entry);
        recording.counts(Arc::clone(&self.metrics));
        recording.remembers(Arc::clone(&self.responses));
        recording
    }

    /// What is known of the response that a call goes on with.
    fn earlier(&self, call: &Call, who: &Verified) -> Option<String> {
        let id = call.previous_response.as_deref()?;
        self.responses.session(who.caller.key(), id)
    }

    fn room_for_record(&self) -> Result<Slot, Rejection> {
        let unavailable = |why: String| {
            Rejection::new(StatusCode::SERVICE_UNAVAILABLE, "ledger_unavailable", why)
                .retry_after(std::time::Duration::from_secs(5))
        };
        if !self.ledger.healthy() {
            return Err(unavailable(
                "requests cannot be recorded right now".to_owned(),
            ));
        }
        self.ledger
            .admit()
            .map_err(|full| unavailable(full.to_string()))
    }

    /// Notes where a request goes, and what of it is kept.
    fn routed(
        &self,
        recording: &mut Recording,
        rules: &Rules,
        route: &Route,
        (api, call): (&Format, &Call),
        headers: &HeaderMap,
    ) {
        recording.note(|entry| {
            entry.provider.clone_from(&route.provider.id);
            entry.model.clone_from(&route.model);
            entry.reasons.extend(route.reasons.iter().cloned());
        });
        if call.billed {
            let quote = rules.prices.quote(&route.provider.id, &route.model);
            recording.priced(
                quote,
                &rules.prices,
                (api.density)(&call.path),
                call.text_bytes(),
            );
        }
        recording.index(rules.filterable.of(headers));
        if self.ledger.policy().captures {
            let opaque = if rules.file.database.keep_encrypted_blobs {
                &[]
            } else {
                api.opaque
            };
            let room = rules.file.limits.capture;
            recording.capture_request(headers, &call.body, room, opaque);
        }
    }

    fn answer(
        &self,
        response: Response<Begun>,
        api: &'static Format,
        call: Call,
        mut recording: Recording,
        (revoked, rules): (relay::Watch, &Rules),
    ) -> Response<Body> {
        let (mut head, upstream) = response.into_parts();
        count::mark(&mut head);
        recording.capture_response(&head.headers);
        let timeouts = self.upstream.timeouts();
        let keep = self.ledger.policy();
        let framing = framing(&head.headers);
        let (mut room, mut raw) = (rules.file.limits.capture, keep.captures && keep.raws);
        if let Some(after) = recording.told() {
            after.answered(framing, Decoding::of(&head.headers));
            room = after.room(room);
            raw |= after.wants_raw();
        }
        let form = Form {
            is_error: !head.status.is_success(),
            is_bodiless: is_bodiless(head.status),
            is_stream: call.stream || framing.is_some(),
            framing,
            hides: call.splice.hide_usage,
            room,
            raw,
            idle: timeouts.idle,
            total: timeouts.total,
        };
        if form.is_stream {
            head.headers.remove(header::CONTENT_LENGTH);
            headers::unbuffered(&mut head.headers);
        }
        let reader = Reader {
            api,
            meter: api.meter(&call.metered(form.room)),
            decoding: Decoding::of(&head.headers),
        };
        // What was asked isn't needed any more, and may be large.
        drop(call);
        let relayed = RelayBody::new(upstream, reader, recording, revoked, &form);
        Response::from_parts(head, relayed.boxed_unsync())
    }
}

/// Reads a request. One without a model gets that of the configuration for its endpoint.
fn read(passing: &Passing<'_>, body: Bytes) -> Result<Call, Rejection> {
    let (api, head) = (passing.api, asked(passing.head));
    let defaults = &passing.rules.file.default_models;
    let default = api
        .default_model(head.path)
        .and_then(|endpoint| defaults.get(endpoint));
    let Some(default) = default else {
        return api.read(&head, body);
    };
    match api.read(&head, body.clone()) {
        Err(rejection) if rejection.code.0 == NO_MODEL => {
            match (api.with_model)(&head, &body, default) {
                Some(body) => api.read(&head, body),
                None => Err(rejection),
            }
        }
        read => read,
    }
}

fn asked(head: &Parts) -> Head<'_> {
    Head {
        path: head.uri.path(),
        query: head.uri.query(),
        headers: &head.headers,
    }
}

/// Whether a status says that no body follows, so that a server asks for none.
fn is_bodiless(status: StatusCode) -> bool {
    matches!(status.as_u16(), 100..=199 | 204 | 205 | 304)
}

fn framing(headers: &HeaderMap) -> Option<Framing> {
    let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let kind = kind.split(';').next().unwrap_or_default().trim();
    match kind.to_ascii_lowercase().as_str() {
        "text/event-stream" => Some(Framing::Text),
        "application/vnd.amazon.eventstream" => Some(Framing::Amazon),
        _ => None,
    }
}
