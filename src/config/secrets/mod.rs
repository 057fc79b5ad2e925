//! A configuration as it may be shown: every secret in its text has a placeholder in its place,
//! and the rest is as it was, comments included. Where such a text comes back, the placeholders
//! stand for the secrets that were there before.
//!
//! A person who may save a configuration must not be able to read its secrets. So a secret stays
//! with the server that it was for, and a reference to the environment or to a file, which could
//! hold anything, stays where it is.

mod likely;
mod moved;
mod restore;
mod urls;
mod what;

use std::collections::{HashMap, HashSet};

use super::expand;
use super::file::File;
use super::finding::{Finding, Severity};
use super::hujson::{self, Node, Value, without_mark};
use super::within::Within;
use moved::Moves;
use restore::Restoring;
use what::{parts, quoted, shown, text};

/// Stands for a secret.
pub const PLACEHOLDER: &str = "[redacted]";

/// Shorter values are not looked for in messages: they are in many words.
const SHORTEST: usize = 4;

/// The text without its secrets. References to the environment and to files aren't secrets.
///
/// # Errors
/// A finding when the text can't be read: nobody knows then what in it is secret.
pub fn redacted(source: &str) -> Result<String, Finding> {
    let mut edits = Vec::new();
    each(&parsed(source)?, File::within(), &mut |node, within| {
        let parts = parts(node, within);
        if let Some(text) = text(node).filter(|_| !parts.is_empty()) {
            edits.push((node.bytes.clone(), quoted(&shown(&text, &parts))));
        }
    });
    Ok(edited(source, &edits))
}

/// The text with the secrets of `stored` where it has placeholders. References may stand where
/// they stand in `stored`, and where `may_refer` says so of their name.
///
/// # Errors
/// All placeholders and references that may not stand where they do, or the finding of a text
/// that can't be read.
pub fn restored(
    source: &str,
    stored: &str,
    may_refer: &dyn Fn(&str) -> bool,
) -> Result<String, Vec<Finding>> {
    let new = parsed(source).map_err(|finding| vec![finding])?;
    let old = parsed(stored).ok();
    let mut restoring = Restoring {
        stored: without_mark(stored),
        may_refer,
        edits: Vec::new(),
        findings: Vec::new(),
        moves: Moves::between(&new, old.as_ref()),
    };
    restoring.walk(&new, old.as_ref());
    if restoring.findings.is_empty() {
        Ok(edited(source, &restoring.edits))
    } else {
        Err(restoring.findings)
    }
}

fn parsed(source: &str) -> Result<Node, Finding> {
    hujson::parse(source)
        .map_err(|error| Finding::new(Severity::Error, error.at, "", error.message))
}

/// What plugins of agents read of a configuration that is shown: names, URLs and formats of its
/// providers.
#[must_use]
pub fn catalog(shown: &str) -> serde_json::Map<String, serde_json::Value> {
    const KEYS: [&str; 4] = ["name", "description", "baseurl", "compatibility"];
    let mut root = parsed(shown)
        .map(|node| node.value.to_json())
        .unwrap_or_default();
    let providers = root["providers"].take();
    let mut providers = match providers {
        serde_json::Value::Object(providers) => providers,
        _ => serde_json::Map::new(),
    };
    for provider in providers.values_mut() {
        if let Some(provider) = provider.as_object_mut() {
            provider.retain(|key, _| KEYS.contains(&key.as_str()));
        }
    }
    providers
}

/// A text with other literals in some places, in their order. The places are the reader's, which
/// findings are reported at too: the nodes of jsonc-parser's CST have none, and to pair two trees of
/// one text could put a secret in the wrong place.
fn edited(source: &str, edits: &[(std::ops::Range<usize>, String)]) -> String {
    let text = without_mark(source);
    let mark = &source[..source.len() - text.len()];
    let edits = edits
        .iter()
        .map(|(place, literal)| (place.clone(), &**literal));
    format!("{mark}{}", expand::replaced(text, edits))
}

