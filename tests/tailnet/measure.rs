//! How fast the gateway is over a tailnet, beside a Go reverse proxy on tsnet and beside no gateway
//! at all, in one run against one inference server. Times on a shared machine are noise: the
//! ratios, and the processor time of each request, are what to look at.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use http_body_util::BodyExt;
use iris::tailnet::Node;
use serde_json::json;

use crate::http::{Connection, post};
use crate::parts::{Parts, Process, until};
use crate::scenarios::{CHAT, chat};
use crate::world::World;

const ROUNDS: usize = 3;
const SEQUENTIAL: usize = 300;
const PARALLEL: usize = 16;
const EACH: usize = 60;
/// llama-server closes a connection after a hundred requests.
const KEPT: usize = 90;
const STREAMS: usize = 4;
const EVENTS: usize = 1_000;

/// One way to the inference server.
struct Way {
    name: &'static str,
    host: String,
    port: u16,
    /// The process in between.
    process: Option<u32>,
}

#[derive(Clone, Copy, Default)]
struct Figures {
    p50_ms: f64,
    p99_ms: f64,
    per_second: f64,
    cpu_us: f64,
    events_per_second: f64,
    cpu_us_per_event: f64,
}

impl Figures {
    fn print(self, way: &str) {
        println!(
            "{way:<10} {:>9.2} {:>9.2} {:>10.0} {:>12.0} {:>11.0} {:>13.1}",
            self.p50_ms,
            self.p99_ms,
            self.per_second,
            self.cpu_us,
            self.events_per_second,
            self.cpu_us_per_event
        );
    }
}

pub async fn run(parts: &Parts, world: &World) -> anyhow::Result<()> {
    let idle = memory(world.gateway.process.id())?;
    let binary = std::fs::metadata(env!("CARGO_BIN_EXE_iris"))?.len();
    let proxy = reverse_proxy(parts, world)?;
    let (gpu, _) = world
        .provider
        .trim_start_matches("http://")
        .split_once(':')
        .context("a port")?;
    let ways = [
        Way {
            name: "direct",
            host: gpu.to_owned(),
            port: 8080,
            process: None,
        },
        Way {
            name: "Go proxy",
            host: "go-proxy".into(),
            port: 80,
            process: Some(proxy.id()),
        },
        Way {
            name: "iris",
            host: "ai".into(),
            port: 80,
            process: Some(world.gateway.process.id()),
        },
    ];
    for way in &ways {
        until(way.name, 90, || async {
            let reply = connection(&world.alice, way)
                .await?
                .post(CHAT, chat(json!({})))
                .await?;
            ensure!(reply.status == 200, "{reply:?}");
            Ok(())
        })
        .await
        .with_context(|| proxy.log())?;
    }
    println!(
        "binary {:.1} MB; idle {:.0} MB resident",
        mega(binary),
        mega(idle)
    );
    println!(
        "{:<10} {:>9} {:>9} {:>10} {:>12} {:>11} {:>13}",
        "way", "p50 ms", "p99 ms", "req/s", "CPU µs/req", "events/s", "CPU µs/event"
    );
    let mut best = [Figures::default(); 3];
    for round in 0..ROUNDS {
        for (nth, way) in ways.iter().enumerate() {
            let figures = measure(&world.alice, way).await.with_context(|| way.name)?;
            figures.print(way.name);
            if round == 0 || figures.cpu_us < best[nth].cpu_us || way.process.is_none() {
                best[nth] = figures;
            }
        }
    }
    let (go, iris) = (best[1], best[2]);
    println!(
        "iris : Go proxy = p50 {:.2}, req/s {:.2}, CPU a request {:.2}, events/s {:.2}, CPU an event {:.2}",
        iris.p50_ms / go.p50_ms,
        iris.per_second / go.per_second,
        iris.cpu_us / go.cpu_us,
        iris.events_per_second / go.events_per_second,
        iris.cpu_us_per_event / go.cpu_us_per_event
    );
    for way in &ways {
        if let Some(id) = way.process {
            println!(
                "{} has {:.0} MB resident afterwards",
                way.name,
                mega(memory(id)?)
            );
        }
    }
    Ok(())
}

