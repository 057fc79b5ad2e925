//! Aliases that stand for a cheaper model while a budget runs low.

use serde_json::{Value, json};

use crate::Gateway;
use support::provider::{COMPLETION, Log, server};

const ASK: &str = r#"{"model":"smart","max_tokens":5,"messages":[]}"#;

/// A gateway whose alias `smart` stands for `p/m`, a cent for each request, and then for `q/n`, which is
/// free; and what both providers get.
async fn gateway(budget: Value, status: &'static str, routing: Value) -> (Gateway, Log, Log) {
    let (dear, asked_dear) = server("127.0.0.1:0", |_| ("200 OK", COMPLETION.to_owned())).await;
    let cheap = move |_: &_| {
        (
            status,
            COMPLETION.replace(r#""model":"m""#, r#""model":"n""#),
        )
    };
    let (cheap, asked_cheap) = server("127.0.0.1:0", cheap).await;
    let dst = ["p/m", "q/n"];
    let document = json!({
        "prices": { "m": { "input": "1250", "output": "1250" }, "n": { "input": "0", "output": "0" } },
        "others": { "q": { "baseurl": format!("http://{cheap}"), "models": ["n"] } },
        "model_aliases": { "models": { "smart": { "strategy": "budget", "dst": dst } } },
        "quotas": { "b": budget },
        "routing": routing,
        "grants": [{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [
            { "role": "admin" }, { "models": "**", "quotas": [{ "bucket": "b" }] }] } }],
    });
    let gateway = Gateway::start(dear, document).await;
    (gateway, asked_dear, asked_cheap)
}

fn count(log: &Log) -> usize {
    log.lock().unwrap().len()
}

#[tokio::test]
async fn below_the_threshold_the_next_destination_is_asked_and_it_is_said() {
    for failover in [true, false] {
        // Two cents are spent before less than 7 are left.
        let budget = json!({ "capacity": "$0.09", "warn_below": "$0.071" });
        let (gateway, dear, cheap) =
            gateway(budget, "200 OK", json!({ "failover": failover })).await;
        for _ in 0..4 {
            assert_eq!(gateway.chat(ASK).await.status, 200);
        }
        assert_eq!((count(&dear), count(&cheap)), (2, 2), "failover {failover}");
        let reply = gateway.chat(ASK).await;
        let said = reply.headers["x-iris-quota-warning"].to_str().unwrap();
        assert_eq!(said, "p/m is spared for b: $0.07 left of $0.09", "{said}");
        let row = gateway.record_where(|row| row["model"] == "n").await;
        let reasons = row["reasons"].to_string();
        assert!(
            reasons
                .contains(r#"put off because a budget runs low: \"p/m\" (b: $0.07 left of $0.09)"#),
            "{reasons}"
        );
    }
}

/// A budget that is used up can't pay for the first, and the second costs nothing.
#[tokio::test]
async fn a_budget_that_is_used_up_leaves_the_last_resort() {
    let budget = json!({ "capacity": "$0.01", "warn_below": "10%" });
    let (gateway, dear, cheap) = gateway(budget, "200 OK", json!({})).await;
    for _ in 0..3 {
        gateway.chat(ASK).await;
    }
    assert_eq!(count(&dear), 1);
    // The bucket is closed for all that it pays for.
    assert_eq!(count(&cheap), 0);
    assert_eq!(gateway.chat(ASK).await.status, 429);
}

#[tokio::test]
async fn if_the_cheaper_one_fails_the_dearer_one_answers_after_all() {
    let budget = json!({ "capacity": "$0.09", "warn_below": "$0.085" });
    let failing = "500 Internal Server Error";
    let (gateway, dear, cheap) = gateway(budget, failing, json!({})).await;
    for _ in 0..2 {
        assert_eq!(gateway.chat(ASK).await.status, 200);
    }
    assert_eq!((count(&dear), count(&cheap)), (2, 1));
}

#[tokio::test]
async fn without_failover_a_failure_is_not_asked_of_another() {
    let budget = json!({ "capacity": "$0.09", "warn_below": "$0.085" });
    let failing = "500 Internal Server Error";
    let (gateway, dear, cheap) = gateway(budget, failing, json!({ "failover": false })).await;
    assert_eq!(gateway.chat(ASK).await.status, 200);
    assert_eq!(gateway.chat(ASK).await.status, 500);
    assert_eq!((count(&dear), count(&cheap)), (1, 1));
}

#[tokio::test]
async fn a_threshold_that_no_budget_has_is_found() {
    let (gateway, ..) = gateway(json!({ "capacity": "$1.00" }), "200 OK", json!({})).await;
    let request = http::Request::get("/api/status").body(http_body_util::Full::default());
    let status = gateway.send(request.unwrap()).await.json().to_string();
    assert!(
        status.contains("no budget in `quotas` has a `warn_below`"),
        "{status}"
    );
}
