//! Files that a configuration takes values from, as secrets are mounted into containers. What was
//! read last is kept: a file can be missing or empty while it is replaced, and a key that can't be
//! used is worth less than the one before.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::finding::{Finding, Severity, Subject};
use super::hujson::Position;
use super::load::{FILE, Loaded, file_value, parse, read_text, text};
use crate::base::secret::Secret;

/// What was read last of the files that a configuration names.
#[derive(Default)]
pub struct Files {
    /// Values in use, by reference.
    values: BTreeMap<String, Secret>,
    /// The files of the last reading, as they were before it.
    marks: BTreeMap<PathBuf, Option<Mark>>,
    /// The configuration itself, as it was before it was read last.
    own: Option<Mark>,
    /// What was read of it then, and of the files.
    content: Option<Fingerprint>,
    contents: BTreeMap<PathBuf, Option<Fingerprint>>,
}

/// What differs once a file was written or replaced.
pub(super) type Mark = (u64, u64, i64, i64, u64);

pub(super) fn mark(path: &Path) -> Option<Mark> {
    let of = std::fs::metadata(path).ok()?;
    Some((of.dev(), of.ino(), of.mtime(), of.mtime_nsec(), of.len()))
}

/// Stands for a text without being it: it may be a key.
type Fingerprint = [u8; 32];

fn fingerprint(text: &str) -> Fingerprint {
    Sha256::digest(text).into()
}

/// One reading of a configuration.
#[derive(Default)]
struct Reading {
    values: BTreeMap<String, Secret>,
    marks: BTreeMap<PathBuf, Option<Mark>>,
    contents: BTreeMap<PathBuf, Option<Fingerprint>>,
    /// References whose value is the one before, and why.
    kept: BTreeMap<String, String>,
}

impl Files {
    /// Reads and parses a file, with macros from the environment and from files. A file that is
    /// missing, empty or no key any more has the value that it had before, which is a finding.
    ///
    /// # Errors
    /// As [`parse`]; a file that can't be read is a finding too.
    pub fn load(&mut self, path: &Path) -> Result<Loaded, Vec<Finding>> {
        // Before it is read: what changes meanwhile is a change.
        self.own = mark(path);
        self.content = None;
        self.contents.clear();
        let text = read_text(path)?;
        self.content = Some(fingerprint(&text));
        let (mut reading, mut loaded) = self.read(&text, path, false);
        let changed = reading.values.iter().any(|(name, value)| {
            let before = self.values.get(name);
            before.is_some_and(|before| before != value)
        });
        if changed && broken_keys(&loaded) > 0 {
            let (before, with_old) = self.read(&text, path, true);
            if broken_keys(&with_old) < broken_keys(&loaded) {
                (reading, loaded) = (before, with_old);
            }
        }
        self.marks = reading.marks;
        self.contents = reading.contents;
        let mut loaded = loaded?;
        self.values = reading.values;
        for (name, why) in reading.kept {
            let message = format!("${{{name}}} {why}; the previous value stays in use");
            let finding = Finding::new(Severity::Warning, Position::default(), "", message);
            loaded.findings.push(finding.about(Subject::Stale));
        }
        Ok(loaded)
    }

    /// The files of the last reading, to be watched.
    pub(super) fn marks(&self) -> &BTreeMap<PathBuf, Option<Mark>> {
        &self.marks
    }

    /// Whether the configuration or one of its files says something else than what was read last. A
    /// file that was written again within one tick of the file system's clock looks as before.
    #[must_use]
    pub fn have_changed(&self, path: &Path) -> bool {
        let own = text(path).ok();
        let differs = |(path, then): (&PathBuf, &Option<Fingerprint>)| {
            file_value(path).ok().as_deref().map(fingerprint) != *then
        };
        own.as_deref().map(fingerprint) != self.content || self.contents.iter().any(differs)
    }

    pub(super) fn own(&self) -> Option<Mark> {
        self.own
    }

