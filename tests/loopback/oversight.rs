//! What admins may see of others' requests, and what the log has about it and about refusals.

use http::{Method, StatusCode};
use iris::records::{
    AuditQuery, Audited, Capture, Entry, EntryId, Ledger, Outcome, Record, Tokens, ToolCall,
};
use serde_json::{Value, json};

use crate::Gateway;
use crate::management::{ask, audited, get};
use support::provider::{COMPLETION, answer, provider};

async fn gateway(more: Value) -> Gateway {
    let (address, _received) = provider(|mut stream| {
        Box::pin(async move { answer(&mut stream, "200 OK", "", COMPLETION).await })
    })
    .await;
    Gateway::start(address, more).await
}

fn grants(objects: &Value) -> Value {
    json!([{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": objects } }])
}

/// The gateway's ledger, as another node would open it.
fn ledger(gateway: &Gateway) -> Ledger {
    let state = gateway.config().with_file_name("state");
    Ledger::open("sqlite:iris.db", &state).unwrap()
}

/// The whole log of a gateway that has stopped.
async fn all_audited(gateway: &Gateway) -> Vec<Audited> {
    let query = AuditQuery {
        limit: 100,
        ..AuditQuery::default()
    };
    ledger(gateway).audited(query).await.unwrap()
}

/// A request of another caller, with its content.
async fn somebody_elses(gateway: &Gateway) -> String {
    let at = 1_795_600_000_000;
    let entry = Entry {
        id: EntryId::new(at),
        session: "s".into(),
        started_at: at,
        caller: "user:7".into(),
        login: "ann@example.com".into(),
        node_id: "n1".into(),
        node_name: "laptop".into(),
        tags: Vec::new(),
        agent: "other".into(),
        api: "openai_chat".into(),
        model_requested: "m".into(),
        model: "m".into(),
        provider: "p".into(),
        method: "POST".into(),
        path: "/v1/chat/completions".into(),
        status: 200,
        outcome: Outcome::Complete,
        stream: false,
        tokens: Tokens::default(),
        cost: None,
        cost_basis: None,
        own_credential: false,
        finish_reason: None,
        tool_calls: 1,
        first_byte_ms: None,
        first_token_ms: None,
        duration_ms: 1.0,
        overhead_ms: None,
        request_bytes: 1,
        response_bytes: 1,
        user_agent: "".into(),
        reasons: Vec::new(),
        error: None,
        captured: true,
    };
    let id = entry.id.to_string();
    let mut record = Record::from(entry);
    record.tools = vec![ToolCall {
        name: "read".into(),
        params: "{\"path\":\"the private path\"}".into(),
    }];
    record.capture = Some(Capture {
        request_body: "the private question".into(),
        ..Capture::default()
    });
    let ledger = ledger(gateway);
    ledger.admit().unwrap().record(record);
    ledger.flush().await.unwrap();
    id
}

#[tokio::test]
async fn an_admin_reads_what_others_said_and_that_is_on_record() {
    let gateway = gateway(json!({})).await;
    let id = somebody_elses(&gateway).await;
    let capture = get(&gateway, &format!("/api/requests/{id}/capture")).await;
    assert!(capture.text().contains("the private question"));
    let looks = audited(&gateway, "capture_read").await;
    assert_eq!(looks.len(), 1);
    assert_eq!(
        (&looks[0]["subject"], &looks[0]["detail"]["login"]),
        (&json!(id), &json!("ann@example.com"))
    );
    assert_eq!(looks[0]["caller"], "loopback");
    // Reading your own isn't logged.
    gateway.chat(r#"{"model":"m","messages":[]}"#).await;
    let own = gateway
        .record_where(|row| row["login"] == "(loopback)")
        .await;
    let own = format!("/api/requests/{}/capture", own["id"].as_str().unwrap());
    assert_eq!(get(&gateway, &own).await.status, StatusCode::OK);
    assert_eq!(audited(&gateway, "capture_read").await.len(), 1);
    // Without a note there is nothing to read.
    let database = gateway.config().with_file_name("state").join("iris.db");
    let other = rusqlite::Connection::open(database).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let capture = get(&gateway, &format!("/api/requests/{id}/capture")).await;
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(capture.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!capture.text().contains("private"));
}

#[tokio::test]
async fn where_it_is_said_so_an_admin_needs_a_grant_to_read_what_others_said() {
    let strict = json!({ "admins_read_captures": false });
    for (objects, may) in [
        (json!([{ "role": "admin" }]), false),
        (json!([{ "role": "admin", "read_captures": true }]), true),
    ] {
        let gateway = gateway(json!({ "access": strict, "grants": grants(&objects) })).await;
        let id = somebody_elses(&gateway).await;
        let capture = get(&gateway, &format!("/api/requests/{id}/capture")).await;
        let status = if may {
            StatusCode::OK
        } else {
            StatusCode::FORBIDDEN
        };
        assert_eq!(capture.status, status);
        let row = get(&gateway, &format!("/api/requests/{id}")).await;
        assert_eq!(row.text().contains("the private path"), may);
        assert_eq!(row.json()["tools"][0]["name"], "read");
        assert_eq!(capture.text().contains("private"), may);
    }
}

#[tokio::test]
async fn who_is_refused_again_and_again_is_one_row() {
    let user = grants(&json!([{ "role": "user" }]));
    let mut gateway = gateway(json!({ "grants": user })).await;
    for nth in 0..30 {
        assert_eq!(get(&gateway, "/api/audit").await.status, 403);
        let one = format!("/api/config/history/{nth}");
        assert_eq!(get(&gateway, &one).await.status, 403);
    }
    let config = json!({ "config": "{}" });
    let put = ask(&gateway, &Method::PUT, "/aperture/config", &config, &[]).await;
    assert_eq!(put.status, StatusCode::FORBIDDEN);
    gateway.stop().await;
    let rows = all_audited(&gateway);
    let rows = rows.await;
    assert!(rows.iter().all(|row| row.caller == "loopback"), "{rows:?}");
    let mut rows: Vec<(String, i64)> = rows
        .into_iter()
        .map(|row| (row.subject, row.count))
        .collect();
    rows.sort();
    let expected = [
        ("/aperture/config", 1),
        ("/api/audit", 30),
        ("/api/config/history/{id}", 30),
    ];
    let expected = expected.map(|(route, count)| (route.to_owned(), count));
    assert_eq!(rows, expected);
}

#[tokio::test]
async fn who_has_no_role_is_noted_on_the_way_to_models_too() {
    let mut gateway = gateway(json!({ "grants": [] })).await;
    for _ in 0..5 {
        let reply = gateway.chat(r#"{"model":"m","messages":[]}"#).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN);
    }
    gateway.stop().await;
    let rows = all_audited(&gateway);
    let rows = rows.await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(
        (rows[0].subject.as_str(), rows[0].count),
        ("openai_chat", 5)
    );
    assert_eq!(rows[0].detail["code"], "no_role");
}
