//! What the name of a header says. That takes many comparisons, and most messages have the same few names,
//! so each thread keeps what it has found out.

use std::cell::RefCell;

use http::HeaderName;

use super::{HOP_BY_HOP, Lists, SECRET_WORDS, hides, travels};

/// Places for names. A name has one of them, which it takes from the one before it.
const PLACES: usize = 128;

/// Bytes of the longest name that is kept. A caller may send names of any length.
const LONGEST: usize = 64;

/// What was found out of names.
type Known<T> = Vec<Option<(HeaderName, T)>>;

/// What the name of a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(super) struct Kind {
    /// Some server takes it for one that carries a credential.
    pub(super) hides: bool,
    /// It belongs to one connection.
    pub(super) is_hop: bool,
    /// Its value could be a credential.
    pub(super) is_secret: bool,
    /// It may be passed on to a provider, unless it is a credential.
    pub(super) travels: bool,
}

impl Kind {
    /// That of a name.
    pub(super) fn of(name: &HeaderName) -> Self {
        if name.as_str().len() > LONGEST {
            return Self::found(name);
        }
        thread_local! {
            static KINDS: RefCell<Known<Kind>> = RefCell::default();
        }
        KINDS.with_borrow_mut(|known| *kept(known, name, 0, |_| true, Self::found))
    }

    fn found(name: &HeaderName) -> Self {
        let is_hop = HOP_BY_HOP.contains(name);
        let name = name.as_str();
        let hides = hides(name);
        Self {
            hides,
            is_hop,
            is_secret: hides || SECRET_WORDS.iter().any(|word| name.contains(word)),
            travels: travels(name),
        }
    }
}

/// Whether lists name a header.
pub(super) fn is_listed(name: &HeaderName, lists: Lists) -> bool {
    if name.as_str().len() > LONGEST {
        return super::is_listed(name.as_str(), lists);
    }
    thread_local! {
        static LISTED: RefCell<Known<(Lists, bool)>> = RefCell::default();
    }
    LISTED.with_borrow_mut(|known| {
        let is_it = |(of, _): &(Lists, bool)| std::ptr::eq(*of, lists);
        let find = |name: &HeaderName| (lists, super::is_listed(name.as_str(), lists));
        kept(known, name, lists.as_ptr().addr(), is_it, find).1
    })
}

/// What is known of a name, or is found out now. A salt gives facts of one name another place.
fn kept<'k, T>(
    known: &'k mut Known<T>,
    name: &HeaderName,
    salt: usize,
    is_it: impl FnOnce(&T) -> bool,
    find: impl FnOnce(&HeaderName) -> T,
) -> &'k T {
    if known.is_empty() {
        known.resize_with(PLACES, || None);
    }
    let place = &mut known[place(name.as_str().as_bytes(), salt)];
    let is_known = matches!(place, Some((of, found)) if of == name && is_it(found));
    if !is_known {
        *place = None;
    }
    &place.get_or_insert_with(|| (name.clone(), find(name))).1
}

fn place(name: &[u8], salt: usize) -> usize {
    let letter = |at: usize| name.get(at).copied().map_or(0, usize::from);
    let (middle, last) = (name.len() / 2, name.len().saturating_sub(1));
    let letters = letter(0) * 7 + letter(middle) * 5 + letter(last) * 3;
    // The salt is an address, which is a multiple of eight.
    (name.len() * 31 + letters + salt / 8 * 17) % PLACES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_of_its_kind_whatever_had_its_place_before() {
        let names = (0..1_000).map(|nth| format!("x-{nth}{}", "-".repeat(nth % 100)));
        let names = names.chain(["authorization", "x-api-key", "host", "accept"].map(Into::into));
        let names: Vec<HeaderName> = names.map(|name| name.parse().unwrap()).collect();
        let some: [Lists; 2] = [&[&["accept", "x-7*"]], &[&["host"], &["x-1", "x-8*"]]];
        for name in names.iter().chain(names.iter().rev()) {
            assert_eq!(Kind::of(name), Kind::found(name), "{name}");
            for lists in some.iter().chain(some.iter().rev()) {
                let listed = super::super::is_listed(name.as_str(), lists);
                assert_eq!(is_listed(name, lists), listed, "{name} {lists:?}");
            }
        }
    }
}
