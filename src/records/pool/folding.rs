//! Folds the journal of a database that nodes share beside the writer, so that no group waits for it: also
//! what another node has written and not folded.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::Pool;
use crate::base::lock::lock;
use crate::records::journal::Folded;
use crate::records::stores::{Connection, Store};
use crate::records::writer::fold::{Ask, EVERY, Folder};
use crate::records::writer::{Message, Queue};
use crate::records::{Error, Refusal, Repeat, Shared};

/// Records of one batch: each of its statements takes all of them.
const BATCH: usize = 8_000;

/// How often it is looked for what nodes that are gone have left.
const OTHERS: Duration = Duration::from_secs(30);

struct Folding {
    store: Arc<dyn Store>,
    shared: Arc<Shared>,
    pool: Arc<Pool>,
    queue: Queue,
    folder: Arc<Mutex<Folder>>,
}

/// Starts the thread. It ends with the last sender.
pub(crate) fn spawn(
    store: &Arc<dyn Store>,
    shared: &Arc<Shared>,
    queue: &Queue,
) -> Result<Sender<Ask>, Error> {
    let (asks, asked) = channel();
    let pool = Arc::new(Pool::new(Arc::clone(store), true));
    lock(&shared.pools).push(Arc::clone(&pool));
    let folding = Folding {
        store: Arc::clone(store),
        shared: Arc::clone(shared),
        pool,
        queue: queue.clone(),
        folder: Arc::default(),
    };
    let thread = std::thread::Builder::new().name("ledger-folder".into());
    let thread = thread.spawn(move || folding.run(&asked));
    thread.map(|_| asks).map_err(Error::Thread)
}

impl Folding {
    fn run(&self, asked: &Receiver<Ask>) {
        // What was left at the last end is folded at once.
        let (mut is_due, mut wait, mut waited) = (true, Duration::ZERO, Duration::ZERO);
        loop {
            match asked.recv_timeout(wait) {
                Ok(ask) => lock(&self.folder).ask(ask),
                Err(RecvTimeoutError::Timeout) => waited += wait,
                Err(RecvTimeoutError::Disconnected) => return,
            }
            for ask in asked.try_iter() {
                lock(&self.folder).ask(ask);
            }
            is_due |= self.shared.has_appended.swap(false, Ordering::Relaxed)
                || waited >= OTHERS
                || lock(&self.folder).is_asked();
            if !is_due {
                continue;
            }
            waited = Duration::ZERO;
            (is_due, wait) = match self.step() {
                Ok(folded) if folded.is_more => (true, Duration::ZERO),
                Ok(_) => (false, EVERY),
                Err(error) => {
                    let mut folder = lock(&self.folder);
                    (true, folder.failed(self.store.name(), &error, &self.shared))
                }
            };
        }
    }

    fn step(&self) -> Result<Folded, String> {
        let (folder, shared) = (Arc::clone(&self.folder), Arc::clone(&self.shared));
        let step =
            move |connection: &mut dyn Connection| lock(&folder).step(connection, &shared, BATCH);
        let error = match self.pool.run(Repeat::Always, &step) {
            Err(error) if error.refusal() == Some(Refusal::Full) => error,
            folded => return folded.map_err(|error| error.to_string()),
        };
        // There is the writer's connection.
        let (done, answer) = channel();
        let work = Message::Work(Box::new(move |connection| {
            let folded = connection
                .and_then(|connection| step(connection).map_err(|error| error.to_string()));
            // The receiver waits.
            let _ = done.send(folded);
        }));
        self.queue.send(work).map_err(|_| error.to_string())?;
        answer.recv().map_err(|_| error.to_string())?
    }
}
