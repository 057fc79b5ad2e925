//! `${NAME}` and `${file:/path}` in strings. `$${` stands for a literal `${`.
//!
//! Values come as people store them: with a line break at the end, which is dropped, and without
//! the escapes that a URL needs, which are added where a value becomes a part of one.

use std::borrow::Cow;
use std::ops::Range;

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

use super::declare::Holds;
use super::hujson::{Node, Position, Value};
use super::within::Within;

/// All but what a URL never gives a meaning to (RFC 3986, section 2.3).
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// What can't stand in a path, which may be given as several segments.
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');
/// What can't stand in a query, which may be given as several parameters.
const QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>');

/// Where in a string a reference stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In a text that isn't a URL, or as the URL or its beginning.
    Text,
    /// In the user name or password of a URL.
    User,
    /// In the host or port.
    Host,
    /// In the path.
    Path,
    /// The value of a parameter.
    Parameter,
    /// Elsewhere in the query, or behind it.
    Query,
}

impl Place {
    /// Whether a value here can be a credential, though its key does not say so.
    pub(super) fn is_private(self) -> bool {
        matches!(self, Self::User | Self::Path | Self::Parameter)
    }
}

/// Where references such as `${NAME}` stand; `$${` does not begin one.
pub(super) fn references(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = text[at..].find("${").map(|start| at + start) {
        if text[at..start].ends_with('$') {
            at = start + 2;
            continue;
        }
        let Some(end) = text[start..].find('}').map(|end| start + end + 1) else {
            break;
        };
        found.push(start..end);
        at = end;
    }
    found
}

/// The references in a string, and where each stands.
pub(super) fn places(holds: Holds, text: &str) -> Vec<(Range<usize>, Place)> {
    let found = references(text);
    let url = Url::of(holds, text, &found);
    found
        .into_iter()
        .map(|range| {
            let place = url.as_ref().map_or(Place::Text, |url| url.place(&range));
            (range, place)
        })
        .collect()
}

/// The parts of a URL that holds references.
struct Url {
    /// The text with letters in place of references.
    shape: String,
    /// Where the authority begins.
    start: usize,
    /// Where the user name ends.
    at: Option<usize>,
    /// Where the path begins.
    path: usize,
    /// Where the query begins.
    query: usize,
}

impl Url {
    fn of(holds: Holds, text: &str, references: &[Range<usize>]) -> Option<Self> {
        if !matches!(holds, Holds::Url | Holds::Webhook) || references.is_empty() {
            return None;
        }
        let mut shape = text.to_owned();
        for range in references {
            shape.replace_range(range.clone(), &"x".repeat(range.len()));
        }
        let start = shape.find("://")? + 3;
        let first = |from: usize, to: usize, chars: &[char]| {
            shape[from..to].find(chars).map_or(to, |at| from + at)
        };
        let end = shape.len();
        // The driver of PostgreSQL takes all in front of the first @ for user and password.
        let early = shape[start..].find('@').map(|at| start + at);
        let early = early.filter(|_| shape.starts_with("postgres"));
        let query = first(early.unwrap_or(start), end, &['?', '#']);
        let path = first(early.unwrap_or(start), query, &['/']);
        let at = early.or_else(|| shape[start..path].rfind('@').map(|at| start + at));
        Some(Self {
            shape,
            start,
            at,
            path,
            query,
        })
    }

    fn place(&self, reference: &Range<usize>) -> Place {
        let start = reference.start;
        if start < self.start {
            Place::Text
        } else if self.at.is_some_and(|at| start < at) {
            Place::User
        } else if start < self.path {
            Place::Host
        } else if start < self.query {
            Place::Path
        } else {
            let before = &self.shape[self.query..start];
            let pair = before.rsplit(['?', '&', '#']).next().unwrap_or_default();
            if pair.contains('=') && !before.contains('#') {
                Place::Parameter
            } else {
                Place::Query
            }
        }
    }
}

/// A value as it has to be written in its place.
pub(super) fn written(value: &str, place: Place) -> Cow<'_, str> {
    let value = value.trim_end_matches(['\n', '\r']);
    match place {
        Place::Text | Place::Host => value.into(),
        Place::User | Place::Parameter => utf8_percent_encode(value, COMPONENT).into(),
        Place::Path => {
            let encoded: Cow<'_, str> = utf8_percent_encode(value, PATH).into();
            without_bare_percent(&encoded).into()
        }
        Place::Query => utf8_percent_encode(value, QUERY).into(),
    }
}

