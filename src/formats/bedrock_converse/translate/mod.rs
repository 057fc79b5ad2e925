//! Translates Bedrock's `Converse` and `ConverseStream`
//! (<https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html>) from and to
//! other formats. One API serves the models of all vendors; what only some of them have stands in
//! `additionalModelRequestFields`, in the vendor's own words: see [`vendor`].

mod citation;
mod media;
mod read_request;
mod read_response;
#[cfg(test)]
mod tests;
mod vendor;
mod write_request;
mod write_response;
mod writer;

use crate::formats::translate::{
    Codec, Count, Failure, Feature, Field, Json, Object, Outbound, Seal, SealKind, Stop, Usage,
    object,
};

/// The format's name.
const NAME: &str = "bedrock_converse";

/// How it is translated.
pub(in crate::formats) static CODEC: Codec = Codec {
    name: NAME,
    fields: &[
        Field::must(Feature::Image, "messages.content.image"),
        Field::must(Feature::Document, "messages.content.document"),
        Field::must(
            Feature::DocumentText,
            "messages.content.document.source.text",
        ),
        Field::hint(Feature::DocumentName, "messages.content.document.name"),
        Field::must(
            Feature::DocumentCitations,
            "messages.content.document.citations",
        ),
        Field::hint(
            Feature::EarlierCitations,
            "messages.content.citationsContent.citations",
        ),
        Field::hint(Feature::StrictTools, "toolConfig.tools.toolSpec.strict"),
        Field::must(Feature::ForcedTools, "toolConfig.toolChoice"),
        Field::must(
            Feature::SerialTools,
            "additionalModelRequestFields.tool_choice.disable_parallel_tool_use",
        ),
        Field::must(
            Feature::ResultImage,
            "messages.content.toolResult.content.image",
        ),
        Field::must(
            Feature::ResultDocument,
            "messages.content.toolResult.content.document",
        ),
        Field::hint(Feature::ResultError, "messages.content.toolResult.status"),
        Field::must(Feature::JsonSchema, "outputConfig.textFormat"),
        Field::hint(
            Feature::SchemaName,
            "outputConfig.textFormat.structure.jsonSchema.name",
        ),
        Field::hint(Feature::Reasoning, "additionalModelRequestFields.thinking"),
        Field::hint(
            Feature::HiddenThoughts,
            "additionalModelRequestFields.thinking.display",
        ),
        Field::hint(Feature::PlainReasoning, "messages.content.reasoningContent"),
        Field::must(Feature::Stop, "inferenceConfig.stopSequences"),
        Field::hint(Feature::Temperature, "inferenceConfig.temperature"),
        Field::hint(Feature::TopP, "inferenceConfig.topP"),
        Field::must(Feature::TopK, "additionalModelRequestFields.top_k"),
        Field::hint(Feature::CacheMarks, "cachePoint"),
        Field::hint(Feature::Metadata, "requestMetadata"),
    ],
    expresses: &[
        Feature::Image,
        Feature::Document,
        Feature::DocumentText,
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
        Feature::SchemaName,
        Feature::Reasoning,
        Feature::HiddenThoughts,
        Feature::Stop,
        Feature::Temperature,
        Feature::TopP,
        Feature::TopK,
        Feature::CacheMarks,
    ],
    lacks: vendor::lacks,
    read_request: read_request::read,
    write_request: write_request::write,
    read_response: read_response::whole,
    reader: || Box::new(read_response::Reader::default()),
    write_response: |_, response| write_response::whole(&response),
    writer: |_| Box::new(writer::Writer::default()),
    stream_type: |_| "application/vnd.amazon.eventstream",
    response_ids: "",
    call_ids: Some("tooluse_"),
    count: Some(Count {
        write: |request, mut asked| {
            asked.body.keep(&COUNTED);
            let input = object! { "converse": asked.body };
            Outbound {
                path: write_request::path(request, "count-tokens"),
                body: object! { "input": input },
                ..asked
            }
        },
        read: |body| body.at("inputTokens").whole(),
    }),
};

/// The members of a request that count.
const COUNTED: [&str; 4] = [
    "additionalModelRequestFields",
    "messages",
    "system",
    "toolConfig",
];

/// The path by which `additionalModelResponseFieldPaths` asks which stop sequence was met.
const STOP_SEQUENCE_PATH: &str = "/stop_sequence";

