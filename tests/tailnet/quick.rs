//! Iris beside Go's `httputil.ReverseProxy` on tsnet: one caller's node, one provider on loopback, in
//! two minutes. What differs is the way through each, so compare the ratios.
//!
//! `IRIS_BESIDE=FILE` also measures another build of Iris, or a script that sets a variable and
//! replaces itself by one.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use http_body_util::BodyExt;
use iris::net::tailnet::Node;
use serde_json::json;
use support::process::free_address;
use support::quick_provider as provider;

use crate::headscale::Headscale;
use crate::http::post;
use crate::measure::{
    Way, asked, connection, memory, milliseconds, open_streams, processor, reverse_proxy, whole,
};
use crate::parts::{Parts, until};
use crate::scenarios::CHAT;
use crate::world::{CAPABILITY, Gateway, node};

const ROUNDS: usize = 3;
const SEQUENTIAL: usize = 800;
const PARALLEL: usize = 16;
const EACH: usize = 200;
/// Answers of 64 KiB on each connection.
const LARGE: usize = 40;
const STREAMS: usize = 32;
const ROUNDS_OF_STREAMS: usize = 5;

const NAMES: [&str; 7] = [
    "1 connection: p50 ms",
    "… CPU µs a request",
    "16 connections: requests/s",
    "… CPU µs a request",
    "32 streams: CPU µs an event",
    "64 KiB answers: MB/s",
    "… CPU µs a request",
];

pub async fn run(parts: &Parts) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let headscale = Headscale::start(parts, dir.path()).await?;
    let alice = node(
        &headscale.url,
        dir.path(),
        "alice-laptop",
        headscale.user_key("1")?,
    )
    .await?;
    let port = free_address().port();
    std::thread::spawn(move || provider::run(port));
    let near = format!("http://127.0.0.1:{port}");
    let go = reverse_proxy(parts, &headscale, dir.path(), "go-near", &near)?;
    let mut programs = vec![PathBuf::from(env!("CARGO_BIN_EXE_iris"))];
    programs.extend(std::env::var_os("IRIS_BESIDE").map(PathBuf::from));
    let mut gateways = Vec::new();
    for (nth, program) in programs.iter().enumerate() {
        gateways.push(gateway(&headscale, dir.path(), nth, program, &near).await?);
    }
    let mut ways = vec![Way {
        name: "Go proxy",
        host: "go-near".to_owned(),
        port: 80,
        process: Some(go.id()),
        prefix: "",
    }];
    for (nth, gateway) in gateways.iter().enumerate() {
        ways.push(Way {
            name: if nth == 0 { "Iris" } else { "Iris, beside" },
            host: hostname(nth),
            port: 80,
            process: Some(gateway.process.id()),
            prefix: "near/",
        });
    }
    for way in &ways {
        until(way.name, 90, || async {
            let mut own = connection(&alice, way).await?;
            let reply = own.post(CHAT, asked(way, "small", false)).await?;
            ensure!(reply.status == 200, "{reply:?}");
            Ok(())
        })
        .await?;
    }
    let held = open_streams(&alice, &ways).await?;
    let mut all = vec![Vec::new(); ways.len()];
    for round in 0..ROUNDS {
        for nth in 0..ways.len() {
            // Each begins a round in its turn.
            let nth = (nth + round) % ways.len();
            let figures = measure(&alice, &ways[nth]).await;
            let figures = figures.with_context(|| format!("{}: {}", ways[nth].name, go.log()));
            all[nth].push(figures?);
        }
    }
    table(&ways, &all, &held)
}

fn hostname(nth: usize) -> String {
    format!("ai-{nth}")
}

/// A gateway with a grant, a budget, a price and its records.
async fn gateway(
    headscale: &Headscale,
    dir: &Path,
    nth: usize,
    program: &Path,
    provider: &str,
) -> anyhow::Result<Gateway> {
    let dir = dir.join(format!("gateway-{nth}"));
    std::fs::create_dir(&dir)?;
    let local = format!("127.0.0.1:{}", free_address().port());
    let config = json!({
        "tailnet": {
            "hostname": hostname(nth),
            "auth_key": "${TS_AUTHKEY}",
            "control_url": headscale.url,
            "capabilities": [CAPABILITY],
        },
        "listen": { "https": "", "loopback": local },
        "providers": {
            "near": {
                "baseurl": provider,
                "models": ["small", "large", "slow", "paced"],
            },
        },
        "prices": { "small": { "input": "0.1", "output": "0.4" } },
        "quotas": { "daily:<user>": { "capacity": "$1000000.00", "rate": "$1000000.00/day" } },
        "grants": [{
            "src": ["alice"],
            "app": { CAPABILITY: [
                { "role": "user" },
                { "models": "**", "quotas": [{ "bucket": "daily:<user>" }] },
            ] },
        }],
    });
    let key = headscale.tag_key("tag:ai")?;
    Gateway::start_as(program, &dir, &config.to_string(), local, &key).await
}

