//! OpenAI's responses: the same events over SSE and over a WebSocket.

use serde_json::{Value, json};

use super::Answer;
use super::turn::{SIGNATURE, Says, THOUGHT, Turn, halves};
use super::usage::Usage;

/// The answer to a `POST`.
pub fn answer(request: &Value, id: &str, turn: &Turn, usage: &Usage) -> Answer {
    if request["stream"] != true {
        let output = json!(items(turn));
        let usage = usage.responses();
        return Answer::Json(response(request, id, "completed", &output, &usage));
    }
    let events = events(request, id, Some(turn), usage);
    Answer::Events(
        events
            .iter()
            .map(|event| {
                let name = event["type"].as_str().unwrap_or_default();
                format!("event: {name}\ndata: {event}\n\n")
            })
            .collect(),
    )
}

/// A response that is kept; without a turn, one that is still being made.
pub fn stored(
    request: &Value,
    id: &str,
    status: &str,
    turn: Option<&Turn>,
    usage: &Usage,
) -> Value {
    match turn {
        Some(turn) => response(request, id, status, &json!(items(turn)), &usage.responses()),
        None => response(request, id, status, &json!([]), &Value::Null),
    }
}

/// The events of a response; without a turn, those of one that generates nothing.
pub fn events(request: &Value, id: &str, turn: Option<&Turn>, usage: &Usage) -> Vec<Value> {
    let begun = response(request, id, "in_progress", &json!([]), &Value::Null);
    let mut events = vec![
        json!({ "type": "response.created", "response": begun }),
        json!({ "type": "response.in_progress", "response": begun }),
    ];
    let output = turn.map(items).unwrap_or_default();
    for (at, done) in output.iter().enumerate() {
        let mut added = done.clone();
        added["status"] = json!("in_progress");
        for (key, empty) in [
            ("content", json!([])),
            ("summary", json!([])),
            ("arguments", json!("")),
        ] {
            if done.get(key).is_some() {
                added[key] = empty;
            }
        }
        let mut of_item = vec![json!({ "type": "response.output_item.added", "item": added })];
        of_item.extend(pieces(done));
        of_item.push(json!({ "type": "response.output_item.done", "item": done }));
        for mut event in of_item {
            event["output_index"] = json!(at);
            events.push(event);
        }
    }
    events.push(json!({
        "type": "response.completed",
        "response": response(request, id, "completed", &json!(output), &usage.responses()),
    }));
    for (nth, event) in events.iter_mut().enumerate() {
        event["sequence_number"] = json!(nth);
    }
    events
}

/// What is said between the start and the end of an item: its text in two pieces and whole, within a part
/// if the item has parts.
fn pieces(item: &Value) -> Vec<Value> {
    let (name, key, text, part) = match item["type"].as_str() {
        Some("message") => {
            let part = &item["content"][0];
            let within = ("response.content_part", "content_index", part);
            ("response.output_text", "text", &part["text"], Some(within))
        }
        Some("reasoning") => {
            let part = &item["summary"][0];
            let within = ("response.reasoning_summary_part", "summary_index", part);
            (
                "response.reasoning_summary_text",
                "text",
                &part["text"],
                Some(within),
            )
        }
        _ => {
            let name = "response.function_call_arguments";
            (name, "arguments", &item["arguments"], None)
        }
    };
    let halves = halves(text.as_str().unwrap_or_default());
    let delta = |delta| json!({ "type": format!("{name}.delta"), "delta": delta });
    let mut events: Vec<Value> = halves.into_iter().map(delta).collect();
    events.push(json!({ "type": format!("{name}.done"), key: text }));
    if let Some((name, index, part)) = part {
        let mut begun = part.clone();
        begun["text"] = json!("");
        events.insert(0, json!({ "type": format!("{name}.added"), "part": begun }));
        events.push(json!({ "type": format!("{name}.done"), "part": part }));
        for event in &mut events {
            event[index] = json!(0);
        }
    }
    for event in &mut events {
        event["item_id"] = item["id"].clone();
    }
    events
}

/// The items of a response's output.
fn items(turn: &Turn) -> Vec<Value> {
    let said = match &turn.says {
        Says::Text(text) => json!({
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [{ "type": "output_text", "text": text, "annotations": [] }],
        }),
        Says::Tool { name, arguments } => json!({
            "type": "function_call",
            "id": "fc_1",
            "call_id": "call_1",
            "name": name,
            "arguments": arguments.to_string(),
            "status": "completed",
        }),
    };
    if !turn.thinks {
        return vec![said];
    }
    let thought = json!({
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{ "type": "summary_text", "text": THOUGHT }],
        "encrypted_content": SIGNATURE,
    });
    vec![thought, said]
}

fn response(request: &Value, id: &str, status: &str, output: &Value, usage: &Value) -> Value {
    json!({
        "id": id,
        "object": "response",
        "created_at": 1,
        "status": status,
        "model": request["model"],
        "output": output,
        "usage": usage,
        "error": null,
        "incomplete_details": null,
        "instructions": null,
        "metadata": {},
        "parallel_tool_calls": true,
        "previous_response_id": request["previous_response_id"],
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
    })
}
