//! Saves of the configuration that must fail or be safe: races, secrets that would go to another place,
//! files that an admin must not read, and a log that can't be written.

use std::os::unix::fs::PermissionsExt;

use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::Gateway;
use crate::management::{ask, audited, get, put, shown};
use support::provider::{COMPLETION, answer, provider};

const CANARY: &str = "sk-canary-0123456789";
const VALIDATE: &str = "/aperture/config:validate";

async fn gateway(more: Value) -> Gateway {
    let (address, _received) = provider(|mut stream| {
        Box::pin(async move { answer(&mut stream, "200 OK", "", COMPLETION).await })
    })
    .await;
    Gateway::start(address, more).await
}

fn with_key() -> Value {
    json!({ "provider": { "apikey": CANARY, "add_headers": [format!("X-Team: {CANARY}")] } })
}

/// The document as it is shown, to be changed, with its tag.
async fn document(gateway: &Gateway) -> (Value, String) {
    let (shown, tag) = shown(gateway).await;
    let text = shown["config"].as_str().unwrap();
    (serde_json::from_str(text).unwrap(), tag)
}

fn on_disk(gateway: &Gateway) -> String {
    std::fs::read_to_string(gateway.config()).unwrap()
}

#[tokio::test]
async fn a_stored_secret_can_not_be_sent_elsewhere_by_who_may_save() {
    let gateway = gateway(with_key()).await;
    let before = on_disk(&gateway);
    let (mut document, tag) = document(&gateway).await;
    document["providers"]["p"]["baseurl"] = json!("http://127.0.0.1:9");
    let reply = put(&gateway, &document.to_string(), &tag).await;
    assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY);
    let told = reply.json();
    assert!(
        told["detail"]
            .as_str()
            .unwrap()
            .contains("would now be sent elsewhere"),
        "{told}"
    );
    let places: Vec<&str> = told["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["location"].as_str().unwrap())
        .collect();
    assert!(places.contains(&"providers.p.apikey"), "{places:?}");
    assert_eq!(on_disk(&gateway), before);
    // With the secret itself it is allowed.
    document["providers"]["p"]["apikey"] = json!("another");
    document["providers"]["p"]["add_headers"] = json!([]);
    assert_eq!(put(&gateway, &document.to_string(), &tag).await.status, 200);
}

#[tokio::test]
async fn a_key_that_can_not_be_one_and_a_name_of_nobody_are_not_saved() {
    let gateway = gateway(with_key()).await;
    let before = on_disk(&gateway);
    let (document, tag) = document(&gateway).await;
    let mut wrongs = Vec::new();
    for key in [
        "\"k-CANARY\"",
        "Bearer k-CANARY",
        "$OPENAI_KEY",
        "sk-...",
        "k\u{200b}CANARY",
    ] {
        let mut wrong = document.clone();
        wrong["providers"]["p"]["apikey"] = json!(key);
        wrongs.push((wrong, "providers.p.apikey"));
    }
    for name in ["tagg:ci", "100.64.0.1", "user:alice@example.com"] {
        let mut wrong = document.clone();
        wrong["groups"] = json!({ "group:ml": [name] });
        wrongs.push((wrong, "groups.group:ml[0]"));
    }
    for (wrong, place) in wrongs {
        let reply = put(&gateway, &wrong.to_string(), &tag).await;
        let told = reply.json();
        assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY, "{told}");
        let all = told.to_string();
        assert!(
            all.contains(place) && !all.contains("CANARY"),
            "{place}: {all}"
        );
        assert_eq!(on_disk(&gateway), before);
    }
}

#[tokio::test]
async fn a_stored_secret_is_not_sent_to_another_certificate() {
    let certificate = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/self-signed.crt"
    );
    let certificate = std::fs::read_to_string(certificate).unwrap();
    let gateway = gateway(with_key()).await;
    let (mut document, tag) = document(&gateway).await;
    document["providers"]["p"]["ca"] = json!(certificate);
    let reply = put(&gateway, &document.to_string(), &tag).await;
    assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY);
    let told = reply.json().to_string();
    assert!(told.contains("would now be sent elsewhere"), "{told}");
}

