//! The connections to one server: idle ones of HTTP/1.1, shared ones of HTTP/2, and those that are
//! being opened.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http2::SendRequest;
use tokio::sync::{Notify, oneshot, watch};

use super::IDLE_TIME;
use super::open::{Http1, Shared};
use crate::net::client::connect_error::ConnectError;

/// Idle connections of HTTP/1.1 that are kept for each server.
const IDLE_PER_HOST: usize = 64;

/// The end of the opening of a connection, for requests that wait for one of another.
type End = Option<Result<(), Arc<ConnectError>>>;

/// A connection for one request.
pub(super) enum Lent {
    Http1(Http1),
    Http2(Slot),
}

/// The place of one request on a shared connection.
pub(super) struct Slot {
    shared: Arc<Shared>,
    freed: Arc<Notify>,
}

impl Slot {
    pub(super) fn sender(&self) -> SendRequest<Full<Bytes>> {
        self.shared.sender.clone()
    }

    /// Whether a response has begun on it.
    pub(super) fn is_reused(&self) -> bool {
        self.shared.has_responded.load(Ordering::Relaxed)
    }

    /// Notes that a response has begun.
    pub(super) fn responded(&self) {
        self.shared.has_responded.store(true, Ordering::Relaxed);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut since = self
            .shared
            .since
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *since = Instant::now();
        self.shared.running.fetch_sub(1, Ordering::AcqRel);
        drop(since);
        self.freed.notify_one();
    }
}

/// What a request waits for.
pub(super) enum Wait {
    /// A connection that is opened for it.
    Own(oneshot::Receiver<Result<Lent, Arc<ConnectError>>>),
    /// One that is opened for another request, and that it may be able to share.
    Joined(watch::Receiver<End>),
}

impl Wait {
    /// The connection, or nothing if there may now be one to share.
    pub(super) async fn ended(&mut self) -> Result<Option<Lent>, Arc<ConnectError>> {
        match self {
            Self::Own(receiver) => match receiver.await {
                Ok(lent) => lent.map(Some),
                // Its task has panicked.
                Err(_) => Err(Arc::new(ConnectError::Impossible(
                    "opening the connection failed",
                ))),
            },
            Self::Joined(receiver) => match receiver.wait_for(Option::is_some).await {
                Ok(end) => match &*end {
                    Some(Err(error)) => Err(Arc::clone(error)),
                    _ => Ok(None),
                },
                Err(_) => Ok(None),
            },
        }
    }
}

/// Ends an opening.
pub(super) struct Done(watch::Sender<End>);

struct Opening {
    end: watch::Receiver<End>,
    /// Requests that wait for it, its own included.
    waiting: usize,
}

/// What is known of a server's protocol.
#[derive(Clone, Copy, Default)]
enum Speaks {
    #[default]
    Unknown,
    Http1,
    /// With requests that it allows at once.
    Http2(usize),
}

/// The connections to one server.
#[derive(Default)]
pub(super) struct Host {
    idle: Vec<Http1>,
    shared: Vec<Arc<Shared>>,
    openings: Vec<Opening>,
    speaks: Speaks,
    /// A connection has become free.
    pub(super) freed: Arc<Notify>,
}

impl Host {
    /// A connection with room for one more request.
    pub(super) fn take(&mut self) -> Option<Lent> {
        self.shared.retain(|shared| !shared.is_closed());
        for shared in &self.shared {
            if shared.running.load(Ordering::Acquire) < shared.most() {
                return Some(Lent::Http2(self.slot(shared)));
            }
        }
        while let Some(mut idle) = self.idle.pop() {
            if idle.since.elapsed() < IDLE_TIME && !idle.connection.is_dead() {
                return Some(Lent::Http1(idle));
            }
        }
        None
    }

    fn slot(&self, shared: &Arc<Shared>) -> Slot {
        shared.running.fetch_add(1, Ordering::AcqRel);
        Slot {
            shared: Arc::clone(shared),
            freed: Arc::clone(&self.freed),
        }
    }

    /// Waits with others for a connection that is being opened, if that can have room for one more.
    pub(super) fn join(&mut self) -> Option<Wait> {
        let room = match self.speaks {
            Speaks::Http1 => return None,
            Speaks::Unknown => usize::MAX,
            Speaks::Http2(streams) => streams,
        };
        // Those whose task has panicked never end.
        self.openings
            .retain(|opening| opening.end.has_changed().is_ok());
        let opening = self
            .openings
            .iter_mut()
            .find(|opening| opening.waiting < room)?;
        opening.waiting += 1;
        Some(Wait::Joined(opening.end.clone()))
    }

    /// A connection is being opened. Others can wait for it if it may be one to share.
    pub(super) fn opening(&mut self, may_share: bool) -> Option<Done> {
        if !may_share {
            self.speaks = Speaks::Http1;
            return None;
        }
        let (send, end) = watch::channel(None);
        self.openings.push(Opening { end, waiting: 1 });
        Some(Done(send))
    }

    /// It is open, or not.
    pub(super) fn ended(&mut self, done: &Done, end: Result<(), Arc<ConnectError>>) {
        let ended = done.0.subscribe();
        self.openings
            .retain(|opening| !opening.end.same_channel(&ended));
        done.0.send_replace(Some(end));
    }

    pub(super) fn speaks_http1(&mut self) {
        self.speaks = Speaks::Http1;
    }

    pub(super) fn speaks_http2(&mut self, streams: usize) {
        self.speaks = Speaks::Http2(streams.max(1));
    }

    /// Adds a shared connection, and takes the first place on it.
    pub(super) fn share(&mut self, shared: &Arc<Shared>) -> Slot {
        self.shared.push(Arc::clone(shared));
        self.slot(shared)
    }

    pub(super) fn keep(&mut self, mut connection: Http1) {
        if self.idle.len() >= IDLE_PER_HOST {
            self.idle.remove(0);
        }
        connection.since = Instant::now();
        self.idle.push(connection);
        self.freed.notify_one();
    }

    /// Drops what is closed or was idle for too long. Whether anything is left.
    pub(super) fn sweep(&mut self) -> bool {
        let is_old = |since: Instant| since.elapsed() >= IDLE_TIME;
        self.idle
            .retain_mut(|idle| !is_old(idle.since) && !idle.connection.is_dead());
        self.shared
            .retain(|shared| !shared.is_closed() && !shared.idle_since().is_some_and(is_old));
        !(self.idle.is_empty() && self.shared.is_empty() && self.openings.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_opening_whose_task_has_panicked_is_waited_for_no_more() {
        let mut host = Host::default();
        let done = host.opening(true);
        let mut joined = host.join().unwrap();
        drop(done);
        assert!(matches!(joined.ended().await, Ok(None)));
        assert!(host.join().is_none());
        assert!(!host.sweep());
        // The next one is joined as ever.
        let done = host.opening(true).unwrap();
        assert!(host.join().is_some());
        host.ended(&done, Ok(()));
        assert!(host.join().is_none());
    }
}
