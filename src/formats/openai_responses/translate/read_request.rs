//! A caller's request.

use super::read_tools::{self, DROPPED_SEARCH};
use super::{grouped, read_item};
use crate::formats::translate::{
    Delivery, Effort, Fields, Inbound, Json, Output, Part, Reasoning, Request, Role, TextOrList,
    ToolChoice, Turn, Untranslatable, note,
};

type Read<T> = Result<T, Untranslatable>;

/// Fields that change speed, cost or bookkeeping, but not the response. `client_metadata` is Codex's.
const HINTS: &[&str] = &[
    "client_metadata",
    "context_management",
    "prompt_cache_options",
    "prompt_cache_retention",
];

/// More output of tools that the provider runs. None of these is there.
const OF_HOSTED_TOOLS: [&str; 5] = [
    "code_interpreter_call.outputs",
    "computer_call_output.output.image_url",
    "file_search_call.results",
    "web_search_call.action.sources",
    "web_search_call.results",
];

pub(super) fn read(inbound: &Inbound<'_>) -> Read<Request> {
    let mut body = Fields::of_body(inbound.body)?;
    // Only tools that the provider runs count towards `max_tool_calls`.
    body.ignore(&["model", "stream", "max_tool_calls"]);
    // A frame of a WebSocket says beside the request that it is one.
    if body
        .text("type")?
        .is_some_and(|kind| kind != "response.create")
    {
        return Err(body.refuse("type", "can't be translated"));
    }
    let mut request = Request {
        model: inbound.model.to_owned(),
        max_tokens: body.whole("max_output_tokens")?,
        temperature: body.number("temperature")?,
        top_p: body.number("top_p")?,
        parallel_tool_calls: body.flag("parallel_tool_calls")?,
        cache_key: body.text("prompt_cache_key")?,
        ..Request::default()
    };
    if inbound.is_streamed {
        request.delivery = Delivery::Events { usage: true };
    }
    if let Some(metadata) = body.value("metadata") {
        request.metadata = match metadata {
            Json::Object(metadata) => Some(metadata),
            _ => return Err(body.refuse("metadata", "isn't an object")),
        };
    }
    state(&mut body)?;
    user(&mut body, &mut request)?;
    body.drop_hints(HINTS, &mut request.dropped);
    if let Some(tier) = body.text("service_tier")?
        && !matches!(tier.as_str(), "auto" | "default")
    {
        note(&mut request.dropped, &body.path("service_tier"));
    }
    logprobs(&mut body, &mut request)?;
    reasoning(&mut body, &mut request)?;
    text(&mut body, &mut request)?;
    if let Some(instructions) = body.text("instructions")?.filter(|text| !text.is_empty()) {
        let system = Turn::new(Role::System, vec![Part::text(instructions)]);
        request.turns.push(system);
    }
    for item in body.list("tools")? {
        read_tools::tools(item, &mut request)?;
    }
    match body.text_or_list("input")? {
        None => {}
        Some(TextOrList::Text(text)) => {
            let turn = Turn::new(Role::User, vec![Part::text(text)]);
            request.turns.push(turn);
        }
        Some(TextOrList::List(items)) => {
            for item in items {
                read_item::add(item.object()?, &mut request)?;
            }
        }
    }
    request.tool_choice = choice(&mut body)?;
    let has_search = request.dropped.iter().any(|name| name == DROPPED_SEARCH);
    if has_search && request.tools.is_empty() && request.tool_choice == Some(ToolChoice::Required) {
        let why = "forces a search by the provider, which can't be translated";
        return Err(body.refuse("tool_choice", why));
    }
    body.end()?;
    Ok(request)
}

/// Refuses what needs state that the provider would keep.
fn state(body: &mut Fields) -> Read<()> {
    for key in ["previous_response_id", "conversation", "prompt"] {
        if body.has(key) {
            let why = "can't be translated: send the whole conversation as `input`";
            return Err(body.refuse(key, why));
        }
    }
    if body.flag("store")? == Some(true) {
        let why = "can't be translated: the response isn't stored; send `false`";
        return Err(body.refuse("store", why));
    }
    if body.flag("background")? == Some(true) {
        return Err(body.refuse("background", "can't be translated"));
    }
    if let Some(truncation) = body.text("truncation")?
        && truncation != "disabled"
    {
        return Err(body.refuse("truncation", "can't be translated"));
    }
    if let Some(mut options) = body.object("stream_options")? {
        options.ignore(&["include_obfuscation"]);
        options.end()?;
    }
    Ok(())
}

