//! Files that override an agent's own settings: those of a project, from the current folder upwards, and those
//! that an admin of the machine has put there.

use std::fs;
use std::path::Path;

use jsonc_parser::{ParseOptions, parse_to_serde_value};
use serde_json::Value;

use super::Finding;
use super::environment::leads_to;
use crate::client::gateway::origin;
use crate::wire::harmless;

const CHECK: &str = "settings";

/// Bytes of a file that are read at most.
const LONGEST: u64 = 1 << 20;

/// How a file holds its settings.
#[derive(Clone, Copy)]
enum Form {
    /// JSON, with comments or without.
    Json,
    Toml,
    /// Lines of variables.
    Lines,
}

/// A file of a project, who reads it, and the keys that hold a URL, from the outermost inwards; `*` is any key.
struct Known {
    path: &'static str,
    reader: &'static str,
    form: Form,
    urls: &'static [&'static [&'static str]],
}

const CLAUDE: &[&[&str]] = &[&["env", "ANTHROPIC_BASE_URL"]];
const VARIABLES: &[&[&str]] = &[
    &["ANTHROPIC_BASE_URL"],
    &["OPENAI_BASE_URL"],
    &["OPENAI_API_BASE"],
    &["GOOGLE_GEMINI_BASE_URL"],
];

const OF_A_PROJECT: [Known; 9] = [
    Known {
        path: ".claude/settings.local.json",
        reader: "Claude Code",
        form: Form::Json,
        urls: CLAUDE,
    },
    Known {
        path: ".claude/settings.json",
        reader: "Claude Code",
        form: Form::Json,
        urls: CLAUDE,
    },
    Known {
        path: ".codex/config.toml",
        reader: "Codex",
        form: Form::Toml,
        urls: &[&["openai_base_url"], &["model_providers", "*", "base_url"]],
    },
    Known {
        path: "opencode.json",
        reader: "opencode",
        form: Form::Json,
        urls: &[&["provider", "*", "options", "baseURL"]],
    },
    Known {
        path: "crush.json",
        reader: "Crush",
        form: Form::Json,
        urls: &[&["providers", "*", "base_url"]],
    },
    Known {
        path: ".crush.json",
        reader: "Crush",
        form: Form::Json,
        urls: &[&["providers", "*", "base_url"]],
    },
    Known {
        path: ".gemini/.env",
        reader: "Gemini CLI",
        form: Form::Lines,
        urls: VARIABLES,
    },
    Known {
        path: ".qwen/.env",
        reader: "Qwen Code",
        form: Form::Lines,
        urls: VARIABLES,
    },
    Known {
        path: ".env",
        reader: "aider, Gemini CLI and Qwen Code",
        form: Form::Lines,
        urls: VARIABLES,
    },
];

/// Those of an admin of the machine.
const OF_THE_MACHINE: [Known; 3] = [
    Known {
        path: "/etc/claude-code/managed-settings.json",
        reader: "Claude Code",
        form: Form::Json,
        urls: CLAUDE,
    },
    Known {
        path: "/Library/Application Support/ClaudeCode/managed-settings.json",
        reader: "Claude Code",
        form: Form::Json,
        urls: CLAUDE,
    },
    Known {
        path: "/etc/codex/managed_config.toml",
        reader: "Codex",
        form: Form::Toml,
        urls: &[&["openai_base_url"], &["model_providers", "*", "base_url"]],
    },
];

/// Looks for files that send an agent elsewhere than to `base`.
pub(super) fn check(base: &str, here: Option<&Path>, home: Option<&Path>) -> Vec<Finding> {
    let mut findings = Vec::new();
    // The home folder's are the agents' own settings.
    let folders = here.into_iter().flat_map(Path::ancestors);
    let folders = folders.take_while(|folder| Some(*folder) != home);
    for folder in folders {
        for known in &OF_A_PROJECT {
            look(known, &folder.join(known.path), base, &mut findings);
        }
    }
    for known in &OF_THE_MACHINE {
        look(known, Path::new(known.path), base, &mut findings);
    }
    if findings.is_empty() {
        let what = "no file of this project or of this machine leads elsewhere";
        findings.push(Finding::good(CHECK, what));
    }
    findings
}

fn look(known: &Known, path: &Path, base: &str, findings: &mut Vec<Finding>) {
    let is_file = fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() <= LONGEST);
    let Some(text) = is_file.then(|| fs::read_to_string(path).ok()).flatten() else {
        return;
    };
    let shown = harmless(&path.display().to_string());
    let Some(values) = urls(known, &text) else {
        let what = format!("{shown} can't be read; it has settings of {}", known.reader);
        findings.push(Finding::odd(CHECK, what).fix("mend it"));
        return;
    };
    for url in values.into_iter().filter(|url| !leads_to(url, base)) {
        let what = format!(
            "{shown} overrides your own settings: it sends {} to {}, not to {}",
            known.reader,
            origin(&url),
            origin(base)
        );
        findings
            .push(Finding::odd(CHECK, what).fix("change it there, if you want the gateway here"));
    }
}

