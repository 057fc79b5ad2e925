//! Gemini's live API, with a provider whose every message a test chooses. Real ones send binary frames.

use futures_util::SinkExt;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::Gateway;
use crate::realtime::{Socket, ask, closed, event, of_turn, provider, send};

const PATH: &str = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent";

fn turn() -> Vec<Value> {
    vec![
        json!({"serverContent":{"modelTurn":{"role":"model","parts":[{"inlineData":
            {"mimeType":"audio/pcm;rate=24000","data":"AAAA"}}]}}}),
        json!({"serverContent":{"outputTranscription":{"text":"hello"}}}),
        json!({"serverContent":{"turnComplete":true},"usageMetadata":{"promptTokenCount":100,
            "cachedContentTokenCount":40,"responseTokenCount":30,"totalTokenCount":130,
            "promptTokensDetails":[{"modality":"TEXT","tokenCount":20},{"modality":"AUDIO","tokenCount":80}],
            "responseTokensDetails":[{"modality":"AUDIO","tokenCount":30}]}}),
    ]
}

fn usual(message: &Value) -> Vec<Value> {
    if message.get("setup").is_some() {
        return vec![json!({"setupComplete":{}})];
    }
    if message["clientContent"]["turnComplete"] == true || message.get("realtimeInput").is_some() {
        return turn();
    }
    Vec::new()
}

async fn gateway(address: std::net::SocketAddr, more: Value) -> Gateway {
    let mut config = json!({
        "provider": { "models": ["m", "other"], "compatibility": { "gemini_live": true } },
        "model_aliases": { "models": { "voice": { "dst": ["p/m"] } } },
    });
    for (key, value) in more.as_object().cloned().unwrap_or_default() {
        config[key] = value;
    }
    Gateway::start(address, config).await
}

async fn open(gateway: &Gateway) -> Socket {
    let target = format!("{PATH}?key=callers-own");
    let (mut socket, _) = ask(gateway, &target, &[]).await.expect("a session");
    send(&mut socket, json!({"setup":{"model":"models/voice"}})).await;
    let ready = event(&mut socket).await.expect("it is set up");
    assert_eq!(ready, json!({"setupComplete":{}}));
    socket
}

fn said(text: &str) -> Value {
    json!({"clientContent":{"turns":[{"role":"user","parts":[{"text":text}]}],"turnComplete":true}})
}

async fn completed(socket: &mut Socket) {
    loop {
        let event = event(socket).await.expect("not the end yet");
        if event["serverContent"]["turnComplete"] == true {
            return;
        }
    }
}

#[tokio::test]
async fn a_session_names_its_model_first_and_each_turn_is_a_record() {
    let (address, mut inbox) = provider(usual, true).await;
    let gateway = gateway(address, json!({})).await;
    let mut socket = open(&gateway).await;
    let head = inbox.recv().await.unwrap();
    assert_eq!(head["target"], PATH);
    assert!(!head.to_string().contains("callers-own"), "{head}");
    let setup = inbox.recv().await.unwrap();
    assert_eq!(setup, json!({"setup":{"model":"models/m"}}));
    // The SDKs of browsers send binary frames.
    let frame = Message::binary(said("hi").to_string().into_bytes());
    socket.send(frame).await.unwrap();
    completed(&mut socket).await;
    assert_eq!(inbox.recv().await.unwrap(), said("hi"));
    let record = gateway.record_where(of_turn).await;
    assert_eq!(record["api"], "gemini_live", "{record}");
    assert_eq!(
        (&record["model"], &record["model_requested"]),
        (&json!("m"), &json!("voice"))
    );
    let usage = &record["usage"];
    assert_eq!(
        (
            &usage["input_tokens"],
            &usage["output_tokens"],
            &usage["cached_tokens"]
        ),
        (&json!(100), &json!(30), &json!(40)),
        "{record}"
    );
    assert_eq!(
        (&usage["audio_input_tokens"], &usage["audio_output_tokens"]),
        (&json!(80), &json!(30))
    );
    // What is said aloud begins a turn as well.
    let audio =
        json!({"realtimeInput":{"audio":{"mimeType":"audio/pcm;rate=16000","data":"AAAA"}}});
    send(&mut socket, audio).await;
    completed(&mut socket).await;
    let opening = gateway.record_where(|record| record["status"] == 101).await;
    assert_eq!(opening["session"], record["session"]);
}

#[tokio::test]
async fn nothing_is_sent_before_the_grant_is_checked() {
    let (address, mut inbox) = provider(usual, true).await;
    let gateway = gateway(address, json!({})).await;
    for (first, code, says) in [
        (
            json!({"setup":{"model":"models/nobody"}}),
            1008,
            "no route found",
        ),
        (said("hi"), 1007, "must be `setup`"),
        (json!({"setup":{}}), 1007, "no `model`"),
    ] {
        let (mut socket, _) = ask(&gateway, PATH, &[]).await.expect("a WebSocket");
        send(&mut socket, first.clone()).await;
        let frame = closed(&mut socket).await;
        assert_eq!(u16::from(frame.code), code, "{first}: {frame:?}");
        assert!(frame.reason.contains(says), "{first}: {frame:?}");
    }
    assert!(inbox.try_recv().is_err(), "no provider was asked");
    let constrained = format!("{PATH}Constrained");
    let (status, body) = ask(&gateway, &constrained, &[])
        .await
        .map(drop)
        .unwrap_err();
    assert_eq!(
        (status.as_u16(), &body["error"]["status"]),
        (403, &json!("PERMISSION_DENIED"))
    );
    let tokens = gateway
        .send(support::http::post("/v1alpha/auth_tokens", "{}"))
        .await;
    assert_eq!(tokens.status, 403, "{}", tokens.text());
}

