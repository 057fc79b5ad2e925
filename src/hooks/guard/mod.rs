//! Guards: what is looked for in a request without asking anybody.

mod detect;
mod tools;

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use indexmap::IndexMap;
use regex::Regex;

use crate::config::{self, Guard, GuardAction, GuardKind};
use crate::wire::{Rejection, json};

/// The guards of a configuration, ready to look.
#[derive(Debug, Default)]
pub struct Guards(IndexMap<String, Ready>);

#[derive(Debug)]
struct Ready {
    action: GuardAction,
    look: Look,
}

#[derive(Debug)]
enum Look {
    Patterns(Vec<Detector>),
    Tools(Vec<String>),
}

/// Finds one kind of thing.
#[derive(Debug)]
struct Detector {
    name: String,
    pattern: Regex,
    /// What a match must be besides, such as to have a right check digit.
    holds: fn(&str) -> bool,
}

/// What a guard has found in a request.
#[derive(Debug)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// Something that is no reason to stop; a sentence for the record.
    Reported(String),
    /// Something that was taken out: the request without it, and a sentence for the record.
    Removed(Bytes, String),
    /// Something for which the request is refused, and a sentence for the record.
    Blocked(Rejection, String),
}

impl Guards {
    /// Compiles the guards of a configuration; a pattern or a name that is none comes back with
    /// the guard that has it.
    #[must_use]
    pub fn compile(file: &config::File) -> (Self, Vec<(String, String)>) {
        let mut ready = IndexMap::new();
        let mut problems = Vec::new();
        for (name, guard) in &file.guards {
            match Ready::new(guard) {
                Ok(guard) => {
                    ready.insert(name.clone(), guard);
                }
                Err(problem) => problems.push((name.clone(), problem)),
            }
        }
        (Self(ready), problems)
    }

    /// Has a guard look at the body of a request.
    ///
    /// # Errors
    /// A 503 for a guard that there is not: what it should stop must not pass.
    pub fn look(&self, name: &str, body: &Bytes) -> Result<Found, Rejection> {
        let guard = self
            .0
            .get(name)
            .ok_or_else(|| super::ask::unavailable(name))?;
        Ok(match &guard.look {
            Look::Patterns(detectors) => patterns(name, guard.action, detectors, body),
            Look::Tools(allow) => tools::look(name, guard.action, allow, body),
        })
    }
}

impl Ready {
    fn new(guard: &Guard) -> Result<Self, String> {
        let look = match &guard.kind {
            GuardKind::Patterns { detect, patterns } => {
                let mut detectors = Vec::new();
                for name in detect {
                    detectors.push(detect::known(name).ok_or_else(|| {
                        format!(
                            "{name:?} is not known; known are {}",
                            detect::names().join(", ")
                        )
                    })?);
                }
                for (nth, pattern) in patterns.iter().enumerate() {
                    let compiled = regex::RegexBuilder::new(pattern)
                        .size_limit(1 << 20)
                        .build()
                        .map_err(|error| format!("{pattern:?} is no pattern: {error}"))?;
                    detectors.push(Detector {
                        name: format!("pattern {}", nth + 1),
                        pattern: compiled,
                        holds: |_| true,
                    });
                }
                if detectors.is_empty() {
                    return Err("it has nothing to look for".to_owned());
                }
                Look::Patterns(detectors)
            }
            GuardKind::Tools { allow } => Look::Tools(allow.clone()),
        };
        Ok(Self {
            action: guard.action,
            look,
        })
    }
}

/// The refusal of a guard. What it has found is not said: it may be somebody's secret.
fn blocked(name: &str, what: &str) -> Rejection {
    Rejection::new(
        StatusCode::FORBIDDEN,
        "guardrail_blocked",
        format!("request blocked by guardrail {name:?}: it has {what}"),
    )
}

fn patterns(name: &str, action: GuardAction, detectors: &[Detector], body: &Bytes) -> Found {
    let mut counts: IndexMap<&str, usize> = IndexMap::new();
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    for at in json::strings(body) {
        let Some(text) = json::string(&body[at.clone()]) else {
            continue;
        };
        // An image or a file, not something said.
        if text.starts_with("data:") {
            continue;
        }
        let hits = hits(detectors, &text);
        if hits.is_empty() {
            continue;
        }
        for (_, what) in &hits {
            *counts.entry(what).or_default() += 1;
        }
        if action == GuardAction::Redact {
            let left = redacted(&text, &hits);
            edits.push((at, serde_json::Value::from(left).to_string()));
        }
    }
    if counts.is_empty() {
        return Found::Nothing;
    }
    let what: Vec<String> = counts
        .iter()
        .map(|(what, count)| format!("{count} × {what}"))
        .collect();
    let what = what.join(", ");
    match action {
        GuardAction::Report => Found::Reported(format!("guard {name} has found {what}")),
        GuardAction::Block => Found::Blocked(
            blocked(name, &what),
            format!("guard {name} blocks it for {what}"),
        ),
        GuardAction::Redact => Found::Removed(
            spliced(body, &edits),
            format!("guard {name} has taken out {what}"),
        ),
    }
}

