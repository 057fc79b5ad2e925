//! The tools that a client offers to the model: only those that a list allows may stay.

use super::{Finding, Request, spliced};
use crate::policy::access::is_named;

/// A tool that providers could read in two ways: no list allows it.
const UNCLEAR: &str = "one that can be read in two ways";

/// The tools of a request that aren't allowed.
pub(super) fn inspect(allow: &[String], redacts: bool, request: Request<'_>) -> Option<Finding> {
    // A form has no tools.
    if request.is_form() {
        return None;
    }
    let body = &request.call.body;
    let offer = request.api.tools(body);
    let is_allowed = |tool: &str| allow.iter().any(|glob| is_named(tool, glob));
    let mut refused: Vec<&str> = Vec::new();
    offer.names(&mut |tool| match tool {
        Some(tool) if is_allowed(tool) => {}
        other => refused.push(other.unwrap_or(UNCLEAR)),
    });
    if refused.is_empty() {
        return None;
    }
    let shown = refused.iter().take(10);
    let shown: Vec<String> = shown.map(|tool| tool.chars().take(64).collect()).collect();
    // A provider rejects a list that offers no tool, so a request with none left is blocked.
    let cuts = if redacts {
        offer.without(&is_allowed)
    } else {
        None
    };
    let redacted = cuts.map(|mut cuts| {
        cuts.sort_by_key(|cut| cut.start);
        let edits: Vec<_> = cuts.into_iter().map(|cut| (cut, String::new())).collect();
        spliced(body, &edits)
    });
    Some(Finding {
        what: format!("tools that are not allowed: {}", shown.join(", ")),
        redacted,
    })
}
