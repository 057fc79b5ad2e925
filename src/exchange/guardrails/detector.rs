//! Guards of the kind `patterns`: secrets, personal data and regular expressions in what is said.

use std::ops::Range;

use indexmap::IndexMap;
use regex::Regex;

use super::limits::{Limits, Stopped};
use super::content::{Said, said};
use super::{Found, Request, blocked, fold, spliced};
use crate::config::GuardAction;

/// Matches in one request that are told apart. A list of more would take more memory than the
/// request.
const MOST: usize = 100_000;
/// A text is searched in pieces of this length, so that a search can be stopped.
const PIECE: usize = 1 << 20;
/// What a match may reach into the next piece.
const OVERLAP: usize = 64 << 10;

/// Finds one kind of thing.
#[derive(Debug)]
pub(super) struct Detector {
    pub(super) name: String,
    pub(super) pattern: Regex,
    /// What a match must be besides, such as to have a right check digit.
    pub(super) holds: fn(&str) -> bool,
    /// Where the search goes on after a match that is none.
    pub(super) then: Then,
    /// What of a match counts, for patterns without a group.
    pub(super) trim: fn(&str) -> Range<usize>,
}

/// Where a search goes on after a match that did not hold. Each is chosen so that nothing is missed
/// and no character is read more than a fixed number of times.
#[derive(Clone, Copy, Debug)]
pub(super) enum Then {
    /// With the next character, for matches of bounded length.
    Next,
    /// Behind the match, because what stands inside it could not hold either.
    Behind,
    /// This far before the end of the match, where the name of another one may stand.
    Before(usize),
    /// Behind the first such character.
    After(char),
}

/// Where something was found, and what.
pub(super) type Hit<'d> = (Range<usize>, &'d str);

/// The whole of a match, and the part of it that counts.
type Match = (Range<usize>, Range<usize>);

impl Detector {
    /// An operator's own pattern.
    pub(super) fn own(name: String, pattern: &str) -> Result<Self, String> {
        let compiled = regex::RegexBuilder::new(pattern)
            .size_limit(1 << 20)
            .build()
            .map_err(|error| format!("{pattern:?} is no pattern: {error}"))?;
        Ok(Self {
            name,
            pattern: compiled,
            holds: |_| true,
            then: Then::Behind,
            trim: |text| 0..text.len(),
        })
    }

    /// The first group of a pattern, if it has one, is what counts; what stands around it only
    /// says what it is.
    pub(super) fn find(
        &self,
        text: &str,
        limits: &Limits,
        found: &mut Vec<Range<usize>>,
    ) -> Result<(), Stopped> {
        let mut from = 0;
        let mut matches = 0_u32;
        while from <= text.len()
            && let Some((whole, part)) = self.next(text, from, limits)?
        {
            matches = matches.wrapping_add(1);
            if matches.is_multiple_of(256) {
                limits.check()?;
            }
            let holds = !part.is_empty() && (self.holds)(&text[part.clone()]);
            let next = if holds {
                found.push(part);
                if found.len() > MOST {
                    return Ok(());
                }
                whole.end
            } else {
                self.after(text, &whole, &part)
            };
            let least = text[whole.start..].chars().next().map_or(1, char::len_utf8);
            // Further on in any case, and at the beginning of a character.
            from = if next > whole.start {
                next.max(from)
            } else {
                whole.start + least
            };
        }
        Ok(())
    }

    fn after(&self, text: &str, whole: &Range<usize>, part: &Range<usize>) -> usize {
        let next = text[part.start..].chars().next().map_or(1, char::len_utf8);
        let next = part.start + next;
        match self.then {
            Then::Next => next,
            Then::Behind => whole.end,
            Then::Before(length) => {
                let back = whole.end.saturating_sub(length);
                if text.is_char_boundary(back) {
                    back.max(next)
                } else {
                    next
                }
            }
            Then::After(mark) => text[whole.clone()]
                .find(mark)
                .map_or(next, |at| whole.start + at + mark.len_utf8()),
        }
    }

    /// The next match. A long text is searched piece by piece; what reaches the end of a piece is
    /// looked for once more with a longer one.
    fn next(&self, text: &str, from: usize, limits: &Limits) -> Result<Option<Match>, Stopped> {
        let (mut start, mut length) = (from, PIECE);
        loop {
            let end = boundary(text, start.saturating_add(length));
            let is_last = end == text.len();
            match self.search(&text[..end], start) {
                Some(found) if is_last || found.0.end < end => return Ok(Some(found)),
                Some(_) => length = length.saturating_mul(2),
                None if is_last => return Ok(None),
                None => {
                    start = boundary(text, end.saturating_sub(OVERLAP)).max(start + 1);
                    start = boundary(text, start);
                    length = PIECE;
                }
            }
            limits.check()?;
        }
    }

