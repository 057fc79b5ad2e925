//! Streamed JSON objects, put together from their pieces.

use serde_json::map::Entry;
use serde_json::{Map, Value};

use super::room::Room;
use super::tree::{OVERHEAD, size};
use crate::wire::json::Part;

/// Keys whose text is repeated in later pieces instead of continued.
const REPEATED: [&str; 7] = [
    "role",
    "type",
    "id",
    "name",
    "model",
    "object",
    "finish_reason",
];

/// Adds a piece to what came before: text is continued, elements of lists are told apart by
/// their `index`, and everything else is replaced.
pub(super) fn merge(into: &mut Value, piece: Value, room: &mut Room) {
    match (into, piece) {
        (_, Value::Null) => {}
        (Value::Object(fields), Value::Object(piece)) => {
            for (key, value) in piece {
                let repeated = REPEATED.contains(&key.as_str());
                let is_calls = key == "tool_calls";
                match fields.entry(key) {
                    Entry::Occupied(mut held) => {
                        if repeated && value.is_string() {
                            // Some servers leave them empty once they have been sent.
                            if value != "" {
                                replace(held.get_mut(), value, room);
                            }
                        } else if is_calls
                            && let (Value::Array(held), Value::Array(calls)) =
                                (held.get_mut(), &value)
                        {
                            for piece in calls {
                                call(held, piece.clone(), room);
                            }
                        } else {
                            merge(held.get_mut(), value, room);
                        }
                    }
                    Entry::Vacant(free) => {
                        // These are few and short, and say how the response ended.
                        if (repeated && size(&value) < OVERHEAD)
                            || room.take(OVERHEAD + size(&value))
                        {
                            free.insert(value);
                        }
                    }
                }
            }
        }
        (Value::Array(list), Value::Array(pieces)) => {
            for piece in pieces {
                element(list, piece, room);
            }
        }
        (Value::String(text), Value::String(piece)) => room.push(text, &piece),
        (into, piece) => replace(into, piece, room),
    }
}

/// What a piece adds to texts that are held.
#[derive(Default)]
pub(super) struct Additions<'p> {
    texts: [Option<(&'p str, Part<'p>)>; 4],
}

impl<'p> Additions<'p> {
    /// What a piece adds, if [`merge`] would do nothing but go on with texts; the members for which
    /// `is_apart` aside.
    pub(super) fn of(
        held: &Map<String, Value>,
        piece: Part<'p>,
        is_apart: impl Fn(&str) -> bool,
    ) -> Option<Self> {
        let mut additions = Self::default();
        let mut free = additions.texts.iter_mut();
        for (key, value) in piece.members().filter(|(key, _)| !is_apart(key)) {
            let held = held.get(key)?;
            if value.is_null() {
                continue;
            }
            if REPEATED.contains(&key) && value.is_text() {
                let text = value.text()?;
                if !text.is_empty() && held.as_str() != Some(&*text) {
                    return None;
                }
            } else if held.is_string() && value.is_text() {
                *free.next()? = Some((key, value));
            } else {
                let adds_nothing = match held {
                    Value::Bool(_) | Value::Number(_) => is_same(held, value),
                    Value::Array(_) => value.is_array() && value.elements().next().is_none(),
                    Value::Object(_) => value.is_object() && value.members().next().is_none(),
                    Value::Null | Value::String(_) => false,
                };
                if !adds_nothing {
                    return None;
                }
            }
        }
        Some(additions)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.texts[0].is_none()
    }

    /// The text, if it is the only one, with its key.
    pub(super) fn only(&self) -> Option<(&'p str, Part<'p>)> {
        self.texts[0].filter(|_| self.texts[1].is_none())
    }

    /// Bytes of the texts; `None` if one of them isn't a string.
    pub(super) fn bytes(&self) -> Option<usize> {
        let mut texts = self.texts.iter().flatten();
        texts.try_fold(0, |all, (_, text)| Some(all + text_bytes(*text)?))
    }

    /// Goes on with the texts.
    pub(super) fn add(self, held: &mut Map<String, Value>, room: &mut Room) {
        for (key, text) in self.texts.into_iter().flatten() {
            if let (Some(Value::String(held)), Some(text)) = (held.get_mut(key), text.text()) {
                room.push(held, &text);
            }
        }
    }
}

