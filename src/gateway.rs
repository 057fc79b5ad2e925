//! The way of a model request, from the verified caller to the relayed answer: one function.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use tokio::sync::watch;

use crate::access::Permit;
use crate::api::{Api, Call};
use crate::clock;
use crate::identity::{Caller, Resolver};
use crate::ledger::{Entry, EntryId, Ledger, Outcome, Slot, Tokens};
use crate::relay::{Form, Recording, RelayBody, Watch};
use crate::route::{NoRoute, Route};
use crate::rules::Rules;
use crate::upstream::Upstream;
use crate::wire::{Body, Rejection, body, headers};

/// A session id from a header may be this long; a longer one is not an id.
const MAX_SESSION: usize = 128;

/// The engines that a request passes through. They outlive every configuration.
pub struct Gateway {
    /// Rules in force.
    pub rules: watch::Receiver<Arc<Rules>>,
    /// Connections to providers.
    pub upstream: Upstream,
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
    pub changes: Option<watch::Receiver<crate::tailnet::Status>>,
}

impl Gateway {
    /// Handles one request of a format. Refusals are responses in the format's own shape.
    pub async fn handle<B>(
        &self,
        api: &'static dyn Api,
        who: Verified,
        request: Request<B>,
    ) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        self.relay(api, who, request)
            .await
            .unwrap_or_else(|rejection| api.refuse(&rejection))
    }

    async fn relay<B>(
        &self,
        api: &'static dyn Api,
        who: Verified,
        request: Request<B>,
    ) -> Result<Response<Body>, Rejection>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        let rules = self.rules.borrow().clone();
        let permit = rules
            .access
            .permit(&who.caller)
            .map_err(|none| none.rejection(&who.caller))?;
        // Room for the record first: what can't be recorded isn't done.
        let slot = self.room_for_record()?;
        let (head, incoming) = request.into_parts();
        let mut recording = Recording::new(slot, entry(api, &who.caller, &head, &permit));
        let outcome = async {
            require_json(&head.headers)?;
            let bytes = body::read(incoming, rules.request_body, rules.body_idle)
                .await
                .map_err(|error| unreadable(&error))?;
            let call = api.read(bytes)?;
            recording.note(|entry| describe(entry, &call));
            let route = rules
                .routes
                .select(&permit, api.kind(), &call.model)
                .map_err(|none| no_route(&none, &call, &who.caller, &mut recording, api))?;
            recording.note(|entry| {
                entry.provider.clone_from(&route.provider.id);
                entry.model.clone_from(&route.model);
                entry.reasons.extend(route.reasons.iter().cloned());
            });
            let outbound = api.prepare(&call, &route.model);
            let query = head
                .uri
                .query()
                .map(without_keys)
                .filter(|query| !query.is_empty());
            let before = recording.elapsed_ms();
            let sent = self
                .upstream
                .send(&route, &permit, &head.headers, query.as_deref(), outbound)
                .await;
            match sent {
                Ok(response) => Ok((response, call, route, before)),
                Err(failure) => Err(failure.rejection()),
            }
        }
        .await;
        let (response, call, route, before) = match outcome {
            Ok(answered) => answered,
            Err(rejection) => {
                refuse(&mut recording, &rejection);
                return Err(rejection);
            }
        };
        let first_byte = recording.elapsed_ms();
        recording.note(|entry| {
            entry.status = response.status().as_u16();
            entry.first_byte_ms = Some(first_byte);
            entry.overhead_ms = Some(before);
        });
        let watch = self.revocation(who, route, rules.generation);
        Ok(self.answer(response, api, &call, recording, watch))
    }

    fn room_for_record(&self) -> Result<Slot, Rejection> {
        let unavailable = |why: String| {
            Rejection::new(StatusCode::SERVICE_UNAVAILABLE, "ledger_unavailable", why)
                .retry_after(std::time::Duration::from_secs(5))
        };
        if !self.ledger.healthy() {
            return Err(unavailable(
                "requests cannot be recorded at the moment".to_owned(),
            ));
        }
        self.ledger
            .admit()
            .map_err(|full| unavailable(full.to_string()))
    }

    fn answer(
        &self,
        response: Response<hyper::body::Incoming>,
        api: &'static dyn Api,
        call: &Call,
        recording: Recording,
        revoked: Watch,
    ) -> Response<Body> {
        let (mut head, upstream) = response.into_parts();
        headers::returned(&mut head.headers);
        let timeouts = self.upstream.timeouts();
        let form = Form {
            is_error: !head.status.is_success(),
            is_stream: is_event_stream(&head.headers),
            hides: call.splice.hide_usage,
            idle: timeouts.idle,
            total: timeouts.total,
        };
        if form.is_stream {
            head.headers.remove(header::CONTENT_LENGTH);
        }
        let relayed = RelayBody::new(upstream, api, api.meter(call), recording, revoked, form);
        Response::from_parts(head, relayed.boxed_unsync())
    }

    /// Resolves once the caller may no longer have what they are being given: looked at
    /// again whenever the tailnet or the configuration changes.
    fn revocation(&self, who: Verified, route: Route, generation: u64) -> Watch {
        let mut rules = self.rules.clone();
        Box::pin(async move {
            let mut changes = who.changes;
            let mut seen = generation;
            let mut epoch = who.epoch;
            let mut caller = who.caller;
            loop {
                let current = rules.borrow_and_update().clone();
                if let Some((resolver, source)) = &who.resolver {
                    let now = resolver.epoch();
                    if now != epoch {
                        epoch = now;
                        seen = u64::MAX;
                        match resolver.caller(*source).await {
                            Ok(again) if again.node_id() == caller.node_id() => caller = again,
                            Err(crate::identity::Refused::Unavailable(_)) => {}
                            _ => return revoked("this device may no longer call"),
                        }
                    }
                }
                if current.generation != seen {
                    seen = current.generation;
                    let covered = current.access.permit(&caller).is_ok_and(|permit| {
                        permit.covers(&route.provider.id, &route.model).is_some()
                    });
                    if !covered {
                        return revoked("access to this model was withdrawn");
                    }
                }
                // A closed channel tells of nothing any more: the process is stopping.
                let tailnet_changed = async {
                    let heard = match &mut changes {
                        Some(changes) => changes.changed().await.is_ok(),
                        None => false,
                    };
                    if !heard {
                        std::future::pending::<()>().await;
                    }
                };
                let rules_changed = async {
                    if rules.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                };
                tokio::select! {
                    () = rules_changed => {}
                    () = tailnet_changed => {}
                }
            }
        })
    }
}

