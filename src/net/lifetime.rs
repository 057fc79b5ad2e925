//! How long a connection may go on: its limits, and its end when the gateway stops.

use std::pin::Pin;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::base::clock::within;

/// How long a connection without a request is waited for when the gateway stops.
pub(super) const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// What a connection may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For a head to arrive; zero waits without end.
    pub head: Duration,
    /// For the other end to read what is written; zero waits without end.
    pub idle: Duration,
    /// Size of a head.
    pub head_bytes: usize,
}

/// The end of the gateway, as a connection sees it.
pub(super) struct Stop<'a> {
    pub(super) token: CancellationToken,
    /// Notified at each request.
    pub(super) requested: &'a Notify,
}

impl Stop<'_> {
    /// Waits for the end of a connection, and shuts it down when the gateway stops.
    pub(super) async fn ends<C: Future<Output = hyper::Result<()>>>(
        self,
        mut connection: Pin<&mut C>,
        shut_down: impl FnOnce(Pin<&mut C>),
    ) -> hyper::Result<()> {
        tokio::select! {
            biased;
            ended = connection.as_mut() => return ended,
            () = self.token.cancelled() => {}
        }
        tokio::select! {
            ended = connection.as_mut() => ended,
            _ = within(FIRST_REQUEST, self.requested.notified()) => {
                shut_down(connection.as_mut());
                connection.await
            }
        }
    }
}
