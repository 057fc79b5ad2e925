//! Translates chat completions (<https://platform.openai.com/docs/api-reference/chat>) from and to other
//! formats, with the reasoning that model servers add to them: `reasoning_content` has its text, and
//! `reasoning_details` what only its provider can read, as `OpenRouter` has them.

mod content;
mod logprobs;
mod read_message;
mod read_request;
mod read_response;
#[cfg(test)]
mod tests;
mod write_request;
mod write_response;
mod writer;

use crate::formats::translate::{
    Citation, Codec, Feature, Field, Json, Object, Stop, Usage, object,
};

/// The format's name.
const NAME: &str = "openai_chat";

/// The keys under which providers have the text of reasoning. A seal of this format has as its value the
/// key under which the text came, because a provider takes it back under that key alone.
const REASONING: [&str; 2] = ["reasoning_content", "reasoning"];
/// The key of content that is a list, in which Mistral's models have their thoughts
/// (<https://docs.mistral.ai/inference/conversations/reasoning>).
const CONTENT: &str = "content";

/// How it is translated.
pub(in crate::formats) static CODEC: Codec = Codec {
    name: NAME,
    fields: &[
        Field::must(Feature::Image, "messages.content.image_url"),
        Field::must(Feature::ImageUrl, "messages.content.image_url.url"),
        Field::hint(Feature::ImageDetail, "messages.content.image_url.detail"),
        Field::must(Feature::Document, "messages.content.file"),
        Field::must(Feature::DocumentUrl, "messages.content.file"),
        Field::hint(Feature::DocumentName, "messages.content.file.filename"),
        Field::must(Feature::Audio, "messages.content.input_audio"),
        Field::must(Feature::LaterSystem, "messages.role"),
        Field::hint(Feature::StrictTools, "tools.function.strict"),
        Field::must(Feature::AllowedTools, "tool_choice.allowed_tools"),
        Field::must(Feature::ForcedTools, "tool_choice"),
        Field::must(Feature::FreeformTools, "tools.custom"),
        Field::hint(Feature::SerialTools, "parallel_tool_calls"),
        Field::must(Feature::JsonObject, "response_format"),
        Field::must(Feature::JsonSchema, "response_format"),
        Field::hint(Feature::SchemaName, "response_format.json_schema.name"),
        Field::hint(Feature::Reasoning, "reasoning_effort"),
        Field::hint(Feature::PlainReasoning, "messages.reasoning_content"),
        Field::must(Feature::Stop, "stop"),
        Field::hint(Feature::Temperature, "temperature"),
        Field::must(Feature::HighTemperature, "temperature"),
        Field::hint(Feature::TopP, "top_p"),
        Field::must(Feature::TopK, "top_k"),
        Field::hint(Feature::Seed, "seed"),
        Field::must(Feature::PresencePenalty, "presence_penalty"),
        Field::must(Feature::FrequencyPenalty, "frequency_penalty"),
        Field::must(Feature::LogProbs, "logprobs"),
        Field::hint(Feature::Verbosity, "verbosity"),
        Field::hint(Feature::CacheMarks, "cache_control"),
        Field::hint(Feature::CacheKey, "prompt_cache_key"),
        Field::hint(Feature::User, "user"),
        Field::hint(Feature::Metadata, "metadata"),
    ],
    expresses: &[
        Feature::Image,
        Feature::ImageUrl,
        Feature::ImageDetail,
        Feature::Document,
        Feature::DocumentText,
        Feature::DocumentName,
        Feature::Audio,
        Feature::LaterSystem,
        Feature::StrictTools,
        Feature::AllowedTools,
        Feature::ForcedTools,
        Feature::FreeformTools,
        Feature::SerialTools,
        Feature::ResultImage,
        Feature::ResultDocument,
        Feature::JsonObject,
        Feature::JsonSchema,
        Feature::SchemaName,
        Feature::Reasoning,
        Feature::Stop,
        Feature::Temperature,
        Feature::HighTemperature,
        Feature::TopP,
        Feature::Seed,
        Feature::PresencePenalty,
        Feature::FrequencyPenalty,
        Feature::LogProbs,
        Feature::Verbosity,
        Feature::CacheKey,
        Feature::User,
        Feature::Metadata,
    ],
    lacks: |request| match write_request::effort(request) {
        None => vec![Feature::Reasoning],
        Some(_) => Vec::new(),
    },
    read_request: read_request::read,
    write_request: write_request::write,
    read_response: read_response::whole,
    reader: || Box::new(read_response::Reader::default()),
    write_response: write_response::whole,
    writer: |request| Box::new(writer::Writer::new(request)),
    stream_type: |_| "text/event-stream",
    response_ids: "chatcmpl-",
    call_ids: Some("call_"),
    count: None,
};

/// Why a model stops, in the API's words.
fn stop_of(reason: &str, has_calls: bool) -> Stop {
    match reason {
        "length" => Stop::MaxTokens,
        "content_filter" => Stop::Refused,
        "tool_calls" | "function_call" => Stop::ToolUse,
        // Some servers say `stop` behind calls.
        _ if has_calls => Stop::ToolUse,
        _ => Stop::End,
    }
}

fn finish_reason(stop: &Stop) -> &'static str {
    match stop {
        Stop::End | Stop::Sequence(_) | Stop::Paused => "stop",
        Stop::MaxTokens | Stop::ContextFull => "length",
        Stop::ToolUse => "tool_calls",
        Stop::Refused => "content_filter",
    }
}

fn usage_of(report: &Json) -> Usage {
    let (read, written) = (
        report.at("prompt_tokens_details"),
        report.at("completion_tokens_details"),
    );
    Usage {
        input: report.at("prompt_tokens").whole(),
        cache_read: read.at("cached_tokens").whole(),
        cache_write: read.at("cache_write_tokens").whole(),
        input_audio: read.at("audio_tokens").whole(),
        output: report.at("completion_tokens").whole(),
        reasoning: written.at("reasoning_tokens").whole(),
        output_audio: written.at("audio_tokens").whole(),
        ..Usage::default()
    }
}

fn usage(usage: &Usage) -> Object {
    let mut read = object! { "cached_tokens": usage.cache_read.unwrap_or(0) };
    read.put_some("cache_write_tokens", usage.cache_write);
    read.put("audio_tokens", usage.input_audio.unwrap_or(0));
    object! {
        "prompt_tokens": usage.input.unwrap_or(0),
        "completion_tokens": usage.output.unwrap_or(0),
        "total_tokens": usage.total(),
        "prompt_tokens_details": read,
        "completion_tokens_details": object! {
            "reasoning_tokens": usage.reasoning.unwrap_or(0),
            "audio_tokens": usage.output_audio.unwrap_or(0),
        },
    }
}

fn citation_of(annotation: &Json) -> Option<Citation> {
    let cited = annotation.at("url_citation");
    let text = |key| cited.at(key).text().map(str::to_owned);
    Some(Citation {
        url: Some(text("url")?),
        title: text("title"),
        quote: text("content"),
        span: cited
            .at("start_index")
            .whole()
            .zip(cited.at("end_index").whole()),
        document: None,
    })
}

/// A citation as the API has it, of pages alone. `length` is that of the text so far.
fn annotation(citation: &Citation, length: u64) -> Option<Object> {
    let url = citation.url.as_deref()?;
    let (start, end) = citation.span.unwrap_or((0, length));
    Some(object! {
        "type": "url_citation",
        "url_citation": object! {
            "start_index": start,
            "end_index": end,
            "url": url,
            "title": citation.title.as_deref().unwrap_or_default(),
        },
    })
}
