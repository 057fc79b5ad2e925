//! Connections of HTTP/2. hyper parses them, but has no limit for a client that keeps a connection and
//! sends no request, or that doesn't read one of its responses.

mod idle;
mod stream;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::lifetime::{Limits, Stop};
use crate::wire::Body;
use idle::OpenRequests;
use stream::{ResponseBody, Streams};

/// Requests that one connection may have open.
const STREAMS: u32 = 100;

/// Serves a connection to its end.
pub(super) async fn serve<S, A, F>(
    stream: S,
    source: SocketAddr,
    limits: Limits,
    stop: Stop<'_>,
    answer: A,
) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(Request<Incoming>) -> F + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let mut builder = http2::Builder::new(Streams {
        within: limits.idle,
    });
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(Duration::from_secs(30));
    let open = OpenRequests::default();
    let counted = open.clone();
    let service = service_fn(move |request| {
        let (one, answered) = (counted.one(), answer(request));
        async { Ok::<_, Infallible>(ResponseBody::of(answered.await, one)) }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let shut_down = http2::Connection::graceful_shutdown;
    tokio::select! {
        ended = stop.ends(connection.as_mut(), shut_down) => ended,
        () = open.none_for(limits.head) => {
            tracing::debug!(%source, "an idle connection is closed");
            shut_down(connection.as_mut());
            tokio::select! {
                ended = connection => ended,
                // Some of a response may still be on its way. A client that neither reads it nor
                // leaves is waited for no longer.
                () = open.none_for(limits.idle) => Ok(()),
            }
        }
    }
}
