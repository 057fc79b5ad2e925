//! Sessions of OpenAI's realtime API and of Gemini's live API: a turn whenever the client asks for one.

use http::HeaderMap;
use serde_json::{Value, json};

use super::socket::{CLOSE, PING, PONG, Stream, TEXT, read, write};
use super::{HELLO, Served, Shared, Usage};

/// Answers until the client goes.
pub async fn serve(
    shared: &Shared,
    path: &str,
    headers: &HeaderMap,
    mut stream: Stream,
) -> anyhow::Result<()> {
    let is_live = path.starts_with("/ws/");
    if !is_live {
        let created =
            json!({"type":"session.created","event_id":"e","session":{"type":"realtime"}});
        write(&mut stream, TEXT, created.to_string().as_bytes()).await?;
    }
    while let Some((kind, message)) = read(&mut stream).await? {
        match kind {
            PING => write(&mut stream, PONG, &message).await?,
            CLOSE => {
                write(&mut stream, CLOSE, &message).await?;
                break;
            }
            _ => {}
        }
        let Ok(body) = serde_json::from_slice::<Value>(&message) else {
            continue;
        };
        let asks = if is_live {
            // The SDK mixes the spellings.
            let content = ["clientContent", "client_content"].map(|key| &body[key]);
            let is_over =
                |one: &&Value| one["turnComplete"] == true || one["turn_complete"] == true;
            content.iter().any(is_over)
        } else {
            body["type"] == "response.create"
        };
        if !asks {
            if let Some(event) = beside(&body) {
                write(&mut stream, TEXT, event.to_string().as_bytes()).await?;
            }
            continue;
        }
        let nth = shared.nth();
        let usage = Usage::nth(nth);
        let (format, usage, events) = if is_live {
            ("gemini_live", usage, live(&usage))
        } else {
            let usage = Usage {
                reasoning: 0,
                ..usage
            };
            (
                "openai_realtime",
                usage,
                realtime(&format!("resp_{nth}"), &usage),
            )
        };
        shared.served().push(Served {
            format,
            path: path.into(),
            model: super::MODEL.into(),
            stream: true,
            usage,
            idle: false,
            headers: headers.clone(),
            body,
        });
        for event in events {
            write(&mut stream, TEXT, event.to_string().as_bytes()).await?;
        }
    }
    Ok(())
}

/// What answers a message that asks for no turn.
fn beside(body: &Value) -> Option<Value> {
    match body["type"].as_str() {
        Some("session.update") => {
            Some(json!({"type":"session.updated","event_id":"e","session":body["session"]}))
        }
        Some("conversation.item.create") => Some(json!({"type":"conversation.item.added",
            "event_id":"e","previous_item_id":null,"item":body["item"]})),
        _ => body.get("setup").map(|_| json!({"setupComplete":{}})),
    }
}

fn realtime(id: &str, usage: &Usage) -> Vec<Value> {
    let item = json!({"id":"item_1","object":"realtime.item","type":"message","role":"assistant",
        "status":"completed","content":[{"type":"output_text","text":HELLO}]});
    let response = |status: &str, output: Value, usage: Value| {
        json!({"object":"realtime.response","id":id,"status":status,"status_details":null,
            "output":output,"usage":usage})
    };
    let begun = response("in_progress", json!([]), Value::Null);
    vec![
        json!({"type":"response.created","event_id":"e1","response":begun}),
        json!({"type":"response.output_text.delta","event_id":"e2","response_id":id,"item_id":"item_1",
            "output_index":0,"content_index":0,"delta":HELLO}),
        json!({"type":"response.done","event_id":"e3",
            "response":response("completed", json!([item]), usage.realtime())}),
    ]
}

fn live(usage: &Usage) -> Vec<Value> {
    vec![
        json!({"serverContent":{"modelTurn":{"role":"model","parts":[{"text":HELLO}]}}}),
        json!({"serverContent":{"generationComplete":true}}),
        json!({"serverContent":{"turnComplete":true},"usageMetadata":usage.live()}),
    ]
}
