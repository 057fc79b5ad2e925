//! No two submodules of a folder import each other, directly or through others.
//!
//! The rule: take a folder and its submodules (files and folders). One imports another when a path in
//! it, followed through imports and re-exports, leads into the other. Paths to the folder itself
//! (`super::Name`, where `Name` is declared there) don't count, because a folder's `mod.rs` declares what
//! its parts share; neither do paths of tests.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Module, Sources};

/// Circles that are left, each with its reason: the folder, its parts (any, where none is named), and
/// why.
pub(crate) const KNOWN: &[(&str, &[&str], &str)] = &[
    ("config", &[], "not yet untangled"),
    ("config/schema", &[], "not yet untangled"),
    ("config/secrets", &[], "not yet untangled"),
    ("exchange", &[], "not yet untangled"),
    ("exchange/guardrails", &[], "not yet untangled"),
    ("exchange/relay", &[], "not yet untangled"),
    ("exchange/websocket", &[], "not yet untangled"),
    ("formats", &[], "not yet untangled"),
];

/// The parts of a folder that import each other.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Circle {
    pub(crate) folder: String,
    pub(crate) parts: Vec<String>,
    /// One import for each two of them.
    pub(crate) imports: Vec<String>,
}

/// In a folder, who imports whom, with one place where that is done.
type Graph = BTreeMap<String, BTreeMap<String, String>>;

fn graphs(sources: &Sources) -> BTreeMap<Module, Graph> {
    let mut graphs: BTreeMap<Module, Graph> = BTreeMap::new();
    for file in &sources.files {
        for one in file.uses.iter().filter(|one| !one.is_test) {
            let to = sources.target(&one.to);
            let shared = one.from.iter().zip(&to).take_while(|(from, to)| from == to);
            let shared = shared.count();
            // The order of the top level is another rule.
            if shared == 0 {
                continue;
            }
            if let (Some(from), Some(to)) = (one.from.get(shared), to.get(shared)) {
                let folder = graphs.entry(one.from[..shared].to_vec()).or_default();
                let place = format!("{}:{}", file.path.display(), one.line);
                let imports = folder.entry(from.clone()).or_default();
                imports.entry(to.clone()).or_insert(place);
            }
        }
    }
    graphs
}

/// All that a part leads to.
fn reached(graph: &Graph, from: &str) -> BTreeSet<String> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![from.to_owned()]);
    while let Some(next) = open.pop() {
        for to in graph.get(&next).into_iter().flat_map(BTreeMap::keys) {
            if reached.insert(to.clone()) {
                open.push(to.clone());
            }
        }
    }
    reached
}

pub(crate) fn find(sources: &Sources) -> Vec<Circle> {
    let mut circles = Vec::new();
    for (folder, graph) in graphs(sources) {
        let reached: BTreeMap<&String, BTreeSet<String>> = graph
            .keys()
            .map(|part| (part, reached(&graph, part)))
            .collect();
        let mut seen = BTreeSet::new();
        for (part, theirs) in &reached {
            if !theirs.contains(*part) || seen.contains(*part) {
                continue;
            }
            let is_back =
                |other: &&String| reached.get(other).is_some_and(|back| back.contains(*part));
            let parts: Vec<String> = theirs.iter().filter(is_back).cloned().collect();
            seen.extend(parts.iter().cloned());
            let mut imports = Vec::new();
            for from in &parts {
                for (to, place) in graph.get(from).into_iter().flatten() {
                    if parts.contains(to) {
                        imports.push(format!("{from} imports {to} ({place})"));
                    }
                }
            }
            circles.push(Circle {
                folder: folder.join("/"),
                parts,
                imports,
            });
        }
    }
    circles
}

/// Circles that aren't known.
pub(crate) fn wrong(sources: &Sources, known: &[(&str, &[&str], &str)]) -> Vec<String> {
    let is_known = |circle: &Circle| {
        known.iter().any(|(folder, parts, _)| {
            circle.folder == *folder && (parts.is_empty() || circle.parts == *parts)
        })
    };
    let mut circles = find(sources);
    circles.retain(|circle| !is_known(circle));
    let shown = circles.iter().map(|circle| {
        let imports = circle.imports.join("\n      ");
        format!(
            "{}: {}\n      {imports}",
            circle.folder,
            circle.parts.join(", ")
        )
    });
    shown.collect()
}

#[test]
fn no_parts_of_a_folder_import_each_other() {
    crate::hold(
        &wrong(crate::sources(), KNOWN),
        "parts of a folder don't import each other in a circle",
        "of two that do, neither can be read or changed alone: move what they share to where both \
         may import it from (the folder's `mod.rs`, or a part of its own)",
    );
}
