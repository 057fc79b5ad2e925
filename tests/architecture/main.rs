//! Holds the code to `docs/ARCHITECTURE.md`: which way modules import, that none import each other in
//! a circle, who may know what, and how long files and functions may be. And each file in `config/`
//! must load.
//!
//! Exceptions are in lists beside their rule, each with its reason. An entry that isn't needed fails
//! too, so that the lists can only get shorter.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod cycles;
mod formats;
mod own;
mod source;
mod throwaway;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use source::{File, Sources, module_of};

/// A module may import only from those before it.
const ORDER: [&str; 12] = [
    "base", "wire", "formats", "config", "policy", "net", "client", "records", "exchange", "web",
    "app", "main",
];

/// What the client may import, so that it can be built and shipped alone; for modules of the server, why.
const CLIENT: [(&str, &str); 6] = [
    ("base", ""),
    ("wire", ""),
    ("net", ""),
    ("client", ""),
    (
        "config",
        "a server that was found becomes a provider of the configuration",
    ),
    ("policy", "whether an address is one of a tailnet"),
];

/// Imports of unit tests that go the other way: the file, the module, and why.
const TEST_IMPORTS: [(&str, &str, &str); 0] = [];

/// An import through the root of the library: the exporters declare their keys beside their code, and
/// `config` reads them.
const HANDED_UP: (&str, &str) = ("config/exporters.rs", "exporters");

/// A rule about words that only some files may have.
struct Only {
    rule: &'static str,
    why: &'static str,
    /// Words one after the other, as in `env::var`; any of these.
    words: &'static [&'static [&'static str]],
    /// Folders and files that the rule gives it to.
    home: &'static [&'static str],
    /// Others that have it, each with its reason.
    others: &'static [(&'static str, &'static str)],
}

const KNOWLEDGE: [Only; 7] = [
    Only {
        rule: "unsafe code stands in the file that calls Go",
        why: "one file can be checked by hand, each block against the rule that it keeps",
        words: &[&["unsafe"]],
        home: &["net/tailnet/tsnet/ffi.rs"],
        others: &[],
    },
    Only {
        rule: "only `net/tailnet` knows descriptors and C",
        why: "another implementation of the tailnet is one folder, and a descriptor has one owner",
        words: &[
            &["libc"],
            &["OwnedFd"],
            &["BorrowedFd"],
            &["RawFd"],
            &["AsRawFd"],
            &["FromRawFd"],
        ],
        home: &["net/tailnet"],
        others: &[(
            "base/output.rs",
            "waits until standard error or a terminal can be written to",
        )],
    },
    Only {
        rule: "only `records/stores` knows SQL",
        why: "a store can be added or replaced without touching what records are for",
        words: &[&["rusqlite"], &["tokio_postgres"]],
        home: &["records/stores"],
        others: &[(
            "config/address.rs",
            "checks a URL with the driver's own parser, so that a save and a start agree",
        )],
    },
    Only {
        rule: "only `config`, `base/secret` and the command line read the environment",
        why: "a setting that is read elsewhere is in no documentation and in no test",
        words: &[
            &["env", "var"],
            &["env", "vars"],
            &["env", "var_os"],
            &["env", "vars_os"],
        ],
        home: &[
            "config",
            "base/secret.rs",
            "app/cli",
            "client/connect.rs",
            "client/doctor",
        ],
        others: &[
            (
                "app/systemd",
                "systemd hands over its sockets in the environment",
            ),
            ("base/panics.rs", "a panic on purpose, for tests of crashes"),
        ],
    },
    Only {
        rule: "a secret is in the clear only where it is used",
        why: "what can't be had can't be logged, shown or sent elsewhere",
        words: &[&["expose"]],
        home: &[
            "base/secret.rs",
            "config",
            "net/client/auth",
            "net/client/auth.rs",
        ],
        others: &[
            ("app/mod.rs", "the URL of the database, for the store"),
            ("app/reload.rs", "the same, to compare it with the new one"),
            ("app/settings.rs", "the node's auth key, for the node"),
            (
                "net/client/errand.rs",
                "headers of the gateway's own requests",
            ),
            ("net/client/proxy.rs", "a proxy's password, for the proxy"),
            ("net/tls.rs", "the key of the node's certificate, for TLS"),
            ("records/mod.rs", "the URL of the database, to open it"),
        ],
    },
    Only {
        rule: "only `exchange/upstream` sends what a caller asks",
        why: "it takes nothing that is not paid for; all else leaves as an errand, which takes nothing \
              of a caller's",
        words: &[&["client", "pool"], &["socket_pool"]],
        home: &["exchange/upstream", "net/client"],
        others: &[],
    },
    Only {
        rule: "only `lib.rs` names the package below it",
        why: "each module says `crate::`, so that another can move from one package to the other",
        words: &[&["iris_core"]],
        home: &["lib.rs"],
        others: &[],
    },
];

/// Lines of a file, unless its `//!` says why it has more.
const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 100;

