//! Arguments of a function that come in pieces (Vertex, `streamFunctionCallArguments`): each
//! names its place by a path such as `$.a.b[0]`, and text goes on where it stopped.

use serde_json::{Map, Value};

use crate::formats::room::Room;
use crate::formats::tree::OVERHEAD;

/// Steps that a path may have; what lies deeper is left out.
const MAX_DEPTH: usize = 64;

/// Adds the pieces of `call` to the arguments of the function that they belong to.
pub(super) fn add(function: &mut Map<String, Value>, call: &Map<String, Value>, room: &mut Room) {
    let pieces = call.get("partialArgs").and_then(Value::as_array);
    let args = function
        .entry("args")
        .or_insert_with(|| Value::Object(Map::new()));
    for piece in pieces.into_iter().flatten() {
        let Some(path) = piece.get("jsonPath").and_then(Value::as_str) else {
            continue;
        };
        let Some(place) = place(args, path, room) else {
            continue;
        };
        if let Some(text) = piece.get("stringValue").and_then(Value::as_str) {
            if !place.is_string() {
                *place = Value::String(String::new());
            }
            if let Value::String(held) = place {
                room.push(held, text);
            }
        } else if let Some(value) = piece.get("numberValue").or(piece.get("boolValue")) {
            *place = value.clone();
        }
    }
}

/// The place that a path names, made if it is missing and there is room for it.
fn place<'v>(root: &'v mut Value, path: &str, room: &mut Room) -> Option<&'v mut Value> {
    let mut place = root;
    let steps = path.strip_prefix('$')?.split(['.', '[']);
    for (depth, step) in steps.filter(|step| !step.is_empty()).enumerate() {
        if depth == MAX_DEPTH {
            return None;
        }
        if let Some(index) = step.strip_suffix(']') {
            let index: usize = index.parse().ok()?;
            if !place.is_array() {
                *place = Value::Array(Vec::new());
            }
            let list = place.as_array_mut()?;
            let more = index.saturating_add(1).saturating_sub(list.len());
            if !room.take(more.saturating_mul(OVERHEAD)) {
                return None;
            }
            list.resize(list.len() + more, Value::Null);
            place = list.get_mut(index)?;
        } else {
            if !place.is_object() {
                *place = Value::Object(Map::new());
            }
            let fields = place.as_object_mut()?;
            if !fields.contains_key(step) && !room.take(OVERHEAD + step.len()) {
                return None;
            }
            place = fields.entry(step).or_insert(Value::Null);
        }
    }
    Some(place)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pieces_find_their_places() {
        let mut room = Room::new(10_000);
        let mut function = Map::new();
        for pieces in [
            json!([{"jsonPath":"$.city","stringValue":"New ","willContinue":true}]),
            json!([{"jsonPath":"$.city","stringValue":"York"},{"jsonPath":"$.days","numberValue":3}]),
            json!([{"jsonPath":"$.a.b[1].c","boolValue":true},{"jsonPath":"$.none","nullValue":"NULL_VALUE"}]),
            json!([{"jsonPath":"city"},{"jsonPath":"$.x[99999999999]","numberValue":1},{}]),
        ] {
            let call = json!({ "partialArgs": pieces });
            add(&mut function, call.as_object().unwrap(), &mut room);
        }
        assert_eq!(
            function["args"],
            json!({"city":"New York","days":3,"a":{"b":[null,{"c":true}]},"none":null,"x":[]})
        );
        let deep = json!({"partialArgs":[{"jsonPath":format!("${}", "[0]".repeat(5000)),"numberValue":1}]});
        add(&mut function, deep.as_object().unwrap(), &mut room);
        assert!(serde_json::to_string(&function).unwrap().len() < 500);
    }
}
