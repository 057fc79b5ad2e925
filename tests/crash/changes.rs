//! Changes under load: of the gateway's configuration, and of the machine's clock.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::client::chat;
use crate::iris::{Iris, Place};
use crate::provider::{Asked, Plan, Provider};
use crate::{records, times};
use support::random::random;

/// Hundredths of a second of processor time in an idle second, at most.
const IDLE: u64 = 50;

pub const TESTS: &[support::harness::Test<()>] =
    support::tests![a_storm_of_reloads_is_not_felt, clocks_may_jump,];

fn decide(asked: &Asked<'_>) -> Plan {
    if asked.mark.starts_with("tick") {
        let every = Duration::from_millis(50);
        return Plan::Ticks { every, length: 10 };
    }
    Plan::Whole(Duration::from_millis(random(asked.mark.len() as u64) % 5))
}

/// Streams and requests that go on beside what a test does.
struct Traffic {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    streams: Vec<JoinHandle<anyhow::Result<Duration>>>,
    requests: Vec<JoinHandle<anyhow::Result<()>>>,
}

impl Traffic {
    async fn start(iris: &Iris, (streams, requests): (usize, usize)) -> anyhow::Result<Self> {
        let mut traffic = Self {
            stop: Arc::default(),
            asked: Arc::default(),
            streams: Vec::new(),
            requests: Vec::new(),
        };
        for nth in 0..streams {
            let (stop, mut client) = (Arc::clone(&traffic.stop), iris.client());
            let mut response = client
                .begin(chat("m", &format!("tick{nth}"), true)?)
                .await?;
            ensure!(response.status() == 200, "{}", response.status());
            traffic.streams.push(tokio::spawn(async move {
                let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
                while !stop.load(Ordering::Relaxed) {
                    let frame = response.body_mut().frame().await;
                    frame
                        .context("a stream has ended")?
                        .context("a stream is cut")?;
                    longest = longest.max(last.elapsed());
                    last = Instant::now();
                }
                client.leave();
                Ok(longest)
            }));
        }
        for worker in 0..requests {
            let (stop, mut client) = (Arc::clone(&traffic.stop), iris.client());
            let asked = Arc::clone(&traffic.asked);
            traffic.requests.push(tokio::spawn(async move {
                for nth in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let mark = format!("r{worker}-{nth}");
                    let reply = client.send(chat("m", &mark, nth % 3 == 0)?).await?;
                    ensure!(
                        reply.status == 200,
                        "{mark}: {} {}",
                        reply.status,
                        reply.text()
                    );
                    asked.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Ok(())
            }));
        }
        Ok(traffic)
    }

    /// Requests that were answered, and the longest pause of a stream. None may have failed.
    async fn end(self) -> anyhow::Result<(usize, Duration)> {
        self.stop.store(true, Ordering::Relaxed);
        let mut longest = Duration::ZERO;
        for stream in self.streams {
            longest = longest.max(stream.await??);
        }
        for requests in self.requests {
            requests.await??;
        }
        Ok((self.asked.load(Ordering::Relaxed), longest))
    }
}

/// The nth version: a model of its own identifies it.
fn version(provider: &Provider, nth: usize) -> Value {
    json!({
        "providers": { "p": { "baseurl": provider.url("p"), "models": ["m", format!("v{nth}")] } },
        "prices": { "m": { "input": format!("{}", 1 + nth % 7), "output": "10" } },
        "quotas": {
            "purse:<user>": { "capacity": "$1000000.00" },
            "rated:<user>": { "capacity": "$1000.00", "rate": "$1.00/day" },
        },
        "grants": [{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [
            { "role": "admin" },
            { "models": "**", "quotas": [{ "bucket": "purse:<user>" }, { "bucket": "rated:<user>" }] },
        ] } }],
    })
}

/// Texts that are no configuration, each in its own way.
fn broken(nth: usize, good: &Value) -> String {
    let with = |key: &str, value: Value| {
        let mut config = good.clone();
        config[key] = value;
        config.to_string()
    };
    let text = good.to_string();
    match nth % 9 {
        0 => text[..text.len() / 2].to_owned(),
        1 => String::from("{"),
        2 => String::from("[]"),
        3 => with("limits", json!({ "connections": 0 })),
        4 => with("timeouts", json!({ "head": "soon" })),
        5 => with("listen", json!({ "loopback": "0.0.0.0:1" })),
        6 => with("tailnet", json!({ "mode": "maybe" })),
        7 => with("limits", json!({ "request_body": -1 })),
        _ => text.replace("10", "${NO_SUCH_VARIABLE}"),
    }
}

async fn models(iris: &Iris) -> anyhow::Result<String> {
    Ok(iris.client().get("/v1/models").await?.text())
}

