//! Heads of requests as they are written, and of responses as they are read.

use std::io::Write;
use std::mem::MaybeUninit;

use bytes::{Buf, Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version, header,
};

use super::body::Body;
use super::framing::Framing;
use super::{Connection, Error, SHORT_BODY};
use crate::net::client::connect::Forward;

/// Bytes of the head of a response that are accepted.
pub(in crate::net::client) const HEAD_BYTES: usize = 256 << 10;
/// Fields of the head of a response that are accepted.
pub(in crate::net::client) const HEAD_FIELDS: usize = 256;
/// What a field takes in a head, roughly.
const FIELD: usize = 48;

/// A request as it goes out: its head, with a short body behind it, and the rest.
pub(super) fn written(request: &Request<Bytes>, forward: Option<&Forward>) -> (Bytes, Bytes) {
    let (uri, headers, body) = (request.uri(), request.headers(), request.body());
    let is_short = body.len() < SHORT_BODY;
    let room = 128 + headers.len() * FIELD + if is_short { body.len() } else { 0 };
    let mut out = Vec::with_capacity(room);
    out.extend_from_slice(request.method().as_str().as_bytes());
    out.push(b' ');
    // A vector takes all that is written.
    let _ = match (forward, uri.path_and_query()) {
        (Some(_), _) => write!(out, "{uri}"),
        (None, Some(path)) => write!(out, "{path}"),
        (None, None) => write!(out, "/"),
    };
    out.extend_from_slice(b" HTTP/1.1\r\n");
    if !headers.contains_key(header::HOST) {
        host(&mut out, uri);
    }
    let credential = forward.and_then(|forward| forward.credential.as_ref());
    if let Some(credential) = credential {
        field(
            &mut out,
            header::PROXY_AUTHORIZATION.as_str(),
            credential.as_bytes(),
        );
    }
    for (name, value) in headers {
        let is_ours = (name == header::CONTENT_LENGTH && !body.is_empty())
            || name == header::TRANSFER_ENCODING
            || (name == header::PROXY_AUTHORIZATION && credential.is_some());
        if !is_ours {
            field(&mut out, name.as_str(), value.as_bytes());
        }
    }
    if !body.is_empty() {
        let _ = write!(out, "content-length: {}\r\n", body.len());
    }
    out.extend_from_slice(b"\r\n");
    if is_short {
        out.extend_from_slice(body);
        return (out.into(), Bytes::new());
    }
    (out.into(), body.clone())
}

fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// The server that a URL names, without a port that its scheme implies.
fn host(out: &mut Vec<u8>, uri: &Uri) {
    let implied = if uri.scheme_str() == Some("https") {
        443
    } else {
        80
    };
    let host = uri.host().unwrap_or_default();
    let _ = match uri.port_u16().filter(|port| *port != implied) {
        Some(port) => write!(out, "host: {host}:{port}\r\n"),
        None => write!(out, "host: {host}\r\n"),
    };
}

/// The head of a response.
pub(super) struct Head {
    response: Response<()>,
    keep_alive: bool,
}

/// Takes a head from what has come, if all of it is there; the first `seen` bytes have no end of one.
/// Heads that only tell of progress are left out.
pub(super) fn read(bytes: &mut BytesMut, mut seen: usize) -> Result<Option<Head>, Error> {
    while is_whole(bytes, seen) {
        let Some((head, length)) = parsed(bytes)? else {
            return Ok(None);
        };
        bytes.advance(length);
        let status = head.response.status();
        if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Some(head));
        }
        seen = 0;
    }
    Ok(None)
}

/// Whether an empty line is there, so that a head that comes in many pieces is parsed once.
fn is_whole(bytes: &[u8], seen: usize) -> bool {
    let new = &bytes[seen.saturating_sub(3)..];
    memchr::memchr_iter(b'\n', new).any(|at| {
        let behind = &new[at + 1..];
        behind.starts_with(b"\r\n") || behind.starts_with(b"\n")
    })
}

