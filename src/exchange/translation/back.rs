//! What it takes to translate a response back: that of a model, or embeddings.

use crate::formats::Format;
use crate::formats::translate::{
    self, Codec, Count, Inbound, Json, Outbound, Request, ResponseTranslator, Texts, Translator,
    Untranslatable, VectorCaller, VectorProvider, VectorTranslator,
};
use crate::wire::Framing;

/// What it takes to translate a response back.
pub(super) enum Back {
    /// That of a model.
    Response {
        caller: &'static Codec,
        served: &'static Codec,
        request: Box<Request>,
        /// The content type of the caller's response, if that is a stream.
        stream_type: Option<&'static str>,
        /// How the provider counts tokens, if that is what is asked for.
        count: Option<Count>,
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
    pub(super) fn of(
        (caller, served): (&Format, &Format),
        count: Option<Count>,
        inbound: &Inbound<'_>,
        model: &str,
    ) -> Option<Result<Written, Untranslatable>> {
        if let (Some(caller), Some(served)) = (caller.codec, served.codec) {
            let translated = translate::request(caller, served, inbound, model);
            return Some(translated.map(|translated| {
                let (mut outbound, request) = (translated.outbound, translated.request);
                if let Some(count) = count {
                    let named = Request {
                        model: model.to_owned(),
                        ..Request::default()
                    };
                    outbound = (count.write)(&named, outbound);
                }
                let is_streamed = request.is_streamed();
                let back = Self::Response {
                    caller,
                    served,
                    stream_type: is_streamed.then(|| (caller.stream_type)(&request)),
                    request: Box::new(request),
                    count,
                };
                (outbound, back, translated.dropped)
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

    /// The content type of the caller's response, if that is a stream.
    pub(super) fn stream_type(&self) -> Option<&'static str> {
        match self {
            Self::Response { stream_type, .. } => *stream_type,
            Self::Vectors { .. } => None,
        }
    }

    /// The count in a response, if a count was asked for and there is one.
    pub(super) fn counted(&self, body: &[u8]) -> Option<u64> {
        match self {
            Self::Response { count, .. } => ((*count)?.read)(&Json::read(body).ok()?),
            Self::Vectors { .. } => None,
        }
    }

    /// Whether a count of tokens was asked for.
    pub(super) fn is_count(&self) -> bool {
        matches!(self, Self::Response { count: Some(_), .. })
    }

    /// What translates the response, once.
    pub(super) fn translator(
        &mut self,
        framing: Option<Framing>,
        room: usize,
    ) -> Box<dyn Translator> {
        match self {
            Self::Response {
                caller,
                served,
                request,
                ..
            } => {
                let request = std::mem::take(&mut **request);
                Box::new(ResponseTranslator::new(
                    served, caller, request, framing, room,
                ))
            }
            Self::Vectors {
                caller,
                served,
                texts,
            } => {
                let texts = std::mem::take(texts);
                Box::new(VectorTranslator::new(caller, served, texts))
            }
        }
    }
}
