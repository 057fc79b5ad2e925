//! Messages of a caller: an object with one key, which says what it is. Google's parsers take a field by its
//! name in JSON and by that of its definition.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::base::text::Text;
use crate::formats::body::{self, bad_request, inside};
use crate::formats::realtime::{Names, Sent};
use crate::formats::{Call, Path, Splice, known};
use crate::wire::{Rejection, json as strict};

/// Elements that are read of one list: blobs, results of tools.
const MOST: usize = 1_000;

/// The key of a message, in its usual spelling, and its value.
fn only(message: &[u8]) -> Result<(&'static str, Range<usize>), Rejection> {
    const KINDS: [(&str, &str); 4] = [
        ("setup", "setup"),
        ("clientContent", "client_content"),
        ("realtimeInput", "realtime_input"),
        ("toolResponse", "tool_response"),
    ];
    let fields = body::scan(message, &[])?;
    let [(key, value)] = &fields.members[..] else {
        return Err(bad_request(
            "a message has exactly one of the keys setup, clientContent, realtimeInput and toolResponse",
        ));
    };
    let key = strict::string(&message[key.clone()]).unwrap_or_default();
    let known = KINDS
        .iter()
        .find(|(one, other)| *one == key || *other == key);
    let (kind, _) = known.ok_or_else(|| {
        let key: String = key.chars().take(60).collect();
        bad_request(format!(
            "messages with the key {key:?} are not accepted here: use setup, clientContent, realtimeInput or \
             toolResponse"
        ))
    })?;
    Ok((kind, value.clone()))
}

/// Reads the message that opens a session, which goes to `path`.
///
/// # Errors
/// A 400 if it isn't a `setup`, names no model, or could be read in two ways.
pub(super) fn setup(path: String, message: Bytes) -> Result<Call, Rejection> {
    let ("setup", at) = only(&message)? else {
        return Err(bad_request(
            "the first message of a session must be `setup`",
        ));
    };
    let setup = &message[at.clone()];
    let keys = ["model", "generationConfig", "generation_config"];
    let fields = body::scan(setup, &keys)?;
    let named = body::model(setup, fields.get(0))?;
    let model = name(&named).into_owned();
    if !body::is_model(&model) {
        return Err(bad_request("`setup.model` must be the name of a model"));
    }
    let mut choices = known::choices(setup, &fields.members);
    choices.extend(known::models_of_tools(setup, &fields.members));
    for config in [fields.get(1), fields.get(2)].into_iter().flatten() {
        let config = &setup[config];
        let members = strict::members(config).unwrap_or_default();
        choices.extend(known::inner_choices(config, &members));
    }
    let splice = Splice::at(fields.get(0).map(|place| inside(&at, place)));
    Ok(Call {
        stream: true,
        billed: false,
        choices,
        path: Path::Fixed(Cow::Owned(path)),
        splice,
        ..Call::new(Text::from(model), message)
    })
}

/// The model that a resource's name stands for. SDKs for Vertex read `provider/model` as a publisher and its
/// model.
fn name(resource: &str) -> Cow<'_, str> {
    let below = resource
        .split_once("publishers/")
        .filter(|(before, _)| before.is_empty() || before.starts_with("projects/"));
    match below.and_then(|(_, below)| below.split_once("/models/")) {
        Some(("google", model)) => model.into(),
        Some((publisher, model)) => format!("{publisher}/{model}").into(),
        None => resource.strip_prefix("models/").unwrap_or(resource).into(),
    }
}

/// Understands a later message.
///
/// # Errors
/// A 400 for one that could be read in two ways, is of an unknown kind, or opens a session again.
pub(super) fn understand(message: Bytes, names: &Names) -> Result<(Sent, Call), Rejection> {
    let (kind, at) = only(&message)?;
    let value = &message[at];
    let sent = match kind {
        "clientContent" => {
            let fields = body::scan(value, &["turnComplete", "turn_complete"])?;
            let completes = |nth| body::flag(value, fields.get(nth), "turnComplete");
            if completes(0)? || completes(1)? {
                Sent::Turn
            } else {
                Sent::Content
            }
        }
        "realtimeInput" => input(value)?,
        "toolResponse" => results(value)?,
        _ => {
            return Err(bad_request(
                "a session is set up once, with one model: open another one for another setup",
            ));
        }
    };
    let mut call = Call::new(Text::from(names.subject()), message);
    call.stream = true;
    Ok((sent, call))
}

