//! What the gateway costs over a tailnet, beside a Go reverse proxy on tsnet, `tailscale serve`, and
//! nothing in between, in one run against one provider. Times on a shared machine are noise: compare the
//! ratios, and the processor time of each request.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use http_body_util::BodyExt;
use iris::net::tailnet::Node;
use serde_json::json;

use crate::headscale::Headscale;
use crate::http::{Connection, post};
use crate::parts::{Parts, until};
use crate::scenarios::{CHAT, chat};
use crate::world::{self, World, offer};
use support::process::{Process, free_address};
use support::quick_provider as provider;

const ROUNDS: usize = 3;
const SEQUENTIAL: usize = 400;
const PARALLEL: usize = 16;
const EACH: usize = 150;
const STREAMS: usize = 8;
const ROUNDS_OF_STREAMS: usize = 10;
/// Streams held open, each with an event a second.
const HELD: usize = 500;

/// One way to the provider, which is on this machine (*near*) or behind a node (*far*).
pub struct Way {
    pub name: &'static str,
    pub host: String,
    pub port: u16,
    /// The process in between.
    pub process: Option<u32>,
    /// Before the name of each model.
    pub prefix: &'static str,
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
    fn all(self) -> [f64; 6] {
        [
            self.p50_ms,
            self.p99_ms,
            self.per_second,
            self.cpu_us,
            self.events_per_second,
            self.cpu_us_per_event,
        ]
    }
}

pub async fn run(parts: &Parts, world: &World) -> anyhow::Result<()> {
    let idle = memory(world.gateway.process.id())?;
    let binary = std::fs::metadata(env!("CARGO_BIN_EXE_iris"))?.len();
    println!(
        "binary {:.1} MB; idle {:.0} MB resident",
        mega(binary),
        mega(idle)
    );
    let port = free_address().port();
    std::thread::spawn(move || provider::run(port));
    let gpu = world::node(
        &world.headscale.url,
        world.dir.path(),
        "fast-gpu",
        world.headscale.tag_key("tag:gpu")?,
    )
    .await?;
    let far = offer(&gpu, port).await?;
    let far = far.trim_end_matches("/v1");
    let near = format!("http://127.0.0.1:{port}");
    provided(world, far, &near)?;
    let go_far = reverse_proxy(parts, &world.headscale, world.dir.path(), "go-far", far)?;
    let go_near = reverse_proxy(parts, &world.headscale, world.dir.path(), "go-near", &near)?;
    let serve = Serve::start(parts, world, port).await?;
    let iris = Some(world.gateway.process.id());
    let way = |name, host: &str, process, prefix| Way {
        name,
        host: host.to_owned(),
        port: 80,
        process,
        prefix,
    };
    let address = far.trim_start_matches("http://").trim_end_matches(":8080");
    let mut ways = [
        way("direct, far", address, None, ""),
        way("Go proxy, far", "go-far", Some(go_far.id()), ""),
        way("iris, far", "ai", iris, "far/"),
        way("Go proxy, near", "go-near", Some(go_near.id()), ""),
        way(
            "tailscale serve, near",
            "serve",
            Some(serve.daemon.id()),
            "",
        ),
        way("iris, near", "ai", iris, "near/"),
    ];
    ways[0].port = 8080;
    for way in &ways {
        until(way.name, 90, || async {
            let reply = connection(&world.alice, way)
                .await?
                .post(CHAT, asked(way, "small", false))
                .await?;
            ensure!(reply.status == 200, "{reply:?}");
            Ok(())
        })
        .await
        .with_context(|| format!("{}{}", go_far.log(), serve.daemon.log()))?;
    }
    let held = open_streams(&world.alice, &ways).await?;
    let mut all = vec![Vec::new(); ways.len()];
    for round in 0..ROUNDS {
        for nth in 0..ways.len() {
            // Each begins a round in its turn.
            let nth = (nth + round) % ways.len();
            let way = &ways[nth];
            let mut figures = Figures::default();
            if let Err(error) = measure(&world.alice, way, &mut figures).await {
                // What it did before that counts.
                println!("{}: {error:#}", way.name);
            }
            all[nth].push(figures);
        }
    }
    print(&ways, &all, &held);
    Ok(())
}

