//! The writer, on a database that works and on one that fails as it is told to.

mod folds;
mod groups;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::mpsc::Sender;

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::*;
use crate::base::bucket::{Chain, Link, Settlement, Terms, Unit};
use crate::config::{Database, Retention};
use crate::records::entry::tests::entry;
use crate::records::stores::sql::{Names, Row, Rows, Value, journal};
use crate::records::stores::sqlite;
use crate::records::tests::said;
use crate::records::{Capture, Delivery, Ledger, Query, Scope};

const ANN: &str = "ann@example.com";
/// The connection panics at what is theirs.
const BAD: &str = "bad@example.com";

/// A database in memory, and what goes wrong with it.
struct Faulty {
    place: sqlite::SqliteStore,
    faults: Arc<Faults>,
}

#[derive(Default)]
struct Faults {
    /// So many more transactions fail, or panic, as they begin.
    failing: AtomicUsize,
    panicking: AtomicUsize,
    /// Nothing can be undone: the writer's thread ends.
    is_fatal: AtomicBool,
    is_broken: AtomicBool,
    opened: AtomicUsize,
    undone: AtomicUsize,
    scrubbed: AtomicUsize,
    /// How many records were in each transaction.
    groups: Mutex<Vec<usize>>,
}

impl Faults {
    fn takes_one(count: &AtomicUsize) -> bool {
        let less = |left: usize| left.checked_sub(1);
        count
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .is_ok()
    }
}

impl Store for Faulty {
    fn name(&self) -> &str {
        self.place.name()
    }

    fn open_writer(&self) -> Result<Box<dyn Connection>, Error> {
        self.faults.opened.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(FaultyConnection {
            connection: self.place.open_writer()?,
            faults: self.faults.clone(),
        }))
    }

    fn open_reader(&self) -> Result<Box<dyn Connection>, Error> {
        self.place.open_reader()
    }
}

struct FaultyConnection {
    connection: Box<dyn Connection>,
    faults: Arc<Faults>,
}

impl Connection for FaultyConnection {
    fn begin(&mut self) -> Result<(), Failure> {
        if Faults::takes_one(&self.faults.failing) {
            return Err(Failure::Value("as it was told".to_owned()));
        }
        assert!(!Faults::takes_one(&self.faults.panicking), "as it was told");
        self.connection.begin()
    }

    fn names(&mut self) -> &mut Names {
        self.connection.names()
    }

    fn commit(&mut self) -> Result<(), Failure> {
        self.connection.commit()
    }

    fn rollback(&mut self) {
        assert!(
            !self.faults.is_fatal.load(Ordering::Relaxed),
            "as it was told"
        );
        self.faults.undone.fetch_add(1, Ordering::Relaxed);
        self.connection.rollback();
    }

    fn execute(&mut self, sql: &str, rows: Rows<'_>) -> Result<Vec<u64>, Failure> {
        if sql == journal::APPEND
            && let Some([_, Value::Integer(count), ..]) = rows.iter().next()
        {
            let count = usize::try_from(*count).unwrap();
            self.faults.groups.lock().unwrap().push(count);
        }
        assert!(!rows.iter().flatten().any(is_bad), "as it was told");
        self.connection.execute(sql, rows)
    }

    fn query(
        &mut self,
        sql: &str,
        values: Vec<Value<'_>>,
        each: &mut dyn FnMut(Row) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        assert!(!values.iter().any(is_bad), "as it was told");
        self.connection.query(sql, values, each)
    }

    fn scrub(&mut self) -> Result<bool, Failure> {
        self.faults.scrubbed.fetch_add(1, Ordering::Relaxed);
        self.connection.scrub()
    }

    fn is_broken(&self) -> bool {
        self.faults.is_broken.swap(false, Ordering::Relaxed)
    }
}

fn is_bad(value: &Value<'_>) -> bool {
    *value == Value::text(BAD)
}

/// A writer that is driven by hand.
struct Driven {
    writer: Writer,
    faults: Arc<Faults>,
    shared: Arc<Shared>,
    queue: Sender<Message>,
    room: Arc<Semaphore>,
}

