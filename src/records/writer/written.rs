//! Tells those who wait that there are new records, once they are durable. It says whose, by key, and
//! nothing of what is in them.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::broadcast::{Receiver, Sender};

use crate::records::{Record, Scope};

/// Groups of records that one who waits may be behind; beyond it, there is something new for all.
const BEHIND: usize = 64;

/// The keys of the callers that a group of records is of.
type Callers = Arc<BTreeSet<String>>;

/// Where the writer tells.
pub(crate) struct Announcer(Sender<Callers>);

impl Default for Announcer {
    fn default() -> Self {
        Self(Sender::new(BEHIND))
    }
}

impl Announcer {
    /// Announces records that are durable.
    pub(crate) fn tell<'r>(&self, records: impl Iterator<Item = &'r Record>) {
        if self.0.receiver_count() > 0 {
            let callers = records
                .map(|record| record.entry.caller.to_string())
                .collect();
            // The last one may have gone just now.
            let _ = self.0.send(Arc::new(callers));
        }
    }

    pub(crate) fn listen(&self) -> Written {
        Written(self.0.subscribe())
    }
}

/// Hears of new records.
pub struct Written(Receiver<Callers>);

impl Written {
    /// Waits for records within `scope`. False once there can be none any more.
    pub async fn of(&mut self, scope: &Scope) -> bool {
        loop {
            match self.0.recv().await {
                Ok(callers) if !concerns(&callers, scope) => {}
                Ok(_) | Err(RecvError::Lagged(_)) => return true,
                Err(RecvError::Closed) => return false,
            }
        }
    }

    /// Takes what has come meanwhile. Answers with whether something was within `scope`.
    pub fn meanwhile(&mut self, scope: &Scope) -> bool {
        let mut any = false;
        loop {
            match self.0.try_recv() {
                Ok(callers) => any |= concerns(&callers, scope),
                Err(TryRecvError::Lagged(_)) => any = true,
                Err(TryRecvError::Empty | TryRecvError::Closed) => return any,
            }
        }
    }
}

fn concerns(callers: &BTreeSet<String>, scope: &Scope) -> bool {
    match scope {
        Scope::Everyone => !callers.is_empty(),
        Scope::Own(keys) => keys.iter().any(|key| callers.contains(key)),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use crate::records::entry::tests::entry;
    use crate::records::{Ledger, Scope};

    #[test]
    fn a_group_concerns_everyone_who_sees_one_of_its_records() {
        let logins = ["ann".to_owned(), "bob".to_owned()].into();
        for (scope, expected) in [
            (Scope::Everyone, true),
            (Scope::Own(vec!["bob".to_owned()]), true),
            (Scope::Own(vec!["eve".to_owned()]), false),
        ] {
            assert_eq!(super::concerns(&logins, &scope), expected, "{scope:?}");
        }
        let nobody = std::collections::BTreeSet::new();
        assert!(!super::concerns(&nobody, &Scope::Everyone));
    }

    #[tokio::test]
    async fn each_hears_of_their_own_records_once_they_can_be_read() {
        let ledger = Ledger::open("sqlite::memory:", std::path::Path::new(".")).unwrap();
        let own = |login: &str| Scope::Own(vec![login.to_owned()]);
        let (mut ann, mut bob, mut all) = (ledger.written(), ledger.written(), ledger.written());
        for nth in 0..3 {
            let record = entry(nth, "ann@example.com", "s");
            ledger.admit().unwrap().record(record.into());
        }
        assert!(ann.of(&own("ann@example.com")).await);
        let seen = ledger.requests(own("ann@example.com"), crate::records::Query::default());
        assert!(!seen.await.unwrap().is_empty());
        ledger.flush().await.unwrap();
        ann.meanwhile(&own("ann@example.com"));
        assert!(!ann.meanwhile(&own("ann@example.com")), "all was taken");
        assert!(all.of(&Scope::Everyone).await);
        let bobs = own("bob@example.com");
        assert_eq!(bob.of(&bobs).now_or_never(), None);
        ledger
            .admit()
            .unwrap()
            .record(entry(9, "bob@example.com", "s").into());
        assert!(bob.of(&bobs).await);
        for nth in (10..).take(2 * super::BEHIND) {
            ledger
                .admit()
                .unwrap()
                .record(entry(nth, "ann@example.com", "s").into());
            ledger.flush().await.unwrap();
        }
        assert!(bob.meanwhile(&bobs), "who is far behind looks again");
    }
}
