//! The API formats that callers speak. Each lives in a folder of its own and implements
//! [`Api`]; [`ALL`] lists them. Nothing outside a format's folder knows its fields.

pub mod openai_chat;
mod refusal;
pub mod tokens;

use bytes::Bytes;
use http::{Method, Response};

pub use refusal::{plain, respond};
pub use tokens::Tokens;

use crate::wire::{Body, Rejection, sse};

/// The formats, in the order in which they are asked to recognise a request.
pub const ALL: &[&dyn Api] = &[&openai_chat::OpenAiChat];

/// A format's name: the compatibility flag of a provider and the column of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ApiKind(pub &'static str);

/// A request as its format understands it; the bytes are kept as they came.
#[derive(Clone, Debug)]
pub struct Call {
    /// Which format it is in.
    pub kind: ApiKind,
    /// The model as the caller named it.
    pub model: String,
    /// Whether the caller wants the answer as a stream.
    pub stream: bool,
    /// The session that the body names, for formats that have a place for it.
    pub session: Option<String>,
    /// The whole body.
    pub body: Bytes,
    /// Where the body may have to be changed.
    pub splice: Splice,
}

/// Ranges of a body that [`Api::prepare`] may replace.
#[derive(Clone, Debug, Default)]
pub struct Splice {
    /// The value of `model`, quotes included.
    pub model: std::ops::Range<usize>,
    /// Text to put in place of other ranges; an empty range inserts.
    pub edits: Vec<(std::ops::Range<usize>, &'static str)>,
    /// The caller did not ask for the usage event that the edits ask for.
    pub hide_usage: bool,
}

/// What goes to the provider.
#[derive(Debug)]
pub struct Outbound {
    /// Path below the provider's base URL, with its version segment.
    pub path: &'static str,
    /// The body, the caller's own unless something had to change.
    pub body: Bytes,
}

/// One API format.
pub trait Api: Send + Sync {
    /// Its name.
    fn kind(&self) -> ApiKind;
    /// The path that listings show for it.
    fn endpoint(&self) -> &'static str;
    /// Whether a request is meant for it.
    fn recognises(&self, method: &Method, path: &str) -> bool;
    /// Understands a body.
    ///
    /// # Errors
    /// A 400 when the body is no request of this format or could be read in two ways.
    fn read(&self, body: Bytes) -> Result<Call, Rejection>;
    /// The request for a provider that calls the model `model`.
    fn prepare(&self, call: &Call, model: &str) -> Outbound;
    /// A meter for the answer to `call`.
    fn meter(&self, call: &Call) -> Box<dyn Meter>;
    /// A refusal as this format's clients expect it.
    fn refuse(&self, rejection: &Rejection) -> Response<Body>;
    /// The event that tells a client that a stream has failed.
    fn stream_error(&self, rejection: &Rejection) -> Bytes;
}

/// Whether an event goes on to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// It does.
    Through,
    /// The caller did not ask for it: the gateway did.
    Hidden,
}

/// Reads usage from an answer as it passes. No I/O, no clock, no errors: what it can't read
/// it leaves unknown.
pub trait Meter: Send {
    /// One event of a streamed answer.
    fn event(&mut self, event: &sse::Event<'_>) -> Pass;
    /// The whole body of an answer that is no stream.
    fn body(&mut self, body: &[u8]);
    /// Whether the model has said anything yet.
    fn has_output(&self) -> bool;
    /// Whether the format's own end of stream was seen.
    fn is_complete(&self) -> bool;
    /// What was counted.
    fn finish(&mut self) -> Reading;
}

/// What a meter has read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Tokens of each kind.
    pub tokens: Tokens,
    /// Why the model stopped, in the format's own word.
    pub finish_reason: Option<String>,
    /// Tool calls in the answer.
    pub tool_calls: u32,
}

/// A call of a tool that the model asked for.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ToolCall {
    /// The tool, as the caller named it.
    pub name: String,
    /// What it is called with, as JSON text.
    pub params: String,
}
