//! Connections besides that of the writer, opened when first needed and kept: read-only ones for
//! queries, and, where nodes share the database, others for what cannot wait for the writer.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use super::Error;
use super::database::{Connection, Failure, Store};

/// Queries running at once: a dashboard must not take every blocking thread.
const AT_ONCE: usize = 4;

pub(super) struct Connections {
    pool: Arc<Pool>,
    turns: Arc<Semaphore>,
}

struct Pool {
    store: Arc<dyn Store>,
    writes: bool,
    idle: Mutex<Vec<Box<dyn Connection>>>,
}

impl Connections {
    pub(super) fn new(store: Arc<dyn Store>, writes: bool) -> Connections {
        Connections {
            pool: Arc::new(Pool {
                store,
                writes,
                idle: Mutex::new(Vec::new()),
            }),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Runs `work` on a thread that may wait. It may be run twice.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Fn(&mut dyn Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Error> {
        // The turn travels with the work: a caller that goes away does not end the query.
        let turn = self
            .turns
            .clone()
            .acquire_owned()
            .await
            .expect("never closed");
        let pool = self.pool.clone();
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            pool.run(work)
        })
        .await
        .map_err(Error::Query)?
    }
}

impl Pool {
    fn run<T>(&self, work: impl Fn(&mut dyn Connection) -> Result<T, Failure>) -> Result<T, Error> {
        let idle = self.lock().pop();
        if let Some(mut kept) = idle {
            match work(&mut *kept) {
                // The server may have gone and come back since the connection was last used.
                Err(_) if kept.is_broken() => self.lock().clear(),
                done => return self.keep(kept, done),
            }
        }
        let mut new = if self.writes {
            self.store.open_writer()?
        } else {
            self.store.open_reader()?
        };
        let done = work(&mut *new);
        self.keep(new, done)
    }

    /// A connection that failed is not kept.
    fn keep<T>(
        &self,
        connection: Box<dyn Connection>,
        done: Result<T, Failure>,
    ) -> Result<T, Error> {
        if done.is_ok() {
            self.lock().push(connection);
        }
        done.map_err(|source| self.store.error("read it", source))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Box<dyn Connection>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::path::Path;

    use super::*;

    #[test]
    fn only_what_failed_on_a_broken_connection_is_tried_on_another() {
        let place = super::super::sqlite::Place::parse("sqlite::memory:", Path::new("."));
        let pool = Pool {
            store: Arc::new(place.unwrap()),
            writes: true,
            idle: Mutex::default(),
        };
        pool.run(|_| Ok(())).unwrap();
        assert_eq!(pool.lock().len(), 1);
        let tries = Cell::new(0);
        let failed = pool.run::<()>(|_| {
            tries.set(tries.get() + 1);
            Err(Failure::Value("none".to_owned()))
        });
        assert!(failed.is_err());
        assert_eq!((tries.get(), pool.lock().len()), (1, 0));
    }
}
