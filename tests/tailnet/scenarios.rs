//! What the gateway must do, seen from outside.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::http::{Connection, events, post};
use crate::parts::until;
use crate::world::World;
use support::process::{Process, free_address};

pub const TESTS: &[support::harness::Test<World>] = support::tests![
    World;
    a_colleague_gets_an_answer,
    streams_are_metered_like_the_server_counts,
    others_are_refused_as_documented,
    headers_sent_by_hand_change_nothing,
    requests_that_can_be_read_in_two_ways_are_refused,
    a_caller_who_leaves_stops_the_generation,
    the_openai_sdk_works_through_tailscaled,
];

pub const CHAT: &str = "/v1/chat/completions";

pub fn chat(more: Value) -> String {
    let mut body = json!({
        "model": "tiny",
        "messages": [{ "role": "user", "content": "hello" }],
        "max_tokens": 40,
        "seed": 1,
    });
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    body.to_string()
}

/// The newest record of a session; it is there once it is durable.
pub async fn record(world: &World, session: &str) -> anyhow::Result<Value> {
    until("the record", 5, || async {
        let rows = world.gateway.records(&format!("session={session}")).await?;
        rows.into_iter().next().context("no record yet")
    })
    .await
}

/// Waits until the inference server works on nothing, and answers with what it says of its slots.
pub async fn generation_ends(world: &World) -> anyhow::Result<Value> {
    until("the end of the generation", 5, || async {
        let connection = world.llama.connection();
        let slots = connection.await?.get("/slots").await?.json()?;
        let mut each = slots.as_array().into_iter().flatten();
        ensure!(each.all(|slot| slot["is_processing"] == false), "{slots}");
        Ok(slots)
    })
    .await
}

/// Names the session of a request.
pub fn session(
    request: http::Request<http_body_util::Full<bytes::Bytes>>,
    name: &str,
) -> http::Request<http_body_util::Full<bytes::Bytes>> {
    let mut request = request;
    if let Ok(value) = name.parse() {
        request.headers_mut().insert("x-session-id", value);
    }
    request
}

async fn a_colleague_gets_an_answer(world: &World) -> anyhow::Result<()> {
    let mut ai = Connection::from(&world.alice, "ai").await?;
    for (nth, path) in [CHAT, "/chat/completions"].into_iter().enumerate() {
        let name = format!("colleague-{nth}");
        let reply = ai
            .send(session(post(path, chat(json!({})))?, &name))
            .await?;
        ensure!(reply.status == 200, "{reply:?}");
        let answer = reply.json()?;
        let said = answer["choices"][0]["message"]["content"]
            .as_str()
            .unwrap_or_default();
        ensure!(!said.is_empty(), "{answer}");
        let record = record(world, &name).await?;
        for (field, expected) in [
            ("login", json!("alice")),
            ("node_name", json!("alice-laptop")),
            ("model", json!("tiny")),
            ("provider", json!("private")),
            ("outcome", json!("complete")),
            ("status", json!(200)),
        ] {
            ensure!(record[field] == expected, "{field} of {record}");
        }
        ensure!(
            record["usage"]["input_tokens"] == answer["usage"]["prompt_tokens"],
            "{record} {answer}"
        );
        ensure!(
            record["usage"]["output_tokens"] == answer["usage"]["completion_tokens"],
            "{record}"
        );
        ensure!(
            record["reasons"].to_string().contains("the tailnet policy"),
            "{record}"
        );
    }
    // The full name of the model, and the node's other names.
    let address = world.alice.dial("ai.tail.test", 80).await;
    ensure!(address.is_ok(), "{address:?}");
    let mut ai = Connection::from(&world.alice, "ai.tail.test").await?;
    let reply = ai
        .post(CHAT, chat(json!({ "model": "private/tiny" })))
        .await?;
    ensure!(reply.status == 200, "{reply:?}");
    Ok(())
}

