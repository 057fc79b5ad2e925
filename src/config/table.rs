//! Reads typed values out of a tree. What has the wrong type is a finding and counts as
//! absent; keys that nobody asked for are findings too.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::finding::{Findings, Subject, meant};
use super::hujson::{Member, Node, Position, Value};

/// An object of the document, being read.
pub(crate) struct Table<'a> {
    members: &'a [Member],
    known: RefCell<Vec<&'a str>>,
    /// The key that it stands under; for an item of a list, that of the list.
    pub name: &'a str,
    pub at: Position,
    pub path: String,
    pub findings: &'a Findings,
}

/// A value with the keys that lead to it.
pub(crate) struct Item<'a> {
    pub node: &'a Node,
    /// The key that it stands under; for an item of a list, that of the list.
    pub key: &'a str,
    /// The key that the object stands under which has it.
    pub owner: &'a str,
    pub path: String,
    pub findings: &'a Findings,
}

impl<'a> Item<'a> {
    /// The document.
    pub(crate) fn root(node: &'a Node, findings: &'a Findings) -> Self {
        Self {
            node,
            key: "",
            owner: "",
            path: String::new(),
            findings,
        }
    }

    /// A value in it, for what looks at values without reading them.
    pub(super) fn inside(&self, node: &'a Node, path: String) -> Self {
        Self {
            node,
            path,
            ..*self
        }
    }

    /// Says that the value is not what it should be, as Aperture does.
    fn mismatch<T>(&self, wanted: &str) -> Option<T> {
        let kind = self.node.value.kind();
        let message = format!(
            "cannot unmarshal {kind} into {} of type {wanted}",
            self.path
        );
        self.findings.warn(self.node.at, &self.path, message);
        None
    }

    pub(crate) fn string(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::String(text) => Some(text),
            _ => self.mismatch("string"),
        }
    }

    pub(crate) fn boolean(&self) -> Option<bool> {
        match &self.node.value {
            Value::Bool(value) => Some(*value),
            _ => self.mismatch("bool"),
        }
    }

    pub(crate) fn integer(&self) -> Option<i64> {
        match &self.node.value {
            Value::Number(number) if number.is_i64() => number.as_i64(),
            _ => self.mismatch("int"),
        }
    }

    pub(crate) fn items(&self) -> Option<impl Iterator<Item = Item<'a>> + use<'a>> {
        let Value::Array(items) = &self.node.value else {
            return self.mismatch("array");
        };
        let (key, owner) = (self.key, self.owner);
        let (path, findings) = (self.path.clone(), self.findings);
        Some(items.iter().enumerate().map(move |(nth, node)| Item {
            node,
            key,
            owner,
            path: format!("{path}[{nth}]"),
            findings,
        }))
    }

    pub(crate) fn strings(&self) -> Option<Vec<String>> {
        Some(
            self.items()?
                .filter_map(|item| item.string().map(str::to_owned))
                .collect(),
        )
    }

    pub(crate) fn table(&self) -> Option<Table<'a>> {
        let Value::Object(members) = &self.node.value else {
            return self.mismatch("object");
        };
        let mut seen = HashSet::with_capacity(members.len());
        for member in members {
            if !seen.insert(&member.key) {
                let message = format!("duplicate config key \"{}\"", member.key);
                self.findings
                    .warn(member.at, &join(&self.path, &member.key), message);
            }
        }
        Some(Table {
            members,
            known: RefCell::default(),
            name: self.key,
            at: self.node.at,
            path: self.path.clone(),
            findings: self.findings,
        })
    }

    /// A duration such as `1h30m`; what can't be read is an error, because there is no safe
    /// value to put in its place.
    pub(crate) fn duration(&self) -> Option<Duration> {
        let text = self.string()?;
        let read = duration(text);
        if read.is_none() {
            let message = format!("invalid duration {text:?}; write it as in \"90s\" or \"1h30m\"");
            self.findings.error(self.node.at, &self.path, message);
        }
        read
    }

    /// A choice among words; an unknown one is an error.
    pub(crate) fn choice<T: Copy>(&self, among: &[(&str, T)]) -> Option<T> {
        self.choice_or(among, |item, text| {
            let words: Vec<_> = among.iter().map(|(word, _)| format!("{word:?}")).collect();
            item.error(format!("{text:?} is not one of {}", words.join(", ")));
        })
    }

    /// A choice among words; `unknown` says so of another one.
    pub(crate) fn choice_or<T: Copy>(
        &self,
        among: &[(&str, T)],
        unknown: impl FnOnce(&Self, &str),
    ) -> Option<T> {
        let text = self.string()?;
        let known = among.iter().find(|(word, _)| *word == text);
        if known.is_none() {
            unknown(self, text);
        }
        known.map(|(_, value)| *value)
    }

    /// Says that something is wrong with the value.
    pub(crate) fn warn(&self, message: impl Into<String>) {
        self.findings.warn(self.node.at, &self.path, message);
    }

    /// Says that the configuration can't be used because of the value.
    pub(crate) fn error(&self, message: impl Into<String>) {
        self.findings.error(self.node.at, &self.path, message);
    }

    /// The same as of the object that has it.
    pub(crate) fn warn_of_parent(&self, message: impl Into<String>) {
        self.findings.warn(self.node.at, self.parent(), message);
    }

    /// The same as of the object that has it.
    pub(crate) fn error_of_parent(&self, message: impl Into<String>) {
        self.findings.error(self.node.at, self.parent(), message);
    }

    /// The path of the object that has it.
    pub(crate) fn parent(&self) -> &str {
        let end = self.path.len().saturating_sub(self.key.len() + 1);
        &self.path[..end]
    }
}

