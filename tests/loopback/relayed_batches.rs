//! Batches that a provider runs itself, which the gateway makes there and follows.

use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::Gateway;
use crate::batches::{ask, batch, create, ended, form, get, line, lines, until, upload};
use crate::process::Process;
use support::batch_vendor::{Does, Vendor};
use support::http::{CHAT, post, send_to};

/// What a line costs at the price of batches, in nanodollars: a half of the list's.
const LINE: u64 = 11_500;

pub(crate) async fn gateway(address: std::net::SocketAddr, more: Value) -> Gateway {
    let mut config = json!({
        "provider": { "compatibility": { "openai_chat": true, "openai_batches": true } },
        "prices": { "p/m": { "input": "1", "output": "10" } },
    });
    for (key, value) in more.as_object().cloned().unwrap() {
        config[key] = value;
    }
    Gateway::start(address, config).await
}

/// The records of a batch's lines.
pub(crate) async fn records(gateway: &Gateway, batch: &str) -> Vec<Value> {
    let rows = get(gateway, "/api/requests?limit=50").await["requests"].clone();
    let rows = rows.as_array().cloned().unwrap();
    let is_of = |row: &Value| row["session"] == batch;
    rows.into_iter().filter(is_of).collect()
}

fn three() -> [Value; 3] {
    [
        line("a", "m", "one"),
        line("b", "p/m", "bad"),
        line("c", "m", "three"),
    ]
}

#[tokio::test]
async fn a_batch_is_relayed_and_each_line_is_charged_once_at_half_price() {
    let (address, vendor) = Vendor::start(Does::Completes).await;
    let gateway = gateway(address, json!({})).await;
    let id = batch(&gateway, &three()).await;
    let batch = ended(&gateway, &id, "completed").await;
    let counts = json!({ "total": 3, "completed": 2, "failed": 1 });
    assert_eq!(batch["request_counts"], counts);
    assert!(batch["errors"].is_null(), "{batch}");
    let output = lines(&gateway, &batch["output_file_id"]).await;
    let mut said: Vec<_> = output
        .iter()
        .map(|line| {
            let message = &line["response"]["body"]["choices"][0]["message"];
            (line["custom_id"].clone(), message["content"].clone())
        })
        .collect();
    said.sort_by_key(|(id, _)| id.to_string());
    let expected = [("a", "re: \"one\""), ("c", "re: \"three\"")];
    assert_eq!(said, expected.map(|(id, said)| (id.into(), said.into())));
    let errors = lines(&gateway, &batch["error_file_id"]).await;
    let status = &errors[0]["response"]["status_code"];
    assert_eq!(
        (&errors[0]["custom_id"], status),
        (&json!("b"), &json!(400))
    );
    let records = records(&gateway, &id).await;
    let costs: Vec<_> = records.iter().map(|one| one["cost"].as_u64()).collect();
    let of = |cost| costs.iter().filter(|one| **one == Some(cost)).count();
    assert_eq!((costs.len(), of(LINE), of(0)), (3, 2, 1), "{records:?}");
    let request = &output[0]["response"]["request_id"];
    let record = records.iter().find(|one| one["id"] == *request).unwrap();
    assert_eq!(
        (&record["provider"], &record["agent"]),
        (&json!("p"), &json!("iris-batch"))
    );
    let shown = get(
        &gateway,
        &format!("/api/requests/{}", request.as_str().unwrap()),
    )
    .await;
    assert!(shown.to_string().contains("batch of its own"), "{shown}");
    assert_eq!(vendor.asked("POST /v1/chat"), 0);
    assert_eq!(vendor.asked("POST /v1/batches"), 1);
    // Nothing is left at the provider.
    assert!(vendor.0.lock().unwrap().files.is_empty());
}

#[tokio::test]
async fn a_relayed_batch_goes_on_after_restarts_and_is_made_once() {
    let (address, vendor) = Vendor::start(Does::LosesAnswer).await;
    vendor.0.lock().unwrap().failures = 1;
    let mut gateway = gateway(address, json!({})).await;
    let id = batch(&gateway, &three()).await;
    vendor.has("POST /v1/batches").await;
    vendor.set(Does::Waits);
    gateway.stop().await;
    gateway = gateway.again().await;
    vendor.has("GET /v1/batches/batch_0").await;
    gateway.stop().await;
    vendor.set(Does::Completes);
    let gateway = gateway.again().await;
    let batch = ended(&gateway, &id, "completed").await;
    let counts = json!({ "total": 3, "completed": 2, "failed": 1 });
    assert_eq!(batch["request_counts"], counts);
    assert_eq!(vendor.asked("POST /v1/batches"), 1);
    assert_eq!(records(&gateway, &id).await.len(), 3);
}

