//! From a path to a checked configuration.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::declare::Section;
use super::finding::{Finding, Findings, Severity};
use super::hujson::Position;
use super::secrets::Hidden;
use super::table::Item;
use super::{File, expand, hujson};

/// A configuration larger than this is not read: it is another file by mistake.
pub const LONGEST: usize = 8 << 20;
/// What a reference to a file begins with.
pub(super) const FILE: &str = "file:";

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
pub fn references(text: &str) -> BTreeSet<String> {
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
