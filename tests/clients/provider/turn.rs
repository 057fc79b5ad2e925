//! The next turn of the model on the wire: it makes the client read a note with one of the client's own
//! tools, and then repeats the note.

use std::path::Path;

use serde_json::{Value, json};

/// What the note holds. No prompt has it: a client that was told it has run the tool.
pub const WORD: &str = "heron-7351";
/// What is said when there is no tool to call.
pub const HELLO: &str = "Hello from the wire.";

/// One turn of the model.
pub enum Turn {
    Text(String),
    Tool { name: String, arguments: Value },
}

impl Turn {
    /// The turn that follows `said`, everything that the client has sent, of which `tools` are
    /// those that it offers.
    pub fn next(said: &str, tools: &Value, note: &Path) -> Self {
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

/// The names of tools, wherever a format puts them.
fn collect<'a>(tools: &'a Value, into: &mut Vec<&'a str>) {
    match tools {
        Value::Array(list) => list.iter().for_each(|tool| collect(tool, into)),
        Value::Object(fields) => {
            if let Some(name) = fields.get("name").and_then(Value::as_str) {
                into.push(name);
            }
            for key in ["function", "functionDeclarations", "function_declarations"] {
                if let Some(inner) = fields.get(key) {
                    collect(inner, into);
                }
            }
        }
        _ => {}
    }
}

/// How each agent reads a file; `schemas` tell its tools' arguments.
fn call(name: &str, note: &Path, schemas: &str) -> Option<Turn> {
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
    Some(Turn::Tool {
        name: name.into(),
        arguments,
    })
}
