//! What becomes of the journal, also where it can't be folded.

use super::*;

fn raws(exporters: &[&str]) -> retention::Policy {
    let database = Database {
        save_raws: true,
        ..Database::default()
    };
    retention::Policy::new(&database, exporters)
}

fn set_policy(driven: &Driven, policy: retention::Policy) {
    *driven.shared.policy.lock().unwrap() = policy;
}

fn count(driven: &mut Driven, sql: &str) -> u64 {
    let mut found = None;
    let mut count = |mut row: Row| {
        found = Some(row.count()?);
        Ok(())
    };
    let connection = &mut driven.writer.connection;
    connection.query(sql, Vec::new(), &mut count).unwrap();
    found.unwrap()
}

#[test]
fn what_is_kept_was_decided_when_it_was_packed() {
    let mut driven = Driven::new();
    set_policy(&driven, raws(&["s3"]));
    let mut record = captured(10);
    record.capture.as_mut().unwrap().raw = Some(Bytes::from_static(b"data: raw"));
    driven.write([record]);
    // A start folds what is left before it knows its configuration.
    set_policy(&driven, retention::Policy::default());
    driven.writer.fold_left();
    let sql = "SELECT COUNT(*) FROM captures WHERE raw IS NOT NULL";
    assert_eq!(count(&mut driven, sql), 1);
    let sql = "SELECT COUNT(*) FROM export_queue WHERE exporter = 's3'";
    assert_eq!(count(&mut driven, sql), 1);
}

#[test]
fn an_exporter_gets_what_was_packed_before_it_began() {
    let mut driven = Driven::new();
    set_policy(&driven, raws(&["s3"]));
    driven.write([of(ANN), of(ANN)]);
    set_policy(&driven, raws(&["s3", "otlp"]));
    driven.writer.fold();
    for exporter in ["s3", "otlp"] {
        let sql = format!("SELECT COUNT(*) FROM export_queue WHERE exporter = '{exporter}'");
        assert_eq!(count(&mut driven, &sql), 2);
    }
}

#[test]
fn a_batch_is_bounded_in_what_it_unpacks_to() {
    let mut driven = Driven::new();
    for _ in 0..3 {
        // What can't be compressed counts in full.
        let mut noise = vec![0; GROUP_BYTES];
        getrandom::fill(&mut noise).unwrap();
        let mut record = captured(0);
        record.capture.as_mut().unwrap().request_body = noise.into();
        driven.write([record]);
    }
    assert!(driven.writer.fold(), "there is more");
    assert!(count(&mut driven, "SELECT COUNT(*) FROM journal") > 0);
    while driven.writer.fold() {}
    assert_eq!(count(&mut driven, "SELECT COUNT(*) FROM captures"), 3);
}

#[test]
fn rows_that_can_not_be_read_hold_up_no_other() {
    let mut driven = Driven::new();
    let rows = (0..700).map(|nth| {
        let content = Value::Bytes([99].as_slice().into());
        vec![Value::text(format!("0{nth:04}")), 1u64.into(), content]
    });
    let connection = &mut driven.writer.connection;
    connection.execute(journal::APPEND, rows.collect()).unwrap();
    driven.write([of(ANN)]);
    while driven.writer.fold() {}
    assert_eq!(count(&mut driven, "SELECT COUNT(*) FROM requests"), 1);
    assert_eq!(count(&mut driven, "SELECT COUNT(*) FROM journal"), 700);
    let unreadable = driven.shared.left_out.lock().unwrap().rows.clone();
    let connection = &mut driven.writer.connection;
    assert_eq!(connection.unfolded(&unreadable).unwrap(), None);
}

#[test]
fn a_fold_that_goes_on_panicking_is_tried_less_and_less_often() {
    let mut driven = Driven::new();
    driven.write([of(ANN)]);
    let mut waits = Vec::new();
    for panics in [3, 2, 2] {
        // The batch, the batch again, and what is looked at for the record.
        driven.faults.panicking.store(panics, Ordering::Relaxed);
        let begun = Instant::now();
        assert!(!driven.writer.fold());
        waits.push(driven.writer.fold_at.unwrap() - begun);
    }
    assert!(waits.is_sorted(), "{waits:?}");
    assert!(waits[2] >= Duration::from_millis(800), "{waits:?}");
    driven.writer.fold();
    assert_eq!(count(&mut driven, "SELECT COUNT(*) FROM requests"), 1);
}

#[test]
fn folding_that_fails_for_long_is_a_problem_until_it_succeeds() {
    let mut driven = Driven::new();
    let mut folder = Folder::default();
    folder.failed("ledger", "disk I/O error", &driven.shared);
    assert_eq!(*driven.shared.unfoldable.lock().unwrap(), None);
    folder.failing_since = Instant::now().checked_sub(fold::PATIENCE);
    folder.failed("ledger", "disk I/O error", &driven.shared);
    let why = driven.shared.unfoldable.lock().unwrap().clone();
    assert_eq!(why.as_deref(), Some("disk I/O error"));
    driven.write([of(ANN)]);
    driven.writer.fold();
    assert_eq!(*driven.shared.unfoldable.lock().unwrap(), None);
}

#[test]
fn nobody_hears_of_a_record_that_was_given_up() {
    let mut driven = Driven::new();
    driven.take([bad()]);
    let (done, answer) = oneshot::channel();
    driven.writer.take(Message::Tell(done));
    assert!(driven.writer.sift());
    assert!(answer.blocking_recv().is_err());
}

#[test]
fn a_purge_that_panics_leaves_nobody_waiting() {
    let mut driven = Driven::new();
    let database = Database {
        retention: Retention {
            duration: Some(Duration::ZERO),
            ..Retention::default()
        },
        ..Database::default()
    };
    set_policy(&driven, retention::Policy::new(&database, &[]));
    let (done, answer) = oneshot::channel();
    driven.writer.take(Message::Purge(done));
    driven.faults.panicking.store(1, Ordering::Relaxed);
    let purge = AssertUnwindSafe(|| driven.writer.purge());
    assert!(catch_unwind(purge).is_err());
    assert!(answer.blocking_recv().is_err());
    assert!(driven.writer.purges.is_empty());
}
