//! A caller's request.

use super::options;
use super::read_message::{self, Calls};
use crate::formats::translate::{
    Delivery, Effort, Fields, Inbound, Item, Json, Output, Reasoning, Request, Tool, Untranslatable,
};

type Read<T> = Result<T, Untranslatable>;

/// Fields that say how the model's server goes about it.
const HINTS: &[&str] = &["keep_alive", "shift", "truncate"];

/// Reads a chat.
pub(super) fn read(inbound: &Inbound<'_>) -> Read<Request> {
    let mut body = Fields::of_body(inbound.body)?;
    let mut request = common(&mut body, inbound)?;
    let mut calls = Calls::default();
    for message in body.list("messages")? {
        read_message::add(message.object()?, &mut calls, &mut request)?;
    }
    for item in body.list("tools")? {
        request.tools.push(tool(item)?);
    }
    body.end()?;
    Ok(request)
}

/// What a chat and a completion have in common.
pub(super) fn common(body: &mut Fields, inbound: &Inbound<'_>) -> Read<Request> {
    body.ignore(&["model", "stream"]);
    let mut request = Request {
        model: inbound.model.to_owned(),
        output: output(body)?,
        ..Request::default()
    };
    if inbound.is_streamed {
        request.delivery = Delivery::Events { usage: true };
    }
    body.drop_hints(HINTS, &mut request.dropped);
    options::read(body, &mut request)?;
    request.reasoning = think(body)?;
    request.shows_thoughts = request.reasoning.map(|think| think != Reasoning::Off);
    let top = body.whole("top_logprobs")?;
    if body.flag("logprobs")? == Some(true) {
        request.logprobs = Some(top.unwrap_or(0));
    }
    if body.flag("_debug_render_only")? == Some(true) {
        return Err(body.refuse("_debug_render_only", "can't be translated"));
    }
    Ok(request)
}

/// `json`, a schema, or nothing.
fn output(body: &mut Fields) -> Read<Output> {
    match body.value("format") {
        None => Ok(Output::Text),
        Some(Json::Text(format)) if format.is_empty() => Ok(Output::Text),
        Some(Json::Text(format)) if format == "json" => Ok(Output::JsonObject),
        Some(schema @ Json::Object(_)) => Ok(Output::JsonSchema {
            name: None,
            description: None,
            schema,
            strict: None,
        }),
        Some(_) => Err(body.refuse("format", "is neither \"json\" nor a JSON schema")),
    }
}

/// `true`, `false` or a level.
fn think(body: &mut Fields) -> Read<Option<Reasoning>> {
    Ok(match body.value("think") {
        None => None,
        Some(Json::Bool(true)) => Some(Reasoning::Adaptive),
        Some(Json::Bool(false)) => Some(Reasoning::Off),
        Some(Json::Text(level)) => match Effort::named(&level) {
            Some(effort) => Some(Reasoning::Effort(effort)),
            None => return Err(body.refuse("think", "isn't known")),
        },
        Some(_) => return Err(body.refuse("think", "is neither true, false nor a level")),
    })
}

fn tool(item: Item) -> Read<Tool> {
    let mut outer = item.object()?;
    if let Some(kind) = outer.text("type")?
        && kind != "function"
    {
        return Err(outer.refuse("type", format!("`{kind}` can't be translated")));
    }
    let mut function = outer.needed_object("function")?;
    let tool = Tool {
        name: function.needed_text("name")?,
        description: function.text("description")?,
        parameters: function.value("parameters"),
        ..Tool::default()
    };
    function.end()?;
    outer.end()?;
    Ok(tool)
}
