//! A strict scan of a JSON object, without building a tree.
//!
//! The gateway decides by a few top-level keys and forwards the bytes as they came. That is
//! sound only if every parser behind it sees the same values, so whatever parsers disagree
//! about is refused: a key given twice, a key that differs from one of ours only in case
//! (Go's decoder folds case, and folds `ſ` and the Kelvin sign too), bytes that are not
//! UTF-8, a byte order mark, and anything after the closing brace.

mod outline;
mod ranges;
mod scanner;
mod sieve;
mod strings;

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

pub use outline::{Oddities, Outline, Part};
pub use ranges::{each_element, each_member, elements, member, members};
use scanner::Scanner;
pub use sieve::Sieve;
pub use strings::{Text, closing, literals, strings};

/// Keys that one inspected object may have; more is refused.
const MAX_KEYS: usize = 4096;

/// What is wrong with a body, and at which byte.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct ScanError {
    /// Offset in bytes from the start of the body.
    pub at: usize,
    /// What is wrong there.
    pub what: Cow<'static, str>,
}

/// The values found for the keys asked for, as ranges of the scanned bytes.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    found: Vec<Option<Range<usize>>>,
    /// Just after the opening brace: where a member can be inserted.
    pub open: usize,
    /// All members: the literal of each key, and its value.
    pub members: Vec<(Range<usize>, Range<usize>)>,
}

impl Fields {
    /// Range of the value of the n-th key asked for.
    #[must_use]
    pub fn get(&self, nth: usize) -> Option<Range<usize>> {
        self.found.get(nth).cloned().flatten()
    }
}

/// Scans `bytes`, which must be one JSON object and nothing else, for the values of `keys`.
///
/// # Errors
/// [`ScanError`] when the bytes are not strict JSON, or when parsers could disagree on them.
pub fn scan(bytes: &[u8], keys: &[&str]) -> Result<Fields, ScanError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| fail(error.valid_up_to(), "the body is not UTF-8"))?;
    let mut scanner = Scanner::new(bytes);
    scanner.space();
    if scanner.peek() != Some(b'{') {
        return Err(scanner.expected("a JSON object"));
    }
    let mut fields = Fields {
        found: vec![None; keys.len()],
        open: scanner.at + 1,
        members: Vec::new(),
    };
    let mut seen = Keys::default();
    scanner.items(b'{', 0, |_, key_at, value| {
        let at = key_at.start;
        let key = literal(&text[key_at.clone()])
            .ok_or_else(|| fail(at, "a key has an invalid escape"))?;
        fields.members.push((key_at, value.clone()));
        let twice = |key: &str| fail(at, format!("the key \"{key}\" is given twice"));
        if let Some(nth) = keys.iter().position(|wanted| *wanted == key) {
            if fields.found[nth].replace(value).is_some() {
                return Err(twice(&key));
            }
        } else if let Some(wanted) = variant(&key, keys) {
            let what = format!("the key \"{key}\" can be mistaken for \"{wanted}\"");
            return Err(fail(at, what));
        }
        if seen.count == MAX_KEYS {
            let what = format!("an object has more than {MAX_KEYS} keys");
            return Err(fail(at, what));
        }
        seen.add(key).map_or(Ok(()), |key| Err(twice(&key)))
    })?;
    scanner.space();
    if scanner.at != bytes.len() {
        return Err(fail(
            scanner.at,
            "there is more after the end of the JSON object",
        ));
    }
    Ok(fields)
}

/// Keys so far.
#[derive(Default)]
struct Keys<'a> {
    count: usize,
    /// The first ones, which are compared one by one: most objects have no more.
    few: [Option<Cow<'a, str>>; 16],
    many: HashSet<Cow<'a, str>>,
}

impl<'a> Keys<'a> {
    /// Adds a key, unless it is there already, which is returned then.
    fn add(&mut self, key: Cow<'a, str>) -> Option<Cow<'a, str>> {
        if self.few.iter().flatten().any(|known| *known == key) {
            return Some(key);
        }
        self.count += 1;
        match self.few.get_mut(self.count - 1) {
            Some(free) => {
                *free = Some(key);
                None
            }
            None => self.many.replace(key),
        }
    }
}

/// Decodes a JSON string literal, quotes included; `None` for anything else.
#[must_use]
pub fn string(literal: &[u8]) -> Option<Cow<'_, str>> {
    self::literal(std::str::from_utf8(literal).ok()?)
}

