//! A page of the documentation, taken apart.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use regex::Regex;

/// A fenced block.
pub(crate) struct Block {
    pub(crate) language: String,
    pub(crate) text: String,
    /// Line of its fence.
    pub(crate) line: usize,
    /// Comments right above it.
    marks: Vec<String>,
}

impl Block {
    /// What a comment above it says behind a name; empty if it says no more.
    pub(crate) fn mark(&self, name: &str) -> Option<&str> {
        let mut marks = self.marks.iter();
        let found = marks.find_map(|mark| mark.strip_prefix(name))?;
        Some(found.trim_start_matches(':').trim())
    }
}

/// A page.
pub(crate) struct Page {
    /// From the project's folder.
    pub(crate) path: PathBuf,
    pub(crate) text: String,
    pub(crate) blocks: Vec<Block>,
    pub(crate) links: Vec<String>,
    /// Names of its headings, as links have them.
    pub(crate) anchors: BTreeSet<String>,
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The READMEs, what is promised, how to contribute, and all of `docs`.
pub(crate) fn all() -> Vec<Page> {
    let docs = std::fs::read_dir(root().join("docs")).unwrap();
    let mut paths: Vec<PathBuf> = docs
        .map(|entry| Path::new("docs").join(entry.unwrap().file_name()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "md"))
        .collect();
    paths.sort();
    let others = [
        "README.md",
        "SECURITY.md",
        "CONTRIBUTING.md",
        "tests/README.md",
    ];
    paths.extend(others.map(PathBuf::from));
    paths.iter().map(|path| Page::read(path)).collect()
}

/// A path without `.` and `..`.
pub(crate) fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir => {}
            part => out.push(part),
        }
    }
    out
}

/// All sources below some folders in one text, with their strings as they are told.
pub(crate) fn sources(folders: &[&str]) -> String {
    let mut folders: Vec<_> = folders.iter().map(|folder| root().join(folder)).collect();
    let mut all = String::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|ending| ["rs", "go"].iter().any(|one| ending == *one))
            {
                all.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let goes_on = Regex::new(r"\\\n\s*").unwrap();
    goes_on.replace_all(&all, "").replace("\\\"", "\"")
}

impl Page {
    pub(crate) fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(root().join(path)).unwrap();
        let mut page = Self {
            path: path.to_owned(),
            blocks: Vec::new(),
            links: Vec::new(),
            anchors: BTreeSet::new(),
            text: text.clone(),
        };
        let link = Regex::new(r"\]\(([^)\s]+)\)").unwrap();
        let mut marks = Vec::new();
        let mut lines = text.lines().zip(1..);
        while let Some((line, number)) = lines.next() {
            if let Some(language) = line.strip_prefix("```") {
                let body: Vec<&str> = lines
                    .by_ref()
                    .map(|(line, _)| line)
                    .take_while(|line| *line != "```")
                    .collect();
                page.blocks.push(Block {
                    language: language.to_owned(),
                    text: body.join("\n"),
                    line: number,
                    marks: std::mem::take(&mut marks),
                });
            } else if let Some(mark) = line.strip_prefix("<!-- ") {
                marks.push(mark.trim_end_matches("-->").trim().to_owned());
            } else {
                marks.clear();
                if line.starts_with('#') {
                    page.anchors.insert(anchor(line.trim_start_matches('#')));
                }
                page.links
                    .extend(link.captures_iter(line).map(|found| found[1].to_owned()));
            }
        }
        page
    }

    pub(crate) fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Where a block is.
    pub(crate) fn at(&self, block: &Block) -> String {
        format!("{}:{}", self.name(), block.line)
    }

    /// What stands between backticks, and the lines of `sh` blocks.
    pub(crate) fn code(&self) -> Vec<String> {
        let span = Regex::new("`([^`\n]+)`").unwrap();
        let mut all: Vec<String> = span
            .captures_iter(&self.text)
            .map(|found| found[1].to_owned())
            .collect();
        let blocks = self.blocks.iter().filter(|block| block.language == "sh");
        all.extend(blocks.flat_map(|block| block.text.lines().map(str::to_owned)));
        all
    }
}

/// A heading as links have it: letters, digits, `-` and `_`, blanks as `-`.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter_map(|char| match char {
        ' ' => Some('-'),
        '-' | '_' => Some(char),
        char if char.is_alphanumeric() => Some(char.to_ascii_lowercase()),
        _ => None,
    });
    kept.collect()
}
