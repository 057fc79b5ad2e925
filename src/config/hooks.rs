//! The sections `hooks` and `guards`: who is asked before a request goes on, and what is looked
//! for without asking anybody.

use std::time::Duration;

use indexmap::IndexMap;

use super::certificates::{self, Certificates};
use super::provider::Authorization;
use super::table::{Item, Table};
use super::{address, credential};
use crate::base::secret::Secret;

/// A webhook.
#[derive(Clone, Debug)]
pub struct Hook {
    /// Where to post.
    pub url: String,
    /// Credential; may be empty.
    pub apikey: Secret,
    /// Header that carries it.
    pub authorization: Authorization,
    /// The certificates that it is trusted by, where it isn't those of this machine's store.
    pub ca: Option<Certificates>,
    /// Zero turns it off.
    pub timeout: Duration,
    /// Kept, but not used.
    pub disabled: bool,
    /// Whether a failure of the hook stops the request.
    pub fail_closed: bool,
    /// Higher runs first.
    pub preference: i64,
}

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

/// What a guard does about what it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardAction {
    /// Refuses the request.
    Block,
    /// Takes it out of the request.
    Redact,
    /// Says so on the record.
    Report,
}

pub(super) fn hooks(item: &Item<'_>) -> IndexMap<String, Hook> {
    let Some(all) = item.table() else {
        return IndexMap::new();
    };
    all.named()
        .filter_map(|(name, item)| Some((name.to_owned(), hook(name, &item, item.table()?))))
        .collect()
}

fn hook(name: &str, item: &Item<'_>, table: Table<'_>) -> Hook {
    let url = table.string("url").unwrap_or_default().trim().to_owned();
    if url.is_empty() {
        let message = format!("hook {name} has no url configured");
        item.findings.warn(item.node.at, &item.path, message);
    } else if !url.starts_with("http://") && !url.starts_with("https://") {
        let shown = address::shown(&url);
        let message =
            format!("hook {name} has invalid URL scheme (must be http:// or https://): {shown}");
        item.findings
            .warn(table.position("url"), &item.path, message);
    } else if let Some(problem) = address::http_problem(&url) {
        let message = format!("the url of hook {name} {problem}");
        item.findings
            .warn(table.position("url"), &item.path, message);
    }
    let text = table.string("authorization").unwrap_or_default();
    // Only what goes to AWS can be signed for it.
    let known = Authorization::parse(&text).filter(|way| *way != Authorization::AwsSigv4);
    let authorization = known.unwrap_or_else(|| {
        let message = format!("hook {name} has invalid authorization type: {text}");
        item.findings.warn(item.node.at, &item.path, message);
        Authorization::Bearer
    });
    let policies = [("fail_open", false), ("fail_closed", true)];
    let hook = Hook {
        ca: certificates::read_for(&table, &url),
        url,
        apikey: credential::read(&table, "apikey"),
        authorization,
        timeout: table.duration("timeout").unwrap_or(Duration::from_secs(5)),
        disabled: table.boolean("disabled").unwrap_or_default(),
        fail_closed: table.choice("fail_policy", &policies).unwrap_or_default(),
        preference: table.integer("preference").unwrap_or_default(),
    };
    table.finish();
    hook
}

pub(super) fn guards(item: &Item<'_>) -> IndexMap<String, Guard> {
    let Some(all) = item.table() else {
        return IndexMap::new();
    };
    all.named()
        .filter_map(|(name, item)| Some((name.to_owned(), guard(name, &item, item.table()?)?)))
        .collect()
}

/// A guard that can't be understood is an error: it must not let through what it should stop.
fn guard(name: &str, item: &Item<'_>, table: Table<'_>) -> Option<Guard> {
    let actions = [
        ("block", GuardAction::Block),
        ("redact", GuardAction::Redact),
        ("strip", GuardAction::Redact),
        ("report", GuardAction::Report),
    ];
    let action = table
        .choice("action", &actions)
        .unwrap_or(GuardAction::Block);
    let word = table.string("kind").unwrap_or_default();
    let kind = match word.as_str() {
        "patterns" => GuardKind::Patterns {
            detect: table.strings("detect").unwrap_or_default(),
            patterns: table.strings("patterns").unwrap_or_default(),
        },
        "tools" => GuardKind::Tools {
            allow: table.strings("allow").unwrap_or_default(),
        },
        _ => {
            let message = format!("guard {name}: kind is \"patterns\" or \"tools\", not {word:?}");
            item.findings.error(item.node.at, &item.path, message);
            table.finish();
            return None;
        }
    };
    table.finish();
    Some(Guard { kind, action })
}
