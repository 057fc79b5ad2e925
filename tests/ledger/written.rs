//! Records as they are written: strange ones, very many at once, and those of several nodes.

use std::collections::HashSet;
use std::time::Duration;

use iris::base::reasons::Reason;
use iris::records::{EntryId, Query, Record, Scope};

use crate::store::{Place, all, entry, full, write};
use support::harness::Test;
use support::tests;

pub(crate) const EVERY: &[Test<Place>] = tests![
    Place;
    strange_records_do_not_stop_the_queue,
    many_at_once_are_there_once_and_what_is_stored_alike_is_one,
    a_time_beyond_all_is_the_last,
    concurrent_records_are_all_there_once,
];

pub(crate) const LASTING: &[Test<Place>] = tests![
    Place;
    the_view_has_every_record_whatever_is_in_it,
];

pub(crate) const POSTGRES: &[Test<Place>] = tests![
    Place;
    new_headers_of_two_nodes_do_not_deadlock,
];

const ANN: &str = "ann@example.com";
const BOB: &str = "bob@example.com";

async fn strange_records_do_not_stop_the_queue(place: &Place) {
    let ledger = place.open();
    let mut strange = full(entry(1_000, ANN, "s1"), "zero \0 character");
    strange.entry.duration_ms = f64::NAN;
    strange.entry.overhead_ms = Some(f64::INFINITY);
    strange.entry.tokens.input = Some(u64::MAX);
    strange.entry.cost = Some(i64::MAX);
    strange.entry.request_bytes = u64::MAX;
    strange.entry.model_requested = "a\0b".into();
    strange.entry.model = "m\0".repeat(2_000).into();
    strange.entry.login = "ü".repeat(2_000).into();
    strange.entry.session = "s".repeat(5_000).into();
    strange.entry.agent = "a".repeat(5_000).into();
    strange.tools[0].name = "t".repeat(5_000);
    let long = "v".repeat(5_000);
    strange.headers = vec![
        ("x-team".into(), long.clone() + "1"),
        ("x-team".into(), long + "2"),
        ("x-team".into(), "blue".into()),
    ];
    write(&ledger, [strange.clone(), strange.clone()]).await;
    for _ in 0..3 {
        strange.entry.id = EntryId::new(1_000);
        write(&ledger, [strange.clone()]).await;
    }
    let found = all(&ledger).await;
    assert_eq!(found.len(), 4);
    assert_eq!(found[0].login.len(), 320);
    let query = Query::default();
    let sessions = ledger.sessions(Scope::Everyone, query).await.unwrap();
    assert_eq!(sessions.len(), 1);
    assert_eq!(sessions[0].counts.requests, 4);
    assert_eq!(sessions[0].counts.input_tokens, 4 << 36);
}

async fn many_at_once_are_there_once_and_what_is_stored_alike_is_one(place: &Place) {
    let ledger = place.open();
    let record = |nth: i64, zero: &str| {
        let mut record: Record = entry(1_000, ANN, &format!("s{nth}{zero}")).into();
        record.entry.model = format!("m{nth}{zero}").into();
        record
    };
    let records = (0..20).flat_map(|nth| [record(nth, "\0"), record(nth, "\u{fffd}")]);
    let records: Vec<Record> = records.collect();
    // Each twice in one group.
    write(&ledger, records.iter().chain(&records).cloned()).await;
    assert_eq!(all(&ledger).await.len(), 40);
    let query = Query::default();
    let sessions = ledger.sessions(Scope::Everyone, query).await.unwrap();
    assert_eq!(sessions.len(), 20);
    for session in sessions {
        assert_eq!(session.counts.requests, 2, "{}", session.id);
    }
}

async fn the_view_has_every_record_whatever_is_in_it(place: &Place) {
    let ledger = place.open();
    let mut strange = entry(1_000, ANN, "s");
    strange.model_requested = "a\0b".into();
    strange.tags = vec!["tag:\0\0".into(), "\\\0".into(), "\\u0000".into()];
    strange.reasons = vec![Reason::Sentence("route: \"a\0b\" is main".into())];
    write(&ledger, [strange.into(), entry(2_000, BOB, "s").into()]).await;
    assert_eq!(all(&ledger).await.len(), 2);
    let sql = "SELECT id, model_requested, tags, reasons FROM entries ORDER BY started_at";
    let rows = place.texts(sql).await;
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0][1], "a\u{fffd}b");
    let list = |json: &str| serde_json::from_str::<Vec<String>>(json).unwrap();
    let tags = ["tag:\u{fffd}\u{fffd}", "\\\u{fffd}", "\\u0000"];
    assert_eq!(list(&rows[0][2]), tags);
    assert_eq!(list(&rows[0][3]), ["route: \"a\u{fffd}b\" is main"]);
}

/// Each node locks the values that it writes until its transaction ends.
async fn new_headers_of_two_nodes_do_not_deadlock(place: &Place) {
    let nodes = [place.open(), place.open()];
    for round in 0..4 {
        let records = |node: i64| {
            let record = move |nth: i64| {
                let mut record = Record::from(entry(round * 100 + nth, ANN, "s"));
                let value = if node == 0 { nth } else { 39 - nth };
                record.headers = vec![("x-trace".into(), format!("{round}-{value}"))];
                record
            };
            (0..40).map(record)
        };
        tokio::join!(write(&nodes[0], records(0)), write(&nodes[1], records(1)));
    }
    assert_eq!(all(&nodes[0]).await.len(), 4 * 2 * 40);
    // What a connection has counted is known for certain once it has ended.
    for node in nodes {
        node.close().await.unwrap();
    }
    let others = "SELECT count(*) FROM pg_stat_activity \
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    while place.integers(others).await != [0] {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(place.integers(deadlocks).await, [0]);
}

/// Such as that of a clock that is wrong.
async fn a_time_beyond_all_is_the_last(place: &Place) {
    let ledger = place.open();
    let late = || entry(i64::MAX, ANN, "s");
    write(&ledger, [late().into(), late().into()]).await;
    let found = all(&ledger).await;
    assert_eq!(found.len(), 2);
    let last = found[0].id.started_at();
    assert_eq!(found[0].started_at, last);
    for (from, count) in [(last, 2), (last + 1, 0)] {
        let query = Query {
            from: Some(from),
            session: Some("s".into()),
            ..Query::default()
        };
        let found = ledger.requests(Scope::Everyone, query).await.unwrap();
        assert_eq!(found.len(), count, "{from}");
    }
    let query = Query {
        api: Some("openai_chat".into()),
        ..Query::default()
    };
    let sessions = ledger.sessions(Scope::Everyone, query).await.unwrap();
    assert_eq!(sessions.len(), 1);
    assert_eq!((sessions[0].started_at, sessions[0].last_at), (last, last));
}

async fn concurrent_records_are_all_there_once(place: &Place) {
    let ledger = place.open();
    let tasks: Vec<_> = (0..20)
        .map(|task| {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                for n in 0..100 {
                    let slot = ledger.admit().unwrap();
                    slot.record(entry(task * 100 + n, ANN, "s1").into());
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    ledger.close().await.unwrap();
    assert!(ledger.admit().is_err());
    let found = all(&ledger).await;
    let starts: HashSet<_> = found.iter().map(|entry| entry.started_at).collect();
    assert_eq!((found.len(), starts.len()), (2_000, 2_000));
}
