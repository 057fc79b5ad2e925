//! How long the content of requests is kept.

use std::time::Duration;

use iris::config::{Database, Purge, Retention};
use iris::records::{Keep, Ledger, Record, Report, Scope};

use crate::store::{Place, entry, full, write};
use support::harness::Test;
use support::tests;

pub(crate) const EVERY: &[Test<Place>] = tests![
    Place;
    zero_writes_nothing_that_was_said,
    old_captures_are_purged_and_sums_stay,
    a_purge_waits_for_the_export,
];
pub(crate) const FILES: &[Test<Place>] = tests![
    Place;
    what_was_purged_is_not_in_the_files,
    what_was_purged_while_somebody_read_goes_later,
];

const DAYS: Duration = Duration::from_hours(24 * 30);

fn now() -> i64 {
    iris::base::clock::unix_ms()
}

/// Old and new records, with captures and tools.
fn records(count: usize, said: &str) -> Vec<Record> {
    let age = |nth: usize| if nth.is_multiple_of(2) { 31 } else { 1 };
    (0..count)
        .map(|nth| {
            let started = now() - age(nth) * 86_400_000;
            full(entry(started, "ann@example.com", "s"), said)
        })
        .collect()
}

fn retain(ledger: &Ledger, retention: Retention, exporters: &[&str]) {
    let database = Database {
        retention,
        save_raws: true,
        ..Database::default()
    };
    ledger.set_retention(&database, exporters);
}

/// How many records still have a capture, and how many their tools.
async fn kept(ledger: &Ledger, records: &[Record]) -> (usize, usize) {
    let (mut captures, mut tools) = (0, 0);
    for record in records {
        let id = record.entry.id.as_str();
        let capture = ledger.capture(Scope::Everyone, id).await.unwrap();
        let entry = ledger.request(Scope::Everyone, id).await.unwrap().unwrap();
        assert_eq!(entry.captured, capture.is_some());
        captures += usize::from(capture.is_some());
        let found = ledger.tools(Scope::Everyone, id).await.unwrap();
        tools += usize::from(!found.is_empty());
    }
    (captures, tools)
}

async fn zero_writes_nothing_that_was_said(place: &Place) {
    let ledger = place.open();
    let records = records(4, "x");
    write(&ledger, records[..1].iter().cloned()).await;
    let zero = Retention {
        duration: Some(Duration::ZERO),
        ..Retention::default()
    };
    retain(&ledger, zero.clone(), &[]);
    let keep = |captures, tools, raws| Keep {
        captures,
        tools,
        raws,
    };
    assert_eq!(ledger.policy(), keep(false, true, false));
    write(&ledger, records[1..2].iter().cloned()).await;
    let tools_too = Retention {
        purge: Purge {
            captures: true,
            tools: true,
        },
        ..zero
    };
    retain(&ledger, tools_too, &[]);
    assert_eq!(ledger.policy(), keep(false, false, false));
    write(&ledger, records[2..].iter().cloned()).await;
    ledger.purge().await.unwrap();
    // What was there before goes as well.
    assert_eq!(kept(&ledger, &records).await, (0, 0));
    retain(&ledger, Retention::default(), &[]);
    assert_eq!(ledger.policy(), keep(true, true, true));
}

async fn old_captures_are_purged_and_sums_stay(place: &Place) {
    let ledger = place.open();
    let records = records(900, "x");
    write(&ledger, records.iter().cloned()).await;
    assert_eq!(ledger.purge().await.unwrap(), 0);
    let month = Retention {
        duration: Some(DAYS),
        ..Retention::default()
    };
    let report = || {
        let day = |ms: i64| ms / 86_400_000 * 86_400_000;
        Report {
            from: day(now()) - 40 * 86_400_000,
            to: day(now()) + 86_400_000,
            ..Report::default()
        }
    };
    let before = ledger.usage(Scope::Everyone, report()).await.unwrap();
    retain(&ledger, month.clone(), &[]);
    ledger.purge().await.unwrap();
    assert_eq!(kept(&ledger, &records).await, (450, 900));
    let tools_too = Retention {
        purge: Purge {
            captures: true,
            tools: true,
        },
        ..month
    };
    retain(&ledger, tools_too, &[]);
    ledger.purge().await.unwrap();
    assert_eq!(kept(&ledger, &records).await, (450, 450));
    let after = ledger.usage(Scope::Everyone, report()).await.unwrap();
    assert_eq!(before, after);
    assert_eq!(after.totals.counts.requests, 900);
}

