//! Guards: what is looked for in a request without asking anybody.

mod detect;
mod text;
mod tools;

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use indexmap::IndexMap;
use regex::Regex;

use crate::api::{Api, Call};
use crate::config::{self, Guard, GuardAction, GuardKind};
use crate::wire::{Rejection, json, multipart};
use text::Text;

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

/// A request that is looked at.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Its format.
    pub api: &'a dyn Api,
    /// As its format understands it.
    pub call: &'a Call,
    /// The content type of its body.
    pub kind: &'a str,
}

impl Request<'_> {
    /// Formats take objects and forms, nothing else.
    fn is_form(&self) -> bool {
        self.call.body.trim_ascii_start().first() != Some(&b'{')
    }
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

    /// Has a guard look at a request.
    ///
    /// # Errors
    /// A 503 for a guard that there is not: what it should stop must not pass.
    pub fn look(&self, name: &str, request: Request<'_>) -> Result<Found, Rejection> {
        let guard = self
            .0
            .get(name)
            .ok_or_else(|| super::ask::unavailable(name))?;
        Ok(match &guard.look {
            Look::Patterns(detectors) => patterns(name, guard.action, detectors, request),
            Look::Tools(allow) => tools::look(name, guard.action, allow, request),
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

impl Detector {
    /// The first group of a pattern, if it has one, is what counts; what stands around it only
    /// says what it is. After what does not hold the search goes on with its next character: a
    /// card's number may stand behind another number. Patterns that may be refused have bounds,
    /// so that this stays cheap.
    fn find(&self, text: &str) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        let mut from = 0;
        while from <= text.len()
            && let Some(captures) = self.next(text, from)
        {
            if captures.is_empty() || !(self.holds)(&text[captures.clone()]) {
                let skipped = text[captures.start..].chars().next();
                from = captures.start + skipped.map_or(1, char::len_utf8);
            } else {
                from = captures.end;
                found.push(captures);
            }
        }
        found
    }

    fn next(&self, text: &str, from: usize) -> Option<Range<usize>> {
        if self.pattern.captures_len() == 1 {
            return self.pattern.find_at(text, from).map(|found| found.range());
        }
        let captures = self.pattern.captures_at(text, from)?;
        let found = captures.get(1).or_else(|| captures.get(0))?;
        Some(found.range())
    }
}

fn patterns(
    name: &str,
    action: GuardAction,
    detectors: &[Detector],
    request: Request<'_>,
) -> Found {
    let body = &request.call.body;
    let mut counts: IndexMap<&str, usize> = IndexMap::new();
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    for text in texts(request) {
        for (at, what) in hits(detectors, text.decoded()) {
            *counts.entry(what).or_default() += 1;
            if action == GuardAction::Redact {
                edits.push((text.place(at), format!("[redacted {what}]")));
            }
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
            let found = detector.find(text).into_iter();
            found.map(|range| (range, detector.name.as_str()))
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

/// What is said in a request: the strings of an object, the fields of a form that are no files.
fn texts(request: Request<'_>) -> Vec<Text<'_>> {
    let call = request.call;
    let body = &call.body[..];
    if request.is_form() {
        let fields = multipart::texts(body, request.kind).unwrap_or_default();
        let text = |at| Text::plain(body, at);
        return fields.into_iter().filter_map(text).collect();
    }
    let opaque = |key: &Range<usize>| {
        let key = json::string(&body[key.clone()]).unwrap_or_default();
        request.api.opaque().contains(&&*key)
    };
    let said = json::strings(body).into_iter().filter(|text| {
        // By the model's name it is decided already where the request goes.
        call.splice.model.as_ref() != Some(&text.at) && !text.key.as_ref().is_some_and(opaque)
    });
    said.filter_map(|text| Text::of_json(body, text.at))
        .filter(|text| !is_file(text.decoded()))
        .collect()
}

/// An image or another file in base64, and nothing besides.
fn is_file(text: &str) -> bool {
    let Some((kind, data)) = text
        .strip_prefix("data:")
        .and_then(|rest| rest.split_once(";base64,"))
    else {
        return false;
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/+.-=;".contains(&byte);
    kind.len() < 128
        && kind.bytes().all(plain)
        && data
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+/=-_".contains(&byte))
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

    fn request(body: &str) -> (&'static dyn Api, Call) {
        let api = crate::api::ALL[0];
        let head = crate::api::Head {
            path: "/v1/chat/completions",
            query: None,
            headers: &http::HeaderMap::new(),
        };
        let body = Bytes::copy_from_slice(body.as_bytes());
        (api, api.read(&head, body).unwrap())
    }

    fn look(definition: &str, body: &str) -> Found {
        let text = format!(r#"{{"guards":{{"g":{definition}}}}}"#);
        let file = config::parse(&text, &|_| None).unwrap().file;
        let (guards, problems) = Guards::compile(&file);
        assert!(problems.is_empty(), "{problems:?}");
        let (api, call) = &request(body);
        let kind = "application/json";
        guards
            .look(
                "g",
                Request {
                    api: *api,
                    call,
                    kind,
                },
            )
            .unwrap()
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
        let body = r#"{"model":"m","input":"tell me of Project  Zeus"}"#;
        let Found::Blocked(rejection, _) = look(definition, body) else {
            panic!("it passed");
        };
        assert_eq!(rejection.status, 403);
        assert!(!rejection.message.contains("Zeus"));
        assert!(matches!(
            look(definition, r#"{"model":"m","project zeus":"a"}"#),
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
            let (api, call) = &request(r#"{"model":"m"}"#);
            let request = Request {
                api: *api,
                call,
                kind: "",
            };
            assert_eq!(guards.look("g", request).unwrap_err().status, 503);
        }
        assert!(config::parse(r#"{"guards":{"g":{"kind":"x"}}}"#, &|_| None).is_err());
    }

    #[test]
    fn what_stands_behind_a_near_miss_is_found() {
        let definition = r#"{"kind":"patterns","detect":["credit_card","private_key","api_key","openai_key","email"],"action":"redact"}"#;
        for (text, left) in [
            (
                "no 3456 4111 1111 1111 1111, 3782 822463 10005.",
                "no 3456 [redacted credit_card], [redacted credit_card].",
            ),
            (
                "-----BEGIN RSA PRIVATE KEY-----\\nMIIE cut off",
                "[redacted private_key]",
            ),
            (
                "api_key = 'aB3dE5fG7hJ9kL1m', and so on",
                "api_key = '[redacted api_key]', and so on",
            ),
            (
                "sk-learn-is-a-library-for-machine-learning-in-python and git@github.com:a/b, logo@2x.png",
                "",
            ),
            ("the api key: see the page of the provider", ""),
        ] {
            let body = format!(r#"{{"model":"m","input":"{text}"}}"#);
            match look(definition, &body) {
                Found::Removed(found, _) => {
                    assert_eq!(found, format!(r#"{{"model":"m","input":"{left}"}}"#));
                }
                _ => assert_eq!(left, "", "{text}"),
            }
        }
    }

    #[test]
    fn what_is_refused_again_and_again_stays_cheap() {
        let names = detect::names();
        let detectors: Vec<Detector> = names
            .iter()
            .filter_map(|name| detect::known(name))
            .collect();
        assert_eq!(detectors.len(), names.len());
        let began = std::time::Instant::now();
        for piece in [
            "sk-",
            "1 ",
            "4111 ",
            "DE89 ",
            "eyJeyJeyJ.",
            "a@",
            "+1 23 ",
            "api_key=a",
        ] {
            hits(&detectors, &piece.repeat(40_000));
        }
        let took = began.elapsed();
        assert!(took < std::time::Duration::from_mins(1), "{took:?}");
    }
}
