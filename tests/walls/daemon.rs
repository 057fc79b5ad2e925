//! A stand-in for `tailscaled`: the requests of its LocalAPI that the gateway sends.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::UnixListener;

/// The gateway's own address.
pub const GATEWAY: &str = "100.64.0.1";

/// Its name.
pub const NAME: &str = "ai.tail.test";
/// The name's certificate.
pub const CERTIFICATE: &str = include_str!("../fixtures/ai.tail.test.crt");
const KEY: &str = include_str!("../fixtures/ai.tail.test.key");

/// A device that the daemon knows.
#[derive(Clone, Copy, Debug)]
pub struct Person {
    pub address: &'static str,
    pub login: &'static str,
    pub node: &'static str,
}

pub const ADA: Person = person("100.64.0.2", "ada@example.com", "ada-laptop");
pub const BOB: Person = person("100.64.0.3", "bob@example.com", "bob-desktop");
pub const KIM: Person = person("100.64.0.4", "kim@example.com", "kim-admin");
pub const EVE: Person = person("100.64.0.5", "eve@example.com", "eve-phone");
/// One of this tailnet, one of another with the same login, and one who got the login later.
pub const AMELIE: Person = person("100.64.0.10", "amelie@passkey", "amelie-laptop");
pub const NAMESAKE: Person = person("100.64.0.11", "amelie@passkey", "other-laptop");
pub const SUCCESSOR: Person = person("100.64.0.12", "amelie@passkey", "new-laptop");
/// The admin's login, in another tailnet.
pub const OTHER_KIM: Person = person("100.64.0.13", "kim@example.com", "kim-abroad");
/// Devices whose tags agree in their first 320 bytes.
pub const PROD: Person = person("100.64.0.20", "", "prod");
pub const DEV: Person = person("100.64.0.21", "", "dev");
/// A caller whose name reads like another one, or who is in a group of that name.
pub const READS_LIKE: [Person; 5] = [
    person("100.64.0.30", "autogroup:admin", "a"),
    person("100.64.0.31", "tag:ci", "b"),
    person("100.64.0.32", "(loopback)", "c"),
    person("100.64.0.33", "user:kim@example.com", "d"),
    person("100.64.0.34", "in-groups@example.com", "e"),
];

/// Tags that are longer than a column.
pub fn tags(last: &str) -> Vec<String> {
    let long = ('a'..='f').map(|letter| format!("tag:{}", letter.to_string().repeat(55)));
    long.chain([format!("tag:{last}")]).collect()
}

/// An address that no device has.
pub const STRANGER: Person = person("100.64.0.99", "", "");

const fn person(address: &'static str, login: &'static str, node: &'static str) -> Person {
    Person {
        address,
        login,
        node,
    }
}

/// Devices that are known and may not call: what is so of their node.
pub const UNUSABLE: [(Person, &str); 5] = [
    (person("100.64.2.1", "x@example.com", "expired"), "Expired"),
    (
        person("100.64.2.2", "x@example.com", "unsigned"),
        "UnsignedPeerAPIOnly",
    ),
    (person("100.64.2.3", "x@example.com", "jailed"), "IsJailed"),
    (
        person("100.64.2.4", "x@example.com", "exit"),
        "IsWireGuardOnly",
    ),
    (person("100.64.2.5", "", "nobody"), "HasNoUser"),
];

/// How long the daemon looks for an unknown address. The real one sleeps as long for one with a port,
/// and serves no other request in the meantime.
const SEARCH: Duration = Duration::from_millis(180);

