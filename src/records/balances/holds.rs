//! Balances of budgets, and what requests that run hold of them, on a database that nodes share.
//!
//! A hold takes two round trips to the database, and locks the rows of its buckets in between. So that
//! requests don't wait for each other's, holds are taken in groups: while one group is on its way,
//! the next gathers. Within a group each sees what those before it hold, as if each had come alone.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::oneshot;

use super::Balances;
use crate::base::bucket::{Account, ByKey, Chain, Level, Link, Short};
use crate::base::lock::lock;
use crate::records::{Error, Ledger, Repeat, millis};

/// A bucket as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBucket {
    /// What it is told apart by ([`Link::key`]).
    pub key: String,
    /// What people call it, such as `daily:pat@example.org`.
    pub bucket: String,
    /// Such as `daily:<user>`.
    pub template: String,
    /// What it holds.
    pub level: Level,
    /// What of it is held for requests of all nodes; 0 where a node is alone.
    pub held: i64,
    /// It is from before buckets had keys; its key is its name then.
    pub is_earlier: bool,
}

/// Buckets as they stand, and whether they are held for a request: what of which, or which
/// chains are short.
#[derive(Clone, Debug)]
pub struct Admission {
    /// The buckets before this request.
    pub accounts: ByKey<Account>,
    /// What is held now, or why nothing is.
    pub outcome: Result<ByKey<i64>, Vec<(usize, Short)>>,
}

/// What a request wants of buckets.
pub(crate) struct Wanted {
    pub(crate) chains: Vec<Chain>,
    /// `None` to look only.
    pub(crate) hold: Option<Hold>,
}

/// How what a request wants is held.
pub(crate) struct Hold {
    pub(crate) name: String,
    /// For how many milliseconds, unless it is renewed.
    pub(crate) lease: i64,
}

/// Holds of one transaction.
const GROUP: usize = 256;

/// Holds that wait for the next group.
#[derive(Default)]
pub(crate) struct Holds(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    asked: Vec<WaitingHold>,
    /// Names of holds that are given up.
    released: Vec<String>,
    /// To be told once what came before is done.
    flushes: Vec<oneshot::Sender<()>>,
    /// A task takes what waits.
    has_task: bool,
}

/// What one transaction does.
struct Group {
    asked: Vec<WaitingHold>,
    released: Vec<String>,
    flushes: Vec<oneshot::Sender<()>>,
}

struct WaitingHold {
    wanted: Wanted,
    done: oneshot::Sender<Result<Admission, String>>,
}

impl Holds {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        lock(&self.0)
    }

    /// The next group; `None` ends the task.
    fn next(&self) -> Option<Group> {
        let mut waiting = self.lock();
        // Nobody would know of a hold that is not waited for any more.
        waiting.asked.retain(|asked| !asked.done.is_closed());
        let count = waiting.asked.len().min(GROUP);
        let group = Group {
            asked: waiting.asked.drain(..count).collect(),
            released: std::mem::take(&mut waiting.released),
            flushes: std::mem::take(&mut waiting.flushes),
        };
        let is_empty =
            group.asked.is_empty() && group.released.is_empty() && group.flushes.is_empty();
        waiting.has_task = !is_empty;
        (!is_empty).then_some(group)
    }
}

/// Lets the next hold start another task, however this one ends.
struct Task<'h>(&'h Holds);

impl Drop for Task<'_> {
    fn drop(&mut self) {
        self.0.lock().has_task = false;
    }
}

impl Ledger {
    /// All buckets that were ever used, as they are stored, and the time by the database's clock.
    pub async fn buckets(&self) -> Result<(Vec<StoredBucket>, i64), Error> {
        self.read_in_time(|connection| connection.buckets()).await
    }

    /// Holds the estimates of `chains` for a request, for `lease` unless it is renewed; all of
    /// them or none. For a database that nodes share.
    pub async fn hold(
        &self,
        hold: &str,
        chains: Vec<Chain>,
        lease: Duration,
    ) -> Result<Admission, Error> {
        let hold = Hold {
            name: hold.to_owned(),
            lease: millis(lease),
        };
        self.want(chains, Some(hold)).await
    }

    /// Looks whether the estimates of `chains` could be held.
    pub async fn look(&self, chains: Vec<Chain>) -> Result<Admission, Error> {
        self.want(chains, None).await
    }

