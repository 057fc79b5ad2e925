//! A distant server: how many round trips follow each other, and whose clock counts.

use std::sync::Arc;
use std::time::Duration;

use iris::records::Ledger;
use iris::records::balances::Quotas;

use crate::budgets::{amounts, rules, settle};
use crate::relay::Relay;
use crate::store::Place;
use support::harness::Test;
use support::tests;

pub(crate) const POSTGRES: &[Test<Place>] = tests![
    Place;
    holds_at_once_share_their_round_trips,
    who_does_not_wait_any_more_holds_nothing,
    leases_are_by_the_clock_of_the_database,
];

async fn holds_at_once_share_their_round_trips(place: &Place) {
    const COUNT: usize = 200;
    let relay = Relay::start(place.server()).await;
    let (url, dir) = (relay.url(&place.database), place.file().to_owned());
    let opened = tokio::task::spawn_blocking(move || Ledger::open(&url, &dir));
    let ledger = opened.await.unwrap().unwrap();
    let quotas = Quotas::open(ledger.clone()).await.unwrap();
    let rules = Arc::new(rules(
        r#""all":{"capacity":"150 requests"},"tokens:<user>":{"capacity":"1000000 tokens"}"#,
        r#"{"bucket":"all"},{"bucket":"tokens:<user>"}"#,
    ));
    // The first makes the buckets, and opens a connection.
    for name in ["first", "second"] {
        drop(
            rules
                .hold(&quotas, amounts(1, 0), name.to_owned())
                .await
                .unwrap(),
        );
        ledger.flush().await.unwrap();
    }
    let before = relay.turns();
    // The first of them holds up none of the others, which then come together.
    let first = rules.hold(&quotas, amounts(1, 0), "third".to_owned()).await;
    let alone = relay.turns() - before;
    assert!(alone <= 2, "{alone} round trips for one hold");
    drop(first);
    ledger.flush().await.unwrap();
    let before = relay.turns();
    let holds = (0..COUNT).map(|nth| rules.hold(&quotas, amounts(1, 0), nth.to_string()));
    let held: Vec<_> = futures_util::future::join_all(holds).await;
    let together = relay.turns() - before;
    // Those that gather while the first is on its way are one group.
    assert!(together <= 8, "{together} round trips for {COUNT} holds");
    // And none of them holds what another does.
    let held: Vec<_> = held.into_iter().filter_map(Result::ok).collect();
    assert_eq!(held.len(), 150);
    for held in held {
        settle(&ledger, held, (1, 0));
    }
    ledger.flush().await.unwrap();
    let holds = place.integers("SELECT COUNT(*) FROM bucket_holds").await;
    assert_eq!(holds, [0]);
    let balance = "SELECT balance FROM buckets WHERE name = 'all'";
    assert_eq!(place.integers(balance).await, [0]);
}

async fn who_does_not_wait_any_more_holds_nothing(place: &Place) {
    let ledger = place.open();
    let quotas = Quotas::open(ledger.clone()).await.unwrap();
    let rules = rules(
        r#""all":{"capacity":"100 requests"}"#,
        r#"{"bucket":"all"}"#,
    );
    for nth in 0..60_u64 {
        let mut hold = Box::pin(rules.hold(&quotas, amounts(1, 0), nth.to_string()));
        // They leave before they are asked, while they are, and afterwards.
        let left = tokio::time::timeout(Duration::from_micros(nth * 40), &mut hold).await;
        drop(hold);
        drop(left);
    }
    ledger.flush().await.unwrap();
    let held = place.integers("SELECT COUNT(*) FROM bucket_holds").await;
    assert_eq!(held, [0]);
    drop(
        rules
            .hold(&quotas, amounts(1, 0), "last".to_owned())
            .await
            .unwrap(),
    );
}

async fn leases_are_by_the_clock_of_the_database(place: &Place) {
    let ledger = place.open();
    // A server whose clock is an hour ahead of this machine's.
    let client = place.client().await;
    let ahead = "CREATE SCHEMA ahead; \
        CREATE FUNCTION ahead.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE \
        AS 'SELECT pg_catalog.clock_timestamp() + interval ''1 hour'''";
    client.batch_execute(ahead).await.unwrap();
    let name = &place.database;
    let path = format!("ALTER DATABASE {name} SET search_path = ahead, pg_catalog, public");
    client.batch_execute(&path).await.unwrap();
    drop(ledger);
    let ledger = place.open();
    let quotas = Quotas::open(ledger.clone()).await.unwrap();
    let rules = rules(
        r#""all":{"capacity":"100 requests","rate":"1 request/min"}"#,
        r#"{"bucket":"all"}"#,
    );
    let held = rules
        .hold(&quotas, amounts(1, 0), "held".to_owned())
        .await
        .unwrap();
    let here = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap()
        .as_millis();
    let here = i64::try_from(here).unwrap();
    let (stored, now) = ledger.buckets().await.unwrap();
    let hour = 3_600_000;
    assert!((now - here - hour).abs() < 60_000, "{now} and {here}");
    assert_eq!(stored[0].held, 1);
    let until = async || {
        place
            .integers("SELECT expires_at FROM public.bucket_holds")
            .await[0]
    };
    assert!(until().await > here + hour, "a lease is of their time");
    ledger
        .renew(vec!["held".to_owned()], Duration::from_mins(9))
        .await
        .unwrap();
    assert!(until().await > here + hour + 8 * 60_000);
    // What is taken is taken at their time as well: a level is never brought up twice.
    settle(&ledger, held, (1, 0));
    ledger.flush().await.unwrap();
    let (stored, _) = ledger.buckets().await.unwrap();
    let at = stored[0].level.at;
    assert!((at - here - hour).abs() < 60_000, "{at} and {here}");
    let due = ledger
        .take_batch("none", "b", 1, Duration::from_mins(1))
        .await;
    assert!(due.unwrap().is_none());
}
