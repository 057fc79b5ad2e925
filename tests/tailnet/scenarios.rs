//! What the gateway must do, told from outside.

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::http::{Connection, events, post};
use crate::parts::{Parts, Process, free_port, until};
use crate::world::{Gateway, Headscale, World};

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
async fn record(world: &World, session: &str) -> anyhow::Result<Value> {
    until("the record", 5, || async {
        let rows = world.gateway.records(&format!("session={session}")).await?;
        rows.into_iter().next().context("no record yet")
    })
    .await
}

fn session(
    request: http::Request<http_body_util::Full<bytes::Bytes>>,
    name: &str,
) -> http::Request<http_body_util::Full<bytes::Bytes>> {
    let mut request = request;
    if let Ok(value) = name.parse() {
        request.headers_mut().insert("x-session-id", value);
    }
    request
}

pub async fn a_colleague_gets_an_answer(_: &Parts, world: &World) -> anyhow::Result<()> {
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
            record["tokens"]["input"] == answer["usage"]["prompt_tokens"],
            "{record} {answer}"
        );
        ensure!(
            record["tokens"]["output"] == answer["usage"]["completion_tokens"],
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

pub async fn streams_are_metered_like_the_server_counts(
    _: &Parts,
    world: &World,
) -> anyhow::Result<()> {
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
        first["tokens"]["input"] == usage["prompt_tokens"],
        "{first} {usage}"
    );
    ensure!(
        first["tokens"]["output"] == usage["completion_tokens"],
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
        second["tokens"]["output"] == first["tokens"]["output"],
        "{second} {first}"
    );
    ensure!(second["tokens"]["estimated"] == false, "{second}");
    Ok(())
}

