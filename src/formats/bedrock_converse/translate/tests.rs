//! Requests and responses, each way.

mod refusals;
mod requests;
mod responses;
mod streams;
mod vendors;

use serde_json::{Value, json};

use super::CODEC;
use crate::formats::translate::{
    Content, Inbound, Media, MediaKind, Object, Part, Request, Role, Source, Thought, ToolCall,
    ToolResult, Turn, Untranslatable,
};

/// A model that takes all that `Converse` has.
const MODEL: &str = "us.anthropic.claude-sonnet-4-6";

fn read_as(model: &str, body: &Value, is_streamed: bool) -> Result<Request, Untranslatable> {
    (CODEC.read_request)(&Inbound {
        path: "/bedrock/model/m/converse",
        query: None,
        model,
        is_streamed,
        body: body.to_string().as_bytes(),
    })
}

fn read(body: &Value) -> Request {
    read_as(MODEL, body, false).unwrap()
}

fn refusal(body: &Value) -> String {
    read_as(MODEL, body, false).unwrap_err().to_string()
}

fn value(object: &Object) -> Value {
    serde_json::from_str(&object.to_string()).unwrap()
}

fn write(request: &Request) -> Value {
    value(&(CODEC.write_request)(request).unwrap().body)
}

/// A request with these turns.
fn request(turns: Vec<(Role, Vec<Part>)>) -> Request {
    Request {
        model: MODEL.to_owned(),
        turns: turns
            .into_iter()
            .map(|(role, parts)| Turn::new(role, parts))
            .collect(),
        ..Request::default()
    }
}

fn asks(parts: Vec<Part>) -> Request {
    request(vec![(Role::User, parts)])
}

fn call(id: &str, name: &str, arguments: &str) -> Part {
    Part::new(Content::ToolCall(ToolCall {
        id: id.to_owned(),
        name: name.to_owned(),
        arguments: arguments.to_owned(),
        is_freeform: false,
    }))
}

fn result(id: &str, parts: Vec<Part>) -> Part {
    Part::new(Content::ToolResult(ToolResult {
        id: id.to_owned(),
        parts,
        ..ToolResult::default()
    }))
}

fn medium(kind: MediaKind, mime: &str, name: Option<&str>) -> Part {
    let source = Source::Inline("AAAA".to_owned());
    Part::new(Content::Media(Media {
        name: name.map(str::to_owned),
        ..Media::new(kind, Some(mime.to_owned()), source)
    }))
}

fn thought(text: &str, seal: Option<crate::formats::translate::Seal>) -> Part {
    Part::new(Content::Reasoning(Thought {
        text: text.to_owned(),
        seal,
    }))
}

/// A body with one message of the user's.
fn asked(content: &Value) -> Value {
    json!({ "messages": [{ "role": "user", "content": [content] }] })
}