const ROOM: usize = 10_000;

impl Driven {
    fn new() -> Driven {
        let faults = Arc::new(Faults::default());
        let store = faulty(&faults);
        let (shared, (queue, messages)) = (Arc::new(Shared::default()), channel());
        let connection = store.open_writer().unwrap();
        Driven {
            writer: Writer::new(store, connection, shared.clone(), messages),
            faults,
            shared,
            queue,
            room: Arc::new(Semaphore::new(ROOM)),
        }
    }

    fn message(&self, record: Record) -> Message {
        self.shared.held.fetch_add(record.size(), Ordering::Relaxed);
        let room = self.room.clone().try_acquire_owned().unwrap();
        Message::Record(Box::new(record), room)
    }

    /// Puts records into the group.
    fn take(&mut self, records: impl IntoIterator<Item = Record>) {
        for record in records {
            let message = self.message(record);
            self.writer.take(message);
        }
    }

    fn write(&mut self, records: impl IntoIterator<Item = Record>) {
        self.take(records);
        self.writer.commit().unwrap();
        self.writer.succeeded();
    }

    fn logins(&self) -> Vec<&str> {
        let group = self.writer.group.iter();
        group
            .map(|(record, _)| record.entry.login.as_str())
            .collect()
    }

    /// How many records there were in each transaction.
    fn groups(&self) -> Vec<usize> {
        std::mem::take(&mut self.faults.groups.lock().unwrap())
    }

    fn held(&self) -> (usize, usize) {
        let held = self.shared.held.load(Ordering::Relaxed);
        (held, ROOM - self.room.available_permits())
    }

    fn is_writing(&self) -> bool {
        !self.shared.has_failed.load(Ordering::Relaxed)
    }
}

fn faulty(faults: &Arc<Faults>) -> Arc<dyn Store> {
    Arc::new(Faulty {
        place: sqlite::SqliteStore::parse("sqlite::memory:", std::path::Path::new(".")).unwrap(),
        faults: faults.clone(),
    })
}

fn of(login: &str) -> Record {
    entry(1_000, login, "s").into()
}

/// A record at which writing panics, not only folding.
fn bad() -> Record {
    let link = Link {
        key: BAD.into(),
        bucket: BAD.into(),
        template: BAD.to_owned(),
        terms: terms(),
        before: None,
    };
    let mut record = of(BAD);
    record.settlement = Some(Settlement {
        hold: String::new(),
        chains: vec![Chain {
            links: [link].into(),
            amount: 1,
        }],
        at: 1_000,
    });
    record
}

fn terms() -> Terms {
    Terms {
        unit: Unit::Tokens,
        capacity: 100,
        rate: 0,
        per: 1,
        warn_below: 0,
        refuses_unpriced: false,
    }
}

fn captured(bytes: usize) -> Record {
    let mut record = of(ANN);
    record.capture = Some(Capture {
        request_body: Bytes::from(vec![b'x'; bytes]),
        ..Capture::default()
    });
    record
}

#[test]
fn a_record_at_which_the_writer_panics_is_given_up_and_no_other() {
    let mut driven = Driven::new();
    driven.take([of(ANN), bad(), of("bob@example.com"), bad()]);
    assert!(driven.writer.sift());
    assert_eq!(driven.logins(), [ANN, "bob@example.com"]);
    let size = of(ANN).size();
    assert_eq!(driven.held(), (2 * size, 2));
    assert_eq!(driven.writer.group_bytes, 2 * size);
    assert!(!driven.writer.sift(), "there are none any more");
    // What fails may pass.
    driven.take([bad()]);
    driven.faults.failing.store(1, Ordering::Relaxed);
    assert!(!driven.writer.sift());
    assert_eq!(driven.logins().len(), 3);
}

