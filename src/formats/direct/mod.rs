//! Direct access: `/direct/PROVIDER/PATH` asks the provider for a path of its own API. What the path means is
//! between the caller and the provider, so nothing of a body is read and nothing is counted. What is checked is the
//! path, because a grant is for a path: the provider must read the same one as the pattern of the grant does.

use std::borrow::Cow;

use bytes::Bytes;
use percent_encoding::percent_decode_str;

use super::body::bad_request;
use super::meter::Unread;
use super::{Call, Format, Head, Path, known};
use crate::wire::Rejection;

/// What stands in front of the provider.
pub const ROOT: &str = "/direct/";

/// Direct access.
pub(super) static FORMAT: Format = Format {
    recognises_place: |_, path| path.starts_with(ROOT),
    accepts: &[],
    operation: "direct",
    ..Format::new("direct", &known::DIRECT, read, |_| Box::new(Unread))
};

/// Where a direct request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'p> {
    /// The provider, by its id.
    pub provider: &'p str,
    /// The path from the root of its server, as it was sent.
    pub path: &'p str,
}

/// Where a direct request for this path goes.
///
/// # Errors
/// 400 for a path that servers could read in different ways, or that names no path of a provider.
pub fn place(path: &str) -> Result<Place<'_>, Rejection> {
    let below = path.strip_prefix(ROOT).unwrap_or_default();
    let at = below.find('/').filter(|at| *at > 0 && below.len() > at + 1);
    let Some((provider, path)) = at.map(|at| below.split_at(at)) else {
        return Err(bad_request(format!(
            "{path:?} names no path of a provider: expected {ROOT}PROVIDER/PATH, such as {ROOT}openai/v1/files"
        )));
    };
    match odd_segment(path) {
        None => Ok(Place { provider, path }),
        Some(segment) => Err(bad_request(format!(
            "the path has the segment {segment:?}, which servers read in different ways: write the path plainly, \
             without empty segments, \".\", \"..\", \";\", \"\\\" and encoded slashes"
        ))),
    }
}

/// The first segment of a path that a server could take for another one.
fn odd_segment(path: &str) -> Option<&str> {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let last = segments.len() - 1;
    let is_odd = |(nth, segment): (usize, &str)| {
        let Ok(plain) = percent_decode_str(segment).decode_utf8() else {
            return true;
        };
        // What is still encoded may be decoded once more, and a parameter may be cut off before it is read.
        let hides =
            |char: char| matches!(char, '/' | '\\' | ';' | '%' | '?' | '#') || char.is_control();
        // What may stand plainly could pass by a pattern in disguise.
        let is_disguised = |(at, _): (usize, &str)| {
            let digits = segment.get(at + 1..at + 3).unwrap_or_default();
            let byte = u8::from_str_radix(digits, 16).unwrap_or_default();
            byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,=:@".contains(&byte)
        };
        // A path may end in a slash.
        segment.match_indices('%').any(is_disguised)
            || (plain.is_empty() && nth < last)
            || matches!(&*plain, "." | "..")
            || plain.contains(hides)
    };
    let mut all = segments.into_iter().enumerate();
    all.find(|one| is_odd(*one)).map(|(_, segment)| segment)
}

fn read(head: &Head<'_>, body: Bytes) -> Result<Call, Rejection> {
    let place = place(head.path)?;
    Ok(Call {
        path: Path::Fixed(Cow::Owned(place.path.to_owned())),
        body,
        ..Call::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_the_providers_as_it_was_sent() {
        for (path, provider, below) in [
            ("/direct/openai/v1/files", "openai", "/v1/files"),
            ("/direct/p/v1/files/", "p", "/v1/files/"),
            ("/direct/p/a%20b:c@1,d", "p", "/a%20b:c@1,d"),
            ("/direct/p/...", "p", "/..."),
        ] {
            let place = place(path).unwrap();
            assert_eq!((place.provider, place.path), (provider, below), "{path}");
        }
    }

    #[test]
    fn a_path_that_could_be_another_one_is_refused() {
        for path in [
            "/direct/",
            "/direct/p",
            "/direct/p/",
            "/direct//v1",
            "/direct/p//evil.example",
            "/direct/p/v1/../admin",
            "/direct/p/v1/..",
            "/direct/p/./v1",
            "/direct/p/v1/%2e%2e/admin",
            "/direct/p/v1/.%2E/admin",
            "/direct/p/v1/%252e%252e/admin",
            "/direct/p/v1%2fadmin",
            "/direct/p/v1%5cadmin",
            "/direct/p/v1\\admin",
            "/direct/p/v1/..;/admin",
            "/direct/p/v1;x=1",
            "/direct/p/v1%3fx",
            "/direct/p/v1%23x",
            "/direct/p/v1%0d%0ax",
            "/direct/p/v1%00",
            "/direct/p/v1/file%73",
            "/direct/p/v1/a%2Eb",
            "/direct/p/%ff",
        ] {
            assert!(place(path).is_err(), "{path}");
        }
    }
}
