//! Guardrails of the kind `patterns`: secrets, personal data and regular expressions in the content of
//! a request.

use std::cmp::Reverse;

use indexmap::IndexMap;

use super::content::Content;
use super::detector::{Detector, MOST};
use super::limits::{Limits, Stopped};
use super::{Edit, Finding, Request, spliced};

/// What the detectors find in a request.
pub(super) fn inspect(
    detectors: &[Detector],
    redacts: bool,
    request: Request<'_>,
    limits: &Limits,
) -> Result<Option<Finding>, Stopped> {
    let mut counts: IndexMap<&str, usize> = IndexMap::new();
    let mut edits = Vec::new();
    let mut total = 0;
    let content = Content::of(request);
    // Keys, numbers and what can't be read can't be replaced.
    let mut is_replaceable = content.unreadable.is_none();
    for text in &content.texts {
        let found = text.find(detectors, limits)?;
        total += found.len();
        for (_, what) in &found {
            *counts.entry(what).or_default() += 1;
        }
        if redacts && total <= MOST {
            match text.redacted(&found) {
                Some(more) => edits.extend(more),
                None => is_replaceable = false,
            }
        }
    }
    let counts = counts
        .iter()
        .map(|(what, count)| format!("{count} × {what}"));
    let what: Vec<String> = counts
        .chain(content.unreadable.map(str::to_owned))
        .collect();
    if what.is_empty() {
        return Ok(None);
    }
    let is_redacted = redacts && is_replaceable && total <= MOST;
    Ok(Some(Finding {
        what: what.join(", "),
        redacted: is_redacted.then(|| spliced(&request.call.body, &apart(edits))),
    }))
}

/// The edits in order. A string that is changed both as it is written and in another encoding is
/// replaced as a whole: after one of the edits, the other would find other text.
fn apart(mut edits: Vec<Edit>) -> Vec<Edit> {
    edits.sort_by_key(|(at, _)| (at.start, Reverse(at.end)));
    edits.dedup_by(|(at, _), (before, text)| {
        let overlaps = at.start < before.end;
        if overlaps {
            before.end = before.end.max(at.end);
            "[redacted]".clone_into(text);
        }
        overlaps
    });
    edits
}