#[tokio::test]
async fn who_may_save_can_not_read_the_machine() {
    let allowed = json!({ "references": ["IRIS_TEST_*"] });
    let gateway = gateway(json!({ "access": allowed, "provider": { "apikey": CANARY } })).await;
    let (document, tag) = document(&gateway).await;
    for name in ["PATH", "file:/etc/passwd", "file:iris.hujson", "file:/none"] {
        let mut changed = document.clone();
        changed["providers"]["p"]["description"] = json!(format!("${{{name}}}"));
        let text = changed.to_string();
        let reply = put(&gateway, &text, &tag).await;
        assert_eq!(reply.status, 422, "{name}");
        assert!(
            reply.text().contains("does not stand here"),
            "{}",
            reply.text()
        );
        // Nor whether a file exists.
        let body = json!({ "config": text });
        let verdict = ask(&gateway, &Method::POST, VALIDATE, &body, &[])
            .await
            .json();
        assert!(
            verdict["errors"][0]
                .as_str()
                .unwrap()
                .contains("does not stand here")
        );
        let told = ask(&gateway, &Method::POST, "/api/config/dry-run", &body, &[])
            .await
            .json();
        assert_eq!(told["valid"], false);
    }
    let mut changed = document.clone();
    changed["access"]["references"] = json!(["PAT*"]);
    let reply = put(&gateway, &changed.to_string(), &tag).await;
    assert!(
        reply
            .text()
            .contains("access.references can be changed only in the file")
    );
    let mut changed = document.clone();
    changed["providers"]["p"]["apikey"] = json!("${IRIS_TEST_NONE}");
    let reply = put(&gateway, &changed.to_string(), &tag).await;
    assert!(
        reply
            .text()
            .contains("unsubstituted macros: [IRIS_TEST_NONE]"),
        "{}",
        reply.text()
    );
}

#[tokio::test]
async fn of_two_who_save_at_once_one_is_told_to_read_again() {
    let gateway = gateway(with_key()).await;
    let (document, tag) = document(&gateway).await;
    let saves = (0..8).map(|nth| {
        let mut changed = document.clone();
        changed["providers"]["p"]["name"] = json!(format!("name {nth}"));
        let (gateway, tag) = (&gateway, tag.clone());
        async move {
            put(gateway, &changed.to_string(), &tag)
                .await
                .status
                .as_u16()
        }
    });
    let mut statuses = futures_util::future::join_all(saves).await;
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412, 412, 412, 412, 412, 412, 412]);
    // A change on the disk counts as well, and is reported before errors of the text.
    let (_, tag) = shown(&gateway).await;
    std::fs::write(gateway.config(), format!("{} ", on_disk(&gateway))).unwrap();
    assert_eq!(put(&gateway, "{", &tag).await.status, 412);
    let (now, _) = shown(&gateway).await;
    let many = format!("\"none\", \"{}\"", now["hash"].as_str().unwrap());
    let text = now["config"].as_str().unwrap();
    assert_eq!(put(&gateway, text, &many).await.status, 200);
}

#[tokio::test]
async fn what_can_not_be_noted_is_not_done() {
    let gateway = gateway(with_key()).await;
    let before = on_disk(&gateway);
    let (mut document, tag) = document(&gateway).await;
    document["providers"]["p"]["name"] = json!("unnoted");
    let database = gateway.config().with_file_name("state").join("iris.db");
    let other = rusqlite::Connection::open(database).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let reply = put(&gateway, &document.to_string(), &tag).await;
    assert_eq!(
        reply.status,
        StatusCode::SERVICE_UNAVAILABLE,
        "{}",
        reply.text()
    );
    assert_eq!(on_disk(&gateway), before);
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(put(&gateway, &document.to_string(), &tag).await.status, 200);
    assert_eq!(audited(&gateway, "config_saved").await.len(), 1);
}

#[tokio::test]
async fn a_file_keeps_its_mode_and_its_link() {
    let gateway = gateway(with_key()).await;
    let real = gateway.config().with_file_name("real.hujson");
    std::fs::rename(gateway.config(), &real).unwrap();
    std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink(&real, gateway.config()).unwrap();
    let (mut document, tag) = document(&gateway).await;
    document["providers"]["p"]["name"] = json!("behind a link");
    assert_eq!(put(&gateway, &document.to_string(), &tag).await.status, 200);
    assert!(
        std::fs::symlink_metadata(gateway.config())
            .unwrap()
            .is_symlink()
    );
    let mode = std::fs::metadata(&real).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    assert!(on_disk(&gateway).contains("behind a link") && on_disk(&gateway).contains(CANARY));
    let folder = real.parent().unwrap();
    let names = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().file_name());
    let left = names.filter(|name| name.to_string_lossy().ends_with(".new"));
    assert_eq!(left.count(), 0);
}

