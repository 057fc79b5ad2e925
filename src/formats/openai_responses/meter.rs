//! Responses: events put together again, and what a response tells.
//!
//! The last event of a stream holds the whole response. It is put together from the events
//! before it only as far as it has to be, for a stream that breaks off.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use crate::formats::assembly::{Assembly, Continued, Free, Repeated, Seen};
use crate::formats::merge::merge;
use crate::formats::openai::usage::{self, Usage};
use crate::formats::room::Room;
use crate::formats::tokens::{sealed, spoken};
use crate::formats::tree::{self, add_counts, add_counts_at, list, size};
use crate::formats::{Reading, ToolCall};
use crate::wire::json::Part;
use crate::wire::sse;

/// Items of output, and parts of one, at most; a stream with more is followed no further.
const MAX_ITEMS: usize = 4096;
/// What is held of a response of which there is not room for all: how it ended.
const ALWAYS: [&str; 8] = [
    "id",
    "store",
    "object",
    "model",
    "status",
    "usage",
    "incomplete_details",
    "service_tier",
];

/// Events of a stream.
#[derive(Default)]
pub(in crate::formats) struct Events {
    response: Option<Value>,
    /// The list, the key and the place of the text that the last event went on with.
    target: Option<(&'static str, &'static str, Spot)>,
}

impl Assembly for Events {
    fn add(&mut self, event: &sse::Event<'_>, room: &mut Room) -> Seen {
        let Some(event) = tree::object(event.data) else {
            return Seen::default();
        };
        let mut event = Value::Object(event);
        let kind = event["type"].take();
        let kind = kind.as_str().unwrap_or_default();
        match kind {
            "response.created" | "response.in_progress" | "response.queued" => {
                self.start(event["response"].take(), room)
            }
            // The realtime API has one name for the end, whatever the status is.
            "response.completed"
            | "response.done"
            | "response.failed"
            | "response.incomplete"
            | "response.cancelled" => {
                let response = event["response"].take();
                Seen {
                    counted: response["usage"].is_object(),
                    ends: self.end(response, room),
                    ..Seen::default()
                }
            }
            "response.output_item.added" | "response.output_item.done" => {
                self.item(&event, kind.ends_with("done"), room)
            }
            "response.content_part.added" | "response.content_part.done" => {
                self.part("content", &mut event, room);
                closes(kind)
            }
            "response.reasoning_summary_part.added" | "response.reasoning_summary_part.done" => {
                self.part("summary", &mut event, room);
                closes(kind)
            }
            _ if kind.rsplit('.').next() == Some("delta") => self.delta(kind, &event, room),
            _ => closes(kind),
        }
    }

    fn goes_on<'p>(&mut self, _: &[u8], event: Part<'p>, room: &mut Room) -> Option<Continued<'p>> {
        let kind = event.get("type")?.text()?;
        let (list, key) = place_of(&kind)?;
        if event.get("item").is_some() {
            return None;
        }
        let number = |key: &str| event.get(key).and_then(Part::whole).unwrap_or(0);
        let item_id = event.get("item_id").and_then(Part::text);
        let spot = Spot {
            item_id: item_id.map(Cow::into_owned),
            item: number("output_index"),
            part: number(index_of(list)),
        };
        let piece = event.get("delta");
        let text = piece.and_then(Part::text).unwrap_or_default();
        let seen = self.text(list, key, &spot, &text, room);
        self.target = Some((list, key, spot));
        Some(Continued {
            seen,
            text: piece.filter(|piece| piece.is_text()),
        })
    }

    fn again(&mut self, repeated: &Repeated<'_>, room: &mut Room) -> Option<Seen> {
        let (list, key, spot) = self.target.take()?;
        let seen = self.text(list, key, &spot, &repeated.text, room);
        self.target = Some((list, key, spot));
        Some(seen)
    }

    fn free(&self) -> &'static [Free] {
        // Padding, so that the length of an event says nothing.
        &[Free::Number("sequence_number"), Free::Text("obfuscation")]
    }

    fn marks(&self) -> &'static [&'static str] {
        &["response."]
    }

    fn response(&mut self) -> Option<Value> {
        let mut response = self.response.take()?;
        if let Some(output) = response.get_mut("output").and_then(Value::as_array_mut) {
            output.retain(|item| !item.is_null());
            for item in output {
                for list in ["content", "summary"] {
                    if let Some(parts) = item.get_mut(list).and_then(Value::as_array_mut) {
                        parts.retain(|part| !part.is_null());
                    }
                }
            }
        }
        Some(response)
    }
}