fn parsed(bytes: &[u8]) -> Result<Option<(Head, usize)>, Error> {
    let mut fields = [const { MaybeUninit::uninit() }; HEAD_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let parsed = config.parse_response_with_uninit_headers(&mut response, bytes, &mut fields);
    let length = match parsed.map_err(fault)? {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial => return Ok(None),
    };
    let version = match response.version {
        Some(1) => Version::HTTP_11,
        _ => Version::HTTP_10,
    };
    let status = StatusCode::from_u16(response.code.unwrap_or_default());
    let status = status.map_err(|_| Error::Invalid("invalid HTTP status-code"))?;
    // The values share one copy of the head, so that they don't keep the larger buffer it was read into.
    let start = bytes.as_ptr().addr();
    let head = Bytes::copy_from_slice(&bytes[..length]);
    let mut headers = HeaderMap::with_capacity(response.headers.len());
    let mut keep_alive = version == Version::HTTP_11;
    let mut closes = false;
    for field in &*response.headers {
        let odd = || Error::Invalid("invalid HTTP header");
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| odd())?;
        let at = field
            .value
            .as_ptr()
            .addr()
            .saturating_sub(start)
            .min(length);
        let end = (at + field.value.len()).min(length);
        let value = HeaderValue::from_maybe_shared(head.slice(at..end)).map_err(|_| odd())?;
        if name == header::CONNECTION {
            closes |= names(&value, "close");
            keep_alive |= names(&value, "keep-alive");
        }
        headers.append(name, value);
    }
    let mut response = Response::new(());
    (*response.status_mut(), *response.version_mut()) = (status, version);
    *response.headers_mut() = headers;
    let keep_alive = keep_alive && !closes;
    Ok(Some((
        Head {
            response,
            keep_alive,
        },
        length,
    )))
}

fn fault(error: httparse::Error) -> Error {
    match error {
        httparse::Error::TooManyHeaders => Error::HeadTooLarge,
        httparse::Error::Status => Error::Invalid("invalid HTTP status-code"),
        httparse::Error::Version => Error::Invalid("invalid HTTP version"),
        _ => Error::Invalid("invalid HTTP header"),
    }
}

/// Whether a list names a word.
fn names(list: &HeaderValue, word: &str) -> bool {
    let list = list.to_str().unwrap_or_default();
    list.split(',')
        .any(|one| one.trim().eq_ignore_ascii_case(word))
}

impl Head {
    /// The response, whose body comes over `connection`.
    pub(super) fn with_body(
        mut self,
        connection: Box<Connection>,
        is_for_head: bool,
    ) -> Result<Response<Body>, Error> {
        let headers = self.response.headers_mut();
        if headers.contains_key(header::TRANSFER_ENCODING)
            && headers.remove(header::CONTENT_LENGTH).is_some()
        {
            // One of the two is wrong, and so may be where the next response begins (RFC 9112, section 6.3).
            self.keep_alive = false;
        }
        let status = self.response.status();
        let has_none = is_for_head
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            || status == StatusCode::SWITCHING_PROTOCOLS;
        let framing = if has_none {
            Framing::Length(0)
        } else {
            framing(&self.response)?
        };
        let body = if status == StatusCode::SWITCHING_PROTOCOLS {
            Body::upgraded(connection)
        } else {
            Body::new(connection, framing, self.keep_alive)
        };
        Ok(self.response.map(|()| body))
    }
}

/// Where the body of a response ends (RFC 9112, section 6.3).
fn framing(response: &Response<()>) -> Result<Framing, Error> {
    let headers = response.headers();
    if let Some(last) = headers
        .get_all(header::TRANSFER_ENCODING)
        .iter()
        .next_back()
    {
        if response.version() == Version::HTTP_10 {
            return Err(Error::Invalid("unexpected transfer-encoding"));
        }
        let last = last.to_str().unwrap_or_default().rsplit(',').next();
        let is_chunked = last.is_some_and(|last| last.trim().eq_ignore_ascii_case("chunked"));
        return Ok(if is_chunked {
            Framing::chunked()
        } else {
            Framing::UntilEnd
        });
    }
    let mut length = None;
    for value in headers.get_all(header::CONTENT_LENGTH) {
        for one in value.to_str().unwrap_or("-").split(',') {
            let one = one.trim();
            let is_number = !one.is_empty() && one.bytes().all(|byte| byte.is_ascii_digit());
            let number: Option<u64> = one.parse().ok().filter(|_| is_number);
            // The same one may stand there twice.
            match (number, length) {
                (Some(number), None) => length = Some(number),
                (Some(number), Some(before)) if number == before => {}
                _ => return Err(Error::Invalid("invalid content-length")),
            }
        }
    }
    Ok(length.map_or(Framing::UntilEnd, Framing::Length))
}
