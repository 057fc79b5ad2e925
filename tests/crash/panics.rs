//! A panic at each boundary of the pipeline, in the middle of other requests: it affects only the request
//! in which it happens. A debug build has the places for it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::client::{Client, Reply, chat};
use crate::iris::{Iris, Place};
use crate::provider::{Asked, Plan, Provider};
use crate::{kills, records, times};

pub const TESTS: &[support::harness::Test<()>] = support::tests![
    one_request_is_hurt_and_no_other,
    a_record_that_can_not_be_written_holds_up_no_other,
    what_runs_beside_the_requests_begins_anew,
];

/// Callers at once, each with a connection of its own.
const CALLERS: usize = 4;
/// Requests of each.
const EACH: usize = 12;
/// Streams that share one connection, open all the while.
const SHARED: usize = 4;

/// Where a request passes, and whether there is room for its record by then.
const PLACES: [(&str, bool); 16] = [
    ("accept", false),
    ("gate", false),
    ("access", false),
    ("record", true),
    ("api", true),
    ("route", true),
    ("hooks", true),
    ("quota", true),
    ("upstream", true),
    ("answered", true),
    ("relay", true),
    ("meter", true),
    ("usage", true),
    // Of these the caller notices nothing.
    ("ledger", true),
    ("ledger-fold", true),
    ("ledger-work", true),
];

fn decide(asked: &Asked<'_>) -> Plan {
    Plan::Whole(Duration::from_millis(if asked.mark.starts_with("shared") {
        400
    } else {
        2
    }))
}

/// How a request ended for its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Whole,
    /// An error in the format of the request.
    Told,
    Cut,
}

fn judge(stream: bool, reply: anyhow::Result<Reply>) -> anyhow::Result<End> {
    let Ok(reply) = reply else {
        return Ok(End::Cut);
    };
    let text = reply.text();
    if reply.status == 500 {
        ensure!(reply.json()?["error"]["message"].is_string(), "{text}");
        return Ok(End::Told);
    }
    ensure!(reply.status == 200, "{} {text}", reply.status);
    if stream && !text.ends_with("data: [DONE]\n\n") {
        return Ok(End::Cut);
    }
    Ok(End::Whole)
}

type Ends = HashMap<String, End>;

async fn call(mut client: Client, caller: usize) -> anyhow::Result<Ends> {
    let mut ends = Ends::new();
    for nth in 0..EACH {
        let (mark, stream) = (format!("c{caller}-{nth}"), nth % 2 == 0);
        let reply = client.send(chat("m", &mark, stream)?).await;
        ends.insert(mark, judge(stream, reply)?);
    }
    Ok(ends)
}

/// Opens a connection of HTTP/2.
async fn shared(iris: &Iris) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(iris.address).await?;
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn on_shared(
    mut sender: SendRequest<Full<Bytes>>,
    address: std::net::SocketAddr,
    mark: String,
) -> anyhow::Result<(String, End)> {
    let mut request = chat("m", &mark, true)?;
    *request.uri_mut() = format!("http://{address}{}", request.uri().path()).parse()?;
    let whole = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        anyhow::Ok(Reply {
            status: head.status.as_u16(),
            headers: head.headers,
            body: body.collect().await?.to_bytes().to_vec(),
        })
    };
    let reply = whole.await;
    Ok((mark, judge(true, reply)?))
}

/// Everybody asks at once.
async fn load(iris: &Iris) -> anyhow::Result<Ends> {
    let mut ends = Ends::new();
    let sender = shared(iris).await.ok();
    let mut streams = Vec::new();
    for nth in 0..SHARED {
        if let Some(sender) = sender.clone() {
            let mark = format!("shared{nth}");
            streams.push(tokio::spawn(on_shared(sender, iris.address, mark)));
        }
    }
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| tokio::spawn(call(iris.client(), caller)))
        .collect();
    for caller in callers {
        ends.extend(caller.await??);
    }
    for stream in streams {
        let (mark, end) = stream.await??;
        ends.insert(mark, end);
    }
    Ok(ends)
}

