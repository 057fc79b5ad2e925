//! One connection of HTTP, from its first byte to its end. The first head is read before there is a
//! parser for it, and tells the version.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::http1::{self, Rewind, Signals, StrictHttp1, Upgraded};
use super::http2;
use super::lifetime::{FIRST_REQUEST, Limits, Stop};
use super::one_turn::in_one_turn;
use crate::base::clock::within;
use crate::wire::Body;
use crate::wire::body::BodyError;

/// A connection that is to be served.
pub struct Connection<S, L> {
    pub stream: S,
    pub source: SocketAddr,
    /// The limits in force: read when it begins, and again at its first request.
    pub limits: L,
    /// Set once it has become a WebSocket.
    pub upgraded: Upgraded,
    /// Cancelled when the gateway stops.
    pub stop: CancellationToken,
}

impl<S, L> Connection<S, L>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    L: Fn() -> Limits,
{
    /// Serves it to its end; `answer` is called for each request.
    pub async fn serve<A, F>(self, answer: A)
    where
        A: Fn(Request<Incoming>) -> F + Send + Unpin + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let Self {
            stream,
            source,
            limits,
            upgraded,
            stop,
        } = self;
        let signals = Arc::new(Signals::default());
        // Boxed, because it is handed over several times, and each future on the way has room for it.
        let strict = StrictHttp1::new(stream, source, upgraded, Arc::clone(&signals));
        let mut stream = Box::new(strict);
        let stopped = async {
            stop.cancelled().await;
            // The request of a connection that was accepted just now is still on its way.
            tokio::time::sleep(FIRST_REQUEST).await;
        };
        let begun = limits();
        let head = http1::read_first_head(&mut stream, begun.head_bytes);
        let head = tokio::select! {
            head = within(begun.head, head) => head,
            () = stopped => return,
        };
        match head {
            Ok(Ok(head)) => {
                let stream = Rewind::new(stream, head);
                // Boxed, so that a connection without a request has no room for one.
                let limits = limits();
                Box::pin(requests(stream, signals, source, limits, stop, answer)).await;
            }
            Ok(Err(error)) => tracing::debug!(%source, %error, "a connection broke"),
            Err(_) => tracing::debug!(%source, "a head took too long"),
        }
    }
}

async fn requests<S, A, F>(
    stream: Rewind<S>,
    signals: Arc<Signals>,
    source: SocketAddr,
    limits: Limits,
    token: CancellationToken,
    answer: A,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(Request<Incoming>) -> F + Send + Unpin + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let requested = Arc::new(Notify::new());
    let stop = Stop {
        // One of its own, because each turn of the connection takes its lock.
        token: token.child_token(),
        requested: &requested,
    };
    let notify = Arc::clone(&requested);
    let answer = move |request| {
        notify.notify_one();
        answer(request)
    };
    // hyper-util's builder for both versions would give the parser the first 24 bytes alone, for which
    // it would then have room twice.
    let ended = if stream.is_http2() {
        // Boxed, because it is several times what HTTP/1 takes.
        let ended = Box::pin(http2::serve(stream, source, limits, stop, answer)).await;
        ended.map_err(BodyError::from)
    } else {
        let served = pin!(http1::serve(stream, signals, limits, stop, answer));
        in_one_turn(served).await
    };
    if let Err(error) = ended {
        tracing::debug!(%source, %error, "a connection ended with an error");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::wire::body::empty;

    #[tokio::test]
    async fn a_reload_applies_to_the_request_that_an_open_connection_waits_for() {
        for (before, after, status) in [(64, 8, "431"), (8, 64, "200")] {
            let bytes = Arc::new(AtomicUsize::new(before << 10));
            let in_force = Arc::clone(&bytes);
            let (mut client, stream) = tokio::io::duplex(64 << 10);
            let connection = Connection {
                stream,
                source: "127.0.0.1:1".parse().unwrap(),
                limits: move || Limits {
                    head: Duration::ZERO,
                    idle: Duration::ZERO,
                    head_bytes: in_force.load(Ordering::Relaxed),
                },
                upgraded: Upgraded::default(),
                stop: CancellationToken::new(),
            };
            let serving = tokio::spawn(connection.serve(|_| async { Response::new(empty()) }));
            client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
            tokio::task::yield_now().await;
            bytes.store(after << 10, Ordering::Relaxed);
            let long = "x".repeat(20 << 10);
            let rest = format!("host: a\r\nconnection: close\r\nx: {long}\r\n\r\n");
            client.write_all(rest.as_bytes()).await.unwrap();
            let mut response = String::new();
            client.read_to_string(&mut response).await.unwrap();
            assert_eq!(response.get(9..12), Some(status), "{response}");
            serving.await.unwrap();
        }
    }
}