    fn read(
        &self,
        text: &str,
        path: &Path,
        keep_all: bool,
    ) -> (Reading, Result<Loaded, Vec<Finding>>) {
        let reading = RefCell::new(Reading::default());
        let loaded = parse(text, &|name| {
            let Some(file) = name.strip_prefix(FILE) else {
                return std::env::var(name).ok();
            };
            let file = path.parent().unwrap_or_else(|| Path::new(".")).join(file);
            let mut reading = reading.borrow_mut();
            if let Some(value) = reading.values.get(name) {
                return Some(value.expose().to_owned());
            }
            reading.marks.insert(file.clone(), mark(&file));
            let now = file_value(&file);
            let content = now.as_deref().ok().map(fingerprint);
            reading.contents.insert(file, content);
            let before = self.values.get(name).map(Secret::expose);
            let why = match (&now, before) {
                (_, None) => None,
                (Err(error), Some(_)) => Some(format!("cannot be read: {error}")),
                (Ok(now), Some(before)) if now.trim().is_empty() && !before.is_empty() => {
                    Some("is empty".to_owned())
                }
                (Ok(now), Some(before)) => (keep_all && now != before)
                    .then(|| "has changed to a value that can't be used".to_owned()),
            };
            let value = match (why, before) {
                (Some(why), Some(before)) => {
                    reading.kept.insert(name.to_owned(), why);
                    before.to_owned()
                }
                _ => now.ok()?,
            };
            let secret = Secret::new(value.clone());
            reading.values.insert(name.to_owned(), secret);
            Some(value)
        });
        (reading.into_inner(), loaded)
    }
}

/// Keys that can't be used.
fn broken_keys(loaded: &Result<Loaded, Vec<Finding>>) -> usize {
    let findings = match loaded {
        Ok(loaded) => &loaded.findings,
        Err(findings) => findings,
    };
    let broken = |finding: &&Finding| {
        finding.subject == Some(Subject::Credential) || finding.severity == Severity::Error
    };
    findings.iter().filter(broken).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a file so that it looks as before, but for what is in it.
    fn rewrite(path: &Path, text: &str) {
        let before = mark(path);
        let written = std::fs::metadata(path).unwrap().modified().unwrap();
        std::fs::write(path, text).unwrap();
        let file = std::fs::File::options().append(true).open(path).unwrap();
        file.set_modified(written).unwrap();
        assert_eq!(mark(path), before, "the test means something");
    }

    #[test]
    fn what_was_written_since_is_seen_by_what_it_says() {
        let dir = tempfile::tempdir().unwrap();
        let (config, key) = (dir.path().join("iris.hujson"), dir.path().join("key"));
        let text = |model: &str| {
            format!(
                r#"{{"providers":{{"p":{{"baseurl":"http://p","models":["{model}"],"apikey":"${{file:key}}"}}}}}}"#
            )
        };
        std::fs::write(&config, text("a")).unwrap();
        std::fs::write(&key, "sk-1").unwrap();
        let mut files = Files::default();
        files.load(&config).unwrap();
        assert!(!files.have_changed(&config));
        rewrite(&config, &text("b"));
        assert!(files.have_changed(&config));
        files.load(&config).unwrap();
        assert!(!files.have_changed(&config));
        rewrite(&key, "sk-2");
        assert!(files.have_changed(&config));
        files.load(&config).unwrap();
        std::fs::remove_file(&key).unwrap();
        assert!(files.have_changed(&config));
        // The value before stays in use, and there is nothing new to read.
        files.load(&config).unwrap();
        assert!(!files.have_changed(&config));
        std::fs::remove_file(&config).unwrap();
        assert!(files.have_changed(&config));
        files.load(&config).unwrap_err();
        assert!(!files.have_changed(&config));
    }

    #[test]
    fn the_value_before_stays_while_a_file_is_missing_empty_or_no_key() {
        let dir = tempfile::tempdir().unwrap();
        let (config, key) = (dir.path().join("iris.hujson"), dir.path().join("key"));
        let text =
            r#"{"providers":{"p":{"baseurl":"http://p","models":["m"],"apikey":"${file:key}"}}}"#;
        std::fs::write(&config, text).unwrap();
        let mut files = Files::default();
        assert!(files.load(&config).is_err(), "nothing was there before");
        assert_eq!(files.marks().len(), 1, "it is watched all the same");
        let mut load = |content: Option<&str>| {
            match content {
                Some(content) => std::fs::write(&key, content).unwrap(),
                None => std::fs::remove_file(&key).unwrap(),
            }
            let loaded = files.load(&config).unwrap();
            let told = loaded
                .findings
                .iter()
                .find(|one| one.message.contains("previous value"));
            let told = told.map(|one| one.message.clone()).unwrap_or_default();
            (loaded.file.providers["p"].apikey.expose().to_owned(), told)
        };
        assert_eq!(
            load(Some("sk-first\n")),
            ("sk-first".to_owned(), String::new())
        );
        for (content, says) in [
            (Some(""), "${file:key} is empty"),
            (Some("\n"), "is empty"),
            (None, "cannot be read"),
            (Some("sk-half\nCANARY"), "a value that can't be used"),
        ] {
            let (key, told) = load(content);
            assert_eq!(key, "sk-first", "{content:?}");
            assert!(told.contains(says) && !told.contains("CANARY"), "{told}");
        }
        assert_eq!(
            load(Some("sk-second")),
            ("sk-second".to_owned(), String::new())
        );
    }
}
