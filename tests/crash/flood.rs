//! More than there is room for: descriptors, slow callers, slow readers, and five times the load that can
//! be served. Callers that are being served don't notice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;

use crate::client::{CHAT, chat};
use crate::iris::{Iris, Place};
use crate::provider::{self, Asked, Plan, Provider};

pub const TESTS: &[support::harness::Test<()>] = support::tests![
    descriptors_run_out,
    slow_callers_are_closed,
    slow_readers_are_bounded,
    slow_readers_leave_room_on_a_shared_connection,
    overload_is_refused_quickly,
];

/// Marks say what a request is for.
fn decide(asked: &Asked<'_>) -> Plan {
    match asked.mark.split('-').next() {
        Some("ticks") => Plan::Ticks {
            every: Duration::from_millis(50),
            length: 10,
        },
        Some("slow") => Plan::Whole(ANSWER),
        Some("flood") => Plan::Ticks {
            every: Duration::ZERO,
            length: 16_000,
        },
        _ => Plan::Whole(Duration::ZERO),
    }
}

fn config(provider: &Provider, more: &Value) -> Value {
    let mut config = json!({
        "providers": { "p": { "baseurl": provider.url("p"), "models": ["m"] } },
        "grants": [{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [
            { "role": "admin" }, { "models": "**" },
        ] } }],
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        config[key] = value.clone();
    }
    config
}

struct World {
    _dir: tempfile::TempDir,
    _provider: Provider,
    place: Place,
    iris: Iris,
}

impl World {
    async fn start(more: &Value, wrapper: &[&str]) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let provider = Provider::start(&dir.path().join("account"), decide).await?;
        Self::before(dir, provider, more, wrapper).await
    }

    /// A gateway in front of a provider.
    async fn before(
        dir: tempfile::TempDir,
        provider: Provider,
        more: &Value,
        wrapper: &[&str],
    ) -> anyhow::Result<Self> {
        let mut place = Place::new(&config(&provider, more))?;
        let trusted = provider::certificate().display().to_string();
        place.environment = vec![("SSL_CERT_FILE".to_owned(), trusted)];
        place.wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
        let iris = place.start().await?;
        Ok(Self {
            _dir: dir,
            _provider: provider,
            place,
            iris,
        })
    }
}

/// Streams that run beside what a test does: each ends with its longest pause between two events.
struct Streams {
    tasks: Vec<JoinHandle<anyhow::Result<Duration>>>,
    stop: Arc<AtomicUsize>,
}

impl Streams {
    async fn open(iris: &Iris, count: usize) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicUsize::new(0));
        let mut tasks = Vec::new();
        for nth in 0..count {
            let mut client = iris.client();
            let mut response = client
                .begin(chat("m", &format!("ticks-{nth}"), true)?)
                .await?;
            ensure!(response.status() == 200, "{}", response.status());
            let stop = Arc::clone(&stop);
            tasks.push(tokio::spawn(async move {
                let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
                while stop.load(Ordering::Relaxed) == 0 {
                    let frame = response.body_mut().frame().await;
                    frame
                        .context("the stream has ended")?
                        .context("the stream is cut")?;
                    longest = longest.max(last.elapsed());
                    last = Instant::now();
                }
                client.leave();
                Ok(longest)
            }));
        }
        Ok(Self { tasks, stop })
    }

    /// The longest pause of all; none may have been cut.
    async fn end(self) -> anyhow::Result<Duration> {
        self.stop.store(1, Ordering::Relaxed);
        let mut longest = Duration::ZERO;
        for task in self.tasks {
            longest = longest.max(task.await??);
        }
        Ok(longest)
    }
}

/// One request on a connection of its own, and how long it took to its end.
async fn ask(iris: &Iris, mark: &str) -> anyhow::Result<(u16, Duration)> {
    let started = Instant::now();
    let reply = iris.client().send(chat("m", mark, false)?).await?;
    Ok((reply.status, started.elapsed()))
}

