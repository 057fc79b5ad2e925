//! Translates responses (<https://platform.openai.com/docs/api-reference/responses>) from and to other
//! formats. A request for a provider keeps no state there: `store` is off, and reasoning comes back
//! encrypted.

mod items;
mod logprobs;
mod read_item;
mod read_request;
mod read_response;
mod read_tools;
mod reader;
#[cfg(test)]
mod tests;
mod write_request;
mod write_response;
mod writer;

use crate::formats::translate::{
    Citation, Codec, Count, Feature, Field, Json, Object, Reasoning, Stop, Usage, object,
};

/// The format's name.
const NAME: &str = "openai_responses";

/// The value of a seal of reasoning that its provider takes back as plain text in `content`, as servers of
/// open models have it.
const PLAIN: &str = "reasoning_text";

/// What stands between the name of a group of tools and that of a tool, where they are one name. Codex
/// writes names of tools of MCP servers like this.
const SEPARATOR: &str = "__";

/// How it is translated.
pub(in crate::formats) static CODEC: Codec = Codec {
    name: NAME,
    fields: &[
        Field::must(Feature::Image, "input.content.image_url"),
        Field::must(Feature::ImageUrl, "input.content.image_url"),
        Field::hint(Feature::ImageDetail, "input.content.detail"),
        Field::must(Feature::Document, "input.content.file_data"),
        Field::must(Feature::DocumentUrl, "input.content.file_url"),
        Field::hint(Feature::DocumentName, "input.content.filename"),
        Field::hint(Feature::EarlierCitations, "input.content.annotations"),
        Field::must(Feature::Audio, "input.content.input_audio"),
        Field::must(Feature::LaterSystem, "input.role"),
        Field::hint(Feature::StrictTools, "tools.strict"),
        Field::must(Feature::AllowedTools, "tool_choice"),
        Field::must(Feature::ForcedTools, "tool_choice"),
        Field::must(Feature::FreeformTools, "tools.type"),
        Field::hint(Feature::SerialTools, "parallel_tool_calls"),
        Field::must(Feature::ResultImage, "input.output"),
        Field::must(Feature::ResultDocument, "input.output"),
        Field::must(Feature::JsonObject, "text.format"),
        Field::must(Feature::JsonSchema, "text.format"),
        Field::hint(Feature::SchemaName, "text.format.name"),
        Field::hint(Feature::Reasoning, "reasoning"),
        Field::default(Feature::HiddenThoughts, "reasoning.summary"),
        Field::hint(Feature::PlainReasoning, "input.summary"),
        Field::hint(Feature::Temperature, "temperature"),
        Field::must(Feature::HighTemperature, "temperature"),
        Field::hint(Feature::TopP, "top_p"),
        Field::must(Feature::LogProbs, "top_logprobs"),
        Field::hint(Feature::Verbosity, "text.verbosity"),
        Field::hint(Feature::CacheMarks, "input.content.prompt_cache_breakpoint"),
        Field::hint(Feature::CacheKey, "prompt_cache_key"),
        Field::hint(Feature::User, "safety_identifier"),
        Field::hint(Feature::Metadata, "metadata"),
    ],
    expresses: &[
        Feature::Image,
        Feature::ImageUrl,
        Feature::ImageDetail,
        Feature::Document,
        Feature::DocumentText,
        Feature::DocumentUrl,
        Feature::DocumentName,
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
        Feature::HiddenThoughts,
        Feature::Temperature,
        Feature::HighTemperature,
        Feature::TopP,
        Feature::LogProbs,
        Feature::Verbosity,
        Feature::CacheKey,
        Feature::User,
        Feature::Metadata,
    ],
    lacks: |request| match request.reasoning {
        Some(Reasoning::Off) if !Reasoning::can_be_off(&request.model) => vec![Feature::Reasoning],
        _ if write_request::reasoning(request).is_none() => vec![Feature::Reasoning],
        _ => Vec::new(),
    },
    read_request: read_request::read,
    write_request: write_request::write,
    read_response: read_response::whole,
    reader: || Box::new(reader::Reader::default()),
    write_response: write_response::whole,
    writer: |request| Box::new(writer::Writer::new(request)),
    stream_type: |_| "text/event-stream",
    response_ids: "resp_",
    call_ids: Some("call_"),
    count: Some(Count {
        write: |_, mut asked| {
            asked.body.keep(&COUNTED);
            asked.path.push_str("/input_tokens");
            asked
        },
        read: |body| body.at("input_tokens").whole(),
    }),
};

