//! Callers with the same name, or with a name that reads like another caller's: people choose logins, and
//! no two callers share data because of them.

use futures_util::FutureExt;
use serde_json::{Value, json};

use crate::daemon::{
    AMELIE, DEV, KIM, NAMESAKE, OTHER_KIM, PROD, Person, READS_LIKE, SUCCESSOR, tags,
};
use crate::world::{Gateway, until};
use support::provider::{COMPLETION, answer, provider};

pub const TESTS: &[support::harness::Test<()>] = support::tests![
    who_shares_a_name_shares_nothing,
    nobody_is_what_their_name_reads_like,
];

const SECRET: &str = "amelie-asked-this";

async fn gateway() -> Gateway {
    let (upstream, received) = provider(|mut stream| {
        async move { answer(&mut stream, "200 OK", "", COMPLETION).await }.boxed()
    })
    .await;
    drop(received);
    let grant = |src: Value, objects: Value| json!({ "src": src, "app": { "tailscale.com/cap/aperture": objects } });
    let models =
        json!([{ "role": "user" }, { "models": "**", "quotas": [{ "bucket": "q:<user>" }] }]);
    let config = json!({
        "providers": { "p": { "baseurl": format!("http://{upstream}"), "models": ["m"] } },
        "chat": { "history": "ledger" },
        "quotas": { "q:<user>": { "capacity": "10 requests" } },
        "grants": [
            grant(json!(["kim@example.com"]), json!([{ "role": "admin" }])),
            grant(json!(["amelie@passkey", tags("prod")[0]]), models),
            grant(json!(["autogroup:admin", "tag:ci", "(loopback)", "user:kim@example.com"]), json!([{ "role": "admin" }])),
        ],
    });
    Gateway::start(config, &[]).await
}

async fn list(who: Person, path: &str, key: &str) -> Vec<Value> {
    let reply = who.get(path).await;
    assert_eq!(reply.status, 200, "{} {path}: {}", who.node, reply.text);
    reply.json()[key].as_array().cloned().unwrap_or_default()
}

/// What is left in a caller's own buckets.
async fn left(who: Person) -> Vec<i64> {
    let quotas = list(who, "/api/quotas", "quotas").await;
    quotas
        .iter()
        .filter_map(|one| one["current"].as_i64())
        .collect()
}

async fn who_shares_a_name_shares_nothing() {
    let _gateway = gateway().await;
    let chat =
        json!({ "model": "m", "messages": [{ "role": "user", "content": SECRET }] }).to_string();
    let session = [("x-session-id", "one-conversation")];
    for who in [AMELIE, PROD] {
        let reply = who
            .ask("POST", "/v1/chat/completions", &chat, &session)
            .await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        let kept = json!({ "title": SECRET, "body": { "text": SECRET } }).to_string();
        let reply = who.ask("PUT", "/api/chats/c1", &kept, &[]).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        until("a record", || async {
            list(who, "/api/requests", "requests").await.len() == 1
        })
        .await;
        assert_eq!(left(who).await, [9]);
    }
    let own = list(AMELIE, "/api/requests", "requests").await;
    let capture = format!("/api/requests/{}/capture", own[0]["id"].as_str().unwrap());
    assert!(AMELIE.get(&capture).await.text.contains(SECRET));
    for other in [NAMESAKE, SUCCESSOR, DEV] {
        for (path, key) in [
            ("/api/requests", "requests"),
            ("/api/sessions", "sessions"),
            ("/api/chats", "chats"),
            ("/api/usage?by=login", "rows"),
            ("/api/tools", "tools"),
        ] {
            let rows = list(other, path, key).await;
            assert!(rows.is_empty(), "{} sees {rows:?} at {path}", other.node);
        }
        for path in [capture.as_str(), "/api/chats/c1"] {
            assert_eq!(other.get(path).await.status, 404, "{} {path}", other.node);
        }
        for page in ["/ui/", "/ui/requests", "/ui/sessions", "/ui/chat"] {
            let page = other.page(page).await.text;
            assert!(
                !page.contains(SECRET) && !page.contains("1 session<"),
                "{page}"
            );
        }
        assert_eq!(left(other).await, [10], "{}", other.node);
        // What they do is theirs, in a session of the same name as well.
        let reply = other
            .ask("POST", "/v1/chat/completions", &chat, &session)
            .await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        until("a record", || async { left(other).await == [9] }).await;
    }
    for who in [AMELIE, PROD] {
        assert_eq!(left(who).await, [9], "{}", who.node);
        assert_eq!(
            list(who, "/api/sessions", "sessions").await[0]["requests"],
            1
        );
    }
    one_bucket_of_several_is_refilled().await;
    assert_eq!(list(KIM, "/api/sessions", "sessions").await.len(), 5);
}

/// An admin sees all, and names one bucket of several that are called the same.
async fn one_bucket_of_several_is_refilled() {
    let quotas = list(KIM, "/api/quotas", "quotas").await;
    let called: Vec<&str> = quotas
        .iter()
        .filter(|one| one["bucket"] == "q:amelie@passkey")
        .filter_map(|one| one["key"].as_str())
        .collect();
    assert_eq!(called.len(), 2, "{quotas:?}");
    let refill = async |bucket: &str| {
        let body = json!({ "bucket": bucket, "amount": "1 requests" }).to_string();
        KIM.ask("POST", "/api/quotas/refill", &body, &[]).await
    };
    let reply = refill("q:amelie@passkey").await;
    assert_eq!(reply.status, 409, "{}", reply.text);
    assert!(
        called.iter().all(|key| reply.text.contains(key)),
        "{}",
        reply.text
    );
    let hers = "requests|q:<user>|user:10";
    assert!(called.contains(&hers), "{called:?}");
    assert_eq!(refill(hers).await.status, 200);
    assert_eq!(
        (left(AMELIE).await, left(SUCCESSOR).await),
        (vec![10], vec![9])
    );
}

async fn nobody_is_what_their_name_reads_like() {
    let _gateway = gateway().await;
    for who in READS_LIKE {
        let reply = who.get("/api/whoami").await;
        assert_eq!(reply.status, 403, "{}: {}", who.login, reply.text);
    }
    // The admin's login means the admin, and not a user with that login in another tailnet.
    assert_eq!(KIM.get("/api/whoami").await.json()["role"], "admin");
    let abroad = OTHER_KIM.get("/api/whoami").await.json();
    assert_eq!(abroad["role"], "user");
    assert_eq!(abroad["login"], "external:kim@example.com");
    assert_eq!(OTHER_KIM.get("/api/config").await.status, 403);
}
