//! A text that comes back, beside the one that is stored: each placeholder is looked up where it
//! stood, by the keys that lead there, and lists are laid side by side first.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use super::PLACEHOLDER;
use super::moved::{Moves, is_same_place, origin};
use super::what::{canonical, parts, quoted, shown, text};
use crate::config::expand;
use crate::config::file::File;
use crate::config::finding::{Finding, Severity};
use crate::config::hujson::{Node, Value};
use crate::config::within::Within;

/// What is learned while two documents are walked side by side.
pub(super) struct Restoring<'a> {
    /// The stored text, from which literals are taken as they were written.
    pub stored: &'a str,
    /// Whether a reference may be written that is not stored.
    pub may_refer: &'a dyn Fn(&str) -> bool,
    /// What to put where in the new text, in its order.
    pub edits: Vec<(Range<usize>, String)>,
    /// All that can't be.
    pub findings: Vec<Finding>,
    /// What the whole text says of where secrets are sent.
    pub moves: Moves,
}

/// A value of the new text, and what is known around it.
struct Here<'n> {
    node: &'n Node,
    within: Within<'n>,
    path: String,
    /// The stored value in the same place.
    old: Option<&'n Node>,
    /// Where the stored secrets of this place were sent, when the new text sends them elsewhere.
    moved: Option<String>,
}

