//! Holds the code to `docs/ARCHITECTURE.md`: which way modules import, where unsafe code may
//! stand, and how long a file may be. And each file in `config/` must load.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::{Path, PathBuf};

/// A module may import only from those before it.
const ORDER: [&str; 12] = [
    "base", "wire", "formats", "config", "policy", "net", "client", "records", "exchange", "web",
    "app", "main",
];

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

fn sources() -> Vec<(PathBuf, String)> {
    let src = root().join("src");
    files(&src, "rs")
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            (path.strip_prefix(&src).unwrap().to_owned(), text)
        })
        .collect()
}

fn module(path: &Path) -> String {
    let first = path
        .components()
        .next()
        .unwrap()
        .as_os_str()
        .to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// The text without its unit tests, which may use whatever makes a test short.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap()
}

#[test]
fn modules_import_only_from_those_before_them() {
    let place = |name: &str| ORDER.iter().position(|known| *known == name);
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let importer = module(&path);
        if importer == "lib" {
            continue;
        }
        let here = place(&importer).unwrap_or_else(|| {
            panic!("{importer} has no place in the order of tests/architecture.rs")
        });
        for part in without_tests(&text).split("crate::").skip(1) {
            let end = part.find(|char: char| !char.is_ascii_alphanumeric() && char != '_');
            let imported = &part[..end.unwrap_or(part.len())];
            if place(imported).is_none_or(|there| there > here) {
                wrong.push(format!("{}: {importer} imports {imported}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn only_the_boundary_to_go_is_unsafe() {
    for (path, text) in sources() {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (nth, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if !code.contains("unsafe {") {
                continue;
            }
            assert_eq!(
                path,
                Path::new("net/tailnet/tsnet/ffi.rs"),
                "unsafe code in {}:{}",
                path.display(),
                nth + 1
            );
            let explained = lines[nth.saturating_sub(6)..=nth]
                .iter()
                .any(|near| near.contains("SAFETY:"));
            // A declaration of foreign functions is not a use of them.
            assert!(
                explained || code.contains("extern"),
                "no SAFETY in {}:{}",
                path.display(),
                nth + 1
            );
        }
    }
}

#[test]
fn only_the_ledger_knows_sql_and_only_upstream_sees_a_secret() {
    for (path, text) in sources() {
        let (module, text) = (module(&path), without_tests(&text));
        // `config` checks a URL with the driver's own parser, so that a save and a start agree.
        let is_check = path == Path::new("config/address.rs") && !text.contains("rusqlite");
        let has_driver = text.contains("rusqlite") || text.contains("tokio_postgres");
        assert!(
            !has_driver || module == "records" || is_check,
            "SQL in {}",
            path.display()
        );
        // `app` hands the node its key and the ledger its URL, which `records` opens; `config`
        // checks their form.
        let may_expose = ["base", "config", "records", "app", "net"].contains(&module.as_str());
        assert!(
            !text.contains(".expose()") || may_expose,
            "a secret in {}",
            path.display()
        );
    }
}

#[test]
fn each_file_says_what_it_is_for_and_stays_readable() {
    for (path, text) in sources() {
        assert!(
            text.starts_with("//!"),
            "{} does not say what it is for",
            path.display()
        );
        let lines = text.lines().count();
        assert!(
            lines <= 600,
            "{} has {lines} lines: what is the second thing in it?",
            path.display()
        );
    }
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
