//! What crosses the gateway, byte for byte, and what does not.

use futures_util::FutureExt;
use serde_json::{Value, json};

use crate::Gateway;
use support::http::{CHAT, post};
use support::provider::{COMPLETION, Received, answer, provider};

async fn sent(
    provider_config: Value,
    headers: &[(&str, &str)],
    body: &str,
) -> (Received, support::http::Reply) {
    let (address, mut received) = provider(|mut stream| {
        async move {
            let more = "set-cookie: a=b\r\nx-own: dropped\r\nx-request-id: kept\r\nclear-site-data: \"*\"\r\nnel: {}\r\nreport-to: {}\r\nreporting-endpoints: a=\"http://x\"\r\naccept-ch: DPR\r\nx-iris-session: forged\r\nx-iris-request-id: forged\r\nauthorization: Bearer leaked\r\nkeep-alive: timeout=5\r\naccess-control-allow-origin: *\r\n";
            answer(&mut stream, "200 OK", more, COMPLETION).await;
        }
        .boxed()
    })
    .await;
    let gateway = Gateway::start(address, json!({ "provider": provider_config })).await;
    let mut request = post(CHAT, body);
    for (name, value) in headers {
        let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    let reply = gateway.send(request).await;
    (received.recv().await.unwrap(), reply)
}

#[tokio::test]
async fn vendor_fields_and_white_space_survive() {
    let body = "{ \"messages\" : [ ],\t\"model\":\"m\", \"x_vendor\": {\"a\":[1.0, 1e2]},\n\"seed\":12345678901234567890 }";
    let (received, reply) = sent(json!({}), &[], body).await;
    assert_eq!(String::from_utf8(received.body).unwrap(), body);
    assert_eq!(reply.text(), COMPLETION);
}

#[tokio::test]
async fn only_the_models_prefix_is_taken_off() {
    let (received, _) = sent(json!({}), &[], r#"{"a":1,"model":"p/m","messages":[]}"#).await;
    assert_eq!(received.body, br#"{"a":1,"model":"m","messages":[]}"#);
}

#[tokio::test]
async fn a_callers_credentials_and_claims_stay_here() {
    let given = [
        ("authorization", "Bearer own"),
        ("x-api-key", "own"),
        ("api-key", "own"),
        ("cookie", "own=1"),
        ("tailscale-user-login", "own"),
        ("tailscale_user_login", "own"),
        ("x-forwarded-for", "own"),
        ("x-webauth-user", "own"),
        ("x-real-ip", "own"),
        ("connection", "x-dropped"),
        ("x-dropped", "own"),
        ("openai-organization", "own"),
        ("x-goog-user-project", "own"),
        ("x-consumer-username", "own"),
        ("x-http-method-override", "own"),
        ("helicone-target-url", "http://own"),
        ("private-token", "own"),
        ("x-portkey-custom-host", "own"),
        ("x-rewrite-url", "own"),
        ("x-authentik-username", "own"),
        ("x-pomerium-claim-email", "own"),
        ("x-openwebui-user-email", "own"),
        ("x-auth-token", "own"),
        ("ocp-apim-subscription-key", "own"),
        ("x-goog-fieldmask", "own"),
        ("x-unheard-of", "own"),
        ("x-stainless-lang", "python"),
    ];
    let config = json!({ "apikey": "sk-provider", "add_headers": ["X-Team: eng", "OpenAI-Organization: ours"] });
    let (received, reply) = sent(config, &given, r#"{"model":"m","messages":[]}"#).await;
    let head = received.head.to_lowercase();
    assert!(!head.contains("own"), "{head}");
    for line in [
        "authorization: bearer sk-provider",
        "x-team: eng",
        "openai-organization: ours",
        "x-stainless-lang: python",
        "accept-encoding: identity",
    ] {
        assert!(head.contains(line), "{line} is not in {head}");
    }
    for gone in [
        "set-cookie",
        "authorization",
        "keep-alive",
        "access-control-allow-origin",
        "clear-site-data",
        "nel",
        "report-to",
        "reporting-endpoints",
        "accept-ch",
        "x-own",
    ] {
        assert!(!reply.headers.contains_key(gone), "{gone}");
    }
    assert_eq!(reply.headers["x-request-id"], "kept");
    let id = reply.headers["x-iris-request-id"].to_str().unwrap();
    assert!(id.starts_with("req_"), "{id}");
    let all = format!("{:?}", reply.headers);
    assert!(
        !all.contains("sk-provider") && !all.contains("forged"),
        "{all}"
    );
}

#[tokio::test]
async fn a_provider_can_let_more_headers_through() {
    let config = json!({ "pass_headers": ["X-Own", "X-Tenant", "Authorization", "Set-Cookie"] });
    let given = [("x-tenant", "t1"), ("authorization", "Bearer own")];
    let (received, reply) = sent(config, &given, r#"{"model":"m","messages":[]}"#).await;
    assert_eq!(received.header("x-tenant"), Some("t1"));
    assert_eq!(received.header("authorization"), None);
    assert_eq!(reply.headers["x-own"], "dropped");
    for gone in ["set-cookie", "authorization", "clear-site-data"] {
        assert!(!reply.headers.contains_key(gone), "{gone}");
    }
}

#[tokio::test]
async fn passthrough_lets_the_callers_credential_pass() {
    let config = json!({ "apikey": "sk-provider", "auth_mode": "passthrough" });
    let body = r#"{"model":"m","messages":[]}"#;
    let (received, _) = sent(config.clone(), &[("authorization", "Bearer own")], body).await;
    assert!(
        received
            .head
            .to_lowercase()
            .contains("authorization: bearer own")
    );
    let (received, _) = sent(config, &[], body).await;
    assert!(
        received
            .head
            .to_lowercase()
            .contains("authorization: bearer sk-provider")
    );
}

#[tokio::test]
async fn the_wish_for_usage_is_added_to_streams_alone() {
    let (received, _) = sent(
        json!({}),
        &[],
        r#"{"model":"m","stream":true,"messages":[]}"#,
    )
    .await;
    let body: Value = serde_json::from_slice(&received.body).unwrap();
    assert_eq!(body["stream_options"], json!({ "include_usage": true }));
    let (received, _) = sent(
        json!({}),
        &[],
        r#"{"model":"m","stream":false,"messages":[]}"#,
    )
    .await;
    assert_eq!(
        received.body,
        br#"{"model":"m","stream":false,"messages":[]}"#
    );
}
