//! The API formats that callers speak. Each lives in a folder of its own and implements
//! [`Api`]; [`ALL`] lists them. Nothing outside a format's folder knows its fields.

pub mod base_url;
mod body;
mod call;
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod counting;
mod dialect;
mod estimate;
mod failure;
mod foreign;
pub mod known;
mod merge;
mod meter;
mod offer;
mod opening;
mod refusal;
mod splice;
pub mod tokens;
pub mod transcript;
mod tree;
pub mod user_message;
mod vertex;

mod anthropic_messages;
mod bedrock_converse;
mod bedrock_count_tokens;
mod bedrock_error;
mod bedrock_model_invoke;
mod bedrock_path;
mod gemini_generate_content;
mod google_error;
mod google_generate_content;
mod google_path;
mod google_raw_predict;
mod openai_chat;
mod openai_companions;
mod openai_completions;
mod openai_error;
mod openai_responses;
mod openai_usage;

use bytes::Bytes;
use http::{HeaderMap, Method, Response};

pub use body::NO_MODEL;
pub use call::{Call, Destination, Head, Outbound, Path};
pub use dialect::{Dialect, is_method};
pub use failure::of_response as error_words;
pub use known::Known;
pub use meter::{Meter, Pass, Reading, ToolCall};
pub use offer::Offer;
pub use refusal::{plain, respond};
pub use splice::Splice;
pub use tokens::{Density, Tokens};

use crate::wire::{Body, Rejection, sse};
use gemini_generate_content::VERBS as METHODS;

/// The formats, in the order in which they are asked to recognise a request.
pub const ALL: &[&dyn Api] = &[
    &openai_chat::OpenAiChat,
    &openai_responses::OpenAiResponses,
    &anthropic_messages::AnthropicMessages,
    &openai_completions::OpenAiCompletions,
    &openai_companions::EMBEDDINGS,
    &openai_companions::IMAGES,
    &openai_companions::AUDIO,
    &openai_companions::MODERATIONS,
    &openai_companions::RERANK,
    &google_raw_predict::GoogleRawPredict,
    &gemini_generate_content::GeminiGenerateContent,
    &google_generate_content::GoogleGenerateContent,
    &bedrock_model_invoke::BedrockModelInvoke,
    &bedrock_converse::BedrockConverse,
    &bedrock_count_tokens::BedrockCountTokens,
];

/// A format's name: the column of a record, and of most formats the compatibility flag of a
/// provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ApiKind(pub &'static str);

/// Where a request holds strings that only the provider can read.
#[derive(Clone, Copy, Debug)]
pub struct OpaquePlace {
    /// The keys that lead there; `*` stands for each element of an array.
    pub path: &'static [&'static str],
    /// The types of objects that have such a string; any if there are none.
    pub kinds: &'static [&'static str],
}

/// What a caller's frame on a WebSocket asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// An answer: the frame is a request.
    Request,
    /// Nothing: it belongs to an answer that was asked for.
    Beside,
}

/// One API format.
pub trait Api: Send + Sync {
    /// Its name.
    fn kind(&self) -> ApiKind;
    /// Compatibility flags, any of which says that a provider speaks it.
    fn flags(&self) -> &'static [&'static str];
    /// The path that listings show for it; `None` for a companion of a format that is listed.
    fn endpoint(&self) -> Option<&'static str>;
    /// What its requests and responses are known to consist of.
    fn known(&self) -> &'static Known;
    /// Whether a request is meant for it.
    fn recognises(&self, method: &Method, path: &str) -> bool;
    /// Keys whose string values are opaque to all but the provider, in requests and answers.
    fn opaque(&self) -> &'static [&'static str] {
        &[]
    }
    /// Where a request holds strings that only the provider can read.
    fn opaque_places(&self) -> &'static [OpaquePlace] {
        &[]
    }
    /// The compatibility flag of providers that take this format over a WebSocket, for formats
    /// that can be spoken so.
    fn socket_flag(&self) -> Option<&'static str> {
        None
    }
    /// Whether a request for a WebSocket at this path is meant for it.
    fn recognises_socket(&self, _path: &str) -> bool {
        false
    }
    /// What a caller's frame on a WebSocket asks for.
    ///
    /// # Errors
    /// A 400 when it could be read in two ways, or is of a kind that is not known to be harmless:
    /// it must not ask a provider for what no grant was checked for.
    fn frame(&self, _frame: &[u8]) -> Result<Frame, Rejection> {
        Err(body::bad_request("this format takes no frames"))
    }
    /// Content types of requests that it reads.
    fn accepts(&self) -> &'static [&'static str] {
        &["application/json"]
    }
    /// Whether a request with these headers needs no content type, because a web page could not
    /// send it without asking.
    fn takes_untyped(&self, _: &HeaderMap) -> bool {
        false
    }
    /// The longest event of a stream that is held for its meter, in bytes.
    fn longest_event(&self) -> usize {
        sse::MAX_EVENT
    }
    /// Understands a request.
    ///
    /// # Errors
    /// A 400 when it is no request of this format or could be read in two ways.
    fn read(&self, head: &Head<'_>, body: Bytes) -> Result<Call, Rejection>;
    /// The name of the endpoint at a path, if its requests may leave out the model.
    fn may_name_no_model(&self, _path: &str) -> Option<&'static str> {
        None
    }
    /// A request without a model that names one; `None` if it can't be read.
    fn with_model(&self, _head: &Head<'_>, _body: &Bytes, _model: &str) -> Option<Bytes> {
        None
    }
    /// The tools that a request offers to the model.
    fn tools(&self, _body: &[u8]) -> Offer {
        Offer::default()
    }
    /// The request for a provider.
    ///
    /// # Errors
    /// When the provider's configuration lacks what the format needs.
    fn prepare(&self, call: &Call, to: &Destination<'_>) -> Result<Outbound, Rejection>;
    /// The counts that the head of a response tells, where its body may not.
    fn counts_in_head(&self, _head: &HeaderMap) -> Tokens {
        Tokens::default()
    }
    /// What the bytes of a request and its response stand for, where a provider does not count.
    fn density(&self, _call: &Call) -> Density {
        Density::TEXT
    }
    /// What answers a request for a count of tokens, with an estimate in place of the provider's
    /// count; `None` for any other request.
    fn estimated_count(&self, _call: &Call) -> Option<serde_json::Value> {
        None
    }
    /// A meter for the answer to `call`, which may hold `room` bytes of what a stream says.
    fn meter(&self, call: &Call, room: usize) -> Box<dyn Meter>;
    /// A refusal as this format's clients expect it.
    fn refuse(&self, rejection: &Rejection) -> Response<Body>;
    /// What tells a client that a stream has failed, in the stream's own framing; empty if the
    /// format has nothing of the kind.
    fn stream_error(&self, call: &Call, rejection: &Rejection) -> Bytes;
}
