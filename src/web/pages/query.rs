//! The query of a page: what its filters are set to, and the links that change one of them.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// All but what stands for itself everywhere (RFC 3986, section 2.3).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Parameters at most; a page has a dozen.
const MOST: usize = 64;

/// Parameters that say how far one has turned the pages, and mean nothing in another view.
pub(super) const PLACES: &[&str] = &["before", "page"];

/// Names and values in the order of the address. Empty values count as absent: forms send them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the query of an address; invalid UTF-8 is replaced.
    pub(super) fn parse(text: &str) -> Self {
        let decoded = |text: &str| {
            let text = text.replace('+', " ");
            percent_decode_str(&text).decode_utf8_lossy().into_owned()
        };
        let pairs = text.split('&').filter_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            let value = decoded(value).trim().to_owned();
            (!value.is_empty()).then(|| (decoded(name), value))
        });
        Self(pairs.take(MOST).collect())
    }

    /// The value of a parameter that is set.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The same with another value of a parameter.
    #[must_use]
    pub(super) fn with(&self, name: &str, value: &str) -> Self {
        let mut query = self.without(&[name]);
        if !value.is_empty() {
            query.0.push((name.to_owned(), value.to_owned()));
        }
        query
    }

    /// The same without some parameters.
    #[must_use]
    pub(super) fn without(&self, names: &[&str]) -> Self {
        let kept = self.0.iter().filter(|(name, _)| !names.contains(&&**name));
        Self(kept.cloned().collect())
    }

    /// The same with nothing but some parameters.
    #[must_use]
    pub(super) fn only(&self, names: &[&str]) -> Self {
        let kept = self.0.iter().filter(|(name, _)| names.contains(&&**name));
        Self(kept.cloned().collect())
    }

    /// Whether nothing is set.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names and values.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// As in an address, without the question mark.
    pub(super) fn text(&self) -> String {
        let pairs = self
            .pairs()
            .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
        pairs.collect::<Vec<_>>().join("&")
    }

    /// An address with this query.
    pub(super) fn at(&self, path: &str) -> String {
        if self.is_empty() {
            path.to_owned()
        } else {
            format!("{path}?{}", self.text())
        }
    }
}

/// A value as one segment of a path, or in a query.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

/// A segment of a path as it was meant.
pub(super) fn decoded(segment: &str) -> String {
    percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_back() {
        let query = Query::parse("model=a%2Fb+c&from=&login=%3Cb%3E&x");
        assert_eq!(query.get("model"), Some("a/b c"));
        assert_eq!(query.get("login"), Some("<b>"));
        assert_eq!(query.get("from"), None);
        assert_eq!(query.text(), "model=a%2Fb%20c&login=%3Cb%3E");
        assert_eq!(Query::parse(&query.text()), query);
    }

    #[test]
    fn links_change_one_thing() {
        let query = Query::parse("a=1&b=2");
        assert_eq!(query.with("a", "3").at("/x"), "/x?b=2&a=3");
        assert_eq!(query.with("a", "").text(), "b=2");
        assert_eq!(query.only(&["c"]).at("/x"), "/x");
    }
}
