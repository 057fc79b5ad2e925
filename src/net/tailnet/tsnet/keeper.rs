//! How a node that its control server no longer lets in comes back: with its auth key, once, and
//! else with an address to sign in at. Tailscale's code waits until a person restarts it.

use serde::Serialize;

use crate::net::tailnet::{State, Status, TroubleKind};

/// Between two attempts, in milliseconds: at first, and at most.
const FIRST_PAUSE: i64 = 5_000;
const LONGEST_PAUSE: i64 = 300_000;
/// After an attempt that has held for so long, in milliseconds, the pauses begin from the start.
const CALM: i64 = 600_000;

/// How to sign in again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Rejoin {
    /// With the auth key of the configuration; else what the control server answers can be an
    /// address to sign in at.
    pub with_key: bool,
    /// As a new node, because the one that it was is gone: under its old key, peers that have just
    /// dropped it would not answer it.
    pub fresh: bool,
}

/// The auth key of the configuration, since the node was last on its tailnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    None,
    Untried,
    Tried,
}

/// Decides when a node signs in again.
pub(super) struct Keeper {
    key: Key,
    /// Whether the node has joined at some time. One that never has is started with its key.
    known: bool,
    /// Whether the last attempt was as a new node.
    is_gone: bool,
    /// Whether the last attempt failed after the node may have been signed out for it.
    is_owed: bool,
    /// The attempts that a status must know of: one from before the last says nothing new.
    joins: u64,
    /// Attempts that failed, or did not hold.
    failures: u32,
    tried_at: i64,
    not_before: i64,
}

impl Keeper {
    pub(super) fn new(has_key: bool, known: bool) -> Self {
        Self {
            key: match (has_key, known) {
                (false, _) => Key::None,
                (true, true) => Key::Untried,
                // It was started with it.
                (true, false) => Key::Tried,
            },
            known,
            is_gone: false,
            is_owed: false,
            joins: 0,
            failures: 0,
            tried_at: 0,
            not_before: 0,
        }
    }

    /// What to do after this status, which was made after so many attempts; `now` is by a clock
    /// that is never set.
    pub(super) fn next(&mut self, status: &Status, joins: u64, now: i64) -> Option<Rejoin> {
        let kind = status.trouble.as_ref().map(|trouble| trouble.kind);
        let is_unknown = kind == Some(TroubleKind::Unknown);
        if status.state == State::Running && status.in_poll && !is_unknown {
            self.known = true;
            self.renew_key();
            self.is_owed = false;
            if now - self.tried_at >= CALM {
                self.failures = 0;
            } else if self.failures > 0 {
                // A control server that forgets each node that joins would otherwise get one more
                // at each look.
                self.not_before = self.not_before.max(self.tried_at + self.pause());
            }
            return None;
        }
        if joins < self.joins || now < self.not_before {
            return None;
        }
        let can_try_key = self.holds_back_the_link();
        let signed_out = status.state == State::NeedsLogin || status.auth_url.is_some();
        let is_refused = kind == Some(TroubleKind::Refused);
        // A node that runs is not let in again for another reason than a key.
        let is_shut_out = is_refused && status.state == State::Running;
        let with_key = can_try_key && (is_unknown || signed_out);
        let key_failed = self.known && self.key == Key::Tried && is_refused;
        let changed = kind == Some(TroubleKind::KeyChanged);
        // Where it is offered an address to sign in at, that attempt went far enough.
        let is_owed = self.is_owed && status.auth_url.is_none();
        if !(with_key || is_unknown || key_failed || is_shut_out || changed || is_owed) {
            return None;
        }
        let rejoin = Rejoin {
            with_key,
            fresh: is_unknown || is_owed || key_failed && self.is_gone,
        };
        self.is_gone = rejoin.fresh;
        self.is_owed = false;
        self.joins = joins + 1;
        if with_key {
            self.key = Key::Tried;
        }
        self.failures += 1;
        self.tried_at = now;
        // What comes after a key that was refused waits for nothing.
        let pause = if with_key { 0 } else { self.pause() };
        self.not_before = now + pause;
        Some(rejoin)
    }

    /// How long to wait after the last attempt.
    fn pause(&self) -> i64 {
        let pause = FIRST_PAUSE << self.failures.min(10).saturating_sub(1);
        pause.min(LONGEST_PAUSE)
    }