/// What results of tools are for: those that are all `SILENT` are only to be known
/// (<https://ai.google.dev/gemini-api/docs/live-tools>).
fn results(value: &[u8]) -> Result<Sent, Rejection> {
    let fields = body::scan(value, &["functionResponses", "function_responses"])?;
    let lists = [fields.get(0), fields.get(1)].into_iter().flatten();
    let mut all = Vec::new();
    for list in lists {
        let list = &value[list];
        let Some(results) = strict::elements(list, MOST) else {
            return Ok(Sent::Result);
        };
        all.extend(results.into_iter().map(|result| is_silent(&list[result])));
    }
    let wants_none = !all.is_empty() && all.into_iter().all(|is_silent| is_silent);
    Ok(if wants_none {
        Sent::Content
    } else {
        Sent::Result
    })
}

/// Whether a model isn't to answer the result of a tool.
fn is_silent(result: &[u8]) -> bool {
    let fields = strict::scan(result, &["scheduling"]).ok();
    let scheduling = fields.and_then(|fields| fields.get(0));
    let scheduling = scheduling.and_then(|at| strict::string(&result[at]));
    scheduling.is_some_and(|scheduling| scheduling == "SILENT")
}

/// What a message with input in real time is for: sound and pictures aren't text.
fn input(value: &[u8]) -> Result<Sent, Rejection> {
    let fields = body::scan(value, &[])?;
    let mut sent = Sent::Beside;
    for (key, at) in &fields.members {
        let key = strict::string(&value[key.clone()]).unwrap_or_default();
        let of = &value[at.clone()];
        let found = match &*key {
            "audio" | "video" => media(of),
            "mediaChunks" | "media_chunks" => {
                let blobs = strict::elements(of, MOST).unwrap_or_default();
                let found = blobs.into_iter().map(|blob| media(&of[blob]));
                found.max().unwrap_or(Sent::Content)
            }
            "audioStreamEnd" | "audio_stream_end" | "activityStart" | "activity_start"
            | "activityEnd" | "activity_end"
                if of.len() <= b"{ }false".len() =>
            {
                Sent::Beside
            }
            "audioStreamEnd" | "audio_stream_end" | "activityStart" | "activity_start"
            | "activityEnd" | "activity_end" | "text" => Sent::Content,
            _ => {
                let key: String = key.chars().take(60).collect();
                return Err(bad_request(format!(
                    "`realtimeInput` can't have the key {key:?}: it can have audio, video, text, \
                     audioStreamEnd, activityStart and activityEnd"
                )));
            }
        };
        sent = sent.max(found);
    }
    Ok(sent)
}

/// What a blob is for: sound or a picture, if it says so and has nothing else.
fn media(blob: &[u8]) -> Sent {
    let Ok(fields) = strict::scan(blob, &["mimeType", "mime_type"]) else {
        return Sent::Content;
    };
    let is_known = fields.members.iter().all(|(key, _)| {
        let key = strict::string(&blob[key.clone()]).unwrap_or_default();
        matches!(&*key, "data" | "mimeType" | "mime_type")
    });
    let kinds = [fields.get(0), fields.get(1)].into_iter().flatten();
    let found = kinds.map(|at| {
        let kind = strict::string(&blob[at]).unwrap_or_default();
        if kind.starts_with("audio/") {
            Sent::Sound
        } else if kind.starts_with("image/") || kind.starts_with("video/") {
            Sent::Beside
        } else {
            Sent::Content
        }
    });
    let found = found.max().filter(|_| is_known);
    found.unwrap_or(Sent::Content)
}

/// A message as a request of Gemini's API that says the same.
pub(super) fn as_request(message: &Value) -> Value {
    let of = |names: [&str; 2]| names.into_iter().find_map(|name| message.get(name));
    if let Some(setup) = message.get("setup") {
        return setup.clone();
    }
    if let Some(content) = of(["clientContent", "client_content"]) {
        return json!({ "contents": content["turns"] });
    }
    if let Some(input) = of(["realtimeInput", "realtime_input"]) {
        let text = json!([{ "role": "user", "parts": [{ "text": input["text"] }] }]);
        return json!({ "contents": text });
    }
    let response = of(["toolResponse", "tool_response"]);
    let results = response.and_then(|of| {
        let list = of
            .get("functionResponses")
            .or_else(|| of.get("function_responses"))?;
        let parts = list.as_array()?.iter();
        Some(
            parts
                .map(|one| json!({ "functionResponse": one }))
                .collect::<Vec<_>>(),
        )
    });
    json!({ "contents": [{ "role": "user", "parts": results.unwrap_or_default() }] })
}
