//! Texts that look like a credential, whatever they stand under.

/// How credentials of well-known kinds begin, wherever they stand.
const KNOWN: [&str; 19] = [
    "-----BEGIN ",
    "AIza",
    "AKIA",
    "ASIA",
    "eyJ",
    "gho_",
    "ghp_",
    "ghs_",
    "github_pat_",
    "glpat-",
    "gsk_",
    "hf_",
    "keyfile::",
    "pplx-",
    "sk-",
    "tskey-",
    "xai-",
    "xoxb-",
    "xoxp-",
];

/// Shorter strings aren't credentials.
const KNOWN_LENGTH: usize = 16;

/// Whether a text is a credential of a well-known kind.
pub(super) fn is_known(text: &str) -> bool {
    text.len() >= KNOWN_LENGTH
        && KNOWN.iter().any(|start| text.starts_with(start))
        && !text.starts_with("-----BEGIN CERTIFICATE-----")
}

/// Whether a text of some length has parts that are no words and no numbers.
pub(super) fn is_opaque(text: &str, shortest: usize) -> bool {
    let is_plain = |part: &str| {
        let letters = part.chars().all(char::is_alphabetic);
        let digits = part.chars().all(|char| char.is_ascii_digit());
        (letters && part.len() < 16) || (digits && part.len() <= 8)
    };
    text.len() >= shortest
        && !text
            .split(|char: char| !char.is_alphanumeric())
            .all(is_plain)
}

pub(super) fn has_opaque_word(text: &str) -> bool {
    text.split_whitespace().any(|word| is_opaque(word, 12))
}
