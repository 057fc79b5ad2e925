//! Servers that change places, and connections that are closed while nothing happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use iris::records::balances::Quotas;
use iris::records::{Error, Ledger};

use crate::budgets::{amounts, rules, settle};
use crate::relay::Relay;
use crate::standby::standby;
use crate::store::{Place, all, entry, full, write};
use support::harness::Test;
use support::tests;

pub(crate) const POSTGRES: &[Test<Place>] = tests![
    Place;
    a_server_that_takes_no_writes_any_more_is_left,
    every_host_and_address_is_tried,
    a_start_on_a_standby_waits_until_it_is_promoted,
    what_was_closed_while_idle_is_felt_by_nobody,
    what_was_forgotten_while_idle_is_noticed,
    what_is_committed_without_an_answer_is_not_done_twice,
];

/// Opens a ledger on a thread that may wait.
async fn open(url: String, place: &Place) -> Result<Ledger, Error> {
    let dir = place.file().to_owned();
    let opened = tokio::task::spawn_blocking(move || Ledger::open(&url, &dir));
    opened.await.unwrap()
}

async fn until(mut is_true: impl FnMut() -> bool) {
    while !is_true() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn a_server_that_takes_no_writes_any_more_is_left(place: &Place) {
    let relay = Relay::start(place.server()).await;
    let ledger = open(relay.url(&place.database), place).await.unwrap();
    write(&ledger, [full(entry(1, "ann@example.com", "s"), "x")]).await;
    assert_eq!(all(&ledger).await.len(), 1);
    let standby = standby(place.server()).await;
    // The name leads to a standby for a while, and then back: nobody closes what is open.
    relay.lead_to(&standby);
    relay.cut();
    let record = |nth: i64| full(entry(nth, "ann@example.com", "s"), "x");
    ledger.admit().unwrap().record(record(2));
    until(|| !ledger.healthy()).await;
    let opened = relay.opened();
    until(|| relay.opened() > opened + 2).await;
    assert!(!ledger.healthy());
    relay.lead_to(place.server());
    ledger.flush().await.unwrap();
    assert!(ledger.healthy());
    // A server becomes read-only under its connections: none of them is of use any more.
    all(&ledger).await;
    let client = place.client().await;
    let set = async |to: &str| {
        for sql in [
            "SET default_transaction_read_only = off",
            &format!("ALTER SYSTEM {to}"),
            "SELECT pg_reload_conf()",
        ] {
            client.batch_execute(sql).await.unwrap();
        }
    };
    set("SET default_transaction_read_only = on").await;
    let opened = relay.opened();
    // Sessions hear of the change a moment later: until then, records are still written.
    let mut written = 2;
    until(|| {
        if ledger.healthy() {
            written += 1;
            ledger.admit().unwrap().record(record(written));
        }
        !ledger.healthy() && relay.opened() > opened
    })
    .await;
    set("RESET default_transaction_read_only").await;
    ledger.flush().await.unwrap();
    assert_eq!(i64::try_from(all(&ledger).await.len()), Ok(written));
    standby.stop();
}

async fn every_host_and_address_is_tried(place: &Place) {
    let standby = standby(place.server()).await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = silent.local_addr().map(|address| (silent, address.port()));
    let (_silent, mute) = silent.unwrap();
    let closed = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().port()
    };
    let url = |ports: &[u16], more: &str| {
        let hosts: Vec<_> = ports
            .iter()
            .map(|port| format!("127.0.0.1:{port}"))
            .collect();
        let (user, hosts) = (support::postgres::USER, hosts.join(","));
        format!("postgres://{user}@{hosts}/{}{more}", place.database)
    };
    let primary = place.server().port;
    // One that refuses, one that says nothing, one that only reads, and the one.
    let ledger = open(url(&[closed, mute, standby.port, primary], ""), place).await;
    let ledger = ledger.unwrap();
    write(&ledger, [full(entry(1, "ann@example.com", "s"), "x")]).await;
    assert_eq!(all(&ledger).await.len(), 1);
    let error = open(url(&[mute, closed], "?connect_timeout=1"), place).await;
    let error = error.err().unwrap().to_string();
    for words in ["refused", "no answer from the server within 1s"] {
        assert!(error.contains(words), "{error}");
    }
    standby.stop();
}

