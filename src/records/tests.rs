//! How much is admitted while the database cannot be written, and how a backlog is reported.

use super::entry::tests::entry;
use super::writer::room::HELD_MAX;
use super::*;

/// What `work` writes to the log, on this thread.
pub(super) fn said(work: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::default();
    let log = tracing_subscriber::fmt().with_ansi(false).with_writer({
        let lines = lines.clone();
        move || lines.clone()
    });
    tracing::subscriber::with_default(log.finish(), work);
    String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
}

#[test]
fn admission_is_bounded_and_unused_slots_return() {
    let ledger = Ledger::with_capacity("sqlite::memory:", Path::new("."), 2).unwrap();
    let first = ledger.admit().unwrap();
    let _second = ledger.admit().unwrap();
    assert_eq!(ledger.admit().err(), Some(Unavailable::Full));
    assert!(!ledger.healthy());
    drop(first);
    assert!(ledger.healthy());
    assert!(ledger.admit().is_ok());
}

#[tokio::test]
async fn who_finds_no_room_waits_for_it() {
    let ledger = Ledger::with_capacity("sqlite::memory:", Path::new("."), 1).unwrap();
    let slot = ledger.admit().unwrap();
    let waiting = tokio::spawn({
        let ledger = ledger.clone();
        async move { ledger.admit_soon().await.map(drop) }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    slot.record(entry(1, "ann@example.com", "s").into());
    assert_eq!(waiting.await.unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_room_does_not_wait_forever() {
    let ledger = Ledger::with_capacity("sqlite::memory:", Path::new("."), 1).unwrap();
    let _slot = ledger.admit().unwrap();
    let begun = Instant::now();
    let refused = ledger.admit_soon().await.err();
    assert_eq!(refused, Some(Unavailable::Full));
    assert!(begun.elapsed() >= Duration::from_secs(2));
    // A database that cannot be written is no reason to wait.
    ledger
        .inner
        .shared
        .fails(Some("the disk is full".to_owned()));
    let refused = ledger.admit_soon().await.err();
    assert_eq!(refused, Some(Unavailable::Failing));
}

#[test]
fn a_backlog_is_long_from_half_of_either_bound_on() {
    for (promised, bytes, is_long) in [
        (50, HELD_MAX / 2, false),
        (51, 0, true),
        (0, HELD_MAX / 2 + 1, true),
    ] {
        let backlog = Backlog {
            promised,
            capacity: 100,
            bytes,
        };
        assert_eq!(backlog.is_long(), is_long, "{backlog:?}");
    }
}

#[tokio::test]
async fn a_backlog_counts_what_is_promised_and_what_waits() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::with_capacity("sqlite:ledger.db", dir.path(), 5).unwrap();
    let other = rusqlite::Connection::open(dir.path().join("ledger.db")).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let record = Record::from(entry(1, "ann@example.com", "s"));
    let size = record.size();
    ledger.admit().unwrap().record(record.clone());
    ledger.admit().unwrap().record(record);
    let slot = ledger.admit().unwrap();
    let backlog = |promised, bytes| Backlog {
        promised,
        capacity: 5,
        bytes,
    };
    assert_eq!(ledger.backlog(), backlog(3, 2 * size));
    other.execute_batch("ROLLBACK").unwrap();
    ledger.flush().await.unwrap();
    assert_eq!(ledger.backlog(), backlog(1, 0));
    drop(slot);
    assert_eq!(ledger.backlog(), backlog(0, 0));
}

#[tokio::test]
async fn a_device_that_no_earlier_record_names_needs_no_writer() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open("sqlite:ledger.db", dir.path()).unwrap();
    let other = rusqlite::Connection::open(dir.path().join("ledger.db")).unwrap();
    let begin = "INSERT INTO earlier_logins (login, caller) VALUES ('ann@example.com', ''); \
        BEGIN IMMEDIATE";
    other.execute_batch(begin).unwrap();
    // Nothing can be written now.
    let asked = ledger.take_earlier("user:1", "ann@example.com", "n1");
    let patience = Duration::from_mins(1);
    tokio::time::timeout(patience, asked)
        .await
        .expect("it waits for the writer")
        .unwrap();
    assert_eq!(ledger.keys_of("user:1"), ["user:1"]);
    other.execute_batch("ROLLBACK").unwrap();
}

#[tokio::test]
async fn long_captures_are_bounded_together() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open("sqlite:ledger.db", dir.path()).unwrap();
    let other = rusqlite::Connection::open(dir.path().join("ledger.db")).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let body = bytes::Bytes::from(vec![b'x'; 32 << 20]);
    let mut taken = 0;
    while let Ok(slot) = ledger.admit() {
        let mut record = Record::from(entry(taken, "ann@example.com", "s"));
        record.capture = Some(Capture {
            request_body: body.clone(),
            ..Capture::default()
        });
        slot.record(record);
        taken += 1;
        assert!(taken < 100, "no bound");
    }
    assert!(!ledger.healthy());
    other.execute_batch("ROLLBACK").unwrap();
    ledger.flush().await.unwrap();
    assert!(ledger.healthy() && ledger.admit().is_ok());
}
