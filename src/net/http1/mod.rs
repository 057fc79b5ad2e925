//! Connections of HTTP/1. hyper parses them; what it doesn't refuse, bound or let go of is here.

mod detach;
mod first_head;
mod reader;
mod response;
mod strict;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::lifetime::{Limits, Stop};
use super::sent::Served;
use crate::wire::Body;
use response::ResponseBody;

pub use reader::{Fault, Reader};
pub use strict::Upgraded;

pub use first_head::Rewind;
pub(super) use first_head::read as read_first_head;
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
        .half_close(false)
        .max_buf_size(limits.head_bytes)
        // Bounded below, without a timer for each request.
        .header_read_timeout(None::<Duration>);
    let served = Arc::new(Served::new());
    served.pace.give();
    let serves = Arc::clone(&served);
    let service = service_fn(move |mut request| {
        serves.pace.ask();
        detach::detach(&mut request);
        let (answered, serves) = (answer(request), Arc::clone(&serves));
        async { Ok::<_, Infallible>(ResponseBody::of(answered.await, serves)) }
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let connection = pin!(connection.with_upgrades());
    tokio::select! {
        biased;
        ended = stop.ends(connection, http1::UpgradeableConnection::graceful_shutdown) => ended,
        () = served.pace.stalled(limits.head) => {
            tracing::debug!("the head of the next request took too long");
            Ok(())
        }
        () = served.sent.revoked() => {
            tracing::debug!("a caller takes nothing of a response that it may no longer have");
            Ok(())
        }
    }
}
