//! Answers to browsers, with the headers that keep a page to itself.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use maud::Markup;

use crate::wire::{Body, body};

/// Nothing runs, loads or is sent but what this gateway serves itself; no text becomes markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; \
    frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// Bodies from this length on are compressed, in bytes.
const WORTH_IT: usize = 1_400;

/// A page. It holds what its reader may see at this moment: it must not be cached.
pub(super) fn page(status: StatusCode, markup: Markup, asked: &HeaderMap) -> Response<Body> {
    let text = Bytes::from(markup.into_string());
    let packed = accepts_gzip(asked) && text.len() >= WORTH_IT;
    let bytes = if packed { gzip(&text) } else { text };
    let mut response = answer(bytes, "text/html; charset=utf-8", packed);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    set(headers, header::CACHE_CONTROL, "no-store");
    set(headers, header::VARY, "accept-encoding");
    response
}

/// A file whose address changes with its content.
pub(super) fn file(bytes: Bytes, kind: &'static str, packed: bool) -> Response<Body> {
    let mut response = answer(bytes, kind, packed);
    let headers = response.headers_mut();
    let control = "public, max-age=31536000, immutable";
    set(headers, header::CACHE_CONTROL, control);
    set(headers, header::VARY, "accept-encoding");
    response
}

/// Sends a browser elsewhere on this gateway.
pub(super) fn elsewhere(path: &str) -> Response<Body> {
    let mut response = answer(Bytes::new(), "text/plain; charset=utf-8", false);
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    set(headers, header::CACHE_CONTROL, "no-store");
    set(headers, header::VARY, "accept");
    if let Ok(path) = HeaderValue::from_str(path) {
        headers.insert(header::LOCATION, path);
    }
    response
}

fn answer(bytes: Bytes, kind: &'static str, packed: bool) -> Response<Body> {
    let mut response = Response::new(body::full(bytes));
    let headers = response.headers_mut();
    set(headers, header::CONTENT_TYPE, kind);
    if packed {
        set(headers, header::CONTENT_ENCODING, "gzip");
    }
    set(headers, header::CONTENT_SECURITY_POLICY, POLICY);
    set(headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(headers, header::REFERRER_POLICY, "no-referrer");
    let name = HeaderName::from_static;
    set(headers, name("cross-origin-resource-policy"), "same-origin");
    // For browsers that don't know `frame-ancestors`.
    set(headers, header::X_FRAME_OPTIONS, "DENY");
    let nothing = "camera=(), geolocation=(), microphone=(), payment=(), usb=()";
    set(headers, name("permissions-policy"), nothing);
    response
}

/// Separates the page from the one that opened it. Over plain HTTP browsers ignore it, with a warning.
pub(super) fn without_opener(mut response: Response<Body>) -> Response<Body> {
    let name = HeaderName::from_static("cross-origin-opener-policy");
    set(response.headers_mut(), name, "same-origin");
    response
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers.insert(name, HeaderValue::from_static(value));
}

/// Whether a browser reads gzip: all do, but for `q=0`.
pub(super) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT_ENCODING).iter();
    accepted
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| {
            let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
            let weight = weight.trim().strip_prefix("q=").unwrap_or("1");
            name.trim().eq_ignore_ascii_case("gzip")
                && weight.parse::<f32>().is_ok_and(|weight| weight > 0.0)
        })
}

/// Bytes in gzip's coding.
pub(super) fn gzip(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // A vector takes all that is written to it.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressed_only_for_who_reads_it() {
        let accepts = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
            accepts_gzip(&headers)
        };
        assert!(accepts("gzip, deflate, br") && accepts("br;q=1.0, GZIP;q=0.8"));
        assert!(!accepts("gzip;q=0") && !accepts("br") && !accepts(""));
    }
}
