//! A request for a provider that doesn't speak the caller's format.

mod back;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use self::back::Back;
use super::beside::beside;
use super::context::{Asked, head_of};
use crate::base::memory::Hold;
use crate::base::reasons::Reason;
use crate::base::text::Text;
use crate::formats::translate::{Count, Failure, Inbound, Json, Translator};
use crate::formats::{self, Call, Format, Head};
use crate::policy::route::{Provider, Route};
use crate::wire::{Framing, Rejection};

/// The code of a refusal of a request that a provider's format can't express. Another provider's may.
pub(super) const UNTRANSLATABLE: &str = "untranslatable";

/// Bytes of a body whose translation takes so long that it is done beside the threads that serve others, as
/// guardrails are. A MiB of chat took 160 to 440 ms in an unoptimized build on two busy cores, whatever the
/// provider's format: this takes a sixteenth of that.
pub(super) const LONG: usize = 64 << 10;

/// A request that was translated for a provider, and what it takes to translate the response back.
pub(super) struct Translation {
    /// The provider's format.
    pub(super) format: &'static Format,
    /// The request in that format.
    pub(super) call: Call,
    /// The query of its URL.
    pub(super) query: Option<&'static str>,
    back: Back,
}

/// A whole response that was translated before its caller got a head.
pub(super) struct Translated {
    /// What the caller gets.
    pub(super) body: Bytes,
    /// The same in one piece, where the caller gets a stream.
    pub(super) response: Bytes,
    /// Why it is an error that the caller gets, if so.
    pub(super) failure: Option<Failure>,
}

/// What is to be translated.
struct Work {
    caller: &'static Format,
    served: &'static Format,
    count: Option<Count>,
    path: String,
    query: Option<String>,
    asked: Call,
    model: Text,
    reason: Reason,
}

impl Translation {
    /// Translates what is asked for the provider of a route, if that is needed. With it comes what the
    /// record says.
    ///
    /// # Errors
    /// If the provider's format can't express the request: the caller is told by which field. A 503 if
    /// there is no memory for it.
    pub(super) async fn of(
        asked: &Asked,
        route: &Route,
    ) -> Result<Option<(Self, Reason)>, Rejection> {
        match Work::of(asked, route)? {
            None => Ok(None),
            Some(work) if work.asked.body.len() < LONG => work.done(),
            // Boxed, because few requests are so long, and all would have room for it.
            Some(work) => Box::pin(work.done_beside()).await,
        }
    }

    /// Whether the response comes as a stream.
    pub(super) fn is_streamed(&self) -> bool {
        self.back.stream_type().is_some()
    }

    /// The count in a response, if a count was asked for and there is one.
    pub(super) fn counted(&self, body: &[u8]) -> Option<u64> {
        self.back.counted(body)
    }

    /// Whether a count of tokens was asked for.
    pub(super) fn is_count(&self) -> bool {
        self.back.is_count()
    }

    /// Adds the headers that the provider needs and a caller of another format doesn't send.
    pub(super) fn add_headers(&self, headers: &mut HeaderMap) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in self.format.needed_headers {
            headers.insert(*name, HeaderValue::from_static(value));
        }
    }

    /// How the caller's response is cut into events, if it is.
    pub(super) fn framing(&self) -> Option<Framing> {
        match self.back.stream_type()? {
            "text/event-stream" => Some(Framing::Text),
            "application/vnd.amazon.eventstream" => Some(Framing::Amazon),
            "application/x-ndjson" => Some(Framing::Ndjson),
            _ => None,
        }
    }

    /// Makes the head of a response that of the caller's format.
    pub(super) fn dress(&self, head: &mut HeaderMap) {
        let kind = self.back.stream_type().unwrap_or("application/json");
        head.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        head.remove(CONTENT_LENGTH);
    }

    /// What translates the response, once. `framing` is the provider's, and up to `room` bytes are kept.
    pub(super) fn translator(
        &mut self,
        framing: Option<Framing>,
        room: usize,
    ) -> Box<dyn Translator> {
        self.back.translator(framing, room)
    }
}