impl Restoring<'_> {
    pub(super) fn walk(&mut self, new: &Node, old: Option<&Node>) {
        self.value(&Here {
            node: new,
            within: File::within(),
            path: String::new(),
            old,
            moved: None,
        });
    }

    fn value(&mut self, here: &Here<'_>) {
        match &here.node.value {
            Value::Object(_) => self.object(here),
            Value::Array(_) => self.array(here),
            Value::String(_) | Value::Number(_) => self.literal(here),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn object(&mut self, here: &Here<'_>) {
        let moved = self.moves.of(here.node, here.old, here.within, &here.path);
        let moved = moved.or_else(|| here.moved.clone());
        // Of a key that is given twice, each stands for itself.
        let mut stored: HashMap<&str, VecDeque<&Node>> = HashMap::new();
        for member in here.old.map_or(&[][..], Node::members) {
            let values = stored.entry(&member.key).or_default();
            values.push_back(&member.node);
        }
        for member in here.node.members() {
            let path = if here.path.is_empty() {
                member.key.clone()
            } else {
                format!("{}.{}", here.path, member.key)
            };
            self.value(&Here {
                node: &member.node,
                within: here.within.member(&member.key),
                path,
                old: stored.get_mut(&*member.key).and_then(VecDeque::pop_front),
                moved: moved.clone(),
            });
        }
    }

    fn array(&mut self, here: &Here<'_>) {
        let Value::Array(items) = &here.node.value else {
            return;
        };
        let stored = match here.old.map(|old| &old.value) {
            Some(Value::Array(stored)) => stored.as_slice(),
            _ => &[],
        };
        let pairs = aligned(items, stored, here.within, self.stored);
        for (nth, (item, old)) in items.iter().zip(pairs).enumerate() {
            self.value(&Here {
                node: item,
                within: here.within,
                path: format!("{}[{nth}]", here.path),
                old,
                moved: here.moved.clone(),
            });
        }
    }

    fn literal(&mut self, here: &Here<'_>) {
        let Some(new) = text(here.node) else { return };
        let old = here.old.and_then(text);
        if new.contains(PLACEHOLDER) {
            self.placeholder(here, &new, old.as_deref());
        }
        let is_known = here
            .old
            .zip(old.as_deref())
            .is_some_and(|(node, old)| new == old || new == shown(old, &parts(node, here.within)));
        for (range, place) in expand::places(here.within.holds, &new) {
            let name = &new[range.start + 2..range.end - 1];
            if (self.may_refer)(name) {
                continue;
            }
            let what = format!("the reference ${{{name}}}");
            if !is_known {
                let message = format!("{what} does not stand here in the stored configuration");
                let hint = "who may save a configuration need not read what the machine holds: \
                    write it into the file there, or allow it in its access.references";
                self.refuse(here, message, hint);
            } else if here.within.is_private() || place.is_private() {
                self.moved(here, &what);
            }
        }
    }

    /// Puts the stored secrets in the place of placeholders.
    fn placeholder(&mut self, here: &Here<'_>, new: &str, old: Option<&str>) {
        let (Some(old), Some(old_node)) = (old, here.old) else {
            return self.unknown(here);
        };
        let stored = parts(old_node, here.within);
        let of = |range: &Range<usize>| &old[range.clone()];
        if stored.iter().any(|part| of(&part.range) == PLACEHOLDER) {
            return self.unknown(here);
        }
        if stored.is_empty() && new == old {
            // These words stand in a text that holds no secret.
            return;
        }
        if new == shown(old, &stored) && is_plain(here.node, new) {
            if !self.moved(here, "the secret") {
                let raw = self.stored[old_node.bytes.clone()].to_owned();
                self.edits.push((here.node.bytes.clone(), raw));
            }
            return;
        }
        // The rest of the value is another one.
        let mut whole = String::new();
        let mut from = 0;
        for part in parts(here.node, here.within) {
            if &new[part.range.clone()] != PLACEHOLDER {
                continue;
            }
            let Some(known) = stored.iter().find(|known| known.name == part.name) else {
                return self.unknown(here);
            };
            whole.push_str(&new[from..part.range.start]);
            whole.push_str(of(&known.range));
            from = part.range.end;
        }
        whole.push_str(&new[from..]);
        let was = shown(old, &stored);
        let elsewhere = (!is_same_place(new, &was)).then(|| origin(&was));
        if from == 0 || new[from..].contains(PLACEHOLDER) {
            self.unknown(here);
        } else if let Some(from) = elsewhere {
            self.sent_elsewhere(here, "the secret", &from);
        } else if !self.moved(here, "the secret") {
            self.edits.push((here.node.bytes.clone(), quoted(&whole)));
        }
    }

    fn unknown(&mut self, here: &Here<'_>) {
        let message = format!("{PLACEHOLDER} stands for a secret that is not stored here");
        self.refuse(here, message, "write the secret itself");
    }

    /// Whether what is stored here was for another server; if so, that is a finding.
    fn moved(&mut self, here: &Here<'_>, what: &str) -> bool {
        if let Some(from) = &here.moved {
            self.sent_elsewhere(here, what, &from.clone());
        }
        here.moved.is_some()
    }

    fn sent_elsewhere(&mut self, here: &Here<'_>, what: &str, from: &str) {
        let message = format!("{what} was for {from}, and would now be sent elsewhere");
        let hint = "write the secret itself, so that nobody can send one to themselves";
        self.refuse(here, message, hint);
    }

    fn refuse(&mut self, here: &Here<'_>, message: String, hint: &str) {
        let at = here.node.at;
        let finding = Finding::new(Severity::Error, at, &here.path, message);
        self.findings.push(finding.hint(hint));
    }
}

/// Whether a literal is written as it is shown: another way to write it is kept.
fn is_plain(node: &Node, text: &str) -> bool {
    node.bytes.len() == quoted(text).len()
}

/// For each item of a list the stored one that it was: the one that is shown alike, else the one
/// in the same place, if the list is as long as it was.
fn aligned<'n>(
    new: &[Node],
    old: &'n [Node],
    within: Within<'_>,
    stored: &str,
) -> Vec<Option<&'n Node>> {
    let forms = |nodes: &[Node]| -> Vec<String> {
        let form = |node| {
            let mut form = String::new();
            canonical(node, within, &mut form);
            form
        };
        nodes.iter().map(form).collect()
    };
    let (new_forms, old_forms) = (forms(new), forms(old));
    let mut alike: HashMap<&str, Vec<usize>> = HashMap::new();
    for (nth, form) in old_forms.iter().enumerate() {
        alike.entry(form).or_default().push(nth);
    }
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for form in &new_forms {
        *counts.entry(form).or_default() += 1;
    }
    let mut taken: HashMap<&str, usize> = HashMap::new();
    let raw = |nth: usize| &stored[old[nth].bytes.clone()];
    let pair = |(nth, form): (usize, &'_ String)| -> Option<usize> {
        if let Some(places) = alike.get(form.as_str()) {
            let next = taken
                .entry(alike.get_key_value(form.as_str())?.0)
                .or_default();
            *next += 1;
            // Which of several is gone can't be seen, unless they are all the same.
            let is_clear = places.len() == counts[form.as_str()]
                || places.iter().all(|place| raw(*place) == raw(places[0]));
            return is_clear.then(|| places[(*next - 1).min(places.len() - 1)]);
        }
        let same_place = new.len() == old.len() && !counts.contains_key(old_forms[nth].as_str());
        same_place.then_some(nth)
    };
    let paired: Vec<Option<usize>> = new_forms.iter().enumerate().map(pair).collect();
    paired.into_iter().map(|nth| old.get(nth?)).collect()
}