/// Functions that are longer: the file, the function, and the reason.
const LONG_FUNCTIONS: &[(&str, &str, &str)] = &[];
/// Files that are longer and have not been split yet.
const LONG_FILES: &[&str] = &[];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path
            .extension()
            .is_some_and(|extension| extension == ending)
        {
            found.push(path);
        }
    }
    found
}

fn sources() -> &'static Sources {
    static ALL: LazyLock<Sources> = LazyLock::new(|| Sources::read(&root().join("src")));
    &ALL
}

/// Fails with the findings and the reason of their rule.
#[track_caller]
fn hold(findings: &[String], rule: &str, why: &str) {
    assert!(
        findings.is_empty(),
        "{rule}, because {why}:\n  {}",
        findings.join("\n  ")
    );
}

fn top(path: &[String]) -> &str {
    path.first().map_or("lib", String::as_str)
}

/// Imports that go the wrong way, and exceptions that nothing needs.
fn wrong_imports(sources: &Sources, exceptions: &[(&str, &str, &str)]) -> Vec<String> {
    let place = |name: &str| ORDER.iter().position(|known| *known == name);
    let (mut wrong, mut used) = (Vec::new(), BTreeSet::new());
    for file in &sources.files {
        let module = module_of(&file.path);
        let here = top(&module);
        if here == "lib" {
            continue;
        }
        let Some(here) = place(here) else {
            wrong.push(format!(
                "{here} has no place in ORDER of tests/architecture"
            ));
            continue;
        };
        let name = file.path.display().to_string();
        for one in &file.uses {
            let imported = top(&one.to);
            if place(imported).is_some_and(|there| there <= here)
                || (name.as_str(), imported) == HANDED_UP
            {
                continue;
            }
            let is_it = |(from, to, _): &&(&str, &str, &str)| name == *from && imported == *to;
            match exceptions.iter().find(is_it) {
                Some(exception) if one.is_test => {
                    used.insert(exception);
                }
                _ => wrong.push(format!("{name}:{} imports {}", one.line, one.to.join("::"))),
            }
        }
    }
    let unused = exceptions
        .iter()
        .filter(|exception| !used.contains(exception));
    wrong.extend(
        unused.map(|(from, to, _)| format!("{from} no longer imports {to}: take it off the list")),
    );
    wrong
}

#[test]
fn modules_import_only_from_those_before_them() {
    hold(
        &wrong_imports(sources(), &TEST_IMPORTS),
        &format!(
            "a module imports only from those before it ({})",
            ORDER.join(", ")
        ),
        "a part can then be read, tested and replaced without what is built on it; a unit test that \
         needs more stands in TEST_IMPORTS with its reason, or belongs to tests/",
    );
}

/// What the client imports beyond what it may, and what it may and doesn't.
fn beyond_the_client(sources: &Sources, allowed: &[(&str, &str)]) -> Vec<String> {
    let (mut wrong, mut used) = (Vec::new(), BTreeSet::new());
    for file in sources
        .files
        .iter()
        .filter(|file| file.path.starts_with("client"))
    {
        for one in file.uses.iter().filter(|one| !one.is_test) {
            let imported = top(&one.to);
            used.insert(imported);
            if allowed.iter().all(|(may, _)| *may != imported) {
                wrong.push(format!(
                    "{}:{} imports {}",
                    file.path.display(),
                    one.line,
                    one.to.join("::")
                ));
            }
        }
    }
    let unused = allowed.iter().filter(|(may, _)| !used.contains(may));
    wrong.extend(unused.map(|(may, _)| format!("{may} is not imported: take it off the list")));
    wrong
}

#[test]
fn the_client_can_be_built_alone() {
    hold(
        &beyond_the_client(sources(), &CLIENT),
        "`client` imports base, wire and net, and of config and policy only types",
        "it runs on a colleague's machine, in a program without the server",
    );
}

/// Where a file has one of a rule's words.
fn knows(file: &File, rule: &Only) -> Option<usize> {
    let words: Vec<_> = file.words.iter().filter(|word| !word.is_test).collect();
    let is_one = |sequence: &&[&str]| {
        let mut windows = words.windows(sequence.len());
        windows
            .find(|window| {
                window
                    .iter()
                    .zip(*sequence)
                    .all(|(word, wanted)| word.text == *wanted)
            })
            .map(|window| window[0].line)
    };
    rule.words.iter().find_map(is_one)
}

/// Files that know what they shouldn't, and exceptions that nothing needs.
fn out_of_place(sources: &Sources, rule: &Only) -> Vec<String> {
    let (mut wrong, mut used) = (Vec::new(), BTreeSet::new());
    for file in &sources.files {
        let Some(line) = knows(file, rule) else {
            continue;
        };
        if rule.home.iter().any(|home| file.path.starts_with(home)) {
            continue;
        }
        let mut others = rule.others.iter();
        match others.find(|(other, _)| file.path.starts_with(other)) {
            Some((other, _)) => drop(used.insert(*other)),
            None => wrong.push(format!("{}:{line}", file.path.display())),
        }
    }
    let others = rule.others.iter().map(|(other, _)| *other);
    let unused = others.filter(|other| !used.contains(other));
    wrong.extend(unused.map(|other| format!("{other} no longer needs its exception")));
    wrong
}

