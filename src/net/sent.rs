//! Ends a response that its caller may no longer have and takes nothing of. While a connection can't be
//! written to, the body of the response isn't polled, so that it can't end itself.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use http::Response;

use super::pace::Pace;
use crate::wire::Revocation;

/// For the caller to take something after all, and so the event that says why it gets no more.
const GRACE: Duration = Duration::from_millis(100);

/// What a connection knows of the request that it serves.
pub(super) struct Served {
    pub(super) pace: Pace,
    pub(super) sent: Sent,
}

impl Served {
    pub(super) fn new() -> Self {
        Self {
            pace: Pace::new(),
            sent: Sent::default(),
        }
    }
}

/// The response that is being sent.
#[derive(Default)]
pub(super) struct Sent {
    /// How often its body was asked for a piece.
    asked: AtomicUsize,
    /// It had a piece when it was asked last, and hasn't been asked since.
    has_given: AtomicBool,
    revocation: Mutex<Option<Revocation>>,
}

impl Sent {
    /// A response begins to be sent.
    pub(super) fn begin<B>(&self, response: &mut Response<B>) {
        *self.revocation() = response.extensions_mut().remove();
    }

    /// The body of the response was asked for a piece.
    pub(super) fn asked<T>(&self, next: &Poll<T>) {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.has_given.store(next.is_ready(), Ordering::Relaxed);
    }

    /// The response has ended.
    pub(super) fn end(&self) {
        self.has_given.store(false, Ordering::Relaxed);
        *self.revocation() = None;
    }

    /// Waits until a response is revoked of which nothing is taken. To be polled in the task that
    /// sends the response, after what sends it.
    pub(super) async fn revoked(&self) {
        loop {
            poll_fn(|cx| self.poll_revoked(cx)).await;
            let asked = self.asked.load(Ordering::Relaxed);
            tokio::time::sleep(GRACE).await;
            if self.has_given.load(Ordering::Relaxed) && self.asked.load(Ordering::Relaxed) == asked
            {
                return;
            }
        }
    }

    fn revocation(&self) -> MutexGuard<'_, Option<Revocation>> {
        let revocation = self.revocation.lock();
        revocation.unwrap_or_else(PoisonError::into_inner)
    }

    fn poll_revoked(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.has_given.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        let mut revocation = self.revocation();
        let Some(running) = &mut *revocation else {
            return Poll::Pending;
        };
        let polled = running.poll_unpin(cx).map(drop);
        if polled.is_ready() {
            *revocation = None;
        }
        polled
    }
}
