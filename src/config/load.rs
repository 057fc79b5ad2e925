//! From a path to a checked configuration, and the watch for its changes.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::declare::Section;
use super::files::Files;
use super::finding::{Finding, Findings, Severity};
use super::hujson::Position;
use super::secrets::Hidden;
use super::table::Item;
use super::{File, expand, hujson};

/// A configuration larger than this is not read: it is another file by mistake.
pub const LONGEST: usize = 8 << 20;
/// What a reference to a file begins with.
pub(super) const FILE: &str = "file:";
/// Between two looks at a file that is watched.
const LOOK: Duration = Duration::from_millis(150);
/// Looks at the file for one at those that it takes values from.
const LOOKS: u32 = 4;

/// A configuration that can be used.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub file: File,
    /// Warnings and notes, in the order of the text.
    pub findings: Vec<Finding>,
}

/// Parses a document. `lookup` resolves what stands in `${…}`.
///
/// # Errors
/// All findings, when an error is among them.
pub fn parse(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, Vec<Finding>> {
    let mut root = hujson::parse(text)
        .map_err(|error| vec![Finding::new(Severity::Error, error.at, "", error.message)])?;
    if !matches!(root.value, hujson::Value::Object(_)) {
        // An empty configuration would take everything from everybody; this is another file.
        let message = format!("a configuration is an object, not {}", root.value.kind());
        return Err(vec![Finding::new(Severity::Error, root.at, "", message)]);
    }
    let findings = Findings::default();
    let mut hidden = Hidden::of(&root, lookup);
    let unresolved = expand::expand(&mut root, File::within(), lookup);
    hidden.add(&root);
    if let Some((at, _)) = unresolved.first() {
        let names: Vec<&str> = unresolved.iter().map(|(_, name)| name.as_str()).collect();
        let message = format!("unsubstituted macros: [{}]", names.join(" "));
        let hint = "set the environment variable, or write ${file:/path} to read a file";
        findings.add(Finding::new(Severity::Error, *at, "", message).hint(hint));
    }
    let item = Item::root(&root, &findings);
    let file = item.table().and_then(File::of).unwrap_or_default();
    let mut findings = findings.sorted();
    hidden.hide(&mut findings);
    if findings
        .iter()
        .any(|finding| finding.severity == Severity::Error)
    {
        return Err(findings);
    }
    Ok(Loaded { file, findings })
}

/// What stands in `${…}` in the values of a document; comments refer to nothing.
pub(crate) fn references(text: &str) -> BTreeSet<String> {
    let references = RefCell::new(BTreeSet::new());
    // What is wrong with the document is for others to say.
    let _ = parse(text, &|name| {
        references.borrow_mut().insert(name.to_owned());
        Some("value".to_owned())
    });
    references.into_inner()
}

/// Parses a text as if it stood in the file at `path`.
///
/// # Errors
/// As [`parse`].
pub fn check(text: &str, path: &Path) -> Result<Loaded, Vec<Finding>> {
    parse(text, &|name| resolve(name, path.parent()))
}

/// Reads and parses a file, with macros from the environment and from files.
///
/// # Errors
/// As [`parse`]; a file that can't be read is a finding too.
pub fn load(path: &Path) -> Result<Loaded, Vec<Finding>> {
    check(&read_text(path)?, path)
}

/// The text of a configuration; that it can't be read is a finding.
pub(super) fn read_text(path: &Path) -> Result<String, Vec<Finding>> {
    text(path).map_err(|error| {
        let message = format!("{} cannot be read: {error}", path.display());
        vec![Finding::new(
            Severity::Error,
            Position::default(),
            "",
            message,
        )]
    })
}

/// The text of a file, up to [`LONGEST`] bytes.
///
/// # Errors
/// As reading gives them.
pub fn text(path: &Path) -> std::io::Result<String> {
    if std::fs::metadata(path)?.len() > LONGEST as u64 {
        return Err(std::io::Error::other("it is larger than 8 MiB"));
    }
    std::fs::read_to_string(path)
}

/// An environment variable, or the contents of a file without the line breaks at its end. A
/// relative path begins where the configuration lies.
pub(super) fn resolve(name: &str, dir: Option<&Path>) -> Option<String> {
    let Some(path) = name.strip_prefix(FILE) else {
        return std::env::var(name).ok();
    };
    let path = dir.unwrap_or_else(|| Path::new(".")).join(path);
    file_value(&path).ok()
}

/// The contents of a file without the line breaks at its end.
pub(super) fn file_value(path: &Path) -> std::io::Result<String> {
    let text = text(path)?;
    // Editors of Windows put a mark in front.
    let text = hujson::without_mark(&text);
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

/// Where the configuration is: as given, `$IRIS_CONFIG`, `./iris.hujson`, or
/// `iris.hujson` in the state directory; `None` if there is none.
#[must_use]
pub fn find(given: Option<&Path>, state_dir: Option<&Path>) -> Option<PathBuf> {
    if let Some(path) = given {
        return Some(path.to_owned());
    }
    if let Some(path) = std::env::var_os("IRIS_CONFIG").filter(|path| !path.is_empty()) {
        return Some(path.into());
    }
    [
        Some(Path::new("iris.hujson").to_owned()),
        state_dir.map(|dir| dir.join("iris.hujson")),
    ]
    .into_iter()
    .flatten()
    .find(|path| path.is_file())
}

/// Tells of changes to a file, also when it is replaced by another one.
///
/// It is looked at a few times a second. Events of the system would come for its folder, because
/// editors replace files: in a folder where records are kept as well, that is one for each of
/// their writes; and file systems over a network have none.
pub struct Watch {
    path: PathBuf,
    seen: Option<Mark>,
    /// Files that the file takes values from. Links are followed, so that a folder which is
    /// replaced, as Kubernetes does, is seen as well.
    files: BTreeMap<PathBuf, Option<Mark>>,
}

/// What differs once a file was written or replaced.
pub(super) type Mark = (u64, u64, i64, i64, u64);

pub(super) fn mark(path: &Path) -> Option<Mark> {
    let of = std::fs::metadata(path).ok()?;
    Some((of.dev(), of.ino(), of.mtime(), of.mtime_nsec(), of.len()))
}

/// Watches a file; links are followed.
#[must_use]
pub fn watch(path: &Path) -> Watch {
    Watch {
        path: path.to_owned(),
        seen: mark(path),
        files: BTreeMap::new(),
    }
}

impl Watch {
    /// Waits for a change, and until the file has come to rest: editors write in several steps.
    pub async fn changed(&mut self) {
        let mut is_new = false;
        for look in 0_u32.. {
            tokio::time::sleep(LOOK).await;
            let now = mark(&self.path);
            let mut differs = now != self.seen;
            self.seen = now;
            if is_new || look % LOOKS == 0 {
                for (path, seen) in &mut self.files {
                    let now = mark(path);
                    differs |= now != *seen;
                    *seen = now;
                }
            }
            if differs {
                is_new = true;
            } else if is_new && now.is_some() {
                return;
            }
        }
    }

    /// Watches the files of a reading as well, and for changes since that reading.
    pub fn follow(&mut self, files: &Files) {
        self.files.clone_from(files.marks());
        self.seen = files.own().or(self.seen);
        if files.have_changed(&self.path) {
            // Looks different from whatever is there, and is read once it has come to rest.
            self.seen = None;
        }
    }
}
