//! Every token and every nanodollar: the gateway's records equal the provider's own account, request by
//! request and in sums, by person and by model. A tenth of the callers leaves in the middle of a response,
//! some providers die in theirs, and some requests are served by another provider than the first.
//!
//! Callers leave after an event with the usage so far, which is what the provider charges: what it
//! generates before it notices, only the provider can know.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::client::{Client, chat};
use crate::iris::{Iris, Place, Size};
use crate::provider::{Asked, Plan, Provider, Served, Usage};
use crate::records::{self, Entry};
use crate::tailnet::{self, GATEWAY};
use crate::times;
use support::random::random;

pub const TESTS: &[support::harness::Test<()>] = support::tests![sums_equal_the_providers,];

const PEOPLE: u16 = 25;
const AT_ONCE: u16 = 50;
const PORT: u16 = 8080;
/// What the second half of the requests may add to the memory in use.
const GROWTH_KIB: u64 = 16 * 1024;
/// Nanodollars in everybody's bucket.
const PURSE: i64 = 1_000_000 * 1_000_000_000;

/// Each model with the providers that are asked for it, in that order, and its prices for a
/// million tokens: read, written, read from a cache.
const MODELS: [(&str, [&str; 2], [&str; 3]); 3] = [
    ("small", ["p1", "p2"], ["0.075", "0.3", "0.0375"]),
    ("large", ["p1", "p2"], ["1.25", "10", "0.125"]),
    ("other", ["p2", "p3"], ["3", "15", "0.3"]),
];
/// The same prices, in tenths of a nanodollar for a token.
const TENTHS: [[u64; 3]; 3] = [
    [750, 3_000, 375],
    [12_500, 100_000, 1_250],
    [30_000, 150_000, 3_000],
];

/// What happens to the n-th request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The caller leaves after so many events.
    Left(u64),
    /// The provider dies after so many.
    Died(u64),
    /// The first provider fails, the second answers.
    Retried,
    Whole,
}

fn fate(nth: u64) -> Fate {
    let seed = random(nth);
    let events = 1 + (seed >> 32) % 5;
    match seed % 100 {
        0..10 => Fate::Left(events),
        10..15 => Fate::Died(events),
        15..20 => Fate::Retried,
        _ => Fate::Whole,
    }
}

fn model(nth: u64) -> usize {
    (random(nth) >> 20) as usize % MODELS.len()
}

fn streams(nth: u64) -> bool {
    matches!(fate(nth), Fate::Left(_) | Fate::Died(_)) || random(nth) & (1 << 40) == 0
}

fn number(mark: &str) -> Option<u64> {
    mark.strip_prefix('a')?.parse().ok()
}

fn decide(asked: &Asked<'_>) -> Plan {
    let Some(nth) = number(asked.mark) else {
        return Plan::Refuse(400);
    };
    let is_first = MODELS[model(nth)].1[0] == asked.provider;
    match fate(nth) {
        Fate::Left(events) => Plan::Stalls(events),
        Fate::Died(events) => Plan::Dies(events),
        Fate::Retried if is_first => Plan::Refuse(if nth % 2 == 0 { 503 } else { 500 }),
        _ => Plan::Whole(Duration::ZERO),
    }
}

/// What the provider charges, in nanodollars: exact, and rounded once.
fn cost(model: &str, usage: Usage) -> anyhow::Result<i64> {
    let nth = MODELS.iter().position(|(name, ..)| *name == model);
    let [read, written, cached] = TENTHS[nth.context("a model")?];
    let tenths =
        (usage.input - usage.cached) * read + usage.output * written + usage.cached * cached;
    Ok(i64::try_from((tenths + 5) / 10)?)
}

