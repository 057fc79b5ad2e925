//! Patterns over `provider/model` names and over paths: `*` stays within a segment, `**` spans any number.

use std::fmt;

use super::Subject;
use crate::base::text::Text;

/// A compiled pattern.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(from = "String")]
pub struct ModelPattern {
    text: Text,
    glob: Glob,
}

/// A compiled pattern over the path of a URL, such as `/v1/**`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(from = "String")]
pub struct PathPattern {
    text: Text,
    glob: Glob,
}

/// Segments that names have to match.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Glob(Vec<Segment>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    /// `**`: zero or more segments.
    Any,
    /// The pieces between the stars of one segment.
    Pieces(Vec<String>),
}

/// Every string is a pattern.
impl From<String> for ModelPattern {
    fn from(text: String) -> Self {
        let glob = Glob::of(&text);
        Self {
            text: text.into(),
            glob,
        }
    }
}

/// Every string is a pattern.
impl From<String> for PathPattern {
    fn from(text: String) -> Self {
        let glob = Glob::of(&text);
        Self {
            text: text.into(),
            glob,
        }
    }
}

impl PathPattern {
    /// As it is written.
    pub fn text(&self) -> Text {
        self.text.clone()
    }

    /// Whether a path is covered.
    pub fn matches(&self, path: &str) -> bool {
        self.glob.matches(&path.split('/').collect::<Vec<_>>())
    }
}

impl ModelPattern {
    /// As it is written.
    pub fn text(&self) -> Text {
        self.text.clone()
    }

    /// Whether the subject is a model that is covered.
    pub fn matches(&self, subject: Subject<'_>) -> bool {
        let Subject::Model { provider, model } = subject else {
            return false;
        };
        let name: Vec<&str> = std::iter::once(provider).chain(model.split('/')).collect();
        self.glob.matches(&name)
    }
}

impl Glob {
    fn of(text: &str) -> Self {
        let segments = text.split('/').map(|segment| match segment {
            "**" => Segment::Any,
            other => Segment::Pieces(other.split('*').map(str::to_owned).collect()),
        });
        Self(segments.collect())
    }

    fn matches(&self, name: &[&str]) -> bool {
        // Which prefixes of the name the pattern so far can have consumed: linear in
        // pattern × name, where backtracking would be exponential.
        let mut reached = vec![false; name.len() + 1];
        reached[0] = true;
        for segment in &self.0 {
            let mut next = vec![false; name.len() + 1];
            match segment {
                Segment::Any => {
                    let mut seen = false;
                    for at in 0..=name.len() {
                        seen |= reached[at];
                        next[at] = seen;
                    }
                }
                Segment::Pieces(pieces) => {
                    for at in 0..name.len() {
                        next[at + 1] = reached[at] && are_in(pieces, name[at]);
                    }
                }
            }
            reached = next;
        }
        reached[name.len()]
    }
}

/// Whether a segment of a pattern, such as `aws-*`, matches the name of a provider, a server or a tool.
pub fn is_named(name: &str, segment: &str) -> bool {
    let pieces: Vec<&str> = segment.split('*').collect();
    are_in(&pieces, name)
}

/// Whether the text is the pieces in order with anything between them.
fn are_in(pieces: &[impl AsRef<str>], text: &str) -> bool {
    let [first, middle @ .., last] = pieces else {
        return pieces.first().is_some_and(|only| only.as_ref() == text);
    };
    let Some(mut rest) = text.strip_prefix(first.as_ref()) else {
        return false;
    };
    for piece in middle {
        let Some(at) = rest.find(piece.as_ref()) else {
            return false;
        };
        rest = &rest[at + piece.as_ref().len()..];
    }
    rest.ends_with(last.as_ref())
}

impl fmt::Display for ModelPattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rule itself, by recursion: what the compiled pattern has to agree with.
    fn reference(pattern: &[&str], name: &[&str]) -> bool {
        match pattern {
            [] => name.is_empty(),
            ["**", rest @ ..] => (0..=name.len()).any(|taken| reference(rest, &name[taken..])),
            [segment, rest @ ..] => {
                name.first()
                    .is_some_and(|first| star(segment.as_bytes(), first.as_bytes()))
                    && reference(rest, &name[1..])
            }
        }
    }

    fn star(pattern: &[u8], text: &[u8]) -> bool {
        match pattern {
            [] => text.is_empty(),
            [b'*', rest @ ..] => (0..=text.len()).any(|taken| star(rest, &text[taken..])),
            [byte, rest @ ..] => text.first() == Some(byte) && star(rest, &text[1..]),
        }
    }

    #[test]
    fn the_documented_examples() {
        for (pattern, provider, model, expected) in [
            ("**", "any", "thing/at/all", true),
            ("anthropic/**", "anthropic", "claude", true),
            ("anthropic/**", "anthropic-eu", "claude", false),
            ("openai/gpt-5", "openai", "gpt-5", true),
            ("openai/gpt-5", "openai", "gpt-5-mini", false),
            ("*/claude-sonnet*", "vertex", "claude-sonnet-4-5@1", true),
            ("aperture-*/**", "aperture-eu", "m", true),
            ("openrouter/*", "openrouter", "qwen/qwen3", false),
            ("openrouter/**", "openrouter", "qwen/qwen3", true),
            ("", "p", "m", false),
        ] {
            assert_eq!(
                ModelPattern::from(pattern.to_owned()).matches(Subject::model(provider, model)),
                expected,
                "{pattern}"
            );
        }
    }

    #[test]
    fn a_path_is_matched_by_its_segments() {
        for (pattern, path, expected) in [
            ("/v1/**", "/v1/chat/completions", true),
            ("/v1/*", "/v1/messages", true),
            ("/v1/*", "/v1/chat/completions", false),
            ("/v1/messages", "/v1/messages", true),
            ("/v1/messages", "/v1/messages/count_tokens", false),
            ("**", "/v1/messages", true),
            ("*", "/v1/messages", false),
            ("/v1/**", "/v1beta/models", false),
        ] {
            let pattern_of = PathPattern::from(pattern.to_owned());
            assert_eq!(pattern_of.matches(path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn pieces_of_a_segment_do_not_overlap() {
        for (segment, name, expected) in [
            ("*", "", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "axc", false),
            ("ab*bc", "abc", false),
            ("ab*bc", "abbc", true),
        ] {
            assert_eq!(is_named(name, segment), expected, "{segment} {name}");
        }
    }

    #[test]
    fn agrees_with_the_rule_on_every_small_case() {
        let patterns = [
            "a", "*", "**", "a*", "*a", "a*a", "*a*", "", "b*b", "a*b*b", "*a*a*",
        ];
        let texts = ["a", "aa", "ab", "b", "aba", "bb", ""];
        for first in patterns {
            for second in patterns {
                for third in [None, Some("**"), Some("*"), Some("a")] {
                    let mut parts = vec![first, second];
                    parts.extend(third);
                    let pattern = ModelPattern::from(parts.join("/"));
                    for provider in texts {
                        for model in ["a", "aa/b", "ab", "b/b/a", "", "a/"] {
                            let mut name = vec![provider];
                            name.extend(model.split('/'));
                            assert_eq!(
                                pattern.matches(Subject::model(provider, model)),
                                reference(&parts, &name),
                                "{pattern} on {provider}/{model}"
                            );
                        }
                    }
                }
            }
        }
    }
}