/// What is found in a text, in its order; of what overlaps, the first and longest.
fn hits<'d>(detectors: &'d [Detector], text: &str) -> Vec<(Range<usize>, &'d str)> {
    let mut all: Vec<(Range<usize>, &str)> = detectors
        .iter()
        .flat_map(|detector| {
            detector
                .pattern
                .find_iter(text)
                .filter(|found| !found.is_empty() && (detector.holds)(found.as_str()))
                .map(|found| (found.range(), detector.name.as_str()))
        })
        .collect();
    all.sort_by_key(|(range, _)| (range.start, std::cmp::Reverse(range.end)));
    let mut end = 0;
    all.retain(|(range, _)| {
        let apart = range.start >= end;
        end = if apart { range.end } else { end };
        apart
    });
    all
}

fn redacted(text: &str, hits: &[(Range<usize>, &str)]) -> String {
    let mut left = String::with_capacity(text.len());
    let mut at = 0;
    for (range, what) in hits {
        left.push_str(&text[at..range.start]);
        left.push_str("[redacted ");
        left.push_str(what);
        left.push(']');
        at = range.end;
    }
    left.push_str(&text[at..]);
    left
}

/// The body with other text at some places; all else is as it was.
fn spliced(body: &[u8], edits: &[(Range<usize>, String)]) -> Bytes {
    let mut left = BytesMut::with_capacity(body.len());
    let mut at = 0;
    for (range, text) in edits {
        left.extend_from_slice(&body[at..range.start]);
        left.extend_from_slice(text.as_bytes());
        at = range.end;
    }
    left.extend_from_slice(&body[at..]);
    left.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(definition: &str, body: &str) -> Found {
        let text = format!(r#"{{"guards":{{"g":{definition}}}}}"#);
        let file = config::parse(&text, &|_| None).unwrap().file;
        let (guards, problems) = Guards::compile(&file);
        assert!(problems.is_empty(), "{problems:?}");
        let body = Bytes::copy_from_slice(body.as_bytes());
        guards.look("g", &body).unwrap()
    }

    #[test]
    fn what_is_found_is_taken_out_and_all_else_is_as_it_was() {
        let body = r#"{ "model" : "m", "messages":[{"role":"user","content":"mail \"ann@example.com\" or 4111 1111 1111 1111"}], "n":1.0 }"#;
        let definition =
            r#"{"kind":"patterns","detect":["email","credit_card"],"action":"redact"}"#;
        let Found::Removed(left, told) = look(definition, body) else {
            panic!("nothing was found");
        };
        let expected = body
            .replace("ann@example.com", "[redacted email]")
            .replace("4111 1111 1111 1111", "[redacted credit_card]");
        assert_eq!(left, expected);
        assert_eq!(told, "guard g has taken out 1 × email, 1 × credit_card");
    }

    #[test]
    fn own_patterns_block_and_are_not_repeated() {
        let definition = r#"{"kind":"patterns","patterns":["(?i)project\\s+zeus"]}"#;
        let body = r#"{"input":"tell me of Project  Zeus"}"#;
        let Found::Blocked(rejection, _) = look(definition, body) else {
            panic!("it passed");
        };
        assert_eq!(rejection.status, 403);
        assert!(!rejection.message.contains("Zeus"));
        assert!(matches!(
            look(definition, r#"{"project zeus":"a"}"#),
            Found::Nothing
        ));
        let report = definition.replace("]}", r#"],"action":"report"}"#);
        assert!(matches!(look(&report, body), Found::Reported(_)));
    }

    #[test]
    fn guards_that_can_not_look_are_found() {
        for guard in [
            r#"{"kind":"patterns","detect":["everything"]}"#,
            r#"{"kind":"patterns","patterns":["("]}"#,
            r#"{"kind":"patterns"}"#,
        ] {
            let text = format!(r#"{{"guards":{{"g":{guard}}}}}"#);
            let file = config::parse(&text, &|_| None).unwrap().file;
            let (guards, problems) = Guards::compile(&file);
            assert_eq!(problems.len(), 1, "{guard}");
            assert_eq!(guards.look("g", &Bytes::new()).unwrap_err().status, 503);
        }
        assert!(config::parse(r#"{"guards":{"g":{"kind":"x"}}}"#, &|_| None).is_err());
    }
}
