//! A database that can't be written: it is reported at once, changes of the file take effect, and no
//! request is accepted that could not be recorded.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use crate::Gateway;
use crate::management::{ask, get, put, shown};
use support::http::Reply;
use support::provider::{COMPLETION, Log, server};

const CHAT: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
/// The longest wait for a state that should come within a second.
const BOUND: Duration = Duration::from_secs(20);

async fn gateway() -> (Gateway, Log) {
    let (address, asked) = server("127.0.0.1:0", |_| ("200 OK", COMPLETION.to_owned())).await;
    let more = json!({
        "quotas": { "b": { "capacity": "1000 requests" } },
        "grants": [{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [
            { "role": "admin" }, { "models": "**", "quotas": [{ "bucket": "b" }] },
        ] } }],
    });
    (Gateway::start(address, more).await, asked)
}

fn state(gateway: &Gateway, name: &str) -> PathBuf {
    gateway.config().with_file_name("state").join(name)
}

async fn until<F: Future<Output = bool>>(what: &str, mut is_true: impl FnMut() -> F) {
    let waited = async {
        while !is_true().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(BOUND, waited).await;
    assert!(waited.is_ok(), "{what}");
}

async fn is_ready(gateway: &Gateway) -> bool {
    get(gateway, "/readyz").await.status == 200
}

async fn lists(gateway: &Gateway, model: &str) -> bool {
    let models = get(gateway, "/v1/models").await.text();
    models.contains(&format!("{model:?}"))
}

/// Changes the file as a person does.
fn list(gateway: &Gateway, model: &str) {
    let file = gateway.config();
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    config["providers"]["p"]["models"] = json!(["m", model]);
    let new = file.with_extension("new");
    std::fs::write(&new, config.to_string()).unwrap();
    std::fs::rename(new, file).unwrap();
}

fn assert_refused(what: &str, reply: &Reply) {
    assert_eq!(reply.status, 503, "{what}: {}", reply.text());
    assert!(reply.headers.contains_key("retry-after"), "{what}");
}

async fn within<T>(what: &str, answer: impl Future<Output = T>) -> T {
    let answer = tokio::time::timeout(BOUND, answer).await;
    answer.unwrap_or_else(|_| panic!("{what}: there is no answer"))
}

/// Everything that a person can change is refused, soon, and nothing is changed.
async fn assert_unwritable(gateway: &Gateway, text: &str, tag: &str, version: &Value) {
    let put = within("save", put(gateway, text, tag)).await;
    assert_refused("save", &put);
    let hash = tag.trim_matches('"');
    for (what, method, path, body) in [
        (
            "older save",
            Method::PUT,
            "/api/config",
            json!({ "config": text, "hash": hash }),
        ),
        (
            "rollback",
            Method::POST,
            "/api/config/rollback",
            json!({ "id": version, "hash": hash }),
        ),
        (
            "refill",
            Method::POST,
            "/api/quotas/refill",
            json!({ "bucket": "b", "amount": "5 requests" }),
        ),
    ] {
        let reply = within(what, ask(gateway, &method, path, &body, &[])).await;
        assert_refused(what, &reply);
        assert!(
            reply.text().contains("cannot be written right now"),
            "{}",
            reply.text()
        );
    }
}

#[tokio::test]
async fn what_cannot_be_written_is_refused_at_once_and_a_changed_file_takes_effect() {
    let (gateway, asked) = gateway().await;
    assert_eq!(gateway.chat(CHAT).await.status, 200);
    gateway.record().await;
    let versions = || async { get(&gateway, "/api/config/history").await.json() };
    until("the first version", || async {
        versions().await["versions"][0].is_object()
    })
    .await;
    let first = versions().await["versions"][0]["id"].clone();
    let (_, tag) = shown(&gateway).await;
    let file = std::fs::read_to_string(gateway.config()).unwrap();
    let saved = file.replace(r#"["m"]"#, r#"["m","saved"]"#);
    assert_ne!(saved, file);
    let other = rusqlite::Connection::open(state(&gateway, "iris.db")).unwrap();
    other.busy_timeout(Duration::from_secs(10)).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    // Before it is known, and afterwards.
    assert_refused(
        "first save",
        &within("first save", put(&gateway, &saved, &tag)).await,
    );
    assert_eq!(gateway.chat(CHAT).await.status, 200, "its record waits");
    until("it is known", || async { !is_ready(&gateway).await }).await;
    assert_refused("request", &gateway.chat(CHAT).await);
    assert_unwritable(&gateway, &saved, &tag, &first).await;
    for model in ["one", "two", "three"] {
        list(&gateway, model);
        until(model, || lists(&gateway, model)).await;
    }
    other.execute_batch("ROLLBACK").unwrap();
    until("writing again", || is_ready(&gateway)).await;
    assert_eq!(gateway.chat(CHAT).await.status, 200);
    assert_eq!(
        asked.lock().unwrap().len(),
        3,
        "what is refused asks nobody"
    );
    // A refused change isn't made later, and the configuration in force is in the history.
    assert!(!lists(&gateway, "saved").await);
    until("the history", || async {
        versions().await["versions"].as_array().unwrap().len() == 4
    })
    .await;
    for (nth, model) in ["three", "two", "one"].iter().enumerate() {
        let id = versions().await["versions"][nth]["id"].clone();
        let path = format!("/api/config/history/{}", id.as_str().unwrap());
        let text = get(&gateway, &path).await.json()["text"].to_string();
        assert!(text.contains(model), "{text}");
    }
    let audit = get(&gateway, "/api/audit").await.json();
    let kinds: Vec<_> = audit["audit"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["kind"])
        .collect();
    assert!(!kinds.contains(&&json!("config_saved")), "{kinds:?}");
    assert!(!kinds.contains(&&json!("quota_refilled")), "{kinds:?}");
}

fn swap(from: &Path, to: &Path) {
    std::fs::rename(from, to).unwrap();
}

#[tokio::test]
async fn a_database_that_is_moved_or_replaced_is_noticed_and_nothing_is_accepted() {
    let (gateway, asked) = gateway().await;
    assert_eq!(gateway.chat(CHAT).await.status, 200);
    gateway.record().await;
    let (_, tag) = shown(&gateway).await;
    let text = std::fs::read_to_string(gateway.config()).unwrap();
    let (away, mut count) = (state(&gateway, "away"), 1);
    for name in ["iris.db", "iris.db-wal"] {
        let file = state(&gateway, name);
        for is_replaced in [false, true] {
            swap(&file, &away);
            if is_replaced {
                std::fs::copy(&away, &file).unwrap();
            }
            let what = format!("{name} {is_replaced}");
            // Before anything else can notice.
            assert_refused(&what, &gateway.chat(CHAT).await);
            until(&what, || async { !is_ready(&gateway).await }).await;
            assert_refused(&what, &gateway.chat(CHAT).await);
            assert_unwritable(&gateway, &text, &tag, &json!("none")).await;
            let status = get(&gateway, "/api/status").await.json();
            let warnings = status["warnings"].as_array().unwrap();
            let kinds: Vec<_> = warnings
                .iter()
                .map(|one| one["kind"].as_str().unwrap())
                .collect();
            assert_eq!(kinds, ["ledger_file_gone"], "{what}");
            let message = warnings[0]["message"].as_str().unwrap();
            let words = if is_replaced {
                "was replaced"
            } else {
                "was deleted or moved"
            };
            assert!(
                message.contains(words) && message.contains(name),
                "{message}"
            );
            assert_eq!(warnings[0]["severity"], "critical");
            // It can be written again, and everything works.
            swap(&away, &file);
            until(&what, || is_ready(&gateway)).await;
            assert_eq!(gateway.chat(CHAT).await.status, 200, "{what}");
            count += 1;
        }
    }
    assert_eq!(asked.lock().unwrap().len(), count);
    until("all are on record", || async {
        let page = get(&gateway, "/api/requests?limit=50").await.json();
        page["requests"].as_array().unwrap().len() == count
    })
    .await;
}

#[tokio::test]
async fn a_response_that_is_acknowledged_ends_once_its_record_is_written() {
    let (address, _asked) = server("127.0.0.1:0", |_| ("200 OK", COMPLETION.to_owned())).await;
    let more = json!({ "records": { "acknowledge": true } });
    let gateway = Gateway::start(address, more).await;
    assert_eq!(gateway.chat(CHAT).await.status, 200);
    let other = rusqlite::Connection::open(state(&gateway, "iris.db")).unwrap();
    other.busy_timeout(Duration::from_secs(10)).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let mut stream = gateway.raw_chat(CHAT).await;
    let mut text = Vec::new();
    let early = async { while stream.read_buf(&mut text).await.unwrap() > 0 {} };
    let early = tokio::time::timeout(Duration::from_secs(1), early).await;
    assert!(early.is_err(), "it waits");
    assert!(!is_whole(&text), "{}", String::from_utf8_lossy(&text));
    // What has no record waits for none.
    until("it is known", || async { !is_ready(&gateway).await }).await;
    assert_refused("request", &within("request", gateway.chat(CHAT)).await);
    other.execute_batch("ROLLBACK").unwrap();
    within("the end", async {
        while !is_whole(&text) {
            assert!(stream.read_buf(&mut text).await.unwrap() > 0, "it is cut");
        }
    })
    .await;
    // Whether they are folded or not.
    let sql = "SELECT (SELECT COUNT(*) FROM requests) \
        + (SELECT COALESCE(SUM(records), 0) FROM journal)";
    let written: i64 = other.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(written, 2);
}

fn is_whole(response: &[u8]) -> bool {
    response.ends_with(COMPLETION.as_bytes())
}