    /// An attempt that could not be made, for instance because no key could be had. The node may
    /// have counted it or not.
    pub(super) fn failed(&mut self, rejoin: Rejoin, now: i64) {
        self.joins = self.joins.saturating_sub(1);
        self.is_owed = rejoin.fresh;
        if rejoin.with_key {
            self.renew_key();
        }
        let pause = FIRST_PAUSE << self.failures.min(10);
        self.not_before = now + pause.min(LONGEST_PAUSE);
    }

    fn renew_key(&mut self) {
        if self.key == Key::Tried {
            self.key = Key::Untried;
        }
    }

    /// Whether an address to sign in at must not be used yet, because the key is tried first.
    pub(super) fn holds_back_the_link(&self) -> bool {
        self.known && self.key == Key::Untried
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::tailnet::Trouble;

    const fn rejoin(with_key: bool, fresh: bool) -> Rejoin {
        Rejoin { with_key, fresh }
    }
    const KEY: Option<Rejoin> = Some(rejoin(true, false));
    const NO_KEY: Option<Rejoin> = Some(rejoin(false, false));
    const NEW_KEY: Option<Rejoin> = Some(rejoin(true, true));
    const NEW_NO_KEY: Option<Rejoin> = Some(rejoin(false, true));

    fn status(state: State, in_poll: bool, trouble: Option<TroubleKind>, link: bool) -> Status {
        Status {
            state,
            in_poll,
            trouble: trouble.map(|kind| Trouble {
                kind,
                message: "words".to_owned(),
            }),
            auth_url: link.then(|| "https://x.test/a".to_owned()),
            ..Status::default()
        }
    }

    fn running() -> Status {
        status(State::Running, true, None, false)
    }

    #[test]
    fn a_key_is_tried_once_and_then_comes_the_link() {
        let mut keeper = Keeper::new(true, true);
        assert_eq!(keeper.next(&running(), 0, 0), None);
        // The node's key expires.
        let expired = status(State::NeedsLogin, true, None, false);
        assert!(keeper.holds_back_the_link());
        assert_eq!(keeper.next(&expired, 0, 1), KEY);
        assert!(!keeper.holds_back_the_link());
        // What was said before counts no more.
        assert_eq!(keeper.next(&expired, 0, 2), None);
        let refused = status(State::NeedsLogin, false, Some(TroubleKind::Refused), false);
        assert_eq!(keeper.next(&refused, 1, 3), NO_KEY);
        let link = status(State::NeedsLogin, false, None, true);
        assert_eq!(keeper.next(&link, 2, 60_000), None);
        // A person has signed it in, and it expires once more.
        assert_eq!(keeper.next(&running(), 2, 70_000), None);
        assert_eq!(keeper.next(&expired, 2, 80_000), KEY);
    }

    #[test]
    fn a_node_that_never_joined_is_left_to_its_first_key() {
        let mut keeper = Keeper::new(true, false);
        let refused = status(State::NeedsLogin, false, Some(TroubleKind::Refused), false);
        assert_eq!(keeper.next(&refused, 0, 1), None);
        let mut without = Keeper::new(false, false);
        let link = status(State::NeedsLogin, false, None, true);
        assert_eq!(without.next(&link, 0, 1), None);
        assert!(!without.holds_back_the_link());
    }

    #[test]
    fn a_node_that_is_unknown_joins_again_with_what_there_is() {
        let unknown = |in_poll| status(State::Running, in_poll, Some(TroubleKind::Unknown), false);
        for in_poll in [true, false] {
            let mut keeper = Keeper::new(true, true);
            assert_eq!(keeper.next(&unknown(in_poll), 0, 0), NEW_KEY);
            // The key is used up.
            let refused = status(State::NeedsLogin, false, Some(TroubleKind::Refused), false);
            assert_eq!(keeper.next(&refused, 1, 1), NEW_NO_KEY);
            let mut without = Keeper::new(false, true);
            assert_eq!(without.next(&unknown(in_poll), 0, 0), NEW_NO_KEY);
            // It isn't asked in a loop.
            assert_eq!(without.next(&unknown(in_poll), 1, 1_000), None);
            assert_eq!(without.next(&unknown(in_poll), 1, FIRST_PAUSE), NEW_NO_KEY);
            assert_eq!(without.next(&unknown(in_poll), 2, 2 * FIRST_PAUSE), None);
        }
    }

    #[test]
    fn a_node_that_is_shut_out_asks_again_as_what_it_was() {
        let mut keeper = Keeper::new(true, true);
        assert_eq!(keeper.next(&running(), 0, 0), None);
        let shut_out = status(State::Running, false, Some(TroubleKind::Refused), false);
        assert_eq!(keeper.next(&shut_out, 0, 1), NO_KEY);
    }

    #[test]
    fn another_key_of_the_control_server_takes_no_auth_key() {
        let mut keeper = Keeper::new(true, true);
        let changed = status(State::Running, false, Some(TroubleKind::KeyChanged), false);
        assert_eq!(keeper.next(&changed, 0, 0), NO_KEY);
    }

    #[test]
    fn an_outage_is_waited_for() {
        let mut keeper = Keeper::new(true, true);
        for state in [State::Running, State::Starting, State::NoState] {
            let away = status(state, false, Some(TroubleKind::Failed), false);
            assert_eq!(keeper.next(&away, 0, 1_000_000), None);
        }
    }

    #[test]
    fn an_attempt_that_could_not_be_made_is_made_later() {
        let mut keeper = Keeper::new(true, true);
        let unknown = status(State::Running, false, Some(TroubleKind::Unknown), false);
        assert_eq!(keeper.next(&unknown, 0, 0), NEW_KEY);
        keeper.failed(NEW_KEY.unwrap(), 0);
        assert_eq!(keeper.next(&unknown, 0, 1), None);
        let later = 2 * FIRST_PAUSE;
        assert_eq!(keeper.next(&unknown, 0, later), NEW_KEY);
    }

    #[test]
    fn a_failed_attempt_that_the_node_counted_is_made_later_too() {
        for (has_key, expected) in [(true, NEW_KEY), (false, NEW_NO_KEY)] {
            let mut keeper = Keeper::new(has_key, true);
            let unknown = status(State::Running, false, Some(TroubleKind::Unknown), false);
            assert_eq!(keeper.next(&unknown, 0, 0), expected);
            keeper.failed(expected.unwrap(), 0);
            // It was signed out, and what was wrong before is forgotten.
            let out = status(State::NeedsLogin, false, None, false);
            assert_eq!(keeper.next(&out, 1, 1), None);
            assert_eq!(keeper.next(&out, 1, 2 * FIRST_PAUSE), expected);
            assert_eq!(keeper.next(&out, 1, 4 * FIRST_PAUSE), None, "an old status");
            // It joins, and its key expires later.
            assert_eq!(keeper.next(&running(), 2, 5 * FIRST_PAUSE), None);
            let refused = status(State::Running, false, Some(TroubleKind::Refused), false);
            assert_eq!(keeper.next(&refused, 2, 6 * FIRST_PAUSE), NO_KEY);
        }
    }

    #[test]
    fn a_node_that_is_forgotten_each_time_joins_ever_more_rarely() {
        let unknown = status(State::Running, true, Some(TroubleKind::Unknown), false);
        let mut keeper = Keeper::new(true, true);
        let (mut joins, mut joined) = (0, Vec::new());
        // It is found out each 30 seconds that the node is gone once more.
        for now in (0..3_600_000).step_by(1_000) {
            let status = if now % 30_000 == 0 {
                &unknown
            } else {
                &running()
            };
            if let Some(rejoin) = keeper.next(status, joins, now) {
                assert!(rejoin.fresh);
                joins += 1;
                joined.push(now);
            }
        }
        assert_eq!(joined[..2], [0, 30_000]);
        assert!(joined.len() < 20, "{joined:?}");
        // One that has held is replaced at once.
        assert_eq!(keeper.next(&running(), joins, 10_000_000), None);
        assert_eq!(keeper.next(&unknown, joins, 10_000_001), NEW_KEY);
    }

    #[test]
    fn an_address_to_sign_in_at_outlives_a_failed_attempt() {
        let mut keeper = Keeper::new(false, true);
        let unknown = status(State::Running, false, Some(TroubleKind::Unknown), false);
        assert_eq!(keeper.next(&unknown, 0, 0), NEW_NO_KEY);
        keeper.failed(rejoin(false, true), 0);
        let link = status(State::NeedsLogin, false, None, true);
        assert_eq!(keeper.next(&link, 1, 1_000_000), None);
    }
}
