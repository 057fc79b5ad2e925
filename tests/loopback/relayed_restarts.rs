//! Batches that a provider runs, while the gateway is killed, and while what it keeps of them vanishes.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::Gateway;
use crate::batches::{Provider, batch, create, ended, form, get, line, lines, until, upload};
use crate::process::Process;
use crate::relayed_batches::{gateway, granted, purse_of, records};
use support::batch_vendor::{Does, Vendor};
use support::http::{CHAT, post, send_to};
use support::provider::{answer, read_request};

/// A hook that blocks what begins with `no`, and judges what begins with `wait` only when it is let.
#[derive(Clone)]
struct Judge {
    asked: Arc<Mutex<Vec<String>>>,
    gate: Arc<Semaphore>,
}

impl Judge {
    async fn start() -> (SocketAddr, Self) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let judge = Self {
            asked: Arc::default(),
            gate: Arc::new(Semaphore::new(0)),
        };
        let shared = judge.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let judge = shared.clone();
                tokio::spawn(async move {
                    while let Some(request) = read_request(&mut stream).await {
                        let body: Value = serde_json::from_slice(&request.body).unwrap();
                        let text = &body["request_body"]["messages"][0]["content"];
                        let text = text.as_str().unwrap().to_owned();
                        judge.asked.lock().unwrap().push(text.clone());
                        if text.starts_with("wait") {
                            judge.gate.acquire().await.unwrap().forget();
                        }
                        let action = if text.starts_with("no") {
                            "block"
                        } else {
                            "allow"
                        };
                        let verdict = json!({ "action": action, "message": "not that" });
                        answer(&mut stream, "200 OK", "", &verdict.to_string()).await;
                    }
                });
            }
        });
        (address, judge)
    }

    fn asked(&self, text: &str) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|one| *one == text).count()
    }

    async fn is_asked(&self, text: &str, times: usize) {
        until(async || (self.asked(text) >= times).then_some(())).await;
    }
}

/// What has a hook judge each line before it is relayed.
fn judged(hook: SocketAddr) -> Value {
    let wired = json!([{ "name": "judge", "events": ["pre_request"], "send": ["request_body"] }]);
    json!({
        "hooks": { "judge": { "url": format!("http://{hook}/"), "timeout": "30s" } },
        "grants": [{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [
            { "role": "admin" }, { "models": "**", "send_hooks": wired },
        ] } }],
    })
}

#[tokio::test]
async fn a_killed_gateway_records_a_refused_line_once() {
    let (address, vendor) = Vendor::start(Does::Completes).await;
    let (hook, judge) = Judge::start().await;
    let provider = json!({
        "baseurl": format!("http://{address}"), "models": ["m"],
        "compatibility": { "openai_chat": true, "openai_batches": true },
    });
    let mut gateway = Process::start(json!({ "p": provider }), judged(hook), &[]).await;
    let at = gateway.address;
    let texts = [
        "no 1", "yes 1", "no 2", "no 3", "no 4", "yes 2", "no 5", "wait",
    ];
    let all = texts.map(|text| line(text, "m", text).to_string());
    let file = send_to(at, form("batch", &all.join("\n"))).await.unwrap();
    let body = json!({
        "input_file_id": file.json()["id"], "endpoint": CHAT, "completion_window": "24h",
    });
    let made = send_to(at, post("/v1/batches", &body.to_string())).await;
    let id = made.unwrap().json()["id"].as_str().unwrap().to_owned();
    // Killed a few milliseconds after each refusal: before its record is written, between that and what is stored of
    // the batch, or after both.
    for nth in 1..=5 {
        judge.is_asked(&format!("no {nth}"), 1).await;
        tokio::time::sleep(Duration::from_millis(3 * (nth - 1))).await;
        gateway.kill_and_start().await;
    }
    judge.is_asked("wait", 1).await;
    // By now each refusal is stored: a stop repeats none of them. The gateway may have come this far before the last
    // kill already.
    let waits = judge.asked("wait");
    gateway.kill_and_start().await;
    judge.is_asked("wait", waits + 1).await;
    let asked = judge.asked.lock().unwrap().clone();
    let mut since = asked.iter().skip_while(|text| *text != "wait");
    assert!(since.all(|text| text == "wait"), "{asked:?}");
    judge.gate.add_permits(9);
    let read = async |path: String| {
        let request = Request::get(path).body(Full::default()).unwrap();
        send_to(at, request).await.unwrap().json()
    };
    let batch = until(async || {
        let batch = read(format!("/v1/batches/{id}")).await;
        (batch["status"] == "completed").then_some(batch)
    })
    .await;
    let counts = json!({ "total": 8, "completed": 3, "failed": 5 });
    assert_eq!(batch["request_counts"], counts, "{batch}");
    let rows = read("/api/requests?limit=50".to_owned()).await;
    let rows = rows["requests"].as_array().unwrap();
    let of_batch = rows.iter().filter(|row| row["session"] == id.as_str());
    let refused = of_batch.clone().filter(|row| row["outcome"] == "refused");
    assert_eq!((of_batch.count(), refused.count()), (8, 5), "{rows:?}");
    assert_eq!(vendor.asked("POST /v1/batches"), 1);
}

