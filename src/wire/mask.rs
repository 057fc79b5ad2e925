//! Hides what was sent as a credential where it comes back: servers that refuse one like to quote
//! it, as it is or as JSON, HTML, URLs and base64 write it. A byte becomes a star, so that lengths
//! that were declared stay true.

mod forms;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Uri};
use memchr::memmem;

use super::headers;

/// What is shorter is in every text, and no secret.
const SHORTEST: usize = 8;
/// Parts of a URL that are shorter are words of an API.
const SHORTEST_PART: usize = 16;

/// Hides the credentials of one request.
pub struct Mask {
    /// The credentials, and what base64 makes of them.
    secrets: Vec<Bytes>,
    /// What may be the beginning of one.
    held: BytesMut,
}

/// What a text quotes.
struct Quoted {
    /// Where the credentials stand.
    ranges: Vec<(usize, usize)>,
    /// From here on, something may become a credential with what comes next.
    end: usize,
}

impl Mask {
    /// Hides the credentials in the headers of a request.
    #[must_use]
    pub fn of(sent: &HeaderMap) -> Self {
        let mut mask = Self {
            secrets: Vec::new(),
            held: BytesMut::new(),
        };
        for value in headers::secrets(sent) {
            mask.hide_credential(value);
        }
        mask
    }

    /// Hides as well the credential that a server on the way is sent.
    #[must_use]
    pub fn and_credential(mut self, value: &[u8]) -> Self {
        self.hide_credential(value);
        self
    }

    fn hide_credential(&mut self, value: &[u8]) {
        // `Bearer` and its like are in every refusal.
        let (scheme, key) = match value.iter().position(|byte| *byte == b' ') {
            Some(at) => (&value[..at], &value[at + 1..]),
            None => (&value[..0], value),
        };
        self.hide(key);
        if scheme.eq_ignore_ascii_case(b"basic")
            && let Ok(key) = str::from_utf8(key)
            && let Ok(pair) = aws_smithy_types::base64::decode(key)
            && let Some(at) = pair.iter().position(|byte| *byte == b':')
        {
            self.hide(&pair[at + 1..]);
            // A short password is hidden at least where it stands with its user.
            self.hide(&pair);
        }
    }

    /// Hides as well what of a URL can be a credential: long parts of its path and its parameters,
    /// which are the keys of some webhooks.
    #[must_use]
    pub fn and_parts_of(mut self, uri: &Uri) -> Self {
        let query = uri.query().unwrap_or_default().split('&');
        let values = query.filter_map(|pair| Some(pair.split_once('=')?.1));
        for part in uri.path().split('/').chain(values) {
            if part.len() >= SHORTEST_PART {
                self.hide(part.as_bytes());
            }
        }
        self
    }

    fn hide(&mut self, secret: &[u8]) {
        if secret.len() < SHORTEST {
            return;
        }
        self.secrets.push(Bytes::copy_from_slice(secret));
        let encoded = forms::base64(secret).into_iter().map(Bytes::from);
        self.secrets
            .extend(encoded.filter(|text| text.len() >= SHORTEST));
    }

    /// Removes the headers that quote a credential.
    pub fn headers(&self, headers: &mut HeaderMap) {
        if self.secrets.is_empty() {
            return;
        }
        let quotes = |text: &[u8]| !self.quoted(text).ranges.is_empty();
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
        let quoted = self.quoted(&self.held);
        let end = quoted.end;
        fill(&mut self.held[..end], &quoted.ranges);
        self.held.split_to(end).freeze()
    }

    /// A text that is whole; it is the same where it quotes nothing.
    #[must_use]
    pub fn whole(&self, text: Bytes) -> Bytes {
        let ranges = self.quoted(&text).ranges;
        if ranges.is_empty() {
            return text;
        }
        let mut text = BytesMut::from(text);
        fill(&mut text, &ranges);
        text.freeze()
    }

    /// What is left when a body has ended.
    pub fn rest(&mut self) -> Bytes {
        let ranges = self.quoted(&self.held).ranges;
        fill(&mut self.held, &ranges);
        self.held.split().freeze()
    }

