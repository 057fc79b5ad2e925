//! A database file that is deleted, moved or replaced while it is open. Writes then succeed, but go to a
//! file that nobody will find again: requests are refused until the file is back.

use std::sync::Arc;
use std::time::Duration;

use crate::base::lock::lock;
use crate::records::stores::Store;
use crate::records::{Error, Shared};

/// How often to look.
const EVERY: Duration = Duration::from_millis(250);

/// How long a ledger takes to be gone after its last connection.
const CLOSING: Duration = Duration::from_millis(50);

/// Looks on a thread of its own, because the writer can wait for its disk. It ends with the ledger.
pub(crate) fn watch(store: &Arc<dyn Store>, shared: &Arc<Shared>) -> Result<(), Error> {
    if !store.is_file() {
        return Ok(());
    }
    let (store, shared) = (Arc::clone(store), Arc::downgrade(shared));
    let look = move || {
        while shared.strong_count() > 0 {
            if store.misplaced().is_some() {
                // When the ledger is closed, files go with its last connection.
                std::thread::park_timeout(CLOSING);
            }
            if let Some(shared) = shared.upgrade() {
                note(&shared, store.misplaced());
            }
            std::thread::park_timeout(EVERY);
        }
    };
    let thread = std::thread::Builder::new().name("ledger-file".into());
    thread.spawn(look).map(drop).map_err(Error::Thread)
}

/// Notes where the files are, and says so where that has changed.
pub(crate) fn note(shared: &Shared, now: Option<String>) {
    let mut misplaced = lock(&shared.misplaced);
    if *misplaced == now {
        return;
    }
    if let Some(why) = &now {
        tracing::error!(
            "ledger: {why}; requests are refused, because their records would be lost; put the \
             file back, or restart Iris to go on with what is there now"
        );
        shared.failing.notify_waiters();
    } else {
        tracing::info!("ledger: the database's file is back in its place");
    }
    *misplaced = now;
}
