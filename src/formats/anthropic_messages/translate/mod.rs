//! Translates Anthropic's messages
//! (<https://platform.claude.com/docs/en/api/messages>) from and to other formats.

mod citation;
mod read_request;
mod read_response;
#[cfg(test)]
mod tests;
mod write_request;
mod write_response;

use crate::formats::translate::{
    Claude, Codec, Count, Feature, Field, Json, Object, Stop, Usage, object,
};

/// The format's name.
const NAME: &str = "anthropic_messages";

/// How it is translated.
pub(in crate::formats) static CODEC: Codec = Codec {
    name: NAME,
    fields: &[
        Field::must(Feature::Image, "messages.content.source"),
        Field::must(Feature::ImageUrl, "messages.content.source.url"),
        Field::must(Feature::Document, "messages.content.source"),
        Field::must(Feature::DocumentText, "messages.content.source"),
        Field::must(Feature::DocumentUrl, "messages.content.source.url"),
        Field::hint(Feature::DocumentName, "messages.content.title"),
        Field::must(Feature::DocumentCitations, "messages.content.citations"),
        Field::hint(Feature::EarlierCitations, "messages.content.text.citations"),
        Field::must(Feature::LaterSystem, "messages.role"),
        Field::hint(Feature::StrictTools, "tools.strict"),
        Field::must(Feature::ForcedTools, "tool_choice"),
        Field::must(
            Feature::SerialTools,
            "tool_choice.disable_parallel_tool_use",
        ),
        Field::must(Feature::ResultImage, "messages.content.content"),
        Field::must(Feature::ResultDocument, "messages.content.content"),
        Field::hint(Feature::ResultError, "messages.content.is_error"),
        Field::must(Feature::JsonSchema, "output_config.format"),
        Field::hint(Feature::Reasoning, "thinking"),
        Field::hint(Feature::HiddenThoughts, "thinking.display"),
        Field::hint(Feature::PlainReasoning, "messages.content.thinking"),
        Field::must(Feature::Stop, "stop_sequences"),
        Field::hint(Feature::Temperature, "temperature"),
        Field::hint(Feature::TopP, "top_p"),
        Field::must(Feature::TopK, "top_k"),
        Field::hint(Feature::CacheMarks, "cache_control"),
        Field::hint(Feature::User, "metadata.user_id"),
    ],
    expresses: &[
        Feature::Image,
        Feature::ImageUrl,
        Feature::Document,
        Feature::DocumentText,
        Feature::DocumentUrl,
        Feature::DocumentName,
        Feature::DocumentCitations,
        Feature::EarlierCitations,
        Feature::StrictTools,
        Feature::ForcedTools,
        Feature::SerialTools,
        Feature::ResultImage,
        Feature::ResultDocument,
        Feature::ResultError,
        Feature::JsonSchema,
        Feature::Reasoning,
        Feature::HiddenThoughts,
        Feature::Stop,
        Feature::Temperature,
        Feature::TopP,
        Feature::TopK,
        Feature::CacheMarks,
        Feature::User,
    ],
    lacks: |request| {
        let claude = Claude::of(&request.model);
        claude.map_or_else(Vec::new, |claude| claude.lacks(request))
    },
    read_request: read_request::read,
    write_request: write_request::write,
    read_response: read_response::whole,
    reader: || Box::new(read_response::Reader::default()),
    write_response: write_response::whole,
    writer: |request| Box::new(write_response::Writer::new(request)),
    stream_type: |_| "text/event-stream",
    response_ids: "msg_",
    call_ids: Some("toolu_"),
    count: Some(Count {
        write: |_, mut asked| {
            asked.body.keep(&COUNTED);
            asked.path.push_str("/count_tokens");
            asked
        },
        read: |body| body.at("input_tokens").whole(),
    }),
};

/// The members of a request that count.
const COUNTED: [&str; 7] = [
    "messages",
    "model",
    "output_config",
    "system",
    "thinking",
    "tool_choice",
    "tools",
];

/// Why a model stops, in the API's words.
const STOPS: [(&str, Stop); 6] = [
    ("end_turn", Stop::End),
    ("max_tokens", Stop::MaxTokens),
    ("model_context_window_exceeded", Stop::ContextFull),
    ("tool_use", Stop::ToolUse),
    ("refusal", Stop::Refused),
    ("pause_turn", Stop::Paused),
];

/// The end that a word of the API stands for. Words that came later than this mean an end like others.
fn stop_of(reason: &str, sequence: &Json) -> Stop {
    if reason == "stop_sequence" {
        return Stop::Sequence(sequence.text().map(str::to_owned));
    }
    let known = STOPS.into_iter().find(|(word, _)| *word == reason);
    known.map_or(Stop::End, |(_, stop)| stop)
}

/// The members that say why the model stopped.
fn put_stop(into: &mut Object, stop: &Stop) {
    let known = STOPS.iter().find(|(_, known)| known == stop);
    let (word, sequence) = match stop {
        Stop::Sequence(sequence) => ("stop_sequence", sequence.clone()),
        _ => (known.map_or("end_turn", |(word, _)| *word), None),
    };
    into.put("stop_reason", word);
    into.put("stop_sequence", sequence);
}

/// A report of usage. The API counts what is read from or written into a cache beside `input_tokens`.
fn usage_of(report: &Json) -> Usage {
    let count = |key| report.at(key).whole();
    let (read, written) = (
        count("cache_read_input_tokens"),
        count("cache_creation_input_tokens"),
    );
    let sum = |tokens: u64| {
        let cached = read.unwrap_or(0).saturating_add(written.unwrap_or(0));
        tokens.saturating_add(cached)
    };
    Usage {
        input: count("input_tokens").map(sum),
        cache_read: read,
        cache_write: written,
        cache_write_hour: report
            .at("cache_creation")
            .at("ephemeral_1h_input_tokens")
            .whole(),
        output: count("output_tokens"),
        ..Usage::default()
    }
}

/// The report of a usage.
fn usage(usage: &Usage) -> Object {
    let mut report = object! {
        "input_tokens": usage.uncached_input(),
        "cache_creation_input_tokens": usage.cache_write.unwrap_or(0),
        "cache_read_input_tokens": usage.cache_read.unwrap_or(0),
    };
    if let Some(hour) = usage.cache_write_hour {
        let minutes = usage.cache_write.unwrap_or(0).saturating_sub(hour);
        let by_life = object! {
            "ephemeral_5m_input_tokens": minutes,
            "ephemeral_1h_input_tokens": hour,
        };
        report.put("cache_creation", by_life);
    }
    report.put("output_tokens", usage.output.unwrap_or(0));
    report
}
