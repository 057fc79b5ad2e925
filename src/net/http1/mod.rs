//! Connections of HTTP/1. hyper parses them; what it doesn't refuse, bound or let go of is here.

mod detach;
mod first_head;
mod reader;
mod strict;

use std::convert::Infallible;
use std::pin::pin;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::lifetime::{Limits, Stop};
use crate::wire::Body;

pub use reader::{Fault, Reader};
pub use strict::Upgraded;

pub(super) use first_head::{Rewind, read as read_first_head};
pub(super) use strict::StrictHttp1;

/// Serves a connection to its end.
pub(super) async fn serve<S, A, F>(
    stream: Rewind<S>,
    limits: Limits,
    stop: Stop<'_>,
    answer: A,
) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(Request<Incoming>) -> F + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .half_close(false)
        .max_buf_size(limits.head_bytes)
        .header_read_timeout((!limits.head.is_zero()).then_some(limits.head));
    let service = service_fn(move |mut request| {
        detach::detach(&mut request);
        let answered = answer(request);
        async { Ok::<_, Infallible>(answered.await) }
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let connection = pin!(connection.with_upgrades());
    stop.ends(connection, http1::UpgradeableConnection::graceful_shutdown)
        .await
}
