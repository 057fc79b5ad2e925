//! A strict scan of a JSON object, without building a tree.
//!
//! The gateway decides by a few top-level keys and forwards the bytes as they came. That is
//! sound only if every parser behind it sees the same values, so whatever parsers disagree
//! about is refused: a key given twice, a key that differs from one of ours only in case
//! (Go's decoder folds case, and folds `ſ` and the Kelvin sign too), bytes that are not
//! UTF-8, a byte order mark, and anything after the closing brace.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

/// Nesting that a request may have; more is refused.
const MAX_DEPTH: usize = 128;
/// Keys that one inspected object may have; more is refused.
const MAX_KEYS: usize = 4096;

/// A double holds every number that has no more digits than this, and no exponent.
const MAX_SAFE_DIGITS: usize = 300;

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
    /// Whether the object has no members.
    pub is_empty: bool,
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
    if let Err(error) = std::str::from_utf8(bytes) {
        return Err(fail(error.valid_up_to(), "the body is not UTF-8"));
    }
    let mut scanner = Scanner { bytes, at: 0 };
    scanner.space();
    if scanner.peek() != Some(b'{') {
        return Err(scanner.expected("a JSON object"));
    }
    let fields = scanner.inspected_object(keys)?;
    scanner.space();
    if scanner.at != bytes.len() {
        return Err(fail(
            scanner.at,
            "there is more after the end of the JSON object",
        ));
    }
    Ok(fields)
}

/// Decodes a JSON string literal, quotes included; `None` if it is none.
#[must_use]
pub fn string(literal: &[u8]) -> Option<Cow<'_, str>> {
    let inner = literal.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if inner.contains(&b'\\') {
        serde_json::from_slice::<String>(literal)
            .ok()
            .map(Cow::Owned)
    } else {
        std::str::from_utf8(inner).ok().map(Cow::Borrowed)
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
fn variant<'k>(key: &str, keys: &[&'k str]) -> Option<&'k str> {
    let folded = folded(key);
    let mut keys = keys.iter().copied();
    keys.find(|wanted| wanted.eq_ignore_ascii_case(&folded))
}

/// Where the member whose value stands at `value` can be cut out of its object, with the comma
/// that parts it from its neighbour.
#[must_use]
pub fn member(bytes: &[u8], value: &Range<usize>) -> Range<usize> {
    let is_space = |at: usize| matches!(bytes.get(at), Some(b' ' | b'\t' | b'\n' | b'\r'));
    let back = |mut at: usize| {
        while at > 0 && is_space(at - 1) {
            at -= 1;
        }
        at
    };
    // Over the colon and the key's two quotes.
    let colon = back(value.start).saturating_sub(1);
    let close = back(colon).saturating_sub(1);
    let start = bytes[..close]
        .iter()
        .rposition(|byte| *byte == b'"')
        .unwrap_or(close);
    let mut end = value.end;
    while is_space(end) {
        end += 1;
    }
    if bytes.get(end) == Some(&b',') {
        return start..end + 1;
    }
    let before = back(start);
    if before > 0 && bytes[before - 1] == b',' {
        return before - 1..value.end;
    }
    start..value.end
}

