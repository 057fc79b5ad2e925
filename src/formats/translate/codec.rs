//! What a format's folder brings so that it can be translated: one value, [`Codec`].

use super::{
    Event, Feature, Field, Json, Object, Open, Request, Response, Seal, Stop, Untranslatable,
};
use crate::wire::sse;

/// How a format is translated from and to the form in the middle. Functions that read a caller's request
/// refuse what they don't know; those that read a provider's response skip it.
#[derive(Clone, Copy, Debug)]
pub struct Codec {
    /// The format's name.
    pub name: &'static str,
    /// What its callers can ask for, and how they call it.
    pub fields: &'static [Field],
    /// What its providers can be asked for.
    pub expresses: &'static [Feature],
    /// What of that the model of a request can't be asked for, where a format has models of many vendors.
    pub lacks: fn(&Request) -> Vec<Feature>,
    /// Reads a caller's request.
    pub read_request: fn(&Inbound<'_>) -> Result<Request, Untranslatable>,
    /// Writes a request for a provider. It has only what [`expresses`](Self::expresses) lists; what a
    /// value itself makes impossible is refused with the form's word for the field.
    pub write_request: fn(&Request) -> Result<Outbound, Untranslatable>,
    /// Reads a provider's whole response.
    pub read_response: fn(&Json) -> Result<Response, Failure>,
    /// Reads a provider's stream.
    pub reader: fn() -> Box<dyn EventReader>,
    /// Writes a whole response for a caller who asked for this.
    pub write_response: fn(&Request, Response) -> Object,
    /// Writes a stream for a caller who asked for this.
    pub writer: fn(&Request) -> Box<dyn EventWriter>,
    /// The content type of the stream that the writer writes.
    pub stream_type: fn(&Request) -> &'static str,
    /// How its responses' ids begin.
    pub response_ids: &'static str,
    /// How the ids of its calls of tools begin; `None` if a call needs no id.
    pub call_ids: Option<&'static str>,
    /// How its providers are asked for a count of tokens, if they can be.
    pub count: Option<Count>,
}

/// How a format's providers count the tokens of a request.
#[derive(Clone, Copy, Debug)]
pub struct Count {
    /// The request for a count, made of a request for a response of the same provider. Another format may have
    /// its path.
    pub write: fn(&Request, Outbound) -> Outbound,
    /// The count in a provider's response.
    pub read: fn(&Json) -> Option<u64>,
}

/// A caller's request, as it came.
#[derive(Clone, Copy, Debug)]
pub struct Inbound<'a> {
    /// Its path.
    pub path: &'a str,
    /// Its query.
    pub query: Option<&'a str>,
    /// The model, which some formats have in the path.
    pub model: &'a str,
    /// Whether the path or the body asks for a stream.
    pub is_streamed: bool,
    /// Its body.
    pub body: &'a [u8],
}

/// A request for a provider.
#[derive(Clone, Debug, PartialEq)]
pub struct Outbound {
    /// The path, as callers of the format have it, with the model where it stands there.
    pub path: String,
    /// Its query, such as `alt=sse`.
    pub query: Option<&'static str>,
    /// Its body.
    pub body: Object,
    /// What its values made impossible to express.
    pub left_out: Vec<Feature>,
}

/// Reads a provider's stream, event by event.
pub trait EventReader: Send {
    /// Takes an event and adds what it says. Unknown events say nothing.
    ///
    /// # Errors
    /// If the provider reports an error, or the event can't be understood.
    fn read(&mut self, event: &sse::Event<'_>, out: &mut Vec<Event>) -> Result<(), Failure>;

    /// The stream has ended. Adds what is left to say, [`Event::Stop`] at the end unless it was said.
    ///
    /// # Errors
    /// If it has ended too early.
    fn finish(&mut self, out: &mut Vec<Event>) -> Result<(), Failure>;
}

/// Writes a stream for a caller, in the format's framing.
pub trait EventWriter: Send {
    /// Takes an event and adds what the caller gets.
    fn write(&mut self, event: Event, out: &mut Vec<u8>);