    fn search(&self, text: &str, from: usize) -> Option<Match> {
        if self.pattern.captures_len() == 1 {
            let whole = self.pattern.find_at(text, from)?;
            let part = (self.trim)(whole.as_str());
            let part = whole.start() + part.start..whole.start() + part.end;
            return Some((whole.start()..part.end, part));
        }
        let captures = self.pattern.captures_at(text, from)?;
        let whole = captures.get(0)?.range();
        let part = captures.get(1).map_or(whole.clone(), |part| part.range());
        Some((whole, part))
    }
}

/// The beginning of the character at `at` or behind it.
fn boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}

pub(super) fn look(
    name: &str,
    action: GuardAction,
    detectors: &[Detector],
    (request, limits): (Request<'_>, &Limits),
) -> Result<Found, Stopped> {
    let body = &request.call.body;
    let mut counts: IndexMap<&str, usize> = IndexMap::new();
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    let mut total = 0;
    let Said {
        texts, unreadable, ..
    } = said(request);
    let mut is_replaceable = unreadable.is_none();
    for text in &texts {
        let found = text.find(detectors, limits)?;
        total += found.len();
        for (_, what) in &found {
            *counts.entry(what).or_default() += 1;
        }
        if action == GuardAction::Redact && total <= MOST {
            match text.redacted(&found) {
                Some(more) => edits.extend(more),
                None => is_replaceable = false,
            }
        }
    }
    let mut what: Vec<String> = counts
        .iter()
        .map(|(what, count)| format!("{count} × {what}"))
        .collect();
    what.extend(unreadable.map(str::to_owned));
    if what.is_empty() {
        return Ok(Found::Nothing);
    }
    let what = what.join(", ");
    Ok(match action {
        GuardAction::Report => Found::Reported(vec![what]),
        // Keys, numbers and what can't be read stay, and so does more than the bound.
        GuardAction::Redact if is_replaceable && total <= MOST => {
            Found::Removed(spliced(body, &apart(edits)), what)
        }
        GuardAction::Block | GuardAction::Redact => Found::Blocked(blocked(name, &what), what),
    })
}

/// The changes in order. A string that is changed as it stands and in another encoding goes as one:
/// after one of the changes, the other would find other text.
fn apart(mut edits: Vec<(Range<usize>, String)>) -> Vec<(Range<usize>, String)> {
    edits.sort_by_key(|(at, _)| (at.start, std::cmp::Reverse(at.end)));
    let mut apart: Vec<(Range<usize>, String)> = Vec::with_capacity(edits.len());
    for (at, text) in edits {
        match apart.last_mut().filter(|(before, _)| at.start < before.end) {
            Some((before, text)) => {
                before.end = before.end.max(at.end);
                "[redacted]".clone_into(text);
            }
            None => apart.push((at, text)),
        }
    }
    apart
}

/// What is found in a text, as it is written and as it is read, in its order; of what overlaps, the
/// first and longest.
pub(super) fn hits<'d>(
    detectors: &'d [Detector],
    text: &str,
    limits: &Limits,
) -> Result<Vec<Hit<'d>>, Stopped> {
    let mut all = written(detectors, text, limits)?;
    if let Some(read) = fold::folded(text) {
        all.extend(fold::places(text, written(detectors, &read, limits)?));
        first_and_longest(&mut all);
    }
    Ok(all)
}

fn written<'d>(
    detectors: &'d [Detector],
    text: &str,
    limits: &Limits,
) -> Result<Vec<Hit<'d>>, Stopped> {
    let mut all: Vec<Hit<'_>> = Vec::new();
    let mut found = Vec::new();
    for detector in detectors {
        limits.check()?;
        detector.find(text, limits, &mut found)?;
        all.extend(found.drain(..).map(|range| (range, detector.name.as_str())));
    }
    first_and_longest(&mut all);
    Ok(all)
}

/// Leaves of what overlaps the first and longest, in order.
pub(super) fn first_and_longest(all: &mut Vec<Hit<'_>>) {
    all.sort_by_key(|(range, _)| (range.start, std::cmp::Reverse(range.end)));
    let mut end = 0;
    all.retain(|(range, _)| {
        let apart = range.start >= end;
        end = if apart { range.end } else { end };
        apart
    });
}
