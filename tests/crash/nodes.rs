//! Two nodes on one database that both fold the journal, one of which is killed again and again: what was
//! seen at either is there, once, and the sums and balances are those of the records.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::ensure;
use serde_json::json;
use support::http::post;
use support::postgres::Server;
use support::provider::{self, Received};
use support::random::random;
use tokio_postgres::{Client, NoTls};

use crate::iris::Place;
use crate::kills::{Seen, config, decide, load};
use crate::provider::Provider;
use crate::times;

pub const TESTS: &[support::harness::Test<()>] = support::tests![
    a_killed_node_leaves_its_records_to_the_other,
    two_nodes_follow_responses_that_are_paid_for_once,
];

async fn a_killed_node_leaves_its_records_to_the_other() -> anyhow::Result<()> {
    let kills = times("IRIS_CRASH_NODES", 4);
    let server = tokio::task::spawn_blocking(Server::start).await?;
    let dir = tempfile::tempdir()?;
    let provider = Provider::start(&dir.path().join("account"), decide).await?;
    let mut config = config(&provider);
    config["database"] = json!({ "url": server.url("postgres") });
    let places = [Place::new(&config)?, Place::new(&config)?];
    let seen = Arc::new(Seen::default());
    let stays = places[0].start().await?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = load(&stays, &seen, &stop);
    for round in 0..kills as u64 {
        let mut iris = places[1].start().await?;
        tasks.extend(load(&iris, &seen, &stop));
        // Long enough to fold by itself.
        tokio::time::sleep(Duration::from_millis(500 + random(round) % 1_500)).await;
        iris.kill()?;
    }
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await?;
    }
    // Some callers have left, and their requests end a moment later. The question folds all.
    tokio::time::sleep(Duration::from_secs(1)).await;
    stays.client().api("/api/requests?limit=1").await?;
    let (client, connection) = tokio_postgres::connect(&server.url("postgres"), NoTls).await?;
    tokio::spawn(connection);
    let count = check(&client, &seen).await?;
    println!(
        "  {kills} kills: {count} records of two nodes, of which {} were seen; 0 lost, 0 double",
        seen.records().len()
    );
    drop(stays);
    server.stop();
    Ok(())
}

/// That each record that was seen is there, once, and all else is what the records add up to. Answers how
/// many there are.
async fn check(client: &Client, seen: &Seen) -> anyhow::Result<usize> {
    let mut ids = std::collections::HashMap::new();
    for row in client.query("SELECT session, id FROM entries", &[]).await? {
        let (mark, id): (String, String) = (row.get(0), row.get(1));
        let before = ids.insert(mark, id);
        ensure!(before.is_none(), "{before:?} has two records");
    }
    for (mark, id) in seen.records() {
        ensure!(
            ids.get(&mark) == Some(&id),
            "the record {id} of {mark} was seen, and is lost"
        );
    }
    let number = async |sql: &str| -> anyhow::Result<i64> {
        let sql = format!("SELECT CAST(COALESCE(({sql}), 0) AS BIGINT)");
        Ok(client.query_one(&sql, &[]).await?.get(0))
    };
    ensure!(number("SELECT COUNT(*) FROM journal").await? == 0);
    for table in ["sessions", "usage_days WHERE header = 0"] {
        let requests = number(&format!("SELECT SUM(requests) FROM {table}")).await?;
        ensure!(
            requests == i64::try_from(ids.len())?,
            "{table} has {requests} of {}",
            ids.len()
        );
    }
    let spent = number("SELECT SUM(cost) FROM entries").await?;
    let left = "SELECT balance FROM buckets WHERE name = 'purse:(loopback)'";
    let left = number(left).await?;
    ensure!(
        left == crate::kills::PURSE - spent,
        "the bucket holds {left} after {spent} were spent"
    );
    Ok(ids.len())
}

/// A provider whose responses in the background have ended when they are asked for.
fn keeper() -> impl Fn(&Received) -> (&'static str, String) + Send + Sync + 'static {
    let made = AtomicUsize::new(0);
    move |request| {
        let target = request.target();
        let asked = target.strip_prefix("GET /v1/responses/");
        let (id, more) = if let Some(id) = asked {
            let usage = r#""usage":{"input_tokens":7,"output_tokens":11,"total_tokens":18}"#;
            (id.to_owned(), format!(r#""status":"completed",{usage}"#))
        } else {
            let nth = made.fetch_add(1, Ordering::Relaxed);
            (format!("resp_{nth}"), r#""status":"queued""#.to_owned())
        };
        let body = format!(
            r#"{{"id":"{id}","object":"response","model":"m","store":true,"background":true,{more}}}"#
        );
        ("200 OK", body)
    }
}

async fn two_nodes_follow_responses_that_are_paid_for_once() -> anyhow::Result<()> {
    const RESPONSES: i64 = 12;
    let server = tokio::task::spawn_blocking(Server::start).await?;
    let (address, _log) = provider::server("127.0.0.1:0", keeper()).await;
    let config = json!({
        "tailnet": { "mode": "off" },
        "listen": { "loopback": "127.0.0.1:0" },
        "database": { "url": server.url("postgres") },
        "providers": { "p": {
            "baseurl": format!("http://{address}"), "models": ["m"],
            "compatibility": { "openai_responses": true },
        } },
        "prices": { "p/m": { "input": "1", "output": "2" } },
        "grants": [{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [
            { "role": "admin" }, { "models": "**" },
        ] } }],
    });
    let places = [Place::new(&config)?, Place::new(&config)?];
    let nodes = [places[0].start().await?, places[1].start().await?];
    let body = json!({ "model": "m", "input": "hi", "background": true }).to_string();
    for nth in 0..RESPONSES {
        let node = &nodes[usize::try_from(nth % 2)?];
        let reply = node.client().send(post("/v1/responses", &body)).await?;
        ensure!(reply.status == 200, "{}", reply.text());
    }
    let (client, connection) = tokio_postgres::connect(&server.url("postgres"), NoTls).await?;
    tokio::spawn(connection);
    let count =
        async |sql: &str| -> anyhow::Result<i64> { Ok(client.query_one(sql, &[]).await?.get(0)) };
    let open = "SELECT COUNT(*) FROM objects WHERE state = 'open'";
    for _ in 0..100 {
        if count(open).await? == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    ensure!(count(open).await? == 0, "some are still followed");
    // The question folds all records.
    nodes[0].client().api("/api/requests?limit=1").await?;
    let paid = "SELECT COUNT(*) FROM entries WHERE path = '/v1/responses' AND cost = 29000";
    ensure!(count(paid).await? == RESPONSES, "{}", count(paid).await?);
    let all = "SELECT COUNT(*) FROM entries WHERE path = '/v1/responses'";
    ensure!(count(all).await? == RESPONSES, "{}", count(all).await?);
    drop(nodes);
    server.stop();
    Ok(())
}
