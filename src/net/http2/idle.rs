//! Finds connections of HTTP/2 without requests. hyper bounds how long a request's head may take in
//! HTTP/1 alone; over HTTP/2, a client that answers its pings would keep a connection for ever.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// The requests of a connection whose responses have not ended.
#[derive(Clone, Default)]
pub(super) struct OpenRequests(Arc<watch::Sender<usize>>);

impl OpenRequests {
    /// Counts one more, until what is returned is dropped.
    pub(super) fn one(&self) -> OpenRequest {
        self.0.send_modify(|open| *open += 1);
        OpenRequest(self.clone())
    }

    /// Waits until there has been none for this long; zero waits without end.
    pub(super) async fn none_for(&self, long: Duration) {
        if long.is_zero() {
            return std::future::pending().await;
        }
        let mut open = self.0.subscribe();
        loop {
            if open.wait_for(|open| *open == 0).await.is_err() {
                return;
            }
            if tokio::time::timeout(long, open.changed()).await.is_err() {
                return;
            }
        }
    }
}

/// A request whose response has not ended.
pub(super) struct OpenRequest(OpenRequests);

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.0.send_modify(|open| *open -= 1);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_once_its_last_answer_has_ended_long_ago() {
        let open = OpenRequests::default();
        let began = Instant::now();
        open.none_for(LONG).await;
        assert_eq!(began.elapsed(), LONG);
        let (first, second) = (open.one(), open.one());
        let ends = tokio::spawn(async move {
            sleep(2 * LONG).await;
            drop(first);
            sleep(2 * LONG).await;
            drop(second);
        });
        let began = Instant::now();
        open.none_for(LONG).await;
        assert_eq!(began.elapsed(), 5 * LONG);
        ends.await.unwrap();
        // A request in between restarts the time.
        let later = open.clone();
        tokio::spawn(async move {
            sleep(LONG / 2).await;
            drop(later.one());
        });
        let began = Instant::now();
        open.none_for(LONG).await;
        assert_eq!(began.elapsed(), LONG + LONG / 2);
    }
}
