//! The pipeline in this process, from a verified caller to the last byte of the answer: what
//! sockets can't show on one machine, a hundred thousand callers among it.

use std::fmt::Write as _;
use std::future::Future;
use std::net::IpAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use iris::exchange::hooks::Tally;
use iris::exchange::jobs::{Disk, Jobs};
use iris::exchange::kept::Store;
use iris::exchange::rules::Rules;
use iris::exchange::upstream::Upstream;
use iris::exchange::{AskedUrl, Beginnings, Gateway, Held, Uncounted, Verified};
use iris::formats::{self, Format};
use iris::net::client::{Client, Timeouts};
use iris::policy::identity::Caller;
use iris::policy::identity::{User, WhoIs};
use iris::policy::route::Traffic;
use iris::records::Ledger;
use iris::records::balances::Quotas;
use tokio::sync::watch;

use crate::panel;
use crate::plot::Panel;

const CHAT: &str = "/v1/chat/completions";
const AT_ONCE: usize = 8;
const EACH: Duration = Duration::from_secs(3);

type Measure = fn(u16) -> Pin<Box<dyn Future<Output = Panel>>>;

pub(crate) const ALL: [(&str, Measure); 4] = [
    ("models", |upstream| Box::pin(models(upstream))),
    ("grants", |upstream| Box::pin(grants(upstream))),
    ("callers", |upstream| Box::pin(callers(upstream))),
    ("bytes", |upstream| Box::pin(bytes(upstream))),
];

/// One tenth as many providers, of ten models each.
async fn models(upstream: u16) -> Panel {
    let mut panel = panel(
        "Models, a tenth as many providers",
        "models",
        &["CPU µs a request", "ms to read the configuration"],
    );
    let one = caller(0);
    for count in [1, 10, 100, 1_000, 10_000] {
        let mut providers = String::new();
        for provider in 0..usize::max(count / 10, 1) {
            let models: Vec<_> = (0..usize::min(count, 10))
                .map(|model| format!("\"p{provider}-m{model}\""))
                .collect();
            let _ = writeln!(
                providers,
                "\"p{provider}\": {{ \"baseurl\": \"http://127.0.0.1:{upstream}\", \"models\": [{}] }},",
                models.join(", ")
            );
        }
        let grants = r#"{ "src": ["*"], "app": { "tailscale.com/cap/aperture": [{ "role": "user" }, { "models": "**" }] } }"#;
        let (world, took) = World::new(&providers, grants).await;
        let last = format!(
            "p{}-m{}",
            usize::max(count / 10, 1) - 1,
            usize::min(count, 10) - 1
        );
        let cpu = world.load(|_| (Arc::clone(&one), chat(&last, 0))).await;
        panel.add(count as f64, &[cpu.micros, took.as_secs_f64() * 1e3]);
    }
    panel
}

/// All but one of them are about others.
async fn grants(upstream: u16) -> Panel {
    let mut panel = panel(
        "Grants",
        "grants",
        &["CPU µs a request", "ms to read the configuration"],
    );
    let one = caller(0);
    for count in [1, 10, 100, 1_000, 10_000] {
        let mut grants = String::new();
        for nth in (0..count).rev() {
            let _ = writeln!(
                grants,
                r#"{{ "src": ["{}"], "app": {{ "tailscale.com/cap/aperture": [{{ "role": "user" }}, {{ "models": "fast/small" }}] }} }},"#,
                login(nth)
            );
        }
        let (world, took) = World::new(&provider(upstream), &grants).await;
        let cpu = world.load(|_| (Arc::clone(&one), chat("small", 0))).await;
        panel.add(count as f64, &[cpu.micros, took.as_secs_f64() * 1e3]);
    }
    panel
}

/// Each with a budget of their own; they take turns.
async fn callers(upstream: u16) -> Panel {
    let mut panel = panel(
        "Callers, each with a budget",
        "callers",
        &["CPU µs a request", "KiB a caller"],
    );
    let grants = r#"{ "src": ["*"], "app": { "tailscale.com/cap/aperture": [{ "role": "user" }, { "models": "**", "quotas": [{ "bucket": "daily:<user>" }] }] } }"#;
    for count in [1, 100, 10_000, 100_000] {
        let all: Vec<Arc<Caller>> = (0..count).map(caller).collect();
        let (world, _) = World::new(&provider(upstream), grants).await;
        let before = resident();
        // Everybody once: only then are they all known.
        for first in all.chunks(AT_ONCE) {
            let asked = first
                .iter()
                .map(|caller| world.ask(Arc::clone(caller), chat("small", 0)));
            futures_util::future::join_all(asked).await;
        }
        world.gateway.ledger.flush().await.expect("a disk");
        let each = resident().saturating_sub(before) as f64 / count as f64;
        let cpu = world
            .load(|nth| (Arc::clone(&all[nth * 7_919 % count]), chat("small", 0)))
            .await;
        panel.add(count as f64, &[cpu.micros, each]);
    }
    panel
}

/// Longer and longer questions, with the same small answer.
async fn bytes(upstream: u16) -> Panel {
    let mut panel = panel(
        "Size of a request",
        "KiB",
        &["CPU µs a request", "CPU µs a KiB"],
    );
    let grants = r#"{ "src": ["*"], "app": { "tailscale.com/cap/aperture": [{ "role": "user" }, { "models": "**" }] } }"#;
    let (world, _) = World::new(&provider(upstream), grants).await;
    let one = caller(0);
    for kib in [1, 16, 256, 4_096, 65_536] {
        let body = chat("small", kib << 10);
        let cpu = world.load(|_| (Arc::clone(&one), body.clone())).await;
        panel.add(kib as f64, &[cpu.micros, cpu.micros / kib as f64]);
    }
    panel
}

