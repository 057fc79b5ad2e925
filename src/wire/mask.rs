//! Hides what was sent as a credential where it comes back: servers that refuse one like to quote
//! it. A byte becomes a star, so that lengths that were told stay true.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use memchr::memmem;

use super::headers;

/// What is shorter is in every text, and no secret.
const SHORTEST: usize = 8;

/// Hides the credentials of one request.
pub struct Mask {
    /// The longest first: one can be the beginning of another.
    secrets: Vec<Bytes>,
    /// What may be the beginning of one.
    held: BytesMut,
}

impl Mask {
    /// Hides the credentials in the headers of a request.
    #[must_use]
    pub fn of(sent: &HeaderMap) -> Self {
        let mut secrets: Vec<Bytes> = headers::secrets(sent)
            .map(|value| {
                // `Bearer` and its like are in every refusal.
                let key = value.iter().position(|byte| *byte == b' ');
                Bytes::copy_from_slice(&value[key.map_or(0, |at| at + 1)..])
            })
            .filter(|secret| secret.len() >= SHORTEST)
            .collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self {
            secrets,
            held: BytesMut::new(),
        }
    }

    /// Removes the headers that quote a credential.
    pub fn headers(&self, headers: &mut HeaderMap) {
        let quotes = |text: &[u8]| {
            let quoted = |secret: &Bytes| memmem::find(text, secret).is_some();
            self.secrets.iter().any(quoted)
        };
        let named = headers.iter().filter(|(_, value)| quotes(value.as_bytes()));
        let names: Vec<_> = named.map(|(name, _)| name.clone()).collect();
        for name in names {
            headers.remove(name);
        }
    }

    /// The next piece of a body; its end may wait for the piece after.
    pub fn pass(&mut self, piece: Bytes) -> Bytes {
        if self.secrets.is_empty() {
            return piece;
        }
        self.held.extend_from_slice(&piece);
        let begins = |secret: &Bytes| {
            let mut lengths = (1..secret.len().min(self.held.len() + 1)).rev();
            lengths.find(|length| self.held.ends_with(&secret[..*length]))
        };
        let waits = self.secrets.iter().filter_map(begins).max();
        let end = self.held.len() - waits.unwrap_or(0);
        hide(&self.secrets, &mut self.held, end);
        self.held.split_to(end).freeze()
    }

    /// A text that is whole; it is the same where it quotes nothing.
    #[must_use]
    pub fn whole(&self, text: Bytes) -> Bytes {
        let quoted = |secret: &Bytes| memmem::find(&text, secret).is_some();
        if !self.secrets.iter().any(quoted) {
            return text;
        }
        let mut text = BytesMut::from(text);
        let end = text.len();
        hide(&self.secrets, &mut text, end);
        text.freeze()
    }

    /// What is left when a body has ended.
    pub fn rest(&mut self) -> Bytes {
        let end = self.held.len();
        hide(&self.secrets, &mut self.held, end);
        self.held.split().freeze()
    }
}

/// Hides what begins before `end`.
fn hide(secrets: &[Bytes], text: &mut [u8], end: usize) {
    for secret in secrets {
        let finder = memmem::Finder::new(secret);
        while let Some(at) = finder.find(text).filter(|at| *at < end) {
            text[at..at + secret.len()].fill(b'*');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn mask(sent: &[(&'static str, &'static str)]) -> Mask {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(*name, HeaderValue::from_static(value));
        }
        Mask::of(&headers)
    }

    fn through(mask: &mut Mask, pieces: &[&[u8]]) -> String {
        let mut out = Vec::new();
        for piece in pieces {
            out.extend_from_slice(&mask.pass(Bytes::copy_from_slice(piece)));
        }
        out.extend_from_slice(&mask.rest());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_quoted_credential_is_hidden_wherever_a_body_is_cut() {
        let sent = [
            ("authorization", "Bearer sk-0123456789"),
            ("x-api-key", "sk-0123456789-more"),
            ("x-team", "a team that is told"),
            ("api-key", "short"),
        ];
        let text = b"{sk-0123456789-more: short, sk-sk-0123456789sk-01}, a team that is told: sk-";
        let hidden = "{******************: short, sk-*************sk-01}, a team that is told: sk-";
        assert_eq!(mask(&sent).whole(Bytes::from_static(text)), hidden);
        for first in 0..text.len() {
            for second in first..text.len() {
                let pieces = [&text[..first], &text[first..second], &text[second..]];
                assert_eq!(
                    through(&mut mask(&sent), &pieces),
                    hidden,
                    "{first} {second}"
                );
            }
        }
    }

    #[test]
    fn nothing_waits_that_is_no_beginning() {
        let mut some = mask(&[("authorization", "Bearer sk-0123456789")]);
        assert_eq!(some.pass(Bytes::from_static(b"data: x\n\n")), "data: x\n\n");
        assert_eq!(some.pass(Bytes::from_static(b"data: sk-0")), "data: ");
        assert_eq!(some.pass(Bytes::from_static(b"\n")), "sk-0\n");
        let mut none = mask(&[("authorization", "Bearer x"), ("x-plain", "12345678")]);
        assert_eq!(none.pass(Bytes::from_static(b"12345678")), "12345678");
    }

    #[test]
    fn headers_that_quote_a_credential_are_gone() {
        let some = mask(&[("authorization", "Bearer sk-0123456789")]);
        let mut headers = HeaderMap::new();
        headers.insert("x-you-sent", HeaderValue::from_static("(sk-0123456789)"));
        headers.insert("x-other", HeaderValue::from_static("sk-012345678"));
        some.headers(&mut headers);
        assert_eq!(headers.len(), 1);
        assert!(headers.contains_key("x-other"));
    }
}