#[tokio::test]
async fn what_is_left_of_a_batch_is_held_while_its_results_are_recorded_after_a_restart() {
    let (address, vendor) = Vendor::start(Does::Waits).await;
    let purse = json!({ "quotas": [{ "bucket": "purse" }] });
    let mut gateway = gateway(address, granted("$100.00", &purse)).await;
    let many: Vec<_> = (0..1_500)
        .map(|nth| line(&nth.to_string(), "m", "one"))
        .collect();
    let id = batch(&gateway, &many).await;
    vendor.has("GET /v1/batches/batch_0").await;
    let all = purse_of(&gateway).await["held"].as_i64().unwrap();
    vendor.set(Does::Completes);
    let path = format!("/v1/batches/{id}");
    let done =
        async |gateway: &Gateway| get(gateway, &path).await["request_counts"]["completed"].as_u64();
    until(async || (done(&gateway).await > Some(0)).then_some(())).await;
    gateway.stop().await;
    let gateway = gateway.again().await;
    let held = until(async || {
        let batch = get(&gateway, &path).await;
        assert_eq!(batch["status"], "in_progress", "nothing was held: {batch}");
        let held = purse_of(&gateway).await["held"].as_i64();
        held.filter(|held| *held > 0)
    })
    .await;
    assert!(held < all, "{held} of {all}");
    ended(&gateway, &id, "completed").await;
    assert_eq!(
        purse_of(&gateway).await["held"]
            .as_i64()
            .unwrap_or_default(),
        0
    );
}

/// Deletes all files that the gateway keeps, but one.
fn lose_files_but(gateway: &Gateway, kept: &str) {
    let folder = gateway.config().parent().unwrap().join("state/files");
    let entries = |folder: &Path| std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    for owner in entries(&folder).filter(|entry| entry.path().is_dir()) {
        for file in entries(&owner.path()).filter(|file| file.file_name() != kept) {
            std::fs::remove_file(file.path()).unwrap();
        }
    }
}

#[tokio::test]
async fn a_batch_whose_working_files_vanish_is_run_by_the_gateway() {
    let (address, vendor) = Vendor::start(Does::Completes).await;
    let (hook, judge) = Judge::start().await;
    let gateway = gateway(address, judged(hook)).await;
    // As many as are written down together, so that something is written before the last one.
    let mut all: Vec<_> = (0..200)
        .map(|nth| line(&nth.to_string(), "m", "yes"))
        .collect();
    all.extend(["no", "wait"].map(|text| line(text, "m", text)));
    let file = upload(&gateway, &all).await;
    let id = create(&gateway, &file).await.json()["id"].clone();
    judge.is_asked("wait", 1).await;
    lose_files_but(&gateway, &file);
    judge.gate.add_permits(2);
    let batch = ended(&gateway, id.as_str().unwrap(), "completed").await;
    let counts = json!({ "total": 202, "completed": 201, "failed": 1 });
    assert_eq!(batch["request_counts"], counts, "{batch}");
    assert_eq!(lines(&gateway, &batch["output_file_id"]).await.len(), 201);
    assert_eq!(vendor.asked("POST /v1/batches"), 0);
    assert_eq!(vendor.asked("POST /v1/chat"), 201);
}

