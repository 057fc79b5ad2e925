//! Few connections for many tasks: a limit of the server, and a pooler in front of it.

use iris::records::Ledger;
use iris::records::balances::Quotas;

use crate::budgets::{amounts, rules, settle};
use crate::standby::Bouncer;
use crate::store::{Place, all, entry, full, write};
use support::harness::Test;
use support::tests;

pub(crate) const POSTGRES: &[Test<Place>] = tests![
    Place;
    at_the_limit_the_connections_that_are_open_do_all_the_work,
    a_pooler_that_shares_sessions_is_no_trouble,
];

/// Everything that a gateway does with its ledger, several times at once.
async fn use_it(ledger: &Ledger, node: i64) {
    let rules = rules(
        r#""all":{"capacity":"1000000 tokens"}"#,
        r#"{"bucket":"all"}"#,
    );
    let rules = std::sync::Arc::new(rules);
    let quotas = Quotas::open(ledger.clone()).await.unwrap();
    let tasks = (0..12).map(|nth| {
        let (ledger, quotas, rules) = (ledger.clone(), quotas.clone(), rules.clone());
        tokio::spawn(async move {
            let name = format!("{node}-{nth}");
            let held = rules.hold(&quotas, amounts(1, 0), name).await.unwrap();
            let record = full(entry(node * 1_000 + nth, "ann@example.com", "s"), "x");
            write(&ledger, [record]).await;
            settle(&ledger, held, (1, 0));
            all(&ledger).await;
            let link = rules.definitions.named("all").unwrap();
            quotas.refill(link, 1).await.unwrap();
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    ledger.purge().await.unwrap();
    ledger.flush().await.unwrap();
    assert!(ledger.healthy());
}

async fn at_the_limit_the_connections_that_are_open_do_all_the_work(place: &Place) {
    let client = place.client().await;
    // The writer's alone, and one more.
    for limit in [1, 2] {
        let user = format!("few_{limit}_of_{}", place.database);
        let setup = format!(
            "CREATE ROLE {user} LOGIN CONNECTION LIMIT {limit}; GRANT CREATE ON SCHEMA public TO {user}; \
             GRANT ALL ON ALL TABLES IN SCHEMA public TO {user}"
        );
        client.batch_execute(&setup).await.unwrap();
        let url = place.server().url_of(&user, "127.0.0.1", &place.database);
        let dir = place.file().to_owned();
        let opened = tokio::task::spawn_blocking(move || Ledger::open(&url, &dir));
        let ledger = opened.await.unwrap().unwrap();
        use_it(&ledger, limit).await;
        assert_eq!(all(&ledger).await.len(), 24);
        // Records come before everything else, also for a connection.
        let end =
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = $1";
        client.query(end, &[&user]).await.unwrap();
        use_it(&ledger, limit + 10).await;
        assert_eq!(all(&ledger).await.len(), 48);
        drop(ledger);
        let clear = format!("DELETE FROM requests; REASSIGN OWNED BY {user} TO CURRENT_USER");
        client.batch_execute(&clear).await.unwrap();
    }
}

async fn a_pooler_that_shares_sessions_is_no_trouble(place: &Place) {
    let Some(bouncer) = Bouncer::start(place.server(), 3).await else {
        return support::harness::skip("pgbouncer is not installed");
    };
    let open = || {
        let (url, dir) = (bouncer.url(&place.database), place.file().to_owned());
        tokio::task::spawn_blocking(move || Ledger::open(&url, &dir).unwrap())
    };
    // Two nodes, and another client of the same pooler.
    let nodes = [open().await.unwrap(), open().await.unwrap()];
    let (other, connection) =
        tokio_postgres::connect(&bouncer.url(&place.database), tokio_postgres::NoTls)
            .await
            .unwrap();
    tokio::spawn(connection);
    let busy = nodes.iter().enumerate().map(|(node, ledger)| {
        let ledger = ledger.clone();
        let node = i64::try_from(node).unwrap();
        tokio::spawn(async move {
            for round in 0..3 {
                use_it(&ledger, node * 10 + round).await;
            }
        })
    });
    for task in busy.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    for ledger in &nodes {
        assert_eq!(all(ledger).await.len(), 2 * 3 * 24);
    }
    // Nothing that was set for us is felt by them.
    for _ in 0..12 {
        let settings = "SELECT current_setting('default_transaction_read_only') || ' ' || \
            current_setting('statement_timeout') || ' ' || current_setting('jit')";
        let answer = other.simple_query(settings).await.unwrap();
        let row = answer.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        assert_eq!(row, Some("off 0 on"));
        other
            .batch_execute("CREATE TABLE theirs (); DROP TABLE theirs")
            .await
            .unwrap();
    }
}
