//! Prices as a caller, an admin and an operator see them.

use futures_util::FutureExt;
use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::json;

use crate::Gateway;
use crate::commands::{iris, name, out, written};
use support::http::Reply;
use support::provider::{COMPLETION, answer, provider};

async fn get(gateway: &Gateway, path: &str, tag: Option<&str>) -> Reply {
    let mut request = Request::get(path);
    if let Some(tag) = tag {
        request = request.header("if-none-match", tag);
    }
    gateway.send(request.body(Full::default()).unwrap()).await
}

async fn gateway(more: &[serde_json::Value]) -> Gateway {
    let (address, _) = provider(|mut stream| {
        async move { answer(&mut stream, "200 OK", "", COMPLETION).await }.boxed()
    })
    .await;
    let mut objects = vec![json!({ "role": "admin" }), json!({ "models": "**" })];
    objects.extend_from_slice(more);
    Gateway::start(
        address,
        json!({
            "provider": { "models": ["m", "lab/x", "gpt-4.1"], "cost_basis": "openai",
                "model_cost_map": [{ "match": "gpt-*", "as": "", "adjustment": 1.1 }] },
            "prices": { "lab/x": { "input": "0.5", "output": "2", "context_window_tokens": 4096 } },
            "grants": [{ "src": ["(loopback)"],
                "app": { "tailscale.com/cap/aperture": objects } }],
        }),
    )
    .await
}

#[tokio::test]
async fn the_price_list_needs_a_grant_of_its_own() {
    let mut gateway = gateway(&[]).await;
    for path in ["/aperture/pricing", "/aperture/pricing/gpt-4.1"] {
        let reply = get(&gateway, path, None).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN);
        assert_eq!(reply.headers["content-type"], "application/problem+json");
        let problem = reply.json();
        assert_eq!(
            (&problem["status"], &problem["instance"]),
            (&json!(403), &json!(path))
        );
        assert!(problem["detail"].as_str().unwrap().contains("read_pricing"));
    }
    gateway.stop().await;
}

#[tokio::test]
async fn the_price_list_is_read_once() {
    let mut gateway = gateway(&[json!({ "read_pricing": true })]).await;
    let whole = get(&gateway, "/aperture/pricing", None).await;
    assert_eq!(whole.status, StatusCode::OK);
    assert_eq!(whole.headers["cache-control"], "private, no-cache");
    let tag = whole.headers["etag"].to_str().unwrap();
    let openai = &whole.json()["models"]["gpt-4.1"]["cost_bases"]["openai"];
    assert_eq!(openai["effective_pricing"]["input"], "2");
    let again = get(&gateway, "/aperture/pricing", Some(tag)).await;
    assert_eq!(again.status, StatusCode::NOT_MODIFIED);
    assert!(again.body.is_empty());
    assert_eq!(again.headers["etag"], tag);
    for path in ["/aperture/pricing/lab/x", "/aperture/pricing/lab%2Fx"] {
        let one = get(&gateway, path, Some(tag)).await;
        assert_eq!(one.status, StatusCode::OK);
        let models = one.json()["models"].clone();
        assert_eq!(models.as_object().unwrap().len(), 1);
        let lab = &models["lab/x"]["cost_bases"]["configuration"];
        assert_eq!(lab["effective_pricing"]["output"], "2");
    }
    let none = get(&gateway, "/aperture/pricing/nobody-has-it", None).await;
    assert_eq!(
        (none.status, &none.json()["models"]),
        (StatusCode::OK, &json!({}))
    );
    let broken = get(&gateway, "/aperture/pricing/%zz", None).await;
    assert_eq!(broken.status, StatusCode::BAD_REQUEST);
    assert_eq!(broken.headers["content-type"], "application/problem+json");
    gateway.stop().await;
}

#[tokio::test]
async fn listings_show_what_is_known() {
    let mut gateway = gateway(&[]).await;
    let rows = get(&gateway, "/v1/models", None).await.json()["data"].clone();
    let row = |id: &str| {
        let rows = rows.as_array().unwrap();
        rows.iter().find(|row| row["id"] == id).unwrap().clone()
    };
    let lab = row("lab/x");
    assert_eq!(
        lab["pricing"],
        json!({ "input": "0.0000005", "output": "0.000002" })
    );
    assert_eq!(lab["context_window_tokens"], 4096);
    assert!(lab.get("max_output_tokens").is_none());
    // Two dollars for a million tokens, and a tenth more.
    assert_eq!(row("gpt-4.1")["pricing"]["input"], "0.0000022");
    assert!(row("m").get("pricing").is_none());
    gateway.stop().await;
}

#[test]
fn the_command_works_an_example() {
    let file = written(
        r#"{ "providers": {
            "claude": { "baseurl": "https://api.anthropic.com", "models": ["claude-sonnet-4-5", "x"],
                "compatibility": { "anthropic_messages": true } },
            "lab": { "baseurl": "http://gpu1:8080", "models": ["qwen", "claude-sonnet-4-5"] },
            "far": { "baseurl": "https://llm.example.com", "models": ["nobody-knows"] } },
          "prices": { "qwen": { "input": "0.1", "output": "0.2" } } }"#,
    );
    let prices = |more: &[&str]| {
        let config = name(file.path());
        iris(&[&["prices", "--config", config], more].concat())
    };
    let text = out(&prices(&[]));
    assert!(
        text.contains("claude-sonnet-4-5  claude    anthropic  $3"),
        "{text}"
    );
    assert!(
        text.contains("unknown") && text.contains("configuration"),
        "{text}"
    );
    let counts = "input=1000,output=100,cached=500";
    let text = out(&prices(&["claude-sonnet-4-5", "--tokens", counts]));
    for part in ["price list anthropic (inferred)", "seen 20", "$0.00315"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let local = &text[text.find("at provider lab").unwrap()..];
    assert!(
        local.contains("free; to charge for it") && local.contains("$0"),
        "{local}"
    );
    let text = out(&prices(&["qwen", "--json", "--tokens", counts]));
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["prices"][0]["example"]["nanodollars"], 120_000);
    assert_eq!(report["prices"][0]["cost_basis_source"], "local");
    for wrong in [
        &["nobody"][..],
        &["qwen", "--provider", "nobody"],
        &["qwen", "--tokens", "input=many"],
    ] {
        assert!(!prices(wrong).status.success(), "{wrong:?}");
    }
}
