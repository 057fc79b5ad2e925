//! What a format is to the rest of the program: one value, [`Format`], which its folder declares as
//! `FORMAT`. Nothing else knows a format by its name, so that a new one is a folder and a line in the
//! list of [`ALL`](super::ALL).
//!
//! A `Format` is data and functions rather than a trait, so that formats of one vendor share
//! functions without wrappers, and a format states only what differs from [`Format::new`]. No function
//! takes the caller's format along with the provider's: each sees requests and responses of its own
//! format alone, and the two may differ.

use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use serde_json::Value;

use super::attached::Attaching;
use super::realtime::Realtime;
use super::transcript::Conversation;
use super::translate::{self, Codec, VectorCaller, VectorProvider};
use super::{
    Call, Density, Destination, Dialect, Head, Known, Meter, MeteredRequest, Offer, OpaquePlace,
    Outbound, Path, Refusals, Tokens, body, refusal, tokens,
};
use crate::base::money::CostBasis;
use crate::wire::{Body, Rejection, sse};

/// A key of a provider's `compatibility`.
#[derive(Debug)]
pub struct Flag {
    /// The key.
    pub name: &'static str,
    /// What the reference says of it.
    pub text: &'static str,
    /// Whether it is on for a provider whose configuration turns nothing on.
    pub is_default: bool,
    /// The vendor whose price list and tiers count, where nothing else tells; `None` for formats that
    /// every vendor's server speaks.
    pub vendor: Option<CostBasis>,
}

/// What a caller's frame on a WebSocket asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A response: the frame is a request.
    Request,
    /// That the running response ends.
    Cancel,
    /// Nothing: it belongs to a response that was asked for.
    Beside,
}

/// How a format is spoken over a WebSocket.
#[derive(Clone, Copy, Debug)]
pub struct Socket {
    /// The flag of providers that take it.
    pub flag: &'static Flag,
    /// Whether a request for a WebSocket at this path is meant for the format.
    pub recognises: fn(&str) -> bool,
    /// The model that a handshake names for the requests that follow. Each frame names its own again, and
    /// only that counts.
    pub model: fn(&HeaderMap) -> Option<String>,
    /// What a caller's frame asks for. It is refused when it could be read in two ways, or is of a
    /// kind that isn't known to be harmless: it must not ask a provider for anything that no grant
    /// was checked for.
    pub frame: fn(&[u8]) -> Result<Frame, Rejection>,
    /// The event that ends a response, given its id, which the caller has cancelled.
    pub cancelled: fn(&str) -> Value,
}

/// Requests that may leave out the model, because the configuration can name one for them.
#[derive(Debug)]
pub struct DefaultModel {
    /// The key in the configuration's `default_models`.
    pub key: &'static str,
    /// What the reference says of it.
    pub text: &'static str,
    /// The paths, of [`Format::paths`].
    pub paths: &'static [&'static str],
}

/// What a provider keeps that a later request can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderState {
    /// Nothing.
    None,
    /// Such as a file, a container, or reasoning that only that provider can decrypt.
    Named,
    /// Also each item of a response, by its id.
    Items,
}

/// A response that a request names, which its provider keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedResponse<'p> {
    /// Its id.
    pub id: &'p str,
    /// The request is to delete it.
    pub deletes: bool,
}

/// How responses of a format are made in the background: a request only begins one.
#[derive(Clone, Copy, Debug)]
pub struct Background {
    /// What the first bytes tell of the response to a request: a body as far as it has come, or a stream.
    pub begins: fn(&[u8]) -> Begins,
    /// How a response has ended, as its provider tells it by its id; `None` while it is being made.
    pub ended: fn(&[u8]) -> Option<BackgroundEnd>,
    /// Where a provider tells a response by its id.
    pub path: fn(&str) -> String,
    /// Where a response is cancelled, with `POST`.
    pub cancel: fn(&str) -> String,
}

/// What the beginning of a response tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begins {
    /// It is being made in the background, and has this id.
    Running(String),
    /// It is any other response.
    Other,
    /// More of it is needed.
    More,
}

/// How a response that was made in the background has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackgroundEnd {
    /// As far as it was to be made.
    Complete,
    /// Its caller has cancelled it.
    Cancelled,
    /// The provider reports an error, in its own words.
    Failed(String),
}

/// How the chat page speaks a format.
#[derive(Clone, Copy, Debug)]
pub struct Chat {
    /// The flag of providers that it asks in it.
    pub flag: &'static Flag,
    /// The format's name in the page's script.
    pub name: &'static str,
    /// A model is asked in the format of its provider with the lowest rank.
    pub rank: u8,
}