    /// Looks for credentials in a text as it is, and below its escapes.
    fn quoted(&self, text: &[u8]) -> Quoted {
        let mut quoted = Quoted {
            ranges: Vec::new(),
            end: text.len(),
        };
        if self.secrets.is_empty() {
            return quoted;
        }
        self.look(text, |at| at, &mut quoted);
        let mut level = forms::decoded(text);
        for _ in 0..forms::LEVELS {
            let Some(decoded) = level.take() else { break };
            self.look(&decoded.text, |at| decoded.from[at], &mut quoted);
            if decoded.is_open {
                quoted.end = quoted.end.min(decoded.from[decoded.text.len()]);
            }
            level = forms::decoded(&decoded.text).map(|mut next| {
                for at in &mut next.from {
                    *at = decoded.from[*at];
                }
                next
            });
        }
        // What is hidden goes on as a whole.
        while let Some((start, _)) = quoted
            .ranges
            .iter()
            .find(|(start, end)| *start < quoted.end && *end > quoted.end)
        {
            quoted.end = *start;
        }
        quoted
    }

    /// Looks for credentials in one level of a text; `source` is where its bytes come from.
    fn look(&self, text: &[u8], source: impl Fn(usize) -> usize, quoted: &mut Quoted) {
        for secret in &self.secrets {
            let places = memmem::find_iter(text, secret);
            let ranges = places.map(|at| (source(at), source(at + secret.len())));
            quoted.ranges.extend(ranges);
            let mut lengths = (1..secret.len().min(text.len() + 1)).rev();
            if let Some(length) = lengths.find(|length| text.ends_with(&secret[..*length])) {
                quoted.end = quoted.end.min(source(text.len() - length));
            }
        }
    }
}

