//! The documentation against the program: what a page tells to type is typed, what it shows of a
//! configuration is read, what it quotes is in the sources, and where it leads there is something.
//!
//! A comment above a block says what to make of it:
//!
//! - `<!-- file: NAME -->` writes it to a file for the commands below it;
//! - `<!-- until: TEXT -->` starts it, goes on once it has said TEXT, and ends it with the page;
//! - `<!-- run by tests/PATH -->` leaves it to another test, which needs more than this machine;
//! - `<!-- not run: REASON -->` leaves out what is not ours, or would change the machine;
//! - `<!-- tailnet policy -->` is a block of that file.
//!
//! Every other `sh` block is run, and every `jsonc` block is a configuration or a part of one.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod page;
mod shell;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use iris::config::{self, Severity};
use regex::Regex;
use serde_json::{Value, json};

use page::{Block, Page, root};

/// What commands that are not run may begin with: programs that are not ours.
const FOREIGN: [&str; 16] = [
    "cargo",
    "chown",
    "docker",
    "export",
    "headscale",
    "install",
    "journalctl",
    "just",
    "kubectl",
    "litellm",
    "ollama",
    "pg_dump",
    "pg_restore",
    "systemctl",
    "tailscale",
    "useradd",
];

#[test]
fn commands_do_what_pages_say() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for page in page::all() {
        runtime.block_on(shell::run(&page));
    }
}

#[test]
fn commands_that_are_not_run_are_not_ours_or_run_elsewhere() {
    let recipes = std::fs::read_to_string(root().join("justfile")).unwrap();
    for page in page::all() {
        for block in page.blocks.iter().filter(|block| block.language == "sh") {
            if let Some(test) = block.mark("run by") {
                let path = test.split([':', ' ']).next().unwrap();
                assert!(root().join(path).exists(), "{}: no {path}", page.at(block));
            }
            let Some(reason) = block.mark("not run") else {
                continue;
            };
            println!("{} is not run: {reason}", page.at(block));
            for line in block.commands() {
                let mut words = line.split_whitespace();
                let program = words.next().unwrap();
                assert!(
                    FOREIGN.contains(&program),
                    "{}: {program} has to be run",
                    page.at(block)
                );
                if program == "just" {
                    let recipe = words.next().unwrap();
                    let is_there = recipes
                        .lines()
                        .any(|line| line.split([' ', ':']).next() == Some(recipe));
                    assert!(is_there, "{}: no recipe {recipe}", page.at(block));
                }
            }
        }
    }
}

/// The findings of a configuration that isn't run.
fn findings(text: &str) -> Vec<String> {
    // A part of a file has nobody who manages it, and a grant names models of elsewhere.
    const OF_A_PART: [&str; 6] = [
        "no grants or temp_grants defined",
        "nobody will be able to manage",
        "no providers or mcp servers defined",
        "matches no declared",
        "no provider",
        "no exporter is configured",
    ];
    let name = Regex::new("^([A-Z][A-Z0-9_]*|file:/.*)$").unwrap();
    let lookup = |reference: &str| name.is_match(reference).then(|| "found".to_owned());
    let findings = match config::parse(text, &lookup) {
        Ok(loaded) => loaded.findings,
        Err(findings) => findings,
    };
    findings
        .into_iter()
        .filter(|finding| finding.severity != Severity::Note)
        .map(|finding| {
            format!(
                "{}: {} [{}]",
                finding.at.line, finding.message, finding.path
            )
        })
        .filter(|finding| !OF_A_PART.iter().any(|part| finding.contains(part)))
        .collect()
}

/// A policy's grants as those of a configuration, which have no destinations.
fn of_policy(text: &str) -> String {
    let policy: Value =
        jsonc_parser::parse_to_serde_value(text, &jsonc_parser::ParseOptions::default()).unwrap();
    let mut names = BTreeSet::new();
    let mut grants = Vec::new();
    for grant in policy["grants"].as_array().into_iter().flatten() {
        assert!(grant["dst"].is_array(), "a grant without dst: {grant}");
        if let Some(app) = grant["app"].as_object() {
            names.extend(app.keys().cloned());
            grants.push(json!({ "src": grant["src"], "app": app }));
        }
    }
    json!({ "tailnet": { "capabilities": names }, "grants": grants }).to_string()
}

#[test]
fn configurations_are_what_iris_reads() {
    for page in page::all() {
        for block in &page.blocks {
            let text = match block.language.as_str() {
                "jsonc" if block.mark("tailnet policy").is_some() => of_policy(&block.text),
                "jsonc" if block.text.trim_start().starts_with('"') => {
                    format!("{{\n{}\n}}", block.text)
                }
                "jsonc" => block.text.clone(),
                "json" => {
                    let read = serde_json::from_str::<Value>(&block.text);
                    read.unwrap_or_else(|error| panic!("{}: {error}", page.at(block)));
                    continue;
                }
                _ => continue,
            };
            let found = findings(&text);
            assert!(found.is_empty(), "{}: {found:#?}", page.at(block));
        }
    }
}