/// One API format.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// Its name in records, and for most formats the name of its flag.
    pub name: &'static str,
    /// Any of these says that a provider speaks it.
    pub flags: &'static [&'static Flag],
    /// The path that listings show; `None` for a companion of a format that is listed.
    pub endpoint: Option<&'static str>,
    /// Paths that don't name a model, as providers have them. A caller may leave out `/v1`.
    pub paths: &'static [&'static str],
    /// Whether a request for another path is meant for it.
    pub recognises: fn(&str) -> bool,
    /// Whether a request of this method and path is for what stands at one provider, where no model answers it.
    pub recognises_place: fn(&Method, &str) -> bool,
    /// The response that a request of this method and path is for, if its provider keeps responses.
    pub named_response: for<'p> fn(&Method, &'p str) -> Option<NamedResponse<'p>>,
    /// How its responses are made in the background, if they can be.
    pub background: Option<Background>,
    /// What its requests and responses are known to consist of.
    pub known: &'static Known,
    /// Keys whose string values are opaque to all but the provider, in requests and responses.
    pub opaque: &'static [&'static str],
    /// Where a request holds strings that only the provider can read.
    pub opaque_places: &'static [OpaquePlace],
    /// How it is spoken over a WebSocket, if it can be.
    pub socket: Option<Socket>,
    /// How it is spoken in sessions, if it is.
    pub realtime: Option<Realtime>,
    /// Content types of requests that it reads; if the list is empty, any.
    pub accepts: &'static [&'static str],
    /// Whether a request with these headers needs no content type, because a web page couldn't
    /// send it without asking.
    pub takes_untyped: fn(&HeaderMap) -> bool,
    /// Whether its streams are JSON line by line, whose lines are the events.
    pub has_lines: bool,
    /// The longest event of a stream that is held for its meter, in bytes.
    pub longest_event: usize,
    /// Understands a request. It is refused when it isn't one of this format or could be read in two
    /// ways.
    pub read: fn(&Head<'_>, Bytes) -> Result<Call, Rejection>,
    /// Requests that may leave out the model.
    pub default_models: &'static [DefaultModel],
    /// A request without a model that names one; `None` if it can't be read.
    pub with_model: fn(&Head<'_>, &Bytes, &str) -> Option<Bytes>,
    /// The tools that a request offers to the model.
    pub tools: fn(&[u8]) -> Offer,
    /// The request for a provider. Fails when the provider's configuration lacks what the format
    /// needs.
    pub prepare: fn(&Call, &Destination<'_>) -> Result<Outbound, Rejection>,
    /// The counts that the head of a response states, where its body may not.
    pub counts_in_head: fn(&HeaderMap) -> Tokens,
    /// What the bytes of a request for a path and of its response stand for, where a provider doesn't
    /// count.
    pub density: fn(&Path) -> Density,
    /// The response to a request for a count of tokens, given the count; `None` if the format has no
    /// such requests.
    pub count_response: Option<fn(u64) -> Value>,
    /// The response to a request that asks for nothing but that a server loads or unloads the model;
    /// `None` for any other. A provider of another format isn't asked for that.
    pub idle_response: fn(&Call) -> Option<Value>,
    /// What a response can name that its provider keeps.
    pub state: ProviderState,
    /// A meter for the response to a request.
    pub meter: fn(&MeteredRequest<'_>) -> Box<dyn Meter>,
    /// How errors look to its clients.
    pub refusals: Refusals,
    /// Whether a provider's error refuses the key that it was asked with, where its status doesn't say so.
    pub refuses_key: fn(&[u8]) -> bool,
    /// The turns of a request and its response.
    pub conversation: Conversation,
    /// Keys of a request under which the turns of a conversation stand.
    pub turns: &'static [&'static str],
    /// Keys under which a text of the user stands by itself.
    pub texts: &'static [&'static str],
    /// How it is translated from and to other formats, if it can be.
    pub codec: Option<&'static Codec>,
    /// How its callers' requests for embeddings are translated to other formats, if they can be.
    pub vector_caller: Option<&'static VectorCaller>,
    /// How its providers are asked for embeddings by callers of other formats, if they can be.
    pub vector_provider: Option<&'static VectorProvider>,
    /// Whether a caller's request for this path can be translated: some ask for something besides a response
    /// and a count of tokens.
    pub translates: fn(&str) -> bool,
    /// Keys of a request that say how its response is delivered, and not what it is.
    pub delivery_keys: &'static [&'static str],
    /// How its requests name files of the gateway's, if they can.
    pub attaching: Option<Attaching>,
    /// Headers that a provider needs and that callers of other formats don't send.
    pub needed_headers: &'static [(&'static str, &'static str)],
    /// The API whose clients list the models that can be asked in it; none for formats whose clients
    /// list all.
    pub lists_for: Option<Dialect>,
    /// How the chat page speaks it, if it does.
    pub chat: Option<Chat>,
    /// The operation that it stands for in OpenTelemetry's conventions for generative AI.
    pub operation: &'static str,
    /// Aperture's name for it, which exported records have.
    pub export_name: &'static str,
}