/// Few descriptors, and more callers than they suffice for.
async fn descriptors_run_out() -> anyhow::Result<()> {
    let world = World::start(&json!({}), &["prlimit", "--nofile=192:192"]).await?;
    let streams = Streams::open(&world.iris, 20).await?;
    // As many as the kernel's queue lets in, and some beyond that.
    let idle: Vec<_> = (0..400)
        .map(|_| tokio::spawn(TcpStream::connect(world.iris.address)))
        .collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let open = world.iris.descriptors()?;
    // Those that come now wait, or are told to come later; nobody is dropped without a word.
    let waiting: Vec<_> = (0..40)
        .map(|nth| {
            let mut client = world.iris.client();
            tokio::spawn(async move {
                let reply = client
                    .send(chat("m", &format!("new-{nth}"), false)?)
                    .await?;
                anyhow::Ok(reply.status)
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let early = waiting.iter().filter(|task| task.is_finished()).count();
    for task in idle {
        // The connection goes with the task, opened or not.
        task.abort();
        drop(task.await);
    }
    let released = Instant::now();
    let mut answers = Vec::new();
    for task in waiting {
        answers.push(task.await??);
    }
    let (status, _) = ask(&world.iris, "after").await?;
    let normal = released.elapsed();
    let pause = streams.end().await?;
    let fine = |status: &u16| *status == 200 || *status == 503;
    ensure!(
        status == 200 && answers.iter().all(fine),
        "{status}, {answers:?}: {}",
        world.place.log()
    );
    ensure!(normal < Duration::from_secs(5), "normal after {normal:?}");
    ensure!(
        pause < Duration::from_secs(2),
        "a stream stood still for {pause:?}"
    );
    println!(
        "  192 descriptors, 20 streams, 440 callers: {open} in use; 0 streams cut, longest pause \
         {pause:.0?}; {early} of 40 answered at once, all others waited; normal {normal:.0?} after"
    );
    Ok(())
}

/// How long requests take that come one after the other until `done`: the 99th of a hundred.
async fn others(iris: &Iris, done: impl Future<Output = ()>) -> anyhow::Result<Duration> {
    let mut took = Vec::new();
    let mut done = std::pin::pin!(done);
    loop {
        tokio::select! {
            () = &mut done => break,
            asked = ask(iris, "other") => {
                let (status, elapsed) = asked?;
                ensure!(status == 200, "{status} for somebody who does nothing wrong");
                took.push(elapsed);
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    took.sort();
    took.get(took.len() * 99 / 100).copied().context("requests")
}

const SLOW: usize = 1_000;

/// A caller who sends a few bytes a second; how long the gateway stood it.
async fn dribbles(address: std::net::SocketAddr, start: String) -> anyhow::Result<Duration> {
    let mut stream = TcpStream::connect(address).await?;
    let started = Instant::now();
    stream.write_all(start.as_bytes()).await?;
    let mut answer = [0; 512];
    loop {
        tokio::select! {
            read = stream.read(&mut answer) => match read {
                Ok(0) | Err(_) => return Ok(started.elapsed()),
                Ok(_) => {}
            },
            () = tokio::time::sleep(Duration::from_secs(1)) => {
                if stream.write_all(b"x-a: b\r\n").await.is_err() {
                    return Ok(started.elapsed());
                }
            }
        }
    }
}

/// A thousand callers who dribble, after the beginning of a request and `head`. Each may take
/// `most_kib` of memory, in a debug build twice as much.
async fn slow_part(part: &str, head: &str, most_kib: f64) -> anyhow::Result<()> {
    let limits = json!({ "timeouts": { "head": "4s", "body": "3s" } });
    let world = World::start(&limits, &[]).await?;
    let iris = &world.iris;
    let wait = tokio::time::sleep(Duration::from_secs(2));
    let before = others(iris, wait).await?;
    let memory = iris.memory_kib()?;
    let host = iris.address;
    let start = format!("POST {CHAT} HTTP/1.1\r\nhost: {host}\r\n{head}");
    let tasks: Vec<_> = (0..SLOW)
        .map(|_| tokio::spawn(dribbles(host, start.clone())))
        .collect();
    let during = others(iris, tokio::time::sleep(Duration::from_secs(2))).await?;
    let each = iris.memory_kib()?.saturating_sub(memory) as f64 / SLOW as f64;
    let open = iris.descriptors()?;
    let mut longest = Duration::ZERO;
    for task in tasks {
        longest = longest.max(task.await??);
    }
    println!(
        "  {SLOW} callers with a slow {part} ({open} descriptors): {each:.1} KiB each; the last is \
         closed after {longest:.1?}; others' p99 {before:.0?} before, {during:.0?} meanwhile"
    );
    ensure!(
        longest < Duration::from_secs(12),
        "closed after {longest:?} only"
    );
    ensure!(
        during < Duration::from_secs(1) + 2 * before,
        "others wait {during:?}"
    );
    let bound = if cfg!(debug_assertions) {
        2.0 * most_kib
    } else {
        most_kib
    };
    ensure!(each < bound, "{each} KiB for a slow {part}");
    Ok(())
}

async fn slow_callers_are_closed() -> anyhow::Result<()> {
    let body = "content-type: application/json\r\ncontent-length: 1000000\r\n\r\n{";
    slow_part("head", "", 10.0).await?;
    slow_part("body", body, 24.0).await
}

/// Asks for an endless stream that is never read.
async fn unread(iris: &Iris, nth: usize) -> anyhow::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4_096)?;
    let mut stream = socket.connect(iris.address).await?;
    let mark = format!("flood-{nth}");
    let body = json!({ "model": "m", "stream": true, "user": mark, "messages": [] }).to_string();
    let (host, length) = (iris.address, body.len());
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(head.as_bytes()).await?;
    Ok(stream)
}

/// Forty callers who don't read, on the connection to their provider that all others share.
async fn slow_readers_leave_room_on_a_shared_connection() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let provider = Provider::start_shared(&dir.path().join("account"), decide).await?;
    let nothing = json!({ "duration": "0", "purge": ["captures", "tools"] });
    let limits = json!({ "database": { "retention": nothing } });
    let world = World::before(dir, provider, &limits, &[]).await?;
    let iris = &world.iris;
    let (status, _) = ask(iris, "first").await?;
    ensure!(status == 200, "{status}: {}", world.place.log());
    let (memory, open) = (iris.memory_kib()?, iris.descriptors()?);
    let mut readers = Vec::new();
    for nth in 0..40 {
        readers.push(unread(iris, nth).await?);
    }
    tokio::time::sleep(Duration::from_secs(4)).await;
    let during = others(iris, tokio::time::sleep(Duration::from_secs(2))).await?;
    let each = iris.memory_kib()?.saturating_sub(memory) as f64 / readers.len() as f64;
    let busy = iris.descriptors()?;
    ensure!(
        busy < open + 60,
        "{busy} descriptors: they share no connection"
    );
    println!(
        "  40 callers who don't read, on one h2 connection: {each:.0} KiB in the process each; others' \
         p99 {during:.0?}"
    );
    Ok(())
}

const READERS: usize = 300;

/// What the kernel holds for the sockets of a process, in bytes.
fn kernel_memory(pid: u32) -> anyhow::Result<u64> {
    let output = std::process::Command::new("ss").args(["-tnmpH"]).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (mut sum, mut own) = (0, false);
    for line in text.lines() {
        if line.contains("users:") {
            own = line.contains(&format!("pid={pid},"));
        }
        let Some((_, memory)) = line.split_once("skmem:(") else {
            continue;
        };
        if own {
            // Received, forwarded to it, and written.
            let fields = memory.trim_end_matches(')').split(',');
            let counted = fields.filter_map(|field| field.strip_prefix(['r', 'f', 'w']));
            sum += counted
                .filter_map(|number| number.parse::<u64>().ok())
                .sum::<u64>();
        }
    }
    Ok(sum)
}

/// Three hundred callers who ask for an endless stream and don't read it.
async fn slow_readers_are_bounded() -> anyhow::Result<()> {
    // What a capture keeps of an answer has a limit of its own.
    let nothing = json!({ "duration": "0", "purge": ["captures", "tools"] });
    let limits = json!({ "timeouts": { "idle": "15s" }, "database": { "retention": nothing } });
    let world = World::start(&limits, &[]).await?;
    let iris = &world.iris;
    let (status, _) = ask(iris, "first").await?;
    ensure!(status == 200, "{status}");
    let (memory, kernel, open) = (
        iris.memory_kib()?,
        kernel_memory(iris.pid())?,
        iris.descriptors()?,
    );
    let mut readers = Vec::new();
    for nth in 0..READERS {
        readers.push(unread(iris, nth).await?);
    }
    // Until all are served, and all buffers are full.
    let started = Instant::now();
    while iris.descriptors()? + 10 < open + 2 * READERS {
        ensure!(
            started.elapsed() < Duration::from_secs(12),
            "not all of them are served"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let during = others(iris, tokio::time::sleep(Duration::from_secs(2))).await?;
    let user = iris.memory_kib()?.saturating_sub(memory) as f64 / READERS as f64;
    let kernel = kernel_memory(iris.pid())?.saturating_sub(kernel) as f64 / 1024.0 / READERS as f64;
    // None of them is waited for forever.
    let started = Instant::now();
    while iris.descriptors()? > open + 20 {
        ensure!(
            started.elapsed() < Duration::from_secs(30),
            "they are never cut"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let cut = started.elapsed();
    drop(readers);
    println!(
        "  {READERS} callers who don't read: {user:.0} KiB in the process and {kernel:.0} KiB in the \
         kernel each; others' p99 {during:.0?}; all cut {cut:.1?} later"
    );
    ensure!(
        user + kernel <= 512.0,
        "{user} + {kernel} KiB for a slow reader"
    );
    Ok(())
}

/// Answers in so long a time, and what became of those that were refused.
#[derive(Default)]
struct Load {
    answered: AtomicUsize,
    refused: std::sync::Mutex<Vec<Duration>>,
}

async fn offer(
    iris: &Iris,
    workers: usize,
    time: Duration,
) -> anyhow::Result<(f64, Vec<Duration>)> {
    let load = Arc::new(Load::default());
    let until = Instant::now() + time;
    let tasks: Vec<_> = (0..workers)
        .map(|_| {
            let (load, mut client) = (Arc::clone(&load), iris.client());
            tokio::spawn(async move {
                while Instant::now() < until {
                    let started = Instant::now();
                    let reply = client.send(chat("m", "slow-1", false)?).await?;
                    match reply.status {
                        200 => drop(load.answered.fetch_add(1, Ordering::Relaxed)),
                        429 => {
                            let took = started.elapsed();
                            load.refused.lock().expect("no panic").push(took);
                            tokio::time::sleep(ANSWER).await;
                        }
                        status => anyhow::bail!("{status}: {}", reply.text()),
                    }
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    let answered = load.answered.load(Ordering::Relaxed) as f64 / time.as_secs_f64();
    let mut refused = load.refused.lock().expect("no panic").clone();
    refused.sort();
    Ok((answered, refused))
}

/// How long an answer takes, and how many are given at once.
const ANSWER: Duration = Duration::from_millis(300);
const AT_ONCE: usize = 12;

/// Five times as many requests as a bucket lets through.
async fn overload_is_refused_quickly() -> anyhow::Result<()> {
    let grants = json!([{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [
        { "role": "admin" }, { "models": "**", "quotas": [{ "bucket": "open" }] },
    ] } }]);
    let quotas = json!({ "open": { "capacity": format!("{AT_ONCE} parallel") } });
    let world = World::start(&json!({ "grants": grants, "quotas": quotas }), &[]).await?;
    let iris = &world.iris;
    let (peak, _) = offer(iris, AT_ONCE, Duration::from_secs(3)).await?;
    let memory = iris.memory_kib()?;
    let (goodput, refused) = offer(iris, 5 * AT_ONCE, Duration::from_secs(6)).await?;
    let grown = iris.memory_kib()?.saturating_sub(memory) / 1024;
    // A debug build has little to spare on a machine that does other things.
    let (share, quick) = if cfg!(debug_assertions) {
        (0.75, Duration::from_secs(1))
    } else {
        (0.9, Duration::from_millis(250))
    };
    let p99 = refused
        .get(refused.len() * 99 / 100)
        .copied()
        .context("nothing was refused")?;
    println!(
        "  five times the load: {goodput:.0} answers/s of {peak:.0} at best, {} refused, p99 {p99:.0?}; \
         memory grew by {grown} MiB",
        refused.len()
    );
    ensure!(
        goodput >= share * peak,
        "{goodput} answers/s under load, {peak} without"
    );
    ensure!(p99 < quick, "refused after {p99:?} only");
    ensure!(grown < 64, "memory grew by {grown} MiB");
    Ok(())
}
