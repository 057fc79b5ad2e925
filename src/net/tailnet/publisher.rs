//! Completes what a node reports of itself with since when it is so, and tells those who watch.

use std::time::Duration;

use tokio::sync::watch;

use super::{SILENCE, State, Status, map_age};
use crate::base::clock::Moment;

/// A time that is shown is corrected when the machine's clock was set by more than this, in
/// milliseconds.
const SET: i64 = 2_000;

/// Where a node's status is published.
pub(super) struct Publisher {
    sender: watch::Sender<Status>,
    stale_after: watch::Receiver<Duration>,
    /// Changes of who may do what that are no changes of the map.
    bumps: u64,
    /// When the control server was heard: as it was reported, and by the steady clock.
    heard: Option<(i64, i64)>,
    /// By the steady clock, as the next; see [`Status`].
    down_since: Option<i64>,
    silent_since: Option<i64>,
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
            heard: None,
            down_since: None,
            silent_since: None,
        }
    }

    /// Resolves when the time after which a map is stale was set.
    pub(super) async fn changed(&mut self) {
        if self.stale_after.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Publishes a status. How long something has lasted is measured by the steady clock: the
    /// machine's clock may be set in between, and makes no map fresh or stale.
    pub(super) fn publish(&mut self, mut status: Status, now: Moment) {
        let after = *self.stale_after.borrow();
        let before = self.sender.borrow().clone();
        // The control server has said that the node must sign in, and the state is from before.
        if status.state == State::Running && status.auth_url.is_some() && !status.in_poll {
            status.state = State::NeedsLogin;
        }
        let since = |is: bool, known: Option<i64>| is.then(|| known.unwrap_or(now.steady));
        self.down_since = since(status.state != State::Running, self.down_since);
        self.silent_since = since(!status.in_poll, self.silent_since);
        if self.heard.map(|(reported, _)| reported) != status.heard_at {
            let then = |at: i64| now.steady - (now.unix - at).max(0);
            self.heard = status.heard_at.map(|at| (at, then(at)));
        }
        let heard = self.heard.map(|(_, steady)| steady);
        status.heard_at = shown(heard, status.heard_at, now);
        status.down_since = shown(self.down_since, before.down_since, now);
        status.silent_since = shown(self.silent_since, before.silent_since, now);
        // Between two messages nothing can be known, however short the limit.
        let least = if status.in_poll { SILENCE } else { after };
        // A node that has heard nothing has its map from the disk, where it can be of any age.
        let age = heard.map(|heard| map_age(heard, self.silent_since, now.steady));
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

/// The Unix time of `steady`: the one that is known, unless the machine's clock was set.
fn shown(steady: Option<i64>, known: Option<i64>, now: Moment) -> Option<i64> {
    let at = now.unix_of(steady?);
    Some(
        known
            .filter(|known| (known - at).abs() <= SET)
            .unwrap_or(at),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A moment while both clocks agree.
    const fn at(ms: i64) -> Moment {
        Moment {
            unix: ms,
            steady: ms,
        }
    }

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
        publisher.publish(running(true, Some(2_000)), at(2_000));
        publisher.publish(running(true, Some(2_000)), at(62_000));
        assert!(!status.borrow().is_stale && status.borrow().epoch == 7);
        // Until here every change would have come.
        publisher.publish(running(false, Some(2_000)), at(62_000));
        publisher.publish(running(false, Some(2_000)), at(72_000));
        assert!(!status.borrow().is_stale);
        publisher.publish(running(false, Some(2_000)), at(72_001));
        assert!(status.borrow().is_stale && status.borrow().epoch == 8);
        publisher.publish(running(true, Some(73_000)), at(73_000));
        assert!(!status.borrow().is_stale && status.borrow().epoch == 9);
    }

    #[test]
    fn a_connection_that_is_open_and_silent_gets_stale_too() {
        let (mut publisher, status) = publisher(Duration::from_secs(10));
        publisher.publish(running(true, Some(0)), at(75_000));
        assert!(!status.borrow().is_stale);
        publisher.publish(running(true, Some(0)), at(75_001));
        assert!(status.borrow().is_stale);
        // That it is given up makes nothing fresh.
        publisher.publish(running(false, Some(0)), at(120_000));
        assert!(status.borrow().is_stale);
        let (mut longer, status) = self::publisher(Duration::from_mins(5));
        longer.publish(running(true, Some(0)), at(300_000));
        assert!(!status.borrow().is_stale);
        longer.publish(running(true, Some(0)), at(300_001));
        assert!(status.borrow().is_stale);
    }

    #[test]
    fn without_a_limit_no_map_is_stale_and_with_one_that_of_the_disk_is() {
        let (mut never, status) = publisher(Duration::ZERO);
        never.publish(running(false, None), at(1_000_000));
        assert!(!status.borrow().is_stale);
        let (mut publisher, status) = publisher(Duration::from_secs(10));
        publisher.publish(running(false, None), at(1_000));
        assert!(status.borrow().is_stale);
        publisher.publish(running(true, Some(1_500)), at(1_500));
        assert!(!status.borrow().is_stale);
    }

    #[test]
    fn it_is_known_since_when_a_node_is_down_or_hears_nothing() {
        let (mut publisher, status) = publisher(Duration::ZERO);
        publisher.publish(Status::default(), at(2_000));
        publisher.publish(Status::default(), at(3_000));
        assert_eq!(status.borrow().down_since, Some(2_000));
        publisher.publish(running(true, Some(4_000)), at(4_000));
        assert_eq!(status.borrow().down_since, None);
        assert_eq!(status.borrow().silent_since, None);
        publisher.publish(running(false, Some(4_000)), at(5_000));
        publisher.publish(running(false, Some(4_000)), at(6_000));
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
            at(2_000),
        );
        assert_eq!(status.borrow_and_update().state, State::NeedsLogin);
        publisher.publish(running(true, Some(3_000)), at(3_000));
        assert!(status.has_changed().unwrap());
        status.mark_unchanged();
        publisher.publish(running(true, Some(4_000)), at(4_000));
        assert!(!status.has_changed().unwrap());
        assert_eq!(status.borrow().heard_at, Some(4_000));
    }

    #[test]
    fn a_clock_that_is_set_makes_no_map_fresh_and_none_stale() {
        const HOUR: i64 = 3_600_000;
        for jump in [-HOUR, HOUR] {
            let set = |ms| Moment {
                unix: 10 * HOUR + ms + jump,
                steady: ms,
            };
            let (mut publisher, status) = publisher(Duration::from_secs(10));
            let heard = Some(10 * HOUR);
            let first = Moment {
                unix: 10 * HOUR,
                steady: 0,
            };
            publisher.publish(running(true, heard), first);
            publisher.publish(running(false, heard), set(5_000));
            let node = status.borrow().clone();
            assert!(!node.is_stale, "{jump}");
            // What is shown is by the clock as it is set now.
            assert_eq!(node.heard_at, Some(10 * HOUR + jump), "{jump}");
            assert_eq!(
                node.map_age(set(15_000).unix),
                Some(Duration::from_secs(10))
            );
            publisher.publish(running(false, heard), set(15_000));
            assert!(!status.borrow().is_stale, "{jump}");
            publisher.publish(running(false, heard), set(15_001));
            assert!(status.borrow().is_stale, "{jump}");
            publisher.publish(running(false, Some(10 * HOUR + jump)), set(16_000));
            assert!(status.borrow().is_stale, "it was said 16 seconds ago");
            let now = set(17_000);
            publisher.publish(running(true, Some(now.unix)), now);
            assert!(!status.borrow().is_stale, "{jump}");
        }
    }

    #[test]
    fn a_clock_that_drifts_wakes_nobody() {
        let (mut publisher, mut status) = publisher(Duration::ZERO);
        publisher.publish(Status::default(), at(2_000));
        status.mark_unchanged();
        let drifted = Moment {
            unix: 3_001,
            steady: 3_000,
        };
        publisher.publish(Status::default(), drifted);
        assert!(!status.has_changed().unwrap());
        assert_eq!(status.borrow().down_since, Some(2_000));
    }
}