#[tokio::test]
async fn no_secret_is_in_the_database_or_in_any_answer() {
    let mut gateway = gateway(with_key()).await;
    let (mut document, tag) = document(&gateway).await;
    document["providers"]["p"]["name"] = json!("renamed");
    assert_eq!(put(&gateway, &document.to_string(), &tag).await.status, 200);
    // One that is new, and one that is misplaced.
    let (_, tag) = shown(&gateway).await;
    document["providers"]["p"]["apikey"] = json!(format!("{CANARY}-new"));
    document["providers"]["p"]["authorization"] = json!(format!("{CANARY}-new"));
    let text = document.to_string();
    let mut said = put(&gateway, &text, &tag).await.text();
    let body = json!({ "config": text });
    said += &ask(&gateway, &Method::POST, VALIDATE, &body, &[])
        .await
        .text();
    said += &ask(&gateway, &Method::POST, "/api/config/dry-run", &body, &[])
        .await
        .text();
    document["providers"]["p"]["authorization"] = json!("bearer");
    assert_eq!(put(&gateway, &document.to_string(), &tag).await.status, 200);
    for path in [
        "/api/config",
        "/aperture/config",
        "/api/config/history",
        "/api/audit",
        "/api/status",
    ] {
        said += &get(&gateway, path).await.text();
    }
    let versions = get(&gateway, "/api/config/history").await.json();
    for version in versions["versions"].as_array().unwrap() {
        let id = version["id"].as_str().unwrap();
        said += &get(&gateway, &format!("/api/config/history/{id}"))
            .await
            .text();
    }
    assert!(
        said.contains("renamed") && !said.contains("canary"),
        "{said}"
    );
    gateway.stop().await;
    for file in std::fs::read_dir(gateway.config().with_file_name("state")).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap_or_default();
        let holds = |what: &[u8]| bytes.windows(what.len()).any(|at| at == what);
        assert!(!holds(b"canary"), "a secret is in the database");
    }
}

/// The version in force, once it is in the history: a start adds it there in the background.
async fn newest_version(gateway: &Gateway) -> Value {
    for _ in 0..200 {
        let versions = get(gateway, "/api/config/history").await.json();
        if versions["versions"][0].is_object() {
            return versions["versions"][0]["id"].clone();
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("there is no version");
}

#[tokio::test]
async fn a_way_back_says_which_secrets_are_gone() {
    let gateway = gateway(with_key()).await;
    let (document, tag) = document(&gateway).await;
    let first = newest_version(&gateway).await;
    let mut changed = document.clone();
    changed["providers"]["p"]["apikey"] = json!("");
    assert_eq!(put(&gateway, &changed.to_string(), &tag).await.status, 200);
    let (now, _) = shown(&gateway).await;
    let back = json!({ "id": first, "hash": now["hash"] });
    let reply = ask(&gateway, &Method::POST, "/api/config/rollback", &back, &[]).await;
    assert_eq!(reply.status, 422);
    let told = reply.json();
    assert_eq!(
        told["errors"][0]["location"], "providers.p.apikey",
        "{told}"
    );
    let other = json!({ "id": "none", "hash": now["hash"] });
    let reply = ask(&gateway, &Method::POST, "/api/config/rollback", &other, &[]).await;
    assert_eq!(reply.status, 404);
}

#[tokio::test]
async fn the_first_save_makes_the_file_and_is_in_force_without_a_restart() {
    // Without a file there is one address for local callers, which another program may have.
    if std::net::TcpListener::bind(iris::app::LOOPBACK).is_err() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let options = iris::app::Options {
        config: None,
        state_dir: dir.path().to_owned(),
    };
    let running = iris::app::start(&options).await.unwrap();
    let address = running.loopback().unwrap();
    let send = async |method: &str, path: &str, tag: Option<&str>, body: String| {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", address.to_string())
            .header("content-type", "application/json");
        if let Some(tag) = tag {
            request = request.header("if-match", tag);
        }
        let request = request.body(Full::from(body)).unwrap();
        support::http::send_to(address, request).await.unwrap()
    };
    let shown = send("GET", "/api/config", None, String::new()).await;
    assert_eq!(shown.json()["exists"], false);
    let tag = shown.headers["etag"].to_str().unwrap().to_owned();
    let config = json!({
        "tailnet": { "mode": "off" },
        "listen": { "loopback": iris::app::LOOPBACK },
        "providers": { "p": { "baseurl": "http://127.0.0.1:9", "models": ["made-by-a-save"] } },
        "grants": [{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [
            { "role": "admin" }, { "models": "**" },
        ] } }],
    });
    let body = json!({ "config": config.to_string() }).to_string();
    let reply = send("PUT", "/aperture/config", Some(&tag), body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let models = send("GET", "/v1/models", None, String::new()).await;
    assert!(models.text().contains("made-by-a-save"));
    let file = dir.path().join("iris.hujson");
    let mode = std::fs::metadata(file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    running.stop().await.unwrap();
}