impl Format {
    /// A format with what most formats have in common.
    #[must_use]
    pub const fn new(
        name: &'static str,
        known: &'static Known,
        read: fn(&Head<'_>, Bytes) -> Result<Call, Rejection>,
        meter: fn(&MeteredRequest<'_>) -> Box<dyn Meter>,
    ) -> Self {
        Self {
            name,
            flags: &[],
            endpoint: None,
            paths: &[],
            recognises: |_| false,
            recognises_place: |_, _| false,
            named_response: |_, _| None,
            background: None,
            known,
            opaque: &[],
            opaque_places: &[],
            socket: None,
            realtime: None,
            accepts: &["application/json"],
            takes_untyped: |_| false,
            has_lines: false,
            longest_event: sse::MAX_EVENT,
            read,
            default_models: &[],
            with_model: |_, _, _| None,
            tools: |_| Offer::default(),
            prepare: |call, to| Ok(call.outbound(to.model)),
            counts_in_head: |_| Tokens::default(),
            density: |_| Density::TEXT,
            count_response: None,
            idle_response: |_| None,
            state: ProviderState::None,
            meter,
            refusals: refusal::PLAIN,
            refuses_key: |_| false,
            conversation: Conversation::NONE,
            turns: &[],
            texts: &[],
            codec: None,
            vector_caller: None,
            vector_provider: None,
            translates: |_| true,
            delivery_keys: &[],
            attaching: None,
            needed_headers: &[],
            lists_for: None,
            chat: None,
            operation: "chat",
            export_name: name,
        }
    }

    /// Whether a request is meant for it.
    #[must_use]
    pub fn recognises(&self, method: &Method, path: &str) -> bool {
        method == Method::POST && (self.target(path).is_some() || (self.recognises)(path))
    }

    /// Whether a request is for what stands at one provider.
    #[must_use]
    pub fn recognises_place(&self, method: &Method, path: &str) -> bool {
        (self.recognises_place)(method, path)
    }

    /// The path at a provider, of [`Format::paths`].
    #[must_use]
    pub fn target(&self, path: &str) -> Option<&'static str> {
        body::target(self.paths, path)
    }

    /// The key in `default_models` for requests to a path, if they may leave out the model.
    #[must_use]
    pub fn default_model(&self, path: &str) -> Option<&'static str> {
        let path = self.target(path)?;
        let mut models = self.default_models.iter();
        Some(models.find(|one| one.paths.contains(&path))?.key)
    }

    /// Whether a request for a WebSocket at this path is meant for it.
    #[must_use]
    pub fn recognises_socket(&self, path: &str) -> bool {
        self.socket.is_some_and(|socket| (socket.recognises)(path))
            || self
                .realtime
                .is_some_and(|realtime| (realtime.recognises)(path))
    }

    /// What a caller's frame on a WebSocket asks for.
    ///
    /// # Errors
    /// A 400 for one that the format doesn't take.
    pub fn frame(&self, frame: &[u8]) -> Result<Frame, Rejection> {
        match self.socket {
            Some(socket) => (socket.frame)(frame),
            None => Err(body::bad_request("this format takes no frames")),
        }
    }

    /// Whether a provider with these flags speaks it.
    #[must_use]
    pub fn is_spoken_with(&self, flags: &[&str]) -> bool {
        self.flags.iter().any(|flag| flags.contains(&flag.name))
    }

    /// The vendor whose price list and tiers count, where nothing else tells.
    #[must_use]
    pub fn vendor(&self) -> Option<CostBasis> {
        self.flags.first()?.vendor
    }

    /// Understands a request.
    ///
    /// # Errors
    /// A 400 when it isn't one of this format or could be read in two ways.
    pub fn read(&self, head: &Head<'_>, body: Bytes) -> Result<Call, Rejection> {
        (self.read)(head, body)
    }

    /// The tools that a request offers to the model.
    #[must_use]
    pub fn tools(&self, body: &[u8]) -> Offer {
        (self.tools)(body)
    }

    /// The request for a provider.
    ///
    /// # Errors
    /// When the provider's configuration lacks what the format needs.
    pub fn prepare(&self, call: &Call, to: &Destination<'_>) -> Result<Outbound, Rejection> {
        (self.prepare)(call, to)
    }

    /// What answers a request for a count of tokens, with an estimate in place of the provider's
    /// count; `None` for any other request.
    #[must_use]
    pub fn estimated_count(&self, call: &Call) -> Option<Value> {
        let response = self.count_response.filter(|_| !call.billed)?;
        Some(response(tokens::of_body(&call.body)))
    }

    /// The body of a request for a model without what Iris has sealed when it translated earlier responses
    /// of the conversation; `None` if there is nothing of the kind.
    #[must_use]
    pub fn without_seals(&self, body: &[u8], model: &str) -> Option<Bytes> {
        self.codec?;
        translate::without_seals(self.opaque_places, body, model).map(Bytes::from)
    }

    /// A meter for the response to a request of this format, as it was sent to the provider.
    #[must_use]
    pub fn meter(&self, request: &MeteredRequest<'_>) -> Box<dyn Meter> {
        (self.meter)(request)
    }

    /// A refusal as this format's clients expect it.
    #[must_use]
    pub fn refuse(&self, rejection: &Rejection) -> Response<Body> {
        self.refusals.response(rejection)
    }

    /// What tells a client that a stream has failed.
    #[must_use]
    pub fn stream_error(&self, rejection: &Rejection) -> Bytes {
        (self.refusals.event)(rejection)
    }
}
