//! Messages of a caller. Each has a `type`; only those that are known go on, with the keys that they are
//! known to have, so that none asks a provider for anything that was not judged.

use std::ops::Range;

use bytes::Bytes;

use crate::base::text::Text;
use crate::formats::body::{self, bad_request, inside};
use crate::formats::known::{self, Choice, Why};
use crate::formats::realtime::{Names, Sent};
use crate::formats::{Call, Splice};
use crate::wire::{Rejection, json};

/// What each message is for, and the keys that it has besides `type` and `event_id`.
const KINDS: [(&str, Sent, &[&str]); 11] = [
    ("input_audio_buffer.append", Sent::Sound, &["audio"]),
    ("input_audio_buffer.commit", Sent::Beside, &[]),
    ("input_audio_buffer.clear", Sent::Beside, &[]),
    ("output_audio_buffer.clear", Sent::Beside, &[]),
    ("response.cancel", Sent::Beside, &["response_id"]),
    (
        "conversation.item.truncate",
        Sent::Beside,
        &["item_id", "content_index", "audio_end_ms"],
    ),
    ("conversation.item.delete", Sent::Beside, &["item_id"]),
    ("conversation.item.retrieve", Sent::Beside, &["item_id"]),
    (
        "conversation.item.create",
        Sent::Content,
        &["item", "previous_item_id"],
    ),
    ("session.update", Sent::Content, &["session"]),
    ("response.create", Sent::Turn, &["response"]),
];

/// Understands a message of a session.
///
/// # Errors
/// A 400 for one that could be read in two ways, is of an unknown kind, or names another model.
pub(super) fn understand(message: Bytes, names: &Names) -> Result<(Sent, Call), Rejection> {
    let fields = body::scan(&message, &["type", "session", "response"])?;
    let kind = fields.get(0).and_then(|at| json::string(&message[at]));
    let kind = kind.ok_or_else(|| bad_request("a message needs a `type`"))?;
    let Some((kind, sent, keys)) = KINDS.iter().find(|(known, ..)| *known == kind) else {
        let kind: String = kind.chars().take(60).collect();
        return Err(bad_request(format!(
            "messages of the type {kind:?} are not accepted here: use {}",
            KINDS.map(|(known, ..)| known).join(", ")
        )));
    };
    for (key, _) in &fields.members {
        let key = json::string(&message[key.clone()]).unwrap_or_default();
        if !(keys.contains(&&*key) || matches!(&*key, "type" | "event_id")) {
            let key: String = key.chars().take(60).collect();
            return Err(bad_request(format!(
                "a message of the type {kind:?} can't have the key {key:?}"
            )));
        }
    }
    let object = match *kind {
        "session.update" => fields.get(1),
        "response.create" => fields.get(2),
        _ => None,
    };
    let object = object.filter(|at| &message[at.clone()] != b"null");
    let mut call = Call::new(Text::from(names.subject()), message);
    call.stream = true;
    if let Some(at) = object {
        configured(&mut call, at, names)?;
    }
    Ok((*sent, call))
}

/// Reads the configuration of a session or of one response.
fn configured(call: &mut Call, at: Range<usize>, names: &Names) -> Result<(), Rejection> {
    let object = call.body.slice(at.clone());
    let keys = [
        "model",
        "type",
        "audio",
        "input_audio_transcription",
        "max_output_tokens",
        "max_response_output_tokens",
    ];
    let fields = body::scan(&object, &keys)?;
    let value = |nth: usize| {
        let at = fields.get(nth)?;
        (&object[at.clone()] != b"null").then_some(at)
    };
    if let Some(place) = value(0) {
        let named = json::string(&object[place.clone()])
            .ok_or_else(|| bad_request("`model` must be the name of a model"))?;
        names.same("model", &named)?;
        call.splice = Splice::at(Some(inside(&at, place)));
    }
    if let Some(place) = value(1) {
        let kind = json::string(&object[place]).unwrap_or_default();
        if kind != "realtime" {
            return Err(bad_request(format!(
                "sessions of the type {:?} aren't served here: use \"realtime\"",
                kind.chars().take(60).collect::<String>()
            )));
        }
    }
    call.choices = known::choices(&object, &fields.members);
    // Of a voice, not of a service tier.
    call.choices.retain(|choice| choice.why != Why::Price);
    let of_beta = value(3).map(|at| object.slice(at));
    let audio = value(2).map(|at| object.slice(at));
    let input = below(audio, "input")?;
    let transcription = match (of_beta, below(input, "transcription")?) {
        // A provider may take either.
        (Some(_), Some(_)) => {
            return Err(bad_request(
                "`input_audio_transcription` and `audio.input.transcription` say the same: a message can have \
                 one of them",
            ));
        }
        (one, other) => one.or(other),
    };
    if let Some(model) = below(transcription, "model")? {
        let named = json::string(&model)
            .ok_or_else(|| bad_request("`transcription.model` must be the name of a model"))?;
        call.choices.push(Choice {
            key: "transcription".to_owned(),
            why: Why::ToolModel,
            models: Some(vec![named.into_owned()]),
        });
    }
    let limit = value(4).or_else(|| value(5));
    call.answer_limit = body::count(limit.map(|at| &object[at]));
    Ok(())
}

/// The value of a key, if there is an object that has one.
fn below(object: Option<Bytes>, key: &str) -> Result<Option<Bytes>, Rejection> {
    let Some(object) = object else {
        return Ok(None);
    };
    let value = body::scan(&object, &[key])?.get(0);
    let value = value.filter(|at| &object[at.clone()] != b"null");
    Ok(value.map(|at| object.slice(at)))
}
