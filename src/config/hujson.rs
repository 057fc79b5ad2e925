//! HuJSON (JSON with comments and trailing commas) as a tree that remembers where everything
//! stood, so that a finding can point at it.

use serde::Serialize;

/// Deeper nesting is refused: no configuration needs it, and each level costs stack.
const MAX_DEPTH: usize = 64;

/// A place in the text; both count from 1, columns in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

/// A value and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub at: Position,
    /// The bytes that it stands in, a byte order mark in front of the document left out.
    pub bytes: std::ops::Range<usize>,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    String(String),
    Array(Vec<Node>),
    Object(Vec<Member>),
}

impl Node {
    /// The members of an object; none of another value.
    pub(super) fn members(&self) -> &[Member] {
        match &self.value {
            Value::Object(members) => members,
            _ => &[],
        }
    }

    /// The items of an array; none of another value.
    pub(super) fn items(&self) -> &[Self] {
        match &self.value {
            Value::Array(items) => items,
            _ => &[],
        }
    }

    /// The value of a key, which is the last where the key is given twice.
    pub(super) fn member(&self, key: &str) -> Option<&Self> {
        let mut found = self
            .members()
            .iter()
            .rev()
            .filter(|member| member.key == key);
        found.next().map(|member| &member.node)
    }
}

/// A key and its value; an object keeps duplicates.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Member {
    pub at: Position,
    /// Where the key begins in the bytes.
    pub starts: usize,
    pub key: String,
    pub node: Node,
}

/// Why a text is not HuJSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SyntaxError {
    pub at: Position,
    pub message: String,
}

/// Parses a document, which is one value.
pub(super) fn parse(text: &str) -> Result<Node, SyntaxError> {
    let text = without_mark(text);
    let mut parser = Parser {
        text,
        offset: 0,
        line: 1,
        known: (0, 1),
        depth: 0,
    };
    parser.blanks()?;
    let node = parser.value()?;
    parser.blanks()?;
    match parser.peek() {
        None => Ok(node),
        Some(other) => parser.fail(format!(
            "unexpected {other:?} after the end of the document"
        )),
    }
}

/// A text without a byte order mark in front of it, as positions count.
pub(super) fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

impl Value {
    /// The kind, in JSON's words.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Number(_) => "number",
            Self::String(_) => "string",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
        }
    }

    /// The value as plain JSON. Of duplicate keys the last counts, as everywhere here.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(value) => (*value).into(),
            Self::Number(number) => number.clone().into(),
            Self::String(text) => text.clone().into(),
            Self::Array(items) => items.iter().map(|item| item.value.to_json()).collect(),
            Self::Object(members) => members
                .iter()
                .map(|member| (member.key.clone(), member.node.value.to_json()))
                .collect(),
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    offset: usize,
    line: usize,
    /// A place in the current line, and its column.
    known: (usize, usize),
    depth: usize,
}

