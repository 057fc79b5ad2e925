//! Ids that a format's rules allow, and that stand for the same call on each turn.

use std::borrow::Cow;
use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::base::clock;

/// Bytes of an id that is made here.
const LENGTH: usize = 12;

/// An id of letters, digits, `_` and `-`, of at most `longest` bytes. One that isn't is replaced by a
/// hash of it, so that a call and its result still have the same.
#[must_use]
pub fn fit(id: &str, longest: usize) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !id.is_empty() && id.len() <= longest && id.bytes().all(is_plain) {
        return Cow::Borrowed(id);
    }
    let hash = Sha256::digest(id.as_bytes());
    Cow::Owned(format!("call_{}", hex(&hash[..LENGTH])))
}

/// A text of at most `longest` bytes; a longer one is replaced by a hash of it.
#[must_use]
pub fn shorten(text: &str, longest: usize) -> Cow<'_, str> {
    if text.len() <= longest {
        return Cow::Borrowed(text);
    }
    Cow::Owned(hex(&Sha256::digest(text.as_bytes())))
}

/// The given id, or a new one that begins with `prefix`.
#[must_use]
pub fn or_new(id: Option<String>, prefix: &str) -> String {
    id.filter(|id| !id.is_empty())
        .unwrap_or_else(|| new(prefix))
}

/// A new id that begins with `prefix`.
#[must_use]
pub fn new(prefix: &str) -> String {
    let mut bytes = [0; LENGTH];
    if getrandom::fill(&mut bytes).is_err() {
        // An id of a response need not be a secret.
        let hash = Sha256::digest(clock::unix_ms().to_be_bytes());
        bytes.copy_from_slice(&hash[..LENGTH]);
    }
    format!("{prefix}{}", hex(&bytes))
}

/// Seconds since 1970, as some responses carry them.
#[must_use]
pub fn now() -> u64 {
    u64::try_from(clock::unix_ms() / 1000).unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_fits_and_stays_the_same() {
        assert_eq!(fit("toolu_01-a", 40), "toolu_01-a");
        for odd in ["", "a.b", "ü", &"x".repeat(41)] {
            let fitted = fit(odd, 40);
            assert!(
                fitted.len() <= 40 && fitted.starts_with("call_"),
                "{fitted}"
            );
            assert_eq!(fitted, fit(odd, 40));
        }
        assert_ne!(fit("a.b", 40), fit("a:b", 40));
    }
}