/// The members of a request that count.
const COUNTED: [&str; 8] = [
    "input",
    "instructions",
    "model",
    "parallel_tool_calls",
    "reasoning",
    "text",
    "tool_choice",
    "tools",
];

/// Why a model stopped. The API calls a response with calls of tools complete like any other.
fn stop_of(response: &Json, has_calls: bool) -> Stop {
    let reason = response.at("incomplete_details").at("reason");
    match reason.text() {
        Some("content_filter") => Stop::Refused,
        Some(_) => Stop::MaxTokens,
        None if response.at("status").text() == Some("incomplete") => Stop::MaxTokens,
        None if has_calls => Stop::ToolUse,
        None => Stop::End,
    }
}

/// Why a response is incomplete; `None` if it is complete.
fn incomplete_reason(stop: &Stop) -> Option<&'static str> {
    match stop {
        Stop::End | Stop::Sequence(_) | Stop::ToolUse | Stop::Paused => None,
        Stop::MaxTokens | Stop::ContextFull => Some("max_output_tokens"),
        Stop::Refused => Some("content_filter"),
    }
}

fn usage_of(report: &Json) -> Usage {
    let read = report.at("input_tokens_details");
    Usage {
        input: report.at("input_tokens").whole(),
        cache_read: read.at("cached_tokens").whole(),
        cache_write: read.at("cache_write_tokens").whole(),
        output: report.at("output_tokens").whole(),
        reasoning: report
            .at("output_tokens_details")
            .at("reasoning_tokens")
            .whole(),
        ..Usage::default()
    }
}

/// The report of a usage; `None` if nothing was counted.
fn usage(usage: &Usage) -> Option<Object> {
    (!usage.is_empty()).then(|| {
        object! {
            "input_tokens": usage.input.unwrap_or(0),
            "input_tokens_details": object! {
                "cached_tokens": usage.cache_read.unwrap_or(0),
                "cache_write_tokens": usage.cache_write.unwrap_or(0),
            },
            "output_tokens": usage.output.unwrap_or(0),
            "output_tokens_details": object! {
                "reasoning_tokens": usage.reasoning.unwrap_or(0),
            },
            "total_tokens": usage.total(),
        }
    })
}

/// The name of a tool that belongs to a group, which other formats lack.
fn grouped(namespace: &str, name: &str) -> String {
    let separator = if namespace.ends_with(SEPARATOR) {
        ""
    } else {
        SEPARATOR
    };
    format!("{namespace}{separator}{name}")
}

/// The name of such a tool in its group.
fn ungrouped<'a>(namespace: &str, name: &'a str) -> &'a str {
    let rest = name.strip_prefix(namespace).unwrap_or(name);
    rest.strip_prefix(SEPARATOR).unwrap_or(rest)
}

/// A citation of a page; `None` for those of the provider's own files.
fn citation_of(annotation: &Json) -> Option<Citation> {
    let text = |key| annotation.at(key).text().map(str::to_owned);
    Some(Citation {
        url: Some(text("url")?),
        title: text("title"),
        quote: None,
        span: annotation
            .at("start_index")
            .whole()
            .zip(annotation.at("end_index").whole()),
        document: None,
    })
}

/// A citation as the API has it, of pages alone. `length` is that of the text so far.
fn annotation(citation: &Citation, length: usize) -> Option<Object> {
    let url = citation.url.as_deref()?;
    let (start, end) = citation.span.unwrap_or((0, length as u64));
    Some(object! {
        "type": "url_citation",
        "start_index": start,
        "end_index": end,
        "url": url,
        "title": citation.title.as_deref().unwrap_or_default(),
    })
}
