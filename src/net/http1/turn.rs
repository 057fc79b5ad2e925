//! What a connection of HTTP/1 and the response that it sends know of each other.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::response::Parts;
use http::{HeaderMap, Method, Request, StatusCode, Version, header};
use hyper::body::Body as _;

use crate::net::sent::Served;
use crate::wire::Body;

/// What the stream says of the parser that reads and writes it.
#[derive(Default)]
pub(in crate::net) struct Signals {
    /// It has read only whole requests, and waits for more, and waits for more.
    waits: AtomicBool,
    /// It could not write all that it has.
    is_blocked: AtomicBool,
}

impl Signals {
    pub(super) fn read(&self, waits: bool) {
        self.waits.store(waits, Ordering::Relaxed);
    }

    pub(super) fn wrote(&self, is_written: bool) {
        self.is_blocked.store(!is_written, Ordering::Relaxed);
    }

    /// Whether the parser holds nothing: no part of a request, and no part of a response.
    pub(super) fn is_idle(&self) -> bool {
        self.waits.load(Ordering::Relaxed) && !self.is_blocked.load(Ordering::Relaxed)
    }
}

/// What a request says of how its response is sent.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    takes_chunks: bool,
    keep_alive: bool,
}

impl Asked {
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        let is_newest = request.version() == Version::HTTP_11;
        let has_body = !matches!(*request.method(), Method::HEAD | Method::CONNECT);
        Self {
            takes_chunks: is_newest && has_body,
            keep_alive: !closes(request.headers()),
        }
    }

    /// Whether the parser sends a response in chunks.
    pub(super) fn is_chunked(self, head: &Parts, body: &Body) -> bool {
        let is_bodiless = head.status.is_informational()
            || matches!(
                head.status,
                StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
            );
        let framed = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
        self.takes_chunks
            && !is_bodiless
            && head.version != Version::HTTP_10
            && body.size_hint().exact().is_none()
            && !framed.iter().any(|name| head.headers.contains_key(name))
    }

    /// Whether the connection serves another request behind a response.
    pub(super) fn keep_alive(self, head: &Parts) -> bool {
        self.keep_alive && !closes(&head.headers)
    }
}

/// Whether a head says that the connection ends behind its message.
fn closes(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::CONNECTION).iter();
    let mut words = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    words.any(|word| word.trim_ascii().eq_ignore_ascii_case(b"close"))
}

/// A response in chunks.
pub(super) struct Chunked {
    pub(super) body: Body,
    /// Nothing more has come of it yet.
    pub(super) waits: bool,
    /// The connection serves another request behind it.
    pub(super) keep_alive: bool,
}

/// The request that is served, and its response if that is in chunks.
pub(super) struct Turn {
    pub(super) served: Served,
    chunked: Mutex<Option<Chunked>>,
}

impl Turn {
    pub(super) fn new() -> Self {
        Self {
            served: Served::new(),
            chunked: Mutex::default(),
        }
    }

    pub(super) fn chunked(&self) -> MutexGuard<'_, Option<Chunked>> {
        self.chunked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the response from the parser if nothing more has come of it yet.
    pub(super) fn take_waiting(&self) -> Option<Chunked> {
        self.chunked().take_if(|sent| sent.waits)
    }
}