/// The URLs that a file has; `None` if it can't be parsed.
fn urls(known: &Known, text: &str) -> Option<Vec<String>> {
    let value = match known.form {
        Form::Json => parse_to_serde_value(text, &ParseOptions::default()).ok()?,
        Form::Toml => of_toml(text.parse::<toml_edit::DocumentMut>().ok()?.as_table()),
        Form::Lines => of_lines(text),
    };
    let mut found = Vec::new();
    for keys in known.urls {
        down(&value, keys, &mut found);
    }
    Some(found)
}

/// The texts below a path of keys.
fn down(value: &Value, keys: &[&str], found: &mut Vec<String>) {
    match (keys, value) {
        ([], Value::String(text)) => found.push(text.clone()),
        ([key, rest @ ..], Value::Object(members)) if *key == "*" => {
            members
                .values()
                .for_each(|member| down(member, rest, found));
        }
        ([key, rest @ ..], Value::Object(members)) => {
            if let Some(member) = members.get(*key) {
                down(member, rest, found);
            }
        }
        _ => {}
    }
}

/// The tables and texts of TOML as JSON; all else doesn't matter here.
fn of_toml(table: &dyn toml_edit::TableLike) -> Value {
    let members = table.iter().filter_map(|(key, item)| {
        let value = match item.as_table_like() {
            Some(table) => of_toml(table),
            None => item.as_str()?.into(),
        };
        Some((key.to_owned(), value))
    });
    Value::Object(members.collect())
}

fn of_lines(text: &str) -> Value {
    let pairs = text.lines().filter_map(|line| {
        let line = line.trim().trim_start_matches("export ");
        let (name, value) = line.split_once('=')?;
        let value = value.trim().trim_matches(['"', '\'']);
        Some((name.trim().to_owned(), Value::from(value)))
    });
    Value::Object(pairs.collect())
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_file_of_a_project_that_leads_elsewhere_is_named() {
        let home = tempfile::tempdir().unwrap();
        let project = home.path().join("work/project");
        let inner = project.join("src");
        for (path, text) in [
            (
                ".claude/settings.json",
                "{ // ours\n \"env\": { \"ANTHROPIC_BASE_URL\": \"http://ai\" } }",
            ),
            (
                ".codex/config.toml",
                "[model_providers.x]\nbase_url = \"http://elsewhere/v1\"\n",
            ),
            (
                "opencode.json",
                "{ \"provider\": { \"o\": { \"options\": { \"baseURL\": \"http://other/v1\" } } } }",
            ),
            (
                ".env",
                "export OPENAI_BASE_URL='http://me:s3cret@third:81/v1'\nX=1",
            ),
            ("crush.json", "{ broken"),
            ("src/keep", ""),
        ] {
            let path = project.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        // The agents' own settings are not a project's.
        fs::write(home.path().join("opencode.json"), "{ broken").unwrap();
        let found = check("http://ai", Some(&inner), Some(home.path()));
        let found: Vec<&str> = found.iter().map(|one| &*one.what).collect();
        for part in [
            "it sends Codex to http://elsewhere, not to http://ai",
            "http://other,",
            "it sends aider, Gemini CLI and Qwen Code to http://third:81, not",
            "crush.json can't be read",
        ] {
            assert!(
                found.iter().any(|what| what.contains(part)),
                "{part}: {found:?}"
            );
        }
        assert_eq!(found.len(), 4, "{found:?}");
        let none = check("http://ai", Some(home.path()), Some(home.path()));
        assert_eq!(none[0].verdict, Verdict::Good, "{none:?}");
    }
}