fn config(provider: &Provider, socket: Option<&std::path::Path>) -> Value {
    let priced = MODELS.map(|(name, _, [read, written, cached])| {
        (
            name.to_owned(),
            json!({ "input": read, "output": written, "input_cache_read": cached }),
        )
    });
    let mut providers = json!({});
    for (name, preference) in [("p1", 3), ("p2", 2), ("p3", 1)] {
        let models = MODELS.iter().filter(|(_, asked, _)| asked.contains(&name));
        providers[name] = json!({
            "baseurl": provider.url(name), "preference": preference,
            "models": models.map(|(model, ..)| model).collect::<Vec<_>>(),
        });
    }
    let models = json!({ "models": "**", "quotas": [{ "bucket": "purse:<user>" }] });
    let tailnet = match socket {
        Some(socket) => json!({ "mode": "host", "socket": socket }),
        None => json!({ "mode": "off" }),
    };
    json!({
        "tailnet": tailnet,
        "listen": { "http": format!(":{PORT}") },
        "providers": providers,
        "prices": priced.into_iter().collect::<serde_json::Map<_, _>>(),
        "routing": { "eject_after": 0 },
        "quotas": { "purse:<user>": { "capacity": "$1000000.00" } },
        "database": { "retention": { "duration": "0", "purge": ["captures", "tools"] } },
        "grants": [
            { "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [{ "role": "admin" }, models] } },
            { "src": ["*"], "app": { "tailscale.com/cap/aperture": [{ "role": "user" }, models] } },
        ],
    })
}

/// Asks the n-th question as its fate wants it, and says whether it went so.
async fn ask(client: &mut Client, nth: u64) -> anyhow::Result<()> {
    let request = chat(MODELS[model(nth)].0, &format!("a{nth}"), streams(nth))?;
    match fate(nth) {
        Fate::Left(events) => {
            let mut response = client.begin(request).await?;
            ensure!(response.status() == 200, "{nth}: {}", response.status());
            let mut said = String::new();
            while (said.matches("word").count() as u64) < events {
                let frame = response.body_mut().frame().await.context("the end")??;
                let data = frame.into_data().unwrap_or_default();
                said.push_str(&String::from_utf8_lossy(&data));
            }
            drop(response);
            client.leave();
        }
        Fate::Died(_) => {
            let broken = client.send(request).await;
            ensure!(broken.is_err(), "{nth} looked whole");
        }
        Fate::Retried | Fate::Whole => {
            let reply = client
                .send(request)
                .await
                .with_context(|| format!("{nth}"))?;
            ensure!(
                reply.status == 200,
                "{nth}: {} {}",
                reply.status,
                reply.text()
            );
        }
    }
    Ok(())
}

/// Asks all of them, so many a second, or for zero as fast as it goes; who asked which.
async fn load(
    next: &Arc<AtomicUsize>,
    (count, rate): (usize, usize),
    callers: Vec<(u16, Client)>,
) -> anyhow::Result<Vec<u16>> {
    let began = tokio::time::Instant::now();
    let asked: Arc<Vec<AtomicU16>> = Arc::new((0..count).map(|_| AtomicU16::new(0)).collect());
    let tasks: Vec<_> = callers
        .into_iter()
        .map(|(person, mut client)| {
            let (next, asked) = (Arc::clone(next), Arc::clone(&asked));
            tokio::spawn(async move {
                loop {
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    if nth >= count {
                        return anyhow::Ok(());
                    }
                    if rate > 0 {
                        let due = Duration::from_secs(nth as u64) / u32::try_from(rate)?;
                        tokio::time::sleep_until(began + due).await;
                    }
                    asked[nth].store(person, Ordering::Relaxed);
                    ask(&mut client, nth as u64).await?;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    let asked = asked.iter().map(|person| person.load(Ordering::Relaxed));
    Ok(asked.collect())
}

/// Looks at the gateway after a fifth of the requests, after half, and at the end.
async fn watch(pid: u32, next: Arc<AtomicUsize>, count: usize) -> anyhow::Result<[Size; 3]> {
    let mut sizes = [Size::default(); 3];
    for (size, after) in sizes.iter_mut().zip([count / 5, count / 2, count]) {
        while next.load(Ordering::Relaxed) < after {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        *size = Size::of(pid)?;
    }
    Ok(sizes)
}

/// The outer half: a namespace for the tailnet, or none.
async fn sums_equal_the_providers() -> anyhow::Result<()> {
    match tailnet::in_a_namespace("account")? {
        Some(true) => Ok(()),
        Some(false) => anyhow::bail!("in the namespace"),
        None => {
            println!("  no network namespace can be made: all callers are one");
            compare(false).await
        }
    }
}

/// The inner half.
pub async fn inside() -> anyhow::Result<()> {
    tailnet::network()?;
    compare(true).await
}

async fn compare(tailnet: bool) -> anyhow::Result<()> {
    let count = times("IRIS_SOAK_REQUESTS", 5_000);
    let dir = tempfile::tempdir()?;
    let provider = Provider::start(&dir.path().join("account"), decide).await?;
    let socket = tailnet.then(|| dir.path().join("tailscaled.sock"));
    if let Some(socket) = &socket {
        tailnet::tailscaled(socket)?;
    }
    let place = Place::new(&config(&provider, socket.as_deref()))?;
    let iris = place.start().await?;
    let callers: Vec<(u16, Client)> = (0..AT_ONCE)
        .map(|nth| {
            let person = nth % PEOPLE;
            let client = if tailnet {
                let door = SocketAddr::new(GATEWAY.into(), PORT);
                Client::from(tailnet::device(person, nth / PEOPLE), door)
            } else {
                iris.client()
            };
            (person, client)
        })
        .collect();
    if tailnet {
        opens(&place).await?;
    }
    let started = Instant::now();
    let next = Arc::new(AtomicUsize::new(0));
    let watched = tokio::spawn(watch(iris.pid(), Arc::clone(&next), count));
    let rate = times("IRIS_SOAK_RATE", 0);
    let asked = load(&next, (count, rate), callers).await;
    let asked = asked.with_context(|| place.log())?;
    let took = started.elapsed();
    let sizes = watched.await??;
    let login = |nth: usize| {
        if tailnet {
            tailnet::login(asked[nth])
        } else {
            "(loopback)".to_owned()
        }
    };
    let served = provider.account()?;
    let database = written(&place, count).await?;
    records::check(&database)?;
    let entries = records::entries(&database, "")?;
    each_equals(&entries, &served, count, &login)?;
    sums_equal(&iris, &served, &login).await?;
    balances_equal(&iris, &database, &served, &login).await?;
    let [early, half, last] = sizes;
    ensure!(
        last.memory_kib <= half.memory_kib + GROWTH_KIB,
        "it grows: {early}, {half} after half, {last}"
    );
    println!(
        "  {count} requests of {} in {took:.0?} ({:.0}/s): tokens and cost equal the provider's own \
         account, request by request, by person and by model; 0 lost, 0 double, 0 misattributed; \
         {early} after a fifth, {half} after half, {last} at the end",
        if tailnet { "25 people" } else { "one caller" },
        count as f64 / took.as_secs_f64(),
    );
    Ok(())
}

/// Waits for the door on the tailnet.
async fn opens(place: &Place) -> anyhow::Result<()> {
    let door = SocketAddr::new(GATEWAY.into(), PORT);
    for _ in 0..500 {
        let mut client = Client::from(tailnet::device(0, 0), door);
        if client.get("/healthz").await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    anyhow::bail!("the door on the tailnet stays closed:\n{}", place.log())
}

/// The database, once all that is promised is in it.
async fn written(place: &Place, count: usize) -> anyhow::Result<rusqlite::Connection> {
    let database = records::open(&place.database())?;
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let found: i64 =
            database.query_row("SELECT COUNT(*) FROM entries", [], |row| row.get(0))?;
        if found >= i64::try_from(count)? {
            return Ok(database);
        }
        ensure!(Instant::now() < until, "{found} records of {count}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Each request has one record, and it says what the provider's account says.
fn each_equals(
    entries: &[Entry],
    served: &[Served],
    count: usize,
    login: &impl Fn(usize) -> String,
) -> anyhow::Result<()> {
    ensure!(
        entries.len() == count,
        "{} records of {count}",
        entries.len()
    );
    records::each_once(entries, [])?;
    let charged = served.iter().filter(|line| line.how != "refused");
    let mut charged: HashMap<&str, &Served> =
        charged.map(|line| (line.mark.as_str(), line)).collect();
    for entry in entries {
        let line = charged.remove(entry.mark.as_str());
        let line = line.with_context(|| format!("nobody has served {entry:?}"))?;
        let nth = number(&entry.mark).context("a mark")?;
        let outcome = match fate(nth) {
            Fate::Left(_) => "client_closed",
            Fate::Died(_) => "upstream_error",
            Fate::Retried | Fate::Whole => "complete",
        };
        let asked = MODELS[model(nth)].1[usize::from(fate(nth) == Fate::Retried)];
        let expected = Entry {
            id: entry.id.clone(),
            mark: line.mark.clone(),
            login: login(nth as usize),
            model: line.model.clone(),
            provider: line.provider.clone(),
            outcome: outcome.to_owned(),
            input: i64::try_from(line.usage.input)?,
            output: i64::try_from(line.usage.output)?,
            cached: i64::try_from(line.usage.cached)?,
            estimated: false,
            cost: Some(cost(&line.model, line.usage)?),
            reasons: entry.reasons.clone(),
        };
        ensure!(
            *entry == expected,
            "on record is {entry:?}\nserved was {expected:?}"
        );
        ensure!(entry.provider == asked, "{entry:?} instead of {asked}");
    }
    ensure!(charged.is_empty(), "served and not on record: {charged:?}");
    Ok(())
}

/// Requests, tokens and cost of a group.
type Sums = [i64; 5];

fn add(to: &mut Sums, line: &Served) -> anyhow::Result<()> {
    let Usage {
        input,
        output,
        cached,
    } = line.usage;
    let tokens = [1, input, output, cached].map(u64::cast_signed);
    for (sum, more) in to.iter_mut().zip(tokens) {
        *sum += more;
    }
    to[4] += cost(&line.model, line.usage)?;
    Ok(())
}

/// The report by person and model says what the account adds up to.
async fn sums_equal(
    iris: &Iris,
    served: &[Served],
    login: &impl Fn(usize) -> String,
) -> anyhow::Result<()> {
    let mut expected: BTreeMap<(String, String), Sums> = BTreeMap::new();
    for line in served.iter().filter(|line| line.how != "refused") {
        let nth = number(&line.mark).context("a mark")? as usize;
        add(
            expected
                .entry((login(nth), line.model.clone()))
                .or_default(),
            line,
        )?;
    }
    let report = iris.client().api("/api/usage?by=login,model").await?;
    let mut found: BTreeMap<(String, String), Sums> = BTreeMap::new();
    for row in report["rows"].as_array().into_iter().flatten() {
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let count = |key: &str| row[key].as_i64().with_context(|| row.to_string());
        let sums = [
            count("requests")?,
            count("input_tokens")?,
            count("output_tokens")?,
            count("cached_tokens")?,
            count("cost")?,
        ];
        found.insert((text("login"), text("model")), sums);
    }
    ensure!(
        found == expected,
        "reported are {found:?}\nserved were {expected:?}"
    );
    Ok(())
}

/// Everybody's bucket has paid what everybody was served, and holds nothing for requests that are
/// over.
async fn balances_equal(
    iris: &Iris,
    database: &rusqlite::Connection,
    served: &[Served],
    login: &impl Fn(usize) -> String,
) -> anyhow::Result<()> {
    let mut expected: HashMap<String, i64> = HashMap::new();
    for line in served.iter().filter(|line| line.how != "refused") {
        let nth = number(&line.mark).context("a mark")? as usize;
        let left = expected
            .entry(format!("purse:{}", login(nth)))
            .or_insert(PURSE);
        *left -= cost(&line.model, line.usage)?;
    }
    let stored = records::buckets(database)?;
    ensure!(
        stored == expected,
        "stored are {stored:?}, expected {expected:?}"
    );
    let listed = iris.client().api("/api/quotas").await?;
    for bucket in listed["quotas"].as_array().into_iter().flatten() {
        ensure!(bucket["held"] == 0, "held for nobody: {bucket}");
        let name = bucket["bucket"].as_str().unwrap_or_default();
        let left = expected.get(name).copied().unwrap_or(PURSE);
        ensure!(bucket["current"] == left, "{bucket} instead of {left}");
    }
    Ok(())
}
