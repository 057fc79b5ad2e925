//! The section `guards`: what is looked for in requests without asking anybody.

use super::declare::{Kind, Section, Setting};
use super::readers::Words;
use super::table::Item;
use super::{section, words};

/// What is looked for in a request without asking anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// Where it looks.
    pub kind: GuardKind,
    /// What it does about what it finds.
    pub action: GuardAction,
}

/// Where a guard looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GuardKind {
    /// In everything that is said: for kinds of secrets and personal data, and for patterns.
    Patterns {
        /// Names of what is known.
        detect: Vec<String>,
        /// Regular expressions.
        patterns: Vec<String>,
    },
    /// At the tools that the client offers to the model: those that no glob names are found.
    Tools {
        /// Globs.
        allow: Vec<String>,
    },
}

words! {
    /// What a guard does about what it finds.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub enum GuardAction {
        /// Refuses the request.
        #[default]
        Block = "block",
        /// Takes it out of the request.
        Redact = "redact" | "strip",
        /// Says so on the record.
        Report = "report",
    }
}

section! {
    /// A guard that looks in all that is said.
    struct InTexts {
        /// `patterns` looks in all that is said; `tools` at the tools that are offered.
        #[key(required)]
        kind: String => Words(&["patterns"]),
        /// What is done about it; `strip` is `redact`.
        action: GuardAction,
        /// Names of what is known, such as `private_key` or `iban`.
        detect: Vec<String>,
        /// Regular expressions.
        patterns: Vec<String>,
    }
}

section! {
    /// A guard that looks at the tools.
    struct Tools {
        /// `tools` looks at the tools that the client offers to the model.
        #[key(required)]
        kind: String => Words(&["tools"]),
        /// What is done about it; `strip` is `redact`.
        action: GuardAction,
        /// Globs; a tool that none of them names is found.
        allow: Vec<String>,
    }
}

/// A guard that can't be understood is an error: it must not let through what it should stop.
impl Setting for Guard {
    const KIND: Kind = Kind::Any(&[InTexts::KIND, Tools::KIND]);

    fn read(item: &Item<'_>) -> Option<Self> {
        let table = item.table()?;
        let word = table.get("kind").and_then(|kind| kind.string());
        match word.unwrap_or_default() {
            "patterns" => InTexts::of(table).map(|read| Self {
                action: read.action,
                kind: GuardKind::Patterns {
                    detect: read.detect,
                    patterns: read.patterns,
                },
            }),
            "tools" => Tools::of(table).map(|read| Self {
                action: read.action,
                kind: GuardKind::Tools { allow: read.allow },
            }),
            word => {
                let name = table.name;
                let message =
                    format!("guard {name}: kind is \"patterns\" or \"tools\", not {word:?}");
                table.error(message);
                None
            }
        }
    }
}