/// The API has two ids of the person who asks; `user` is the older one.
fn user(body: &mut Fields, request: &mut Request) -> Read<()> {
    let older = body.text("user")?;
    request.user = body.text("safety_identifier")?;
    if request.user.is_none() {
        request.user = older;
    } else if older.is_some() {
        note(&mut request.dropped, &body.path("user"));
    }
    Ok(())
}

fn logprobs(body: &mut Fields, request: &mut Request) -> Read<()> {
    let top = body.whole("top_logprobs")?;
    request.logprobs = top.filter(|top| *top > 0);
    for item in body.list("include")? {
        let path = item.path().to_owned();
        match item.text()?.as_str() {
            "message.output_text.logprobs" => request.logprobs = Some(top.unwrap_or(0)),
            // Reasoning always comes sealed, and the caller already has its images.
            "reasoning.encrypted_content" | "message.input_image.image_url" => {}
            more if OF_HOSTED_TOOLS.contains(&more) => {}
            more => {
                let why = format!("`{more}` can't be translated");
                return Err(Untranslatable::new(path, why));
            }
        }
    }
    Ok(())
}

fn reasoning(body: &mut Fields, request: &mut Request) -> Read<()> {
    let Some(mut reasoning) = body.object("reasoning")? else {
        return Ok(());
    };
    let older = reasoning.text("generate_summary")?;
    let summary = reasoning.text("summary")?.or(older);
    request.shows_thoughts = Some(summary.is_some());
    request.reasoning = match reasoning.text("effort")?.as_deref() {
        Some("none") => Some(Reasoning::Off),
        Some(name) => match Effort::named(name) {
            Some(effort) => Some(Reasoning::Effort(effort)),
            None => return Err(reasoning.refuse("effort", "isn't known")),
        },
        // A caller who wants to read thoughts wants the model to think.
        None => summary.map(|_| Reasoning::Adaptive),
    };
    if let Some(mode) = reasoning.text("mode")?
        && mode != "standard"
    {
        return Err(reasoning.refuse("mode", "can't be translated"));
    }
    if let Some(context) = reasoning.text("context")?
        && context != "auto"
    {
        note(&mut request.dropped, &reasoning.path("context"));
    }
    reasoning.end()
}

fn text(body: &mut Fields, request: &mut Request) -> Read<()> {
    let Some(mut text) = body.object("text")? else {
        return Ok(());
    };
    request.verbosity = text.text("verbosity")?;
    if let Some(mut format) = text.object("format")? {
        request.output = match format.needed_text("type")?.as_str() {
            "text" => Output::Text,
            "json_object" => Output::JsonObject,
            "json_schema" => {
                let schema = format.value("schema");
                Output::JsonSchema {
                    name: format.text("name")?,
                    description: format.text("description")?,
                    schema: schema.ok_or_else(|| format.refuse("schema", "is missing"))?,
                    strict: format.flag("strict")?,
                }
            }
            kind => return Err(format.refuse("type", format!("`{kind}` can't be translated"))),
        };
        format.end()?;
    }
    text.end()
}

fn choice(body: &mut Fields) -> Read<Option<ToolChoice>> {
    let Some(choice) = body.value("tool_choice") else {
        return Ok(None);
    };
    let known = match choice.text() {
        Some("auto") => Some(ToolChoice::Auto),
        Some("none") => Some(ToolChoice::None),
        Some("required") => Some(ToolChoice::Required),
        Some(_) => None,
        None => chosen(&choice),
    };
    match known {
        Some(choice) => Ok(Some(choice)),
        None => Err(body.refuse("tool_choice", "can't be translated")),
    }
}

fn chosen(choice: &Json) -> Option<ToolChoice> {
    if choice.at("type").text()? != "allowed_tools" {
        return Some(ToolChoice::Named(name(choice)?));
    }
    let names = choice.at("tools").list().iter().map(name);
    Some(ToolChoice::Allowed {
        names: names.collect::<Option<_>>()?,
        required: choice.at("mode").text() == Some("required"),
    })
}

/// The name of a tool of the caller's; `None` for one that the provider runs.
fn name(choice: &Json) -> Option<String> {
    if !matches!(choice.at("type").text()?, "function" | "custom") {
        return None;
    }
    let name = choice.at("name").text()?;
    let namespace = choice.at("namespace").words();
    Some(namespace.map_or(name.to_owned(), |namespace| grouped(namespace, name)))
}
