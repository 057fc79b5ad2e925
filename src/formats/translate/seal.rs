//! What a provider adds to a model's reasoning so that it can trust or read it later. It goes to the
//! caller inside the opaque field that the caller's format has for this, as `iris.<format>.<base64>`, and
//! is opened when the caller sends it back. Only the provider's opaque string travels so: the text of a
//! thought stays where the caller and guardrails can see it.

use aws_smithy_types::base64;
use serde::{Deserialize, Serialize};

/// How such a value begins.
const MARK: &str = "iris.";
/// How one begins in Base64, which the fields of some formats have to be.
const MARK_BASE64: &str = "aXJpcy";

/// A provider's signature on a thought, or a thought that only the provider can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    /// The name of the format that the provider speaks.
    pub format: String,
    /// What it is.
    pub kind: SealKind,
    /// The provider's string.
    pub value: String,
    /// The id of the item that it belongs to, for formats whose items have one.
    pub id: Option<String>,
}

/// What a seal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SealKind {
    /// It signs the text of its own thought.
    Signature,
    /// It is the thought itself, encrypted.
    Encrypted,
    /// It belongs to the part that follows, as Gemini's signatures of calls.
    Next,
}

#[derive(Serialize, Deserialize)]
struct Inside<'a> {
    kind: SealKind,
    #[serde(borrow)]
    value: std::borrow::Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    id: Option<std::borrow::Cow<'a, str>>,
}

impl Seal {
    /// The longest that is opened, in bytes.
    pub const LONGEST: usize = 4 << 20;

    /// A seal without an item's id.
    #[must_use]
    pub fn new(format: &str, kind: SealKind, value: impl Into<String>) -> Self {
        Self {
            format: format.to_owned(),
            kind,
            value: value.into(),
            id: None,
        }
    }

    /// What the caller gets.
    #[must_use]
    pub fn closed(&self) -> String {
        let inside = Inside {
            kind: self.kind,
            value: self.value.as_str().into(),
            id: self.id.as_deref().map(Into::into),
        };
        let inside = serde_json::to_string(&inside).unwrap_or_default();
        format!("{MARK}{}.{}", self.format, base64::encode(inside))
    }

    /// What the caller gets where a field has to be Base64.
    #[must_use]
    pub fn closed_base64(&self) -> String {
        base64::encode(self.closed())
    }

    /// Opens what the caller sent back, also in Base64; `None` if it isn't such a value.
    #[must_use]
    pub fn open(text: &str) -> Option<Self> {
        if text.starts_with(MARK_BASE64) && text.len() <= 2 * Self::LONGEST {
            let inside = String::from_utf8(base64::decode(text).ok()?).ok()?;
            return Self::open_plain(&inside);
        }
        Self::open_plain(text)
    }

    /// Opens one that isn't in Base64.
    fn open_plain(text: &str) -> Option<Self> {
        let (format, data) = text.strip_prefix(MARK)?.split_once('.')?;
        if data.len() > Self::LONGEST {
            return None;
        }
        let inside = base64::decode(data).ok()?;
        let inside: Inside<'_> = serde_json::from_slice(&inside).ok()?;
        let seal = Self {
            format: format.to_owned(),
            kind: inside.kind,
            value: inside.value.into_owned(),
            id: inside.id.map(std::borrow::Cow::into_owned),
        };
        // One that Iris didn't write could hold more than this: guardrails would not see it.
        (seal.closed() == text).then_some(seal)
    }

    /// Opens what the caller sent back, or takes it as a value of the caller's own format.
    #[must_use]
    pub fn of(text: &str, own: &str, kind: SealKind) -> Self {
        Self::open(text).unwrap_or_else(|| Self::new(own, kind, text))
    }

    /// Whether a text is such a value.
    #[must_use]
    pub fn is_closed(text: &str) -> bool {
        text.starts_with(MARK) || text.starts_with(MARK_BASE64)
    }

    /// Its value, if it comes from a provider of this format.
    #[must_use]
    pub fn value_for(&self, format: &str, kind: SealKind) -> Option<&str> {
        (self.format == format && self.kind == kind).then_some(self.value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_closed_opens() {
        for id in [None, Some("rs_1".to_owned())] {
            let seal = Seal {
                id,
                ..Seal::new("some_format", SealKind::Encrypted, "a \"b\" ü\n")
            };
            let closed = seal.closed();
            assert!(Seal::is_closed(&closed), "{closed}");
            assert_eq!(Seal::open(&closed).as_ref(), Some(&seal));
            let closed = seal.closed_base64();
            assert!(Seal::is_closed(&closed), "{closed}");
            assert_eq!(Seal::open(&closed), Some(seal));
        }
    }

    #[test]
    fn anything_else_stays_closed() {
        for text in ["", "iris.", "iris.a", "iris.a.!", "iris.a.e30=", "EqQB"] {
            assert_eq!(Seal::open(text), None, "{text}");
        }
        for inside in [
            r#"{"kind":"next","value":"v","more":"text"}"#,
            r#"{"value":"v","kind":"next"}"#,
            r#"{"kind":"next", "value":"v"}"#,
        ] {
            let text = format!("{MARK}a.{}", base64::encode(inside));
            assert_eq!(Seal::open(&text), None, "{inside}");
        }
    }
}
