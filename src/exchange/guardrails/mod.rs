//! Guards: what is looked for in a request without asking anybody.
//!
//! A caller chooses the text that a guard reads, so its work is bounded: each detector passes over a
//! text in linear time, a look has a time limit, and it stops once nobody waits for it.

mod content;
mod detector;
mod encoded;
mod fold;
mod inside;
mod keys;
mod kinds;
mod limits;
mod opaque;
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
pub use limits::Limits;
use limits::Stopped;
use detector::Detector;

/// The guards of a configuration, ready to look.
#[derive(Debug)]
pub struct Guards {
    by_name: IndexMap<String, Ready>,
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
struct Ready {
    action: GuardAction,
    look: Look,
}

#[derive(Debug)]
enum Look {
    Patterns(Vec<Detector>),
    Tools(Vec<String>),
}

/// A request that is looked at.
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

/// What a guard has found in a request.
#[derive(Debug)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// What is only put on record.
    Reported(Vec<String>),
    /// The request without what was found, and what that was.
    Removed(Bytes, String),
    /// The refusal of the request, and what it is for.
    Blocked(Rejection, String),
}

impl Guards {
    /// Compiles the guards of a configuration; a pattern or a name that is none comes back with
    /// the guard that has it.
    #[must_use]
    pub fn compile(file: &config::File) -> (Self, Vec<(String, String)>) {
        let mut guards = Self::default();
        let mut problems = Vec::new();
        for (name, guard) in &file.guards {
            match Ready::new(guard) {
                Ok(guard) => {
                    guards.by_name.insert(name.clone(), guard);
                }
                Err(problem) => problems.push((name.clone(), problem)),
            }
        }
        (guards, problems)
    }

    /// Has a guard look at a request, within `limits`.
    ///
    /// # Errors
    /// A 503 for a guard that is not defined, and for one that could not finish: what it should
    /// stop must not pass.
    pub fn look(
        &self,
        name: &str,
        request: Request<'_>,
        limits: &Limits,
    ) -> Result<Found, Rejection> {
        let guard = self
            .by_name
            .get(name)
            .ok_or_else(|| crate::exchange::hooks::unavailable(name))?;
        let unknown = unknown::look(name, guard.action, request);
        if matches!(unknown, Found::Blocked(..)) {
            return Ok(unknown);
        }
        let found = match &guard.look {
            Look::Patterns(detectors) => {
                detector::look(name, guard.action, detectors, (request, limits))
                    .map_err(|stopped| unfinished(name, stopped))?
            }
            Look::Tools(allow) => tools::look(name, guard.action, allow, request),
        };
        Ok(match (unknown, found) {
            (unknown, Found::Nothing) => unknown,
            (Found::Reported(mut all), Found::Reported(more)) => {
                all.extend(more);
                Found::Reported(all)
            }
            (_, found) => found,
        })
    }

    /// Room for a look at a long request: they are as many at once as there are processors.
    ///
    /// # Errors
    /// A 503 if there is none for as long as a look may take.
    pub async fn room(&self, name: &str) -> Result<tokio::sync::OwnedSemaphorePermit, Rejection> {
        let room = Arc::clone(&self.room).acquire_owned();
        match crate::base::clock::within(limits::LONGEST, room).await {
            Ok(Ok(room)) => Ok(room),
            _ => Err(unfinished(name, Stopped)),
        }
    }
}

impl Ready {
    fn new(guard: &Guard) -> Result<Self, String> {
        let look = match &guard.kind {
            GuardKind::Patterns { detect, patterns } => {
                let mut detectors = Vec::new();
                for name in detect {
                    detectors.push(kinds::known(name).ok_or_else(|| {
                        format!(
                            "{name:?} is not known; known are {}",
                            kinds::names().join(", ")
                        )
                    })?);
                }
                for (nth, pattern) in patterns.iter().enumerate() {
                    let name = format!("pattern {}", nth + 1);
                    detectors.push(Detector::own(name, pattern)?);
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

/// The refusal of a request that a guard could not look at to its end.
fn unfinished(name: &str, _: Stopped) -> Rejection {
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
mod tests;
