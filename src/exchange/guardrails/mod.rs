//! Guardrails that are built in: what is looked for in a request without asking another server.
//!
//! A caller chooses the text that a guardrail reads, so its work is bounded: each detector passes over a
//! text in linear time, an inspection has a time limit, and it stops once no caller waits for it.

mod content;
mod detector;
mod encoded;
mod fold;
mod inside;
mod keys;
mod kinds;
mod limits;
mod opaque;
mod patterns;
mod text;
mod tools;
mod unknown;

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use indexmap::IndexMap;
use tokio::sync::Semaphore;

use crate::config::{self, Guard, GuardAction, GuardKind};
use crate::formats::{Call, Format};
use crate::wire::Rejection;
use detector::Detector;
pub use limits::Limits;

/// Between two texts that are read as one, so that no pattern matches across both.
const BETWEEN: &str = "\n\0\n";

/// The guardrails of a configuration, compiled.
#[derive(Debug)]
pub struct Guards {
    by_name: IndexMap<String, Guardrail>,
    room: Arc<Semaphore>,
}

impl Default for Guards {
    fn default() -> Self {
        Self {
            by_name: IndexMap::new(),
            room: Arc::new(Semaphore::new(limits::at_once())),
        }
    }
}

#[derive(Debug)]
struct Guardrail {
    action: GuardAction,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Patterns(Vec<Detector>),
    /// Names and globs of the tools that are allowed.
    Tools(Vec<String>),
}

/// A request to inspect.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Its format.
    pub api: &'a Format,
    /// As its format understands it.
    pub call: &'a Call,
    /// The content type of its body.
    pub kind: &'a str,
    /// Keys that its provider's configuration allows besides those of the format.
    pub pass_keys: &'a [String],
}

impl Request<'_> {
    /// Formats take objects and forms, nothing else.
    fn is_form(&self) -> bool {
        self.call.body.trim_ascii_start().first() != Some(&b'{')
    }
}

/// What a guardrail has decided on a request.
#[derive(Debug)]
pub enum Verdict {
    /// It has found nothing.
    Passed,
    /// What is only put on record.
    Reported(Vec<String>),
    /// The request without what was found, and what that was.
    Redacted(Bytes, String),
    /// The refusal of the request, and what it is for.
    Blocked(Rejection, String),
}

/// What was found in a request.
struct Finding {
    what: String,
    /// The body without it, if it is to be taken out and can be.
    redacted: Option<Bytes>,
}

/// Text for a place of a body.
type Edit = (Range<usize>, String);

impl Guards {
    /// Compiles the guardrails of a configuration. Those with an invalid pattern or name are left out;
    /// each comes back with what is wrong.
    pub fn compile(file: &config::File) -> (Self, Vec<(String, String)>) {
        let mut guards = Self::default();
        let mut problems = Vec::new();
        for (name, guard) in &file.guards {
            match Guardrail::new(guard) {
                Ok(guardrail) => drop(guards.by_name.insert(name.clone(), guardrail)),
                Err(problem) => problems.push((name.clone(), problem)),
            }
        }
        (guards, problems)
    }

    /// Has a guardrail inspect a request, within `limits`.
    ///
    /// # Errors
    /// A 503 for a guardrail that is not defined, and for one that could not finish: what it should
    /// stop must not pass.
    pub fn inspect(
        &self,
        name: &str,
        request: Request<'_>,
        limits: &Limits,
    ) -> Result<Verdict, Rejection> {
        let Guardrail { action, kind } = self
            .by_name
            .get(name)
            .ok_or_else(|| crate::exchange::hooks::unavailable(name))?;
        let unknown = unknown::inspect(request);
        if let Some(what) = &unknown
            && *action != GuardAction::Report
        {
            let advice = "remove them, or have an admin list them in the provider's `pass_keys`";
            let rejection = blocked(name, &format!("{what}; {advice}"));
            return Ok(Verdict::Blocked(rejection, what.clone()));
        }
        let redacts = *action == GuardAction::Redact;
        let found = match kind {
            Kind::Patterns(detectors) => patterns::inspect(detectors, redacts, request, limits)
                .map_err(|_| unfinished(name))?,
            Kind::Tools(allow) => tools::inspect(allow, redacts, request),
        };
        Ok(match (action, found) {
            (GuardAction::Report, found) => {
                let found = found.map(|found| found.what);
                let all: Vec<String> = unknown.into_iter().chain(found).collect();
                if all.is_empty() {
                    Verdict::Passed
                } else {
                    Verdict::Reported(all)
                }
            }
            (_, None) => Verdict::Passed,
            (_, Some(Finding { what, redacted })) => match redacted {
                Some(body) => Verdict::Redacted(body, what),
                None => Verdict::Blocked(blocked(name, &what), what),
            },
        })
    }

    /// Room to inspect a long request: as many are inspected at once as there are processors.
    ///
    /// # Errors
    /// A 503 if none becomes free within the time of an inspection.
    pub async fn room(&self, name: &str) -> Result<tokio::sync::OwnedSemaphorePermit, Rejection> {
        let room = Arc::clone(&self.room).acquire_owned();
        match crate::base::clock::within(limits::LONGEST, room).await {
            Ok(Ok(room)) => Ok(room),
            _ => Err(unfinished(name)),
        }
    }
}

impl Guardrail {
    fn new(guard: &Guard) -> Result<Self, String> {
        let kind = match &guard.kind {
            GuardKind::Patterns { detect, patterns } => {
                let built_in = detect.iter().map(|name| {
                    kinds::detector(name).ok_or_else(|| {
                        let known = kinds::names().join(", ");
                        format!("{name:?} is not known; known are {known}")
                    })
                });
                let own = patterns
                    .iter()
                    .enumerate()
                    .map(|(nth, pattern)| Detector::own(format!("pattern {}", nth + 1), pattern));
                let detectors = built_in.chain(own).collect::<Result<Vec<_>, String>>()?;
                if detectors.is_empty() {
                    return Err("it has nothing to look for".to_owned());
                }
                Kind::Patterns(detectors)
            }
            GuardKind::Tools { allow } => Kind::Tools(allow.clone()),
        };
        let action = guard.action;
        Ok(Self { action, kind })
    }
}

/// The refusal of a guardrail. It doesn't show what was found, which may be a secret.
fn blocked(name: &str, what: &str) -> Rejection {
    Rejection::new(
        StatusCode::FORBIDDEN,
        "guardrail_blocked",
        format!("request blocked by guardrail {name:?}: it has {what}"),
    )
}

/// The refusal of a request that a guardrail could not inspect to its end.
fn unfinished(name: &str) -> Rejection {
    Rejection::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "guardrail_unavailable",
        format!(
            "the guardrail {name:?} did not finish within {} seconds: send a shorter request, or \
             try again later",
            limits::LONGEST.as_secs()
        ),
    )
}

/// The body with other text in some places, which are in order.
fn spliced(body: &[u8], edits: &[Edit]) -> Bytes {
    let mut spliced = BytesMut::with_capacity(body.len());
    let mut at = 0;
    for (range, text) in edits {
        spliced.extend_from_slice(&body[at..range.start]);
        spliced.extend_from_slice(text.as_bytes());
        at = range.end;
    }
    spliced.extend_from_slice(&body[at..]);
    spliced.freeze()
}

#[cfg(test)]
mod tests;