async fn in_force(iris: &Iris, nth: usize) -> anyhow::Result<()> {
    let until = Instant::now() + Duration::from_secs(10);
    while !models(iris).await?.contains(&format!("\"v{nth}\"")) {
        ensure!(Instant::now() < until, "version {nth} is not in force");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// A hundred configurations, every third of which is invalid.
async fn a_storm_of_reloads_is_not_felt() -> anyhow::Result<()> {
    let reloads = times("IRIS_CRASH_RELOADS", 100);
    let dir = tempfile::tempdir()?;
    let provider = Provider::start(&dir.path().join("account"), decide).await?;
    let place = Place::new(&version(&provider, 0))?;
    let iris = place.start().await?;
    let traffic = Traffic::start(&iris, (50, 6)).await?;
    let (mut last, mut refused) = (0, 0);
    for nth in 1..=reloads {
        if nth % 3 != 0 {
            place.configure(&version(&provider, nth))?;
            iris.hang_up()?;
            in_force(&iris, nth).await?;
            last = nth;
            continue;
        }
        let mut good = version(&provider, nth);
        good["listen"]["loopback"] = place.address.to_string().into();
        good["tailnet"]["mode"] = "off".into();
        place.write(&broken(nth / 3, &good))?;
        iris.hang_up()?;
        let until = Instant::now() + Duration::from_secs(10);
        while !iris
            .client()
            .get("/api/status")
            .await?
            .text()
            .contains("configuration_refused")
        {
            if Instant::now() > until {
                bail!("nobody is told of {}", broken(nth / 3, &good));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let known = models(&iris).await?;
        ensure!(known.contains(&format!("\"v{last}\"")), "{nth}: {known}");
        ensure!(!known.contains(&format!("\"v{nth}\"")), "{nth}: {known}");
        refused += 1;
    }
    let (asked, pause) = traffic.end().await.with_context(|| place.log())?;
    println!(
        "  {reloads} reloads, {refused} of them refused with the one before in force: {asked} requests, 0 \
         failed; 50 streams, 0 cut, longest pause {pause:.0?}"
    );
    Ok(())
}

/// The library that gives a process another clock.
fn faketime() -> Option<PathBuf> {
    let roots = [
        "/usr/lib",
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
    ];
    let paths = roots.map(|root| PathBuf::from(root).join("faketime/libfaketimeMT.so.1"));
    paths.into_iter().find(|path| path.exists())
}

/// Processor time that a process has used, in hundredths of a second.
fn ticks(iris: &Iris) -> anyhow::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", iris.pid()))?;
    let after = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = after.split_whitespace().collect();
    Ok(fields[11].parse::<u64>()? + fields[12].parse::<u64>()?)
}

/// Four hundred days forwards and backwards, under load.
async fn clocks_may_jump() -> anyhow::Result<()> {
    let Some(library) = faketime() else {
        support::harness::skip("libfaketime is not installed (the package is `faketime`)");
        return Ok(());
    };
    let dir = tempfile::tempdir()?;
    let provider = Provider::start(&dir.path().join("account"), decide).await?;
    let mut place = Place::new(&version(&provider, 0))?;
    let clock = dir.path().join("clock");
    std::fs::write(&clock, "+0d")?;
    place.environment = [
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", clock.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec();
    let iris = place.start().await?;
    let traffic = Traffic::start(&iris, (20, 4)).await?;
    let jumps = ["+400d", "-400d", "+0d", "+30m", "-30m", "+1s", "-1s", "+0d"];
    for jump in jumps {
        std::fs::write(&clock, jump)?;
        // Some requests under this clock.
        tokio::time::sleep(Duration::from_millis(400)).await;
        let listed = iris.client().api("/api/quotas").await?;
        for bucket in listed["quotas"].as_array().into_iter().flatten() {
            let (current, capacity) = (bucket["current"].as_i64(), bucket["capacity"].as_i64());
            ensure!(
                current <= capacity && current > Some(0),
                "after {jump}: {bucket}"
            );
        }
    }
    let (asked, pause) = traffic.end().await.with_context(|| place.log())?;
    // In the first second the last of the traffic may still be written.
    let mut idle = u64::MAX;
    for _ in 0..5 {
        let before = ticks(&iris)?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        idle = idle.min(ticks(&iris)? - before);
        if idle < IDLE {
            break;
        }
    }
    // A question has all records folded into the tables that are read here.
    iris.client().api("/api/requests?limit=1").await?;
    let database = records::open(&place.database())?;
    records::check(&database)?;
    let entries = records::entries(&database, "")?;
    // Streams that were left have a record too.
    let requests = entries.iter().filter(|entry| entry.mark.starts_with('r'));
    ensure!(
        requests.count() == asked,
        "{asked} were answered, {} are on record",
        entries.len()
    );
    records::each_once(&entries, [])?;
    let spent: i64 = entries.iter().filter_map(|entry| entry.cost).sum();
    let left = records::buckets(&database)?
        .get("purse:(loopback)")
        .copied();
    ensure!(
        left == Some(1_000_000 * 1_000_000_000 - spent),
        "{left:?} after {spent}"
    );
    println!(
        "  {} jumps of up to 400 days: {asked} requests, 0 failed, each on record once and paid for once; \
         20 streams, 0 cut, longest pause {pause:.0?}; {idle} ms/100 of processor time in an idle second",
        jumps.len()
    );
    ensure!(
        pause < Duration::from_secs(2),
        "a stream stood still for {pause:?}"
    );
    ensure!(
        idle < IDLE,
        "busy with nothing to do: {idle} hundredths of a second"
    );
    Ok(())
}
