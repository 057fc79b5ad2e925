//! Meters: what reads a response as it passes. A streamed response is put together again, into
//! the response that the API would have given unstreamed, and read as that one would be: so both
//! ways of asking give the same numbers.

use bytes::Bytes;

use super::{Density, Tokens};
use crate::wire::json::Part;
use crate::wire::sse;

/// Whether an event goes on to the caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pass {
    /// It does.
    #[default]
    Through,
    /// The caller did not ask for it: the gateway did.
    Hidden,
}

/// Reads usage from a response as it passes. No I/O, no clock, no errors: what it can't read
/// it leaves unknown.
pub trait Meter: Send {
    /// One event of a streamed response.
    fn event(&mut self, event: &sse::Event<'_>) -> Pass;
    /// The whole body of a response that isn't a stream.
    fn body(&mut self, body: &[u8]);
    /// Whether the model has said anything yet.
    fn has_output(&self) -> bool;
    /// Whether the format's own end of stream was seen.
    fn is_complete(&self) -> bool;
    /// Whether the provider has counted all that the stream has said so far.
    fn is_counted(&self) -> bool {
        false
    }
    /// Whether an item of the output has ended and no other has begun: what follows may be the end
    /// of the response and its count.
    fn is_closing(&self) -> bool {
        false
    }
    /// Whether the provider has reported an error.
    fn has_failed(&self) -> bool {
        false
    }
    /// Whether a stream that ends as a stream should may end here.
    fn may_end(&self) -> bool {
        self.is_complete()
    }
    /// What was read.
    fn finish(&mut self) -> Reading;
}

/// A meter of what costs nothing, or what is counted elsewhere: it reads nothing.
pub(super) struct Unread;

impl Meter for Unread {
    fn event(&mut self, _: &sse::Event<'_>) -> Pass {
        Pass::Through
    }

    fn body(&mut self, _: &[u8]) {}

    fn has_output(&self) -> bool {
        true
    }

    fn is_complete(&self) -> bool {
        false
    }

    fn may_end(&self) -> bool {
        true
    }

    fn finish(&mut self) -> Reading {
        Reading::default()
    }
}

/// What a meter has read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Tokens of each kind.
    pub tokens: Tokens,
    /// The id of a response that a later request can go on with.
    pub response_id: Option<String>,
    /// The provider says that it keeps the response under this id.
    pub is_stored: bool,
    /// The ids of what it keeps with it, which a later request can name.
    pub stored_items: Vec<String>,
    /// Why the model stopped, in the format's own word.
    pub finish_reason: Option<String>,
    /// Tools that the model asked for.
    pub tool_calls: Vec<ToolCall>,
    /// The service tier that the provider names, which can have prices of its own.
    pub tier: Option<String>,
    /// A streamed response as it would have come unstreamed, as far as it came.
    pub response: Option<Bytes>,
    /// There was not room for all that the stream said.
    pub truncated: bool,
    /// The error that the provider reports in a response whose status says success, in its own
    /// words.
    pub failure: Option<String>,
    /// It isn't a response of the format, but a web page, `null`, a text.
    pub is_foreign: bool,
    /// All tokens, where the provider tells nothing but their sum.
    pub total: Option<u64>,
    /// Pictures that a response links to, whose bytes are elsewhere.
    pub linked: u64,
    /// What the bytes of the response stand for, where its shape tells it better than the request.
    pub density: Option<Density>,
    /// The model that the provider says it has used.
    pub model: Option<String>,
    /// Where the provider says that it has worked, which can have prices of its own.
    pub geography: Option<String>,
}

/// Whether an object is a response of some API that models have, by a list, an object or a text that
/// only these have. Errors are found elsewhere.
fn is_response(object: Part<'_>) -> bool {
    let is_of_response = |(key, value): (&str, Part<'_>)| match key {
        "object" => value.text().is_some_and(|kind| {
            ["chat.completion", "text_completion", "response"]
                .iter()
                .any(|known| kind.starts_with(known))
        }),
        "type" => value.is("message"),
        "artifacts" | "candidates" | "choices" | "completions" | "data" | "embedding"
        | "embeddings" | "embeddingsByType" | "generations" | "images" | "message" | "outputs"
        | "pages" | "predictions" | "promptFeedback" | "result" | "results" | "timings"
        | "usage" | "usageMetadata" => value.is_array() || value.is_object(),
        "completion" | "content" | "generated_text" | "generation" | "output" | "output_text"
        | "response" | "text" => value.is_array() || value.is_object() || value.is_text(),
        _ => false,
    };
    object.members().any(is_of_response)
}

impl Reading {
    /// What is read of a response that has counted these tokens, or only their total.
    pub(super) fn of(response: Part<'_>, tokens: Tokens, total: Option<u64>) -> Self {
        let is_uncounted = tokens.input.is_none() && tokens.output.is_none();
        Self {
            tokens,
            total: total.filter(|_| is_uncounted),
            is_foreign: !is_response(response),
            ..Self::default()
        }
    }

    /// What is read of a body that isn't a response of the format.
    pub(super) fn foreign() -> Self {
        Self {
            is_foreign: true,
            ..Self::default()
        }
    }
}

/// A tool that the model asked for.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct ToolCall {
    /// The tool.
    pub name: String,
    /// Its parameters as JSON text; other text where the model wrote none.
    pub params: String,
}

impl ToolCall {
    /// A call of the tool of this name, if there is one.
    pub(super) fn of(name: Option<Part<'_>>, params: impl FnOnce() -> String) -> Option<Self> {
        let name = name?.text()?.into_owned();
        let params = params();
        Some(Self { name, params })
    }

    /// A value as the text of a tool's parameters; `null` if it is missing.
    pub(super) fn params(value: Option<Part<'_>>) -> String {
        value.map(Part::value).unwrap_or_default().to_string()
    }
}