pub async fn others_are_refused_as_documented(_: &Parts, world: &World) -> anyhow::Result<()> {
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

pub async fn headers_sent_by_hand_change_nothing(_: &Parts, world: &World) -> anyhow::Result<()> {
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

pub async fn requests_that_can_be_read_in_two_ways_are_refused(
    _: &Parts,
    world: &World,
) -> anyhow::Result<()> {
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

pub async fn a_caller_who_leaves_stops_the_generation(
    _: &Parts,
    world: &World,
) -> anyhow::Result<()> {
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
    let slots = until("the end of the generation", 5, || async {
        let slots = world
            .llama
            .connection()
            .await?
            .get("/slots")
            .await?
            .json()?;
        let busy = slots
            .as_array()
            .into_iter()
            .flatten()
            .any(|slot| slot["is_processing"] == true);
        ensure!(!busy, "{slots}");
        Ok(slots)
    })
    .await?;
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
        record["tokens"]["output"]
            .as_u64()
            .is_some_and(|output| (15..7_000).contains(&output)),
        "{record}"
    );
    ensure!(record["tokens"]["estimated"] == true, "{record}");
    Ok(())
}

/// How soon a change must be felt.
pub const SOON: Duration = Duration::from_secs(1);

/// Asks on one open connection until the answer has this status.
async fn becomes(open: &mut Connection, status: u16) -> anyhow::Result<()> {
    let until = Instant::now() + 10 * SOON;
    loop {
        let reply = open.post(CHAT, chat(json!({ "max_tokens": 1 }))).await?;
        if reply.status == status {
            return Ok(());
        }
        ensure!(Instant::now() < until, "still {reply:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Withdraws alice's grant and gives it back; the connection is hers and was open before. A busy
/// machine may be slow once, a gateway that is slow is slow each time.
pub async fn withdrawal_is_felt_soon(
    headscale: &Headscale,
    open: &mut Connection,
) -> anyhow::Result<()> {
    let mut slow = Vec::new();
    for _ in 0..3 {
        headscale.grant(false)?;
        let withdrawn = Instant::now();
        becomes(open, 403).await?;
        slow.push(withdrawn.elapsed());
        headscale.grant(true)?;
        becomes(open, 200).await?;
        if slow.last().is_some_and(|after| *after < SOON) {
            return Ok(());
        }
    }
    anyhow::bail!("the refusal came after {slow:?}")
}

pub async fn a_withdrawn_grant_takes_effect_within_a_second(
    _: &Parts,
    world: &World,
) -> anyhow::Result<()> {
    let mut open = Connection::from(&world.alice, "ai").await?;
    ensure!(open.post(CHAT, chat(json!({}))).await?.status == 200);
    withdrawal_is_felt_soon(&world.headscale, &mut open).await
}

pub async fn a_withdrawn_grant_cuts_a_stream(_: &Parts, world: &World) -> anyhow::Result<()> {
    // The stream runs on because its reader is slow.
    let mut streaming = Connection::from(&world.alice, "ai").await?;
    let long = json!({ "stream": true, "max_tokens": 7_000, "ignore_eos": true });
    let mut stream = streaming
        .open(session(post(CHAT, chat(long))?, "cut"))
        .await?;
    ensure!(stream.status() == 200);
    let piece = stream.frame().await.context("the stream has ended")??;
    ensure!(piece.is_data());

    world.headscale.grant(false)?;
    let mut other = Connection::from(&world.alice, "ai").await?;
    becomes(&mut other, 403).await?;
    let rest = tokio::time::timeout(SOON, async {
        let mut text = String::new();
        while let Some(frame) = stream.frame().await {
            match frame {
                Ok(frame) => {
                    let data = frame.data_ref().map_or(&[][..], |data| data);
                    text.push_str(&String::from_utf8_lossy(data));
                }
                // Nobody must take the answer for whole.
                Err(_) => return Some(text),
            }
        }
        None
    });
    let rest = rest.await.context("the stream was not cut")?;
    let rest = rest.context("the stream ended as if it were whole")?;
    ensure!(
        rest.contains("\"error\""),
        "no error event in the end of the stream"
    );
    let record = record(world, "cut").await?;
    ensure!(record["outcome"] == "refused", "{record}");
    world.headscale.grant(true)?;
    becomes(&mut other, 200).await
}

pub async fn a_new_configuration_takes_effect_under_load(
    _: &Parts,
    world: &World,
) -> anyhow::Result<()> {
    let (stop, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let load = async || -> anyhow::Result<()> {
        let mut ai = Connection::from(&world.alice, "ai").await?;
        while !stop.load(Ordering::Relaxed) {
            let reply = ai.post(CHAT, chat(json!({ "max_tokens": 5 }))).await?;
            ensure!(reply.status == 200, "under load: {reply:?}");
            asked.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    let edit = async {
        let result = edits(world).await;
        stop.store(true, Ordering::Relaxed);
        result
    };
    let (edited, one, two, three) = tokio::join!(edit, load(), load(), load());
    edited?;
    one.and(two).and(three)?;
    ensure!(asked.load(Ordering::Relaxed) > 20, "there was no load");
    Ok(())
}

async fn edits(world: &World) -> anyhow::Result<()> {
    let mut ci = Connection::from(&world.ci, "ai").await?;
    for granted in [true, false, true, false] {
        let expected = if granted { 200 } else { 403 };
        world.configure(granted)?;
        let edited = Instant::now();
        loop {
            let reply = ci.post(CHAT, chat(json!({ "max_tokens": 5 }))).await?;
            if reply.status == expected {
                break;
            }
            ensure!(
                edited.elapsed() < SOON,
                "still {} after a second",
                reply.status
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    // A broken file changes nothing.
    world.configure(true)?;
    tokio::time::sleep(Duration::from_millis(400)).await;
    std::fs::write(&world.gateway.config, "{ \"providers\": ")?;
    world.gateway.process.signal("HUP")?;
    tokio::time::sleep(Duration::from_millis(400)).await;
    let reply = ci.post(CHAT, chat(json!({ "max_tokens": 5 }))).await?;
    ensure!(reply.status == 200, "{reply:?}");
    ensure!(world.gateway.process.log().contains("stays in force"));
    world.configure(false)
}

pub async fn the_openai_sdk_works_through_tailscaled(
    parts: &Parts,
    world: &World,
) -> anyhow::Result<()> {
    let dir = world.dir.path().join("tailscaled");
    std::fs::create_dir(&dir)?;
    let (proxy, socket) = (free_port()?, dir.join("socket"));
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
        record["tokens"]["output"] == answer["usage"]["completion_tokens"],
        "{record}"
    );
    Ok(())
}

/// A second gateway, so that the others keep theirs.
pub async fn the_gateway_stops_and_comes_back_as_the_same_node(
    _: &Parts,
    world: &World,
) -> anyhow::Result<()> {
    let dir = world.dir.path().join("second");
    std::fs::create_dir(&dir)?;
    let local = format!("127.0.0.1:{}", free_port()?);
    let text = std::fs::read_to_string(&world.gateway.config)?
        .replace("\"hostname\": \"ai\"", "\"hostname\": \"ai-two\"")
        .replace(&world.gateway.local, &local);
    let key = world.headscale.tag_key("tag:ai")?;
    let mut addresses = Vec::new();
    // The key can be used once: the second start must do without.
    for _ in 0..2 {
        let mut gateway = Gateway::start(&dir, &text, local.clone(), &key).await?;
        let addressed = until("the second gateway", 60, || async {
            let reply = Connection::from(&world.alice, "ai-two")
                .await?
                .get("/healthz")
                .await?;
            ensure!(reply.status == 200);
            let status = Connection::local(&local)
                .await?
                .get("/api/status")
                .await?
                .json()?;
            ensure!(status["node"]["state"] == "Running", "{status}");
            Ok(status["node"]["addresses"].clone())
        });
        addresses.push(addressed.await.with_context(|| gateway.process.log())?);
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&dir.join("state").metadata()?.permissions());
        ensure!(
            mode & 0o777 == 0o700,
            "the state directory has mode {mode:o}"
        );
        let status = gateway.process.stop().await?;
        ensure!(status.success(), "{status}: {}", gateway.process.log());
    }
    ensure!(addresses[0] == addresses[1], "{addresses:?}");
    Ok(())
}
