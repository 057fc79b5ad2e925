//! Strings that only a provider can read, such as the signatures on reasoning: known by their place
//! in the format, because a caller can give any key its name.

use super::encoded::{as_text, decode};
use crate::formats::translate::Seal;
use crate::formats::{self, OpaquePlace};
use crate::wire::json;

/// Signatures are longer, and shorter strings can be read without harm.
const SHORTEST: usize = 64;

/// A string that is not read as text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Opaque {
    /// Where it begins.
    pub(super) at: usize,
    /// What of it can be read all the same: Iris seals what providers sign, and anyone can write such a seal.
    pub(super) readable: Vec<String>,
}

/// The strings at these places, in order. Those that could be text are left out.
pub(super) fn places(body: &[u8], places: &[OpaquePlace]) -> Vec<Opaque> {
    let ranges = places.iter().flat_map(|place| place.ranges(body));
    let opaque = ranges.filter_map(|at| {
        let text = json::string(&body[at.clone()])?;
        let readable = if is_opaque(&text) {
            Vec::new()
        } else {
            readable(sealed(&text)?)
        };
        let at = at.start;
        Some(Opaque { at, readable })
    });
    let mut found: Vec<Opaque> = opaque.collect();
    found.sort_unstable_by_key(|one| one.at);
    found
}

/// What Iris has sealed for the caller, in either of its spellings.
pub(super) fn sealed(text: &str) -> Option<Seal> {
    if !Seal::is_closed(text) {
        return None;
    }
    // SDKs write bytes in the alphabet that they like.
    let again = || Seal::open(&String::from_utf8(decode(text.as_bytes())?).ok()?);
    Seal::open(text).or_else(again)
}

/// What a seal holds that could be text.
fn readable(seal: Seal) -> Vec<String> {
    let is_known = formats::named(&seal.format).is_some();
    let format = (!is_known).then_some(seal.format);
    let value = Some(seal.value).filter(|value| !is_opaque(value));
    [format, value, seal.id].into_iter().flatten().collect()
}

/// Whether it is what providers write there: a long string of base64 that doesn't hold text.
fn is_opaque(text: &str) -> bool {
    text.len() >= SHORTEST && decode(text.as_bytes()).is_some_and(|bytes| as_text(&bytes).is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::Goes;
    use crate::formats::translate::SealKind;

    #[test]
    fn the_place_decides_and_not_the_key() {
        let sealed: Vec<u8> = (0..60_u8).map(|nth| nth.wrapping_mul(89) | 0x80).collect();
        let sealed = aws_smithy_types::base64::encode(sealed);
        let place = OpaquePlace {
            path: "messages.*.content.*.signature",
            kinds: &["thinking"],
            goes: Goes::Element,
        };
        let clear =
            aws_smithy_types::base64::encode("a text that no guardrail lets pass in this place");
        let block = |kind: &str, text: &str| format!(r#"{{"type":"{kind}","signature":"{text}"}}"#);
        let blocks = [
            block("thinking", &sealed),
            block("thinking", "some text"),
            block("thinking", &clear),
            block("thinking", "YWJj"),
            block("text", &sealed),
            format!(r#"{{"type":"thinking","type":"text","signature":"{sealed}"}}"#),
            format!(r#"{{"type":"thinking","input":{{"signature":"{sealed}"}}}}"#),
            format!(r#"{{"signature":"{sealed}"}}"#),
        ];
        let body = format!(
            r#"{{"signature":"{sealed}","messages":[{{"content":[{}],"signature":"{sealed}"}},{{"content":"x"}}]}}"#,
            blocks.join(",")
        );
        let expected = body.find(&blocks[0]).unwrap() + blocks[0].find(&sealed).unwrap() - 1;
        let only = Opaque {
            at: expected,
            readable: Vec::new(),
        };
        assert_eq!(places(body.as_bytes(), &[place]), [only]);
        assert!(places(br#"{"messages":"signature"}"#, &[place]).is_empty());
        let untyped = OpaquePlace {
            kinds: &[],
            ..place
        };
        let found = places(body.as_bytes(), &[untyped]);
        // Keys that are there twice are both read.
        assert_eq!(found.len(), 4);
    }

    #[test]
    fn of_a_seal_all_is_read_that_could_be_text() {
        let long = aws_smithy_types::base64::encode([0x9f; 60]);
        let seal = |format: &str, value: &str, id: Option<&str>| Seal {
            id: id.map(str::to_owned),
            ..Seal::new(format, SealKind::Encrypted, value)
        };
        let chat = "openai_chat";
        for (seal, expected) in [
            (seal(chat, &long, None), vec![]),
            (seal(chat, "a text", None), vec!["a text"]),
            (seal(chat, &long, Some("an id")), vec!["an id"]),
            (seal("no format", &long, None), vec!["no format"]),
        ] {
            let place = OpaquePlace {
                path: "a.*.s",
                kinds: &[],
                goes: Goes::Element,
            };
            let bytes = seal.closed_base64().replace('+', "-").replace('/', "_");
            for text in [seal.closed(), seal.closed_base64(), bytes] {
                let body = format!(r#"{{"a":[{{"s":"{text}"}}]}}"#);
                let found = places(body.as_bytes(), &[place]);
                assert_eq!(found.len(), 1, "{text}");
                assert_eq!(found[0].readable, expected, "{text}");
            }
        }
    }
}
