//! How hooks take their requests compressed. One that can read a coding says so in its responses,
//! by `Accept-Encoding` (RFC 7694), and gets it from the next request on; one that changes its mind
//! says so with a 415 and gets the same request plain.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, header};

/// Hooks that are remembered. Those of earlier configurations are among them, so there is a bound.
const MOST: usize = 1_000;
/// Shorter payloads gain nothing.
const SHORT: usize = 1_024;
/// A longer payload is compressed beside the threads that serve others.
const LONG: usize = 64 << 10;
const ZSTD_LEVEL: i32 = 3;

/// A coding of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Zstd,
    Gzip,
}

/// What each hook takes, by its URL.
#[derive(Debug, Default)]
pub(super) struct Codings(Mutex<HashMap<String, Coding>>);

impl Codings {
    /// The coding for the next request to `url`.
    pub(super) fn of(&self, url: &str) -> Option<Coding> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(url).copied()
    }

    /// Learns from a response. One that says nothing changes nothing, unless it refuses a coding.
    pub(super) fn learn(&self, url: &str, headers: &HeaderMap, is_refusal: bool) {
        let says = headers.contains_key(header::ACCEPT_ENCODING);
        if !says && !is_refusal {
            return;
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match best(headers) {
            Some(coding) if known.len() < MOST || known.contains_key(url) => {
                known.insert(url.to_owned(), coding);
            }
            Some(_) => {}
            None => {
                known.remove(url);
            }
        }
    }
}

impl Coding {
    /// Its name in a header.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    fn pack(self, plain: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Zstd => zstd::encode_all(plain, ZSTD_LEVEL),
            Self::Gzip => {
                let level = flate2::Compression::fast();
                let mut coder = flate2::write::GzEncoder::new(Vec::new(), level);
                coder.write_all(plain)?;
                coder.finish()
            }
        }
    }
}

/// A payload in a coding; `None` where it is not worth it.
pub(super) async fn packed(coding: Coding, plain: &Bytes) -> Option<Vec<u8>> {
    if plain.len() < SHORT {
        return None;
    }
    let packed = if plain.len() < LONG {
        coding.pack(plain)
    } else {
        let plain = plain.clone();
        let packing = tokio::task::spawn_blocking(move || coding.pack(&plain));
        packing.await.ok()?
    };
    packed.ok().filter(|packed| packed.len() < plain.len())
}

/// The best coding that an `Accept-Encoding` accepts: zstd, where it is one.
fn best(headers: &HeaderMap) -> Option<Coding> {
    let accepted = headers.get_all(header::ACCEPT_ENCODING).iter();
    let codings: Vec<String> = accepted
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|coding| coding.trim().to_ascii_lowercase())
        .collect();
    let accepts = |name: &str| {
        codings.iter().any(|coding| {
            let mut parts = coding.split(';').map(str::trim);
            let is_it = parts.next() == Some(name);
            let weight = parts.find_map(|part| part.strip_prefix("q="));
            let weight = weight.map_or(Ok(1.0), str::parse::<f32>);
            is_it && weight.is_ok_and(|weight| weight > 0.0)
        })
    };
    let mut best_first = [Coding::Zstd, Coding::Gzip].into_iter();
    best_first.find(|coding| accepts(coding.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, value.parse().unwrap());
        headers
    }

    #[test]
    fn the_best_of_what_is_accepted() {
        for (value, expected) in [
            ("zstd, gzip", Some(Coding::Zstd)),
            ("gzip, zstd;q=0.5", Some(Coding::Zstd)),
            ("GZip", Some(Coding::Gzip)),
            ("zstd;q=0, gzip;q=0.1", Some(Coding::Gzip)),
            ("br, identity", None),
            ("zstd;q=x", None),
            ("", None),
        ] {
            assert_eq!(best(&says(value)), expected, "{value:?}");
        }
    }

    #[test]
    fn a_hook_is_remembered_by_its_last_word() {
        let codings = Codings::default();
        let url = "http://h/hook";
        codings.learn(url, &HeaderMap::new(), false);
        assert_eq!(codings.of(url), None);
        codings.learn(url, &says("zstd"), false);
        codings.learn(url, &HeaderMap::new(), false);
        assert_eq!(codings.of(url), Some(Coding::Zstd));
        codings.learn(url, &says("gzip"), true);
        assert_eq!(codings.of(url), Some(Coding::Gzip));
        codings.learn(url, &HeaderMap::new(), true);
        assert_eq!(codings.of(url), None);
        for nth in 0..MOST + 10 {
            codings.learn(&nth.to_string(), &says("gzip"), false);
        }
        assert_eq!(codings.0.lock().unwrap().len(), MOST);
    }

    #[tokio::test]
    async fn what_is_packed_opens_to_the_same() {
        let plain = Bytes::from("a long conversation ".repeat(10_000));
        let zstd = packed(Coding::Zstd, &plain).await.unwrap();
        assert_eq!(zstd::decode_all(&zstd[..]).unwrap(), plain);
        let gzip = packed(Coding::Gzip, &plain).await.unwrap();
        let mut opened = Vec::new();
        let mut decoder = flate2::read::GzDecoder::new(&gzip[..]);
        io::Read::read_to_end(&mut decoder, &mut opened).unwrap();
        assert_eq!(opened, plain);
        assert_eq!(
            packed(Coding::Zstd, &Bytes::from_static(b"short")).await,
            None
        );
    }
}
