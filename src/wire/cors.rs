//! What the headers of CORS hold (fetch.spec.whatwg.org, "CORS protocol"): the origin of a page, as browsers
//! write it in the header `Origin` (RFC 6454, section 6.1), and lists of methods and of headers.

use http::uri::Authority;
use http::{HeaderValue, Method};

/// An origin that a page of one site alone can have: a scheme, a host, and a port where it isn't the
/// scheme's own.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct Origin(HeaderValue);

/// Why a text is not the origin of one site's pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// `*`, alone or within a text.
    #[error(
        "\"*\" would let every website that a colleague opens spend their budget: the tailnet identifies \
         a caller by the device, so a page needs no credential"
    )]
    Any,
    /// `null`, which any site can give to a page of its own.
    #[error("any website can show a page whose origin is \"null\"")]
    Null,
    /// It isn't written as a browser sends it.
    #[error("expected an origin as browsers send it, such as \"https://chat.example.com\"")]
    Unlike,
}

impl Origin {
    /// Reads an origin.
    ///
    /// # Errors
    /// As [`OriginError`] says.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        if text.contains('*') {
            return Err(OriginError::Any);
        }
        if text == "null" {
            return Err(OriginError::Null);
        }
        let is_as_sent = || {
            let (scheme, authority) = text.split_once("://")?;
            let default = match scheme {
                "http" => Some("80"),
                "https" => Some("443"),
                _ => None,
            };
            let is_scheme = scheme.starts_with(|first: char| first.is_ascii_lowercase())
                && scheme.bytes().all(|byte| {
                    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte)
                });
            let parsed: Authority = authority.parse().ok()?;
            let port = parsed.port();
            let port = port.as_ref().map(http::uri::Port::as_str);
            let is_host = !parsed.host().is_empty()
                && !authority.contains('@')
                && !authority.ends_with(':')
                && !authority.bytes().any(|byte| byte.is_ascii_uppercase());
            (is_scheme && is_host && (port.is_none() || port != default))
                .then(|| HeaderValue::from_str(text).ok())?
        };
        is_as_sent().map(Self).ok_or(OriginError::Unlike)
    }

    /// Whether a header `Origin` names it.
    #[must_use]
    pub fn is(&self, header: &HeaderValue) -> bool {
        self.0.as_bytes() == header.as_bytes()
    }

    /// As it is written.
    #[must_use]
    pub fn text(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

impl TryFrom<String> for Origin {
    type Error = OriginError;

    fn try_from(text: String) -> Result<Self, OriginError> {
        Self::parse(&text)
    }
}

/// A list of methods or of names of headers, such as `GET, POST`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct Tokens(String);

/// A text isn't a list of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a list with commas, such as \"GET, POST\" or \"Content-Type, Authorization\"")]
pub struct TokensError;

impl Tokens {
    /// Reads a list.
    ///
    /// # Errors
    /// If an item is empty or has a character that no method and no header's name has.
    pub fn parse(text: &str) -> Result<Self, TokensError> {
        // Names of headers are tokens as methods are (RFC 9110, section 5.6.2).
        let is_token = |item: &str| Method::from_bytes(item.trim().as_bytes()).is_ok();
        if !text.split(',').all(is_token) {
            return Err(TokensError);
        }
        Ok(Self(text.trim().to_owned()))
    }

    /// As it is written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Tokens {
    type Error = TokensError;

    fn try_from(text: String) -> Result<Self, TokensError> {
        Self::parse(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_tokens_and_commas() {
        for text in ["GET", "GET, POST", "content-type,x-iris-labels", "*"] {
            assert_eq!(Tokens::parse(text).unwrap().text(), text);
        }
        for text in ["", ",", "GET,", "GET POST", "a\r\nb", "a: b", "\u{e4}"] {
            assert_eq!(Tokens::parse(text), Err(TokensError), "{text:?}");
        }
    }

    #[test]
    fn an_origin_is_one_that_a_browser_sends() {
        for text in [
            "https://chat.example.com",
            "http://localhost:3000",
            "http://[::1]:3000",
            "https://ai.example.com:8443",
            "chrome-extension://abcdefghijklmnop",
        ] {
            let origin = Origin::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert!(origin.is(&HeaderValue::from_static(text)));
            assert_eq!(origin.text(), text);
        }
        for (text, error) in [
            ("*", OriginError::Any),
            ("https://*.example.com", OriginError::Any),
            ("null", OriginError::Null),
            ("", OriginError::Unlike),
            ("chat.example.com", OriginError::Unlike),
            ("https://", OriginError::Unlike),
            ("https://chat.example.com/", OriginError::Unlike),
            ("https://chat.example.com/app", OriginError::Unlike),
            ("https://chat.example.com:443", OriginError::Unlike),
            ("http://chat.example.com:80", OriginError::Unlike),
            ("https://chat.example.com:", OriginError::Unlike),
            ("https://user@chat.example.com", OriginError::Unlike),
            ("https://Chat.example.com", OriginError::Unlike),
            ("HTTPS://chat.example.com", OriginError::Unlike),
            (
                "https://a.example.com, https://b.example.com",
                OriginError::Unlike,
            ),
            ("https://a.example.com\r\n", OriginError::Unlike),
        ] {
            assert_eq!(Origin::parse(text), Err(error), "{text:?}");
        }
    }
}