impl<'a> Table<'a> {
    /// The value of a key; of duplicates the last one. `null` is as good as absent.
    pub(crate) fn get(&self, key: &'static str) -> Option<Item<'a>> {
        self.known.borrow_mut().push(key);
        let member = self.members.iter().rev().find(|member| member.key == key)?;
        (member.node.value != Value::Null).then(|| self.item(member))
    }

    /// Says that something is wrong with the object.
    pub(crate) fn warn(&self, message: impl Into<String>) {
        self.findings.warn(self.at, &self.path, message);
    }

    /// Says that the configuration can't be used because of the object.
    pub(crate) fn error(&self, message: impl Into<String>) {
        self.findings.error(self.at, &self.path, message);
    }

    /// The same, where a key of it stands.
    pub(crate) fn warn_at(&self, key: &str, message: impl Into<String>) {
        self.findings.warn(self.position(key), &self.path, message);
    }

    /// The same, where a key of it stands.
    pub(crate) fn error_at(&self, key: &str, message: impl Into<String>) {
        self.findings.error(self.position(key), &self.path, message);
    }

    fn item(&self, member: &'a Member) -> Item<'a> {
        Item {
            node: &member.node,
            key: &member.key,
            owner: self.name,
            path: join(&self.path, &member.key),
            findings: self.findings,
        }
    }

    /// Where a key's value stands, or the object if it is absent.
    pub(crate) fn position(&self, key: &str) -> Position {
        self.members
            .iter()
            .rev()
            .find(|member| member.key == key)
            .map_or(self.at, |member| member.node.at)
    }

    pub(crate) fn string(&self, key: &'static str) -> Option<String> {
        self.get(key)?.string().map(str::to_owned)
    }

    pub(crate) fn boolean(&self, key: &'static str) -> Option<bool> {
        self.get(key)?.boolean()
    }

    pub(crate) fn table(&self, key: &'static str) -> Option<Table<'a>> {
        self.get(key)?.table()
    }

    /// All members, for objects whose keys are names. Of duplicates the last one.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&'a str, Item<'a>)> {
        let last: HashMap<&str, usize> = self
            .members
            .iter()
            .enumerate()
            .map(|(nth, member)| (member.key.as_str(), nth))
            .collect();
        self.members
            .iter()
            .enumerate()
            .filter(move |(nth, member)| last[member.key.as_str()] == *nth)
            .map(|(_, member)| (member.key.as_str(), self.item(member)))
    }

    /// The members whose names are not keys, for objects in which names stand beside keys.
    pub(crate) fn besides(&self, is_key: impl Fn(&str) -> bool) -> Vec<(&'a str, Item<'a>)> {
        let others: Vec<_> = self.named().filter(|(name, _)| !is_key(name)).collect();
        let mut known = self.known.borrow_mut();
        known.extend(others.iter().map(|(name, _)| *name));
        others
    }

    /// Whether a key is there at all.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.members.iter().any(|member| member.key == key)
    }

    /// Ends the reading: what was never asked for is unknown.
    pub(crate) fn finish(self) {
        let known = self.known.borrow();
        for member in self.members {
            if !known.contains(&member.key.as_str()) {
                let message = format!("unknown config key \"{}\"", member.key);
                let path = join(&self.path, &member.key);
                let mut finding =
                    super::Finding::new(super::Severity::Warning, member.at, path, message);
                let is_case = |key: &&&str| key.eq_ignore_ascii_case(&member.key);
                if let Some(meant) = known.iter().find(is_case) {
                    finding = finding.hint(format!("keys are told apart by case: {meant:?}"));
                    if !self.has(meant) {
                        finding = finding.about(Subject::Typo);
                    }
                } else if let Some(meant) = meant(&member.key, known.iter().copied()) {
                    finding = finding.hint(format!("did you mean {meant:?}?"));
                    if !self.has(meant) {
                        finding = finding.about(Subject::Typo);
                    }
                }
                self.findings.add(finding);
            }
        }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// Ten years. Clocks can't count to much longer bounds.
const LONGEST: Duration = Duration::from_hours(3_650 * 24);

/// Reads a duration in Go's notation, and days besides: `0`, `90s`, `1h30m`, `100ms`, `30d`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let number_end = rest.find(|char: char| !char.is_ascii_digit() && char != '.')?;
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail
            .find(|char: char| char.is_ascii_digit() || char == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            _ => return None,
        };
        let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        total = total.checked_add(part)?;
        rest = tail;
    }
    (!text.is_empty() && total <= LONGEST).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("1h30m"), Some(Duration::from_mins(90)));
        assert_eq!(duration("1.5s"), Some(Duration::from_millis(1_500)));
        assert_eq!(duration("30d"), Some(Duration::from_hours(720)));
        assert_eq!(duration("0"), Some(Duration::ZERO));
        for text in [
            "",
            "5",
            "s",
            "-5s",
            "5x",
            "1..5s",
            "99999999999999999999h",
            "3651d",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