fn whois(address: &str) -> Option<Value> {
    let here = [ADA, BOB, KIM, EVE, AMELIE, SUCCESSOR, PROD, DEV];
    let known = here.into_iter().chain(READS_LIKE);
    let known = known.map(|who| (who, "Online"));
    let abroad = [NAMESAKE, OTHER_KIM].map(|who| (who, "Sharer"));
    let mut known = known.chain(abroad).chain(UNUSABLE);
    let (who, fact) = known.find(|(who, _)| who.address == address)?;
    // Each has a number of their own.
    let number: i64 = address.rsplit(['.', ':']).next()?.parse().ok()?;
    let fact_is = if fact == "Sharer" {
        json!(77)
    } else {
        json!(true)
    };
    let tags = match who.node {
        "prod" => tags("prod"),
        "dev" => tags("zdev"),
        _ => Vec::new(),
    };
    let groups = ["kim@example.com", "tag:ci", "*", "(loopback)"];
    Some(json!({
        "Node": {
            "Tags": tags,
            "StableID": format!("n-{}", who.node), "Name": format!("{}.tail.test.", who.node),
            "MachineAuthorized": true, "Addresses": [format!("{address}/32")], fact: fact_is,
        },
        "UserProfile": {
            "ID": number, "LoginName": who.login, "DisplayName": who.login,
            "Groups": if who.node == "e" { &groups[..] } else { &[] },
        },
        "CapMap": {},
    }))
}

/// A daemon that runs.
#[derive(Clone, Default)]
pub struct Daemon(Arc<Inner>);

#[derive(Default)]
struct Inner {
    asked: Mutex<BTreeMap<String, usize>>,
    /// Held while it looks for an address.
    looking: tokio::sync::Mutex<()>,
    policy: AtomicU64,
}

type Answer = Response<BoxBody<Bytes, Infallible>>;

impl Daemon {
    /// How often each address was asked for.
    pub fn asked(&self) -> BTreeMap<String, usize> {
        self.0.asked.lock().unwrap().clone()
    }

    /// Another policy: an epoch begins when the gateway sees it.
    pub fn change(&self) {
        self.0.policy.fetch_add(1, Ordering::Relaxed);
    }

    async fn who(&self, address: &str) -> Option<Value> {
        let count = |asked: &mut BTreeMap<String, usize>| {
            *asked.entry(address.to_owned()).or_default() += 1;
        };
        count(&mut self.0.asked.lock().unwrap());
        let _looking = self.0.looking.lock().await;
        let found = whois(address);
        if found.is_none() {
            tokio::time::sleep(SEARCH).await;
        }
        found
    }

    async fn answer(&self, request: &Request<hyper::body::Incoming>) -> Answer {
        let (mut status, path) = (StatusCode::OK, request.uri().path());
        let body = match path.strip_prefix("/localapi/v0/").unwrap_or_default() {
            "status" => json!({
                "BackendState": "Running", "TailscaleIPs": [GATEWAY], "CertDomains": [NAME],
                "Self": { "DNSName": format!("{NAME}.") }, "CurrentTailnet": { "Name": "tail.test" },
            }),
            "whois" => {
                let asked = request.uri().query().unwrap_or_default();
                let found = self.who(asked.trim_start_matches("addr=")).await;
                found.unwrap_or_else(|| {
                    status = StatusCode::NOT_FOUND;
                    Value::Null
                })
            }
            "cert/ai.tail.test" => {
                let pair = Full::new(Bytes::from([KEY, CERTIFICATE].concat()));
                return Response::new(pair.boxed());
            }
            // It says nothing of policies.
            "watch-ipn-bus" => {
                let silence = StreamBody::new(futures_util::stream::pending());
                return Response::new(BodyExt::boxed(silence));
            }
            "debug-packet-filter-rules" => json!([self.0.policy.load(Ordering::Relaxed)]),
            _ => {
                status = StatusCode::NOT_FOUND;
                Value::Null
            }
        };
        let body = Full::new(Bytes::from(body.to_string())).boxed();
        let mut response = Response::new(body);
        *response.status_mut() = status;
        response
    }
}

/// Starts it, with its socket in a folder.
pub fn start(dir: &Path) -> (Daemon, PathBuf) {
    let socket = dir.join("tailscaled.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let daemon = Daemon::default();
    let serving = daemon.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let daemon = serving.clone();
            let service = service_fn(move |request| {
                let daemon = daemon.clone();
                async move { Ok::<_, Infallible>(daemon.answer(&request).await) }
            });
            tokio::spawn(async move {
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    (daemon, socket)
}
