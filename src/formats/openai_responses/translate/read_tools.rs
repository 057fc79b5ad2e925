//! Tools of a caller's request, and of its input.

use super::grouped;
use crate::formats::translate::{
    Fields, Item, Object, Request, Tool, Untranslatable, note, object,
};

/// The types of a search by the provider begin with this; older ones have a date behind it.
const SEARCH: &str = "web_search";
/// What the record calls a search that is left out.
pub(super) const DROPPED_SEARCH: &str = "tools.web_search";

type Read<T> = Result<T, Untranslatable>;

/// Adds a tool of the caller's, or a group of them. A search of the provider's is left out, because Codex
/// offers it by default and the model does without; a choice of tools that forces it is refused.
pub(super) fn tools(item: Item, request: &mut Request) -> Read<()> {
    let mut fields = item.object()?;
    let kind = fields.needed_text("type")?;
    if kind.starts_with(SEARCH) {
        note(&mut request.dropped, DROPPED_SEARCH);
        return Ok(());
    }
    if kind != "namespace" {
        let tool = tool(fields, &kind, &mut request.dropped)?;
        request.tools.push(tool);
        return Ok(());
    }
    let namespace = fields.needed_text("name")?;
    if namespace.len() > Tool::LONGEST_NAME {
        return Err(fields.refuse("name", "is longer than 256 bytes"));
    }
    // Its first tool has the description: a copy in each would multiply what a caller sends.
    let mut about = fields.text("description")?.filter(|text| !text.is_empty());
    for item in fields.list("tools")? {
        let mut inner = item.object()?;
        let kind = inner.needed_text("type")?;
        let tool = tool(inner, &kind, &mut request.dropped)?;
        let texts = [about.take(), tool.description];
        let texts: Vec<String> = texts.into_iter().flatten().collect();
        request.tools.push(Tool {
            name: grouped(&namespace, &tool.name),
            description: (!texts.is_empty()).then(|| texts.join("\n\n")),
            namespace: Some(namespace.clone()),
            ..tool
        });
    }
    fields.end()
}

/// A tool of the caller's. Those that the provider runs can't be translated, and neither can those that
/// only its own models know, such as `local_shell`.
fn tool(mut tool: Fields, kind: &str, dropped: &mut Vec<String>) -> Read<Tool> {
    if !matches!(kind, "function" | "custom") {
        return Err(tool.refuse("type", format!("`{kind}` can't be translated")));
    }
    let mut read = Tool {
        name: tool.needed_text("name")?,
        description: tool.text("description")?,
        ..Tool::default()
    };
    if kind == "custom" {
        read.freeform = Some(freeform(&mut tool)?);
    } else {
        read.parameters = tool.value("parameters");
        read.strict = tool.flag("strict")?;
    }
    // Without a search for tools, all of them are there from the beginning.
    tool.drop_hints(&["output_schema"], dropped);
    if tool.flag("defer_loading")? == Some(true) {
        note(dropped, &tool.path("defer_loading"));
    }
    let callers = tool.texts("allowed_callers")?;
    if !callers.is_empty() && !callers.iter().any(|caller| caller == "direct") {
        return Err(tool.refuse("allowed_callers", "can't be translated"));
    }
    tool.end()?;
    Ok(read)
}

/// The format of a custom tool's text, as chat completions nest it.
fn freeform(tool: &mut Fields) -> Read<Object> {
    let Some(mut format) = tool.object("format")? else {
        return Ok(Object::default());
    };
    let read = match format.needed_text("type")?.as_str() {
        "text" => object! { "type": "text" },
        "grammar" => {
            let grammar = object! {
                "definition": format.needed_text("definition")?,
                "syntax": format.needed_text("syntax")?,
            };
            object! { "type": "grammar", "grammar": grammar }
        }
        kind => return Err(format.refuse("type", format!("`{kind}` can't be translated"))),
    };
    format.end()?;
    Ok(read)
}
