//! A request for a provider that doesn't speak the caller's format.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::context::{Asked, head_of};
use crate::base::reasons::Reason;
use crate::base::text::Text;
use crate::formats::translate::{
    self, Codec, Inbound, Outbound, Request, ResponseTranslator, Texts, Translator, Untranslatable,
    VectorCaller, VectorProvider, VectorTranslator,
};
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
    back: Back,
}

/// What it takes to translate a response back.
enum Back {
    /// That of a model.
    Response {
        caller: &'static Codec,
        served: &'static Codec,
        request: Box<Request>,
    },
    /// Embeddings.
    Vectors {
        caller: &'static VectorCaller,
        served: &'static VectorProvider,
        texts: Texts,
    },
}

/// The request in a provider's format, what it takes to translate the response back, and the fields that
/// are left out.
type Written = (Outbound, Back, Vec<String>);

impl Back {
    /// Writes a request for the model of a provider of `served`; `None` if the two formats have nothing in
    /// common.
    fn of(
        caller: &Format,
        served: &Format,
        inbound: &Inbound<'_>,
        model: &str,
    ) -> Option<Result<Written, Untranslatable>> {
        if let (Some(caller), Some(served)) = (caller.codec, served.codec) {
            let translated = translate::request(caller, served, inbound, model);
            return Some(translated.map(|translated| {
                let request = Box::new(translated.request);
                let back = Self::Response {
                    caller,
                    served,
                    request,
                };
                (translated.outbound, back, translated.dropped)
            }));
        }
        let (caller, served) = (caller.vector_caller?, served.vector_provider?);
        Some((caller.read_request)(inbound).map(|mut texts| {
            let dropped = std::mem::take(&mut texts.dropped);
            let asked = Texts {
                model: model.to_owned(),
                ..texts.clone()
            };
            let back = Self::Vectors {
                caller,
                served,
                texts,
            };
            ((served.write_request)(&asked), back, dropped)
        }))
    }
}

impl Translation {
    /// Translates what is asked for the provider of a route, if that is needed. With it comes what the
    /// record says.
    ///
    /// # Errors
    /// If the provider's format can't express the request: the caller is told by which field.
    pub(super) fn of(asked: &Asked, route: &Route) -> Result<Option<(Self, Reason)>, Rejection> {
        let translated = (!asked.is_socket()).then(|| route.provider.translation(asked.format));
        let Some(format) = translated.flatten() else {
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
        let Some(translated) = Back::of(asked.format, format, &inbound, &route.model) else {
            return Ok(None);
        };
        let (outbound, back, dropped) = translated.map_err(|why| {
            let why = format!("{why}, and no other provider of this model takes it");
            Rejection::new(StatusCode::BAD_REQUEST, UNTRANSLATABLE, why)
        })?;
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
            dropped: dropped.into_iter().map(Text::from).collect(),
        };
        let translation = Self {
            format,
            call,
            query: outbound.query,
            back,
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
    ) -> Box<dyn Translator> {
        let kind = match &self.back {
            Back::Response {
                caller, request, ..
            } if request.is_streamed() => (caller.stream_type)(request),
            _ => "application/json",
        };
        head.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        head.remove(CONTENT_LENGTH);
        match self.back {
            Back::Response {
                caller,
                served,
                request,
            } => Box::new(ResponseTranslator::new(
                served, caller, *request, framing, room,
            )),
            Back::Vectors {
                caller,
                served,
                texts,
            } => Box::new(VectorTranslator::new(caller, served, texts)),
        }
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