#[tokio::test]
async fn a_second_setup_closes_the_session() {
    let (address, mut inbox) = provider(usual, true).await;
    let gateway = gateway(address, json!({})).await;
    let mut socket = open(&gateway).await;
    send(&mut socket, json!({"setup":{"model":"models/other"}})).await;
    assert_eq!(u16::from(closed(&mut socket).await.code), 1007);
    inbox.recv().await.unwrap();
    assert_eq!(inbox.recv().await.unwrap()["setup"]["model"], "models/m");
    assert!(inbox.try_recv().is_err(), "nothing more was sent");
}

#[tokio::test]
async fn guardrails_read_the_setup_and_what_follows() {
    let (address, mut inbox) = provider(usual, true).await;
    let more = json!({
        "guards": { "block": { "kind": "patterns", "detect": ["email"], "action": "block" } },
        "grants": [{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [
            { "role": "admin" }, { "models": "**", "guards": ["block"] }] } }],
    });
    let gateway = gateway(address, more).await;
    let (mut socket, _) = ask(&gateway, PATH, &[]).await.expect("a WebSocket");
    let instruction = json!({"parts":[{"text":"write to pat@example.org"}]});
    send(
        &mut socket,
        json!({"setup":{"model":"voice","systemInstruction":instruction}}),
    )
    .await;
    let frame = closed(&mut socket).await;
    assert!(frame.reason.contains("guardrail"), "{frame:?}");
    assert!(inbox.try_recv().is_err(), "no provider was asked");
    let result = json!({"toolResponse":{"functionResponses":[{"id":"1","name":"f",
        "response":{"mail":"pat@example.org"}}]}});
    for message in [
        said("I am pat@example.org"),
        json!({"realtimeInput":{"text":"I am pat@example.org"}}),
        result,
    ] {
        let mut socket = open(&gateway).await;
        send(&mut socket, message.clone()).await;
        let frame = closed(&mut socket).await;
        assert_eq!(u16::from(frame.code), 1008, "{message}");
        assert!(frame.reason.contains("guardrail"), "{message}: {frame:?}");
    }
}

#[tokio::test]
async fn an_exhausted_budget_closes_the_session_and_its_provider_is_not_asked() {
    let (address, mut inbox) = provider(usual, true).await;
    let more = json!({
        "prices": { "m": { "input": "1000000", "output": "1000000" } },
        "quotas": { "small": { "capacity": "$100.00", "rate": "$1.00/day" } },
        "grants": [{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [
            { "role": "admin" }, { "models": "**", "quotas": [{ "bucket": "small" }] }] } }],
    });
    let gateway = gateway(address, more).await;
    let mut socket = open(&gateway).await;
    // One turn may overdraw it.
    send(&mut socket, said("hi")).await;
    completed(&mut socket).await;
    gateway.record_where(of_turn).await;
    send(&mut socket, said("again")).await;
    let frame = closed(&mut socket).await;
    assert_eq!(u16::from(frame.code), 1011, "{frame:?}");
    let record = gateway.record_where(|record| record["status"] == 429).await;
    assert_eq!(record["outcome"], "refused", "{record}");
    let sent = std::iter::from_fn(|| inbox.try_recv().ok());
    let turns: Vec<Value> = sent
        .filter(|one| one.get("clientContent").is_some())
        .collect();
    assert_eq!(turns, [said("hi")]);
}

fn spoken() -> Value {
    json!({"realtimeInput":{"audio":{"mimeType":"audio/pcm;rate=16000","data":"AAAA"}}})
}

#[tokio::test]
async fn counts_that_come_behind_the_end_belong_to_the_turn_while_the_caller_speaks() {
    let (address, _inbox) = provider(
        |message| {
            let (mut events, counts) = (turn(), turn()[2]["usageMetadata"].clone());
            events[2].as_object_mut().unwrap().remove("usageMetadata");
            if message.get("clientContent").is_some() {
                return events;
            }
            if message.get("realtimeInput").is_some() {
                return vec![json!({"usageMetadata":counts})];
            }
            usual(message)
        },
        true,
    )
    .await;
    let gateway = gateway(address, json!({})).await;
    let mut socket = open(&gateway).await;
    send(&mut socket, said("hi")).await;
    completed(&mut socket).await;
    send(&mut socket, spoken()).await;
    let record = gateway.record_where(of_turn).await;
    assert_eq!(record["usage"]["output_tokens"], 30, "{record}");
    assert_eq!(record["finish_reason"], "STOP", "{record}");
}

