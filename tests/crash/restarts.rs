//! Restarts under load, as for an update: the service manager holds the socket, one process ends, and the
//! next one begins. No request is refused, no response is cut, and each has its record.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::json;

use crate::client::{Client, chat};
use crate::iris::{HANDING_OVER, Place};
use crate::provider::{Asked, Plan, Provider};
use crate::{kills, records, times};
use support::random::random;

pub const TESTS: &[support::harness::Test<()>] = support::tests![
    no_connection_is_refused,
    a_socket_that_is_no_loopback_door_is_not_served,
];

/// Callers at once.
const CALLERS: usize = 8;

/// A sixth of the answers take so long that the end of a process finds them running.
fn decide(asked: &Asked<'_>) -> Plan {
    let seed = asked
        .mark
        .bytes()
        .fold(5, |seed, byte| random(seed ^ u64::from(byte)));
    Plan::Whole(Duration::from_millis(if seed.is_multiple_of(6) {
        700
    } else {
        seed % 8
    }))
}

/// What callers have seen.
#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    next: AtomicU64,
    failures: Mutex<Vec<String>>,
    /// The longest wait for an answer, in milliseconds.
    longest: AtomicU64,
}

impl Seen {
    /// Sends each request on a new connection, until it is stopped.
    async fn call(&self, place: &Place) {
        while !self.stop.load(Ordering::Relaxed) {
            let nth = self.next.fetch_add(1, Ordering::Relaxed);
            let began = Instant::now();
            if let Err(error) = answered(place, nth).await {
                let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
                failures.push(format!("r{nth} after {:?}: {error:#}", began.elapsed()));
            }
            let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.longest.fetch_max(took, Ordering::Relaxed);
        }
    }
}

/// One request, whose answer must come whole.
async fn answered(place: &Place, nth: u64) -> anyhow::Result<()> {
    let stream = nth.is_multiple_of(2);
    let request = chat("m", &format!("r{nth}"), stream)?;
    let reply = Client::new(place.address).send(request).await?;
    ensure!(reply.status == 200, "{} {}", reply.status, reply.text());
    if stream {
        let text = reply.text();
        ensure!(text.ends_with("data: [DONE]\n\n"), "cut: {text}");
    } else {
        reply.json()?;
    }
    Ok(())
}

async fn no_connection_is_refused() -> anyhow::Result<()> {
    let rounds = times("IRIS_CRASH_RESTARTS", 5);
    let dir = tempfile::tempdir()?;
    let provider = Provider::start(&dir.path().join("account"), decide).await?;
    let place = Arc::new(Place::with_socket(&kills::config(&provider))?);
    let seen = Arc::new(Seen::default());
    let mut iris = place.start().await?;
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (seen, place) = (Arc::clone(&seen), Arc::clone(&place));
            tokio::spawn(async move { seen.call(&place).await })
        })
        .collect();
    let (mut ends, mut starts) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let life = 200 + random(round as u64) % 400;
        tokio::time::sleep(Duration::from_millis(life)).await;
        let began = Instant::now();
        iris.terminate()?;
        let status = iris.ended().await?;
        ensure!(status.success(), "{status}: {}", place.log());
        ends.push(began.elapsed());
        iris = place.start().await?;
        starts.push(iris.took);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    seen.stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await?;
    }
    iris.terminate()?;
    ensure!(iris.ended().await?.success(), "{}", place.log());
    let asked = seen.next.load(Ordering::Relaxed);
    let failures = seen.failures.lock().unwrap_or_else(PoisonError::into_inner);
    ensure!(
        failures.is_empty(),
        "{} of {asked} requests failed: {failures:#?}\n{}",
        failures.len(),
        place.log()
    );
    let database = records::open(&place.database())?;
    records::check(&database)?;
    let entries = records::entries(&database, "")?;
    records::each_once(&entries, [])?;
    ensure!(
        entries.len() as u64 == asked && entries.iter().all(|entry| entry.outcome == "complete"),
        "{asked} requests, {} records",
        entries.len()
    );
    ends.sort();
    starts.sort();
    println!(
        "  {rounds} restarts: {asked} requests on as many connections, 0 refused, 0 failed, each \
         with one record; ended after {:.0?} and serving after {:.0?} (medians), the longest \
         answer took {} ms",
        ends[rounds / 2],
        starts[rounds / 2],
        seen.longest.load(Ordering::Relaxed)
    );
    Ok(())
}

/// Starts the program with what it is handed, and gives what it says when it ends.
fn handed(place: &Place, how: &str, what: OwnedFd) -> anyhow::Result<String> {
    let output = Command::new("sh")
        .args(["-c", how, env!("CARGO_BIN_EXE_iris"), "serve", "--config"])
        .arg(place.config())
        .arg("--state-dir")
        .arg(&place.state)
        .stdin(Stdio::from(what))
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(1), "{}: {said}", output.status);
    Ok(said)
}

async fn a_socket_that_is_no_loopback_door_is_not_served() -> anyhow::Result<()> {
    let place = Place::new(&json!({}))?;
    let local = || TcpListener::bind("127.0.0.1:0");
    let here = local()?;
    let connected = TcpStream::connect(here.local_addr()?)?;
    let two = HANDING_OVER
        .replace("exec 3<&0", "exec 3<&0 4<&0")
        .replace("LISTEN_FDS=1", "LISTEN_FDS=2 LISTEN_FDNAMES=one:two");
    let one = HANDING_OVER.to_owned();
    let cases: [(&str, OwnedFd, &str); 6] = [
        (
            &one,
            TcpListener::bind("0.0.0.0:0")?.into(),
            "which is no loopback address",
        ),
        (&one, local()?.into(), "listen.loopback is 127.0.0.1:"),
        (
            &one,
            UdpSocket::bind("127.0.0.1:0")?.into(),
            "no TCP socket that listens",
        ),
        (&one, connected.into(), "no TCP socket that listens"),
        (
            &one,
            std::fs::File::open("/dev/null")?.into(),
            "no TCP socket that listens",
        ),
        (
            &two,
            local()?.into(),
            "more than one socket was handed over (one, two)",
        ),
    ];
    for (how, what, why) in cases {
        let said = handed(&place, how, what)?;
        ensure!(
            said.contains(why) && said.contains("iris.socket"),
            "{why:?} is not told: {said}"
        );
    }
    // What is another process's is left alone.
    let mut others = Place::new(&json!({}))?;
    others.wrapper = ["sh", "-c"].map(str::to_owned).to_vec();
    let another = HANDING_OVER.replace("LISTEN_PID=$$", "LISTEN_PID=1");
    others.wrapper.push(another);
    let mut iris = others.start().await?;
    ensure!(iris.is_alive());
    Ok(())
}