/// Hides what stands in these places.
fn fill(text: &mut [u8], ranges: &[(usize, usize)]) {
    for (start, end) in ranges {
        if let Some(text) = text.get_mut(*start..*end) {
            text.fill(b'*');
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
    fn a_credential_is_hidden_in_each_form_in_which_servers_quote_it() {
        const KEY: &str = "sk-ab/cd+ef=gh&ij==";
        let everything =
            |text: &str, form: fn(char) -> String| -> String { text.chars().map(form).collect() };
        let base64 = |before: &str| aws_smithy_types::base64::encode(format!("{before}{KEY}"));
        let forms = [
            KEY.to_owned(),
            KEY.replace('/', "\\/"),
            KEY.replace('/', "\\\\/"),
            KEY.replace('=', "\\u003d").replace('&', "\\u0026"),
            KEY.replace('=', "\\\\u003D"),
            KEY.replace('&', "&amp;").replace('+', "&#43;"),
            KEY.replace('=', "&#x3D;").replace('/', "&sol;"),
            KEY.replace('&', "\\u0026amp;"),
            everything(KEY, |char| format!("%{:02x}", u32::from(char))),
            everything(KEY, |char| format!("%25{:02X}", u32::from(char))),
            everything(KEY, |char| format!("\\u{:04x}", u32::from(char))),
            everything(KEY, |char| format!("\\x{:02x}", u32::from(char))),
            everything(KEY, |char| format!("&#{};", u32::from(char))),
        ];
        for form in forms {
            let text = format!(r#"{{"error": "no such key '{form}', \u00e9 100% & more\n"}}"#);
            let stars = "*".repeat(form.len());
            let hidden = text.replace(&form, &stars);
            let sent = [("authorization", "Bearer sk-ab/cd+ef=gh&ij==")];
            assert_eq!(mask(&sent).whole(Bytes::from(text.clone())), hidden);
            for cut in 0..text.len() {
                let pieces = [&text.as_bytes()[..cut], &text.as_bytes()[cut..]];
                assert_eq!(through(&mut mask(&sent), &pieces), hidden, "{cut}");
            }
            let each: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
            assert_eq!(through(&mut mask(&sent), &each), hidden);
        }
        for before in ["", "u", "us", "user:", "Bearer "] {
            for encoded in [
                base64(before),
                base64(before).replace('+', "-").replace('/', "_"),
                base64(before).replace('/', "\\/").replace('+', "%2B"),
            ] {
                let some = mask(&[("authorization", "Bearer sk-ab/cd+ef=gh&ij==")]);
                let text = some.whole(Bytes::from(format!("<{encoded}>")));
                let stars = String::from_utf8_lossy(&text).matches('*').count();
                assert!(stars >= KEY.len() * 4 / 3 - 3, "{encoded} {text:?}");
            }
        }
    }

    #[test]
    fn the_password_of_basic_and_the_path_of_a_webhook_are_hidden() {
        // user:p4ss-w0rd-of-it
        let some = mask(&[("authorization", "Basic dXNlcjpwNHNzLXcwcmQtb2YtaXQ=")]);
        let text = some.whole(Bytes::from_static(
            b"p4ss-w0rd-of-it dXNlcjpwNHNzLXcwcmQtb2YtaXQ=",
        ));
        assert!(text.starts_with(b"*************** ****"), "{text:?}");
        // me:pw
        let some = mask(&[]).and_credential(b"Basic bWU6cHc=");
        let text = some.whole(Bytes::from_static(b"got Basic bWU6cHc= of me"));
        assert_eq!(text, "got Basic ******** of me");
        // someone:pw
        let some = mask(&[]).and_credential(b"Basic c29tZW9uZTpwdw==");
        let text = some.whole(Bytes::from_static(b"(someone:pw)"));
        assert_eq!(text, "(**********)");
        let uri = "https://h/services/T0/abcdefghijklmnopqrst?token=0123456789abcdef&a=b";
        let some = mask(&[]).and_parts_of(&uri.parse().unwrap());
        let text = "no /services/T0/abcdefghijklmnopqrst?token=0123456789abcdef";
        let hidden = "no /services/T0/********************?token=****************";
        assert_eq!(some.whole(Bytes::from_static(text.as_bytes())), hidden);
    }

    #[test]
    fn a_credential_in_utf_16_is_hidden() {
        let sent = [("authorization", "Bearer sk-01234/56789")];
        for unit in [u16::to_le_bytes, u16::to_be_bytes] {
            for key in ["sk-01234/56789", "sk-01234\\/56789", "sk-01234\\u002f56789"] {
                let text = format!("\u{feff}{{\"error\": \"no such key {key}\"}}");
                let bytes: Vec<u8> = text.encode_utf16().flat_map(unit).collect();
                let is_clear = |text: &[u8]| {
                    let letters: Vec<u8> = text.iter().copied().filter(|byte| *byte != 0).collect();
                    memmem::find(&letters, b"sk-0").is_some()
                        || memmem::find(&letters, b"567").is_some()
                };
                let whole = mask(&sent).whole(Bytes::from(bytes.clone()));
                assert!(whole.len() == bytes.len() && !is_clear(&whole), "{whole:?}");
                for cut in 0..bytes.len() {
                    let mut some = mask(&sent);
                    let pieces = [&bytes[..cut], &bytes[cut..]];
                    let pieces = pieces.map(|piece| some.pass(Bytes::copy_from_slice(piece)));
                    let text = [&pieces[0][..], &pieces[1], &some.rest()].concat();
                    assert!(
                        text.len() == bytes.len() && !is_clear(&text),
                        "{cut} {text:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn long_runs_of_escapes_take_linear_time() {
        let sent = [("authorization", "Bearer \\\\\\\\\\\\\\\\\\\\\\\\x")];
        for unit in ["\\", "%25", "&#", "&amp;", "%2", "\\u00", "\0", "\0\\"] {
            let text = Bytes::from(unit.repeat((1 << 20) / unit.len()));
            let began = std::time::Instant::now();
            let passed = mask(&sent).whole(text.clone());
            assert_eq!(passed.len(), text.len());
            assert!(
                began.elapsed().as_secs() < 5,
                "{unit}: {:?}",
                began.elapsed()
            );
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
