//! A database that another program holds, or that is gone or damaged. What can't be recorded is refused and
//! not done; what was served is recorded afterwards, once, and the gateway recovers by itself.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::client::chat;
use crate::iris::{Iris, Place};
use crate::provider::{Plan, Provider};
use crate::{records, times};
use support::random::random;

pub const TESTS: &[support::harness::Test<()>] = support::tests![
    held_by_another_it_loses_nothing,
    #[cfg(feature = "postgres")]
    gone_it_loses_nothing,
    damaged_it_is_refused_or_serves,
];

const AT_ONCE: usize = 6;
/// What may be held in memory for records that can't be written.
const MEMORY_KIB: u64 = 64 * 1024;
/// How soon everything must be on record once the database is back.
const SOON: Duration = Duration::from_mins(1);

fn config(provider: &Provider, database: &str) -> Value {
    json!({
        "database": { "url": database },
        "providers": { "p": { "baseurl": provider.url("p"), "models": ["m"] } },
        "prices": { "m": { "input": "1.25", "output": "10" } },
        "grants": [{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [
            { "role": "admin" }, { "models": "**" },
        ] } }],
    })
}

/// The responses that callers got.
#[derive(Default)]
struct Told {
    answered: Vec<String>,
    refused: usize,
}

/// Requests side by side until `stop`. Any answer but a whole one, or a refusal that says when to come
/// again, is an error.
fn load(iris: &Iris, stop: &Arc<AtomicBool>) -> JoinSet<anyhow::Result<Told>> {
    let mut tasks = JoinSet::new();
    for worker in 0..AT_ONCE {
        let (stop, mut client) = (Arc::clone(stop), iris.client());
        tasks.spawn(async move {
            let (mut told, mut nth) = (Told::default(), 0);
            while !stop.load(Ordering::Relaxed) {
                let mark = format!("d{worker}-{nth}");
                nth += 1;
                let reply = client.send(chat("m", &mark, nth % 2 == 0)?).await?;
                match reply.status {
                    200 => told.answered.push(mark),
                    503 if reply.headers.contains_key("retry-after") => told.refused += 1,
                    _ => bail!("{}: {}", reply.status, reply.text()),
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Ok(told)
        });
    }
    tasks
}

async fn told(mut tasks: JoinSet<anyhow::Result<Told>>) -> anyhow::Result<Told> {
    let mut all = Told::default();
    while let Some(one) = tasks.join_next().await {
        let one = one??;
        all.answered.extend(one.answered);
        all.refused += one.refused;
    }
    Ok(all)
}

/// Runs requests while `away` has its way with the database, and on until they are taken again.
async fn through(
    place: &Place,
    iris: &mut Iris,
    away: impl AsyncFnOnce(Duration) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let lasts = Duration::from_secs(times("IRIS_CRASH_AWAY", 6) as u64);
    let stop = Arc::new(AtomicBool::new(false));
    let tasks = load(iris, &stop);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = iris.memory_kib()?;
    away(lasts).await?;
    let (back, mut client) = (Instant::now(), iris.client());
    while client.send(chat("m", "probe", false)?).await?.status != 200 {
        ensure!(
            back.elapsed() < SOON,
            "requests are still refused:\n{}",
            place.log()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let back = back.elapsed();
    let more = iris.memory_kib()?.saturating_sub(before);
    stop.store(true, Ordering::Relaxed);
    let told = told(tasks).await.with_context(|| place.log())?;
    ensure!(iris.is_alive(), "the program has ended:\n{}", place.log());
    ensure!(
        more <= MEMORY_KIB,
        "{more} KiB for {lasts:?} without a database"
    );
    ensure!(told.refused > 0, "it was not felt");
    all_once(iris, &told.answered).await?;
    println!(
        "  {lasts:?} without it: {} requests answered and on record, {} refused; taken again after \
         {back:.0?}; {more} KiB more",
        told.answered.len(),
        told.refused,
    );
    Ok(())
}

/// Waits until the API shows a record for each of the marks, and checks that it is one.
async fn all_once(iris: &Iris, marks: &[String]) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut client = iris.client();
    loop {
        let (mut shown, mut before) = (Vec::new(), String::new());
        loop {
            let page = client
                .api(&format!("/api/requests?limit=1000{before}"))
                .await?;
            for row in page["requests"].as_array().into_iter().flatten() {
                shown.push(row["session"].as_str().unwrap_or_default().to_owned());
            }
            let Some(next) = page["next"].as_str() else {
                break;
            };
            before = format!("&before={next}");
        }
        let once: HashSet<&str> = shown.iter().map(String::as_str).collect();
        ensure!(once.len() == shown.len(), "a request has two records");
        let lost = marks
            .iter()
            .filter(|mark| !once.contains(mark.as_str()))
            .count();
        if lost == 0 {
            return Ok(());
        }
        ensure!(
            started.elapsed() < SOON,
            "{lost} of {} are not on record",
            marks.len()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn held_by_another_it_loses_nothing() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let provider =
        Provider::start(&dir.path().join("account"), |_| Plan::Whole(Duration::ZERO)).await?;
    let place = Place::new(&config(&provider, "sqlite:iris.db"))?;
    let mut iris = place.start().await?;
    let address = iris.address;
    through(&place, &mut iris, async |lasts| {
        let other = rusqlite::Connection::open(place.database())?;
        other.busy_timeout(Duration::from_secs(10))?;
        other.execute_batch("BEGIN EXCLUSIVE")?;
        tokio::time::sleep(lasts).await;
        let mut client = crate::client::Client::new(address);
        let status = client.api("/api/status").await?;
        ensure!(status.to_string().contains("ledger_failing"), "{status}");
        Ok(other.execute_batch("ROLLBACK")?)
    })
    .await?;
    records::check(&records::open(&place.database())?)
}

#[cfg(feature = "postgres")]
async fn gone_it_loses_nothing() -> anyhow::Result<()> {
    let server = tokio::task::spawn_blocking(support::postgres::Server::start).await?;
    let dir = tempfile::tempdir()?;
    let provider =
        Provider::start(&dir.path().join("account"), |_| Plan::Whole(Duration::ZERO)).await?;
    let place = Place::new(&config(&provider, &server.url("postgres")))?;
    let mut iris = place.start().await?;
    through(&place, &mut iris, async |lasts| {
        server.kill();
        tokio::time::sleep(lasts).await;
        server.restart().await;
        Ok(())
    })
    .await?;
    drop(iris);
    server.stop();
    Ok(())
}

/// Writes other bytes over random places of a file.
fn damage(file: &Path, seed: u64, places: usize) -> anyhow::Result<()> {
    let mut bytes = std::fs::read(file)?;
    for nth in 0..places as u64 {
        let at = random(seed * 1_000 + nth) as usize % bytes.len();
        let end = bytes.len().min(at + 16);
        for byte in &mut bytes[at..end] {
            *byte ^= random(seed + nth) as u8 | 1;
        }
    }
    Ok(std::fs::write(file, bytes)?)
}

/// A damaged file is refused with its name and a way out, or it serves: then its pages answer or say
/// that they can't, and nothing ends the program.
async fn damaged_it_is_refused_or_serves() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let provider =
        Provider::start(&dir.path().join("account"), |_| Plan::Whole(Duration::ZERO)).await?;
    let place = Place::new(&config(&provider, "sqlite:iris.db"))?;
    let mut iris = place.start().await?;
    let stop = Arc::new(AtomicBool::new(false));
    let tasks = load(&iris, &stop);
    tokio::time::sleep(Duration::from_secs(2)).await;
    stop.store(true, Ordering::Relaxed);
    told(tasks).await?;
    iris.terminate()?;
    ensure!(iris.ended().await?.success(), "{}", place.log());
    let whole = std::fs::read(place.database())?;
    let (mut refused, mut served) = (0, 0);
    for seed in 1..=times("IRIS_CRASH_DAMAGES", 12) as u64 {
        std::fs::write(place.database(), &whole)?;
        damage(&place.database(), seed, 1 << (seed % 8))?;
        let mut iris = match place.start().await {
            Ok(iris) => iris,
            Err(error) => {
                let told = format!("{error:#}");
                ensure!(
                    told.contains("iris.db") && told.contains("backup"),
                    "{seed}: {told}"
                );
                ensure!(!told.contains("panicked"), "{seed}: {told}");
                refused += 1;
                continue;
            }
        };
        let mut client = iris.client();
        for path in [
            "/api/requests",
            "/api/sessions",
            "/api/usage",
            "/ui/overview",
            "/healthz",
        ] {
            let reply = client.get(path).await?;
            ensure!(
                [200, 500, 503].contains(&reply.status),
                "{seed}: {path}: {}",
                reply.text()
            );
        }
        // What can't be recorded is kept as long as there is room, as with a full disk.
        let reply = client.send(chat("m", "after", false)?).await?;
        ensure!(
            [200, 503].contains(&reply.status),
            "{seed}: {}",
            reply.text()
        );
        ensure!(
            iris.is_alive(),
            "{seed}: the program has ended:\n{}",
            place.log()
        );
        ensure!(
            !place.log().contains("panicked"),
            "{seed}:\n{}",
            place.log()
        );
        served += 1;
    }
    println!(
        "  of {} damaged files {refused} were refused, {served} served",
        refused + served
    );
    ensure!(refused > 0, "no damage was noticed");
    Ok(())
}
