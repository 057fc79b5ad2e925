//! How groups come together.

use super::*;
use crate::records::writer::gather::{GATHER, Next};

#[test]
fn a_group_is_gathered_unless_something_waits_for_it() {
    let mut driven = Driven::new();
    let send = |driven: &Driven| driven.queue.send(driven.message(of(ANN))).unwrap();
    let begun = Instant::now();
    send(&driven);
    assert_eq!(driven.writer.gather(), Next::Write);
    assert!(begun.elapsed() >= GATHER);
    driven.write([]);
    let (flushed, _) = oneshot::channel();
    let (purged, _) = oneshot::channel();
    for waiting in [
        Message::Flush(flushed),
        Message::Work(Box::new(|_| {})),
        Message::Purge(purged),
    ] {
        let begun = Instant::now();
        send(&driven);
        driven.queue.send(waiting).unwrap();
        assert_eq!(driven.writer.gather(), Next::Write);
        assert!(begun.elapsed() < GATHER);
        driven.write([]);
        driven.writer.work.clear();
        driven.writer.purge();
    }
    send(&driven);
    driven.queue = channel().0;
    let begun = Instant::now();
    assert_eq!(
        driven.writer.gather(),
        Next::Write,
        "what was sent is written"
    );
    assert!(begun.elapsed() < GATHER);
    driven.write([]);
    driven.writer.fold();
    assert_eq!(driven.writer.gather(), Next::End);
}

#[test]
fn groups_are_bounded_in_records_and_bytes_and_end_at_work() {
    let mut driven = Driven::new();
    let send = |driven: &Driven, records: Vec<Record>| {
        for record in records {
            driven.queue.send(driven.message(record)).unwrap();
        }
    };
    send(&driven, (0..GROUP + 100).map(|_| of(ANN)).collect());
    let (done, answer) = oneshot::channel();
    let work: Work = Box::new(|connection| done.send(connection.is_ok()).unwrap());
    driven.queue.send(Message::Work(work)).unwrap();
    let half = GROUP_BYTES / 2 - of(ANN).size();
    send(&driven, (0..5).map(|_| captured(half)).collect());
    // Without senders it ends.
    driven.queue = channel().0;
    driven.writer.run();
    assert_eq!(driven.groups(), [GROUP, 100, 2, 2, 1]);
    assert_eq!(answer.blocking_recv(), Ok(true));
    assert_eq!(driven.held(), (0, 0));
}

#[test]
fn a_group_that_was_tried_takes_no_more() {
    let mut driven = Driven::new();
    let send = |driven: &Driven, login| {
        driven.queue.send(driven.message(of(login))).unwrap();
    };
    send(&driven, ANN);
    driven.faults.panicking.store(1, Ordering::Relaxed);
    let run = AssertUnwindSafe(|| driven.writer.run());
    assert!(catch_unwind(run).is_err());
    driven.writer.panicked("as it was told");
    send(&driven, "bob@example.com");
    driven.queue = channel().0;
    driven.writer.run();
    assert_eq!(driven.groups(), [1, 1]);
    assert_eq!(driven.held(), (0, 0));
    driven.writer.fold();
    let mut written = None;
    let mut count = |mut row: Row| {
        written = Some(row.count()?);
        Ok(())
    };
    let sql = "SELECT COUNT(*) FROM requests";
    let connection = &mut driven.writer.connection;
    connection.query(sql, Vec::new(), &mut count).unwrap();
    assert_eq!(written, Some(2));
}

#[test]
fn what_follows_a_group_that_was_given_up_is_another_group() {
    let mut driven = Driven::new();
    driven.queue.send(driven.message(bad())).unwrap();
    for _ in 0..2 {
        let run = AssertUnwindSafe(|| driven.writer.run());
        assert!(catch_unwind(run).is_err());
        driven.writer.panicked("as it was told");
    }
    assert_eq!(driven.held(), (0, 0));
    assert!(driven.writer.group.is_empty() && !driven.writer.is_again);
    assert_eq!(driven.writer.group_id, None);
}
