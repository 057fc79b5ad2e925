//! Files with secrets that change while the gateway runs, and configurations that are broken meanwhile.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Gateway;
use crate::management::{get, put, shown};
use support::provider::{COMPLETION, Log, server};

/// A gateway whose provider's key is in a file of `dir`, and the requests that the provider gets.
async fn gateway(key: &Path) -> (Gateway, Log) {
    let (address, log) = server("127.0.0.1:0", |_| ("200 OK", COMPLETION.to_owned())).await;
    let reference = format!("${{file:{}}}", key.display());
    let gateway = Gateway::start(address, json!({ "provider": { "apikey": reference } })).await;
    (gateway, log)
}

/// Asks until the provider is sent this key.
async fn sent(gateway: &Gateway, log: &Log, key: &str) {
    let wanted = format!("Bearer {key}");
    let mut last = None;
    for _ in 0..60 {
        let reply = gateway.chat(r#"{"model":"m","messages":[]}"#).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        last = {
            let seen = log.lock().unwrap();
            seen.last()
                .and_then(|one| one.header("authorization").map(str::to_owned))
        };
        if last.as_deref() == Some(&wanted) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{wanted:?} was not sent, but {last:?}");
}

async fn findings(gateway: &Gateway, wanted: &str) {
    for _ in 0..60 {
        let status = get(gateway, "/api/status").await.json();
        if status["warnings"].to_string().contains(wanted) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{wanted:?} is not told of");
}

#[tokio::test]
async fn a_key_is_read_again_however_its_file_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    // As Kubernetes mounts a secret: the file is a link through a link to a folder.
    let mount = |name: &str, key: &str| {
        std::fs::create_dir(dir.path().join(name)).unwrap();
        std::fs::write(dir.path().join(name).join("key"), format!("{key}\n")).unwrap();
        symlink(name, dir.path().join("..data_tmp")).unwrap();
        std::fs::rename(dir.path().join("..data_tmp"), dir.path().join("..data")).unwrap();
    };
    mount("..1", "sk-first");
    let key = dir.path().join("key");
    symlink("..data/key", &key).unwrap();
    let (gateway, log) = gateway(&key).await;
    sent(&gateway, &log, "sk-first").await;
    mount("..2", "sk-second");
    sent(&gateway, &log, "sk-second").await;
    // In place, and replaced by another file.
    std::fs::write(dir.path().join("..2/key"), "sk-third").unwrap();
    sent(&gateway, &log, "sk-third").await;
    std::fs::write(dir.path().join("new"), "sk-fourth\r\n").unwrap();
    std::fs::rename(dir.path().join("new"), &key).unwrap();
    sent(&gateway, &log, "sk-fourth").await;
}

#[tokio::test]
async fn a_key_stays_while_its_file_is_missing_or_half_written() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    std::fs::write(&key, "sk-first\n").unwrap();
    let (gateway, log) = gateway(&key).await;
    sent(&gateway, &log, "sk-first").await;
    for content in [None, Some(""), Some("sk-half\nof it")] {
        match content {
            Some(content) => std::fs::write(&key, content).unwrap(),
            None => std::fs::remove_file(&key).unwrap(),
        }
        // The file has been read since.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        sent(&gateway, &log, "sk-first").await;
        findings(&gateway, "the previous value stays in use").await;
    }
    std::fs::write(&key, "sk-second").unwrap();
    sent(&gateway, &log, "sk-second").await;
}

fn change(gateway: &Gateway, change: impl FnOnce(&mut Value)) {
    let text = std::fs::read_to_string(gateway.config()).unwrap();
    let mut document: Value = serde_json::from_str(&text).unwrap();
    change(&mut document);
    std::fs::write(gateway.config(), document.to_string()).unwrap();
}

#[tokio::test]
async fn a_mistyped_section_takes_nothing_from_a_running_gateway() {
    let (address, _log) = server("127.0.0.1:0", |_| ("200 OK", COMPLETION.to_owned())).await;
    let gateway = Gateway::start(address, json!({})).await;
    let grants = |document: &mut Value, from: &str, to: &str| {
        let section = document.as_object_mut().unwrap().remove(from).unwrap();
        document[to] = section;
    };
    change(&gateway, |document| grants(document, "grants", "grnats"));
    findings(&gateway, "grnats").await;
    let reply = gateway.chat(r#"{"model":"m","messages":[]}"#).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    // Once corrected, it takes effect.
    change(&gateway, |document| {
        grants(document, "grnats", "grants");
        document["providers"]["p"]["models"] = json!(["other"]);
    });
    for _ in 0..60 {
        if gateway
            .chat(r#"{"model":"other","messages":[]}"#)
            .await
            .status
            == 200
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the configuration did not take effect");
}

#[tokio::test]
async fn what_would_end_the_next_start_is_not_saved() {
    let (address, _log) = server("127.0.0.1:0", |_| ("200 OK", COMPLETION.to_owned())).await;
    let gateway = Gateway::start(address, json!({})).await;
    let (document, tag) = shown(&gateway).await;
    let document: Value = serde_json::from_str(document["config"].as_str().unwrap()).unwrap();
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = held.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let folder_url = format!("sqlite:{}", folder.path().display());
    for (section, key, value, says) in [
        ("database", "url", "mysql://iris:CANARY-pw@h/x", "mysql"),
        (
            "database",
            "url",
            "postgresql+asyncpg://iris:CANARY-pw@h/x",
            "postgres://",
        ),
        ("database", "url", "host=h password=CANARY-pw", "key=value"),
        (
            "database",
            "url",
            "sqlite:/none/there/iris.db",
            "/none/there",
        ),
        ("database", "url", &*folder_url, "directory"),
        (
            "database",
            "url",
            "postgres://iris:CANARY-pw@127.0.0.1:1/x",
            "database.url",
        ),
        ("listen", "loopback", &*taken, "in use"),
        (
            "tailnet",
            "socket",
            "/none/tailscaled.sock",
            "/none/tailscaled.sock",
        ),
    ] {
        let mut changed = document.clone();
        if section == "tailnet" {
            changed["tailnet"]["mode"] = json!("host");
        }
        if changed.get(section).is_none() {
            changed[section] = json!({});
        }
        changed[section][key] = json!(value);
        let reply = put(&gateway, &changed.to_string(), &tag).await;
        let told = reply.text();
        assert_eq!(reply.status, 422, "{value}: {told}");
        assert!(
            told.contains(says) && !told.contains("CANARY"),
            "{value}: {told}"
        );
    }
    drop(held);
}
