//! Completes what a node reports of itself with since when it is so, and tells those who watch.

use std::time::Duration;

use tokio::sync::watch;

use super::{SILENCE, State, Status};

/// Where a node's status is published.
pub(super) struct Publisher {
    sender: watch::Sender<Status>,
    stale_after: watch::Receiver<Duration>,
    /// Changes of who may do what that are no changes of the map.
    bumps: u64,
}

impl Publisher {
    pub(super) fn new(
        sender: watch::Sender<Status>,
        stale_after: watch::Receiver<Duration>,
    ) -> Self {
        Self {
            sender,
            stale_after,
            bumps: 0,
        }
    }

    /// Resolves when the time after which a map is stale was set.
    pub(super) async fn changed(&mut self) {
        if self.stale_after.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Publishes a status at a time, in Unix milliseconds.
    pub(super) fn publish(&mut self, mut status: Status, now: i64) {
        let after = *self.stale_after.borrow();
        let before = self.sender.borrow().clone();
        // The control server has said that the node must sign in, and the state is from before.
        if status.state == State::Running && status.auth_url.is_some() && !status.in_poll {
            status.state = State::NeedsLogin;
        }
        let since = |is: bool, known: Option<i64>| is.then(|| known.unwrap_or(now));
        status.down_since = since(status.state != State::Running, before.down_since);
        status.silent_since = since(!status.in_poll, before.silent_since);
        // Between two messages nothing can be known, however short the limit.
        let least = if status.in_poll { SILENCE } else { after };
        // A node that has heard nothing has its map from the disk, where it can be of any age.
        let age = status.map_age(now);
        status.is_stale = !after.is_zero() && age.is_none_or(|age| age > after.max(least));
        if status.is_stale != before.is_stale {
            self.bumps += 1;
        }
        status.epoch += self.bumps;
        self.sender.send_if_modified(|published| {
            // That the control server has said something is nothing to wake everybody for.
            let is_news = *published
                != Status {
                    heard_at: published.heard_at,
                    ..status.clone()
                };
            *published = status;
            is_news
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publisher(after: Duration) -> (Publisher, watch::Receiver<Status>) {
        let (sender, receiver) = watch::channel(Status::default());
        // Nobody sets another time.
        let (_, stale_after) = watch::channel(after);
        (Publisher::new(sender, stale_after), receiver)
    }

    fn running(in_poll: bool, heard_at: Option<i64>) -> Status {
        Status {
            state: State::Running,
            in_poll,
            heard_at,
            epoch: 7,
            ..Status::default()
        }
    }

    #[test]
    fn a_map_gets_stale_and_fresh_again_each_in_an_epoch_of_its_own() {
        let (mut publisher, status) = publisher(Duration::from_secs(10));
        publisher.publish(running(true, Some(2_000)), 2_000);
        publisher.publish(running(true, Some(2_000)), 62_000);
        assert!(!status.borrow().is_stale && status.borrow().epoch == 7);
        // Until here every change would have come.
        publisher.publish(running(false, Some(2_000)), 62_000);
        publisher.publish(running(false, Some(2_000)), 72_000);
        assert!(!status.borrow().is_stale);
        publisher.publish(running(false, Some(2_000)), 72_001);
        assert!(status.borrow().is_stale && status.borrow().epoch == 8);
        publisher.publish(running(true, Some(73_000)), 73_000);
        assert!(!status.borrow().is_stale && status.borrow().epoch == 9);
    }

    #[test]
    fn a_connection_that_is_open_and_silent_gets_stale_too() {
        let (mut publisher, status) = publisher(Duration::from_secs(10));
        publisher.publish(running(true, Some(0)), 75_000);
        assert!(!status.borrow().is_stale);
        publisher.publish(running(true, Some(0)), 75_001);
        assert!(status.borrow().is_stale);
        // That it is given up makes nothing fresh.
        publisher.publish(running(false, Some(0)), 120_000);
        assert!(status.borrow().is_stale);
        let (mut longer, status) = self::publisher(Duration::from_mins(5));
        longer.publish(running(true, Some(0)), 300_000);
        assert!(!status.borrow().is_stale);
        longer.publish(running(true, Some(0)), 300_001);
        assert!(status.borrow().is_stale);
    }

    #[test]
    fn without_a_limit_no_map_is_stale_and_with_one_that_of_the_disk_is() {
        let (mut never, status) = publisher(Duration::ZERO);
        never.publish(running(false, None), 1_000_000);
        assert!(!status.borrow().is_stale);
        let (mut publisher, status) = publisher(Duration::from_secs(10));
        publisher.publish(running(false, None), 1_000);
        assert!(status.borrow().is_stale);
        publisher.publish(running(true, Some(1_500)), 1_500);
        assert!(!status.borrow().is_stale);
    }

    #[test]
    fn it_is_known_since_when_a_node_is_down_or_hears_nothing() {
        let (mut publisher, status) = publisher(Duration::ZERO);
        publisher.publish(Status::default(), 2_000);
        publisher.publish(Status::default(), 3_000);
        assert_eq!(status.borrow().down_since, Some(2_000));
        publisher.publish(running(true, Some(4_000)), 4_000);
        assert_eq!(status.borrow().down_since, None);
        assert_eq!(status.borrow().silent_since, None);
        publisher.publish(running(false, Some(4_000)), 5_000);
        publisher.publish(running(false, Some(4_000)), 6_000);
        assert_eq!(status.borrow().silent_since, Some(5_000));
    }

    #[test]
    fn a_node_that_must_sign_in_is_not_running_and_a_word_alone_wakes_nobody() {
        let (mut publisher, mut status) = publisher(Duration::ZERO);
        let link = Some("https://x.test/a".to_owned());
        publisher.publish(
            Status {
                auth_url: link,
                ..running(false, None)
            },
            2_000,
        );
        assert_eq!(status.borrow_and_update().state, State::NeedsLogin);
        publisher.publish(running(true, Some(3_000)), 3_000);
        assert!(status.has_changed().unwrap());
        status.mark_unchanged();
        publisher.publish(running(true, Some(4_000)), 4_000);
        assert!(!status.has_changed().unwrap());
        assert_eq!(status.borrow().heard_at, Some(4_000));
    }
}