async fn streams_are_metered_like_the_server_counts(world: &World) -> anyhow::Result<()> {
    let mut ai = Connection::from(&world.alice, "ai").await?;
    // With the caller's own wish for usage the two counts can be compared in one stream.
    let wish = json!({ "stream": true, "stream_options": { "include_usage": true } });
    let reply = ai
        .send(session(post(CHAT, chat(wish))?, "stream-usage"))
        .await?;
    ensure!(
        reply.status == 200 && reply.text().trim_end().ends_with("[DONE]"),
        "{reply:?}"
    );
    let usage = events(&reply.text())?
        .into_iter()
        .find_map(|event| {
            event
                .get("usage")
                .filter(|usage| usage.is_object())
                .cloned()
        })
        .context("no usage in the stream")?;
    let first = record(world, "stream-usage").await?;
    ensure!(
        first["usage"]["input_tokens"] == usage["prompt_tokens"],
        "{first} {usage}"
    );
    ensure!(
        first["usage"]["output_tokens"] == usage["completion_tokens"],
        "{first} {usage}"
    );
    ensure!(
        first["stream"] == true && first["first_token_ms"].is_f64(),
        "{first}"
    );
    // Without it the caller sees no usage, and the record has the same counts.
    let reply = ai
        .send(session(
            post(CHAT, chat(json!({ "stream": true })))?,
            "stream-plain",
        ))
        .await?;
    let shown = events(&reply.text())?;
    ensure!(
        shown
            .iter()
            .all(|event| !event["choices"].as_array().is_none_or(Vec::is_empty)),
        "{shown:?}"
    );
    let second = record(world, "stream-plain").await?;
    ensure!(
        second["usage"]["output_tokens"] == first["usage"]["output_tokens"],
        "{second} {first}"
    );
    ensure!(second["usage"]["estimated"] == false, "{second}");
    Ok(())
}

async fn others_are_refused_as_documented(world: &World) -> anyhow::Result<()> {
    let mut alice = Connection::from(&world.alice, "ai").await?;
    let mut bob = Connection::from(&world.bob, "ai").await?;
    let mut ci = Connection::from(&world.ci, "ai").await?;
    let ids = |list: Value| -> Vec<String> {
        let rows = list["data"].as_array().cloned().unwrap_or_default();
        rows.iter()
            .filter_map(|row| row["id"].as_str().map(str::to_owned))
            .collect()
    };
    for path in ["/v1/models", "/models"] {
        ensure!(
            ids(alice.get(path).await?.json()?) == ["tiny"],
            "alice's {path}"
        );
        ensure!(ids(bob.get(path).await?.json()?).is_empty(), "bob's {path}");
    }
    let reply = bob.post(CHAT, chat(json!({}))).await?;
    ensure!(reply.status == 404, "{reply:?}");
    let message = "no route found for model \"tiny\" for user \"bob\"";
    ensure!(reply.json()?["error"]["message"] == message, "{reply:?}");
    for reply in [
        ci.post(CHAT, chat(json!({}))).await?,
        ci.get("/v1/models").await?,
    ] {
        ensure!(reply.status == 403, "{reply:?}");
        ensure!(
            reply.text().contains("access denied: no role granted"),
            "{reply:?}"
        );
    }
    // Nobody sees another's records.
    let own = bob.get("/api/sessions?login=alice").await?.json()?;
    let logins: Vec<&Value> = own["sessions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|row| &row["login"])
        .collect();
    ensure!(logins.iter().all(|login| **login == "bob"), "{own}");
    Ok(())
}

async fn headers_sent_by_hand_change_nothing(world: &World) -> anyhow::Result<()> {
    let names = [
        "Tailscale-User-Login",
        "Tailscale-User-Name",
        "Tailscale-App-Capabilities",
        "X-Webauth-User",
        "X-Forwarded-For",
        "X-Forwarded-User",
        "Forwarded",
        "X-Real-IP",
        "Authorization",
        "x-api-key",
    ];
    let alice = world
        .alice
        .status()
        .addresses
        .first()
        .map(ToString::to_string)
        .unwrap_or_default();
    let mut bob = Connection::from(&world.bob, "ai").await?;
    let plain = bob.get("/api/whoami").await?.text();
    for name in names {
        for value in ["alice", alice.as_str(), "127.0.0.1"] {
            let request = http::Request::get("/api/whoami")
                .header(name, value)
                .body(http_body_util::Full::default())?;
            ensure!(bob.send(request).await?.text() == plain, "{name}: {value}");
            let mut request = post(CHAT, chat(json!({})))?;
            request.headers_mut().insert(
                http::HeaderName::from_bytes(name.as_bytes())?,
                value.parse()?,
            );
            ensure!(bob.send(request).await?.status == 404, "{name}: {value}");
        }
    }
    Ok(())
}

async fn requests_that_can_be_read_in_two_ways_are_refused(world: &World) -> anyhow::Result<()> {
    for body in [
        r#"{"model":"tiny","messages":[],"model":"other"}"#,
        r#"{"model":"tiny","Model":"other","messages":[]}"#,
        r#"{"model":"tiny","mod\u0065l":"other","messages":[]}"#,
        r#"{"model":"tiny","messages":[]} {}"#,
        r#"{"messages":[]}"#,
        "not JSON",
    ] {
        let reply = Connection::from(&world.alice, "ai")
            .await?
            .post(CHAT, body)
            .await?;
        ensure!(reply.status == 400, "{body}: {reply:?}");
        ensure!(reply.json()?["error"]["message"].is_string(), "{reply:?}");
    }
    // A page that has its own name point here, and one of another site.
    for (name, value, status) in [
        ("host", "attacker.example", 421),
        ("origin", "http://attacker.example", 403),
        ("origin", "null", 403),
        ("sec-fetch-site", "same-site", 403),
        ("content-type", "text/plain", 415),
    ] {
        let mut request = post(CHAT, chat(json!({})))?;
        request.headers_mut().insert(name, value.parse()?);
        let reply = Connection::from(&world.alice, "ai")
            .await?
            .send(request)
            .await?;
        ensure!(reply.status == status, "{name}: {value}: {reply:?}");
    }
    Ok(())
}

async fn a_caller_who_leaves_stops_the_generation(world: &World) -> anyhow::Result<()> {
    let mut ai = Connection::from(&world.alice, "ai").await?;
    let long = json!({ "stream": true, "max_tokens": 7_000, "ignore_eos": true });
    let mut response = ai.open(session(post(CHAT, chat(long))?, "left")).await?;
    ensure!(response.status() == 200, "{response:?}");
    let mut seen = 0;
    while seen < 20 {
        let frame = response.frame().await.context("the stream has ended")??;
        seen += frame
            .data_ref()
            .map_or(0, |data| data.split(|byte| *byte == b'\n').count() / 2);
    }
    drop(response);
    drop(ai);
    let slots = generation_ends(world).await?;
    let made = slots
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|slot| {
            slot["next_token"][0]["n_decoded"]
                .as_u64()
                .or(slot["next_token"]["n_decoded"].as_u64())
        })
        .max();
    ensure!(
        made.is_none_or(|made| made < 7_000),
        "all was generated: {slots}"
    );
    tokio::time::sleep(Duration::from_millis(50)).await;
    let record = record(world, "left").await?;
    ensure!(record["outcome"] == "client_closed", "{record}");
    ensure!(
        record["usage"]["output_tokens"]
            .as_u64()
            .is_some_and(|output| (15..7_000).contains(&output)),
        "{record}"
    );
    ensure!(record["usage"]["estimated"] == true, "{record}");
    Ok(())
}

