//! The frames of one WebSocket, from both sides.

use futures_util::{SinkExt, StreamExt};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::running::Running;
use super::{Caller, End};
use crate::api::{Api, Call};
use crate::clock::{self, within};
use crate::gateway::{Gateway, Verified, asked, entry, refusal, revoke};
use crate::ledger::{EntryId, Outcome};
use crate::relay::Recording;
use crate::route::Route;
use crate::upstream::Socket;
use crate::wire::{Rejection, json};

/// A WebSocket that is served.
pub(super) struct Session<'g> {
    pub gateway: &'g Gateway,
    pub api: &'static dyn Api,
    pub flag: &'static str,
    pub who: Verified,
    pub head: Parts,
    pub caller: Caller,
    /// The provider that is connected, by its id.
    pub upstream: Option<(String, Socket)>,
    pub running: Option<Running>,
}

impl Session<'_> {
    pub(super) async fn run(&mut self) -> End {
        loop {
            let timeouts = self.gateway.upstream.timeouts();
            let patience = if self.running.is_some() {
                timeouts.idle
            } else {
                timeouts.total
            };
            let upstream = self.upstream.as_mut().map(|(_, socket)| socket);
            let from_provider = async {
                match upstream {
                    Some(socket) => socket.next().await,
                    None => std::future::pending().await,
                }
            };
            let withdrawn = async {
                match &mut self.running {
                    Some(running) => running.revoked.as_mut().await,
                    None => std::future::pending().await,
                }
            };
            let caller = &mut self.caller;
            let waited = within(patience, async {
                tokio::select! {
                    frame = caller.next() => Heard::Caller(frame),
                    frame = from_provider => Heard::Provider(frame),
                    rejection = withdrawn => Heard::Withdrawn(rejection),
                }
            })
            .await;
            let ended = match waited {
                Ok(Heard::Caller(frame)) => self.hear_caller(frame).await,
                Ok(Heard::Provider(frame)) => self.hear_provider(frame).await,
                Ok(Heard::Withdrawn(rejection)) => {
                    self.fail(Outcome::Refused, &rejection).await;
                    Some(End::Close(CloseCode::Policy, rejection.message.to_string()))
                }
                Err(_) => {
                    let rejection = silent();
                    self.fail(Outcome::TimedOut, &rejection).await;
                    Some(End::Close(CloseCode::Away, rejection.message.to_string()))
                }
            };
            if let Some(end) = ended {
                return end;
            }
        }
    }

    async fn hear_caller(&mut self, frame: Option<Frame>) -> Option<End> {
        let text = match frame {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Binary(_))) => {
                let why = "frames are text here".to_owned();
                return Some(End::Close(CloseCode::Unsupported, why));
            }
            // Answered by the library.
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => return None,
            Some(Err(error)) if is_too_long(&error) => {
                let why = "the frame is longer than a request may be".to_owned();
                return Some(End::Close(CloseCode::Size, why));
            }
            Some(Ok(Message::Close(_)) | Err(_)) | None => return Some(End::Gone),
        };
        let kind = json::scan(text.as_bytes(), &["type"])
            .ok()
            .and_then(|fields| fields.get(0))
            .and_then(|at| json::string(&text.as_bytes()[at]).map(std::borrow::Cow::into_owned));
        if kind.as_deref() != Some("response.create") {
            if let Some((_, upstream)) = &mut self.upstream {
                // A provider that is gone is noticed when it is listened to.
                let _ = upstream.send(Message::Text(text)).await;
            }
            return None;
        }
        let refused = if self.running.is_some() {
            Err(Rejection::new(
                StatusCode::CONFLICT,
                "response_in_progress",
                "one response at a time: the one before has not ended",
            ))
        } else {
            self.create(&text).await
        };
        match refused {
            Ok(()) => None,
            Err(rejection) => self.tell(&rejection, None).await,
        }
    }

    /// One request: the same steps as over HTTP.
    async fn create(&mut self, text: &Utf8Bytes) -> Result<(), Rejection> {
        let gateway = self.gateway;
        let rules = gateway.rules.borrow().clone();
        let permit = rules.access.permit(&self.who.caller);
        let permit = permit.map_err(|none| none.rejection(&self.who.caller))?;
        let slot = gateway.room_for_record()?;
        let now = clock::unix_ms();
        let id = (EntryId::new(now), now);
        let record = entry::new(id, self.api, &self.who.caller, &self.head, &permit);
        let mut recording = Recording::new(slot, record);
        let outcome = async {
            let frame = bytes::Bytes::copy_from_slice(text.as_bytes());
            let mut call = self.api.read(&asked(&self.head), frame)?;
            // Here every answer comes as events.
            call.stream = true;
            recording.note(|entry| entry::describe(entry, &call, &self.head.headers));
            let fits = |provider: &crate::route::Provider| provider.flags.contains(&self.flag);
            let route = rules
                .routes
                .select_where(&permit, &call.model, &fits)
                .map_err(|none| {
                    refusal::no_route(&none, &call, &self.who.caller, &mut recording, self.api)
                })?;
            let headers = self.head.headers.clone();
            gateway.routed(&mut recording, &rules, &route, (self.api, &call), &headers);
            let to = route.provider.destination(&route.model);
            let outbound = self.api.prepare(&call, &to)?;
            let before = recording.elapsed_ms();
            self.connect(&route, &permit, &headers, &outbound.path)
                .await?;
            let sent = String::from_utf8(outbound.body.to_vec()).unwrap_or_default();
            let broken = |_| broke_off();
            if let Some((_, upstream)) = &mut self.upstream {
                upstream.send(Message::text(sent)).await.map_err(broken)?;
            }
            recording.note(|entry| {
                entry.status = StatusCode::OK.as_u16();
                entry.overhead_ms = Some(before);
            });
            Ok((call, route))
        }
        .await;
        match outcome {
            Ok((call, route)) => {
                let room = rules.file.limits.capture;
                let revoked = revoke::watch(
                    gateway.rules.clone(),
                    self.who.clone(),
                    route,
                    rules.generation,
                );
                self.running = Some(Running {
                    meter: self.api.meter(&call, room),
                    call,
                    recording,
                    revoked,
                });
                Ok(())
            }
            Err(rejection) => {
                refusal::record(&mut recording, &rejection);
                Err(rejection)
            }
        }
    }

    /// Connects the route's provider, unless it is the one that is connected.
    async fn connect(
        &mut self,
        route: &Route,
        permit: &crate::access::Permit,
        headers: &HeaderMap,
        path: &str,
    ) -> Result<(), Rejection> {
        let id = &route.provider.id;
        if self.upstream.as_ref().is_some_and(|(open, _)| open == id) {
            return Ok(());
        }
        self.upstream = None;
        let gateway = self.gateway;
        let opened = gateway
            .upstream
            .socket(route, permit, headers, path, gateway.bounds())
            .await
            .map_err(|failure| failure.rejection())?;
        self.upstream = Some((id.clone(), opened));
        Ok(())
    }

    async fn hear_provider(&mut self, frame: Option<Frame>) -> Option<End> {
        let text = match frame {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => return None,
            Some(Ok(Message::Binary(_) | Message::Close(_)) | Err(_)) | None => {
                // Between two answers this is nobody's loss: the next one connects again.
                self.upstream = None;
                if self.running.is_some() {
                    self.fail(Outcome::UpstreamError, &broke_off()).await;
                }
                return None;
            }
        };
        let mut over = None;
        if let Some(running) = &mut self.running {
            running.take(&text);
            let failed = is_error(&text);
            over = (failed || running.meter.is_complete()).then_some(failed);
        }
        if self.caller.send(Message::Text(text)).await.is_err() {
            return Some(End::Gone);
        }
        match over {
            Some(true) => {
                let why = "the provider ended the response with an error".to_owned();
                self.end(Outcome::UpstreamError, Some(why));
            }
            Some(false) => self.end(Outcome::Complete, None),
            None => {}
        }
        None
    }

    /// Ends the running answer: its caller is told in the format's own way.
    async fn fail(&mut self, outcome: Outcome, rejection: &Rejection) {
        let Some(running) = self.running.take() else {
            return;
        };
        let call = running.call.clone();
        running.end(outcome, Some(rejection.message.to_string()));
        self.tell(rejection, Some(&call)).await;
    }

    /// Sends the format's event for a refusal.
    async fn tell(&mut self, rejection: &Rejection, call: Option<&Call>) -> Option<End> {
        let none = Call::default();
        let event = self.api.stream_error(call.unwrap_or(&none), rejection);
        let event = String::from_utf8_lossy(&event);
        let data = event.lines().find_map(|line| line.strip_prefix("data: "));
        let sent = self
            .caller
            .send(Message::text(data.unwrap_or_default()))
            .await;
        sent.is_err().then_some(End::Gone)
    }

    pub(super) fn end(&mut self, outcome: Outcome, error: Option<String>) {
        if let Some(running) = self.running.take() {
            running.end(outcome, error);
        }
    }
}

type Frame = Result<Message, tokio_tungstenite::tungstenite::Error>;

/// What a WebSocket waits for.
enum Heard {
    Caller(Option<Frame>),
    Provider(Option<Frame>),
    Withdrawn(Rejection),
}

fn is_too_long(error: &tokio_tungstenite::tungstenite::Error) -> bool {
    matches!(error, tokio_tungstenite::tungstenite::Error::Capacity(_))
}

/// Whether a frame is the API's event for an error, which ends an answer.
fn is_error(text: &Utf8Bytes) -> bool {
    #[derive(serde::Deserialize)]
    struct Kind<'a> {
        #[serde(default, rename = "type")]
        kind: Option<&'a str>,
    }
    serde_json::from_str::<Kind<'_>>(text).is_ok_and(|event| event.kind == Some("error"))
}

fn broke_off() -> Rejection {
    Rejection::new(
        StatusCode::BAD_GATEWAY,
        "provider_broke_off",
        "the provider closed the connection before the end of its answer",
    )
}

fn silent() -> Rejection {
    Rejection::new(
        StatusCode::GATEWAY_TIMEOUT,
        "provider_timeout",
        "nothing was said for longer than this gateway waits",
    )
}
