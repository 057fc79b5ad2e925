//! A provider's response.

use super::{NAME, PLAIN, citation_of, logprobs, stop_of, usage_of};
use crate::formats::translate::{
    Content, Failure, Json, Part, Response, Seal, SealKind, Text, Thought, ToolCall,
};

/// Codes and types of errors, each with its status. Codes that aren't here are about the request.
const ERRORS: [(&str, u16); 13] = [
    ("server_error", 500),
    ("vector_store_timeout", 504),
    ("server_is_overloaded", 503),
    ("slow_down", 503),
    ("rate_limit_exceeded", 429),
    ("rate_limit_error", 429),
    ("insufficient_quota", 429),
    ("usage_not_included", 429),
    ("invalid_api_key", 401),
    ("authentication_error", 401),
    ("permission_error", 403),
    ("not_found_error", 404),
    ("invalid_request_error", 400),
];

pub(super) fn whole(body: &Json) -> Result<Response, Failure> {
    if let Some(failure) = failure(body) {
        return Err(failure);
    }
    if !matches!(body.at("output"), Json::List(_)) {
        return Err(Failure::new("the provider's response isn't a response"));
    }
    if matches!(body.at("status").text(), Some("queued" | "in_progress")) {
        return Err(Failure::new("the provider's response isn't finished"));
    }
    let parts: Vec<Part> = body.at("output").list().iter().flat_map(parts).collect();
    let has_calls = parts
        .iter()
        .any(|part| matches!(part.content, Content::ToolCall(_)));
    Ok(Response {
        id: body.at("id").words().map(str::to_owned),
        model: body.at("model").words().map(str::to_owned),
        parts,
        stop: stop_of(body, has_calls),
        usage: usage_of(body.at("usage")),
    })
}

/// The error that a response, a body in its place or an event reports.
pub(super) fn failure(of: &Json) -> Option<Failure> {
    let error = of.at("error");
    let is_failed = matches!(of.at("status").text(), Some("failed" | "cancelled"));
    (!error.is_null() || is_failed).then(|| reported(error))
}

/// An error object, or an event that is one.
pub(super) fn reported(error: &Json) -> Failure {
    let code = error.at("code");
    let mut words = [code.words(), error.at("type").words()]
        .into_iter()
        .flatten();
    let known = words.find_map(|word| ERRORS.iter().find(|(known, _)| *known == word));
    let number = code.whole().and_then(|code| u16::try_from(code).ok());
    let status = match known {
        Some((_, status)) => Some(*status),
        None => number.or(code.words().map(|_| 400)),
    };
    let message = error.at("message").words().or(error.words());
    Failure::reported(status, message.unwrap_or("the provider reports an error"))
}

/// The parts that an item of output stands for; none for calls of tools that the provider runs.
pub(super) fn parts(item: &Json) -> Vec<Part> {
    let content = match item.at("type").text().unwrap_or_default() {
        "message" => {
            let parts = item.at("content").list().iter();
            return parts.filter_map(said).map(Part::new).collect();
        }
        "reasoning" => Content::Reasoning(thought(item)),
        "function_call" | "custom_tool_call" => match call(item) {
            Some(call) => Content::ToolCall(call),
            None => return Vec::new(),
        },
        _ => return Vec::new(),
    };
    vec![Part::new(content)]
}

/// A part of a message.
pub(super) fn said(part: &Json) -> Option<Content> {
    match part.at("type").text()? {
        "output_text" => Some(Content::Text(Text {
            text: part.at("text").text().unwrap_or_default().to_owned(),
            citations: part
                .at("annotations")
                .list()
                .iter()
                .filter_map(citation_of)
                .collect(),
            logprobs: logprobs::read(part.at("logprobs")),
        })),
        "refusal" => Some(Content::Refusal(part.at("refusal").text()?.to_owned())),
        _ => None,
    }
}

/// A thought: the summary of it, or all of it where a server of an open model shows that.
pub(super) fn thought(item: &Json) -> Thought {
    let texts = |key| {
        let parts = item.at(key).list().iter();
        let texts: Vec<&str> = parts.filter_map(|part| part.at("text").words()).collect();
        texts.join("\n\n")
    };
    let summary = texts("summary");
    let text = if summary.is_empty() {
        texts("content")
    } else {
        summary
    };
    Thought {
        text,
        seal: seal(item),
    }
}

/// What the provider takes a thought back with.
fn seal(item: &Json) -> Option<Seal> {
    let (kind, value) = match item.at("encrypted_content").words() {
        Some(value) => (SealKind::Encrypted, value),
        None if !item.at("content").list().is_empty() => (SealKind::Signature, PLAIN),
        None => return None,
    };
    Some(Seal {
        id: item.at("id").words().map(str::to_owned),
        ..Seal::new(NAME, kind, value)
    })
}

/// A call of a tool of the caller's.
pub(super) fn call(item: &Json) -> Option<ToolCall> {
    let is_freeform = item.at("type").text()? == "custom_tool_call";
    let key = if is_freeform { "input" } else { "arguments" };
    let id = item.at("call_id").words().or(item.at("id").words());
    Some(ToolCall {
        id: id.unwrap_or_default().to_owned(),
        name: item.at("name").text()?.to_owned(),
        arguments: item.at(key).text().unwrap_or_default().to_owned(),
        is_freeform,
    })
}
