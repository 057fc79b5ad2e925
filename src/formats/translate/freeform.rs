//! Tools that take a text, for formats whose tools take an object alone: the text stands under `input` of
//! such an object, and is taken out of it on the way back.

use super::json::object;
use super::{Content, Delta, Event, Json, Object, Open, Request, ToolCall};

/// The key of the object under which the text stands.
const KEY: &str = "input";

impl Request {
    /// Has tools take an object with their text in it, and earlier calls too.
    pub(super) fn wrap_freeform_tools(&mut self) {
        for tool in &mut self.tools {
            if let Some(format) = tool.freeform.take() {
                tool.parameters = Some(schema(&format));
            }
        }
        for part in self.turns.iter_mut().flat_map(|turn| &mut turn.parts) {
            match &mut part.content {
                Content::ToolCall(call) if call.is_freeform => {
                    call.is_freeform = false;
                    call.arguments = wrapped(&call.arguments);
                }
                Content::ToolResult(result) => result.is_freeform = false,
                _ => {}
            }
        }
    }
}

/// The parameters of a tool that takes a text of this format, which the model has to know.
fn schema(format: &Object) -> Json {
    let mut text = object! { "type": "string" };
    let grammar = format.members().find(|(key, _)| *key == "grammar");
    if let Some((_, grammar)) = grammar {
        let of = |key| grammar.at(key).text().unwrap_or_default();
        let (syntax, definition) = (of("syntax"), of("definition"));
        let about = format!("A text that matches this grammar ({syntax}):\n{definition}");
        text.put("description", about);
    }
    let schema = object! {
        "type": "object",
        "properties": object! { "input": text },
        "required": vec![KEY.to_owned()],
        "additionalProperties": false,
    };
    schema.into()
}

fn wrapped(text: &str) -> String {
    object! { "input": text }.to_string()
}

/// Takes the text out of the calls of freeform tools in a response.
#[derive(Debug, Default)]
pub(super) struct Unwrap {
    /// The tools.
    names: Vec<String>,
    /// The parameters of the call that is open, as far as they came, if it is one of these. What gives the
    /// events bounds the length of a part.
    held: Option<String>,
}

impl Unwrap {
    /// For the response to a request whose freeform tools were wrapped.
    pub(super) fn of(request: &Request) -> Self {
        let tools = request.tools.iter();
        let freeform = tools.filter(|tool| tool.freeform.is_some());
        Self {
            names: freeform.map(|tool| tool.name.clone()).collect(),
            held: None,
        }
    }

    /// What the caller gets of an event: nothing of the parameters until they are whole.
    pub(super) fn event(&mut self, mut event: Event) -> Vec<Event> {
        match &mut event {
            Event::Open(Open::ToolCall {
                name, is_freeform, ..
            }) if self.names.contains(name) => {
                *is_freeform = true;
                self.held = Some(String::new());
            }
            Event::Delta(Delta::Text(text)) => {
                if let Some(held) = &mut self.held {
                    held.push_str(text);
                    return Vec::new();
                }
            }
            Event::Close => {
                if let Some(held) = self.held.take() {
                    return vec![Event::Delta(Delta::Text(text_of(held))), event];
                }
            }
            _ => {}
        }
        vec![event]
    }
}

/// The text of parameters; all of them, if the model has written something else.
fn text_of(arguments: String) -> String {
    let call = ToolCall {
        arguments,
        ..ToolCall::default()
    };
    let input = call.input().take(KEY);
    match input {
        Some(Json::Text(text)) => text,
        _ => call.arguments,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::translate::{Part, Role, Tool, Turn};

    #[test]
    fn a_text_goes_into_an_object_and_comes_out_again() {
        let call = |arguments: &str| ToolCall {
            name: "patch".to_owned(),
            arguments: arguments.to_owned(),
            is_freeform: true,
            ..ToolCall::default()
        };
        let mut request = Request {
            tools: vec![Tool {
                name: "patch".to_owned(),
                freeform: Some(Object::default()),
                ..Tool::default()
            }],
            turns: vec![Turn::new(
                Role::Assistant,
                vec![Part::new(Content::ToolCall(call("a \"b\"\n")))],
            )],
            ..Request::default()
        };
        let mut unwrap = Unwrap::of(&request);
        request.wrap_freeform_tools();
        assert!(request.tools[0].freeform.is_none() && request.tools[0].parameters.is_some());
        let Content::ToolCall(sent) = &request.turns[0].parts[0].content else {
            panic!("a call")
        };
        assert!(!sent.is_freeform);
        let (first, second) = sent.arguments.split_at(7);
        let open = |is_freeform| {
            Event::Open(Open::ToolCall {
                id: String::new(),
                name: "patch".to_owned(),
                is_freeform,
            })
        };
        let delta = |text: &str| Event::Delta(Delta::Text(text.to_owned()));
        let events = [open(false), delta(first), delta(second), Event::Close];
        let told: Vec<Event> = events
            .into_iter()
            .flat_map(|one| unwrap.event(one))
            .collect();
        assert_eq!(told, [open(true), delta("a \"b\"\n"), Event::Close]);
    }

    #[test]
    fn a_grammar_is_told_to_the_model() {
        let grammar = object! { "syntax": "lark", "definition": "start: \"a\"" };
        let schema = schema(&object! { "type": "grammar", "grammar": grammar });
        let about = schema.at("properties").at("input").at("description");
        assert_eq!(
            about.text(),
            Some("A text that matches this grammar (lark):\nstart: \"a\"")
        );
    }
}
