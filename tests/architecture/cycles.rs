//! No two submodules of a folder import each other, directly or through others.
//!
//! The rule: take a folder and its submodules (files and folders). One imports another when a path in
//! it, followed through imports and re-exports, leads into the other. Paths to the folder itself
//! (`super::Name`, where `Name` is declared there) don't count, because a folder's `mod.rs` declares what
//! its parts share; neither do paths of tests.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Module, Sources};

/// Circles that are left: the folder, its parts (if none is named, any), and the reason.
pub(crate) const KNOWN: &[(&str, &[&str], &str)] = &[
    (
        "records",
        &[],
        "a store implements what the roles declare, and the roles name its failures",
    ),
];

/// The parts of a folder that import each other.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Circle {
    pub(crate) folder: String,
    pub(crate) parts: Vec<String>,
    /// One import for each two of them.
    pub(crate) imports: Vec<String>,
}

/// The imports between the parts of a folder, each with one place that has it.
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

/// Everything that a part imports, directly or through others.
fn reached(graph: &Graph, from: &str) -> BTreeSet<String> {
    let (mut reached, mut rest) = (BTreeSet::new(), vec![from.to_owned()]);
    while let Some(next) = rest.pop() {
        for to in graph.get(&next).into_iter().flat_map(BTreeMap::keys) {
            if reached.insert(to.clone()) {
                rest.push(to.clone());
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

/// Circles that aren't known, and known ones that are gone.
pub(crate) fn wrong(sources: &Sources, known: &[(&str, &[&str], &str)]) -> Vec<String> {
    let is_it = |circle: &Circle, (folder, parts, _): &(&str, &[&str], &str)| {
        circle.folder == *folder && (parts.is_empty() || circle.parts == *parts)
    };
    let circles = find(sources);
    let mut wrong = Vec::new();
    for circle in &circles {
        if !known.iter().any(|known| is_it(circle, known)) {
            let (folder, parts) = (&circle.folder, circle.parts.join(", "));
            let imports = circle.imports.join("\n      ");
            wrong.push(format!("{folder}: {parts}\n      {imports}"));
        }
    }
    for gone in known {
        if !circles.iter().any(|circle| is_it(circle, gone)) {
            wrong.push(format!(
                "{} no longer has this circle: take it off the list",
                gone.0
            ));
        }
    }
    wrong
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
