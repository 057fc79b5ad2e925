//! Events of a provider, as far as they matter to turns.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::formats::realtime::{Event, Told};

#[derive(Deserialize)]
struct Read<'e> {
    #[serde(borrow, default, rename = "type")]
    kind: Cow<'e, str>,
    #[serde(borrow, default)]
    response_id: Option<Cow<'e, str>>,
    #[serde(borrow, default)]
    response: Option<&'e RawValue>,
    #[serde(borrow, default)]
    error: Option<&'e RawValue>,
}

#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    event_id: Option<String>,
}

/// What an event is about. One that can't be read is of no turn.
pub(super) fn read(event: &[u8]) -> Event {
    let beside = Event {
        told: Told::Beside,
        turn: None,
    };
    let Ok(read) = serde_json::from_slice::<Read<'_>>(event) else {
        return beside;
    };
    let named = |of: Option<&RawValue>| serde_json::from_str::<Named>(of?.get()).ok();
    let turn = read.response_id.map(Cow::into_owned);
    let turn = turn.or_else(|| named(read.response)?.id);
    match &*read.kind {
        "response.created" => Event {
            told: Told::Begins,
            turn,
        },
        "error" => Event {
            told: Told::Refused(named(read.error).and_then(|error| error.event_id)),
            turn: None,
        },
        "conversation.item.input_audio_transcription.completed" => Event {
            told: heard(event).map_or(Told::Beside, Told::Heard),
            turn: None,
        },
        // The events of MCP calls don't name their response, and can come without one.
        kind if kind.starts_with("response.") => Event {
            told: turn.as_ref().map_or(Told::Rest, |_| Told::Within),
            turn,
        },
        _ => beside,
    }
}

/// The usage of a transcription, as the end of a turn.
fn heard(event: &[u8]) -> Option<Bytes> {
    let event: Value = serde_json::from_slice(event).ok()?;
    let usage = event.get("usage")?;
    let text = event["transcript"].as_str().unwrap_or_default();
    let response = json!({
        "object": "realtime.response",
        "status": "completed",
        "output": [{
            "type": "message",
            "role": "user",
            "content": [{ "type": "input_text", "text": text }],
        }],
        "usage": usage,
    });
    let turn = json!({ "type": "response.done", "response": response });
    Some(turn.to_string().into())
}

/// Has a provider stop a response.
pub(super) fn cancel(turn: Option<&str>) -> String {
    match turn {
        Some(id) => json!({ "type": "response.cancel", "response_id": id }),
        None => json!({ "type": "response.cancel" }),
    }
    .to_string()
}