impl Parser<'_> {
    fn at(&self) -> Position {
        let (offset, column) = self.known;
        let column = column + self.text[offset..self.offset].chars().count();
        Position {
            line: self.line,
            column,
        }
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T, SyntaxError> {
        Err(SyntaxError {
            at: self.at(),
            message: message.into(),
        })
    }

    fn rest(&self) -> &str {
        &self.text[self.offset..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Moves over `length` bytes and counts the lines among them.
    fn skip(&mut self, length: usize) {
        let end = self.offset + length;
        for (at, _) in self.text[self.offset..end].match_indices('\n') {
            self.line += 1;
            self.known = (self.offset + at + 1, 1);
        }
        self.offset = end;
    }

    /// Skips white space and comments.
    fn blanks(&mut self) -> Result<(), SyntaxError> {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
            if blank > 0 {
                self.skip(blank);
            } else if rest.starts_with("//") {
                self.skip(rest.find('\n').unwrap_or(rest.len()));
            } else if let Some(comment) = rest.strip_prefix("/*") {
                let Some(end) = comment.find("*/") else {
                    return self.fail("this comment is never closed");
                };
                self.skip(end + 4);
            } else {
                return Ok(());
            }
        }
    }

    fn value(&mut self) -> Result<Node, SyntaxError> {
        let at = self.at();
        let start = self.offset;
        // A long line is counted once, not again for each of its values.
        self.known = (self.offset, at.column);
        let value = match self.peek() {
            None => return self.fail("the document ends where a value should stand"),
            Some('{') => self.nested(Self::object)?,
            Some('[') => self.nested(Self::array)?,
            Some('"') => Value::String(self.string()?),
            Some('-' | '0'..='9') => self.number()?,
            Some(other) => {
                let words = [
                    ("null", Value::Null),
                    ("true", Value::Bool(true)),
                    ("false", Value::Bool(false)),
                ];
                let found = words
                    .into_iter()
                    .find(|(word, _)| self.rest().starts_with(word));
                let Some((word, value)) = found else {
                    return self.fail(format!("unexpected {other:?} where a value should stand"));
                };
                self.skip(word.len());
                value
            }
        };
        Ok(Node {
            at,
            bytes: start..self.offset,
            value,
        })
    }

    fn nested(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<Value, SyntaxError>,
    ) -> Result<Value, SyntaxError> {
        if self.depth == MAX_DEPTH {
            return self.fail(format!("more than {MAX_DEPTH} levels of nesting"));
        }
        self.depth += 1;
        self.skip(1);
        let value = parse(self);
        self.depth -= 1;
        value
    }

    fn object(&mut self) -> Result<Value, SyntaxError> {
        let mut members = Vec::new();
        loop {
            self.blanks()?;
            match self.peek() {
                Some('}') => {
                    self.skip(1);
                    return Ok(Value::Object(members));
                }
                Some('"') => {}
                Some(other) => {
                    return self.fail(format!(
                        "unexpected {other:?} where a key or '}}' should stand"
                    ));
                }
                None => return self.fail("the document ends inside an object"),
            }
            let (at, starts) = (self.at(), self.offset);
            let key = self.string()?;
            self.blanks()?;
            if self.peek() != Some(':') {
                return self.fail(format!("a ':' is missing after the key {key:?}"));
            }
            self.skip(1);
            self.blanks()?;
            let node = self.value()?;
            members.push(Member {
                at,
                starts,
                key,
                node,
            });
            self.separator('}')?;
        }
    }

    fn array(&mut self) -> Result<Value, SyntaxError> {
        let mut items = Vec::new();
        loop {
            self.blanks()?;
            match self.peek() {
                Some(']') => {
                    self.skip(1);
                    return Ok(Value::Array(items));
                }
                None => return self.fail("the document ends inside an array"),
                Some(_) => items.push(self.value()?),
            }
            self.separator(']')?;
        }
    }

    /// A comma, or the end, which is left for the caller.
    fn separator(&mut self, end: char) -> Result<(), SyntaxError> {
        self.blanks()?;
        match self.peek() {
            Some(',') => self.skip(1),
            Some(other) if other == end => {}
            Some(other) => return self.fail(format!("unexpected {other:?}: is a ',' missing?")),
            None => return self.fail(format!("the document ends before a {end:?}")),
        }
        Ok(())
    }

    fn string(&mut self) -> Result<String, SyntaxError> {
        let mut escaped = false;
        let end = self.rest().char_indices().skip(1).find(|(_, char)| {
            let ends = matches!(char, '"' if !escaped) || *char == '\n';
            escaped = *char == '\\' && !escaped;
            ends
        });
        let Some((end, '"')) = end else {
            return self.fail("this string is never closed");
        };
        match serde_json::from_str(&self.rest()[..=end]) {
            Ok(text) => {
                self.skip(end + 1);
                Ok(text)
            }
            Err(error) => self.fail(format!("this string is broken: {}", plain(&error))),
        }
    }

    fn number(&mut self) -> Result<Value, SyntaxError> {
        let rest = self.rest();
        let is_part = |char: char| char.is_ascii_alphanumeric() || "+-.".contains(char);
        let length = rest.find(|char| !is_part(char)).unwrap_or(rest.len());
        match serde_json::from_str(&rest[..length]) {
            Ok(number) => {
                self.skip(length);
                Ok(Value::Number(number))
            }
            // What stands there could be a secret without its quotes.
            Err(_) => self.fail("a number is broken, or a string has no quotes"),
        }
    }
}

/// The decoder's message without its own position, which counts from the string's start.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ")
        .next()
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> (usize, usize, String) {
        let error = parse(text).unwrap_err();
        (error.at.line, error.at.column, error.message)
    }

    #[test]
    fn comments_and_trailing_commas_are_no_part_of_the_value() {
        let text = "// é\n{ /* a */ \"a\": [1, 2.5e3,], \"b\": \"//\\u00e9\\\"\", /**/ }\n";
        let tree = parse(text).unwrap();
        assert_eq!(
            tree.value.to_json().to_string(),
            r#"{"a":[1,2500.0],"b":"//é\""}"#
        );
        let Value::Object(members) = tree.value else {
            panic!()
        };
        assert_eq!(
            members[1].at,
            Position {
                line: 2,
                column: 29
            }
        );
    }

    #[test]
    fn errors_say_where() {
        assert_eq!(error("{\n  \"a\": }").0, 2);
        assert_eq!(error("{\n  \"a\": }").1, 8);
        assert_eq!(
            error("{\"a\" 1}"),
            (1, 6, "a ':' is missing after the key \"a\"".into())
        );
        assert_eq!(error("[1 2]").1, 4);
        assert_eq!(error("{} x").1, 4);
        for text in [
            "", "{", "[", "\"a", "/*", "{\"a\":", "01", "nul", "[,]", "\"\\x\"", "\"a\n\"",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(error(&"[".repeat(100_000)).2.contains("nesting"));
    }

    #[test]
    fn a_long_line_is_counted_once() {
        let text = format!("[{}0]", "1,".repeat(300_000));
        let Value::Array(items) = parse(&text).unwrap().value else {
            panic!()
        };
        assert_eq!(
            items[300_000].at,
            Position {
                line: 1,
                column: 600_002
            }
        );
    }

    #[test]
    fn no_input_panics() {
        // Every prefix, and every byte replaced, of a document with all there is.
        let text = "{\"a\":[null,true,-1.5e+3,\"\\u00e9é\"],/*x*/\"b\":{}}//z";
        for end in text.char_indices().map(|(at, _)| at) {
            let _ = parse(&text[..end]);
            for with in ['"', '\\', '{', ']', ',', '/', '\n', 'é', '0'] {
                let mut changed = text.to_owned();
                changed.replace_range(
                    end..end + text[end..].chars().next().unwrap().len_utf8(),
                    with.encode_utf8(&mut [0; 4]),
                );
                let _ = parse(&changed);
            }
        }
    }
}
