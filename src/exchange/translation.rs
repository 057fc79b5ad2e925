//! A request for a provider that doesn't speak the caller's format.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::context::{Asked, head_of};
use crate::base::reasons::Reason;
use crate::base::text::Text;
use crate::formats::translate::{self, Codec, Inbound, Request, ResponseTranslator};
use crate::formats::{self, Call, Format, Head};
use crate::policy::route::Route;
use crate::wire::{Framing, Rejection};

/// The code of a refusal of a request that a provider's format can't express. Another provider's may.
pub(super) const UNTRANSLATABLE: &str = "untranslatable";

/// A request that was translated for a provider, and what it takes to translate the response back.
pub(super) struct Translation {
    /// The provider's format.
    pub(super) format: &'static Format,
    /// The request in that format.
    pub(super) call: Call,
    /// The query of its URL.
    pub(super) query: Option<&'static str>,
    caller: &'static Codec,
    served: &'static Codec,
    request: Request,
}

impl Translation {
    /// Translates what is asked for the provider of a route, if that is needed. With it comes what the
    /// record says.
    ///
    /// # Errors
    /// If the provider's format can't express the request: the caller is told by which field.
    pub(super) fn of(asked: &Asked, route: &Route) -> Result<Option<(Self, Reason)>, Rejection> {
        let translated = (!asked.is_socket()).then(|| route.provider.translation(asked.format));
        let codecs = translated
            .flatten()
            .and_then(|format| Some((format, asked.format.codec?, format.codec?)));
        let Some((format, caller, served)) = codecs else {
            return Ok(None);
        };
        let head = head_of(&asked.head);
        let inbound = Inbound {
            path: head.path,
            query: head.query,
            model: &asked.call.model,
            is_streamed: asked.call.stream,
            body: &asked.call.body,
        };
        let translated = translate::request(caller, served, &inbound, &route.model);
        let translated = translated.map_err(|why| {
            let why = format!("{why}, and no other provider of this model takes it");
            Rejection::new(StatusCode::BAD_REQUEST, UNTRANSLATABLE, why)
        })?;
        let outbound = translated.outbound;
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
        call.stream = asked.call.stream;
        let reason = Reason::Translated {
            provider: route.provider.id.clone(),
            from: Text::fixed(formats::short_name(asked.format)),
            to: Text::fixed(formats::short_name(format)),
            dropped: translated.dropped.into_iter().map(Text::from).collect(),
        };
        let translation = Self {
            format,
            call,
            query: outbound.query,
            caller,
            served,
            request: translated.request,
        };
        Ok(Some((translation, reason)))
    }

    /// Adds the headers that the provider needs and a caller of another format doesn't send.
    pub(super) fn add_headers(&self, headers: &mut HeaderMap) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in self.format.needed_headers {
            headers.insert(*name, HeaderValue::from_static(value));
        }
    }

    /// Translates a response of which up to `room` bytes are kept. Its head becomes that of the
    /// caller's format.
    pub(super) fn response(
        self,
        head: &mut HeaderMap,
        framing: Option<Framing>,
        room: usize,
    ) -> ResponseTranslator {
        let kind = if self.request.is_streamed() {
            (self.caller.stream_type)(&self.request)
        } else {
            "application/json"
        };
        head.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        head.remove(CONTENT_LENGTH);
        ResponseTranslator::new(self.served, self.caller, self.request, framing, room)
    }
}

/// The request without what Iris has sealed for the caller in an earlier translation; `None` if it has
/// nothing of the kind.
pub(super) fn unsealed(asked: &Asked) -> Option<Call> {
    let body = asked.format.without_seals(&asked.call.body)?;
    let call = asked.format.read(&head_of(&asked.head), body).ok()?;
    Some(Call {
        stream: asked.call.stream,
        ..call
    })
}
