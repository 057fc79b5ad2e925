//! SIGKILL at random moments under load. A record that was once seen is there afterwards, once; balances
//! match the records; nothing stays held for requests that are gone.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::ensure;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use crate::client::{Client, chat};
use crate::iris::{Iris, Place};
use crate::provider::{Asked, Plan, Provider};
use crate::{records, times};
use support::random::random;

pub const TESTS: &[support::harness::Test<()>] = support::tests![nothing_acknowledged_is_lost,];

/// Requests at once.
const AT_ONCE: usize = 12;
/// Nanodollars in the bucket that pays for everything.
pub const PURSE: i64 = 1_000_000 * 1_000_000_000;

/// The records that were seen, and the responses that callers got.
#[derive(Default)]
pub struct Seen {
    next: AtomicU64,
    /// Records that the API has shown: ids by mark.
    records: Mutex<HashMap<String, String>>,
    /// Whole answers.
    pub answers: AtomicU64,
    /// Refills that were confirmed.
    pub refills: AtomicU64,
}

impl Seen {
    /// All records that were shown.
    pub fn records(&self) -> HashMap<String, String> {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.clone()
    }
}

pub fn config(provider: &Provider) -> Value {
    json!({
        "providers": { "p": { "baseurl": provider.url("p"), "models": ["m"] } },
        "prices": { "m": { "input": "1.25", "output": "10", "input_cache_read": "0.125" } },
        "routing": { "eject_after": 0 },
        "quotas": {
            "purse:<user>": { "capacity": "$1000000.00" },
            "small": { "capacity": "$10.00" },
            "open:<user>": { "capacity": "64 parallel" },
        },
        "grants": [{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [
            { "role": "admin" },
            { "models": "**", "quotas": [{ "bucket": "purse:<user>" }, { "bucket": "open:<user>" }] },
        ] } }],
    })
}

/// Most answers are whole; some take long, so that a kill finds them open.
pub fn decide(asked: &Asked<'_>) -> Plan {
    let seed = asked
        .mark
        .bytes()
        .fold(3, |seed, byte| random(seed ^ u64::from(byte)));
    match seed % 20 {
        0 => Plan::Refuse(503),
        1 if asked.stream => Plan::Dies(2),
        nth => Plan::Whole(Duration::from_millis(if nth == 2 { 300 } else { nth % 4 })),
    }
}

/// Requests of all kinds until the gateway is gone or `stop` is set.
pub fn load(
    iris: &Iris,
    seen: &Arc<Seen>,
    stop: &Arc<AtomicBool>,
) -> Vec<tokio::task::JoinHandle<()>> {
    let mut tasks: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let (seen, stop, mut client) = (Arc::clone(seen), Arc::clone(stop), iris.client());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let nth = seen.next.fetch_add(1, Ordering::Relaxed);
                    match ask(&mut client, nth).await {
                        Ok(true) => drop(seen.answers.fetch_add(1, Ordering::Relaxed)),
                        Ok(false) => {}
                        Err(_) => return,
                    }
                }
            })
        })
        .collect();
    for work in [watch, refill] {
        let (seen, stop, mut client) = (Arc::clone(seen), Arc::clone(stop), iris.client());
        tasks.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                if work(&mut client, &seen).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
        }));
    }
    tasks
}

/// One request, and whether it was answered whole; some callers leave in the middle. An error says
/// that nobody is there any more.
async fn ask(client: &mut Client, nth: u64) -> anyhow::Result<bool> {
    let request = chat("m", &format!("k{nth}"), nth.is_multiple_of(2))?;
    if !random(nth).is_multiple_of(10) {
        return match client.send(request).await {
            Err(error) if error.downcast_ref::<std::io::Error>().is_some() => Err(error),
            answered => Ok(answered.is_ok_and(|reply| reply.status == 200)),
        };
    }
    let mut response = client.begin(request).await?;
    let _ = response.body_mut().frame().await;
    drop(response);
    client.leave();
    Ok(false)
}

pub type Work<'a> = std::pin::Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send + 'a>>;

/// Looks at the newest records, and remembers them.
fn watch<'a>(client: &'a mut Client, seen: &'a Seen) -> Work<'a> {
    Box::pin(async move {
        let shown = client.api("/api/requests?limit=300").await?;
        let mut records = seen.records.lock().unwrap_or_else(PoisonError::into_inner);
        for row in shown["requests"].as_array().into_iter().flatten() {
            if let (Some(mark), Some(id)) = (row["session"].as_str(), row["id"].as_str()) {
                records.insert(mark.to_owned(), id.to_owned());
            }
        }
        Ok(())
    })
}