/// Bytes of a text; `None` for a picture or sound in its place, which counts otherwise.
pub(super) fn text_bytes(text: Part<'_>) -> Option<usize> {
    let text = text.text()?;
    (!text.starts_with("data:")).then_some(text.len())
}

/// Whether a value is held already, as far as that shows at a glance.
pub(super) fn is_same(held: &Value, value: Part<'_>) -> bool {
    match held {
        Value::Null => value.is_null(),
        Value::Bool(held) => value.raw() == if *held { "true" } else { "false" },
        Value::Number(held) => held.as_u64().is_some() && held.as_u64() == value.whole(),
        Value::String(held) => value.is(held),
        Value::Array(held) => {
            let mut elements = value.elements();
            let is_same = |held| elements.next().is_some_and(|value| is_same(held, value));
            value.is_array() && held.iter().all(is_same) && elements.next().is_none()
        }
        Value::Object(held) => {
            let is_same = |(key, value)| held.get(key).is_some_and(|held| is_same(held, value));
            let mut members = value.members();
            value.is_object() && members.clone().count() == held.len() && members.all(is_same)
        }
    }
}

/// Where the call stands that a piece goes on with, and what it adds to its function; `None` if it
/// says more.
pub(super) fn call_goes_on<'p>(calls: &[Value], piece: Part<'p>) -> Option<(usize, Additions<'p>)> {
    let named = |at: &str| piece.at(at).and_then(Part::text);
    let is_empty = |at: &str| named(at).is_none_or(|text| text.is_empty());
    if !is_empty("id") || !is_empty("function/name") {
        return None;
    }
    let function = piece.get("function").filter(|of| of.is_object())?;
    let is_usual = |of: Part<'_>, keys: &[&str]| of.members().all(|(key, _)| keys.contains(&key));
    if !is_usual(piece, &["index", "id", "type", "function"])
        || !is_usual(function, &["name", "arguments"])
    {
        return None;
    }
    let index = piece.get("index")?.whole()?;
    let at = calls
        .iter()
        .rposition(|held| held["index"].as_u64() == Some(index))?;
    let held = calls[at].as_object()?;
    let beside = Additions::of(held, piece, |key| key == "function")?;
    if !beside.is_empty() {
        return None;
    }
    let of_held = held.get("function")?.as_object()?;
    Some((at, Additions::of(of_held, function, |_| false)?))
}

fn element(list: &mut Vec<Value>, piece: Value, room: &mut Room) {
    let index = piece.get("index").and_then(Value::as_u64);
    let same = index.and_then(|index| {
        list.iter_mut()
            .find(|held| held.get("index").and_then(Value::as_u64) == Some(index))
    });
    match same {
        Some(held) => merge(held, piece, room),
        None => {
            if room.take(OVERHEAD + size(&piece)) {
                list.push(piece);
            }
        }
    }
}

