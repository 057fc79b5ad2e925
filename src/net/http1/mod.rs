//! Connections of HTTP/1. hyper parses them; what it doesn't refuse, bound or let go of is here.

mod chunks;
mod connection;
mod detach;
mod first_head;
mod reader;
mod response;
mod strict;
mod turn;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use tokio::io::{AsyncRead, AsyncWrite};

use super::lifetime::{Limits, Stop};
use crate::wire::Body;
use crate::wire::body::BodyError;
use connection::Connection;
use response::ResponseBody;
use turn::{Asked, Turn};

pub use reader::{Fault, Reader};
pub use strict::Upgraded;

pub use first_head::Rewind;
pub(super) use first_head::read as read_first_head;
pub(super) use strict::StrictHttp1;
pub(super) use turn::Signals;

/// Serves a connection to its end.
pub(super) async fn serve<S, A, F>(
    stream: Rewind<S>,
    signals: Arc<Signals>,
    limits: Limits,
    stop: Stop<'_>,
    answer: A,
) -> Result<(), BodyError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(Request<Incoming>) -> F + Send + Unpin + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let mut builder = Builder::new();
    builder
        .half_close(false)
        .max_buf_size(limits.head_bytes)
        // Bounded below, without a timer for each request.
        .header_read_timeout(None::<Duration>);
    let turn = Arc::new(Turn::new());
    turn.served.pace.give();
    let answered = Arc::clone(&turn);
    let service = service_fn(move |mut request| {
        let (asked, turn) = (Asked::of(&request), Arc::clone(&answered));
        turn.served.pace.ask();
        detach::detach(&mut request);
        let answered = answer(request);
        async move { Ok::<_, Infallible>(ResponseBody::of(answered.await, asked, turn)) }
    });
    let connection = Connection::new(stream, builder, service, Arc::clone(&turn), signals);
    let connection = pin!(connection);
    tokio::select! {
        biased;
        ended = stop.ends(connection, Connection::shut_down) => ended,
        () = turn.served.pace.stalled(limits.head) => {
            tracing::debug!("the head of the next request took too long");
            Ok(())
        }
        () = turn.served.sent.revoked() => {
            tracing::debug!("a caller takes nothing of a response that it may no longer have");
            Ok(())
        }
    }
}