#[tokio::test]
async fn a_batch_whose_results_vanish_fails() {
    let (address, provider) = Provider::start().await;
    let gateway = Gateway::start(address, json!({})).await;
    let file = upload(&gateway, &[line("a", "m", "one"), line("b", "m", "wait")]).await;
    let id = create(&gateway, &file).await.json()["id"].clone();
    provider.is_asked("wait").await;
    lose_files_but(&gateway, &file);
    provider.gate.add_permits(1);
    let batch = ended(&gateway, id.as_str().unwrap(), "failed").await;
    assert_eq!(batch["errors"]["data"][0]["code"], "file_lost", "{batch}");
}

/// Changes what is stored of a batch while no gateway runs.
fn change(gateway: &Gateway, id: &str, change: impl FnOnce(&mut Value)) {
    let database = gateway.config().parent().unwrap().join("state/iris.db");
    let database = rusqlite::Connection::open(database).unwrap();
    let found = database.query_row("SELECT detail FROM objects WHERE id = ?1", [id], |row| {
        row.get::<_, Vec<u8>>(0)
    });
    let mut detail: Value = serde_json::from_slice(&found.unwrap()).unwrap();
    change(&mut detail);
    let detail = detail.to_string().into_bytes();
    let sql = "UPDATE objects SET detail = ?1 WHERE id = ?2";
    assert_eq!(database.execute(sql, (detail, id)).unwrap(), 1);
}

#[tokio::test]
async fn restarts_do_not_keep_a_batch_alive_that_its_provider_has_lost() {
    let (address, vendor) = Vendor::start(Does::Forgets).await;
    let mut gateway = gateway(address, json!({})).await;
    let id = batch(&gateway, &[line("a", "m", "one")]).await;
    until(async || (vendor.asked("GET /v1/batches/batch_0") > 2).then_some(())).await;
    gateway.stop().await;
    // The provider is believed after ten minutes, of which a few seconds have passed.
    change(&gateway, &id, |detail| {
        let gone = &mut detail["run_by"]["provider"]["gone"]["ms"];
        assert!(gone.as_u64() > Some(0), "{gone}");
        *gone = 599_000.into();
    });
    let gateway = gateway.again().await;
    let batch = ended(&gateway, &id, "failed").await;
    assert_eq!(batch["errors"]["data"][0]["code"], "batch_lost", "{batch}");
}

#[tokio::test]
async fn batches_that_a_provider_refuses_wait_their_turn() {
    let (address, provider) = Provider::start().await;
    let slots = json!({ "provider": {
        "slots": 100, "compatibility": { "openai_chat": true, "openai_batches": true },
    } });
    let gateway = Gateway::start(address, slots).await;
    for nth in 0..4 {
        batch(&gateway, &[line("a", "m", &format!("wait {nth}"))]).await;
    }
    until(async || (provider.asked().len() == 2).then_some(())).await;
    // The others must not begin.
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(provider.asked().len(), 2, "{:?}", provider.asked());
}

#[tokio::test]
async fn a_relayed_line_has_a_capture_of_what_was_asked_and_answered() {
    let (address, _) = Vendor::start(Does::Completes).await;
    let mut more = granted("$100.00", &json!({ "guards": ["mails"] }));
    more["guards"] =
        json!({ "mails": { "kind": "patterns", "detect": ["email"], "action": "redact" } });
    more["headers"] = json!({ "filterable": ["x-session-id"] });
    let gateway = gateway(address, more).await;
    let all = [line("a", "m", "ask pat@example.org"), line("b", "m", "bad")];
    let id = batch(&gateway, &all).await;
    ended(&gateway, &id, "completed").await;
    let records = records(&gateway, &id).await;
    assert_eq!(records.len(), 2, "{records:?}");
    for record in records {
        let id = record["id"].as_str().unwrap();
        let capture = get(&gateway, &format!("/api/requests/{id}/capture")).await;
        let text = capture.to_string();
        let (asked, answered) = match record["status"].as_u64() {
            Some(200) => ("ask ", "re: "),
            _ => ("bad", "no"),
        };
        let body = |of: &str| capture[of]["body"].to_string();
        assert!(body("request").contains(asked), "{capture}");
        assert!(body("response").contains(answered), "{capture}");
        assert!(!text.contains("pat@example.org"), "{capture}");
        assert!(text.contains("iris-batch"), "{capture}");
        assert_eq!(capture["truncated"], false);
    }
}
