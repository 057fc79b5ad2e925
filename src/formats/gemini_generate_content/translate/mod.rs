//! Translates Gemini's `generateContent` and `streamGenerateContent`
//! (<https://ai.google.dev/api/generate-content>) from and to other formats.

mod grounding;
mod logprobs;
mod model;
mod places;
mod read_content;
mod read_request;
mod read_response;
mod schema;
mod signature;
mod spelling;
#[cfg(test)]
mod tests;
mod usage;
mod write_content;
mod write_request;
mod write_response;

use crate::formats::translate::{Codec, Count, Delivery, Feature, Field, MediaKind, Stop};
use crate::wire::json as strict;

/// The format's name.
const NAME: &str = "gemini_generate_content";

/// How it is translated.
pub(in crate::formats) static CODEC: Codec = Codec {
    name: NAME,
    fields: &[
        Field::must(Feature::Image, "contents.parts.inlineData"),
        Field::must(Feature::ImageUrl, "contents.parts.fileData"),
        Field::hint(Feature::ImageDetail, "contents.parts.mediaResolution"),
        Field::must(Feature::Document, "contents.parts.inlineData"),
        Field::must(Feature::DocumentText, "contents.parts.inlineData"),
        Field::must(Feature::DocumentUrl, "contents.parts.fileData"),
        Field::hint(Feature::DocumentName, "contents.parts.displayName"),
        Field::must(Feature::Audio, "contents.parts.inlineData"),
        Field::must(Feature::Video, "contents.parts.inlineData"),
        Field::must(
            Feature::AllowedTools,
            "toolConfig.functionCallingConfig.allowedFunctionNames",
        ),
        Field::must(
            Feature::ForcedTools,
            "toolConfig.functionCallingConfig.mode",
        ),
        Field::must(
            Feature::ResultImage,
            "contents.parts.functionResponse.parts",
        ),
        Field::must(
            Feature::ResultDocument,
            "contents.parts.functionResponse.parts",
        ),
        Field::hint(
            Feature::ResultError,
            "contents.parts.functionResponse.response.error",
        ),
        Field::must(Feature::JsonObject, "generationConfig.responseMimeType"),
        Field::must(Feature::JsonSchema, "generationConfig.responseSchema"),
        Field::hint(Feature::Reasoning, "generationConfig.thinkingConfig"),
        Field::hint(
            Feature::HiddenThoughts,
            "generationConfig.thinkingConfig.includeThoughts",
        ),
        Field::hint(Feature::PlainReasoning, "contents.parts.thought"),
        Field::must(Feature::Stop, "generationConfig.stopSequences"),
        Field::hint(Feature::Temperature, "generationConfig.temperature"),
        Field::must(Feature::HighTemperature, "generationConfig.temperature"),
        Field::hint(Feature::TopP, "generationConfig.topP"),
        // The Gemini CLI sends one with each request, whatever its user asks for.
        Field::hint(Feature::TopK, "generationConfig.topK"),
        Field::hint(Feature::Seed, "generationConfig.seed"),
        Field::must(Feature::PresencePenalty, "generationConfig.presencePenalty"),
        Field::must(
            Feature::FrequencyPenalty,
            "generationConfig.frequencyPenalty",
        ),
        Field::must(Feature::LogProbs, "generationConfig.responseLogprobs"),
    ],
    expresses: &[
        Feature::Image,
        Feature::ImageUrl,
        Feature::Document,
        Feature::DocumentText,
        Feature::DocumentUrl,
        Feature::Audio,
        Feature::Video,
        Feature::StrictTools,
        Feature::AllowedTools,
        Feature::ForcedTools,
        Feature::ResultImage,
        Feature::ResultDocument,
        Feature::ResultError,
        Feature::JsonObject,
        Feature::JsonSchema,
        Feature::Reasoning,
        Feature::HiddenThoughts,
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
    lacks: |_| Vec::new(),
    read_request: read_request::read,
    write_request: write_request::write,
    read_response: read_response::whole,
    reader: || Box::new(read_response::Reader::default()),
    write_response: write_response::whole,
    writer: |request| Box::new(write_response::Writer::new(request)),
    stream_type: |request| match request.delivery {
        Delivery::Array => "application/json",
        _ => "text/event-stream",
    },
    response_ids: "",
    call_ids: None,
    count: Some(Count {
        write: write_request::count,
        read: |body| body.at("totalTokens").whole(),
    }),
};

/// The end that a word of the API stands for; `None` where the model failed to write a response.
fn stop_of(reason: &str, has_calls: bool) -> Option<Stop> {
    Some(match reason {
        "MAX_TOKENS" => Stop::MaxTokens,
        "BLOCKLIST"
        | "IMAGE_OTHER"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION"
        | "IMAGE_SAFETY"
        | "LANGUAGE"
        | "NO_IMAGE"
        | "PROHIBITED_CONTENT"
        | "RECITATION"
        | "SAFETY"
        | "SPII" => Stop::Refused,
        "MALFORMED_FUNCTION_CALL"
        | "MALFORMED_RESPONSE"
        | "MISSING_THOUGHT_SIGNATURE"
        | "TOO_MANY_TOOL_CALLS"
        | "UNEXPECTED_TOOL_CALL" => return None,
        _ if has_calls => Stop::ToolUse,
        _ => Stop::End,
    })
}

/// Why the model stopped, in the API's words, which tell neither calls nor stop sequences from an end.
fn finish_reason(stop: &Stop) -> &'static str {
    match stop {
        Stop::End | Stop::Sequence(_) | Stop::ToolUse | Stop::Paused => "STOP",
        Stop::MaxTokens | Stop::ContextFull => "MAX_TOKENS",
        Stop::Refused => "SAFETY",
    }
}

/// What stands in place of a signature that isn't Google's own: Gemini 3 and later want one on calls of
/// functions.
pub(super) fn unsigned(model: &str, part: &[u8]) -> Option<&'static str> {
    let members = strict::members(part).unwrap_or_default();
    let mut keys = members
        .iter()
        .filter_map(|(key, _)| strict::string(&part[key.clone()]));
    let is_call = keys.any(|key| key == "functionCall" || key == "function_call");
    let is_older = model::generation(model).is_some_and(|generation| generation < 3);
    (is_call && !is_older).then_some(signature::NONE)
}

/// What a content type stands for.
fn kind_of(mime: &str) -> MediaKind {
    match mime.split('/').next().unwrap_or_default() {
        "audio" => MediaKind::Audio,
        "image" => MediaKind::Image,
        "video" => MediaKind::Video,
        _ => MediaKind::Document,
    }
}