/// The same for a literal of a text.
fn literal(literal: &str) -> Option<Cow<'_, str>> {
    let [b'"', inner @ .., b'"'] = literal.as_bytes() else {
        return None;
    };
    if inner.contains(&b'\\') {
        serde_json::from_str::<String>(literal).ok().map(Cow::Owned)
    } else {
        literal.get(1..literal.len() - 1).map(Cow::Borrowed)
    }
}

fn fail(at: usize, what: impl Into<Cow<'static, str>>) -> ScanError {
    ScanError {
        at,
        what: what.into(),
    }
}

/// Folds as the most lenient decoder does: ASCII case, `ſ` as `s`, the Kelvin sign as `k`.
fn folded(key: &str) -> String {
    key.chars()
        .map(|c| match c {
            'ſ' => 's',
            '\u{212a}' => 'k',
            c => c.to_ascii_lowercase(),
        })
        .collect()
}

/// The one of `keys` that a lenient decoder would take `key` for.
#[must_use]
pub fn variant<'k>(key: &str, keys: &[&'k str]) -> Option<&'k str> {
    let folded = if key.is_ascii() {
        Cow::Borrowed(key)
    } else {
        Cow::Owned(folded(key))
    };
    let mut keys = keys.iter().copied();
    keys.find(|wanted| wanted.eq_ignore_ascii_case(&folded))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(body: &str) -> Result<Option<String>, ScanError> {
        let fields = scan(body.as_bytes(), &["model", "stream", "streamName"])?;
        Ok(fields.get(0).map(|range| body[range].to_owned()))
    }

    #[test]
    fn finds_the_value_and_only_at_the_top() {
        let body = r#" {"a":{"model":"inner","x":[1,2e-3,{"model":1}]}, "model" : "outer"} "#;
        assert_eq!(model(body).unwrap().unwrap(), "\"outer\"");
        assert_eq!(model(r#"{"a":1}"#).unwrap(), None);
    }

    #[test]
    fn refuses_what_parsers_read_differently() {
        for body in [
            r#"{"model":"a","model":"b"}"#,
            r#"{"model":"a","mode\u006c":"b"}"#,
            r#"{"model":"a","Model":"b"}"#,
            r#"{"model":"a","MODEL":"b"}"#,
            r#"{"streamName":"a","streamname":"b"}"#,
            "{\"model\":\"a\",\"\u{17f}tream\":true}",
            r#"{"x":1,"x":2}"#,
            r#"{"model":"a"} {"model":"b"}"#,
            r#"{"model":"a"}x"#,
            "\u{feff}{\"model\":\"a\"}",
            r#"{"model":"a",}"#,
            r#"{"model":"\ud800"}"#,
            r#"{"model":NaN}"#,
            r#"{"model":01}"#,
            r#"{"model":+1}"#,
            r#"{"model":1e400}"#,
            r"{'model':'a'}",
            "{\"model\":\"a\nb\"}",
            r#"["model"]"#,
            "",
            "{",
            r#"{"model""#,
        ] {
            assert!(model(body).is_err(), "{body:?} should be refused");
        }
        assert!(scan(b"{\"model\":\"\xff\"}", &["model"]).is_err());
    }

    #[test]
    fn depth_is_bounded() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(200), "]".repeat(200));
        let error = scan(deep.as_bytes(), &[]).unwrap_err();
        assert!(error.what.contains("deeper"), "{error}");
    }

    #[test]
    fn values_are_bounded() {
        let many = |times: usize| format!("{{\"a\":[{}0]}}", "0,".repeat(times));
        assert!(scan(many(999_998).as_bytes(), &[]).is_ok());
        let error = scan(many(999_999).as_bytes(), &[]).unwrap_err();
        assert!(error.what.contains("values"), "{error}");
    }

    #[test]
    fn agrees_with_serde_on_what_is_json() {
        // Every prefix and every single-byte change of a rich document: whatever the scan
        // accepts, serde accepts with the same model.
        let document = r#"{"model":"m\n\u00e9","n":[-0.5e+10,true,null,{"k":"v"}],"s":false}"#;
        for at in 0..document.len() {
            for byte in [b'"', b'{', b'}', b',', b':', b'\\', b'0', b'e', b' ', 0x80] {
                let mut changed = document.as_bytes().to_vec();
                changed[at] = byte;
                if let Ok(fields) = scan(&changed, &["model"]) {
                    let tree: serde_json::Value = serde_json::from_slice(&changed)
                        .unwrap_or_else(|e| panic!("serde refuses {changed:?}: {e}"));
                    let ours = fields
                        .get(0)
                        .and_then(|r| string(&changed[r]).map(Cow::into_owned));
                    let theirs = tree
                        .get("model")
                        .and_then(|m| m.as_str())
                        .map(str::to_owned);
                    assert_eq!(ours, theirs);
                }
            }
            assert!(scan(&document.as_bytes()[..at], &["model"]).is_err());
        }
    }

    /// Whether a value is taken, and why not.
    fn value(value: &str) -> Result<(), ScanError> {
        scan(format!("{{\"v\":{value}}}").as_bytes(), &["v"]).map(drop)
    }

    #[test]
    fn what_everybody_reads_alike_is_taken() {
        let digits = |count: usize| "9".repeat(count);
        let plain = "0 -0 1 10 120.05 -0.5e+10 1E5 1e-7 2.5E+3 1e308 0e0 true false null []";
        let longer = [
            "[ ]",
            "{}",
            "{ }",
            "[1 , 2\t,\r3\n]",
            "{ \"a\" : 1 , \"b\" : [ { } ] }",
            "\"\"",
            "\"\u{7f}\u{80}\u{fffd}\"",
            r#""\" \\ \/ \b \f \n \r \t""#,
            r#""\u0000 \uD7FF \ue000 \uFFFF \u00e9""#,
            r#""\ud800\udc00 \uDBFF\uDFFF \ud83d\ude00!""#,
            &digits(300),
            &digits(308),
            &format!("-{}.5", digits(299)),
        ];
        for sound in plain.split(' ').chain(longer) {
            assert_eq!(value(sound), Ok(()), "{sound}");
            assert!(
                serde_json::from_str::<serde_json::Value>(sound).is_ok(),
                "{sound}"
            );
        }
        for nested in [127, 128] {
            let deep = format!("{}{}", "[".repeat(nested), "]".repeat(nested));
            assert_eq!(value(&deep).is_ok(), nested < 129, "{nested}");
        }
        let most = |count: usize| {
            let members: Vec<String> = (0..count).map(|nth| format!("\"{nth}\":0")).collect();
            members.join(",")
        };
        assert!(scan(format!("{{{}}}", most(MAX_KEYS)).as_bytes(), &["1", "4095"]).is_ok());
        assert!(scan(format!("{{{}}}", most(MAX_KEYS + 1)).as_bytes(), &[]).is_err());
        // Below the top keys are not looked at.
        assert_eq!(value(r#"{"a":1,"a":2,"V":3}"#), Ok(()));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let half = "half of a surrogate pair";
        let digits = "expected four hexadecimal digits";
        let list = "expected `,` or the end of the list";
        let ends = "the body ends where `,` or `}` was expected";
        let more = "there is more after the end of the JSON object";
        let control = "a string holds a raw control character";
        let mistaken = "the key \"A\" can be mistaken for \"a\"";
        for (body, at, what) in [
            ("", 0, "the body ends where a JSON object was expected"),
            (" [1]", 1, "expected a JSON object"),
            ("{", 1, "the body ends where a string was expected"),
            ("{a:1}", 1, "expected a string"),
            (r#"{"a" 1}"#, 5, "expected `:`"),
            (r#"{"a":}"#, 5, "expected a JSON value"),
            (r#"{"a":1"#, 6, ends),
            (r#"{"a":1;"#, 6, "expected `,` or `}`"),
            (r#"{"a":[1;"#, 7, list),
            (r#"{"a":{"b" 1}}"#, 10, "expected `:`"),
            (r#"{"a":{"b":1]}"#, 11, list),
            (r#"{"a":tru}"#, 5, "expected a JSON value"),
            (r#"{"a":-}"#, 6, "expected a digit"),
            (r#"{"a":1.}"#, 7, "expected a digit"),
            (r#"{"a":1e+}"#, 8, "expected a digit"),
            (r#"{"a":1e309}"#, 5, "a number is out of range"),
            (r#"{"a":-1E309}"#, 5, "a number is out of range"),
            (r#"{"a":"b"#, 7, "the body ends inside a string"),
            ("{\"a\":\"\u{1f}\"}", 6, control),
            (r#"{"a":"\x"}"#, 6, "an unknown escape in a string"),
            (r#"{"a":"\u00g0"}"#, 8, digits),
            (r#"{"a":"\u+123"}"#, 8, digits),
            (r#"{"a":"\u12"#, 8, digits),
            (r#"{"a":"\ud800"}"#, 6, half),
            (r#"{"a":"\ud800\n0000"}"#, 6, half),
            (r#"{"a":"\ud800\udbff"}"#, 6, half),
            (r#"{"a":"\udbff\ue000"}"#, 6, half),
            (r#"{"a":"\udc00"}"#, 6, half),
            (r#"{"a":"\udfff"}"#, 6, half),
            (r#"{"a":"\ud800\u12"}"#, 14, digits),
            (r#"{"a":1} 2"#, 8, more),
            (r#"{"a":1,"a":2}"#, 7, "the key \"a\" is given twice"),
            (r#"{"a":1,"k":2,"k":3}"#, 13, "the key \"k\" is given twice"),
            (r#"{"a":1,"A":2}"#, 7, mistaken),
            (r#"{"\ud800":1}"#, 2, half),
        ] {
            let error = scan(body.as_bytes(), &["a"]).map(drop).unwrap_err();
            assert_eq!((error.at, &*error.what), (at, what), "{body}");
        }
        let error = scan(b"{\"a\":\"\xff\"}", &[]).unwrap_err();
        assert_eq!(error.to_string(), "the body is not UTF-8 at byte 6");
        let long = "9".repeat(400);
        assert!(value(&long).is_err(), "what no double holds");
    }

    #[test]
    fn fields_say_where_a_member_can_be_put() {
        let fields = scan(b" { } ", &["a"]).unwrap();
        assert_eq!(
            (fields.open, fields.members.len(), fields.get(0)),
            (2, 0, None)
        );
        let fields = scan(b"{\"b\": 1 , \"a\":[2] }", &["a", "b"]).unwrap();
        assert_eq!((fields.open, fields.members.len()), (1, 2));
        assert_eq!(
            (fields.get(0), fields.get(1), fields.get(2)),
            (Some(14..17), Some(6..7), None)
        );
    }

    #[test]
    fn variants_are_what_a_lenient_decoder_takes_for_a_key() {
        let keys = ["model", "stream", "key"];
        for (key, expected) in [
            ("model", Some("model")),
            ("MoDeL", Some("model")),
            ("\u{17f}tream", Some("stream")),
            ("\u{212a}ey", Some("key")),
            ("mode", None),
            ("models", None),
            ("modèl", None),
        ] {
            assert_eq!(variant(key, &keys), expected, "{key}");
        }
        assert_eq!(variant("streamname", &["streamName"]), Some("streamName"));
    }

    #[test]
    fn literals_are_decoded_with_their_quotes() {
        for (literal, expected) in [
            (r#""""#, Some("")),
            (r#""a""#, Some("a")),
            (r#""a\n\u00e9""#, Some("a\né")),
            (r#""\ud800""#, None),
            (r#""a"#, None),
            (r#"a""#, None),
            (r#"""#, None),
        ] {
            assert_eq!(string(literal.as_bytes()).as_deref(), expected, "{literal}");
        }
        assert_eq!(string(b"\"\xff\""), None);
    }
}