async fn the_openai_sdk_works_through_tailscaled(world: &World) -> anyhow::Result<()> {
    let parts = &world.parts;
    let dir = world.dir.path().join("tailscaled");
    std::fs::create_dir(&dir)?;
    let (proxy, socket) = (free_address().port(), dir.join("socket"));
    let _daemon = Process::start(
        Command::new(parts.servers.join("tailscaled"))
            .env("TS_NO_LOGS_NO_SUPPORT", "true")
            .args(["--tun=userspace-networking", "--port=0", "--statedir"])
            .arg(&dir)
            .arg("--socket")
            .arg(&socket)
            .arg(format!("--outbound-http-proxy-listen=127.0.0.1:{proxy}")),
        &dir.join("log"),
    )?;
    let up = Command::new(parts.servers.join("tailscale"))
        .arg("--socket")
        .arg(&socket)
        .args(["up", "--hostname=alice-desktop", "--accept-dns=false"])
        .arg(format!("--login-server={}", world.headscale.url))
        .arg(format!("--authkey={}", world.headscale.user_key("1")?))
        .output()?;
    ensure!(
        up.status.success(),
        "{}",
        String::from_utf8_lossy(&up.stderr)
    );
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tailnet/sdk.py");
    let answer = until("the SDK", 60, || async {
        let output = Command::new(&parts.python)
            .arg(script)
            .env("HTTP_PROXY", format!("http://127.0.0.1:{proxy}"))
            .env_remove("NO_PROXY")
            .env_remove("no_proxy")
            .output()?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(serde_json::from_slice::<Value>(&output.stdout)?)
    })
    .await?;
    ensure!(answer["models"] == json!(["tiny"]), "{answer}");
    ensure!(
        answer["said"] == answer["streamed"] && answer["said"] != "",
        "{answer}"
    );
    ensure!(answer["refusal"]["code"] == "model_not_found", "{answer}");
    let record = record(world, "sdk").await?;
    ensure!(
        record["login"] == "alice" && record["node_name"] == "alice-desktop",
        "{record}"
    );
    ensure!(
        record["usage"]["output_tokens"] == answer["usage"]["completion_tokens"],
        "{record}"
    );
    Ok(())
}