#[tokio::test]
async fn counts_that_are_repeated_behind_the_end_are_charged_once() {
    let (address, _inbox) = provider(
        |message| {
            let mut events = usual(message);
            if message.get("clientContent").is_some() {
                let counts = turn()[2]["usageMetadata"].clone();
                events.push(json!({"usageMetadata":counts}));
                events.push(json!({"goAway":{"timeLeft":"10s"}}));
            }
            events
        },
        true,
    )
    .await;
    let gateway = gateway(address, json!({})).await;
    let mut socket = open(&gateway).await;
    send(&mut socket, said("hi")).await;
    loop {
        if event(&mut socket).await.unwrap().get("goAway").is_some() {
            break;
        }
    }
    let record = gateway.record_where(of_turn).await;
    assert_eq!(record["usage"]["output_tokens"], 30, "{record}");
    let listed = Request::get("/api/requests?limit=20").body(Full::default());
    let listed = gateway.send(listed.unwrap()).await.json();
    let turns = listed["requests"].as_array().unwrap().iter();
    assert_eq!(turns.filter(|one| of_turn(one)).count(), 1, "{listed}");
}

#[tokio::test]
async fn late_counts_of_a_turn_are_charged_as_far_as_they_are_new() {
    let (address, _inbox) = provider(
        |message| {
            let mut events = turn();
            let counts = |message: &Value| {
                let audio = &message["realtimeInput"]["audio"]["data"];
                let written = audio.as_str().unwrap().len() * 10;
                json!({ "promptTokenCount": 100, "responseTokenCount": written,
                    "totalTokenCount": 100 + written })
            };
            if message.get("clientContent").is_some() {
                events[2].as_object_mut().unwrap().remove("usageMetadata");
                return events;
            }
            if message.get("realtimeInput").is_some() {
                return vec![json!({ "usageMetadata": counts(message) })];
            }
            usual(message)
        },
        true,
    )
    .await;
    let gateway = gateway(address, json!({})).await;
    let mut socket = open(&gateway).await;
    send(&mut socket, said("hi")).await;
    completed(&mut socket).await;
    // It ends with an estimate, because no count has come.
    let first = gateway.record_where(of_turn).await;
    assert_eq!(first["usage"]["estimated"], true, "{first}");
    // Its count comes, is repeated, and grows.
    for sound in ["AAAA", "AAAA", "AAAAA"] {
        let audio = json!({ "mimeType": "audio/pcm;rate=16000", "data": sound });
        send(&mut socket, json!({ "realtimeInput": { "audio": audio } })).await;
        event(&mut socket).await.unwrap();
    }
    let sums = async || {
        let listed = Request::get("/api/requests?limit=20").body(Full::default());
        let listed = gateway.send(listed.unwrap()).await.json();
        let rows = listed["requests"].as_array().unwrap().clone();
        let turns: Vec<_> = rows.into_iter().filter(of_turn).collect();
        let sum = |key: &str| -> u64 {
            let counts = turns.iter().filter_map(|turn| turn["usage"][key].as_u64());
            counts.sum()
        };
        (turns.len(), sum("input_tokens"), sum("output_tokens"))
    };
    let mut all = sums().await;
    for _ in 0..200 {
        if all.0 >= 3 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        all = sums().await;
    }
    assert_eq!(all, (3, 100, 50));
}

#[tokio::test]
async fn counts_of_no_turn_are_charged() {
    let (address, _inbox) = provider(
        |message| {
            if message.get("realtimeInput").is_some() {
                let counts = turn()[2]["usageMetadata"].clone();
                return vec![json!({"usageMetadata":counts})];
            }
            usual(message)
        },
        true,
    )
    .await;
    let prices = json!({ "m": { "input": "1", "output": "2", "input_cache_read": "1" } });
    let gateway = gateway(address, json!({ "prices": prices })).await;
    let mut socket = open(&gateway).await;
    send(&mut socket, spoken()).await;
    let record = gateway.record_where(of_turn).await;
    assert_eq!(record["cost"], 100 * 1_000 + 30 * 2_000, "{record}");
}

#[tokio::test]
async fn a_session_opens_with_another_key_if_one_is_declined() {
    let (address, mut inbox) = provider(usual, true).await;
    let provider = json!({ "models": ["m"], "compatibility": { "gemini_live": true },
        "apikey": "sk-declined", "apikeys": ["sk-good"] });
    let gateway = gateway(address, json!({ "provider": provider })).await;
    // Keys take turns, so that one of two sessions begins with each.
    for _ in 0..2 {
        let mut socket = open(&gateway).await;
        let head = inbox.recv().await.unwrap();
        assert!(head.to_string().contains("sk-good"), "{head}");
        let setup = inbox.recv().await.unwrap();
        assert_eq!(setup, json!({"setup":{"model":"models/m"}}));
        socket.close(None).await.unwrap();
    }
    let is_other = |record: &Value| {
        record["reasons"]
            .to_string()
            .contains("asking it again with key")
    };
    let record = gateway.record_where(is_other).await;
    assert_eq!(record["status"], 101, "{record}");
}
