//! Translates Ollama's chats and completions (<https://github.com/ollama/ollama/blob/main/docs/api.md>).
//! Both are translated for providers of other formats; a provider of Ollama's API is asked in a chat
//! what callers of other formats ask.

mod embed;
mod generate;
mod images;
mod options;
mod read_message;
mod read_request;
mod read_response;
#[cfg(test)]
mod tests;
mod write_request;
mod write_response;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::base::clock;
use crate::formats::Call;
use crate::formats::translate::{Codec, Feature, Field, Reasoning, Seal, SealKind};
use crate::wire::json;
pub(super) use embed::CALLER as EMBED;
use write_response::{Shape, Writer};

/// The format's name.
const NAME: &str = "ollama";
/// The content type of a stream.
const LINES: &str = "application/x-ndjson";

/// How chats are translated.
pub(super) static CHAT: Codec = OF_CHAT;

/// How completions are translated. A request that is translated for a provider of Ollama's API is a chat.
pub(super) static GENERATE: Codec = Codec {
    name: "ollama_generate",
    fields: &[
        Field::must(Feature::Image, "images"),
        Field::must(Feature::JsonObject, "format"),
        Field::must(Feature::JsonSchema, "format"),
        Field::hint(Feature::Reasoning, "think"),
        Field::must(Feature::Stop, "options.stop"),
        Field::hint(Feature::Temperature, "options.temperature"),
        Field::must(Feature::HighTemperature, "options.temperature"),
        Field::hint(Feature::TopP, "options.top_p"),
        Field::hint(Feature::TopK, "options.top_k"),
        Field::hint(Feature::Seed, "options.seed"),
        Field::hint(Feature::PresencePenalty, "options.presence_penalty"),
        Field::hint(Feature::FrequencyPenalty, "options.frequency_penalty"),
        Field::must(Feature::LogProbs, "logprobs"),
    ],
    // No provider is asked in it.
    expresses: &[],
    read_request: generate::read,
    write_response: |request, response| write_response::whole(Shape::Generate, request, response),
    writer: |request| Box::new(Writer::new(Shape::Generate, request)),
    ..OF_CHAT
};

const OF_CHAT: Codec = Codec {
    name: NAME,
    fields: &[
        Field::must(Feature::Image, "messages.images"),
        Field::must(Feature::ResultImage, "messages.images"),
        Field::must(Feature::LaterSystem, "messages.role"),
        Field::must(Feature::JsonObject, "format"),
        Field::must(Feature::JsonSchema, "format"),
        Field::hint(Feature::Reasoning, "think"),
        Field::hint(Feature::PlainReasoning, "messages.thinking"),
        Field::must(Feature::Stop, "options.stop"),
        Field::hint(Feature::Temperature, "options.temperature"),
        Field::must(Feature::HighTemperature, "options.temperature"),
        Field::hint(Feature::TopP, "options.top_p"),
        // Ollama itself goes on without an option of sampling that a model doesn't have.
        Field::hint(Feature::TopK, "options.top_k"),
        Field::hint(Feature::Seed, "options.seed"),
        Field::hint(Feature::PresencePenalty, "options.presence_penalty"),
        Field::hint(Feature::FrequencyPenalty, "options.frequency_penalty"),
        Field::must(Feature::LogProbs, "logprobs"),
    ],
    expresses: &[
        Feature::Image,
        Feature::DocumentText,
        Feature::LaterSystem,
        Feature::ResultImage,
        Feature::JsonObject,
        Feature::JsonSchema,
        Feature::Reasoning,
        Feature::Stop,
        Feature::Temperature,
        Feature::HighTemperature,
        Feature::TopP,
        Feature::TopK,
        Feature::Seed,
        Feature::PresencePenalty,
        Feature::FrequencyPenalty,
        Feature::LogProbs,
    ],
    lacks: |request| {
        let is_level = request.reasoning.and_then(Reasoning::effort).is_some();
        let is_lost = is_level && !write_request::takes_levels(&request.model);
        is_lost.then_some(Feature::Reasoning).into_iter().collect()
    },
    read_request: read_request::read,
    write_request: write_request::write,
    read_response: read_response::whole,
    reader: || Box::new(read_response::Reader::default()),
    write_response: |request, response| write_response::whole(Shape::Chat, request, response),
    writer: |request| Box::new(Writer::new(Shape::Chat, request)),
    stream_type: |_| LINES,
    response_ids: "",
    call_ids: Some("call_"),
    count: None,
};

/// What a thought of this format needs to be sent back: nothing but that it is of this format.
fn seal() -> Seal {
    Seal::new(NAME, SealKind::Signature, "thinking")
}

/// The time, as responses carry it.
fn created_at() -> String {
    let now = Timestamp::from_millisecond(clock::unix_ms());
    format!("{:.3}", now.unwrap_or(Timestamp::UNIX_EPOCH))
}

/// The response to a chat without messages, which asks for nothing but that the model is loaded or
/// unloaded.
pub(super) fn idle_chat(call: &Call) -> Option<Value> {
    let fields = json::scan(&call.body, &["messages", "keep_alive"]).ok()?;
    let messages = call.value(&fields, 0).unwrap_or(b"null");
    let is_idle = messages == b"null" || json::elements(messages, 1)?.is_empty();
    let mut response = idle(call, &fields, is_idle)?;
    response["message"] = json!({ "role": "assistant", "content": "" });
    Some(response)
}

/// The response to a completion without a prompt, which asks for nothing more either.
pub(super) fn idle_generate(call: &Call) -> Option<Value> {
    let fields = json::scan(&call.body, &["prompt", "keep_alive"]).ok()?;
    let prompt = call.value(&fields, 0).unwrap_or(b"null");
    let mut response = idle(call, &fields, matches!(prompt, b"null" | b"\"\""))?;
    response["response"] = "".into();
    Some(response)
}

fn idle(call: &Call, fields: &json::Fields, is_idle: bool) -> Option<Value> {
    let keep_alive = call.value(fields, 1);
    let is_unloaded = keep_alive.is_some_and(|value| {
        let text = json::string(value);
        let text = text.as_deref().or(std::str::from_utf8(value).ok());
        text.is_some_and(is_zero)
    });
    is_idle.then(|| {
        json!({
            "model": &*call.model,
            "created_at": created_at(),
            "done": true,
            "done_reason": if is_unloaded { "unload" } else { "load" },
        })
    })
}

/// Whether a duration is zero: `0`, `0s` or `0m0s`.
fn is_zero(duration: &str) -> bool {
    let mut digits = duration.chars().filter(char::is_ascii_digit).peekable();
    digits.peek().is_some() && digits.all(|digit| digit == '0')
}
