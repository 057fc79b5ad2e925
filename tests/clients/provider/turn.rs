//! The next turn of the model on the wire: it makes the client read a note with one of the client's own
//! tools, and then repeats the note. Asked for JSON, it writes some.

use std::path::Path;

use serde_json::{Value, json};

/// What the note holds. No prompt has it: a client that was told it has run the tool.
pub const WORD: &str = "heron-7351";
/// What is said when there is no tool to call.
pub const HELLO: &str = "Hello from the wire.";
/// What is said when the response has to match a schema.
pub const CITY: &str = r#"{"city":"Rome"}"#;
/// What models think that have [`THINKER`] in their name, and what their provider adds to check that it
/// comes back unchanged.
pub const THOUGHT: &str = "The note will tell.";
pub const SIGNATURE: &str = "bm90aGluZyB0byBzZWU=";
const THINKER: &str = "wire-";

/// One turn of the model.
pub struct Turn {
    pub thinks: bool,
    pub says: Says,
}

/// What a turn says.
pub enum Says {
    Text(String),
    Tool { name: String, arguments: Value },
}

impl Turn {
    /// The turn that follows `said`, everything that the client has sent, of which `tools` are
    /// those that it offers.
    pub fn next(model: &str, said: &str, tools: &Value, note: &Path) -> Self {
        Self {
            thinks: model.starts_with(THINKER),
            says: Says::next(said, tools, note),
        }
    }

    /// The turn that a request asks for, in any format.
    pub fn of(model: &str, body: &Value, note: &Path) -> Self {
        let tools = match &body["toolConfig"]["tools"] {
            Value::Null => &body["tools"],
            of_bedrock => of_bedrock,
        };
        let mut turn = Self::next(model, &body.to_string(), tools, note);
        if schema(body).is_some() {
            turn.says = Says::Text(CITY.to_owned());
        }
        turn
    }
}

impl Says {
    fn next(said: &str, tools: &Value, note: &Path) -> Self {
        if said.contains(WORD) {
            return Self::Text(format!("The note says {WORD}."));
        }
        let mut names = Vec::new();
        collect(tools, &mut names);
        names
            .into_iter()
            .find_map(|name| call(name, note, &tools.to_string()))
            .unwrap_or_else(|| Self::Text(HELLO.into()))
    }
}

/// The two pieces in which a stream has a text.
pub fn halves(text: &str) -> [&str; 2] {
    text.split_at(text.floor_char_boundary(text.len() / 2))
        .into()
}

/// The schema that a response has to match, wherever a format puts it.
pub fn schema(body: &Value) -> Option<Value> {
    let places = [
        "/response_format/json_schema/schema",
        "/text/format/schema",
        "/output_config/format/schema",
        "/generationConfig/responseJsonSchema",
    ];
    let known = places.iter().find_map(|place| body.pointer(place));
    // Bedrock has it as a text.
    let place = "/outputConfig/textFormat/structure/jsonSchema/schema";
    let text = body.pointer(place).and_then(Value::as_str);
    known.cloned().or_else(|| serde_json::from_str(text?).ok())
}

/// The names of tools, wherever a format puts them.
fn collect<'a>(tools: &'a Value, into: &mut Vec<&'a str>) {
    match tools {
        Value::Array(list) => list.iter().for_each(|tool| collect(tool, into)),
        Value::Object(fields) => {
            if let Some(name) = fields.get("name").and_then(Value::as_str) {
                into.push(name);
            }
            for key in [
                "function",
                "functionDeclarations",
                "function_declarations",
                "toolSpec",
            ] {
                if let Some(inner) = fields.get(key) {
                    collect(inner, into);
                }
            }
        }
        _ => {}
    }
}

/// How each agent reads a file; `schemas` tell its tools' arguments.
fn call(name: &str, note: &Path, schemas: &str) -> Option<Says> {
    let path = note.display().to_string();
    let arguments = match name {
        // Continue.
        "Read" if schemas.contains("\"filepath\"") => json!({ "filepath": path }),
        // Cline.
        "read_files" => json!({ "files": [{ "path": path }] }),
        // Claude Code, Gemini CLI and Qwen Code.
        "Read" | "read_file" => json!({ "file_path": path }),
        // Codex.
        "exec_command" => json!({ "cmd": format!("cat {path}") }),
        "shell_command" => json!({ "command": format!("cat {path}") }),
        "shell" => json!({ "command": ["cat", path] }),
        // opencode.
        "read" => json!({ "filePath": path }),
        _ => return None,
    };
    Some(Says::Tool {
        name: name.into(),
        arguments,
    })
}