fn revoked(why: &'static str) -> Rejection {
    Rejection::new(StatusCode::FORBIDDEN, "revoked", why)
}

/// The record as far as the request's head tells.
fn entry(api: &dyn Api, caller: &Caller, head: &http::request::Parts, permit: &Permit) -> Entry {
    let now = clock::unix_ms();
    let id = EntryId::new(now);
    let text = |name: &str| {
        head.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned()
    };
    let given = text("x-session-id");
    let named = !given.is_empty() && given.len() <= MAX_SESSION;
    Entry {
        session: if named { given } else { id.as_str().to_owned() },
        id,
        started_at: now,
        login: caller.name().to_owned(),
        node_id: caller.node_id().to_owned(),
        node_name: caller.node_name().to_owned(),
        tags: caller.tags().to_vec(),
        agent: String::new(),
        api: api.kind().0.to_owned(),
        model_requested: String::new(),
        model: String::new(),
        provider: String::new(),
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        status: 0,
        outcome: Outcome::ClientClosed,
        stream: false,
        tokens: Tokens::default(),
        cost: None,
        cost_basis: None,
        finish_reason: None,
        tool_calls: 0,
        first_byte_ms: None,
        first_token_ms: None,
        duration_ms: 0.0,
        overhead_ms: None,
        request_bytes: 0,
        response_bytes: 0,
        user_agent: text("user-agent").chars().take(512).collect(),
        reasons: vec![format!(
            "caller {} on node {}, role {:?} by {}",
            caller.name(),
            caller.node_name(),
            permit.role(),
            permit.role_source()
        )],
        error: None,
        captured: false,
    }
}

fn describe(entry: &mut Entry, call: &Call) {
    entry.model_requested.clone_from(&call.model);
    entry.stream = call.stream;
    entry.request_bytes = call.body.len() as u64;
    if let Some(session) = &call.session {
        entry.session.clone_from(session);
    }
}

fn refuse(recording: &mut Recording, rejection: &Rejection) {
    recording.note(|entry| entry.status = rejection.status.as_u16());
    let outcome = match rejection.status {
        StatusCode::BAD_GATEWAY => Outcome::Failed,
        StatusCode::GATEWAY_TIMEOUT => Outcome::TimedOut,
        _ => Outcome::Refused,
    };
    recording.end(
        outcome,
        crate::api::Reading::default(),
        Some(rejection.message.to_string()),
    );
}

fn no_route(
    none: &NoRoute,
    call: &Call,
    caller: &Caller,
    recording: &mut Recording,
    api: &dyn Api,
) -> Rejection {
    let (reason, message) = match none {
        NoRoute::OtherApi { through } => {
            let message = format!(
                "model {:?} is available through {}, not {}",
                call.model,
                through.join(", "),
                api.kind().0
            );
            (message.clone(), message)
        }
        NoRoute::Unknown => (
            format!("no provider serves {:?}", call.model),
            not_found(call, caller),
        ),
        NoRoute::NotGranted { candidates } => (
            format!("no grant covers any of {}", candidates.join(", ")),
            not_found(call, caller),
        ),
    };
    recording.note(|entry| entry.reasons.push(reason));
    Rejection::new(StatusCode::NOT_FOUND, "model_not_found", message)
}

fn not_found(call: &Call, caller: &Caller) -> String {
    format!(
        "no route found for model \"{}\" for user \"{}\"",
        call.model,
        caller.name()
    )
}

/// A body that is not declared as JSON could have been sent by a web page without asking.
fn require_json(headers: &http::HeaderMap) -> Result<(), Rejection> {
    let declared = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));
    if !declared {
        return Err(Rejection::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "not_json",
            "the request needs the header Content-Type: application/json",
        ));
    }
    if headers.contains_key(header::CONTENT_ENCODING) {
        return Err(Rejection::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "compressed_request",
            "compressed request bodies are not accepted",
        ));
    }
    Ok(())
}

fn unreadable(error: &body::ReadError) -> Rejection {
    let (status, code) = match error {
        body::ReadError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
        body::ReadError::Stalled => (StatusCode::REQUEST_TIMEOUT, "body_stalled"),
        body::ReadError::Broken(_) => (StatusCode::BAD_REQUEST, "body_broken"),
    };
    Rejection::new(status, code, error.to_string())
}

/// A query without the parameters in which some clients carry a credential.
fn without_keys(query: &str) -> String {
    query
        .split('&')
        .filter(|pair| {
            let name = pair.split('=').next().unwrap_or_default();
            !["key", "api_key", "api-key", "access_token"].contains(&name)
        })
        .collect::<Vec<_>>()
        .join("&")
}

fn is_event_stream(headers: &http::HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|kind| kind.trim_start().starts_with("text/event-stream"))
}
