//! Places of a request at which strings stand that only the provider can read, such as the signatures on
//! reasoning. They are known by their place in the format, because a caller can give any key its name.

use std::ops::Range;

use crate::wire::json;

/// Elements of one array that are looked at.
const MOST: usize = 1_000_000;

/// Where a request holds strings that only the provider can read.
#[derive(Clone, Copy, Debug)]
pub struct OpaquePlace {
    /// The keys that lead there, with a dot between them; `*` stands for each element of an array.
    pub path: &'static str,
    /// The types of objects that have such a string; if the list is empty, any.
    pub kinds: &'static [&'static str],
    /// What goes with such a string where it is taken out.
    pub goes: Goes,
}

/// What goes with a string that is taken out of a request.
#[derive(Clone, Copy, Debug)]
pub enum Goes {
    /// Nothing: the object around it means the same without it, unless nothing is left of that. For some
    /// models (the first parameter) and objects (the second), another string has to stand in its place.
    Alone(fn(&str, &[u8]) -> Option<&'static str>),
    /// The element of the list that it stands in.
    Element,
    /// That element, and a message of which nothing is left.
    Message,
    /// That element. A list that has no other gets this one, because the API takes no empty list.
    Filled(&'static str),
}

impl OpaquePlace {
    /// The ranges of the strings, in no order. Bodies that aren't JSON have none.
    #[must_use]
    pub fn ranges(&self, body: &[u8]) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        // Most requests have none of them.
        let key = self.path.rsplit('.').next().unwrap_or_default();
        if memchr::memmem::find(body, key.as_bytes()).is_some() {
            self.descend(body, 0..body.len(), self.path, &mut found);
        }
        found
    }

    fn descend(&self, body: &[u8], at: Range<usize>, path: &str, found: &mut Vec<Range<usize>>) {
        if path.is_empty() {
            found.push(at);
            return;
        }
        let (step, rest) = path.split_once('.').unwrap_or((path, ""));
        if step == "*" {
            for element in elements(body, &at) {
                self.descend(body, element, rest, found);
            }
            return;
        }
        for value in self.values(body, &at, step, rest) {
            self.descend(body, value, rest, found);
        }
    }

    /// The values of a key of the object at `at`; none if the string would stand in it, and it is of
    /// another kind. `rest` is the path below the key.
    pub(in crate::formats) fn values(
        &self,
        body: &[u8],
        at: &Range<usize>,
        key: &str,
        rest: &str,
    ) -> Vec<Range<usize>> {
        let object = &body[at.clone()];
        let members = json::members(object).unwrap_or_default();
        let text = |at: &Range<usize>| json::string(&object[at.clone()]);
        if rest.is_empty() && !self.kinds.is_empty() {
            let mut types = members
                .iter()
                .filter(|(key, _)| text(key).as_deref() == Some("type"));
            let kind = types.next().and_then(|(_, value)| text(value));
            // Given twice, it could be read as either.
            let is_one = kind.is_some_and(|kind| self.kinds.contains(&&*kind));
            if types.next().is_some() || !is_one {
                return Vec::new();
            }
        }
        let named = members
            .iter()
            .filter(|(name, _)| text(name).as_deref() == Some(key));
        named
            .map(|(_, value)| at.start + value.start..at.start + value.end)
            .collect()
    }
}

/// The elements of the list at `at`; none of anything else.
pub(in crate::formats) fn elements(body: &[u8], at: &Range<usize>) -> Vec<Range<usize>> {
    let found = json::elements(&body[at.clone()], MOST).unwrap_or_default();
    let shift = |one: Range<usize>| at.start + one.start..at.start + one.end;
    found.into_iter().map(shift).collect()
}