async fn one_request_is_hurt_and_no_other() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let provider = Provider::start(&dir.path().join("account"), decide).await?;
    let mut panics = 0;
    for nth in [1, 7, 23].into_iter().take(times("IRIS_CRASH_PANICS", 1)) {
        // The first pass is the test's own look at whether it serves, where that passes too.
        for (place, recorded) in PLACES {
            at(&provider, place, nth + 4, recorded)
                .await
                .with_context(|| format!("a panic at {place}, pass {}", nth + 4))?;
            panics += 1;
        }
    }
    println!(
        "  {panics} panics at {} places, {} requests beside each: one is hurt at most, each has \
         its record, nothing stays held",
        PLACES.len(),
        CALLERS * EACH + SHARED
    );
    Ok(())
}

async fn at(provider: &Provider, place: &str, nth: usize, recorded: bool) -> anyhow::Result<()> {
    let mut gateway = Place::new(&kills::config(provider))?;
    // Where requests pass in pairs, or many at once, there are not enough of them for the nth.
    let nth = match place {
        "accept" => 3,
        "ledger" => 4,
        "ledger-fold" => 1,
        _ => nth,
    };
    gateway.environment = vec![("IRIS_PANIC".to_owned(), format!("{place}:{nth}"))];
    let mut iris = gateway.start().await?;
    let ends = if place == "ledger-work" {
        worked(&iris).await?
    } else {
        load(&iris).await?
    };
    if place == "ledger-fold" {
        // What is asked for is folded at once.
        iris.client().api("/api/requests").await?;
    }
    ensure!(iris.is_alive(), "the program has ended:\n{}", gateway.log());
    ensure!(
        gateway.log().contains(&format!("planned at {place}")),
        "it has not panicked:\n{}",
        gateway.log()
    );
    let hurt: Vec<_> = ends.iter().filter(|(_, end)| **end != End::Whole).collect();
    // What is lost on the way to the connection of several hurts all of them.
    let most = if place == "accept" { SHARED.max(1) } else { 1 };
    ensure!(hurt.len() <= most, "{hurt:?} are hurt:\n{}", gateway.log());
    // The next one is answered, and nothing is held for the one that was hurt.
    let mut client = iris.client();
    let reply = client.send(chat("m", "after", true)?).await?;
    ensure!(reply.status == 200, "{}", reply.text());
    idle(&mut client).await?;
    iris.terminate()?;
    ensure!(iris.ended().await?.success(), "{}", gateway.log());
    let database = records::open(&gateway.database())?;
    records::check(&database)?;
    let entries = records::entries(&database, "")?;
    records::each_once(&entries, [])?;
    for (mark, end) in &ends {
        let entry = entries.iter().find(|entry| entry.mark == *mark);
        match entry {
            Some(entry) if *end == End::Whole => ensure!(
                // The answer had gone when its end panicked.
                entry.outcome == "complete" || (place == "usage" && entry.outcome == "failed"),
                "{entry:?}"
            ),
            // Of one that was hurt before its body was read the record knows no mark.
            _ if *end != End::Whole => {}
            Some(_) | None => bail!("{mark} was answered and has no record"),
        }
    }
    let failed = entries.iter().filter(|entry| entry.outcome == "failed");
    let expected = usize::from(recorded && !place.starts_with("ledger"));
    let failed = failed.count();
    ensure!(
        failed == expected,
        "{failed} records of a failure, {expected} expected: {hurt:?}"
    );
    Ok(())
}

/// Changes balances until one change is refused, and then once more.
async fn worked(iris: &Iris) -> anyhow::Result<Ends> {
    let (mut client, seen) = (iris.client(), kills::Seen::default());
    for _ in 0..20 {
        kills::refill(&mut client, &seen).await?;
    }
    let done = seen.refills.load(std::sync::atomic::Ordering::Relaxed);
    ensure!(done >= 19, "{done} of 20 were confirmed");
    Ok(Ends::new())
}