#[test]
fn a_writer_that_panics_tries_again_before_it_gives_anything_up() {
    let mut driven = Driven::new();
    driven.writer.panicked("while nothing waits");
    driven.writer.panicked("while nothing waits");
    assert_eq!(driven.faults.undone.load(Ordering::Relaxed), 2);
    driven.take([of(ANN), bad()]);
    driven.writer.panicked("for the first time");
    assert_eq!((driven.logins().len(), driven.writer.failures), (2, 0));
    assert!(driven.groups().is_empty());
    driven.writer.panicked("for the second time");
    assert_eq!((driven.logins(), driven.writer.failures), (vec![ANN], 1));
    assert!(driven.is_writing(), "nobody is refused for it");
    driven.writer.panicked("and it is no record's fault");
    assert_eq!((driven.logins(), driven.writer.failures), (vec![ANN], 2));
    assert!(!driven.is_writing());
    // A record that was written alone is there already, which is expected after a failure.
    let log = said(|| driven.write([]));
    assert!(
        log.contains("writing again") && !log.contains("there already"),
        "{log}"
    );
    assert!(driven.is_writing());
    assert!(!driven.writer.has_panicked);
    assert_eq!(driven.held(), (0, 0));
}

#[test]
fn an_id_that_is_there_already_is_told_of() {
    let mut driven = Driven::new();
    let record = of(ANN);
    let log = said(|| driven.write([record.clone()]));
    assert_eq!(log, "");
    driven.write([record.clone(), of(ANN), of(ANN)]);
    let log = said(|| assert!(!driven.writer.fold()));
    assert!(
        log.contains("there already") && log.contains("skipped=1"),
        "{log}"
    );
}

#[test]
fn each_failure_waits_twice_as_long_up_to_a_bound() {
    let waits = [0, 1, 2, 5, 6, 40, u32::MAX].map(|failures| backoff(failures).as_millis());
    assert_eq!(waits, [50, 100, 200, 1_600, 2_000, 2_000, 2_000]);
}

#[test]
fn only_what_was_written_proves_that_writing_works() {
    let mut driven = Driven::new();
    driven.take([of(ANN)]);
    driven.faults.failing.store(1, Ordering::Relaxed);
    let error = driven.writer.commit().unwrap_err();
    let log = said(|| driven.writer.failed(&error));
    assert!(
        log.contains("as it was told") && log.contains("records=1"),
        "{log}"
    );
    assert!(!driven.is_writing());
    let group = std::mem::take(&mut driven.writer.group);
    driven.writer.has_panicked = true;
    driven.writer.succeeded();
    assert!(!driven.is_writing() && driven.writer.has_panicked);
    assert_eq!(driven.writer.failures, 1);
    driven.writer.group = group;
    driven.write([]);
    assert!(driven.is_writing() && !driven.writer.has_panicked);
    assert_eq!(driven.writer.failures, 0);
}

#[test]
fn a_connection_that_is_broken_is_opened_anew_once() {
    let mut driven = Driven::new();
    driven.write([of(ANN)]);
    assert_eq!(driven.faults.opened.load(Ordering::Relaxed), 1);
    driven.faults.is_broken.store(true, Ordering::Relaxed);
    driven.write([of(ANN)]);
    driven.write([of(ANN)]);
    assert_eq!(driven.faults.opened.load(Ordering::Relaxed), 2);
}

#[test]
fn hooks_are_told_of_what_was_written() {
    let mut driven = Driven::new();
    let is_told = |driven: &Driven| {
        let told = std::pin::pin!(driven.shared.delivery.notified());
        told.enable()
    };
    assert!(!is_told(&driven));
    let mut record = of(ANN);
    record.deliveries.push(Delivery {
        hook: "log".to_owned(),
        event: "request".to_owned(),
        payload: b"{}".to_vec(),
    });
    driven.write([of(ANN), record]);
    assert!(!is_told(&driven), "it is in the journal");
    driven.writer.fold();
    assert!(is_told(&driven));
}

