//! Responses that are kept: each caller's are their own, unless a grant shares them.

use serde_json::{Value, json};

use crate::daemon::{ADA, BOB, Person};
use crate::echo::Heard;
use crate::world::Gateway;

pub const TESTS: &[support::harness::Test<()>] =
    support::tests![a_kept_response_is_its_callers_unless_grants_share_it,];

/// Ada and Bob, each with a grant for a cache that may say that it is shared.
async fn gateway(heard: &Heard, ada: Value, bob: Value) -> Gateway {
    let provider = heard.listen("provider").await;
    let grant = |person: Person, cache: Value| {
        json!({ "src": [person.login], "app": { "tailscale.com/cap/aperture": [
            { "role": "user" }, { "models": "**", "cache": cache }] } })
    };
    let config = json!({
        "providers": { "p": { "baseurl": format!("http://{provider}"), "models": ["m"] } },
        "grants": [grant(ADA, ada), grant(BOB, bob)],
    });
    Gateway::start(config, &[]).await
}

/// Whether a response was kept.
async fn is_hit(person: Person) -> bool {
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hello" }] });
    let answer = person
        .ask("POST", "/v1/chat/completions", &body.to_string(), &[])
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer
        .headers
        .get("x-iris-cache")
        .is_some_and(|mark| mark == "hit")
}

async fn until_hit(person: Person) {
    for _ in 0..100 {
        if is_hit(person).await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("nothing is kept for {}", person.login);
}

async fn a_kept_response_is_its_callers_unless_grants_share_it() {
    let (own, shared) = (
        json!({ "for": "1h" }),
        json!({ "for": "1h", "shared": true }),
    );
    for (ada, bob, both) in [
        (&own, &own, false),
        (&shared, &own, false),
        (&own, &shared, false),
        (&shared, &shared, true),
    ] {
        let heard = Heard::default();
        let gateway = gateway(&heard, ada.clone(), bob.clone()).await;
        until_hit(ADA).await;
        assert_eq!(is_hit(BOB).await, both, "{ada} and {bob}");
        until_hit(BOB).await;
        drop(gateway);
    }
}