/// Why a model stops, in the API's words.
const STOPS: [(&str, Stop); 6] = [
    ("end_turn", Stop::End),
    ("max_tokens", Stop::MaxTokens),
    ("model_context_window_exceeded", Stop::ContextFull),
    ("tool_use", Stop::ToolUse),
    ("content_filtered", Stop::Refused),
    ("guardrail_intervened", Stop::Refused),
];

/// The end that a response or a `messageStop` event reports. Words that came later than this mean an end
/// like others.
///
/// # Errors
/// If the model wrote what the service couldn't understand.
fn stop_of(report: &Json) -> Result<Stop, Failure> {
    let reason = report.at("stopReason").text().unwrap_or_default();
    match reason {
        "malformed_model_output" | "malformed_tool_use" => {
            let message = format!("the model wrote no response: {reason}");
            Err(Failure::reported(Some(502), message))
        }
        "stop_sequence" => {
            let more = report.at("additionalModelResponseFields");
            let sequence = more.at("stop_sequence").text();
            Ok(Stop::Sequence(sequence.map(str::to_owned)))
        }
        _ => {
            let known = STOPS.into_iter().find(|(word, _)| *word == reason);
            Ok(known.map_or(Stop::End, |(_, stop)| stop))
        }
    }
}

/// Adds the members that say why the model stopped.
fn put_stop(into: &mut Object, stop: &Stop) {
    let known = STOPS.iter().find(|(_, known)| known == stop);
    let (word, sequence) = match stop {
        Stop::Sequence(sequence) => ("stop_sequence", sequence.as_ref()),
        _ => (known.map_or("end_turn", |(word, _)| *word), None),
    };
    into.put("stopReason", word);
    let more = sequence.map(|sequence| object! { "stop_sequence": sequence });
    into.put_some("additionalModelResponseFields", more);
}

/// A report of usage. The API counts what is read from or written into a cache beside `inputTokens`.
fn usage_of(report: &Json) -> Usage {
    let count = |key| report.at(key).whole();
    let read = count("cacheReadInputTokens").or(count("cacheReadInputTokenCount"));
    let written = count("cacheWriteInputTokens").or(count("cacheWriteInputTokenCount"));
    let mut details = report.at("cacheDetails").list().iter();
    let hour = details.find(|detail| detail.at("ttl").text() == Some("1h"));
    let sum = |tokens: u64| {
        let cached = read.unwrap_or(0).saturating_add(written.unwrap_or(0));
        tokens.saturating_add(cached)
    };
    Usage {
        input: count("inputTokens").map(sum),
        cache_read: read,
        cache_write: written,
        cache_write_hour: hour.and_then(|detail| detail.at("inputTokens").whole()),
        output: count("outputTokens"),
        ..Usage::default()
    }
}

/// The report of a usage.
fn usage(usage: &Usage) -> Object {
    let mut report = object! {
        "inputTokens": usage.uncached_input(),
        "outputTokens": usage.output.unwrap_or(0),
        "totalTokens": usage.total(),
    };
    report.put_some("cacheReadInputTokens", usage.cache_read);
    report.put_some("cacheWriteInputTokens", usage.cache_write);
    if let Some(hour) = usage.cache_write_hour {
        let minutes = usage.cache_write.unwrap_or(0).saturating_sub(hour);
        let by_life = vec![
            object! { "ttl": "1h", "inputTokens": hour },
            object! { "ttl": "5m", "inputTokens": minutes },
        ];
        report.put("cacheDetails", by_life);
    }
    report
}

/// The `redactedContent` that stands for a seal. The field has bytes, which SDKs write in Base64.
fn redacted_content(seal: &Seal) -> String {
    if seal.format == NAME {
        seal.value.clone()
    } else {
        seal.closed_base64()
    }
}

/// The `signature` that stands for a seal.
fn signature(seal: &Seal) -> String {
    if seal.format == NAME {
        seal.value.clone()
    } else {
        seal.closed()
    }
}

/// Whether a seal is given to the caller as `redactedContent`: it has no text to sign.
fn is_redacted(has_text: bool, seal: &Seal) -> bool {
    let is_own_signature = seal.format == NAME && seal.kind == SealKind::Signature;
    !has_text && !is_own_signature
}