/// Refills a bucket, which is durable and on record once it is confirmed.
pub fn refill<'a>(client: &'a mut Client, seen: &'a Seen) -> Work<'a> {
    Box::pin(async move {
        let body = json!({ "bucket": "small", "amount": "$0.01" }).to_string();
        let request = Request::post("/api/quotas/refill")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))?;
        let reply = client.send(request).await?;
        if reply.status == 200 {
            seen.refills.fetch_add(1, Ordering::Relaxed);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(())
    })
}

/// That a gateway which has just started, and has nothing to do, has kept what was seen.
pub async fn kept(place: &Place, iris: &Iris, seen: &Seen, after: &str) -> anyhow::Result<String> {
    let quotas = iris.client().api("/api/quotas").await?;
    for bucket in quotas["quotas"].as_array().into_iter().flatten() {
        ensure!(bucket["held"] == 0, "held for nobody: {bucket}");
    }
    let database = records::open(&place.database())?;
    records::check(&database)?;
    let entries = records::entries(&database, after)?;
    let shown = seen.records();
    let shown = shown.iter().filter(|(_, id)| id.as_str() > after);
    records::each_once(
        &entries,
        shown.map(|(mark, id)| (mark.as_str(), id.as_str())),
    )?;
    let spent = database.query_row("SELECT COALESCE(SUM(cost), 0) FROM entries", [], |row| {
        row.get::<_, i64>(0)
    })?;
    let left = records::buckets(&database)?
        .get("purse:(loopback)")
        .copied();
    ensure!(
        left.unwrap_or(PURSE) == PURSE - spent,
        "the bucket holds {left:?} after {spent} were spent"
    );
    let count = "SELECT COALESCE(SUM(count), 0) FROM audit WHERE kind = 'quota_refilled'";
    let noted: i64 = database.query_row(count, [], |row| row.get(0))?;
    let confirmed = seen.refills.load(Ordering::Relaxed);
    ensure!(
        u64::try_from(noted)? >= confirmed,
        "{confirmed} refills were confirmed, {noted} are on record"
    );
    let last = entries.last().map(|entry| entry.id.clone());
    Ok(last.unwrap_or_else(|| after.to_owned()))
}

async fn nothing_acknowledged_is_lost() -> anyhow::Result<()> {
    let kills = times("IRIS_CRASH_KILLS", 20);
    let dir = tempfile::tempdir()?;
    let provider = Provider::start(&dir.path().join("account"), decide).await?;
    let place = Place::new(&config(&provider))?;
    let seen = Arc::new(Seen::default());
    let mut starts = Vec::new();
    // Records are looked at back to the kill before the last; at the end all of them.
    let (mut before, mut after) = (String::new(), String::new());
    let mut iris = place.start().await?;
    for round in 0..kills {
        let stop = Arc::new(AtomicBool::new(false));
        let tasks = load(&iris, &seen, &stop);
        let life = 30 + random(round as u64) % 400;
        tokio::time::sleep(Duration::from_millis(life)).await;
        iris.kill()?;
        stop.store(true, Ordering::Relaxed);
        for task in tasks {
            task.await?;
        }
        iris = place.start().await?;
        starts.push(iris.took);
        let last = kept(&place, &iris, &seen, &before).await?;
        before = std::mem::replace(&mut after, last);
    }
    kept(&place, &iris, &seen, "").await?;
    starts.sort();
    let database = records::open(&place.database())?;
    let all = records::entries(&database, "")?.len();
    println!(
        "  {kills} kills: {all} records, of which {} were seen, {} answers, {} refills; \
         0 lost, 0 double; serving again after {:.0?} (median), {:.0?} (longest)",
        seen.records().len(),
        seen.answers.load(Ordering::Relaxed),
        seen.refills.load(Ordering::Relaxed),
        starts[starts.len() / 2],
        starts[starts.len() - 1],
    );
    ensure!(
        starts[starts.len() - 1] < Duration::from_secs(10),
        "a start took too long"
    );
    ensure!(seen.records().len() > kills, "too little was seen");
    Ok(())
}