#[tokio::test]
async fn a_killed_gateway_pays_for_each_relayed_line_once() {
    let (address, vendor) = Vendor::start(Does::LosesAnswer).await;
    let provider = json!({
        "baseurl": format!("http://{address}"), "models": ["m"],
        "compatibility": { "openai_chat": true, "openai_batches": true },
    });
    let prices = json!({ "prices": { "p/m": { "input": "1", "output": "10" } } });
    let mut gateway = Process::start(json!({ "p": provider }), prices, &[]).await;
    let at = gateway.address;
    let text = three().map(|line| line.to_string()).join("\n");
    let file = send_to(at, form("batch", &text)).await.unwrap().json();
    let body = json!({
        "input_file_id": file["id"], "endpoint": CHAT, "completion_window": "24h",
    });
    let made = send_to(at, post("/v1/batches", &body.to_string())).await;
    let id = made.unwrap().json()["id"].as_str().unwrap().to_owned();
    vendor.has("POST /v1/batches").await;
    vendor.set(Does::Waits);
    gateway.kill_and_start().await;
    vendor.has("GET /v1/batches/batch_0").await;
    vendor.set(Does::Completes);
    gateway.kill_and_start().await;
    let read = async |path: String| {
        let request = Request::get(path).body(Full::default()).unwrap();
        send_to(at, request).await.unwrap().json()
    };
    until(async || {
        let batch = read(format!("/v1/batches/{id}")).await;
        (batch["status"] == "completed").then_some(())
    })
    .await;
    gateway.kill_and_start().await;
    let rows = read("/api/requests?limit=50".to_owned()).await;
    let rows = rows["requests"].as_array().unwrap();
    let of_batch = rows.iter().filter(|row| row["session"] == id.as_str());
    let costs: u64 = of_batch
        .clone()
        .filter_map(|row| row["cost"].as_u64())
        .sum();
    assert_eq!((of_batch.count(), costs), (3, 2 * LINE), "{rows:?}");
    assert_eq!(vendor.asked("POST /v1/batches"), 1);
}

#[tokio::test]
async fn a_line_that_is_refused_is_not_relayed() {
    let (address, vendor) = Vendor::start(Does::Completes).await;
    let gateway = gateway(address, json!({})).await;
    let mut refused = line("b", "m", "two");
    refused["body"]["fallbacks"] = json!(["dear"]);
    let id = batch(&gateway, &[line("a", "m", "one"), refused]).await;
    let batch = ended(&gateway, &id, "completed").await;
    let errors = lines(&gateway, &batch["error_file_id"]).await;
    assert_eq!(errors[0]["custom_id"], "b");
    assert_eq!(errors[0]["response"]["status_code"], 400);
    assert_eq!(lines(&gateway, &batch["output_file_id"]).await.len(), 1);
    assert_eq!(vendor.asked("POST /v1/chat"), 0);
    let records = records(&gateway, &id).await;
    let outcomes: Vec<_> = records.iter().map(|one| one["outcome"].as_str()).collect();
    assert_eq!(outcomes.len(), 2, "{records:?}");
    assert!(outcomes.contains(&Some("refused")), "{outcomes:?}");
}

#[tokio::test]
async fn a_cancelled_batch_is_cancelled_at_its_provider() {
    let (address, vendor) = Vendor::start(Does::Waits).await;
    let gateway = gateway(address, json!({})).await;
    let id = batch(&gateway, &three()).await;
    vendor.has("GET /v1/batches/batch_0").await;
    let path = format!("/v1/batches/{id}/cancel");
    let cancelled = ask(&gateway, Method::POST, &path).await;
    assert_eq!(cancelled.json()["status"], "cancelling");
    let batch = ended(&gateway, &id, "cancelled").await;
    let counts = json!({ "total": 3, "completed": 0, "failed": 0 });
    assert_eq!(batch["request_counts"], counts);
    assert_eq!(vendor.asked("POST /v1/batches/batch_0/cancel"), 1);
    assert_eq!(records(&gateway, &id).await.len(), 0);
}

#[tokio::test]
async fn what_a_provider_does_not_answer_fails() {
    for (does, status, completed, code) in [
        (Does::Babbles, "completed", 0, "result_missing"),
        (Does::Expires, "expired", 1, "batch_expired"),
    ] {
        let (address, vendor) = Vendor::start(does).await;
        let gateway = gateway(address, json!({})).await;
        let id = batch(&gateway, &three()).await;
        let batch = ended(&gateway, &id, status).await;
        let counts = json!({ "total": 3, "completed": completed, "failed": 3 - completed });
        assert_eq!(batch["request_counts"], counts, "{batch}");
        let errors = lines(&gateway, &batch["error_file_id"]).await;
        let codes = errors.iter().map(|line| line["error"]["code"].as_str());
        assert!(codes.clone().all(|one| one == Some(code)), "{errors:?}");
        assert_eq!(codes.count(), 3 - completed);
        assert_eq!(vendor.asked("POST /v1/batches"), 1);
    }
}

#[tokio::test]
async fn results_without_room_are_charged_and_told() {
    let (address, _) = Vendor::start(Does::Chatters).await;
    let limits = json!({ "limits": { "files": 80_000 } });
    let gateway = gateway(address, limits).await;
    let id = batch(&gateway, &three()).await;
    let batch = ended(&gateway, &id, "failed").await;
    let error = &batch["errors"]["data"][0];
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("limits.files"), "{batch}");
    let records = records(&gateway, &id).await;
    assert_eq!(records.len(), 3, "{records:?}");
    assert!(
        records.iter().all(|one| one["cost"].as_u64() > Some(0)),
        "{records:?}"
    );
}

