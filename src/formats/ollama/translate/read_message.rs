//! A message of a caller's chat.

use super::images::images;
use crate::formats::translate::{
    Content, Fields, Item, Json, Part, Request, Role, Thought, ToolCall, ToolResult, Turn,
    Untranslatable,
};

type Read<T> = Result<T, Untranslatable>;

/// Calls that have no result yet. Older clients name the tool in a result, or nothing at all, where
/// other formats have the id of the call.
#[derive(Debug, Default)]
pub(super) struct Calls {
    count: usize,
    open: Vec<(String, String)>,
}

impl Calls {
    fn new_id(&mut self) -> String {
        self.count += 1;
        format!("call_{}", self.count)
    }

    fn add(&mut self, id: Option<String>, name: &str) -> String {
        let id = id
            .filter(|id| !id.is_empty())
            .unwrap_or_else(|| self.new_id());
        self.open.push((id.clone(), name.to_owned()));
        id
    }

    /// The id of the call that a result answers: the one that it names, else the first of its tool, else
    /// the first.
    fn answered(&mut self, id: Option<String>, name: Option<&str>) -> String {
        let nth = match (&id, name) {
            (Some(id), _) => self.open.iter().position(|(open, _)| open == id),
            (None, Some(name)) => self.open.iter().position(|(_, open)| open == name),
            (None, None) => (!self.open.is_empty()).then_some(0),
        };
        let answered = nth.map(|nth| self.open.remove(nth).0);
        answered.or(id).unwrap_or_else(|| self.new_id())
    }
}

/// Adds the turn of a message. Results of tools that follow each other are of one turn.
pub(super) fn add(mut message: Fields, calls: &mut Calls, request: &mut Request) -> Read<()> {
    message.drop_hints(&["name"], &mut request.dropped);
    let role = message.needed_text("role")?.to_ascii_lowercase();
    let text = message.text("content")?.filter(|text| !text.is_empty());
    let mut parts: Vec<Part> = text.map(Part::text).into_iter().collect();
    parts.extend(images(&mut message)?);
    let role = match role.as_str() {
        "system" => Role::System,
        "user" => Role::User,
        "assistant" => {
            if let Some(text) = message.text("thinking")?.filter(|text| !text.is_empty()) {
                let thought = Thought { text, seal: None };
                parts.insert(0, Part::new(Content::Reasoning(thought)));
            }
            for item in message.list("tool_calls")? {
                let call = call(item, calls)?;
                parts.push(Part::new(Content::ToolCall(call)));
            }
            Role::Assistant
        }
        "tool" => {
            let id = message.text("tool_call_id")?.filter(|id| !id.is_empty());
            let name = message.text("tool_name")?.filter(|name| !name.is_empty());
            let result = ToolResult {
                id: calls.answered(id, name.as_deref()),
                name,
                parts: std::mem::take(&mut parts),
                ..ToolResult::default()
            };
            parts.push(Part::new(Content::ToolResult(result)));
            Role::User
        }
        role => return Err(message.refuse("role", format!("`{role}` can't be translated"))),
    };
    // Some clients write all fields into every message.
    for key in ["thinking", "tool_call_id", "tool_name"] {
        if message.text(key)?.is_some_and(|text| !text.is_empty()) {
            return Err(message.refuse(key, "can't be translated in a message of this role"));
        }
    }
    message.end()?;
    let is_result = |part: &Part| matches!(part.content, Content::ToolResult(_));
    match request.turns.last_mut() {
        Some(last) if !last.parts.is_empty() && last.parts.iter().chain(&parts).all(is_result) => {
            last.parts.extend(parts);
        }
        _ => request.turns.push(Turn::new(role, parts)),
    }
    Ok(())
}

fn call(item: Item, calls: &mut Calls) -> Read<ToolCall> {
    let mut outer = item.object()?;
    outer.ignore(&["type"]);
    let id = outer.text("id")?;
    let mut function = outer.needed_object("function")?;
    function.ignore(&["index"]);
    let name = function.needed_text("name")?;
    let arguments = match function.value("arguments") {
        None => String::new(),
        Some(arguments @ Json::Object(_)) => arguments.to_string(),
        Some(_) => return Err(function.refuse("arguments", "isn't an object")),
    };
    function.end()?;
    outer.end()?;
    Ok(ToolCall {
        id: calls.add(id, &name),
        name,
        arguments,
        is_freeform: false,
    })
}
