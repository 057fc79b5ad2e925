//! All connections but the writer's, opened when first needed and kept: read-only ones for queries, and, on
//! a database that nodes share, others for writes that can't wait for the writer.
//!
//! When a server is at its limit of connections, the open ones do the work. If a pool has none open,
//! its work runs on the writer's connection.

pub(super) mod folding;
mod reports;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::base::lock::lock;
use crate::records::error::WRITE;
use crate::records::journal::Journal as _;
use crate::records::stores::{Connection, Store};
use crate::records::writer::fold::Folds;
use crate::records::writer::{self, turn};
use crate::records::{Error, Failure, Refusal, Repeat, Shared};

/// Queries running at once: a dashboard must not take every blocking thread.
const AT_ONCE: usize = 4;

/// A server that takes no more connections isn't asked for another for this long.
const FULL: Duration = Duration::from_secs(5);

/// How long to wait for a connection that is in use.
const RETURN: Duration = Duration::from_secs(5);

pub(crate) struct Connections {
    pool: Arc<Pool>,
    turns: Arc<Semaphore>,
    shared: Arc<Shared>,
    queue: writer::Queue,
    folds: Folds,
}

/// Connections of one kind.
pub(crate) struct Pool {
    store: Arc<dyn Store>,
    writes: bool,
    kept: Mutex<Kept>,
    returned: Condvar,
}

#[derive(Default)]
struct Kept {
    idle: Vec<Box<dyn Connection>>,
    /// How many are in use.
    in_use: usize,
    /// Until then the server isn't asked for another.
    full_until: Option<Instant>,
}

impl Connections {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        writes: bool,
        queue: writer::Queue,
        folds: Folds,
        shared: Arc<Shared>,
    ) -> Connections {
        let pool = Arc::new(Pool::new(store, writes));
        lock(&shared.pools).push(Arc::clone(&pool));
        Connections {
            pool,
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            queue,
            folds,
            shared,
        }
    }

    /// Runs `work` on all records that are durable now: what is still in the journal is folded first.
    pub(crate) async fn run_folded<T: Send + 'static>(
        &self,
        work: impl Fn(&mut dyn Connection) -> Result<T, Failure> + Send + Sync + 'static,
    ) -> Result<T, Error> {
        let work = Arc::new(work);
        let (first, shared) = (Arc::clone(&work), Arc::clone(&self.shared));
        let done = self.run(Repeat::Always, move |connection| {
            match unfolded(connection, &shared)? {
                Some(upto) => Ok(Err(upto)),
                None => first(connection).map(Ok),
            }
        });
        let upto = match done.await? {
            Ok(done) => return Ok(done),
            Err(upto) => upto,
        };
        // While nothing can be written, what is folded is all that there is to read.
        if let Err(error) = self.folds.upto(upto, &self.shared).await
            && !self.shared.has_failed.load(Ordering::Relaxed)
        {
            return Err(error);
        }
        self.run(Repeat::Always, move |connection| work(connection))
            .await
    }

    /// Folds all records that are durable now.
    ///
    /// # Errors
    /// When that can't be done.
    pub(crate) async fn fold(&self) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let upto = self.run(Repeat::Always, move |connection| {
            unfolded(connection, &shared)
        });
        match upto.await? {
            Some(upto) => self.folds.upto(upto, &self.shared).await,
            None => Ok(()),
        }
    }

    /// Runs `work` on a thread that may wait, and again as `repeat` says.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        repeat: Repeat,
        work: impl Fn(&mut dyn Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Error> {
        // The turn travels with the work: a caller that goes away does not end the query.
        let turn = self.turns.clone().acquire_owned().await;
        let turn = turn.expect("never closed");
        let pool = self.pool.clone();
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let done = pool.run(repeat, &work);
            (done, work)
        });
        match done.await.map_err(Error::Query)? {
            (Err(error), work) if error.refusal() == Some(Refusal::Full) => {
                turn::run(&self.queue, &self.shared, work).await
            }
            (done, _) => done,
        }
    }
}

fn unfolded(connection: &mut dyn Connection, shared: &Shared) -> Result<Option<String>, Failure> {
    let unreadable = lock(&shared.left_out).rows.clone();
    connection.unfolded(&unreadable)
}

impl Pool {
    fn new(store: Arc<dyn Store>, writes: bool) -> Pool {
        Pool {
            store,
            writes,
            kept: Mutex::default(),
            returned: Condvar::new(),
        }
    }

    fn run<T>(
        &self,
        repeat: Repeat,
        work: &impl Fn(&mut dyn Connection) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        let work = |connection: &mut dyn Connection| {
            work(connection).map_err(|failure| {
                let is_undecided = repeat == Repeat::Uncommitted
                    && connection.is_broken()
                    && connection.may_have_committed();
                if is_undecided {
                    Failure::Undecided(Box::new(failure))
                } else {
                    failure
                }
            })
        };
        if let Some(mut idle) = self.idle() {
            match work(&mut *idle) {
                // It can have been closed just now, or belong to a server that is gone. It isn't
                // run again after a timeout, which was long enough, or if it may have been done.
                Err(failure)
                    if idle.is_broken()
                        && !matches!(failure, Failure::Timeout(_) | Failure::Undecided(_)) =>
                {
                    self.lock().in_use -= 1;
                    self.close_idle();
                }
                done => return self.keep(idle, done),
            }
        }
        let mut new = self.open()?;
        let done = work(&mut *new);
        self.keep(new, done)
    }