/// What each of many open streams takes of the processes in between.
pub async fn open_streams(from: &Node, ways: &[Way]) -> anyhow::Result<Vec<Option<f64>>> {
    let mut held = Vec::new();
    for (nth, way) in ways.iter().enumerate() {
        // Memory once used would be used again: the first way of a process alone tells.
        let is_first = ways[..nth].iter().all(|other| other.process != way.process);
        held.push(match way.process.filter(|_| is_first) {
            Some(id) => Some(hold(from, way, id).await.with_context(|| way.name)?),
            None => None,
        });
    }
    Ok(held)
}

/// The median of each figure, and the ratios to Iris on the same way.
fn print(ways: &[Way], all: &[Vec<Figures>], held: &[Option<f64>]) {
    println!(
        "| | p50 ms | p99 ms | requests/s | CPU µs a request | events/s | CPU µs an event | KiB an open stream |\n|---|---|---|---|---|---|---|---|"
    );
    let median = |nth: usize, figure: usize| {
        let mut values: Vec<f64> = all[nth].iter().map(|one| one.all()[figure]).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    for (nth, way) in ways.iter().enumerate() {
        let ours = if way.name.ends_with("far") { 2 } else { 5 };
        print!("| {}", way.name);
        for figure in 0..6 {
            let (value, of) = (median(nth, figure), median(ours, figure));
            let digits = if figure < 2 { 2 } else { 0 };
            if value == 0.0 {
                print!(" | –");
            } else if nth == ours {
                print!(" | {value:.digits$}");
            } else {
                print!(" | {value:.digits$} ×{:.2}", value / of);
            }
        }
        match held[nth] {
            Some(kib) => println!(" | {kib:.1} |"),
            None => println!(" | – |"),
        }
    }
}

/// Gives the gateway both ways to the provider, and alice all models.
fn provided(world: &World, far: &str, near: &str) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(&world.gateway.config)?;
    let models = r#""models": ["small", "slow"]"#;
    let text = text.replacen(
        "\"providers\": {",
        &format!(
            "\"providers\": {{\n\"far\": {{ \"baseurl\": \"{far}\", {models} }},\n\"near\": {{ \"baseurl\": \"{near}\", {models} }},"
        ),
        1,
    );
    let new = world.gateway.config.with_extension("new");
    std::fs::write(&new, text)?;
    std::fs::rename(new, &world.gateway.config)?;
    let objects = json!([{ "role": "user" }, { "models": "**" }]);
    world.headscale.give(&objects)
}

pub fn reverse_proxy(
    parts: &Parts,
    headscale: &Headscale,
    dir: &Path,
    name: &str,
    target: &str,
) -> anyhow::Result<Process> {
    let dir = dir.join(name);
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
            .arg(name)
            .arg(&headscale.url)
            .arg(&dir)
            .arg(target)
            .env("TS_AUTHKEY", headscale.tag_key("tag:ai")?)
            .env("TS_NO_LOGS_NO_SUPPORT", "true"),
        &dir.join("log"),
    )
}

/// Tailscale's own reverse proxy: a daemon without a tunnel, which serves a loopback port.
struct Serve {
    daemon: Process,
}