impl Events {
    fn start(&mut self, mut response: Value, room: &mut Room) -> Seen {
        let usage = match response.get_mut("usage").map(Value::take) {
            Some(Value::Object(usage)) => usage,
            _ => Map::new(),
        };
        // A later one may tell what an earlier one didn't.
        let seen = Seen {
            counted: usage::counts_output(&usage),
            ..Seen::default()
        };
        if self.response.is_none() && response.is_object() && room.take(size(&response)) {
            if !response["output"].is_array() {
                response["output"] = json!([]);
            }
            self.response = Some(response);
        }
        if !usage.is_empty() {
            let held = self.response.get_or_insert_with(|| json!({}));
            if let Some(held) = held.as_object_mut() {
                add_counts_at(held, "usage", usage);
            }
        }
        seen
    }

    /// The whole response replaces what was put together, but for output that it leaves out or
    /// cuts short and counts that it lacks; whether it is one.
    fn end(&mut self, mut response: Value, room: &mut Room) -> bool {
        if !response.is_object() {
            return false;
        }
        let held = self.response.get_or_insert_with(|| json!({}));
        if let Some(Value::Object(mut usage)) = held.get_mut("usage").map(Value::take) {
            if let Value::Object(reported) = response["usage"].take() {
                add_counts(&mut usage, reported);
            }
            response["usage"] = Value::Object(usage);
        }
        if size(&response["output"]) < size(&held["output"]) {
            response["output"] = held["output"].take();
        }
        let (before, whole) = (size(held), size(&response));
        if whole <= before || room.take(whole - before) {
            *held = response;
            return true;
        }
        for key in ALWAYS {
            if let Some(value) = response.get(key) {
                held[key] = value.clone();
            }
        }
        if let Some(output) = response.get_mut("output").map(Value::take)
            && held["output"].is_null()
        {
            let takes = room.take(size(&output));
            held["output"] = if takes { output } else { json!([]) };
        }
        true
    }

    fn item(&mut self, event: &Value, done: bool, room: &mut Room) -> Seen {
        let item = event["item"].clone();
        // A call has said something once its name is there; a message has not.
        let called = usize::from(!done && item["name"].is_string());
        // Encrypted reasoning comes with its item.
        let hidden = if done {
            sealed(&item["encrypted_content"])
        } else {
            0
        };
        if let Some(place) = self.place(&Spot::of(event, ""), room) {
            put(place, item, room);
        }
        Seen::said(called + hidden).closes(done)
    }

    fn part(&mut self, list: &str, event: &mut Value, room: &mut Room) {
        let part = event["part"].take();
        if let Some(place) = self.part_of(list, &Spot::of(event, list), room) {
            put(place, part, room);
        }
    }

    /// A piece of text goes on where its event says.
    fn delta(&mut self, kind: &str, event: &Value, room: &mut Room) -> Seen {
        let piece = event["delta"].as_str().unwrap_or_default();
        if let Some((list, key)) = place_of(kind) {
            return self.text(list, key, &Spot::of(event, list), piece, room);
        }
        Seen::said(match kind {
            "response.audio.delta" | "response.output_audio.delta" => {
                spoken(&json!({ "audio": { "data": piece } }))
            }
            // Kinds to come.
            _ => spoken(&event["delta"]),
        })
    }

    fn text(&mut self, list: &str, key: &str, spot: &Spot, piece: &str, room: &mut Room) -> Seen {
        let place = if list.is_empty() {
            self.place(spot, room)
        } else {
            self.part_of(list, spot, room)
        };
        if let Some(place) = place {
            if !place.is_object() {
                *place = json!({});
            }
            match place.get_mut(key) {
                Some(Value::String(held)) => room.push(held, piece),
                _ => merge(place, json!({ key: piece }), room),
            }
        }
        Seen::said(piece.len())
    }

    /// Where the item of an event stands. Some servers give all items one index, or none: what
    /// has another ID is another item.
    fn place(&mut self, spot: &Spot, room: &mut Room) -> Option<&mut Value> {
        let output = self.response.as_mut()?.get_mut("output")?.as_array_mut()?;
        let held = usize::try_from(spot.item).ok();
        let held = held.and_then(|at| output.get(at)?["id"].as_str());
        if let (Some(own), Some(held)) = (spot.item_id.as_deref(), held)
            && own != held
        {
            let known = output.iter().position(|item| item["id"] == own);
            let at = known.unwrap_or(output.len());
            return nth(output, at as u64, room);
        }
        nth(output, spot.item, room)
    }

    /// Where a part of the item of an event stands.
    fn part_of(&mut self, list: &str, spot: &Spot, room: &mut Room) -> Option<&mut Value> {
        let item = self.place(spot, room)?;
        if !item.is_object() {
            *item = json!({});
        }
        if !item[list].is_array() {
            item[list] = json!([]);
        }
        nth(item[list].as_array_mut()?, spot.part, room)
    }
}

