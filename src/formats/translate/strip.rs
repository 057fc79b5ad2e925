//! Takes seals out of requests for providers of the caller's own format. A caller whose conversation was
//! translated before sends back what Iris has sealed, and a provider would refuse it as a signature that
//! isn't its own. All else stays byte for byte.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem;

use super::Seal;
use crate::formats::opaque_place::{Goes, OpaquePlace, elements};
use crate::wire::json;

/// How seals begin in JSON, in either spelling. Made once: to make a finder takes longer than to look through a
/// short body.
static MARKS: LazyLock<[memmem::Finder<'_>; 2]> =
    LazyLock::new(|| [&b"\"iris."[..], b"\"aXJpcy"].map(memmem::Finder::new));

/// A range of a body, and what stands there from now on.
type Edit = (Range<usize>, Cow<'static, str>);

/// The body without seals at these places, for a model of this name; `None` if it has none, as nearly all.
pub(in crate::formats) fn without_seals(
    places: &[OpaquePlace],
    body: &[u8],
    model: &str,
) -> Option<Vec<u8>> {
    if MARKS.iter().all(|mark| mark.find(body).is_none()) {
        return None;
    }
    let mut left: Option<Vec<u8>> = None;
    // One place after the other, so that a message is seen to be empty whatever kinds of blocks it had.
    for place in places {
        let body = left.as_deref().unwrap_or(body);
        let mut strip = Strip {
            place,
            body,
            model,
            edits: Vec::new(),
        };
        strip.value(&(0..body.len()), place.path);
        if !strip.edits.is_empty() {
            left = Some(strip.apply());
        }
    }
    left
}

/// Strips the seals at one place.
struct Strip<'b> {
    place: &'b OpaquePlace,
    body: &'b [u8],
    model: &'b str,
    edits: Vec<Edit>,
}

/// What becomes of the element of a list that a value stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Element {
    Stays,
    /// It held a seal.
    Goes,
    /// Nothing is left of it.
    Empty,
}

impl Strip<'_> {
    /// Strips the value at `at`, from which `path` leads to seals.
    fn value(&mut self, at: &Range<usize>, path: &str) -> Element {
        let (step, rest) = path.split_once('.').unwrap_or((path, ""));
        if step == "*" {
            return self.list(at, rest);
        }
        let mut becomes = Element::Stays;
        for value in self.place.values(self.body, at, step, rest) {
            let one = if rest.is_empty() {
                self.seal(at, value)
            } else {
                self.value(&value, rest)
            };
            if one != Element::Stays {
                becomes = one;
            }
        }
        becomes
    }

    /// A string of the object at `around`, which may be a seal.
    fn seal(&mut self, around: &Range<usize>, at: Range<usize>) -> Element {
        let text = json::string(&self.body[at.clone()]);
        if !text.is_some_and(|text| Seal::is_closed(&text)) {
            return Element::Stays;
        }
        let Goes::Alone(instead) = self.place.goes else {
            return Element::Goes;
        };
        let object = &self.body[around.clone()];
        if let Some(other) = instead(self.model, object) {
            self.edits.push((at, format!("\"{other}\"").into()));
            return Element::Stays;
        }
        if says_nothing(object) {
            return Element::Goes;
        }
        self.edits.push((json::member(self.body, &at), "".into()));
        Element::Stays
    }

    fn list(&mut self, at: &Range<usize>, path: &str) -> Element {
        let all = elements(self.body, at);
        let mut kept = Vec::with_capacity(all.len());
        for element in &all {
            kept.push(self.value(element, path) == Element::Stays);
        }
        let (Some(first), Some(last)) = (all.first(), all.last()) else {
            return Element::Stays;
        };
        if !kept.contains(&true) {
            let is_inner = !path.contains('*');
            let filler = match self.place.goes {
                Goes::Message | Goes::Alone(_) if is_inner => return Element::Empty,
                Goes::Filled(filler) if is_inner => filler,
                _ => "",
            };
            self.edits.push((first.start..last.end, filler.into()));
            return Element::Stays;
        }
        let mut before: Option<usize> = None;
        for (nth, element) in all.iter().enumerate() {
            if kept[nth] {
                before = Some(element.end);
                continue;
            }
            let next = all.get(nth + 1).map_or(element.end, |next| next.start);
            let range = match before {
                Some(end) => end..element.end,
                None => element.start..next,
            };
            before = before.map(|_| element.end);
            self.edits.push((range, "".into()));
        }
        Element::Stays
    }

    fn apply(mut self) -> Vec<u8> {
        self.edits.sort_by_key(|(range, _)| range.start);
        let (mut out, mut at) = (Vec::with_capacity(self.body.len()), 0);
        for (range, text) in self.edits {
            out.extend_from_slice(&self.body[at..range.start]);
            out.extend_from_slice(text.as_bytes());
            at = range.end;
        }
        out.extend_from_slice(&self.body[at..]);
        out
    }
}

