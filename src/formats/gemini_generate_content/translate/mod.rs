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

use crate::formats::translate::{Codec, Delivery, Feature, Field, MediaKind, Stop};

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
        Field::hint(Feature::PlainReasoning, "contents.parts.thought"),
        Field::must(Feature::Stop, "generationConfig.stopSequences"),
        Field::must(Feature::HighTemperature, "generationConfig.temperature"),
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
        Feature::Stop,
        Feature::HighTemperature,
        Feature::TopK,
        Feature::Seed,
        Feature::PresencePenalty,
        Feature::FrequencyPenalty,
        Feature::LogProbs,
    ],
    lacks: |_| &[],
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

/// What a content type stands for.
fn kind_of(mime: &str) -> MediaKind {
    match mime.split('/').next().unwrap_or_default() {
        "audio" => MediaKind::Audio,
        "image" => MediaKind::Image,
        "video" => MediaKind::Video,
        _ => MediaKind::Document,
    }
}