    /// The response is whole: adds the end of the stream, and what had to wait for the usage.
    fn finish(&mut self, out: &mut Vec<u8>);

    /// The provider keeps the connection alive: adds what does the same for the caller, if the format has
    /// something of the kind.
    fn ping(&mut self, _out: &mut Vec<u8>) {}

    /// Whether there was room for all that has to be held until a later event.
    ///
    /// # Errors
    /// If the response is too long for that.
    fn check(&self) -> Result<(), Failure> {
        Ok(())
    }
}

/// A response that can't be translated, or the error that it reports.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The status that the provider's error stands for, where it says so: from 400 to 599.
    pub status: Option<u16>,
    /// What failed.
    pub message: String,
}

impl Failure {
    /// A response that can't be understood.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            status: None,
            message: message.into(),
        }
    }

    /// A response that is longer than [`LONGEST`](super::LONGEST), or has such a part.
    #[must_use]
    pub fn too_long() -> Self {
        Self::new("the provider's response is too long to translate: more than 32 MiB")
    }

    /// An error that the provider reports. Some put a code of their own, such as 200, where the status
    /// of an error stands: a status outside 400 to 599 is left out.
    pub fn reported(status: Option<u16>, message: impl Into<String>) -> Self {
        Self {
            status: status.filter(|status| (400..600).contains(status)),
            message: message.into(),
        }
    }
}

impl Codec {
    /// What a caller of the format calls a feature.
    #[must_use]
    pub fn field(&self, feature: Feature) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.feature == feature)
    }
}

/// The longest id and name of a model that are taken from a provider's stream, in bytes. Some formats repeat
/// both in each event.
const LONGEST_NAME: usize = 256;

/// Keeps a reader's events in order: see [`Event`].
#[derive(Debug, Default)]
pub struct Sequence {
    is_started: bool,
    is_open: bool,
    is_stopped: bool,
}

impl Sequence {
    /// The response begins, unless it has. An id or a name that is too long counts as missing.
    pub fn start(&mut self, id: Option<&str>, model: Option<&str>, out: &mut Vec<Event>) {
        if !std::mem::replace(&mut self.is_started, true) {
            let fit = |name: &&str| name.len() <= LONGEST_NAME;
            out.push(Event::Start {
                id: id.filter(fit).map(str::to_owned),
                model: model.filter(fit).map(str::to_owned),
            });
        }
    }

    /// A part begins; the one before it ends.
    pub fn open(&mut self, open: Open, out: &mut Vec<Event>) {
        self.start(None, None, out);
        self.close(out);
        self.is_open = true;
        out.push(Event::Open(open));
    }

    /// The part ends, if one is open.
    pub fn close(&mut self, out: &mut Vec<Event>) {
        if std::mem::take(&mut self.is_open) {
            out.push(Event::Close);
        }
    }

    /// The model has stopped, unless that was said.
    pub fn stop(&mut self, stop: Stop, out: &mut Vec<Event>) {
        self.start(None, None, out);
        self.close(out);
        if !std::mem::replace(&mut self.is_stopped, true) {
            out.push(Event::Stop(stop));
        }
    }

    /// Whether a part is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Whether the response has begun.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.is_started
    }

    /// Whether the model has stopped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.is_stopped
    }
}

/// Adds more of a text that is held until it is whole.
///
/// # Errors
/// If it becomes longer than a seal can be.
pub fn hold(held: &mut String, more: &str) -> Result<(), Failure> {
    if held.len() + more.len() > Seal::LONGEST {
        let why = "a signature of the provider's stream is too long";
        return Err(Failure::new(why));
    }
    held.push_str(more);
    Ok(())
}

/// Adds an event of a text stream; without a name if that is empty.
pub fn write_sse(out: &mut Vec<u8>, name: &str, data: &Object) {
    if !name.is_empty() {
        out.extend_from_slice(format!("event: {name}\n").as_bytes());
    }
    out.extend_from_slice(format!("data: {data}\n\n").as_bytes());
}
