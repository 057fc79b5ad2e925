//! Why a request got no response, and what may be done about it.

use std::error::Error;
use std::io;
use std::sync::Arc;

use http::Response;

use crate::net::client::connect_error::ConnectError;
use crate::net::client::http1::{self, HEAD_BYTES, HEAD_FIELDS};

/// Why a response didn't come, or broke off.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// Over HTTP/1.1.
    #[error(transparent)]
    Http1(#[from] http1::Error),
    /// Over HTTP/2.
    #[error(transparent)]
    Http2(#[from] hyper::Error),
}

/// Why a request got no response.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// There is no connection.
    #[error("no connection")]
    Connect(#[source] Arc<ConnectError>),
    /// The connection broke, or the bytes received weren't a response.
    #[error("no response")]
    Exchange(#[source] ExchangeError),
    /// The head of the response is too large.
    #[error("its response headers exceed {} KiB or {HEAD_FIELDS} fields", HEAD_BYTES >> 10)]
    HeadTooLarge,
    /// The same over HTTP/2, where it can't be told from other faults.
    #[error("its HTTP/2 response is invalid, or its headers exceed {} KiB", HEAD_BYTES >> 10)]
    Invalid,
    /// The URL names no server.
    #[error("the URL has no host")]
    NoHost,
}

impl RequestError {
    /// Whether the request never left.
    pub fn is_connect(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::NoHost)
    }
}

impl From<hyper::Error> for RequestError {
    fn from(error: hyper::Error) -> Self {
        match of_http2(&error) {
            Some(reset)
                if reset.is_reset()
                    && reset.is_library()
                    && reset.reason() == Some(h2::Reason::PROTOCOL_ERROR) =>
            {
                Self::Invalid
            }
            _ => Self::Exchange(error.into()),
        }
    }
}

impl From<http1::Error> for RequestError {
    fn from(error: http1::Error) -> Self {
        match error {
            http1::Error::HeadTooLarge => Self::HeadTooLarge,
            error => Self::Exchange(error.into()),
        }
    }
}

/// What has become of a request that got no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It never left.
    Unsent,
    /// The server says that it has not looked at it.
    Unprocessed,
    /// The connection had served others before, and broke before anything of a response had come.
    Closed,
    /// The server was at work or is gone, before anything of a response had come.
    Lost,
    /// The server may have worked on it.
    Unknown,
}

/// A request that got no response.
#[derive(Debug)]
pub struct Unanswered {
    pub error: RequestError,
    pub fate: Fate,
}

impl From<RequestError> for Unanswered {
    fn from(error: RequestError) -> Self {
        Self {
            error,
            fate: Fate::Unknown,
        }
    }
}

/// A response whose head has no more fields than the bound, as over HTTP/1.1.
pub(super) fn bounded<B>(response: Response<B>) -> Result<Response<B>, Unanswered> {
    if response.headers().len() > HEAD_FIELDS {
        return Err(RequestError::HeadTooLarge.into());
    }
    Ok(response)
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

fn of_http2(error: &hyper::Error) -> Option<&h2::Error> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// Whether an HTTP/2 server says that it has not looked at a request: it refused its stream, or
/// closes the connection and names an earlier stream as the last one that it works on.
pub(super) fn is_unprocessed(error: &hyper::Error) -> bool {
    of_http2(error).is_some_and(|error| {
        error.is_remote()
            && (error.is_go_away()
                || (error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM)))
    })
}

/// Whether the task of an HTTP/2 connection ended while a request waited for its stream, as when the
/// server closes the connection just then. Requests with a stream have tasks of their own.
pub(super) fn never_began(error: &hyper::Error) -> bool {
    error.is_user() && of_http2(error).is_none()
}

/// Whether an HTTP/2 server has reset this one request: that is an answer to it, unless it says
/// that it hasn't looked at it.
pub(super) fn is_an_answer(error: &hyper::Error) -> bool {
    of_http2(error)
        .is_some_and(|error| error.is_reset() && error.reason() != Some(h2::Reason::REFUSED_STREAM))
}

/// Whether the connection is dead: nothing was acknowledged any more, or no route leads to the
/// server's address.
pub(super) fn is_dead(error: &(dyn Error + 'static)) -> bool {
    use io::ErrorKind::{HostUnreachable, NetworkDown, NetworkUnreachable, TimedOut};
    let kinds = [HostUnreachable, NetworkDown, NetworkUnreachable, TimedOut];
    causes(error)
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| kinds.contains(&error.kind()))
}