async fn measure(from: &Node, way: &Way) -> anyhow::Result<[f64; 7]> {
    let mut only = connection(from, way).await?;
    let small = asked(way, "small", false);
    let cpu = processor(way)?;
    let mut times = Vec::with_capacity(SEQUENTIAL);
    for _ in 0..SEQUENTIAL {
        let began = Instant::now();
        ensure!(only.post(CHAT, small.clone()).await?.status == 200);
        times.push(began.elapsed());
    }
    times.sort();
    let one = micros(way, cpu)? / whole(SEQUENTIAL);

    let (cpu, began) = (processor(way)?, Instant::now());
    ask_in_parallel(from, way, "small", EACH).await?;
    let requests = whole(PARALLEL * EACH);
    let (sixteen, rate) = (micros(way, cpu)? / requests, requests / seconds(began));

    let cpu = processor(way)?;
    let events = read_streams(from, way).await?;
    let event = micros(way, cpu)? / events;

    let (cpu, began) = (processor(way)?, Instant::now());
    let bytes = ask_in_parallel(from, way, "large", LARGE).await?;
    let bulk = bytes / seconds(began) / 1e6;
    let large = micros(way, cpu)? / whole(PARALLEL * LARGE);

    let p50 = milliseconds(times[SEQUENTIAL / 2]);
    Ok([p50, one, rate, sixteen, event, bulk, large])
}

fn micros(way: &Way, before: Duration) -> anyhow::Result<f64> {
    Ok(processor(way)?.saturating_sub(before).as_secs_f64() * 1e6)
}

fn seconds(began: Instant) -> f64 {
    began.elapsed().as_secs_f64()
}

/// Asks so often on each of several connections, and counts the bytes of the answers.
async fn ask_in_parallel(from: &Node, way: &Way, model: &str, each: usize) -> anyhow::Result<f64> {
    let body = asked(way, model, false);
    let callers = (0..PARALLEL).map(|_| async {
        let mut own = connection(from, way).await?;
        let (mut bytes, mut asked) = (0, 0);
        while asked < each {
            let Ok(reply) = own.post(CHAT, body.clone()).await else {
                broken(way)?;
                own = connection(from, way).await?;
                continue;
            };
            ensure!(reply.status == 200, "{reply:?}");
            bytes += reply.body.len();
            asked += 1;
        }
        Ok(bytes)
    });
    let bytes = futures_util::future::try_join_all(callers).await?;
    Ok(whole(bytes.iter().sum()))
}

/// Go's proxy breaks a few answers in each run ("use of closed network connection"); Iris may not.
fn broken(way: &Way) -> anyhow::Result<()> {
    ensure!(way.prefix.is_empty(), "{} breaks an answer", way.name);
    Ok(())
}

/// Reads several streams at once, and counts their events.
async fn read_streams(from: &Node, way: &Way) -> anyhow::Result<f64> {
    let body = asked(way, "paced", true);
    let readers = (0..STREAMS).map(|_| async {
        let mut events = 0;
        for _ in 0..ROUNDS_OF_STREAMS {
            let mut own = connection(from, way).await?;
            let mut response = own.open(post(CHAT, body.clone())?).await?;
            while let Some(frame) = response.frame().await {
                let Ok(frame) = frame else {
                    broken(way)?;
                    break;
                };
                let data = frame.data_ref().map_or(&[][..], |data| data);
                events += memchr::memmem::find_iter(data, b"data: ").count();
            }
        }
        anyhow::Ok(events)
    });
    let events = futures_util::future::try_join_all(readers).await?;
    Ok(whole(events.iter().sum()))
}

fn table(ways: &[Way], all: &[Vec<[f64; 7]>], held: &[Option<f64>]) -> anyhow::Result<()> {
    let median = |nth: usize, figure: usize| {
        let mut values: Vec<f64> = all[nth].iter().map(|round| round[figure]).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let row = |name: &str, values: &[f64]| {
        let cells = values.iter().enumerate().map(|(nth, value)| match nth {
            0 => format!("{value:.2}"),
            _ => format!("{value:.2} ×{:.2}", value / values[0]),
        });
        println!("| {name} | {} |", cells.collect::<Vec<_>>().join(" | "));
    };
    let names: Vec<&str> = ways.iter().map(|way| way.name).collect();
    println!("| | {} |", names.join(" | "));
    println!("|---|{}", "---|".repeat(ways.len()));
    for (figure, name) in NAMES.iter().enumerate() {
        let values: Vec<f64> = (0..ways.len()).map(|nth| median(nth, figure)).collect();
        row(name, &values);
    }
    let held: Vec<f64> = held.iter().map(|kib| kib.unwrap_or_default()).collect();
    row("KiB an open stream", &held);
    let mut resident = Vec::new();
    for way in ways {
        let id = way.process.context("no process")?;
        resident.push(whole(usize::try_from(memory(id)?)?) / 1e6);
    }
    row("MB after it", &resident);
    Ok(())
}