#[test]
fn a_purge_goes_in_batches_and_scrubs_at_its_end() {
    let mut driven = Driven::new();
    driven.write((0..450).map(|_| captured(10)));
    driven.writer.fold();
    let scrubs = |driven: &Driven| driven.faults.scrubbed.swap(0, Ordering::Relaxed);
    let database = Database {
        retention: Retention {
            duration: Some(Duration::ZERO),
            ..Retention::default()
        },
        ..Database::default()
    };
    *driven.shared.policy.lock().unwrap() = retention::Policy::new(&database, &[]);
    driven.writer.purge_at = Instant::now();
    let log = said(|| driven.writer.purge());
    assert!(log.contains("rows=200"), "{log}");
    assert!(driven.writer.purge_at <= Instant::now(), "there is more");
    assert_eq!(scrubs(&driven), 0);
    // Who waits, waits for all.
    let (done, answer) = oneshot::channel();
    driven.writer.take(Message::Purge(done));
    driven.writer.purge();
    assert_eq!(answer.blocking_recv(), Ok(250));
    assert!(driven.writer.purge_at > Instant::now());
    assert_eq!(scrubs(&driven), 1);
    assert_eq!(said(|| driven.writer.purge()), "");
    assert_eq!(scrubs(&driven), 0);
    driven.shared.deleted.store(true, Ordering::Relaxed);
    driven.writer.purge();
    assert_eq!(scrubs(&driven), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_passing_loses_and_doubles_nothing() {
    let faults = Arc::new(Faults::default());
    let ledger = Ledger::over(faulty(&faults), std::path::Path::new("."), 100).unwrap();
    faults.panicking.store(1, Ordering::Relaxed);
    ledger.admit().unwrap().record(of(ANN));
    ledger.flush().await.unwrap();
    assert!(ledger.healthy() && ledger.has_writer());
    ledger.admit().unwrap().record(bad());
    ledger.admit().unwrap().record(of(BAD));
    ledger.flush().await.unwrap();
    let found = ledger.requests(Scope::Everyone, Query::default()).await;
    assert_eq!(found.unwrap().len(), 1);
    assert_eq!(ledger.backlog().promised, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_is_gone_is_told_of_and_nothing_is_accepted() {
    let faults = Arc::new(Faults::default());
    let ledger = Ledger::over(faulty(&faults), std::path::Path::new("."), 100).unwrap();
    assert!(ledger.has_writer());
    faults.is_fatal.store(true, Ordering::Relaxed);
    faults.panicking.store(1, Ordering::Relaxed);
    ledger.admit().unwrap().record(of(ANN));
    assert!(ledger.flush().await.is_err());
    let deadline = Instant::now() + Duration::from_secs(10);
    while ledger.has_writer() {
        assert!(Instant::now() < deadline, "it has ended");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    ledger.admit().unwrap().record(of(ANN));
    assert!(!ledger.healthy());
}

#[tokio::test]
async fn flushed_records_survive_without_a_close() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open("sqlite:ledger.db", dir.path()).unwrap();
    let written = entry(1_000, "ann@example.com", "s1");
    ledger.admit().unwrap().record(written.clone().into());
    ledger.flush().await.unwrap();
    std::mem::forget(ledger);
    let ledger = Ledger::open("sqlite:ledger.db", dir.path()).unwrap();
    assert_eq!(
        ledger
            .requests(Scope::Everyone, Query::default())
            .await
            .unwrap(),
        [written]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_write_keeps_the_record_and_writes_it_once() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open("sqlite:ledger.db", dir.path()).unwrap();
    let other = rusqlite::Connection::open(dir.path().join("ledger.db")).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    ledger
        .admit()
        .unwrap()
        .record(entry(1_000, "ann@example.com", "s1").into());
    let deadline = Instant::now() + Duration::from_secs(10);
    while ledger.healthy() {
        assert!(Instant::now() < deadline, "still healthy");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(
        ledger
            .requests(Scope::Everyone, Query::default())
            .await
            .unwrap()
            .is_empty()
    );
    other.execute_batch("ROLLBACK").unwrap();
    ledger.flush().await.unwrap();
    assert!(ledger.healthy());
    assert_eq!(
        ledger
            .requests(Scope::Everyone, Query::default())
            .await
            .unwrap()
            .len(),
        1
    );
}