async fn a_start_on_a_standby_waits_until_it_is_promoted(place: &Place) {
    drop(place.open());
    let standby = standby(place.server()).await;
    let has_opened = Arc::new(AtomicBool::new(false));
    let opening = {
        let (url, dir) = (standby.url(&place.database), place.file().to_owned());
        let has_opened = Arc::clone(&has_opened);
        tokio::task::spawn_blocking(move || {
            let ledger = Ledger::open(&url, &dir);
            has_opened.store(true, Ordering::Relaxed);
            ledger
        })
    };
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!has_opened.load(Ordering::Relaxed), "it waits");
    let client = crate::store::client(&standby, "postgres").await;
    client.batch_execute("SELECT pg_promote()").await.unwrap();
    let ledger = opening.await.unwrap().unwrap();
    write(&ledger, [full(entry(1, "ann@example.com", "s"), "x")]).await;
    drop(ledger);
    standby.stop();
}

/// Records, reads and a hold; the ledger is healthy all the while.
async fn burst(ledger: &Ledger, from: i64) {
    let stop = Arc::new(AtomicBool::new(false));
    let watched = {
        let (ledger, stop) = (ledger.clone(), Arc::clone(&stop));
        std::thread::spawn(move || {
            let mut healthy = true;
            while !stop.load(Ordering::Relaxed) {
                healthy &= ledger.healthy();
                std::thread::park_timeout(Duration::from_micros(200));
            }
            healthy
        })
    };
    let rules = rules(r#""all":{"capacity":"1000 tokens"}"#, r#"{"bucket":"all"}"#);
    let quotas = Quotas::open(ledger.clone()).await.unwrap();
    let records = (from..from + 20).map(|nth| full(entry(nth, "ann@example.com", "s"), "x"));
    write(ledger, records).await;
    let held = rules.hold(&quotas, amounts(1, 0), format!("h{from}")).await;
    drop(held.unwrap());
    all(ledger).await;
    ledger.flush().await.unwrap();
    stop.store(true, Ordering::Relaxed);
    assert!(watched.join().unwrap(), "nothing was refused");
}

async fn what_was_closed_while_idle_is_felt_by_nobody(place: &Place) {
    let relay = Relay::start(place.server()).await;
    let ledger = open(relay.url(&place.database), place).await.unwrap();
    let client = place.client().await;
    for round in 0..3 {
        burst(&ledger, round * 100).await;
        if round == 1 {
            // The server says that it ends them, a proxy would not.
            let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                WHERE application_name = 'iris' AND datname = current_database()";
            client.batch_execute(sql).await.unwrap();
        } else {
            relay.cut();
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    burst(&ledger, 1_000).await;
    assert_eq!(all(&ledger).await.len(), 80);
}

async fn what_is_committed_without_an_answer_is_not_done_twice(place: &Place) {
    let relay = Relay::start(place.server()).await;
    let ledger = open(relay.url(&place.database), place).await.unwrap();
    ledger.set_retention(&iris::config::Database::default(), &["s3"]);
    let records = (1..=6).map(|nth| full(entry(nth, "ann@example.com", "s"), "x"));
    write(&ledger, records).await;
    let rules = rules(r#""all":{"capacity":"1000 tokens"}"#, r#"{"bucket":"all"}"#);
    let quotas = Quotas::open(ledger.clone()).await.unwrap();
    let held = rules.hold(&quotas, amounts(500, 0), "h".to_owned()).await;
    settle(&ledger, held.unwrap(), (500, 0));
    ledger.flush().await.unwrap();
    let link = rules.definitions.named("all").unwrap();
    // On a connection from before; one that is new isn't tried again anyway.
    quotas.refill(link.clone(), 1).await.unwrap();
    relay.lose_commit();
    let error = quotas.refill(link.clone(), 100).await.unwrap_err();
    assert!(error.to_string().contains("is not known"), "{error}");
    assert_eq!(quotas.refill(link, 0).await.unwrap().current, 601);
    // A batch of the same name has the same entries, and no others are of that name.
    let lease = Duration::from_mins(5);
    ledger.take_batch("s3", "one", 2, lease).await.unwrap();
    relay.lose_commit();
    let two = ledger.take_batch("s3", "two", 2, lease).await.unwrap();
    assert!(!relay.loses_commit(), "an answer got lost");
    let two = two.unwrap();
    assert_eq!((two.name.as_str(), two.entries.len()), ("two", 2));
    let stored = "SELECT COUNT(*) FROM export_queue WHERE batch = 'two'";
    assert_eq!(place.integers(stored).await, [2]);
}

async fn what_was_forgotten_while_idle_is_noticed(place: &Place) {
    let relay = Relay::start(place.server()).await;
    let ledger = open(relay.url(&place.database), place).await.unwrap();
    burst(&ledger, 0).await;
    // What is idle for longer is asked first whether it still works.
    tokio::time::sleep(Duration::from_millis(10_500)).await;
    relay.forget();
    // An answer would be waited for for half a minute.
    let again = tokio::time::timeout(Duration::from_secs(25), burst(&ledger, 100));
    again.await.expect("it is noticed");
    assert_eq!(all(&ledger).await.len(), 40);
}
