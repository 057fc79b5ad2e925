//! Models that tools and plugins of a provider's own name: OpenAI's images, Anthropic's advisor,
//! Google's ranking, plugins of `OpenRouter`. A caller's own functions name none.

use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem;

use super::body::{Choice, Why, bare, models};
use crate::wire::json;

/// Schemas and examples of a caller's own functions, as members of a tool.
const OF_FUNCTIONS: [&str; 8] = [
    "function",
    "functionDeclarations",
    "function_declarations",
    "input_examples",
    "input_schema",
    "inputSchema",
    "parametersJsonSchema",
    "toolSpec",
];
/// How deep a provider's own tool is looked into.
const DEEPEST: usize = 8;
/// Tools in one list, and elements of one array in a tool.
const MOST: usize = 10_000;
/// Messages in one request. The places of more would take more room than the request.
const MOST_MESSAGES: usize = 100_000;

/// What a tool names.
#[derive(Default)]
struct Named {
    models: Vec<String>,
    /// It may name more that can't be read.
    unclear: bool,
}

/// The models that tools and plugins name, at the top of a request and in its messages.
pub(in crate::formats) fn models_of_tools(
    body: &[u8],
    members: &[(Range<usize>, Range<usize>)],
) -> Vec<Choice> {
    let mut found = Vec::new();
    for (key, value) in members {
        let (key, value) = (json::string(&body[key.clone()]), &body[value.clone()]);
        let keys = ["tools", "plugins", "input", "messages"];
        match key.and_then(|key| json::variant(&key, &keys)) {
            Some(list @ ("tools" | "plugins")) => of_list(value, list, &mut found),
            Some(messages) if may_hold_tools(value) => match json::elements(value, MOST_MESSAGES) {
                Some(elements) => {
                    for message in elements {
                        of_message(&value[message], messages, &mut found);
                    }
                }
                // One text in place of a list holds no tools.
                None if value.first() == Some(&b'[') => found.push(Choice {
                    key: format!("{messages}[].tools[].model"),
                    why: Why::ToolModel,
                    models: None,
                }),
                None => {}
            },
            Some(_) | None => {}
        }
    }
    found
}

/// Whether a text may have the key `tools`, however it is written.
fn may_hold_tools(text: &[u8]) -> bool {
    // Made once: to make a finder takes longer than to look through a short text.
    static OOLS: LazyLock<memmem::Finder<'_>> = LazyLock::new(|| memmem::Finder::new(b"ools"));
    OOLS.find(text).is_some() || memchr::memchr(b'\\', text).is_some()
}

/// The models of the tools that a message brings along.
fn of_message(message: &[u8], outer: &str, found: &mut Vec<Choice>) {
    if !may_hold_tools(message) {
        return;
    }
    for (key, value) in json::members(message).unwrap_or_default() {
        let key = json::string(&message[key]);
        if key.is_some_and(|key| bare(&key) == "tools") {
            of_list(&message[value], &format!("{outer}[].tools"), found);
        }
    }
}

/// A list of tools, or one tool in its place.
fn of_list(list: &[u8], name: &str, found: &mut Vec<Choice>) {
    let mut named = Named::default();
    in_list(list, DEEPEST, &mut named);
    if named.unclear || !named.models.is_empty() {
        found.push(Choice {
            key: format!("{name}[].model"),
            why: Why::ToolModel,
            models: (!named.unclear).then_some(named.models),
        });
    }
}

fn in_list(list: &[u8], depth: usize, named: &mut Named) {
    match list.first() {
        Some(b'{') => in_tool(list, depth, named),
        Some(b'[') => match json::elements(list, MOST) {
            Some(elements) => {
                for at in elements {
                    in_tool(&list[at], depth, named);
                }
            }
            None => named.unclear |= may_name(list),
        },
        _ => {}
    }
}

fn in_tool(tool: &[u8], depth: usize, named: &mut Named) {
    // One that a strict scan refuses may be a function to some and a provider's own to others.
    let is_function = json::scan(tool, &["type", "name"]).is_ok_and(|fields| {
        match fields.get(0).map(|at| &tool[at]) {
            Some(kind) => matches!(kind, b"\"function\"" | b"\"custom\""),
            None => fields.get(1).is_some(),
        }
    });
    if !is_function {
        in_object(tool, depth, &OF_FUNCTIONS, named);
    }
}

/// Whether a value may hold a key that names a model.
fn may_name(value: &[u8]) -> bool {
    value
        .windows(5)
        .any(|five| five.eq_ignore_ascii_case(b"model"))
        || value.contains(&b'\\')
}

/// The models that an object names, or one inside it.
fn in_object(object: &[u8], depth: usize, except: &[&str], named: &mut Named) {
    if depth == 0 {
        named.unclear |= may_name(object);
        return;
    }
    for (key, value) in json::members(object).unwrap_or_default() {
        let (Some(key), value) = (json::string(&object[key]), &object[value]) else {
            continue;
        };
        if except.contains(&&*key) {
            continue;
        }
        let bare = bare(&key);
        let names_one = ["model", "models", "modelname", "modelid"];
        let names_one = names_one.iter().any(|name| bare.ends_with(name));
        match value.first() {
            Some(b'[' | b'"') if names_one => match models(value) {
                Some(models) => named.models.extend(models),
                None => named.unclear = true,
            },
            Some(b'{') if names_one && !value[1..].trim_ascii().starts_with(b"}") => {
                named.unclear = true;
            }
            // What a schema says of a property names nothing by its key.
            Some(b'{') if bare == "properties" => {
                for (_, property) in json::members(value).unwrap_or_default() {
                    in_value(&value[property], depth - 1, named);
                }
            }
            // A group of tools.
            _ if bare == "tools" => in_list(value, depth - 1, named),
            _ => in_value(value, depth - 1, named),
        }
    }
}

fn in_value(value: &[u8], depth: usize, named: &mut Named) {
    match value.first() {
        Some(b'{') => in_object(value, depth, &[], named),
        Some(b'[') if depth == 0 => named.unclear |= may_name(value),
        Some(b'[') => match json::elements(value, MOST) {
            Some(elements) => {
                for at in elements {
                    in_value(&value[at], depth - 1, named);
                }
            }
            None => named.unclear |= may_name(value),
        },
        _ => {}
    }
}
