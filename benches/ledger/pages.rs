//! How long the pages of a dashboard take on the server, over a hundred thousand sessions.
//!
//! `cargo bench --bench pages`; `IRIS_BENCH_POSTGRES=url` asks an empty `PostgreSQL` database the
//! same, and `IRIS_BENCH_RECORDS=n` writes fewer. The goal is 200 ms for each page.
#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use iris::app::{Options, start};
use iris::records::{Entry, Ledger, Query, Scope};
use regex::Regex;
use serde_json::json;

use records::{DAY_MS, DAYS, user, write};

mod records;

const GOAL: Duration = Duration::from_millis(200);
const TIMES: usize = 5;

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let postgres = std::env::var("IRIS_BENCH_POSTGRES").ok();
    let urls = [Some("sqlite:iris.db".to_owned()), postgres];
    for url in urls.into_iter().flatten() {
        let dir = tempfile::tempdir().expect("a directory");
        runtime.block_on(measure(&url, dir.path()));
    }
}

async fn measure(url: &str, dir: &Path) {
    let records = std::env::var("IRIS_BENCH_RECORDS").ok();
    let records = records.and_then(|count| count.parse().ok());
    let records: u32 = records.unwrap_or(400_000);
    let ledger = Ledger::open(url, dir).expect("a ledger");
    write(
        &ledger,
        iris::base::clock::unix_ms() - DAYS * DAY_MS,
        records,
    )
    .await;
    let newest = ledger.requests(Scope::Everyone, Query::default()).await;
    let newest = newest.expect("an answer").swap_remove(0);
    let mut sessions = 0;
    for nth in 0..100 {
        let time = 0..i64::MAX;
        sessions += ledger
            .session_count(Scope::Everyone, Some(&user(nth)), time)
            .await
            .expect("a count");
    }
    ledger.close().await.expect("a working disk");
    println!(
        "{}: {records} records, {sessions} sessions",
        url.split(':').next().unwrap_or_default()
    );
    let config = dir.join("iris.hujson");
    std::fs::write(&config, configuration(url)).expect("to write");
    let options = Options {
        config: Some(config),
        state_dir: dir.to_owned(),
    };
    let gateway = start(&options).await.expect("a gateway");
    let host = gateway.loopback().expect("an address").to_string();
    let mut browser = Browser::new(host).await;
    let mut paths = browser.menu().await;
    paths.extend(more(&newest));
    let mut slow = Vec::new();
    for path in &paths {
        let mut times = Vec::new();
        let mut length = 0;
        for _ in 0..TIMES {
            let started = Instant::now();
            length = browser.get(path).await.len();
            times.push(started.elapsed());
        }
        times.sort();
        let median = times[TIMES / 2];
        println!(
            "  {:>8.1} ms  {path} ({length} bytes)",
            median.as_secs_f64() * 1e3
        );
        if median > GOAL {
            slow.push(path.as_str());
        }
    }
    match slow[..] {
        [] => println!("  all {} within {GOAL:?}", paths.len()),
        _ => println!("  beyond {GOAL:?}: {}", slow.join("; ")),
    }
    gateway.stop().await.expect("an end");
}

/// Pages that no menu has: of one thing, and with filters.
fn more(newest: &Entry) -> Vec<String> {
    let Entry {
        login, id, session, ..
    } = newest;
    let mut paths = vec![
        format!("/ui/users/{login}"),
        format!("/ui/requests/{id}"),
        format!("/ui/sessions/one?login={login}&session={session}"),
    ];
    for (page, filters) in [
        ("overview", "days=90"),
        ("overview", "days=1"),
        ("overview", "by=model&metric=cost"),
        ("overview", "login=user7%40example.com"),
        ("overview", "model=model-4&agent=agent-2"),
        ("overview", "status=502"),
        ("overview", "header=x-team"),
        ("requests", "outcome=failed&model=model-4"),
        ("requests", "tool=rare"),
        ("requests", "header=x-team%3Ateam-3"),
        ("sessions", "model=model-4"),
        ("sessions", "status=502"),
        ("sessions", "tool=rare"),
    ] {
        paths.push(format!("/ui/{page}?{filters}"));
    }
    paths
}

fn configuration(url: &str) -> String {
    let models: Vec<String> = (0..10).map(|nth| format!("model-{nth}")).collect();
    let provider = json!({ "baseurl": "http://127.0.0.1:9", "models": models });
    let providers: serde_json::Map<_, _> = (0..4)
        .map(|nth| (format!("provider-{nth}"), provider.clone()))
        .collect();
    let all = json!([{ "role": "admin" }, { "models": "**" }, { "filterable_headers": ["*"] }]);
    let configuration = json!({
        "tailnet": { "mode": "off" },
        "listen": { "loopback": "127.0.0.1:0" },
        "database": { "url": url },
        "providers": providers,
        "grants": [{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": all } }],
    });
    configuration.to_string()
}

/// One connection to the gateway.
struct Browser {
    host: String,
    sender: SendRequest<Empty<Bytes>>,
}

impl Browser {
    async fn new(host: String) -> Self {
        let stream = tokio::net::TcpStream::connect(&host).await;
        let stream = TokioIo::new(stream.expect("a connection"));
        let made = hyper::client::conn::http1::handshake(stream).await;
        let (sender, connection) = made.expect("a connection");
        tokio::spawn(connection);
        Self { host, sender }
    }

    async fn get(&mut self, path: &str) -> String {
        self.sender.ready().await.expect("a connection");
        let request = Request::get(path).header("host", &self.host);
        let request = request.body(Empty::new()).expect("a request");
        let response = self.sender.send_request(request).await.expect("an answer");
        assert!(
            response.status().is_success(),
            "{path}: {}",
            response.status()
        );
        let body = response.into_body().collect().await.expect("a page");
        String::from_utf8(body.to_bytes().to_vec()).expect("text")
    }

    /// Every page of an admin's menu.
    async fn menu(&mut self) -> BTreeSet<String> {
        let page = self.get("/ui/").await;
        let link = Regex::new(r#"href="(/ui/[a-z]*)""#).expect("a pattern");
        link.captures_iter(&page)
            .map(|found| found[1].to_owned())
            .collect()
    }
}