impl Serve {
    async fn start(parts: &Parts, world: &World, port: u16) -> anyhow::Result<Self> {
        let dir = world.dir.path().join("serve");
        std::fs::create_dir(&dir)?;
        let socket = dir.join("socket");
        let daemon = Process::start(
            Command::new(parts.servers.join("tailscaled"))
                .args([
                    "--tun",
                    "userspace-networking",
                    "--port",
                    "0",
                    "--no-logs-no-support",
                ])
                .arg("--statedir")
                .arg(&dir)
                .arg("--socket")
                .arg(&socket),
            &dir.join("log"),
        )?;
        let command = |arguments: &[&str]| {
            let output = Command::new(parts.servers.join("tailscale"))
                .arg("--socket")
                .arg(&socket)
                .args(arguments)
                .output()?;
            ensure!(
                output.status.success(),
                "tailscale {arguments:?}: {}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
            Ok(())
        };
        let key = world.headscale.tag_key("tag:ai")?;
        let control = format!("--login-server={}", world.headscale.url);
        let key = format!("--auth-key={key}");
        until("tailscale up", 60, || async {
            command(&["up", &control, &key, "--hostname=serve"])
        })
        .await?;
        command(&["serve", "--bg", "--http=80", &port.to_string()])?;
        Ok(Self { daemon })
    }
}

pub async fn connection(from: &Node, way: &Way) -> anyhow::Result<Connection> {
    Connection::to(from, &way.host, way.port).await
}

pub fn asked(way: &Way, model: &str, stream: bool) -> String {
    chat(json!({ "model": format!("{}{model}", way.prefix), "stream": stream }))
}

/// KiB that each of many open streams takes of the process in between.
async fn hold(from: &Node, way: &Way, id: u32) -> anyhow::Result<f64> {
    let before = memory(id)?;
    let opened = (0..HELD).map(|_| async {
        let mut own = connection(from, way).await?;
        let response = own.open(post(CHAT, asked(way, "slow", true))?).await?;
        ensure!(response.status() == 200);
        Ok((own, response))
    });
    let open: Vec<_> = stream::iter(opened)
        .buffer_unordered(PARALLEL)
        .try_collect()
        .await?;
    let readers: Vec<_> = open
        .into_iter()
        .map(|(own, mut response)| {
            tokio::spawn(async move {
                while response.frame().await.is_some() {}
                drop(own);
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let each = whole(usize::try_from(memory(id)?.saturating_sub(before))?) / 1024.0 / whole(HELD);
    for reader in readers {
        reader.abort();
    }
    // The next way begins when these are gone.
    tokio::time::sleep(Duration::from_secs(3)).await;
    Ok(each)
}

async fn measure(from: &Node, way: &Way, figures: &mut Figures) -> anyhow::Result<()> {
    let one = asked(way, "small", false);
    let mut only = connection(from, way).await?;
    let mut times = Vec::with_capacity(SEQUENTIAL);
    for _ in 0..SEQUENTIAL {
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
        for _ in 0..EACH {
            ensure!(own.post(CHAT, one.clone()).await?.status == 200);
        }
        Ok(())
    });
    futures_util::future::try_join_all(callers).await?;
    let requests = whole(PARALLEL * EACH);
    figures.per_second = requests / began.elapsed().as_secs_f64();
    figures.cpu_us = processor(way)?.saturating_sub(cpu).as_secs_f64() * 1e6 / requests;

    let (cpu, began) = (processor(way)?, Instant::now());
    let long = asked(way, "small", true);
    let readers = (0..STREAMS).map(|_| async {
        let mut own = connection(from, way).await?;
        let mut events = 0;
        for _ in 0..ROUNDS_OF_STREAMS {
            let mut response = own.open(post(CHAT, long.clone())?).await?;
            while let Some(frame) = response.frame().await {
                let frame = frame?;
                let data = frame.data_ref().map_or(&[][..], |data| data);
                events += data.windows(2).filter(|pair| pair == b"\n\n").count();
            }
        }
        let least = provider::EVENTS * ROUNDS_OF_STREAMS;
        ensure!(events >= least, "{events} events");
        anyhow::Ok(events)
    });
    let events = whole(
        futures_util::future::try_join_all(readers)
            .await?
            .iter()
            .sum(),
    );
    figures.events_per_second = events / began.elapsed().as_secs_f64();
    figures.cpu_us_per_event = processor(way)?.saturating_sub(cpu).as_secs_f64() * 1e6 / events;
    Ok(())
}

pub fn whole(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn mega(bytes: u64) -> f64 {
    whole(usize::try_from(bytes / 1_000).unwrap_or(usize::MAX)) / 1_000.0
}

/// Processor time that a process has used, in both modes.
pub fn processor(way: &Way) -> anyhow::Result<Duration> {
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
pub fn memory(id: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no VmRSS")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024)
}