/// Adds a piece of a tool's call. Some servers give all calls the same index, or none: what has
/// another ID, or begins where the one before it is whole, is another call.
fn call(calls: &mut Vec<Value>, piece: Value, room: &mut Room) {
    let text = |of: &Value, place: &str| {
        let text = of.pointer(place).and_then(Value::as_str);
        text.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let id = text(&piece, "/id");
    let index = piece.get("index").and_then(Value::as_u64);
    let known = calls.iter().rposition(|held| {
        id.is_some() && text(held, "/id") == id && held.get("index") == piece.get("index")
    });
    let at = known.or_else(|| {
        let same = |held: &Value| held.get("index").and_then(Value::as_u64) == index;
        let at = match index {
            Some(_) => calls.iter().rposition(same)?,
            None => calls.len().checked_sub(1)?,
        };
        let held = &calls[at];
        let begins = match (&id, text(held, "/id")) {
            (Some(_), Some(_)) => true,
            _ => begins(held, &piece),
        };
        (!begins).then_some(at)
    });
    match at.and_then(|at| calls.get_mut(at)) {
        Some(held) => merge(held, piece, room),
        None => {
            if room.take(OVERHEAD + size(&piece)) {
                calls.push(piece);
            }
        }
    }
}

/// Whether a piece with a name begins a call, because the one before it has all its arguments.
fn begins(held: &Value, piece: &Value) -> bool {
    let text =
        |of: &Value, place: &str| of.pointer(place).and_then(Value::as_str).map(str::to_owned);
    let is_named = text(piece, "/function/name").is_some_and(|name| !name.is_empty());
    is_named
        && text(held, "/function/arguments").is_some_and(|held| {
            held.starts_with('{') && serde_json::from_str::<serde::de::IgnoredAny>(&held).is_ok()
        })
}

fn replace(held: &mut Value, value: Value, room: &mut Room) {
    let (before, after) = (size(held), size(&value));
    if after <= before.max(OVERHEAD) || room.take(after - before) {
        *held = value;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_goes_on_and_lists_are_told_apart_by_index() {
        let mut room = Room::new(10_000);
        let mut held = json!({});
        for piece in [
            json!({"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":""}}]}),
            json!({"tool_calls":[{"index":0,"function":{"arguments":"{\"x\""}}]}),
            json!({"tool_calls":[{"index":1,"id":"b","function":{"name":"g","arguments":"{}"}}]}),
            json!({"role":"assistant","content":"hel","tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}),
            json!({"content":"lo"}),
        ] {
            merge(&mut held, piece, &mut room);
        }
        assert_eq!(
            held,
            json!({"role":"assistant","content":"hello","tool_calls":[
                {"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":1}"}},
                {"index":1,"id":"b","function":{"name":"g","arguments":"{}"}}]})
        );
        assert!(!room.short);
    }

    #[test]
    fn calls_are_told_apart_by_their_ids() {
        let first = json!({"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":1}"}});
        let with = |key: &str, value: Value| {
            let mut call =
                json!({"index":0,"id":"b","function":{"name":"f","arguments":"{\"x\":2}"}});
            call[key] = value;
            call
        };
        let without = |keys: &[&str], call: &Value| {
            let mut call = call.clone();
            for key in keys {
                call.as_object_mut().unwrap().remove(*key);
            }
            call
        };
        let second = with("index", 0.into());
        let continued = [
            json!({"index":0,"id":"b","function":{"name":"f","arguments":"{\"x\""}}),
            json!({"index":0,"id":"","function":{"name":"","arguments":":"}}),
            json!({"index":0,"function":{"arguments":"2}"}}),
        ];
        for (server, calls) in [
            ("all at index 0", vec![first.clone(), second.clone()]),
            (
                "no index",
                vec![without(&["index"], &first), without(&["index"], &second)],
            ),
            (
                "no index, no ID",
                vec![
                    without(&["index", "id"], &first),
                    without(&["index", "id"], &second),
                ],
            ),
            (
                "index 0, no ID",
                vec![without(&["id"], &first), without(&["id"], &second)],
            ),
            (
                "one ID, two indices",
                vec![first.clone(), with("index", 1.into())],
            ),
            (
                "in pieces at index 0",
                [&[first.clone()][..], &continued].concat(),
            ),
            (
                "in pieces without an index",
                [
                    vec![without(&["index"], &first)],
                    continued
                        .iter()
                        .map(|piece| without(&["index"], piece))
                        .collect(),
                ]
                .concat(),
            ),
        ] {
            let mut room = Room::new(10_000);
            let mut held = json!({"tool_calls":[]});
            for call in calls {
                merge(&mut held, json!({"tool_calls":[call]}), &mut room);
            }
            let calls = held["tool_calls"].as_array().unwrap();
            assert_eq!(calls.len(), 2, "{server}: {held}");
            for (call, arguments) in calls.iter().zip(["{\"x\":1}", "{\"x\":2}"]) {
                assert_eq!(call["function"]["arguments"], arguments, "{server}");
                assert_eq!(call["function"]["name"], "f", "{server}");
            }
        }
    }

    #[test]
    fn what_has_no_room_is_left_out_and_said() {
        let mut room = Room::new(100);
        let mut held = json!({"content": ""});
        for _ in 0..50 {
            merge(
                &mut held,
                json!({"content": "0123456789", "more": [{}]}),
                &mut room,
            );
        }
        assert!(room.short);
        assert!(size(&held) < 300, "{held}");
    }
}
