//! Streamed JSON objects, put together from their pieces.

use serde_json::Value;
use serde_json::map::Entry;

use super::meter::Room;

/// What an element of a list or a member of an object costs beside its text: a stream of
/// nothing but empty pieces must come to an end too.
const OVERHEAD: usize = 32;

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
                match fields.entry(key) {
                    Entry::Occupied(mut held) => {
                        if repeated && value.is_string() {
                            replace(held.get_mut(), value, room);
                        } else {
                            merge(held.get_mut(), value, room);
                        }
                    }
                    Entry::Vacant(free) => {
                        // These are few and short, and say how the answer ended.
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

fn replace(held: &mut Value, value: Value, room: &mut Room) {
    let (before, after) = (size(held), size(&value));
    if after <= before.max(OVERHEAD) || room.take(after - before) {
        *held = value;
    }
}

/// Roughly the bytes that a value holds.
pub(super) fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(list) => list.iter().map(|item| OVERHEAD + size(item)).sum(),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| OVERHEAD + key.len() + size(value))
            .sum(),
        _ => 8,
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
