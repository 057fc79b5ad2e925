//! The life of one WebSocket: frames of its caller, frames of a provider, and what ends it.

use futures_util::{SinkExt, StreamExt};
use http::StatusCode;
use http::request::Parts;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_util::sync::CancellationToken;

use super::running::Running;
use crate::access::Permit;
use crate::api::{self, Api, Call};
use crate::clock::{self, within};
use crate::gateway::guard::Passing;
use crate::gateway::{Gateway, Verified, asked, entry, lists, refusal, revoke};
use crate::identity::Refused;
use crate::ledger::EntryId;
use crate::relay::Ending;
use crate::route::Route;
use crate::upstream::Socket;
use crate::wire::headers::Passed;
use crate::wire::{Mask, Rejection};

/// A caller's end.
pub(super) type Caller = WebSocketStream<TokioIo<Upgraded>>;

type Frame = Result<Message, Error>;

/// Why a WebSocket ends.
enum End {
    /// The caller left, or closed it.
    Gone,
    /// The gateway closes it.
    Close(CloseCode, String),
}

/// What a WebSocket waits for.
enum Heard {
    Caller(Option<Frame>),
    Provider(Option<Frame>),
    Withdrawn(Rejection),
    Stop,
}

/// A provider that is connected.
pub(super) struct Connected {
    id: String,
    socket: Socket,
    /// Hides what its frames quote: they have no status by which one is known to be an error.
    mask: Mask,
}

/// One WebSocket.
pub(super) struct Session<'g> {
    pub(super) gateway: &'g Gateway,
    pub(super) api: &'static dyn Api,
    pub(super) flag: &'static str,
    pub(super) who: Verified,
    pub(super) head: Parts,
    pub(super) caller: Caller,
    pub(super) upstream: Option<Connected>,
    pub(super) running: Option<Running>,
    pub(super) stop: CancellationToken,
}