    async fn want(&self, chains: Vec<Chain>, hold: Option<Hold>) -> Result<Admission, Error> {
        let (done, answer) = oneshot::channel();
        let wanted = Wanted { chains, hold };
        self.inner
            .holds
            .lock()
            .asked
            .push(WaitingHold { wanted, done });
        self.take_holds();
        let held = answer.await.map_err(|_| "its task has ended".to_owned());
        held.flatten().map_err(Error::Write)
    }

    /// Gives up a hold. Never waits; a hold that can't be given up expires.
    pub fn release(&self, hold: String) {
        let mut waiting = self.inner.holds.lock();
        // One that has not been taken never is.
        let is_it = |wanted: &Wanted| wanted.hold.as_ref().is_some_and(|one| one.name == hold);
        waiting.asked.retain(|asked| !is_it(&asked.wanted));
        waiting.released.push(hold);
        drop(waiting);
        self.take_holds();
    }

    /// Takes what waits, in groups, unless a task does already.
    fn take_holds(&self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            // The process ends.
            return;
        };
        if std::mem::replace(&mut self.inner.holds.lock().has_task, true) {
            return;
        }
        let ledger = self.clone();
        runtime.spawn(async move {
            let holds = &ledger.inner.holds;
            let task = Task(holds);
            while let Some(group) = holds.next() {
                ledger.take_group(group).await;
            }
            // Another may have been started since.
            std::mem::forget(task);
        });
    }

    /// Waits until what was given up so far is.
    pub(crate) async fn flush_holds(&self) {
        let (done, answer) = oneshot::channel();
        {
            let mut waiting = self.inner.holds.lock();
            if !waiting.has_task && waiting.released.is_empty() {
                return;
            }
            waiting.flushes.push(done);
        }
        self.take_holds();
        // A task that is gone has nothing to wait for.
        let _ = answer.await;
    }

    async fn take_group(&self, group: Group) {
        let waiting = group.asked.into_iter().map(|one| (one.wanted, one.done));
        let (wanted, waiting): (Vec<_>, Vec<_>) = waiting.unzip();
        if !wanted.is_empty() || !group.released.is_empty() {
            self.hold_group(wanted, waiting, group.released).await;
        }
        for flush in group.flushes {
            // The receiver may be gone.
            let _ = flush.send(());
        }
    }

    async fn hold_group(
        &self,
        wanted: Vec<Wanted>,
        waiting: Vec<oneshot::Sender<Result<Admission, String>>>,
        released: Vec<String>,
    ) {
        let count = released.len();
        let held = self
            .write(move |connection| connection.hold(&wanted, &released))
            .await;
        match held {
            Ok(held) => {
                for (done, held) in waiting.into_iter().zip(held) {
                    // A reservation that is dropped meanwhile gives the hold up.
                    let _ = done.send(Ok(held));
                }
            }
            Err(error) => {
                if count > 0 {
                    tracing::warn!(count, %error, "ledger: holds on budgets are left to expire");
                }
                let why = match error {
                    Error::Write(why) => why,
                    error => error.to_string(),
                };
                for done in waiting {
                    let _ = done.send(Err(why.clone()));
                }
            }
        }
    }

    /// Puts off when holds expire; those of nodes that are gone end here.
    pub async fn renew(&self, holds: Vec<String>, lease: Duration) -> Result<(), Error> {
        self.write(move |connection| connection.renew(&holds, millis(lease)))
            .await
    }

    /// Adds to a bucket, at most up to its capacity. Once that is durable, `then` is called with what
    /// the bucket holds, also where nobody waits for the answer any more.
    pub async fn refill<T: Send + 'static>(
        &self,
        link: Link,
        amount: i64,
        then: impl Fn(&Link, Level) -> T + Send + 'static,
    ) -> Result<T, Error> {
        self.write_again(Repeat::Uncommitted, move |connection| {
            let level = connection.refill(&link, amount)?;
            Ok(then(&link, level))
        })
        .await
    }

    /// Forgets the buckets whose definition is not among `templates`.
    pub async fn retain_buckets(&self, templates: Vec<String>) -> Result<(), Error> {
        self.write(move |connection| connection.retain_buckets(&templates))
            .await
    }
}