fn reverse_proxy(parts: &Parts, world: &World) -> anyhow::Result<Process> {
    let dir = world.dir.path().join("go-proxy");
    std::fs::create_dir(&dir)?;
    let program = parts.servers.join("reverse_proxy");
    let built = Command::new("go")
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers"))
        .args(["build", "-trimpath", "-ldflags", "-s -w", "-o"])
        .arg(&program)
        .arg("./reverse_proxy")
        .status()?;
    ensure!(built.success(), "the Go proxy does not build");
    Process::start(
        Command::new(program)
            .arg("go-proxy")
            .arg(&world.headscale.url)
            .arg(&dir)
            .arg(world.provider.trim_end_matches("/v1"))
            .env("TS_AUTHKEY", world.headscale.tag_key("tag:ai")?)
            .env("TS_NO_LOGS_NO_SUPPORT", "true"),
        &dir.join("log"),
    )
}

async fn connection(from: &Node, way: &Way) -> anyhow::Result<Connection> {
    Connection::to(from, &way.host, way.port).await
}

async fn measure(from: &Node, way: &Way) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    let one = chat(json!({ "max_tokens": 1 }));
    let mut only = connection(from, way).await?;
    let mut times = Vec::with_capacity(SEQUENTIAL);
    for nth in 1..=SEQUENTIAL {
        if nth % KEPT == 0 {
            only = connection(from, way).await?;
        }
        let began = Instant::now();
        ensure!(only.post(CHAT, one.clone()).await?.status == 200);
        times.push(began.elapsed());
    }
    times.sort();
    figures.p50_ms = milliseconds(times[SEQUENTIAL / 2]);
    figures.p99_ms = milliseconds(times[SEQUENTIAL * 99 / 100]);

    let (cpu, began) = (processor(way)?, Instant::now());
    let callers = (0..PARALLEL).map(|_| async {
        let mut own = connection(from, way).await?;
        for _ in 1..=EACH {
            ensure!(own.post(CHAT, one.clone()).await?.status == 200);
        }
        Ok(())
    });
    futures_util::future::try_join_all(callers).await?;
    let requests = whole(PARALLEL * EACH);
    figures.per_second = requests / began.elapsed().as_secs_f64();
    figures.cpu_us = processor(way)?.saturating_sub(cpu).as_secs_f64() * 1e6 / requests;

    let (cpu, began) = (processor(way)?, Instant::now());
    let long = chat(json!({ "stream": true, "max_tokens": EVENTS, "ignore_eos": true }));
    let readers = (0..STREAMS).map(|_| async {
        let mut response = connection(from, way)
            .await?
            .open(post(CHAT, long.clone())?)
            .await?;
        let mut events = 0;
        while let Some(frame) = response.frame().await {
            let frame = frame?;
            let data = frame.data_ref().map_or(&[][..], |data| data);
            events += data.windows(2).filter(|pair| pair == b"\n\n").count();
        }
        ensure!(events >= EVENTS, "{events} events");
        Ok(events)
    });
    let events = whole(
        futures_util::future::try_join_all(readers)
            .await?
            .iter()
            .sum(),
    );
    figures.events_per_second = events / began.elapsed().as_secs_f64();
    figures.cpu_us_per_event = processor(way)?.saturating_sub(cpu).as_secs_f64() * 1e6 / events;
    Ok(figures)
}

fn whole(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn mega(bytes: u64) -> f64 {
    whole(usize::try_from(bytes / 1_000).unwrap_or(usize::MAX)) / 1_000.0
}

/// Processor time that a process has used, in both modes.
fn processor(way: &Way) -> anyhow::Result<Duration> {
    let Some(id) = way.process else {
        return Ok(Duration::ZERO);
    };
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    let after_name = stat.rsplit_once(") ").context("no name in stat")?.1;
    let fields: Vec<&str> = after_name.split(' ').collect();
    let ticks = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    // Linux counts a hundred of them a second.
    Ok(Duration::from_millis(ticks * 10))
}

/// Resident memory in bytes.
fn memory(id: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no VmRSS")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024)
}
