//! One connection of HTTP, from its first byte to its end. The first head is read before there is a
//! parser for it, and tells the version.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::http1::{self, Rewind, StrictHttp1, Upgraded};
use super::http2;
use super::lifetime::{FIRST_REQUEST, Limits, Stop};
use crate::base::clock::within;
use crate::wire::Body;

/// A connection that is to be served.
pub struct Connection<S> {
    pub stream: S,
    pub source: SocketAddr,
    pub limits: Limits,
    /// Set by whoever makes it a WebSocket.
    pub upgraded: Upgraded,
    /// Cancelled when the gateway stops.
    pub stop: CancellationToken,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Connection<S> {
    /// Serves it to its end; `answer` is called for each request.
    pub async fn serve<A, F>(self, answer: A)
    where
        A: Fn(Request<Incoming>) -> F + Send + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let Self {
            stream,
            source,
            limits,
            upgraded,
            stop,
        } = self;
        let mut stream = StrictHttp1::new(stream, source, upgraded);
        let stopped = async {
            stop.cancelled().await;
            // The request of a connection that was accepted just now is still on its way.
            tokio::time::sleep(FIRST_REQUEST).await;
        };
        let head = http1::read_first_head(&mut stream, limits.head_bytes);
        let head = tokio::select! {
            head = within(limits.head, head) => head,
            () = stopped => return,
        };
        match head {
            Ok(Ok(head)) => {
                let stream = Rewind::new(stream, head);
                // Boxed, so that a connection without a request has no room for one.
                Box::pin(requests(stream, source, limits, stop, answer)).await;
            }
            Ok(Err(error)) => tracing::debug!(%source, %error, "a connection broke"),
            Err(_) => tracing::debug!(%source, "a head took too long"),
        }
    }
}

async fn requests<S, A, F>(
    stream: Rewind<S>,
    source: SocketAddr,
    limits: Limits,
    token: CancellationToken,
    answer: A,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(Request<Incoming>) -> F + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let requested = Arc::new(Notify::new());
    let stop = Stop::new(token, &requested);
    let notify = Arc::clone(&requested);
    let answer = move |request| {
        notify.notify_one();
        answer(request)
    };
    // hyper-util's builder for both versions would give the parser the first 24 bytes alone, for which
    // it would then have room twice.
    let ended = if stream.is_http2() {
        http2::serve(stream, source, limits, stop, answer).await
    } else {
        http1::serve(stream, limits, stop, answer).await
    };
    if let Err(error) = ended {
        tracing::debug!(%source, %error, "a connection ended with an error");
    }
}