async fn a_purge_waits_for_the_export(place: &Place) {
    let ledger = place.open();
    let mut records = records(8, "x");
    records.sort_by(|a, b| a.entry.id.cmp(&b.entry.id));
    write(&ledger, records.iter().cloned()).await;
    let waiting = Retention {
        duration: Some(DAYS),
        require_export: true,
        ..Retention::default()
    };
    for exporters in [&[][..], &["s3"]] {
        retain(&ledger, waiting.clone(), exporters);
        ledger.purge().await.unwrap();
        assert_eq!(kept(&ledger, &records).await.0, 8);
    }
    ledger.start_export("s3").await.unwrap();
    assert_eq!(ledger.export_waiting("s3").await.unwrap(), 8);
    let take = async |limit| {
        let taken = ledger.take_batch("s3", "batch", limit, DAYS).await;
        taken.unwrap()
    };
    let batch = take(2).await.unwrap();
    let first = [0, 1].map(|nth| records[nth].entry.id.clone());
    assert_eq!(batch.entries, first);
    ledger.purge().await.unwrap();
    assert_eq!(kept(&ledger, &records).await.0, 8, "taken is not exported");
    ledger.exported("s3", batch).await.unwrap();
    assert_eq!(ledger.export_waiting("s3").await.unwrap(), 6);
    ledger.purge().await.unwrap();
    assert_eq!(kept(&ledger, &records).await.0, 6);
    // Exported and young: kept all the same.
    let batch = take(100).await.unwrap();
    ledger.exported("s3", batch).await.unwrap();
    assert!(take(100).await.is_none());
    ledger.purge().await.unwrap();
    assert_eq!(kept(&ledger, &records).await.0, 4);
    assert_eq!(kept(&ledger, &records[4..]).await.0, 4);
}

/// Something that is in a header and in tools' parameters, which are not compressed.
const PLANTED: &str = "planted-9f3a71c2";

/// Whether it is in the files.
fn is_planted(place: &Place) -> bool {
    std::fs::read_dir(place.file()).unwrap().any(|file| {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        bytes
            .windows(PLANTED.len())
            .any(|window| window == PLANTED.as_bytes())
    })
}

async fn plant(ledger: &Ledger) -> Vec<Record> {
    // The first purge looks after those of the process before, too.
    ledger.purge().await.unwrap();
    let mut records = records(40, PLANTED);
    for record in &mut records {
        let capture = record.capture.as_mut().unwrap();
        capture.response_headers.push("x-note", &PLANTED.repeat(50));
    }
    write(ledger, records.iter().cloned()).await;
    records
}

fn retain_nothing(ledger: &Ledger) {
    let nothing = Retention {
        duration: Some(Duration::ZERO),
        purge: Purge {
            captures: true,
            tools: true,
        },
        ..Retention::default()
    };
    retain(ledger, nothing, &[]);
}

async fn what_was_purged_is_not_in_the_files(place: &Place) {
    let ledger = place.open();
    let records = plant(&ledger).await;
    assert!(is_planted(place));
    retain_nothing(&ledger);
    ledger.purge().await.unwrap();
    assert_eq!(kept(&ledger, &records).await, (0, 0));
    assert!(!is_planted(place));
}

async fn what_was_purged_while_somebody_read_goes_later(place: &Place) {
    let ledger = place.open();
    plant(&ledger).await;
    let reader = rusqlite::Connection::open(place.file().join("ledger.db")).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    let count = "SELECT COUNT(*) FROM captures";
    let counted: i64 = reader.query_row(count, [], |row| row.get(0)).unwrap();
    assert_eq!(counted, 40);
    retain_nothing(&ledger);
    ledger.purge().await.unwrap();
    assert!(is_planted(place), "somebody reads what was there");
    reader.execute_batch("COMMIT").unwrap();
    ledger.purge().await.unwrap();
    assert!(!is_planted(place));
}