/// Whether an object has nothing but its seal: no text besides, and no other member that holds something.
fn says_nothing(object: &[u8]) -> bool {
    let members = json::members(object).unwrap_or_default();
    members.iter().all(|(_, value)| {
        let value = &object[value.clone()];
        let is_seal = || json::string(value).is_some_and(|text| Seal::is_closed(&text));
        matches!(value, b"\"\"" | b"true" | b"false" | b"null") || is_seal()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::translate::SealKind;

    const BLOCKS: OpaquePlace = OpaquePlace {
        path: "m.*.c.*.signature",
        kinds: &["thinking"],
        goes: Goes::Message,
    };

    fn seal() -> String {
        Seal::new("other", SealKind::Signature, "s").closed()
    }

    fn strip(goes: Goes, body: &str) -> Option<String> {
        let places = [
            OpaquePlace { goes, ..BLOCKS },
            OpaquePlace {
                path: "m.*.c.*.data",
                kinds: &["redacted"],
                goes,
            },
        ];
        let left = without_seals(&places, body.as_bytes(), "m");
        left.map(|left| String::from_utf8(left).unwrap())
    }

    fn thought() -> String {
        format!(
            r#"{{"type":"thinking","thinking":"hm","signature":"{}"}}"#,
            seal()
        )
    }

    const OWN: &str = r#"{"type":"thinking","thinking":"hm","signature":"EqQB"}"#;
    const TEXT: &str = r#"{"type":"text", "text":"iris.\u0041"}"#;

    #[test]
    fn a_seal_goes_with_its_block_and_all_else_stays_byte_for_byte() {
        let one = thought();
        let body =
            |blocks: &str| format!(r#"{{ "m" :[ {{"c":[{blocks}]}}, {{"c":"x"}}],"n":1.0}}"#);
        for (before, after) in [
            (format!("{OWN}, {one} ,{TEXT}"), format!("{OWN} ,{TEXT}")),
            (format!("{one} , {OWN},{TEXT}"), format!("{OWN},{TEXT}")),
            (format!("{OWN}, {one}"), OWN.to_owned()),
            (format!("{one},{one}, {TEXT}"), TEXT.to_owned()),
            (format!("{TEXT},{one},{one}"), TEXT.to_owned()),
            (format!("{one},{TEXT},{one},{OWN}"), format!("{TEXT},{OWN}")),
        ] {
            for goes in [Goes::Element, Goes::Message, Goes::Filled("{}")] {
                let left = strip(goes, &body(&before));
                assert_eq!(left, Some(body(&after)), "{before}");
            }
        }
        assert_eq!(strip(Goes::Element, &body(&format!("{OWN},{TEXT}"))), None);
        // Another kind has no such string.
        let other = one.replace("thinking\",\"thinking", "text\",\"text");
        assert_eq!(strip(Goes::Element, &body(&other)), None);
    }

    #[test]
    fn a_message_of_which_nothing_is_left_goes_or_is_filled() {
        let redacted = format!(r#"{{"type":"redacted","data":"{}"}}"#, seal());
        let both = format!("{},{redacted}", thought());
        let body = format!(r#"{{"m":[{{"c":"a"}},{{"r":"x","c":[{both}]}},{{"c":"b"}}]}}"#);
        let left = strip(Goes::Message, &body).unwrap();
        assert_eq!(left, r#"{"m":[{"c":"a"},{"c":"b"}]}"#);
        let filled = strip(Goes::Filled("{}"), &body).unwrap();
        assert_eq!(filled, r#"{"m":[{"c":"a"},{"r":"x","c":[{}]},{"c":"b"}]}"#);
        let empty = strip(Goes::Element, &body).unwrap();
        assert_eq!(empty, r#"{"m":[{"c":"a"},{"r":"x","c":[]},{"c":"b"}]}"#);
        let only = format!(r#"{{"m":[{{"c":[{both}]}}]}}"#);
        assert_eq!(strip(Goes::Message, &only).unwrap(), r#"{"m":[]}"#);
    }

    #[test]
    fn a_seal_goes_alone_where_the_rest_means_the_same_or_leaves_another_in_its_place() {
        let untyped = OpaquePlace {
            path: "m.*.c.*.sig",
            kinds: &[],
            goes: Goes::Alone(|model, object| {
                let is_call = memmem::find(object, b"call").is_some();
                (is_call && model == "new").then_some("skip")
            }),
        };
        let body = |parts: &str| format!(r#"{{"m":[{{"c":[{parts}]}}]}}"#);
        let sig = format!(r#""sig":"{}""#, seal());
        for (model, before, after) in [
            (
                "old",
                format!(r#"{{"call":1,{sig}}}"#),
                body(r#"{"call":1}"#),
            ),
            (
                "new",
                format!(r#"{{"call":1,{sig}}}"#),
                body(r#"{"call":1,"sig":"skip"}"#),
            ),
            (
                "old",
                format!(r#"{{"t":"a"}},{{"t":"",{sig}}}"#),
                body(r#"{"t":"a"}"#),
            ),
            (
                "old",
                format!(r#"{{"t":"","thought":true,{sig}}}"#),
                r#"{"m":[]}"#.to_owned(),
            ),
        ] {
            let left = without_seals(&[untyped], body(&before).as_bytes(), model).unwrap();
            assert_eq!(String::from_utf8(left).unwrap(), after);
        }
    }
}