/// Looks at every value that holds no others.
fn each<'n>(node: &'n Node, within: Within<'n>, look: &mut impl FnMut(&Node, Within<'n>)) {
    match &node.value {
        Value::Object(members) => {
            for member in members {
                each(&member.node, within.member(&member.key), look);
            }
        }
        Value::Array(items) => {
            for item in items {
                each(item, within, look);
            }
        }
        _ => look(node, within),
    }
}

/// What may not be in a message about a document.
pub(super) struct Hidden(Vec<String>);

impl Hidden {
    /// The secrets of a document, and what the references in their places stand for.
    pub(super) fn of(root: &Node, lookup: &dyn Fn(&str) -> Option<String>) -> Self {
        let mut hidden = Self(Vec::new());
        hidden.add(root);
        each(root, File::within(), &mut |node, within| {
            let Some(text) = text(node) else { return };
            for (range, place) in expand::places(within.holds, &text) {
                let name = &text[range.start + 2..range.end - 1];
                let is_secret = within.is_private() || place.is_private();
                if (is_secret || name.starts_with("file:"))
                    && let Some(value) = lookup(name)
                {
                    let value = value.trim();
                    let values = &mut hidden.0;
                    values.extend([value.to_owned(), expand::written(value, place).into_owned()]);
                }
            }
        });
        hidden.sort();
        hidden
    }

    /// As well what is secret in the document once its references are replaced: a whole URL can
    /// come from one of them.
    pub(super) fn add(&mut self, root: &Node) {
        each(root, File::within(), &mut |node, within| {
            let Some(text) = text(node) else { return };
            let parts = parts(node, within);
            let values = parts.iter().map(|part| text[part.range.clone()].to_owned());
            self.0.extend(values);
        });
        self.sort();
    }

    fn sort(&mut self) {
        self.0.retain(|value| value.len() >= SHORTEST);
        // One may be a part of another.
        self.0
            .sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        self.0.dedup();
    }

    /// Takes them out of what a check has found. Answers with how many values were compared: a
    /// document can have thousands of both.
    pub(super) fn hide(&self, findings: &mut [Finding]) -> usize {
        let mut compared = 0;
        if findings.is_empty() {
            return compared;
        }
        let mut values: Vec<String> = Vec::with_capacity(self.0.len());
        for value in &self.0 {
            let written = quoted(value);
            let written = written.trim_matches('"');
            values.extend((written != value).then(|| written.to_owned()));
            values.push(value.clone());
        }
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        let mut known = Known::default();
        for value in values.iter().map(String::as_bytes) {
            let lengths = known.lengths.entry(&value[..SHORTEST]).or_default();
            if lengths.last() != Some(&value.len()) {
                lengths.push(value.len());
            }
            known.values.insert(value);
        }
        for finding in findings {
            let texts = [Some(&mut finding.message), finding.hint.as_mut()];
            for text in texts.into_iter().flatten() {
                if let Some(hidden) = known.hidden(text, &mut compared) {
                    *text = hidden;
                }
            }
        }
        compared
    }
}

/// Values that are looked for in texts.
#[derive(Default)]
struct Known<'v> {
    values: HashSet<&'v [u8]>,
    /// By how they begin, the longest first.
    lengths: HashMap<&'v [u8], Vec<usize>>,
}

impl Known<'_> {
    /// A text without the values in it, if there are any.
    fn hidden(&self, text: &str, compared: &mut usize) -> Option<String> {
        let mut out = String::new();
        let (mut from, mut at) = (0, 0);
        while let Some(start) = text.as_bytes().get(at..at + SHORTEST) {
            let lengths = self.lengths.get(start).map_or(&[][..], Vec::as_slice);
            let found = lengths.iter().find(|length| {
                *compared += 1;
                let part = text.as_bytes().get(at..at + **length);
                part.is_some_and(|part| self.values.contains(part))
            });
            let Some(length) = found else {
                at += 1;
                continue;
            };
            // Both are UTF-8, so a value begins and ends where a character does.
            out.push_str(text.get(from..at).unwrap_or_default());
            out.push_str(PLACEHOLDER);
            at += length;
            from = at;
        }
        out.push_str(text.get(from..).unwrap_or_default());
        (from > 0).then_some(out)
    }
}

#[cfg(test)]
mod tests;