impl Work {
    /// What is to be done for the provider of a route; `None` if it speaks the caller's format.
    fn of(asked: &Asked, route: &Route) -> Result<Option<Self>, Rejection> {
        let Some(served) = route.provider.translation(asked.format) else {
            return Ok(None);
        };
        let mut count = None;
        if is_count(asked) {
            let counts = counts(&route.provider, asked.format);
            let why = "no provider of this model counts tokens";
            let none = || Rejection::new(StatusCode::NOT_FOUND, UNTRANSLATABLE, why);
            let (_, how) = counts.ok_or_else(none)?;
            count = Some(how);
        }
        let head = head_of(&asked.head);
        Ok(Some(Self {
            caller: asked.format,
            served,
            count,
            path: head.path.to_owned(),
            query: head.query.map(str::to_owned),
            asked: asked.call.clone(),
            model: route.model.clone(),
            reason: Reason::Translated {
                provider: route.provider.id.clone(),
                from: Text::fixed(formats::short_name(asked.format)),
                to: Text::fixed(formats::short_name(served)),
                dropped: Vec::new(),
            },
        }))
    }

    fn done(self) -> Result<Option<(Translation, Reason)>, Rejection> {
        let inbound = Inbound {
            path: &self.path,
            query: self.query.as_deref(),
            model: &self.asked.model,
            is_streamed: self.asked.stream,
            body: &self.asked.body,
        };
        let formats = (self.caller, self.served);
        let Some(translated) = Back::of(formats, self.count, &inbound, &self.model) else {
            return Ok(None);
        };
        let (outbound, back, dropped) = translated.map_err(|why| {
            let why = format!("{why}, and no other provider of this model takes it");
            Rejection::new(StatusCode::BAD_REQUEST, UNTRANSLATABLE, why)
        })?;
        let format = match self.count {
            Some(_) => format_of(&outbound.path).unwrap_or(self.served),
            None => self.served,
        };
        let written = Head {
            path: &outbound.path,
            query: outbound.query,
            headers: &HeaderMap::new(),
        };
        let call = format.read(&written, outbound.body.to_string().into());
        let mut call = call.map_err(|why| {
            let why = format!(
                "the request, translated to {}: {}",
                format.name, why.message
            );
            Rejection::new(StatusCode::BAD_REQUEST, UNTRANSLATABLE, why)
        })?;
        // The usage is for the translation, which gives it to the caller if that is asked for.
        call.stream = self.asked.stream;
        let mut reason = self.reason;
        if let Reason::Translated { dropped: named, .. } = &mut reason {
            *named = dropped.into_iter().map(Text::from).collect();
        }
        let translation = Translation {
            format,
            call,
            query: outbound.query,
            back,
        };
        Ok(Some((translation, reason)))
    }

    /// The same for a long body: what it takes besides the body is counted, and the request that is sent
    /// for as long as it is there.
    async fn done_beside(self) -> Result<Option<(Translation, Reason)>, Rejection> {
        let mut hold = Hold::default();
        // The request as it is read, and as it is written.
        let needed = Json::weight(&self.asked.body).saturating_mul(2);
        let (_, most) = hold.bounds();
        if needed > most {
            let why = format!(
                "the request takes {needed} bytes to translate, and limits.memory allows {most}: send a shorter one"
            );
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            return Err(Rejection::new(status, "body_too_large", why));
        }
        hold.reserve(needed).await?;
        let done = beside(move || self.done()).await;
        let done = done.unwrap_or_else(|| Err(Rejection::panicked()))?;
        let Some((mut translation, reason)) = done else {
            return Ok(None);
        };
        let body = std::mem::take(&mut translation.call.body);
        hold.shrink(body.len());
        translation.call.body = hold.keep(body);
        Ok(Some((translation, reason)))
    }
}

/// A response that can't be held.
pub(super) fn no_memory() -> Failure {
    let why =
        "the response can't be held for its translation: other requests hold all of limits.memory";
    Failure::reported(Some(503), why)
}

/// Whether a count of tokens is asked for.
fn is_count(asked: &Asked) -> bool {
    asked.format.count_response.is_some() && !asked.call.billed
}

/// How a provider that doesn't speak the caller's format counts tokens, and the format that it speaks; `None`
/// if it doesn't.
pub(super) fn counts(provider: &Provider, caller: &Format) -> Option<(&'static Format, Count)> {
    let format = provider.translation(caller)?;
    Some((format, format.codec?.count?))
}

/// The format of a request for a count.
fn format_of(path: &str) -> Option<&'static Format> {
    let mut all = formats::ALL.into_iter();
    all.find(|format| format.recognises(&Method::POST, path))
}

/// The request for a model without what Iris has sealed for the caller in an earlier translation; `None` if
/// it has nothing of the kind.
pub(super) fn unsealed(asked: &Asked, model: &str) -> Option<Call> {
    let body: Bytes = asked.format.without_seals(&asked.call.body, model)?;
    let call = asked.format.read(&head_of(&asked.head), body).ok()?;
    Some(Call {
        stream: asked.call.stream,
        ..call
    })
}
