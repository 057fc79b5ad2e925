//! The files beside the pages: a style sheet, scripts and a sign. They are part of the program,
//! and their address has a hash of all of them in it, so that a browser may keep them for ever
//! and scripts import each other by relative names.

use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderMap, Response};
use sha2::{Digest, Sha256};

use super::answer;
use crate::wire::Body;

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Name, type and content.
const FILES: &[(&str, &str, &str)] = &[
    (
        "app.css",
        "text/css; charset=utf-8",
        include_str!("static/app.css"),
    ),
    ("theme.js", SCRIPT, include_str!("static/theme.js")),
    ("app.js", SCRIPT, include_str!("static/app.js")),
    ("admin.js", SCRIPT, include_str!("static/admin.js")),
    ("chat.js", SCRIPT, include_str!("static/chat.js")),
    ("chats.js", SCRIPT, include_str!("static/chats.js")),
    ("config.js", SCRIPT, include_str!("static/config.js")),
    ("live.js", SCRIPT, include_str!("static/live.js")),
    ("merge.js", SCRIPT, include_str!("static/merge.js")),
    ("message.js", SCRIPT, include_str!("static/message.js")),
    ("patch.js", SCRIPT, include_str!("static/patch.js")),
    ("markdown.js", SCRIPT, include_str!("static/markdown.js")),
    ("setup.js", SCRIPT, include_str!("static/setup.js")),
    ("wire.js", SCRIPT, include_str!("static/wire.js")),
    ("icon.svg", "image/svg+xml", include_str!("static/icon.svg")),
];

/// Where the files are: a folder named by their hash.
static FOLDER: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    for (name, _, content) in FILES {
        hash.update(name);
        hash.update([0]);
        hash.update(content);
        hash.update([0]);
    }
    let hash = hash.finalize();
    let hash = hash
        .iter()
        .take(6)
        .fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    format!("/ui/assets/{hash:012x}/")
});

/// Compressed once.
static PACKED: LazyLock<Vec<Bytes>> = LazyLock::new(|| {
    FILES
        .iter()
        .map(|(_, _, content)| answer::gzip(content.as_bytes()))
        .collect()
});

/// The address of a file.
pub(super) fn address(name: &str) -> String {
    format!("{}{name}", *FOLDER)
}

/// The file at a path. One of another version is not there: a browser that asks for it has a page of
/// before, and the next page brings the new address.
pub(super) fn at(path: &str, headers: &HeaderMap) -> Option<Response<Body>> {
    let name = path.strip_prefix(FOLDER.as_str())?;
    let nth = FILES.iter().position(|(known, _, _)| *known == name)?;
    let (_, kind, content) = FILES[nth];
    Some(if answer::accepts_gzip(headers) {
        answer::file(PACKED[nth].clone(), kind, true)
    } else {
        answer::file(Bytes::from_static(content.as_bytes()), kind, false)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_together_are_small() {
        let all: usize = PACKED.iter().map(Bytes::len).sum();
        assert!(all < 150 << 10, "{all} bytes");
    }

    #[test]
    fn scripts_make_no_markup_of_text() {
        let sinks = [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "Function(",
        ];
        for (name, _, content) in FILES {
            for sink in sinks {
                assert!(!content.contains(sink), "{sink} in {name}");
            }
        }
    }

    #[test]
    fn only_the_files_of_this_version_are_there() {
        let headers = HeaderMap::new();
        assert!(at(&address("app.css"), &headers).is_some());
        assert!(at(&address("other.css"), &headers).is_none());
        assert!(at("/ui/assets/000000000000/app.css", &headers).is_none());
    }
}
