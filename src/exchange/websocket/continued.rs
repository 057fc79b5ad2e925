//! Requests that go on with a response which Iris has translated. No provider keeps it, so the WebSocket does,
//! and gives the next provider the whole conversation, as a caller over HTTP would.

use crate::base::memory::Hold;
use crate::wire::json;

/// A response that was translated, with what led to it.
pub(super) struct Turn {
    id: String,
    /// The elements of its input and output.
    items: Vec<u8>,
    /// Counts them.
    _held: Hold,
}

impl Turn {
    /// The turn that an event ends, given the elements of the request's input; `None` if it ends none, or if
    /// it is longer than `most` bytes, or if there is no memory for it.
    pub(super) fn of(input: &[u8], event: &[u8], most: usize) -> Option<Self> {
        let fields = json::scan(event, &["type", "response"]).ok()?;
        let kind = json::string(&event[fields.get(0)?])?;
        if !matches!(&*kind, "response.completed" | "response.incomplete") {
            return None;
        }
        let response = &event[fields.get(1)?];
        let inner = json::scan(response, &["id", "output"]).ok()?;
        let id = json::string(&response[inner.get(0)?])?.into_owned();
        let items = joined(input, &elements(&response[inner.get(1)?])?);
        let mut held = Hold::default();
        let fits = items.len() <= most && held.try_reserve(items.len());
        fits.then_some(Self {
            id,
            items,
            _held: held,
        })
    }

    /// A frame with the whole conversation in place of the name of this response; `None` if it names no or
    /// another response.
    pub(super) fn continued(&self, frame: &[u8]) -> Option<Vec<u8>> {
        let fields = json::scan(frame, &["previous_response_id", "input"]).ok()?;
        let name = fields.get(0)?;
        if json::string(&frame[name.clone()])? != self.id {
            return None;
        }
        let own = fields.get(1);
        let new = own.as_ref().map(|at| elements(&frame[at.clone()]));
        let items = joined(&self.items, &new.unwrap_or(Some(Vec::new()))?);
        let input = [b"[", &items[..], b"]"].concat();
        let cut = json::member(frame, &name);
        let mut edits = vec![(cut, Vec::new())];
        match own {
            Some(at) => edits.push((at, input)),
            None => edits.push((1..1, [b"\"input\":", &input[..], b","].concat())),
        }
        edits.sort_by_key(|(at, _)| at.start);
        let (mut out, mut at) = (Vec::new(), 0);
        for (range, text) in edits {
            out.extend_from_slice(frame.get(at..range.start)?);
            out.extend_from_slice(&text);
            at = range.end;
        }
        out.extend_from_slice(frame.get(at..)?);
        Some(out)
    }
}

/// The elements of a frame's input; `None` if it isn't understood.
pub(super) fn input(frame: &[u8]) -> Option<Vec<u8>> {
    let fields = json::scan(frame, &["input"]).ok()?;
    match fields.get(0) {
        Some(at) => elements(&frame[at]),
        None => Some(Vec::new()),
    }
}

/// The elements of a list, with the commas between them. A text stands for a message.
fn elements(value: &[u8]) -> Option<Vec<u8>> {
    match value {
        [b'[', inner @ .., b']'] => Some(inner.trim_ascii().to_vec()),
        [b'"', ..] => {
            let before = br#"{"type":"message","role":"user","content":"#;
            Some([&before[..], value, b"}"].concat())
        }
        _ => None,
    }
}

fn joined(first: &[u8], second: &[u8]) -> Vec<u8> {
    if first.is_empty() || second.is_empty() {
        return [first, second].concat();
    }
    [first, b",", second].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_goes_on_with_the_response_that_it_names() {
        let first = br#"{"type":"response.create","input":"hi","model":"m"}"#;
        let event = br#"{"type":"response.completed","response":{"id":"r1","output":[{"a":1}]}}"#;
        let turn = |most| Turn::of(&input(first).unwrap(), event, most);
        let said = r#"{"type":"message","role":"user","content":"hi"},{"a":1}"#;
        let kept = turn(1_000).unwrap();
        for (frame, expected) in [
            (
                r#"{"previous_response_id":"r1","input":[{"b":2}],"model":"m"}"#,
                format!(r#"{{"input":[{said},{{"b":2}}],"model":"m"}}"#),
            ),
            (
                r#"{"input":[],"model":"m","previous_response_id":"r1"}"#,
                format!(r#"{{"input":[{said}],"model":"m"}}"#),
            ),
            (
                r#"{"model":"m","previous_response_id":"r1"}"#,
                format!(r#"{{"input":[{said}],"model":"m"}}"#),
            ),
        ] {
            let continued = kept.continued(frame.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(continued).unwrap(), expected);
        }
        for other in [
            r#"{"previous_response_id":"r2","input":"x"}"#,
            r#"{"input":"x"}"#,
            r#"{"previous_response_id":"r1","input":7}"#,
            "not JSON",
        ] {
            assert_eq!(kept.continued(other.as_bytes()), None, "{other}");
        }
        assert!(turn(10).is_none(), "it is too long");
        let other = br#"{"type":"response.created","response":{"id":"r1","output":[]}}"#;
        assert!(Turn::of(b"", other, 1_000).is_none());
    }
}
