//! What a check has to say about a configuration.

use std::cell::RefCell;
use std::fmt;
use std::path::Path;

use serde::Serialize;

use super::hujson::Position;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration is not used.
    Error,
    /// It is used; saving it through the API would be refused.
    Warning,
    /// Nothing is wrong.
    Note,
}

/// What a finding is about, for code that treats some of them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The key of the provider at the finding's path.
    Credential,
    /// A key that is not known, and is nearly one that is: what was meant does not hold.
    Typo,
    /// A value from a file that could not be read again: the one before is in use.
    Stale,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Where in the text; line 0 for the document as a whole.
    #[serde(flatten)]
    pub at: Position,
    /// The keys that lead there, as in `providers.private.models[0]`; may be empty.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What it is about.
    #[serde(skip)]
    pub subject: Option<Subject>,
}

impl Finding {
    /// A finding without a hint.
    pub fn new(
        severity: Severity,
        at: Position,
        path: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            severity,
            at,
            path: path.into(),
            message: message.into(),
            hint: None,
            subject: None,
        }
    }

    /// The same finding, about this.
    #[must_use]
    pub fn about(mut self, subject: Subject) -> Self {
        self.subject = Some(subject);
        self
    }

    /// The same finding, with what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// As a compiler prints it, without the file's name.
impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.at.line > 0 {
            write!(out, "{}:{}: ", self.at.line, self.at.column)?;
        }
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        write!(out, "{severity}: {}", self.message)?;
        if !self.path.is_empty() {
            write!(out, " [{}]", self.path)?;
        }
        if let Some(hint) = &self.hint {
            write!(out, "\n  help: {hint}")?;
        }
        Ok(())
    }
}

/// What is said of a file that is not taken, with each finding on a line of its own.
#[must_use]
pub fn refusal(path: &Path, findings: &[Finding]) -> String {
    let lines = findings
        .iter()
        .map(|finding| format!("\n{}:{finding}", path.display()));
    let lines: String = lines.collect();
    format!("the configuration has errors{lines}")
}

/// The known word that a word was probably meant to be.
pub(super) fn meant<'w>(word: &str, known: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let word = word.to_lowercase();
    let length = word.chars().count();
    // In short words, two mistakes leave nothing of what was meant.
    let most = if length < 5 { 1 } else { 2 };
    let near = known.into_iter().filter_map(|known| {
        // Each further character is one more mistake; long words would take long.
        if known.chars().count().abs_diff(length) > most {
            return None;
        }
        let far = strsim::osa_distance(&word, &known.to_lowercase());
        (far <= most && far < known.chars().count()).then_some((far, known))
    });
    near.min_by_key(|(far, _)| *far).map(|(_, known)| known)
}

/// Collects findings while a document is read.
#[derive(Default)]
pub(crate) struct Findings {
    found: RefCell<Vec<Finding>>,
}

impl Findings {
    pub(super) fn add(&self, finding: Finding) {
        self.found.borrow_mut().push(finding);
    }

    pub(crate) fn warn(&self, at: Position, path: &str, message: impl Into<String>) {
        self.add(Finding::new(Severity::Warning, at, path, message));
    }

    pub(super) fn error(&self, at: Position, path: &str, message: impl Into<String>) {
        self.add(Finding::new(Severity::Error, at, path, message));
    }

    /// All, in the order of the text.
    pub(super) fn sorted(self) -> Vec<Finding> {
        let mut all = self.found.into_inner();
        all.sort_by_key(|finding| finding.at);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::meant;

    #[test]
    fn the_word_that_was_meant_is_near() {
        let known = [
            "grants",
            "models",
            "groups",
            "guards",
            "chat",
            "mcp",
            "src",
            "temp_grants",
        ];
        for (word, expected) in [
            ("grnats", Some("grants")),
            ("modles", Some("models")),
            ("grant", Some("grants")),
            ("Grants", Some("grants")),
            ("gruops", Some("groups")),
            ("xyzzy", None),
            ("scr", Some("src")),
            ("x", None),
            ("comment", None),
            ("temp_grant", Some("temp_grants")),
        ] {
            assert_eq!(meant(word, known), expected, "{word}");
        }
    }
}