/// The elements of a JSON array, as ranges of its bytes; `None` if it is none.
#[must_use]
pub fn elements(array: &[u8]) -> Option<Vec<Range<usize>>> {
    let elements: Vec<&serde_json::value::RawValue> = serde_json::from_slice(array).ok()?;
    let start = array.as_ptr().addr();
    Some(
        elements
            .into_iter()
            .map(|element| {
                let at = element.get().as_ptr().addr() - start;
                at..at + element.get().len()
            })
            .collect(),
    )
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn expected(&self, what: &str) -> ScanError {
        match self.peek() {
            Some(_) => fail(self.at, format!("expected {what}")),
            None => fail(self.at, format!("the body ends where {what} was expected")),
        }
    }

    fn take(&mut self, byte: u8, what: &str) -> Result<(), ScanError> {
        if self.peek() == Some(byte) {
            self.at += 1;
            return Ok(());
        }
        Err(self.expected(what))
    }

    /// An object whose keys are looked at: none may be given twice or be a variant of `keys`.
    fn inspected_object(&mut self, keys: &[&str]) -> Result<Fields, ScanError> {
        self.take(b'{', "`{`")?;
        let mut fields = Fields {
            found: vec![None; keys.len()],
            open: self.at,
            is_empty: false,
        };
        let mut seen: HashSet<Cow<'_, str>> = HashSet::new();
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            fields.is_empty = true;
            return Ok(fields);
        }
        loop {
            self.space();
            let key_at = self.at;
            self.string()?;
            let key = string(&self.bytes[key_at..self.at])
                .ok_or_else(|| fail(key_at, "a key has an invalid escape"))?;
            self.space();
            self.take(b':', "`:`")?;
            self.space();
            let value_at = self.at;
            self.value(1)?;
            if let Some(nth) = keys.iter().position(|wanted| *wanted == key) {
                if fields.found[nth].is_some() {
                    return Err(fail(key_at, format!("the key \"{key}\" is given twice")));
                }
                fields.found[nth] = Some(value_at..self.at);
            } else if let Some(wanted) = variant(&key, keys) {
                return Err(fail(
                    key_at,
                    format!("the key \"{key}\" can be mistaken for \"{wanted}\""),
                ));
            }
            if seen.len() == MAX_KEYS {
                return Err(fail(
                    key_at,
                    format!("an object has more than {MAX_KEYS} keys"),
                ));
            }
            if let Some(key) = seen.replace(key) {
                return Err(fail(key_at, format!("the key \"{key}\" is given twice")));
            }
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(fields);
                }
                _ => return Err(self.expected("`,` or `}`")),
            }
        }
    }

    /// Any value; iterative in nothing but its bounded depth.
    fn value(&mut self, depth: usize) -> Result<(), ScanError> {
        if depth > MAX_DEPTH {
            return Err(fail(
                self.at,
                format!("nested deeper than {MAX_DEPTH} levels"),
            ));
        }
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'{') => self.members(b'}', depth, true),
            Some(b'[') => self.members(b']', depth, false),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.expected("a JSON value")),
        }
    }

    fn members(&mut self, close: u8, depth: usize, keyed: bool) -> Result<(), ScanError> {
        self.at += 1;
        self.space();
        if self.peek() == Some(close) {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.space();
            if keyed {
                self.string()?;
                self.space();
                self.take(b':', "`:`")?;
                self.space();
            }
            self.value(depth + 1)?;
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(byte) if byte == close => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.expected("`,` or the end of the list")),
            }
        }
    }

    fn word(&mut self, word: &'static str) -> Result<(), ScanError> {
        if self.bytes[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(());
        }
        Err(self.expected("a JSON value"))
    }

    fn number(&mut self) -> Result<(), ScanError> {
        let from = self.at;
        self.digits_of_number()?;
        // Some parsers refuse what a double can't hold, others read it as infinite.
        let text = &self.bytes[from..self.at];
        let may_be_large =
            text.len() > MAX_SAFE_DIGITS || text.contains(&b'e') || text.contains(&b'E');
        if may_be_large {
            let value = std::str::from_utf8(text)
                .ok()
                .and_then(|text| text.parse().ok());
            if !value.is_some_and(f64::is_finite) {
                return Err(fail(from, "a number is out of range"));
            }
        }
        Ok(())
    }

    fn digits_of_number(&mut self) -> Result<(), ScanError> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return Err(self.expected("a digit")),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), ScanError> {
        let from = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == from {
            Err(self.expected("a digit"))
        } else {
            Ok(())
        }
    }

    fn string(&mut self) -> Result<(), ScanError> {
        self.take(b'"', "a string")?;
        loop {
            match self.peek() {
                None => return Err(fail(self.at, "the body ends inside a string")),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(0..=0x1f) => {
                    return Err(fail(self.at, "a string holds a raw control character"));
                }
                Some(_) => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Result<(), ScanError> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => match self.hex(self.at + 2)? {
                0xd800..=0xdbff => {
                    let low = self.bytes.get(self.at + 6..self.at + 8) == Some(b"\\u");
                    if !low || !(0xdc00..=0xdfff).contains(&self.hex(self.at + 8)?) {
                        return Err(fail(self.at, "half of a surrogate pair"));
                    }
                    self.at += 12;
                }
                0xdc00..=0xdfff => return Err(fail(self.at, "half of a surrogate pair")),
                _ => self.at += 6,
            },
            _ => return Err(fail(self.at, "an unknown escape in a string")),
        }
        Ok(())
    }

    fn hex(&self, at: usize) -> Result<u16, ScanError> {
        self.bytes
            .get(at..at + 4)
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u16::from_str_radix(digits, 16).ok())
            .ok_or_else(|| fail(at, "expected four hexadecimal digits"))
    }
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
    fn members_are_cut_with_one_comma() {
        for (body, left) in [
            (r#"{"id":"x"}"#, "{}"),
            (r#"{ "id" : 1 , "b":2}"#, r#"{  "b":2}"#),
            (r#"{"a":1 , "id":[2] }"#, r#"{"a":1  }"#),
            (r#"{"a":1,"\u0069d":{},"b":2}"#, r#"{"a":1,"b":2}"#),
        ] {
            let value = scan(body.as_bytes(), &["id"]).unwrap().get(0).unwrap();
            let cut = member(body.as_bytes(), &value);
            let mut rest = body.to_owned();
            rest.replace_range(cut, "");
            assert_eq!(rest, left);
            assert!(scan(rest.as_bytes(), &[]).is_ok(), "{rest}");
        }
    }

    #[test]
    fn elements_are_ranges_of_their_array() {
        let array = br#" [ {"a":[1]} , "x",3]"#;
        let found: Vec<&[u8]> = elements(array)
            .unwrap()
            .into_iter()
            .map(|at| &array[at])
            .collect();
        assert_eq!(found, [&br#"{"a":[1]}"#[..], br#""x""#, b"3"]);
        assert_eq!(elements(b"{}"), None);
    }

    #[test]
    fn depth_is_bounded() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(200), "]".repeat(200));
        let error = scan(deep.as_bytes(), &[]).unwrap_err();
        assert!(error.what.contains("deeper"), "{error}");
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
}