#[test]
fn each_knows_only_what_is_its_own() {
    let sources = sources();
    for rule in &KNOWLEDGE {
        hold(&out_of_place(sources, rule), rule.rule, rule.why);
    }
}

#[test]
fn unsafe_code_says_why_it_is_sound() {
    let mut wrong = Vec::new();
    for (path, text) in sources().files.iter().map(|file| (&file.path, &file.text)) {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (nth, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            // A declaration of foreign functions is not a use of them.
            if !code.contains("unsafe {") || code.contains("extern") {
                continue;
            }
            let before = &lines[nth.saturating_sub(6)..=nth];
            if !before.iter().any(|near| near.contains("SAFETY:")) {
                wrong.push(format!("{}:{}", path.display(), nth + 1));
            }
        }
    }
    hold(
        &wrong,
        "each block of unsafe code has a `SAFETY:` above it",
        "the compiler doesn't check what it promises",
    );
}

/// SQL in strings.
fn statements(sources: &Sources) -> Vec<String> {
    let starts = [
        "SELECT ",
        "INSERT INTO ",
        "UPDATE ",
        "DELETE FROM ",
        "CREATE TABLE ",
        "ALTER TABLE ",
    ];
    let mut wrong = Vec::new();
    for file in &sources.files {
        if file.path.starts_with("records/stores") {
            continue;
        }
        for string in file.strings.iter().filter(|string| !string.is_test) {
            let text = string
                .text
                .trim_start_matches(['r', '#', '"', 'b', ' ', '\n', '\\']);
            let is_one = starts.iter().any(|start| text.starts_with(start));
            if is_one
                && (text.contains(" FROM ")
                    || text.contains(" SET ")
                    || text.contains('(')
                    || text.contains("INTO"))
            {
                wrong.push(format!("{}:{}", file.path.display(), string.line));
            }
        }
    }
    wrong
}

#[test]
fn sql_stands_with_the_stores() {
    hold(
        &statements(sources()),
        "SQL stands in `records/stores`",
        "each statement is written once for each database, by who knows both",
    );
}

/// What is too long, and exceptions that nothing needs.
fn too_long(
    sources: &Sources,
    long_files: &[&str],
    long_functions: &[(&str, &str, &str)],
) -> Vec<String> {
    let (mut wrong, mut used, mut long) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for file in &sources.files {
        let name = file.path.display().to_string();
        let docs: Vec<&str> = file
            .text
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .collect();
        if docs.is_empty() {
            wrong.push(format!(
                "{name} doesn't begin with `//!` and what it is for"
            ));
        }
        let lines = file.text.lines().count();
        if lines > FILE_LINES && !docs.join(" ").contains("lines") {
            if !long_files.contains(&&*name) {
                wrong.push(format!("{name} has {lines} lines, and its `//!` gives no reason for more than {FILE_LINES} lines"));
            }
            long.insert(name.clone());
        }
        if lines <= FILE_LINES && docs.join(" ").contains("more than 500 lines") {
            wrong.push(format!("{name} no longer needs a reason for its length"));
        }
        for function in &file.functions {
            let is_it =
                |(path, known, _): &&(&str, &str, &str)| name == *path && function.name == *known;
            if function.lines <= FUNCTION_LINES {
                continue;
            }
            match long_functions.iter().find(is_it) {
                Some(exception) => drop(used.insert(exception)),
                None => wrong.push(format!(
                    "{name}:{} {} has {} lines",
                    function.line, function.name, function.lines
                )),
            }
        }
    }
    let short = long_files.iter().filter(|name| !long.contains(**name));
    wrong.extend(short.map(|name| format!("{name} is no longer so long: take it off the list")));
    let unused = long_functions
        .iter()
        .filter(|exception| !used.contains(exception));
    wrong.extend(unused.map(|(path, function, _)| {
        format!("{path}: {function} is no longer so long: take it off the list")
    }));
    wrong
}

#[test]
fn files_and_functions_say_what_they_are_for_and_stay_readable() {
    hold(
        &too_long(sources(), LONG_FILES, LONG_FUNCTIONS),
        "a file has at most 500 lines or a reason at its top, and a function at most 100",
        "what is longer has a second subject, which nobody finds by the file's name",
    );
}

#[test]
fn every_configuration_that_we_show_is_valid() {
    let shown = files(&root().join("config"), "hujson");
    assert!(!shown.is_empty());
    for path in shown {
        let text = std::fs::read_to_string(&path).unwrap();
        let loaded = iris::config::parse(&text, &|_| Some("value".to_owned()));
        let loaded = loaded.unwrap_or_else(|findings| panic!("{}: {findings:#?}", path.display()));
        let rules = iris::exchange::rules::Rules::compile(loaded, 1);
        assert!(
            rules.findings.is_empty(),
            "{}: {:#?}",
            path.display(),
            rules.findings
        );
    }
}