#[test]
fn links_lead_somewhere() {
    let pages: BTreeMap<_, _> = page::all()
        .into_iter()
        .map(|page| (page.path.clone(), page))
        .collect();
    let mut linked = BTreeSet::new();
    for page in pages.values() {
        let folder = page.path.parent().unwrap();
        for link in &page.links {
            if link.starts_with("http:") || link.starts_with("https:") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => page.path.clone(),
                file => page::normal(&folder.join(file)),
            };
            assert!(root().join(&target).exists(), "{}: {link}", page.name());
            if let Some(other) = pages.get(&target).filter(|_| !anchor.is_empty()) {
                assert!(
                    other.anchors.contains(anchor),
                    "{}: {link} is no heading of {:?}",
                    page.name(),
                    other.anchors
                );
            }
            if target != page.path {
                linked.insert(target);
            }
        }
    }
    for path in pages.keys().filter(|path| *path != Path::new("README.md")) {
        assert!(linked.contains(path), "nothing leads to {}", path.display());
    }
}

#[test]
fn options_that_are_named_exist() {
    let command = Regex::new(
        r"(?:^|\$\(|\|\| |sudo )(?:[A-Z_]+=\S+ )*iris ((?:service )?[a-z]+)((?: [^|#]*)?)",
    )
    .unwrap();
    let option = Regex::new(r"(?:^|[ \[|])(--[a-z][a-z-]*)").unwrap();
    let mut helps: BTreeMap<String, String> = BTreeMap::new();
    let mut looked_at = 0;
    for page in page::all() {
        for code in page.code() {
            for found in command.captures_iter(&code) {
                let name = found[1].to_owned();
                let help = helps.entry(name.clone()).or_insert_with(|| {
                    let output = Command::new(env!("CARGO_BIN_EXE_iris"))
                        .args(name.split(' '))
                        .arg("--help")
                        .output()
                        .unwrap();
                    assert!(output.status.success(), "{}: iris {name}", page.name());
                    String::from_utf8(output.stdout).unwrap()
                });
                // What follows two dashes belongs to another program.
                let ours = found[2].split(" -- ").next().unwrap();
                for option in option.captures_iter(ours) {
                    looked_at += 1;
                    assert!(
                        help.contains(&option[1]),
                        "{}: iris {name} knows no {}",
                        page.name(),
                        &option[1]
                    );
                }
            }
        }
    }
    assert!(looked_at > 20, "{looked_at}");
}

#[test]
fn quoted_errors_are_in_the_sources() {
    let sources = page::sources(&["src"]);
    let path = Path::new("docs/TROUBLESHOOTING.md");
    let page = Page::read(path);
    let row = Regex::new(r"(?m)^\| ([^|]*) \|").unwrap();
    let code = Regex::new("`([^`]+)`").unwrap();
    let mut quoted = 0;
    for row in row.captures_iter(&page.text) {
        for text in code.captures_iter(&row[1]) {
            let parts = text[1].split('…').map(|part| part.trim_matches(['"', ' ']));
            for part in parts.filter(|part| part.len() > 7) {
                quoted += 1;
                assert!(sources.contains(part), "nothing says {part:?}");
            }
        }
    }
    assert!(quoted > 20, "{quoted}");
}

#[test]
fn promises_are_held_by_tests() {
    let sources = page::sources(&["src", "tests"]);
    let page = Page::read(Path::new("SECURITY.md"));
    let promises = page.text.split("## Promises").nth(1).unwrap();
    let promises = promises.split("## ").next().unwrap();
    let row = Regex::new(r"(?m)^\| [^|]+ \| ([^|]+) \|$").unwrap();
    let (test, journey) = (
        Regex::new("`[a-z_]+::([a-z_0-9]+)`").unwrap(),
        Regex::new("the journey `([a-z]+)`").unwrap(),
    );
    let mut held = 0;
    for row in row.captures_iter(promises).skip(1) {
        let by = &row[1];
        let mut tests = 0;
        for found in test.captures_iter(by) {
            assert!(sources.contains(&format!("fn {}(", &found[1])), "{by}");
            tests += 1;
        }
        for found in journey.captures_iter(by) {
            let script = format!("tests/pages/journeys/{}.mjs", &found[1]);
            assert!(root().join(script).exists(), "{by}");
            tests += 1;
        }
        assert!(
            tests > 0 || by.contains("tests/fuzz"),
            "nothing holds {}",
            &row[0]
        );
        held += 1;
    }
    assert!(held > 10, "{held}");
}

#[test]
fn the_page_of_tests_lists_the_programs_that_there_are() {
    let page = Page::read(Path::new("tests/README.md"));
    let row = Regex::new(r"(?m)^\| `([a-z0-9_]+)` \|.*\|.*\|.*\|.*\|.*\|$").unwrap();
    let rows = row.captures_iter(&page.text);
    let listed: BTreeSet<String> = rows.map(|row| row[1].to_owned()).collect();
    let mut there = BTreeSet::new();
    for entry in std::fs::read_dir(root().join("tests")).unwrap() {
        let path = entry.unwrap().path();
        if path.join("main.rs").exists() || path.extension().is_some_and(|ending| ending == "rs") {
            there.insert(path.file_stem().unwrap().to_str().unwrap().to_owned());
        }
    }
    assert_eq!(listed, there);
}

impl Block {
    /// Lines of commands, those that go on put together.
    fn commands(&self) -> Vec<String> {
        let joined = self.text.replace("\\\n", " ");
        let lines = joined.lines().map(str::trim);
        lines
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(str::to_owned)
            .collect()
    }
}
