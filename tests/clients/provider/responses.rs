//! OpenAI's responses: the same events over SSE and over a WebSocket.

use serde_json::{Value, json};

use super::Answer;
use super::turn::Turn;
use super::usage::Usage;

/// The answer to a `POST`.
pub fn answer(request: &Value, id: &str, turn: &Turn, usage: &Usage) -> Answer {
    if request["stream"] != true {
        let output = json!([item(turn, "completed")]);
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

/// The events of a response; without a turn, those of one that generates nothing.
pub fn events(request: &Value, id: &str, turn: Option<&Turn>, usage: &Usage) -> Vec<Value> {
    let begun = response(request, id, "in_progress", &json!([]), &Value::Null);
    let mut events = vec![
        json!({ "type": "response.created", "response": begun }),
        json!({ "type": "response.in_progress", "response": begun }),
    ];
    let mut output = json!([]);
    if let Some(turn) = turn {
        let done = item(turn, "completed");
        let mut added = item(turn, "in_progress");
        match turn {
            Turn::Text(_) => added["content"] = json!([]),
            Turn::Tool { .. } => added["arguments"] = json!(""),
        }
        events.push(json!({
            "type": "response.output_item.added", "output_index": 0, "item": added,
        }));
        events.extend(pieces(turn));
        events.push(json!({
            "type": "response.output_item.done", "output_index": 0, "item": done,
        }));
        output = json!([done]);
    }
    events.push(json!({
        "type": "response.completed",
        "response": response(request, id, "completed", &output, &usage.responses()),
    }));
    for (nth, event) in events.iter_mut().enumerate() {
        event["sequence_number"] = json!(nth);
    }
    events
}

/// What is said between the start and the end of an item.
fn pieces(turn: &Turn) -> Vec<Value> {
    let at = |mut event: Value, id: &str| {
        event["item_id"] = json!(id);
        event["output_index"] = json!(0);
        event
    };
    match turn {
        Turn::Text(text) => [
            json!({ "type": "response.content_part.added", "content_index": 0,
                "part": { "type": "output_text", "text": "", "annotations": [] } }),
            json!({ "type": "response.output_text.delta", "content_index": 0, "delta": text,
                "logprobs": [] }),
            json!({ "type": "response.output_text.done", "content_index": 0, "text": text,
                "logprobs": [] }),
            json!({ "type": "response.content_part.done", "content_index": 0,
                "part": { "type": "output_text", "text": text, "annotations": [] } }),
        ]
        .map(|event| at(event, "msg_1"))
        .into(),
        Turn::Tool { arguments, .. } => {
            let arguments = arguments.to_string();
            [
                json!({ "type": "response.function_call_arguments.delta", "delta": arguments }),
                json!({ "type": "response.function_call_arguments.done", "arguments": arguments }),
            ]
            .map(|event| at(event, "fc_1"))
            .into()
        }
    }
}

fn item(turn: &Turn, status: &str) -> Value {
    match turn {
        Turn::Text(text) => json!({
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": status,
            "content": [{ "type": "output_text", "text": text, "annotations": [] }],
        }),
        Turn::Tool { name, arguments } => json!({
            "type": "function_call",
            "id": "fc_1",
            "call_id": "call_1",
            "name": name,
            "arguments": arguments.to_string(),
            "status": status,
        }),
    }
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