impl Session<'_> {
    /// Serves it to its end.
    pub(super) async fn serve(mut self) {
        match self.run().await {
            End::Gone => self.end(Ending::ClientLeft),
            End::Close(code, reason) => {
                self.end(Ending::Refused(reason.clone()));
                let frame = CloseFrame {
                    code,
                    reason: reason.into(),
                };
                // Whoever has gone away, or reads no more, needs no farewell.
                let limit = self.gateway.upstream.timeouts().idle;
                let _ = within(limit, self.caller.close(Some(frame))).await;
            }
        }
        // Dropping the provider's connection cancels what is left of an answer.
    }

    async fn run(&mut self) -> End {
        loop {
            let Some(heard) = self.hear().await else {
                let rejection = silent();
                self.fail(Ending::TimedOut, &rejection).await;
                return End::Close(CloseCode::Away, rejection.message.to_string());
            };
            let ended = match heard {
                Heard::Caller(frame) => self.hear_caller(frame).await,
                Heard::Provider(frame) => self.hear_provider(frame).await,
                Heard::Withdrawn(rejection) => {
                    self.fail(Ending::Revoked, &rejection).await;
                    Some(End::Close(CloseCode::Policy, rejection.message.to_string()))
                }
                Heard::Stop => Some(End::Close(
                    CloseCode::Restart,
                    "the gateway stops".to_owned(),
                )),
            };
            if let Some(end) = ended {
                return end;
            }
        }
    }

    /// What comes next; `None` if nothing did for too long.
    async fn hear(&mut self) -> Option<Heard> {
        let bounds = self.gateway.upstream.timeouts();
        let until = match &self.running {
            Some(running) => running.deadline(&bounds),
            None => (!bounds.total.is_zero()).then(|| Instant::now() + bounds.total),
        };
        let idle = self.running.is_none();
        let upstream = self
            .upstream
            .as_mut()
            .map(|connected| &mut connected.socket);
        let from_provider = async {
            match upstream {
                Some(socket) => socket.next().await,
                None => std::future::pending().await,
            }
        };
        let running = self.running.as_mut();
        let withdrawn = async {
            match running {
                Some(running) => running.revoked.as_mut().await,
                None => std::future::pending().await,
            }
        };
        let caller = &mut self.caller;
        let stop = &self.stop;
        let next = async {
            // What was withdrawn is given no more of.
            tokio::select! {
                biased;
                rejection = withdrawn => Heard::Withdrawn(rejection),
                () = stop.cancelled(), if idle => Heard::Stop,
                frame = caller.next() => Heard::Caller(frame),
                frame = from_provider => Heard::Provider(frame),
            }
        };
        match until {
            Some(until) => timeout_at(until, next).await.ok(),
            None => Some(next.await),
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
            Some(Err(Error::Capacity(_))) => {
                let why = "the frame is longer than a request may be".to_owned();
                return Some(End::Close(CloseCode::Size, why));
            }
            Some(Ok(Message::Close(_)) | Err(_)) | None => return Some(End::Gone),
        };
        let refused = match self.api.frame(text.as_bytes()) {
            Ok(api::Frame::Beside) => {
                self.send_on(text).await;
                Ok(())
            }
            Ok(api::Frame::Request) if self.running.is_some() => Err(Rejection::new(
                StatusCode::CONFLICT,
                "response_in_progress",
                "one response at a time: the one before has not ended",
            )),
            Ok(api::Frame::Request) => self.create(&text).await,
            Err(rejection) => Err(rejection),
        };
        match refused {
            Ok(()) => None,
            Err(rejection) => self.tell(&rejection, None).await,
        }
    }

    /// Passes a frame on that asks for no answer, if there is anyone to pass it to.
    async fn send_on(&mut self, text: Utf8Bytes) {
        let limit = self.gateway.upstream.timeouts().idle;
        if let Some(Connected { socket, .. }) = &mut self.upstream {
            // A provider that is gone is noticed when it is listened to.
            let _ = within(limit, socket.send(Message::Text(text))).await;
        }
    }

    /// One request: the same steps as over HTTP.
    async fn create(&mut self, text: &Utf8Bytes) -> Result<(), Rejection> {
        let gateway = self.gateway;
        self.verify().await?;
        let rules = gateway.rules.borrow().clone();
        let permit = rules.access.permit_again(&self.who.caller);
        let permit = permit.map_err(|none| none.rejection(&self.who.caller))?;
        let slot = gateway.room_for_record()?;
        let now = clock::unix_ms();
        let id = (EntryId::new(now), now);
        let record = entry::new(id, self.api, &self.who.caller, &self.head, &permit);
        let mut recording = gateway.recording(slot, record);
        let outcome = async {
            let frame = bytes::Bytes::copy_from_slice(text.as_bytes());
            let mut call = self.api.read(&asked(&self.head), frame)?;
            // Here every answer comes as events.
            call.stream = true;
            let earlier = gateway.earlier(&call, &self.who);
            recording.note(|entry| entry::describe(entry, &call, &self.head.headers, earlier));
            let passing = Passing {
                api: self.api,
                rules: &rules,
                permit: &permit,
                who: &self.who,
                head: &self.head,
                is_socket: true,
                fits: &|provider| provider.flags.contains(&self.flag),
            };
            let choice = gateway.chosen(&passing, &call, &mut recording)?;
            let (call, choice) = gateway
                .guarded(&passing, call, choice, &mut recording)
                .await?;
            let route = choice.first;
            let headers = &self.head.headers;
            gateway.routed(&mut recording, &rules, &route, (self.api, &call), headers);
            let passed = lists::headers(self.api, &route.provider, headers);
            let outbound = (self.api).prepare(&call, &route.provider.destination(&route.model))?;
            // A WebSocket has no headers left to warn in.
            let payer = (&*rules, permit.as_ref(), &*self.who.caller);
            let held = gateway
                .reserve(payer, &route, &call, &mut recording)
                .await?;
            let told = (held.states, held.crossed);
            let of = (&*rules, permit.as_ref(), &self.who);
            gateway.tell(of, &route, (&call, told), &mut recording);
            let before = recording.elapsed_ms();
            self.connect(&route, &permit, &passed, &outbound.path)
                .await?;
            let sent = String::from_utf8(outbound.body.to_vec()).unwrap_or_default();
            recording.asked(true);
            let open = gateway.traffic.open(&route.provider.id);
            recording.opened(open, rules.file.routing);
            if let Some(Connected { socket, .. }) = &mut self.upstream {
                let limit = gateway.upstream.timeouts().first_byte;
                within(limit, socket.send(Message::text(sent)))
                    .await
                    .map_err(|_| silent())?
                    .map_err(|_| broke_off())?;
            }
            recording.note(|entry| {
                entry.status = StatusCode::OK.as_u16();
                entry.overhead_ms = Some(before);
            });
            Ok((call, route))
        }
        .await;
        let (call, route) = match outcome {
            Ok(asked) => asked,
            Err(rejection) => {
                refusal::record(&mut recording, &rejection);
                return Err(rejection);
            }
        };
        let mut room = rules.file.limits.capture;
        if let Some(after) = recording.told() {
            room = after.room(room);
        }
        let meter = self.api.meter(&call, room);
        let who = self.who.clone();
        let revoked = revoke::watch(gateway.rules.clone(), who, route, rules.generation);
        self.running = Some(Running::new(call, meter, recording, revoked));
        Ok(())
    }

    /// Sees that the caller still is who opened the WebSocket, which may be hours ago.
    async fn verify(&mut self) -> Result<(), Rejection> {
        let Some((resolver, source)) = &self.who.resolver else {
            return Ok(());
        };
        let epoch = resolver.epoch();
        if epoch == self.who.epoch {
            return Ok(());
        }
        match resolver.caller(*source).await {
            Ok(again) if again.is_same(&self.who.caller) => {
                self.who.caller = again;
                self.who.epoch = epoch;
                Ok(())
            }
            Err(why @ Refused::Unavailable(_)) => Err(Rejection::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "identity_unavailable",
                why.to_string(),
            )),
            _ => Err(Rejection::new(
                StatusCode::FORBIDDEN,
                "revoked",
                "this device may no longer call",
            )),
        }
    }

    /// Connects the route's provider, unless it is the one that is connected.
    async fn connect(
        &mut self,
        route: &Route,
        permit: &Permit,
        headers: &Passed,
        path: &str,
    ) -> Result<(), Rejection> {
        let id = &route.provider.id;
        let connected = self.upstream.as_ref();
        if connected.is_some_and(|connected| &connected.id == id) {
            return Ok(());
        }
        self.upstream = None;
        let gateway = self.gateway;
        let (socket, mask) = gateway
            .upstream
            .socket(route, permit, headers, path, gateway.bounds())
            .await
            .map_err(|failure| failure.rejection())?;
        self.upstream = Some(Connected {
            id: id.clone(),
            socket,
            mask,
        });
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
                    self.fail(Ending::ProviderCut, &broke_off()).await;
                }
                return None;
            }
        };
        let text = match &self.upstream {
            Some(connected) => masked(text, &connected.mask),
            None => text,
        };
        let mut over = None;
        if let Some(running) = &mut self.running {
            running.take(&text);
            let failed = is_error(&text);
            over = (failed || running.is_complete()).then_some(failed);
        }
        if let Some(end) = self.give(Message::Text(text)).await {
            return Some(end);
        }
        match over {
            Some(true) => {
                let why = "the provider ended the response with an error".to_owned();
                self.end(Ending::ProviderFailed(why));
            }
            Some(false) => self.end(Ending::Complete),
            None => {}
        }
        None
    }

    /// Ends the running answer: its caller is told in the format's own way.
    async fn fail(&mut self, ending: fn(String) -> Ending, rejection: &Rejection) {
        let Some(mut running) = self.running.take() else {
            return;
        };
        running.end(ending(rejection.message.to_string()));
        self.tell(rejection, Some(&running.call)).await;
    }

    /// Sends the format's event for a refusal.
    async fn tell(&mut self, rejection: &Rejection, call: Option<&Call>) -> Option<End> {
        let none = Call::default();
        let event = self.api.stream_error(call.unwrap_or(&none), rejection);
        let event = String::from_utf8_lossy(&event);
        let data = event.lines().find_map(|line| line.strip_prefix("data: "));
        self.give(Message::text(data.unwrap_or_default())).await
    }

    /// Gives a frame to the caller, who may not be reading.
    async fn give(&mut self, frame: Message) -> Option<End> {
        let limit = self.gateway.upstream.timeouts().idle;
        match within(limit, self.caller.send(frame)).await {
            Ok(Ok(())) => None,
            Ok(Err(_)) | Err(_) => Some(End::Gone),
        }
    }

    fn end(&mut self, ending: Ending) {
        if let Some(mut running) = self.running.take() {
            running.end(ending);
        }
    }
}

/// A frame without the credentials that it quotes.
fn masked(text: Utf8Bytes, mask: &Mask) -> Utf8Bytes {
    let shown = mask.whole(text.into());
    // Stars in place of a part of a letter make it none.
    Utf8Bytes::try_from(shown.clone()).unwrap_or_else(|_| {
        let text = String::from_utf8_lossy(&shown);
        Utf8Bytes::from(text.as_ref())
    })
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