/// A path with `%25` for each `%` that begins no escape.
fn without_bare_percent(path: &str) -> String {
    let mut parts = path.split('%');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.as_bytes().get(..2);
        let is_escape = digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        out.push_str(if is_escape { "%" } else { "%25" });
        out.push_str(part);
    }
    out
}

/// A text with others in some places, in their order.
pub(super) fn replaced<'t>(
    text: &str,
    places: impl IntoIterator<Item = (Range<usize>, &'t str)>,
) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for (place, new) in places {
        out.push_str(&text[from..place.start]);
        out.push_str(new);
        from = place.end;
    }
    out.push_str(&text[from..]);
    out
}

/// Replaces every macro in the tree's strings; answers with those that stand for nothing.
pub(super) fn expand(
    node: &mut Node,
    within: Within<'_>,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Vec<(Position, String)> {
    let mut unresolved = Vec::new();
    walk(node, within, lookup, &mut unresolved);
    unresolved
}

fn walk(
    node: &mut Node,
    within: Within<'_>,
    lookup: &dyn Fn(&str) -> Option<String>,
    unresolved: &mut Vec<(Position, String)>,
) {
    match &mut node.value {
        Value::String(text) if text.contains("${") => {
            *text = replace(within.holds, text, lookup, |name| {
                unresolved.push((node.at, name.to_owned()));
            });
        }
        Value::Array(items) => {
            for item in items {
                walk(item, within, lookup, unresolved);
            }
        }
        Value::Object(members) => {
            for member in members {
                walk(
                    &mut member.node,
                    within.member(&member.key),
                    lookup,
                    unresolved,
                );
            }
        }
        _ => {}
    }
}

fn replace(
    holds: Holds,
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    mut missing: impl FnMut(&str),
) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for (range, place) in places(holds, text) {
        out.push_str(&text[from..range.start].replace("$${", "${"));
        let name = &text[range.start + 2..range.end - 1];
        match lookup(name) {
            Some(value) => out.push_str(&written(&value, place)),
            None => missing(name),
        }
        from = range.end;
    }
    let rest = text[from..].replace("$${", "\0");
    if let Some((_, name)) = rest.split_once("${") {
        missing(name);
    }
    out.push_str(&rest.replace('\0', "${"));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::within::by_name;

    #[test]
    fn macros_are_replaced_once_and_missing_ones_named() {
        let lookup = |name: &str| (name == "A").then(|| "${B}".to_owned());
        let mut missing = Vec::new();
        let out = replace(Holds::Nothing, "x${A}y$${A}${C}${D", &lookup, |name| {
            missing.push(name.to_owned());
        });
        assert_eq!(out, "x${B}y${A}${D");
        assert_eq!(missing, ["C", "D"]);
    }

    #[test]
    fn a_value_is_written_as_its_place_in_a_url_needs() {
        let lookup = |name: &str| {
            let value = match name {
                "PW" => "p@ss:w%rd#1/2?3 4\n",
                "URL" => "postgres://u:p%40ss@db/x\r\n",
                "PATH" => "T0/B0%2F/a b?50%",
                "HOST" => "db.test:5433",
                "QUERY" => "a=b&c=d e",
                _ => return None,
            };
            Some(value.to_owned())
        };
        for (key, text, expected) in [
            (
                "url",
                "postgres://iris:${PW}@${HOST}/iris",
                "postgres://iris:p%40ss%3Aw%25rd%231%2F2%3F3%204@db.test:5433/iris",
            ),
            ("url", "${URL}", "postgres://u:p%40ss@db/x"),
            (
                "url",
                "postgres://db/x?user=u&password=${PW}",
                "postgres://db/x?user=u&password=p%40ss%3Aw%25rd%231%2F2%3F3%204",
            ),
            (
                "url",
                "postgres://iris:a/b?${PW}@db/x",
                "postgres://iris:a/b?p%40ss%3Aw%25rd%231%2F2%3F3%204@db/x",
            ),
            (
                "url",
                "https://h/${PATH}/x",
                "https://h/T0/B0%2F/a%20b%3F50%25/x",
            ),
            (
                "endpoint",
                "https://h/x?${QUERY}",
                "https://h/x?a=b&c=d%20e",
            ),
            ("baseurl", "http://${HOST}/v1", "http://db.test:5433/v1"),
            ("apikey", "https://${PW}@h", "https://p@ss:w%rd#1/2?3 4@h"),
            ("description", "${PW}", "p@ss:w%rd#1/2?3 4"),
        ] {
            let out = replace(by_name("", key), text, &lookup, |name| panic!("{name}"));
            assert_eq!(out, expected, "{text}");
        }
    }
}
