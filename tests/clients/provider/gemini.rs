//! Gemini's calls, whose path names the model and the verb.

use serde_json::{Value, json};

use super::Answer;
use super::turn::{SIGNATURE, Says, THOUGHT, Turn};
use super::usage::Usage;

/// The model and the verb of a path such as `/v1beta/models/m:generateContent`.
pub fn parse(path: &str) -> Option<(&str, &str)> {
    let rest = path
        .strip_prefix("/v1beta/models/")
        .or_else(|| path.strip_prefix("/v1/models/"))?;
    rest.rsplit_once(':')
}

pub fn answer(model: &str, verb: &str, turn: &Turn, usage: &Usage) -> Option<Answer> {
    Some(match verb {
        "generateContent" => Answer::Json(chunk(model, &parts(turn), Some("STOP"), usage)),
        "streamGenerateContent" => Answer::Events(stream(model, turn, usage)),
        "countTokens" => Answer::Json(json!({ "totalTokens": usage.input })),
        "embedContent" => Answer::Json(json!({ "embedding": { "values": [0.0, 0.0] } })),
        "batchEmbedContents" => Answer::Json(json!({
            "embeddings": [{ "values": [0.0, 0.0] }, { "values": [0.0, 0.0] }],
        })),
        _ => return None,
    })
}

fn parts(turn: &Turn) -> Value {
    let mut part = match &turn.says {
        Says::Text(text) => json!({ "text": text }),
        Says::Tool { name, arguments } => {
            json!({ "functionCall": { "id": "call-1", "name": name, "args": arguments } })
        }
    };
    if !turn.thinks {
        return json!([part]);
    }
    part["thoughtSignature"] = json!(SIGNATURE);
    json!([{ "text": THOUGHT, "thought": true }, part])
}

fn chunk(model: &str, parts: &Value, finish: Option<&str>, usage: &Usage) -> Value {
    let mut chunk = json!({
        "candidates": [{
            "index": 0,
            "content": { "role": "model", "parts": parts },
        }],
        "usageMetadata": usage.gemini(),
        "modelVersion": model,
        "responseId": "r1",
    });
    if let Some(finish) = finish {
        chunk["candidates"][0]["finishReason"] = json!(finish);
    }
    chunk
}

/// Google counts in every chunk, and only the last count is whole.
fn stream(model: &str, turn: &Turn, usage: &Usage) -> Vec<String> {
    let early = Usage {
        output: usage.reasoning + 1,
        ..*usage
    };
    [
        chunk(model, &parts(turn), None, &early),
        chunk(model, &json!([{ "text": "" }]), Some("STOP"), usage),
    ]
    .iter()
    .map(|chunk| format!("data: {chunk}\r\n\r\n"))
    .collect()
}
