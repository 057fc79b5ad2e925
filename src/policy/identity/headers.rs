//! Who asks, for a provider of one's own: the headers with which Tailscale Serve names a user
//! (<https://tailscale.com/s/serve-headers>), in its encoding.

use std::fmt::Write as _;

use http::{HeaderName, HeaderValue};

use super::{Caller, Principal};

const LOGIN: HeaderName = HeaderName::from_static("tailscale-user-login");
const NAME: HeaderName = HeaderName::from_static("tailscale-user-name");
const PICTURE: HeaderName = HeaderName::from_static("tailscale-user-profile-pic");

/// How an encoded word begins and ends (RFC 2047, section 2).
const BEGIN: &str = "=?utf-8?q?";
const END: &str = "?=";
/// Characters of an encoded word at most.
const LONGEST: usize = 75;

impl Caller {
    /// The headers that name the caller. Tagged devices and this machine have none, as with Tailscale Serve;
    /// what is not known of a person is left out.
    pub fn identity_headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        let login = match self.principal() {
            Principal::User { login, .. }
            | Principal::External { login, .. }
            | Principal::Named { login } => login,
            Principal::Tagged { .. } | Principal::Loopback => return Vec::new(),
        };
        let all = [
            (LOGIN, Some(encoded(login))),
            (NAME, self.display_name().map(encoded)),
            (PICTURE, self.picture().map(str::to_owned)),
        ];
        let sendable = all.into_iter().filter_map(|(name, value)| {
            let value = value.filter(|value| !value.is_empty())?;
            Some((name, HeaderValue::from_str(&value).ok()?))
        });
        sendable.collect()
    }
}

/// A text as it is where it is printable ASCII, and else in encoded words of the encoding Q.
fn encoded(text: &str) -> String {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')) {
        return text.to_owned();
    }
    let mut out = BEGIN.to_owned();
    let mut used = 0;
    for char in text.chars() {
        let is_plain = matches!(char, ' '..='~') && !matches!(char, '=' | '?' | '_');
        let length = if is_plain { 1 } else { 3 * char.len_utf8() };
        // A character stands in one word.
        if used + length > LONGEST - BEGIN.len() - END.len() {
            out.push_str(END);
            out.push(' ');
            out.push_str(BEGIN);
            used = 0;
        }
        used += length;
        if char == ' ' {
            out.push('_');
        } else if is_plain {
            out.push(char);
        } else {
            for byte in char.encode_utf8(&mut [0; 4]).bytes() {
                let _ = write!(out, "={byte:02X}");
            }
        }
    }
    out + END
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::identity::tests_support::whois;
    use crate::policy::identity::{User, WhoIs};

    #[test]
    fn people_are_named_as_tailscale_serve_names_them() {
        let person = |name: &str, picture: Option<&str>, shared_in: bool| {
            let user = User {
                id: 7,
                login: "alice@example.com".to_owned(),
                display_name: name.to_owned(),
                picture: picture.map(str::to_owned),
            };
            let who = WhoIs {
                user: Some(user),
                shared_in,
                ..whois(None, &[])
            };
            let headers = Caller::from_whois(who).unwrap().identity_headers();
            let texts = headers
                .iter()
                .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
            texts.collect::<Vec<_>>()
        };
        let login = "tailscale-user-login: alice@example.com";
        let picture = "https://example.com/a.png";
        for shared_in in [false, true] {
            assert_eq!(
                person("Alice Architect", Some(picture), shared_in),
                [
                    login,
                    "tailscale-user-name: Alice Architect",
                    "tailscale-user-profile-pic: https://example.com/a.png"
                ]
            );
        }
        assert_eq!(person("", None, false), [login]);
        let named = person("J\u{f6}rg", Some("not\na header"), false);
        assert_eq!(named, [login, "tailscale-user-name: =?utf-8?q?J=C3=B6rg?="]);
        for unnamed in ["tag:ci", "(loopback)"] {
            let caller = Caller::hypothetical(unnamed, None);
            assert!(caller.identity_headers().is_empty(), "{unnamed}");
        }
        assert_eq!(Caller::named("bob@example.com").identity_headers().len(), 1);
    }

    #[test]
    fn what_is_not_ascii_stands_in_encoded_words() {
        for (text, expected) in [
            ("", ""),
            ("a=b?c_d", "a=b?c_d"),
            ("Zo\u{eb} =?_", "=?utf-8?q?Zo=C3=AB_=3D=3F=5F?="),
            ("a\r\nb", "=?utf-8?q?a=0D=0Ab?="),
        ] {
            assert_eq!(encoded(text), expected, "{text:?}");
        }
        let long = encoded(&"\u{65e5}".repeat(20));
        let words: Vec<&str> = long.split(' ').collect();
        assert_eq!(words.len(), 3);
        for word in words {
            assert!(word.len() <= LONGEST && word.starts_with(BEGIN) && word.ends_with(END));
        }
    }
}