/// Waits until nothing is held of any budget.
async fn idle(client: &mut Client) -> anyhow::Result<()> {
    let since = Instant::now();
    loop {
        let quotas = client.api("/api/quotas").await?;
        let held = |bucket: &&Value| bucket["held"] != 0;
        let Some(bucket) = quotas["quotas"].as_array().into_iter().flatten().find(held) else {
            return Ok(());
        };
        ensure!(
            since.elapsed() < Duration::from_secs(10),
            "held for nobody: {bucket}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A record at which the writer panics again and again is given up, and the log has it.
async fn a_record_that_can_not_be_written_holds_up_no_other() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let provider = Provider::start(&dir.path().join("account"), decide).await?;
    let mut place = Place::new(&kills::config(&provider))?;
    // The group, the group again, and then the first of its records alone.
    let thrice = ["ledger:2"; 3].join(",");
    place.environment = vec![("IRIS_PANIC".to_owned(), thrice)];
    let mut iris = place.start().await?;
    let ends = load(&iris).await?;
    let hurt = ends.values().filter(|end| **end != End::Whole).count();
    ensure!(hurt == 0, "{hurt} are hurt:\n{}", place.log());
    let mut client = iris.client();
    client.api("/api/quotas").await?;
    iris.terminate()?;
    ensure!(iris.ended().await?.success(), "{}", place.log());
    let log = std::fs::read_to_string(place.file("log"))?;
    let given_up = log.matches("the writer panics at a record").count();
    let database = records::open(&place.database())?;
    records::check(&database)?;
    let entries = records::entries(&database, "")?;
    records::each_once(&entries, [])?;
    ensure!(
        given_up == 1 && entries.len() + 1 == ends.len(),
        "{given_up} given up, {} of {} records\n{log}",
        entries.len(),
        ends.len()
    );
    Ok(())
}

/// Each panics twice, so it was restarted in between; then its work is done.
async fn what_runs_beside_the_requests_begins_anew() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let provider = Provider::start(&dir.path().join("account"), decide).await?;
    let mut config = kills::config(&provider);
    config["hooks"] = json!({ "log": { "url": provider.url("log") } });
    config["exporters"] =
        json!({ "otlp": { "endpoint": provider.url("otlp"), "traces": true, "every": "1s" } });
    config["grants"][0]["app"]["tailscale.com/cap/aperture"][1]["send_hooks"] =
        json!([{ "name": "log", "events": ["entire_request"], "send": ["estimated_cost"] }]);
    let mut place = Place::new(&config)?;
    let loops = ["warnings", "deliver", "export", "reload", "purge"];
    let twice = loops.map(|name| format!("{name}:1,{name}:1"));
    place.environment = vec![("IRIS_PANIC".to_owned(), twice.join(","))];
    let mut iris = place.start().await?;
    let mut client = iris.client();
    client.send(chat("m", "one", false)?).await?;
    let since = Instant::now();
    // Purges come with each configuration, and its reading is one of the loops.
    for _ in 0..3 {
        iris.hang_up()?;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let log = std::fs::read_to_string(place.file("log"))?;
        let missing = loops.iter().find(|name| {
            log.matches(&format!("\"panic\":\"planned at {name}\""))
                .count()
                < 2
        });
        let told = provider.account()?;
        let told = |name: &str| told.iter().any(|served| served.provider == name);
        if missing.is_none() && told("log") && told("otlp") {
            break;
        }
        ensure!(
            since.elapsed() < Duration::from_secs(30),
            "{missing:?} has not begun anew, the hook was told: {}, the collector: {}\n{log}",
            told("log"),
            told("otlp")
        );
    }
    // The configuration is still read.
    config["providers"]["p"]["models"] = json!(["m", "n"]);
    place.configure(&config)?;
    let since = Instant::now();
    while client.send(chat("n", "two", false)?).await?.status != 200 {
        ensure!(since.elapsed() < Duration::from_secs(10), "{}", place.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    ensure!(iris.is_alive());
    println!("  {} loops panicked twice each, and went on", loops.len());
    Ok(())
}