    /// One that is idle and works.
    fn idle(&self) -> Option<Box<dyn Connection>> {
        loop {
            let mut idle = self.lock().idle.pop()?;
            idle.check();
            if !idle.is_broken() {
                self.lock().in_use += 1;
                return Some(idle);
            }
        }
    }

    /// A new connection; or, where the server takes no more, the next that is returned.
    fn open(&self) -> Result<Box<dyn Connection>, Error> {
        let mut kept = self.lock();
        let is_full = kept.full_until.is_some_and(|end| Instant::now() < end);
        // Others may wait for this one.
        kept.in_use += 1;
        drop(kept);
        let opened = if is_full {
            Err(self.full())
        } else if self.writes {
            self.store.open_writer()
        } else {
            self.store.open_reader()
        };
        let mut kept = self.lock();
        let error = match opened {
            Ok(new) => {
                kept.full_until = None;
                return Ok(new);
            }
            Err(error) => error,
        };
        kept.in_use -= 1;
        self.returned.notify_all();
        if error.refusal() != Some(Refusal::Full) {
            return Err(error);
        }
        if !is_full {
            kept.full_until = Some(Instant::now() + FULL);
            let ledger = self.store.name();
            tracing::warn!(ledger, %error, "ledger: the server takes no more connections; those that are open are used");
        }
        drop(kept);
        self.next().ok_or(error)
    }

    fn full(&self) -> Error {
        let failure = Failure::Unreachable {
            why: "the server takes no more connections".to_owned(),
            refusal: Refusal::Full,
        };
        self.store.error("connect", failure)
    }

    /// Waits for one that is in use.
    fn next(&self) -> Option<Box<dyn Connection>> {
        let end = Instant::now() + RETURN;
        let mut kept = self.lock();
        loop {
            if let Some(idle) = kept.idle.pop() {
                kept.in_use += 1;
                return Some(idle);
            }
            let left = end.saturating_duration_since(Instant::now());
            if kept.in_use == 0 || left.is_zero() {
                return None;
            }
            let waited = self.returned.wait_timeout(kept, left);
            kept = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// A connection that failed is not kept.
    fn keep<T>(
        &self,
        connection: Box<dyn Connection>,
        done: Result<T, Failure>,
    ) -> Result<T, Error> {
        let mut kept = self.lock();
        kept.in_use -= 1;
        if done.is_ok() {
            kept.idle.push(connection);
        }
        drop(kept);
        self.returned.notify_all();
        let action = if self.writes { WRITE } else { "read it" };
        done.map_err(|source| self.store.error(action, source))
    }

    /// Closes those that nothing runs on: they are of a server that is gone, or another connection
    /// needs their room on it more.
    pub(crate) fn close_idle(&self) {
        drop(std::mem::take(&mut self.lock().idle));
        self.returned.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        lock(&self.kept)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::records::stores::sqlite::SqliteStore;

    /// A server that takes so many connections.
    struct Server {
        place: SqliteStore,
        room: AtomicUsize,
        asked: AtomicUsize,
    }

    impl Store for Server {
        fn name(&self) -> &str {
            self.place.name()
        }

        fn open_writer(&self) -> Result<Box<dyn Connection>, Error> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let taken = self
                .room
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |room| {
                    room.checked_sub(1)
                });
            if taken.is_ok() {
                return self.place.open_writer();
            }
            let why = "too many clients".to_owned();
            let refusal = Refusal::Full;
            Err(self.error("connect", Failure::Unreachable { why, refusal }))
        }

        fn open_reader(&self) -> Result<Box<dyn Connection>, Error> {
            self.open_writer()
        }
    }

    fn pool(room: usize) -> (Arc<Pool>, Arc<Server>) {
        let server = Arc::new(Server {
            place: SqliteStore::parse("sqlite::memory:", Path::new(".")).unwrap(),
            room: AtomicUsize::new(room),
            asked: AtomicUsize::new(0),
        });
        (Arc::new(Pool::new(server.clone(), true)), server)
    }

    fn counts(pool: &Pool) -> (usize, usize) {
        let kept = pool.lock();
        (kept.idle.len(), kept.in_use)
    }

    #[test]
    fn only_what_failed_on_a_broken_connection_is_tried_on_another() {
        let (pool, _) = pool(9);
        pool.run(Repeat::Always, &|_| Ok(())).unwrap();
        assert_eq!(counts(&pool), (1, 0));
        let tries = Cell::new(0);
        let failed = pool.run::<()>(Repeat::Always, &|_| {
            tries.set(tries.get() + 1);
            Err(Failure::Value("none".to_owned()))
        });
        assert!(failed.is_err());
        assert_eq!((tries.get(), counts(&pool)), (1, (0, 0)));
    }

    #[test]
    fn at_the_limit_the_connections_that_are_open_do_the_work() {
        let (pool, server) = pool(1);
        // All at once, on the one connection that there is.
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let slow = |_: &mut dyn Connection| {
                        std::thread::park_timeout(Duration::from_millis(20));
                        Ok(())
                    };
                    pool.run(Repeat::Always, &slow).unwrap();
                });
            }
        });
        assert_eq!(counts(&pool), (1, 0));
        pool.close_idle();
        let refused = || pool.run(Repeat::Always, &|_| Ok(())).unwrap_err().refusal();
        assert_eq!(refused(), Some(Refusal::Full));
        // It is not asked again and again.
        let asked = server.asked.load(Ordering::Relaxed);
        assert_eq!(refused(), Some(Refusal::Full));
        assert_eq!(server.asked.load(Ordering::Relaxed), asked);
    }
}
