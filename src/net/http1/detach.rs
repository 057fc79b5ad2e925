//! Detaches a request of HTTP/1 from the buffer that its head was read into. Its parts are pieces of that
//! buffer, and would keep all of it for as long as a response takes.

use bytes::{Bytes, BytesMut};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, Uri};

/// Gives the target and the headers of a request room of their own.
pub(super) fn detach<B>(request: &mut Request<B>) {
    values(request.headers_mut());
    // It was parsed as a target before.
    if let Some(own) = target(request.uri()) {
        *request.uri_mut() = own;
    }
}

fn target(uri: &Uri) -> Option<Uri> {
    let path = uri.path_and_query().map(PathAndQuery::as_str);
    // Mostly there is a path alone, which needs no writing out.
    match path.filter(|path| uri.authority().is_none() && path.starts_with('/')) {
        Some(path) => {
            let path = Bytes::copy_from_slice(path.as_bytes());
            PathAndQuery::from_maybe_shared(path).ok().map(Uri::from)
        }
        None => Uri::from_maybe_shared(Bytes::from(uri.to_string())).ok(),
    }
}

/// The same for the values alone: names are known ones, or have their own already.
fn values(headers: &mut HeaderMap) {
    let mut all = BytesMut::with_capacity(headers.values().map(HeaderValue::len).sum());
    for value in headers.values() {
        all.extend_from_slice(value.as_bytes());
    }
    let mut all = all.freeze();
    for value in headers.values_mut() {
        let own = all.split_to(value.len());
        // It was parsed as a value before.
        if let Ok(mut own) = HeaderValue::from_maybe_shared(own) {
            own.set_sensitive(value.is_sensitive());
            *value = own;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detached_values_are_the_same_in_another_place() {
        let buffer = Bytes::from_static(b"one two");
        let mut headers = HeaderMap::new();
        for part in [buffer.slice(..3), buffer.slice(4..), Bytes::new()] {
            headers.append("x-part", HeaderValue::from_maybe_shared(part).unwrap());
        }
        headers.append("other", HeaderValue::from_bytes(b"\xff").unwrap());
        let before = headers.clone();
        values(&mut headers);
        assert_eq!(headers, before);
        let outside = |value: &HeaderValue| {
            let within = buffer.as_ptr_range();
            value.is_empty() || !within.contains(&value.as_bytes().as_ptr())
        };
        assert!(headers.values().all(outside));
    }

    #[test]
    fn a_target_stays_what_it_is() {
        for target in "/ /? /a?b=c&d /%41//b? * http://ai/v1?x ai:443".split(' ') {
            let uri = Uri::from_static(target);
            let mut request = Request::builder().uri(uri.clone()).body(()).unwrap();
            detach(&mut request);
            assert_eq!(request.uri().to_string(), uri.to_string());
            assert_eq!(request.uri().path(), uri.path());
            assert_eq!(request.uri().query(), uri.query());
            assert_eq!(request.uri().authority(), uri.authority());
        }
    }
}
