//! Takes seals out of requests for providers of the caller's own format. A caller whose conversation was
//! translated before sends back what Iris has sealed, and a provider would refuse it as a signature that
//! isn't its own.

use memchr::memmem;

use super::{Json, Seal};

/// How seals begin in JSON, in either spelling.
const MARKS: [&[u8]; 2] = [b"\"iris.", b"\"aXJpcy"];

/// A place at which a seal can stand.
#[derive(Clone, Copy, Debug)]
pub(in crate::formats) struct SealPlace {
    /// The keys that lead there, with a dot between them; `*` stands for each element of an array.
    pub(in crate::formats) path: &'static str,
    /// A seal goes alone. Elsewhere the element of a list that it stands in goes with it.
    pub(in crate::formats) is_aside: bool,
}

/// The body without seals at these places; `None` if it has none, as nearly all.
pub(in crate::formats) fn without_seals(
    places: impl Iterator<Item = SealPlace>,
    body: &[u8],
) -> Option<Vec<u8>> {
    if MARKS.iter().all(|mark| memmem::find(body, mark).is_none()) {
        return None;
    }
    let mut json = Json::read(body).ok()?;
    let mut is_changed = false;
    for place in places {
        let steps: Vec<&str> = place.path.split('.').collect();
        is_changed |= strip(&mut json, &steps, place.is_aside).is_changed;
    }
    is_changed.then(|| json.to_string().into_bytes())
}

#[derive(Clone, Copy, Default)]
struct Stripped {
    is_changed: bool,
    /// The element of an array that held a seal goes with it.
    is_gone: bool,
}

/// Strips what is below some steps. A seal that stands aside of what it belongs to goes alone.
fn strip(json: &mut Json, steps: &[&str], is_aside: bool) -> Stripped {
    let [step, rest @ ..] = steps else {
        return Stripped::default();
    };
    match json {
        Json::List(list) if *step == "*" => {
            let mut is_changed = false;
            list.retain_mut(|element| {
                let stripped = strip(element, rest, is_aside);
                is_changed |= stripped.is_changed;
                !stripped.is_gone
            });
            Stripped {
                is_changed,
                is_gone: false,
            }
        }
        Json::Object(object) if rest.is_empty() => {
            let is_sealed = |json: &Json| json.text().is_some_and(Seal::is_closed);
            let is_changed = object.at_mut(step).is_some_and(|json| is_sealed(json));
            if is_changed {
                object.take(step);
            }
            Stripped {
                is_changed,
                is_gone: is_changed && !is_aside,
            }
        }
        Json::Object(object) => match object.at_mut(step) {
            Some(inner) => strip(inner, rest, is_aside),
            None => Stripped::default(),
        },
        _ => Stripped::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::translate::SealKind;

    #[test]
    fn a_seal_goes_with_its_block_or_alone() {
        let seal = Seal::new("other", SealKind::Signature, "s").closed();
        let own = r#"{"type":"thinking","thinking":"hm","signature":"EqQB"}"#;
        let foreign = format!(r#"{{"type":"thinking","thinking":"hm","signature":"{seal}"}}"#);
        let text = r#"{"type":"text","text":"iris."}"#;
        let body =
            |blocks: &[&str]| format!(r#"{{"m":[{{"c":[{}]}},{{"c":"x"}}]}}"#, blocks.join(","));
        let place = |is_aside| SealPlace {
            path: "m.*.c.*.signature",
            is_aside,
        };
        let strip = |body: &str, is_aside| {
            let left = without_seals(std::iter::once(place(is_aside)), body.as_bytes());
            left.map(|left| String::from_utf8(left).unwrap())
        };
        let before = body(&[own, &foreign, text]);
        assert_eq!(strip(&before, false), Some(body(&[own, text])));
        let alone = r#"{"type":"thinking","thinking":"hm"}"#;
        assert_eq!(strip(&before, true), Some(body(&[own, alone, text])));
        assert_eq!(strip(&body(&[own, text]), false), None);
    }
}
