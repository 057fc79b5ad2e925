//! A detector: it finds one kind of secret, of personal data, or what an operator's pattern matches.

use std::ops::Range;

use regex::Regex;

use super::fold;
use super::limits::{Limits, Stopped};

/// Matches in one request that are kept. A list of more would take more memory than the request.
pub(super) const MOST: usize = 100_000;
/// A text is searched in pieces of this length, so that a search can be stopped.
const PIECE: usize = 1 << 20;
/// What a match may reach into the next piece.
const OVERLAP: usize = 64 << 10;

/// Finds one kind of thing.
#[derive(Debug)]
pub(super) struct Detector {
    pub(super) name: String,
    pub(super) pattern: Regex,
    /// What else must hold of a match, such as a correct check digit.
    pub(super) holds: fn(&str) -> bool,
    /// Where the search goes on after a match that doesn't hold.
    pub(super) then: Then,
    /// What of a match counts, for patterns without a group.
    pub(super) trim: fn(&str) -> Range<usize>,
}

/// Where a search goes on after a match that doesn't hold. Each is chosen so that nothing is missed
/// and no character is read more than a fixed number of times.
#[derive(Clone, Copy, Debug)]
pub(super) enum Then {
    /// With the next character, for matches of bounded length.
    Next,
    /// After the match, because nothing inside it could hold either.
    Behind,
    /// This far before the end of the match, where the name of another one may be.
    Before(usize),
    /// After the first such character.
    After(char),
}

/// Where a detector has found something, and the detector's name.
pub(super) type Hit<'d> = (Range<usize>, &'d str);

/// The whole of a match, and the part of it that counts.
type Match = (Range<usize>, Range<usize>);

impl Detector {
    /// An operator's own pattern.
    pub(super) fn own(name: String, pattern: &str) -> Result<Self, String> {
        let compiled = regex::RegexBuilder::new(pattern)
            .size_limit(1 << 20)
            .build()
            .map_err(|error| format!("invalid pattern {pattern:?}: {error}"))?;
        Ok(Self {
            name,
            pattern: compiled,
            holds: |_| true,
            then: Then::Behind,
            trim: |text| 0..text.len(),
        })
    }

    /// Finds the places in a text. The first group of a pattern, if it has one, is what counts; the
    /// rest of the match only identifies it.
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
            // Further on in any case, and at the beginning of a character.
            from = if next > whole.start {
                next.max(from)
            } else {
                following(text, whole.start)
            };
        }
        Ok(())
    }

    fn after(&self, text: &str, whole: &Range<usize>, part: &Range<usize>) -> usize {
        let next = following(text, part.start);
        match self.then {
            Then::Next => next,
            Then::Behind => whole.end,
            Then::Before(length) => {
                let back = whole.end.saturating_sub(length);
                let is_boundary = text.is_char_boundary(back);
                if is_boundary { back.max(next) } else { next }
            }
            Then::After(mark) => text[whole.clone()]
                .find(mark)
                .map_or(next, |at| whole.start + at + mark.len_utf8()),
        }
    }

    /// The next match. A long text is searched piece by piece; a match that reaches the end of a piece
    /// is searched for again in a longer one.
    fn next(&self, text: &str, from: usize, limits: &Limits) -> Result<Option<Match>, Stopped> {
        let (mut start, mut length) = (from, PIECE);
        loop {
            let end = text.ceil_char_boundary(start.saturating_add(length));
            let is_last = end == text.len();
            match self.search(&text[..end], start) {
                Some(found) if is_last || found.0.end < end => return Ok(Some(found)),
                Some(_) => length = length.saturating_mul(2),
                None if is_last => return Ok(None),
                None => {
                    let back = end.saturating_sub(OVERLAP).max(start + 1);
                    start = text.ceil_char_boundary(back);
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

/// Where the character after the one at `at` begins; past the end of the text after the last one.
fn following(text: &str, at: usize) -> usize {
    text.ceil_char_boundary(at + 1).max(at + 1)
}

/// What is found in a text, as it is written and as it reads, in its order. Where matches overlap, the
/// first and longest is kept.
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

/// Sorts matches, and keeps the first and longest of those that overlap.
pub(super) fn first_and_longest(all: &mut Vec<Hit<'_>>) {
    all.sort_by_key(|(range, _)| (range.start, std::cmp::Reverse(range.end)));
    let mut end = 0;
    all.retain(|(range, _)| {
        let is_kept = range.start >= end;
        end = if is_kept { range.end } else { end };
        is_kept
    });
}
