//! What the name of a header says. That takes many comparisons, and most messages have the same few names,
//! so each thread keeps what it has found out.

use std::cell::RefCell;

use http::HeaderName;

use super::{CREDENTIALS, SECRET_WORDS, hides, travels};

/// Places for names. A name has one of them, which it takes from the one before it.
const PLACES: usize = 128;

/// What the name of a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(super) struct Kind {
    /// It carries a credential of a caller.
    pub(super) is_credential: bool,
    /// Some server takes it for one that does.
    pub(super) hides: bool,
    /// Its value could be a credential.
    pub(super) is_secret: bool,
    /// It can go on to a provider, if it is no credential.
    pub(super) travels: bool,
}

impl Kind {
    /// That of a name.
    pub(super) fn of(name: &HeaderName) -> Self {
        thread_local! {
            static KNOWN: RefCell<Vec<Option<(HeaderName, Kind)>>> = RefCell::default();
        }
        KNOWN.with_borrow_mut(|known| {
            if known.is_empty() {
                known.resize_with(PLACES, || None);
            }
            let place = &mut known[place(name.as_str().as_bytes())];
            match place {
                Some((of, kind)) if of == name => *kind,
                _ => {
                    let kind = Self::found(name.as_str());
                    *place = Some((name.clone(), kind));
                    kind
                }
            }
        })
    }

    fn found(name: &str) -> Self {
        let is_credential = CREDENTIALS.contains(&name);
        Self {
            is_credential,
            hides: hides(name),
            is_secret: is_credential || SECRET_WORDS.iter().any(|word| name.contains(word)),
            travels: travels(name),
        }
    }
}

fn place(name: &[u8]) -> usize {
    let letter = |at: usize| name.get(at).copied().map_or(0, usize::from);
    let (middle, last) = (name.len() / 2, name.len().saturating_sub(1));
    (name.len() * 31 + letter(0) * 7 + letter(middle) * 5 + letter(last) * 3) % PLACES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_of_its_kind_whoever_had_its_place() {
        let names = (0..1_000).map(|nth| format!("x-{nth}"));
        let names = names.chain(["authorization", "x-api-key", "host", "accept"].map(Into::into));
        let names: Vec<HeaderName> = names.map(|name| name.parse().unwrap()).collect();
        for name in names.iter().chain(names.iter().rev()) {
            assert_eq!(Kind::of(name), Kind::found(name.as_str()), "{name}");
        }
    }
}
