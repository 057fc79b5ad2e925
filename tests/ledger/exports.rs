//! Queues of exporters: who has taken what, and what comes back.

use std::time::Duration;

use iris::config::Database;
use iris::records::{EntryId, Ledger, Record};

use crate::store::{Place, entry, full, write};
use support::harness::Test;
use support::tests;

pub(crate) const EVERY: &[Test<Place>] = tests![
    Place;
    each_record_is_queued_for_each_exporter,
    who_begins_gets_what_is_on_its_way,
    a_batch_is_one_exporters_until_it_is_given_back,
];

const LEASE: Duration = Duration::from_mins(5);

fn records(from: i64, count: i64) -> Vec<Record> {
    let one = |nth| full(entry(from + nth, "ann@example.com", "s"), "x");
    (0..count).map(one).collect()
}

fn ids(records: &[Record]) -> Vec<EntryId> {
    records
        .iter()
        .map(|record| record.entry.id.clone())
        .collect()
}

/// A batch under a name, if there is one.
async fn take(
    ledger: &Ledger,
    exporter: &str,
    name: &str,
    limit: usize,
) -> Option<(String, Vec<EntryId>)> {
    let taken = ledger.take_batch(exporter, name, limit, LEASE).await;
    taken.unwrap().map(|batch| (batch.name, batch.entries))
}

async fn each_record_is_queued_for_each_exporter(place: &Place) {
    let ledger = place.open();
    let early = records(1, 2);
    write(&ledger, early.iter().cloned()).await;
    ledger.set_retention(&Database::default(), &["s3", "otlp"]);
    let late = records(10, 3);
    write(&ledger, late.iter().cloned()).await;
    for exporter in ["s3", "otlp"] {
        assert_eq!(ledger.export_waiting(exporter).await.unwrap(), 3);
        // What was written while it was off comes too, and nothing twice.
        for _ in 0..2 {
            ledger.start_export(exporter).await.unwrap();
            assert_eq!(ledger.export_waiting(exporter).await.unwrap(), 5);
        }
    }
    let (_, all) = take(&ledger, "s3", "one", 10).await.unwrap();
    assert_eq!(all, [ids(&early), ids(&late)].concat());
    assert_eq!(take(&ledger, "s3", "two", 10).await, None);
    let (_, all) = take(&ledger, "otlp", "one", 10).await.unwrap();
    assert_eq!(all.len(), 5);
    assert_eq!(ledger.export_waiting("none").await.unwrap(), 0);
}

async fn who_begins_gets_what_is_on_its_way(place: &Place) {
    let ledger = place.open();
    // It has taken later ones, so that only the queue can have these.
    let later = records(100, 1);
    write(&ledger, later.iter().cloned()).await;
    ledger.start_export("s3").await.unwrap();
    let batch = ledger.take_batch("s3", "one", 10, LEASE).await.unwrap();
    ledger.exported("s3", batch.unwrap()).await.unwrap();
    let early = records(1, 3);
    for record in early.iter().cloned() {
        ledger.admit().unwrap().record(record);
    }
    ledger.set_retention(&Database::default(), &["s3"]);
    ledger.start_export("s3").await.unwrap();
    let (_, all) = take(&ledger, "s3", "two", 10).await.unwrap();
    assert_eq!(all, ids(&early));
}

async fn a_batch_is_one_exporters_until_it_is_given_back(place: &Place) {
    let ledger = place.open();
    ledger.set_retention(&Database::default(), &["s3"]);
    let records = records(1, 5);
    write(&ledger, records.iter().cloned()).await;
    let all = ids(&records);
    ledger.start_export("s3").await.unwrap();
    let first = take(&ledger, "s3", "first", 3).await.unwrap();
    assert_eq!(first, ("first".to_owned(), all[..3].to_vec()));
    // What did not fit is taken with what comes after it.
    ledger.put_back("s3", all[2..3].to_vec()).await.unwrap();
    let second = take(&ledger, "s3", "second", 2).await.unwrap();
    assert_eq!(second, ("second".to_owned(), all[2..4].to_vec()));
    // What could not be sent comes back under the name that it had.
    ledger.abandon_batch("s3", "first").await.unwrap();
    let again = take(&ledger, "s3", "third", 10).await.unwrap();
    assert_eq!(again, ("first".to_owned(), all[..2].to_vec()));
    let third = take(&ledger, "s3", "third", 10).await.unwrap();
    assert_eq!(third, ("third".to_owned(), all[4..].to_vec()));
    assert_eq!(ledger.export_waiting("s3").await.unwrap(), 5);
    ledger.abandon_batch("s3", "second").await.unwrap();
    let batch = ledger.take_batch("s3", "fourth", 10, LEASE).await.unwrap();
    ledger.exported("s3", batch.unwrap()).await.unwrap();
    assert_eq!(ledger.export_waiting("s3").await.unwrap(), 3);
    // At a start, what was begun is taken up at once, unless another node may be at it.
    assert_eq!(take(&ledger, "s3", "fifth", 10).await, None);
    ledger.start_export("s3").await.unwrap();
    let taken = take(&ledger, "s3", "fifth", 10).await;
    assert_eq!(taken.is_some(), !ledger.is_shared());
}
