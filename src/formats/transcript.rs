//! What was said in a request and its response, for people to read: turns of a conversation, from
//! the captured bodies of any format. It is for showing only, and reads as far as the bodies tell:
//! nothing is decided, counted or sent by it.

use serde_json::Value;

use super::named;
use super::tree::elements;

/// One turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// As the format has it, such as `user`.
    pub role: String,
    pub parts: Vec<Part>,
}

/// A part of a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// What was said.
    Text(String),
    /// What the model thought, where the provider shows it.
    Thought(String),
    /// A tool that is called.
    Call {
        /// Its name.
        name: String,
        /// JSON text.
        input: String,
    },
    /// What a tool gave back.
    Result {
        /// The call's id or the tool's name; may be empty.
        of: String,
        /// As text.
        text: String,
        /// The tool says that it failed.
        failed: bool,
    },
    /// Something other than text, such as `image/png`.
    Other(String),
}

/// A conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transcript {
    /// What was sent.
    pub sent: Vec<Turn>,
    /// What was answered.
    pub answered: Vec<Turn>,
    /// Names of the tools that were offered.
    pub offered: Vec<String>,
}

/// How the turns of a format's bodies are read.
#[derive(Clone, Copy, Debug)]
pub struct Conversation {
    /// Those of a request.
    pub sent: fn(&Value) -> Vec<Turn>,
    /// Those of a response.
    pub answered: fn(&Value) -> Vec<Turn>,
}

impl Conversation {
    /// For a format whose bodies are no conversation.
    pub const NONE: Self = Self {
        sent: |_| Vec::new(),
        answered: |_| Vec::new(),
    };
}

/// Reads the bodies of a request in a format, by its name. A body that isn't JSON has no turns.
#[must_use]
pub fn read(api: &str, request: &[u8], response: &[u8]) -> Transcript {
    let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap_or_default();
    let (request, response) = (json(request), json(response));
    let conversation = named(api).map_or(Conversation::NONE, |format| format.conversation);
    let filled = |mut turns: Vec<Turn>| {
        turns.retain(|turn| !turn.parts.is_empty());
        turns
    };
    Transcript {
        sent: filled((conversation.sent)(&request)),
        answered: filled((conversation.answered)(&response)),
        offered: offered(&request),
    }
}

/// Names of the tools of a request: formats nest them in different ways.
fn offered(request: &Value) -> Vec<String> {
    let tools = request["tools"]
        .as_array()
        .or_else(|| request["toolConfig"]["tools"].as_array());
    let mut names = Vec::new();
    for tool in tools.into_iter().flatten() {
        let declared = elements(&tool["functionDeclarations"]).iter();
        let declared = declared.map(|one| &one["name"]);
        let own = [
            &tool["name"],
            &tool["function"]["name"],
            &tool["toolSpec"]["name"],
        ];
        let found = own.into_iter().chain(declared).filter_map(Value::as_str);
        names.extend(found.map(str::to_owned));
    }
    names
}

