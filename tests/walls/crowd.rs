//! A crowd of unknown callers, beside one who is known.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;

use crate::daemon::{ADA, BOB, Daemon, GATEWAY, UNUSABLE};
use crate::world::{Gateway, PORT};
use support::provider::{COMPLETION, answer, provider};

pub const TESTS: &[support::harness::Test<()>] =
    support::tests![unknown_callers_cost_known_ones_nothing,];

/// Prefixes of callers who are no devices: a network behind a router of subnets, the internet, what
/// follows the tailnet's range, and the part of it that is `ChromeOS`'s own.
pub const ELSEWHERE: [&str; 4] = [
    "10.9.0.0/24",
    "192.0.2.0/24",
    "100.128.0.0/24",
    "100.115.92.0/24",
];

/// Addresses of each prefix that knock.
const EACH: u8 = 12;
/// Addresses that could be a device's; each takes a while to look for.
const UNKNOWN: u8 = 6;
/// Connections in all, and those that begin every four milliseconds.
const KNOCKS: usize = 6_000;
const AT_ONCE: usize = 5;
/// Connections that may wait for an answer, so that what is measured is not this machine.
const WAITING: usize = 96;

/// Who knocks: no device's, those of devices that the tailnet does not know, and those that it knows
/// and that may not call.
struct Crowd {
    elsewhere: Vec<Ipv4Addr>,
    unknown: Vec<Ipv4Addr>,
    unusable: Vec<Ipv4Addr>,
}

impl Crowd {
    fn new() -> Self {
        let address = |text: &str| text.parse::<Ipv4Addr>().unwrap();
        let mut elsewhere = vec![address(GATEWAY)];
        for prefix in ELSEWHERE.iter().chain(&["127.0.0.0/8"]) {
            let [a, b, c, _] = address(prefix.split('/').next().unwrap()).octets();
            elsewhere.extend((1..=EACH).map(|d| Ipv4Addr::new(a, b, c, d)));
        }
        Self {
            elsewhere,
            unknown: (1..=UNKNOWN)
                .map(|d| Ipv4Addr::new(100, 64, 1, d))
                .collect(),
            unusable: UNUSABLE.map(|(who, _)| address(who.address)).to_vec(),
        }
    }

    fn all(&self) -> Vec<Ipv4Addr> {
        [&self.elsewhere[..], &self.unknown, &self.unusable].concat()
    }
}

/// One connection with one request, and the status of its answer.
async fn knock(from: Ipv4Addr, nth: usize) -> std::io::Result<String> {
    let lines = [
        "GET /v1/models HTTP/1.1\r\n",
        "GET /ui/ HTTP/1.1\r\naccept: text/html\r\n",
        "POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 0\r\n",
    ];
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(from.into(), 0))?;
    let to = SocketAddr::new(GATEWAY.parse().unwrap(), PORT);
    let mut stream = socket.connect(to).await?;
    let line = lines[nth % lines.len()];
    let rest = format!("host: {GATEWAY}:{PORT}\r\nconnection: close\r\n\r\n");
    stream.write_all(format!("{line}{rest}").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.split(' ').nth(1).unwrap_or_default().to_owned())
}

/// All of them, more than a thousand a second. Returns how many were refused as unknown.
async fn knocks(crowd: Vec<Ipv4Addr>, daemon: Daemon) -> usize {
    let refused = Arc::new(AtomicUsize::new(0));
    let mut ticks = tokio::time::interval(Duration::from_millis(4));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let room = Arc::new(Semaphore::new(WAITING));
    let mut tasks = Vec::new();
    for nth in 0..KNOCKS {
        if nth % AT_ONCE == 0 {
            ticks.tick().await;
        }
        // In the middle of it, every caller has to be looked up again.
        if nth == KNOCKS / 2 {
            daemon.change();
        }
        let place = Arc::clone(&room).acquire_owned().await.unwrap();
        let (from, refused) = (crowd[nth % crowd.len()], Arc::clone(&refused));
        tasks.push(tokio::spawn(async move {
            if knock(from, nth).await.is_ok_and(|status| status == "403") {
                refused.fetch_add(1, Ordering::Relaxed);
            }
            drop(place);
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    refused.load(Ordering::Relaxed)
}

/// Asks until the crowd has gone, each time on a new connection; how long each answer took.
async fn asks(gone: Arc<AtomicBool>) -> Vec<Duration> {
    let mut took = Vec::new();
    while !gone.load(Ordering::Relaxed) {
        let begun = Instant::now();
        let body = r#"{"model":"m","messages":[]}"#;
        let answer = ADA.ask("POST", "/v1/chat/completions", body, &[]).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        took.push(begun.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    took.sort();
    took
}

async fn unknown_callers_cost_known_ones_nothing() {
    let (upstream, received) = provider(|mut stream| {
        async move { answer(&mut stream, "200 OK", "", COMPLETION).await }.boxed()
    })
    .await;
    drop(received);
    let grant = |src: &str| {
        let objects = json!([{ "role": "user" }, { "models": "**" }]);
        json!({ "src": [src], "app": { "tailscale.com/cap/aperture": objects } })
    };
    let config = json!({
        "providers": { "p": { "baseurl": format!("http://{upstream}"), "models": ["m"] } },
        // Every known device may call.
        "grants": [grant("*")],
    });
    let mut gateway = Gateway::start(config, &[("IRIS_LOG", "warn")]).await;
    let (crowd, daemon) = (Crowd::new(), gateway.daemon.clone());
    assert_eq!(ADA.get("/api/whoami").await.status, 200);
    let gone = Arc::new(AtomicBool::new(false));
    let known = tokio::spawn(asks(Arc::clone(&gone)));
    let begun = Instant::now();
    let knocking = tokio::spawn(knocks(crowd.all(), daemon.clone()));
    // WhoIs for a caller who comes meanwhile waits behind them.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let new = Instant::now();
    assert_eq!(BOB.get("/api/whoami").await.status, 200);
    let new = new.elapsed();
    let refused = knocking.await.unwrap();
    let rate = KNOCKS as u128 * 1_000 / begun.elapsed().as_millis();
    gone.store(true, Ordering::Relaxed);
    let took = known.await.unwrap();
    assert_eq!(
        refused, KNOCKS,
        "not all of them are told that they are nobody"
    );
    let asked = daemon.asked();
    let times = |address: &Ipv4Addr| asked.get(&address.to_string()).copied().unwrap_or(0);
    for address in &crowd.elsewhere {
        assert_eq!(times(address), 0, "{address} can be no device's");
    }
    for address in crowd.unknown.iter().chain(&crowd.unusable) {
        let times = times(address);
        assert!(
            (1..=2).contains(&times),
            "{address}, {times} times in 2 epochs"
        );
    }
    assert!(asked[ADA.address] <= 2, "{asked:?}");
    gateway.stop().await;
    println!(
        "  {KNOCKS} connections of {} addresses, {rate} a second: {} requests of a known caller, median \
         {:.1?}, p99 {:.1?}; one who came meanwhile {new:.1?}; {} questions in 2 epochs",
        crowd.all().len(),
        took.len(),
        took[took.len() / 2],
        took[took.len() * 99 / 100],
        asked.values().sum::<usize>(),
    );
}