#[tokio::test]
async fn the_gateway_runs_what_a_provider_does_not_take() {
    for does in [Does::Refuses, Does::Fails] {
        let (address, vendor) = Vendor::start(does).await;
        let gateway = gateway(address, json!({})).await;
        let id = batch(&gateway, &[line("a", "m", "one"), line("b", "m", "two")]).await;
        let batch = ended(&gateway, &id, "completed").await;
        assert_eq!(batch["request_counts"]["completed"], 2);
        assert_eq!(vendor.asked("POST /v1/chat"), 2);
        assert!(vendor.0.lock().unwrap().files.is_empty());
        let records = records(&gateway, &id).await;
        assert!(
            records.iter().all(|one| one["cost"] == 2 * LINE),
            "{records:?}"
        );
    }
}

#[tokio::test]
async fn what_was_surely_not_made_is_made_at_once() {
    let (address, vendor) = Vendor::start(Does::IsBusy).await;
    let gateway = gateway(address, json!({})).await;
    let id = batch(&gateway, &three()).await;
    ended(&gateway, &id, "completed").await;
    assert_eq!(vendor.asked("POST /v1/batches"), 2);
    let asked = vendor.0.lock().unwrap().asked.clone();
    assert!(!asked.iter().any(|one| one == "GET /v1/batches"));
}

#[tokio::test]
async fn a_batch_that_a_provider_forgets_for_a_while_is_not_lost() {
    let (address, vendor) = Vendor::start(Does::Forgets).await;
    let gateway = gateway(address, json!({})).await;
    let id = batch(&gateway, &three()).await;
    until(async || (vendor.asked("GET /v1/batches/batch_0") > 2).then_some(())).await;
    vendor.set(Does::Completes);
    ended(&gateway, &id, "completed").await;
}

/// A grant of models with `more`, and the budget `purse`.
pub(crate) fn granted(capacity: &str, more: &Value) -> Value {
    let mut models = json!({ "models": "**" });
    for (key, value) in more.as_object().cloned().unwrap() {
        models[key] = value;
    }
    json!({
        "quotas": { "purse": { "capacity": capacity } },
        "grants": [{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [
            { "role": "admin" }, models,
        ] } }],
    })
}

#[tokio::test]
async fn a_budget_holds_what_all_lines_may_cost() {
    let (address, vendor) = Vendor::start(Does::Waits).await;
    let purse = json!({ "quotas": [{ "bucket": "purse" }] });
    let gateway = gateway(address, granted("$1.00", &purse)).await;
    let id = batch(&gateway, &three()).await;
    vendor.has("GET /v1/batches/batch_0").await;
    // For each line 4,096 tokens at a half of the price, and a few that are read.
    let held = purse_of(&gateway).await["held"].as_i64().unwrap();
    assert!((61_440_000..62_000_000).contains(&held), "{held}");
    vendor.set(Does::Completes);
    ended(&gateway, &id, "completed").await;
    let purse_after = purse_of(&gateway).await;
    assert_eq!(purse_after["held"].as_i64().unwrap_or_default(), 0);
    // A budget that can't pay for all of them at once has them run one by one.
    let small = gateway_with("$0.05", &purse, address).await;
    let id = batch(&small, &three()).await;
    vendor.set(Does::Completes);
    ended(&small, &id, "completed").await;
    assert_eq!(vendor.asked("POST /v1/batches"), 1);
    assert_eq!(vendor.asked("POST /v1/chat"), 3);
}

pub(crate) async fn purse_of(gateway: &Gateway) -> Value {
    let quotas = get(gateway, "/api/quotas").await;
    quotas["quotas"][0].clone()
}

async fn gateway_with(capacity: &str, more: &Value, address: std::net::SocketAddr) -> Gateway {
    gateway(address, granted(capacity, more)).await
}

#[tokio::test]
async fn a_batch_is_not_relayed_where_each_response_has_to_be_seen() {
    let (address, vendor) = Vendor::start(Does::Completes).await;
    let mut config = granted(
        "$1.00",
        &json!({ "send_hooks": [{ "name": "log", "events": ["entire_request"], "send": [] }] }),
    );
    config["hooks"] = json!({ "log": { "url": format!("http://{address}/hook") } });
    let gateway = gateway(address, config).await;
    let id = batch(&gateway, &[line("a", "m", "one")]).await;
    ended(&gateway, &id, "completed").await;
    assert_eq!(vendor.asked("POST /v1/files"), 0);
    assert_eq!(vendor.asked("POST /v1/chat"), 1);
    // Nor where the time is another than providers'.
    let file = upload(&gateway, &[line("a", "m", "one")]).await;
    assert_eq!(create(&gateway, &file).await.status, 200);
}
