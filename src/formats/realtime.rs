//! What a format is that is spoken in sessions: over a WebSocket on which caller and provider talk at any
//! time, and on which a provider can begin to answer by itself.
//!
//! A session has one model. Opening it is a request of its own, which costs nothing; each answer of the
//! model is a *turn*, which is an exchange. What a caller sends between turns is judged like a request and
//! belongs to the turn that follows.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::Call;
pub use super::session_names::Names;
use super::tokens::OPAQUE;
use super::transcript::{Part, Turn};
use crate::wire::Rejection;

/// What a caller's message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sent {
    /// It holds nothing that a model reads as text: a picture, or a request to stop.
    Beside,
    /// It holds sound, and nothing that a model reads as text.
    Sound,
    /// It holds something that a model will read.
    Content,
    /// The same, and it asks for a turn.
    Turn,
    /// The result of a tool: the turn that called it goes on, or there is another one.
    Result,
}

/// What a provider's message is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A turn begins.
    Begins,
    /// It is of a turn, which it begins if none runs.
    Within,
    /// It is about the turn that runs, or ran: its end, say.
    Rest,
    /// The same, with counts. Those of no turn are charged by themselves.
    Counts,
    /// A message was refused: the one with this id, if it had one.
    Refused(Option<String>),
    /// What a caller has said, as text, by a model of its own: the events of a turn with nothing else.
    Heard(Bytes),
    /// No turn.
    Beside,
}

/// A provider's message, as far as it matters to turns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What it is about.
    pub told: Told,
    /// The id of its turn, where turns have one.
    pub turn: Option<String>,
}

/// A header by which a provider is told something: its name and value.
pub type Stated = (&'static str, &'static str);

/// A caller's message as its format understands it, or why it is refused.
pub type Understood = Result<(Sent, Call), Rejection>;

/// How a format is spoken in sessions.
#[derive(Clone, Copy, Debug)]
pub struct Realtime {
    /// The flag of providers that take them.
    pub flag: &'static str,
    /// Whether a request for a WebSocket at this path is meant for the format.
    pub recognises: fn(&str) -> bool,
    /// The first message names the model and goes on to the provider; else the request for the WebSocket
    /// names it.
    pub opens_with_message: bool,
    /// The query by which a provider is told the model.
    pub query: fn(&str) -> Option<String>,
    /// The header by which a provider is told what a caller's subprotocols say, if they say something.
    pub version: fn(&HeaderMap) -> Option<Stated>,
    /// Understands a caller's message.
    pub understand: fn(Bytes, &Names) -> Understood,
    /// What a provider's message is about.
    pub event: fn(&[u8]) -> Event,
    /// Turns that can run at once. If it is more than one, events name theirs.
    pub turns: usize,
    /// The message that stands for a turn that a provider has begun by itself.
    pub begun: &'static str,
    /// The message that has a provider stop a turn; `None` where only closing the connection does.
    pub cancel: Option<fn(Option<&str>) -> String>,
    /// Bytes of a caller's sound, in base64, that stand for a token.
    pub sound: u64,
}

impl Realtime {
    /// The code that closes a session of a format without an event for errors, as those APIs use them
    /// (RFC 6455, section 7.4.1).
    #[must_use]
    pub fn close_code(rejection: &Rejection) -> u16 {
        match rejection.status {
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => 1008,
            status if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => 1007,
            _ => 1011,
        }
    }
}

/// What was sent before a turn, as its record shows it: messages without their sound and pictures, and how
/// many bytes of sound there were beside them.
#[must_use]
pub fn recorded(names: &Names, messages: &[Value], sound: u64) -> Value {
    json!({ "model": names.asked, "audio_bytes": sound, "messages": messages })
}

/// The turn that stands for sound in what [`recorded`] has made.
pub(super) fn heard(request: &Value) -> Option<Turn> {
    let bytes = request["audio_bytes"].as_u64().filter(|bytes| *bytes > 0)?;
    Some(Turn {
        role: "user".to_owned(),
        parts: vec![Part::Other(format!("audio, {bytes} bytes"))],
    })
}

/// Leaves sound and pictures out of a message, with their size in their place.
pub fn without_media(message: &mut Value) {
    match message {
        Value::String(text) => {
            let is_long =
                text.len() > OPAQUE && !text.bytes().any(|byte| byte.is_ascii_whitespace());
            if is_long {
                *text = format!("[{} bytes]", text.len());
            }
        }
        Value::Array(list) => list.iter_mut().for_each(without_media),
        Value::Object(members) => {
            for (key, value) in members {
                match value {
                    Value::String(text) if matches!(key.as_str(), "audio" | "data") => {
                        *text = format!("[{} bytes]", text.len());
                    }
                    value => without_media(value),
                }
            }
        }
        _ => {}
    }
}