struct World {
    gateway: Gateway,
    _rules: watch::Sender<Arc<Rules>>,
    _dir: tempfile::TempDir,
}

struct Cpu {
    /// For a request.
    micros: f64,
}

impl World {
    /// A gateway with these providers and grants, and how long its configuration took to read.
    async fn new(providers: &str, grants: &str) -> (Self, Duration) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("iris.hujson");
        let text = format!(
            r#"{{
  "tailnet": {{ "mode": "off" }},
  "limits": {{ "request_body": 134217728 }},
  "providers": {{ {providers} }},
  "prices": {{ "small": {{ "input": "0.1", "output": "0.4" }} }},
  "quotas": {{ "daily:<user>": {{ "capacity": "$1000000.00", "rate": "$1000000.00/day" }} }},
  "grants": [ {grants} ],
}}"#
        );
        std::fs::write(&path, text).unwrap();
        let began = Instant::now();
        let rules = compiled(&path);
        let took = began.elapsed();
        let ledger = Ledger::open("sqlite:ledger.db", dir.path()).expect("a ledger");
        ledger.set_retention(&rules.file.database, &[]);
        let quotas = Quotas::open(ledger.clone()).await.expect("quotas");
        quotas.retain(&rules.quotas).await;
        let never = Duration::ZERO;
        let (sender, receiver) = watch::channel(rules);
        let gateway = Gateway {
            rules: receiver,
            upstream: Upstream {
                client: Client::new(None, Timeouts::all(never)),
            },
            traffic: Traffic::default(),
            held: Held::default(),
            metrics: Arc::default(),
            quotas,
            tally: Tally::default(),
            responses: Arc::default(),
            stored: Arc::default(),
            // None of these requests asks for a response in the background.
            beginnings: Beginnings::new(Weak::new()),
            uncounted: Uncounted::default(),
            cache: Store::open(dir.path().join("cache")).into(),
            jobs: Jobs::new(Disk::open(dir.path().join("jobs")).expect("a folder")),
            ledger,
        };
        let world = Self {
            gateway,
            _rules: sender,
            _dir: dir,
        };
        (world, took)
    }

    async fn ask(&self, caller: Arc<Caller>, body: Bytes) {
        let who = Verified {
            caller,
            resolver: None,
            epoch: 0,
            changes: None,
            url: AskedUrl {
                is_secure: false,
                path: None,
            },
        };
        let request = Request::post(CHAT)
            .header("content-type", "application/json")
            .body(Full::new(body))
            .unwrap();
        let answer = self.gateway.handle(format(), who, request).await;
        let (head, body) = answer.into_parts();
        let body = body.collect().await.expect("an answer").to_bytes();
        assert!(head.status.is_success(), "{}: {body:?}", head.status);
    }

    /// A few at once for a while, with all of their records written.
    async fn load(&self, next: impl Fn(usize) -> (Arc<Caller>, Bytes)) -> Cpu {
        let until = Instant::now() + EACH / 6;
        let mut nth = 0;
        let mut run = async |until| {
            let first = nth;
            while Instant::now() < until {
                let asked = (nth..nth + AT_ONCE).map(|nth| {
                    let (caller, body) = next(nth);
                    self.ask(caller, body)
                });
                futures_util::future::join_all(asked).await;
                nth += AT_ONCE;
            }
            self.gateway.ledger.flush().await.expect("a disk");
            nth - first
        };
        run(until).await;
        let before = cpu();
        let requests = run(Instant::now() + EACH).await;
        let spent = cpu().saturating_sub(before);
        Cpu {
            micros: spent.as_secs_f64() * 1e6 / requests as f64,
        }
    }
}

fn compiled(path: &Path) -> Arc<Rules> {
    let loaded = iris::config::load(path).expect("a configuration");
    Arc::new(Rules::compile(loaded, 1))
}

fn format() -> &'static Format {
    formats::ALL
        .iter()
        .copied()
        .find(|api| api.recognises(&http::Method::POST, CHAT))
        .unwrap()
}

fn provider(upstream: u16) -> String {
    format!(r#""fast": {{ "baseurl": "http://127.0.0.1:{upstream}", "models": ["small"] }}"#)
}

fn chat(model: &str, length: usize) -> Bytes {
    let text = "word ".repeat(length / 5);
    format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"{text}"}}]}}"#).into()
}

fn login(nth: usize) -> String {
    format!("user{nth}@example.com")
}

fn caller(nth: usize) -> Arc<Caller> {
    let whois = WhoIs {
        stable_id: format!("n{nth}"),
        node_name: format!("laptop-{nth}"),
        node_fqdn: format!("laptop-{nth}.tail.test"),
        tags: Vec::new(),
        addresses: vec![IpAddr::from([100, 64, 0, 1])],
        user: Some(User {
            id: 1,
            login: login(nth),
            display_name: String::new(),
            picture: None,
        }),
        capabilities: std::collections::BTreeMap::new(),
        expired: false,
        authorized: true,
        unsigned: false,
        jailed: false,
        wireguard_only: false,
        shared_in: false,
        key_expiry: None,
        groups: Vec::new(),
    };
    Arc::new(Caller::from_whois(whois).expect("a caller"))
}

/// CPU time of this process.
fn cpu() -> Duration {
    support::bench::process::cpu_of(std::process::id())
}

/// Resident KiB of this process.
fn resident() -> u64 {
    support::bench::process::resident(std::process::id()).unwrap_or_default()
}