/// The parts of a text or of a list of blocks.
pub(super) fn parts(content: &Value, block: fn(&Value) -> Option<Part>) -> Vec<Part> {
    match content {
        Value::String(text) if !text.is_empty() => vec![Part::Text(text.clone())],
        Value::Array(blocks) => blocks
            .iter()
            .filter_map(|one| match one {
                Value::String(text) => Some(Part::Text(text.clone())),
                other => block(other),
            })
            .collect(),
        Value::Object(_) => block(content).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// How a format writes a turn: the key of its content, the role of one that states none, and how to
/// read a block.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub content: &'static str,
    pub role: &'static str,
    pub block: fn(&Value) -> Option<Part>,
}

impl Shape {
    pub(super) fn turn(self, value: &Value) -> Turn {
        let role = value["role"].as_str().unwrap_or(self.role);
        turn(role, parts(&value[self.content], self.block))
    }

    /// What a request sends: instructions, and a list of turns.
    pub(super) fn turns(self, instructions: &Value, turns: &Value) -> Vec<Turn> {
        let system = turn("system", parts(instructions, self.block));
        let turns = elements(turns).iter().map(|value| self.turn(value));
        std::iter::once(system).chain(turns).collect()
    }
}

pub(super) fn turn(role: &str, parts: Vec<Part>) -> Turn {
    Turn {
        role: role.to_owned(),
        parts,
    }
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Arguments as JSON text: some formats have them as a string of it.
pub(super) fn input(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// What a tool gave back, as text: the text of its blocks, else JSON.
pub(super) fn flat(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(blocks) if blocks.iter().any(|block| block["text"].is_string()) => {
            let texts = blocks.iter().filter_map(|block| block["text"].as_str());
            texts.collect::<Vec<_>>().join("\n")
        }
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(turns: &[Turn]) -> String {
        let parts = turns.iter().flat_map(|turn| {
            turn.parts.iter().map(|part| {
                let part = match part {
                    Part::Text(text) => text.clone(),
                    Part::Thought(text) => format!("({text})"),
                    Part::Call { name, input } => format!("{name}<{input}>"),
                    Part::Result { of, text, failed } => format!("{of}={text}/{failed}"),
                    Part::Other(kind) => format!("[{kind}]"),
                };
                format!("{}:{part}", turn.role)
            })
        });
        parts.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn each_format_reads_like_a_conversation() {
        let cases = [
            (
                "openai_chat",
                r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"u"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AA"}}]},{"role":"assistant","content":null,"tool_calls":[{"id":"c1","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c1","content":"r"}],"tools":[{"type":"function","function":{"name":"f"}}]}"#,
                r#"{"choices":[{"message":{"role":"assistant","reasoning_content":"t","content":"a"}}]}"#,
                "system:s user:u user:[image_url] assistant:f<{}> tool:c1=r/false",
                "assistant:(t) assistant:a",
            ),
            (
                "openai_responses",
                r#"{"instructions":"s","input":[{"role":"user","content":[{"type":"input_text","text":"u"}]},{"type":"function_call","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":"r"}],"tools":[{"type":"function","name":"f"}]}"#,
                r#"{"output":[{"type":"reasoning","summary":[{"type":"summary_text","text":"t"}]},{"type":"message","role":"assistant","content":[{"type":"output_text","text":"a"}]}]}"#,
                "system:s user:u assistant:f<{}> tool:c=r/false",
                "assistant:(t) assistant:a",
            ),
            (
                "anthropic_messages",
                r#"{"system":[{"type":"text","text":"s"}],"messages":[{"role":"user","content":"u"},{"role":"assistant","content":[{"type":"tool_use","name":"f","input":{"x":1}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"c","content":[{"type":"text","text":"r"}],"is_error":true}]}],"tools":[{"name":"f"}]}"#,
                r#"{"role":"assistant","content":[{"type":"thinking","thinking":"t"},{"type":"text","text":"a"}]}"#,
                r#"system:s user:u assistant:f<{"x":1}> user:c=r/true"#,
                "assistant:(t) assistant:a",
            ),
            (
                "gemini_generate_content",
                r#"{"systemInstruction":{"parts":[{"text":"s"}]},"contents":[{"role":"user","parts":[{"text":"u"},{"inlineData":{"mimeType":"image/png"}}]},{"role":"model","parts":[{"functionCall":{"name":"f","args":{}}}]},{"role":"user","parts":[{"functionResponse":{"name":"f","response":{"x":1}}}]}],"tools":[{"functionDeclarations":[{"name":"f"}]}]}"#,
                r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"t","thought":true},{"text":"a"}]}}]}"#,
                r#"system:s user:u user:[image/png] model:f<{}> user:f={"x":1}/false"#,
                "model:(t) model:a",
            ),
            (
                "bedrock_converse",
                r#"{"system":[{"text":"s"}],"messages":[{"role":"user","content":[{"text":"u"}]},{"role":"assistant","content":[{"toolUse":{"name":"f","input":{}}}]},{"role":"user","content":[{"toolResult":{"toolUseId":"c","content":[{"text":"r"}],"status":"error"}}]}],"toolConfig":{"tools":[{"toolSpec":{"name":"f"}}]}}"#,
                r#"{"output":{"message":{"role":"assistant","content":[{"reasoningContent":{"reasoningText":{"text":"t"}}},{"text":"a"}]}}}"#,
                "system:s user:u assistant:f<{}> user:c=r/true",
                "assistant:(t) assistant:a",
            ),
        ];
        for (api, request, response, sent, answered) in cases {
            let transcript = read(api, request.as_bytes(), response.as_bytes());
            assert_eq!(said(&transcript.sent), sent, "{api}");
            assert_eq!(said(&transcript.answered), answered, "{api}");
            assert_eq!(transcript.offered, ["f"], "{api}");
        }
    }

    #[test]
    fn what_is_no_conversation_has_no_turns() {
        for body in [
            "",
            "no json",
            "[]",
            "{\"messages\":3}",
            "{\"messages\":[3,null]}",
        ] {
            for api in ["openai_chat", "anthropic_messages", "bedrock_converse", "x"] {
                let transcript = read(api, body.as_bytes(), body.as_bytes());
                assert_eq!(transcript, Transcript::default(), "{api} {body}");
            }
        }
    }
}