/// Where the text of an event stands: the list of parts that it is in, if it is in one, and its key.
fn place_of(kind: &str) -> Option<(&'static str, &'static str)> {
    Some(match kind {
        "response.output_text.delta" | "response.reasoning_text.delta" | "response.text.delta" => {
            ("content", "text")
        }
        "response.output_audio_transcript.delta" | "response.audio_transcript.delta" => {
            ("content", "transcript")
        }
        "response.refusal.delta" => ("content", "refusal"),
        "response.reasoning_summary_text.delta" => ("summary", "text"),
        "response.function_call_arguments.delta" | "response.mcp_call_arguments.delta" => {
            ("", "arguments")
        }
        "response.custom_tool_call_input.delta" => ("", "input"),
        "response.code_interpreter_call_code.delta" => ("", "code"),
        _ => return None,
    })
}

/// The key that tells which part of a list is meant.
fn index_of(list: &str) -> &'static str {
    match list {
        "summary" => "summary_index",
        _ => "content_index",
    }
}

/// Which item of the output an event is about, and which part of it. llama.cpp leaves the index of a
/// part out: there is one.
struct Spot {
    item_id: Option<String>,
    item: u64,
    part: u64,
}

impl Spot {
    fn of(event: &Value, list: &str) -> Self {
        let item_id = event["item"]["id"].as_str();
        let number = |key: &str| event[key].as_u64().unwrap_or(0);
        Self {
            item_id: item_id
                .or_else(|| event["item_id"].as_str())
                .map(str::to_owned),
            item: number("output_index"),
            part: number(index_of(list)),
        }
    }
}

fn nth<'l>(list: &'l mut Vec<Value>, at: u64, room: &mut Room) -> Option<&'l mut Value> {
    let at = usize::try_from(at).ok()?;
    if at >= list.len() {
        if at >= MAX_ITEMS || !room.take(64 * (at + 1 - list.len())) {
            return None;
        }
        list.resize(at + 1, Value::Null);
    }
    list.get_mut(at)
}

fn put(place: &mut Value, value: Value, room: &mut Room) {
    let (held, size) = (size(place), size(&value));
    if size <= held || room.take(size - held) {
        *place = value;
    }
}

/// Whether a part of the output ends with an event of this kind, or begins.
fn closes(kind: &str) -> Seen {
    match kind.rsplit('.').next() {
        Some("done") => Seen::default().closes(true),
        Some("added") => Seen::default().closes(false),
        _ => Seen::default(),
    }
}

/// Reads a response.
pub(in crate::formats) fn read(response: Part<'_>) -> Reading {
    let output = list(response, "output");
    let searches = output.clone().filter(|item| is_search(*item)).count();
    let usage = Usage::of_response(response);
    let mut tokens = usage.tokens;
    tokens.web_searches = (searches > 0).then_some(searches as u64);
    // Why it is incomplete, where it says so; else its status.
    let incomplete = response.word("incomplete_details/reason");
    let is_stored = response
        .get("store")
        .is_some_and(|store| store.value() == Value::Bool(true));
    let items = output.clone().filter(|_| is_stored);
    let items = items.filter_map(|item| item.word("id"));
    Reading {
        model: response.word("model"),
        response_id: response.word("id"),
        is_stored,
        stored_items: items.take(MAX_ITEMS).collect(),
        finish_reason: incomplete.or_else(|| response.word("status")),
        tool_calls: output.filter_map(tool_call).collect(),
        tier: response.word("service_tier"),
        ..Reading::of(response, tokens, usage.total)
    }
}

/// Whether an item of output is a search of the web, as they are charged: opening a page that was
/// found is free, and so is what failed. What does not tell counts.
fn is_search(item: Part<'_>) -> bool {
    let is = |key: &str, word: &str| item.get(key).is_some_and(|value| value.is(word));
    let action = item.at("action/type").and_then(Part::text);
    is("type", "web_search_call")
        && action.is_none_or(|action| action == "search")
        && !is("status", "failed")
}

/// The call that an item of output is, if it is one.
fn tool_call(item: Part<'_>) -> Option<ToolCall> {
    let params = |key: &str| ToolCall::params(item.get(key));
    let kind = item.get("type")?.text()?;
    let (name, params) = match &*kind {
        "function_call" | "mcp_call" => (item.word("name")?, item.word("arguments")?),
        "custom_tool_call" => (item.word("name")?, params("input")),
        "web_search_call" => ("web_search".to_owned(), params("action")),
        "local_shell_call" | "shell_call" | "computer_call" | "apply_patch_call" => {
            let name = kind.trim_end_matches("_call").to_owned();
            let params = item.get("action").or_else(|| item.get("operation"));
            (
                name,
                params.map(|of| of.value().to_string()).unwrap_or_default(),
            )
        }
        _ => return None,
    };
    Some(ToolCall { name, params })
}
