//! Turns of sessions and what ends them: budgets, guardrails, revocation, callers who leave, providers that
//! break off.

use futures_util::SinkExt;
use serde_json::{Value, json};

use crate::Gateway;
use crate::realtime::{
    closed, event, gateway, of_turn, open, provider, response, send, sent, until, usual,
};

/// A budget that one turn empties, at a dollar a token.
fn poor() -> Value {
    json!({
        "prices": { "m": { "input": "1000000", "output": "1000000" } },
        "quotas": { "small": { "capacity": "$100.00", "rate": "$1.00/day" } },
        "grants": [{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [
            { "role": "admin" }, { "models": "**", "quotas": [{ "bucket": "small" }] }] } }],
    })
}

fn revoke(gateway: &Gateway) {
    let text = std::fs::read_to_string(gateway.config()).unwrap();
    std::fs::write(gateway.config(), text.replace("\"**\"", "\"other/**\"")).unwrap();
}

#[tokio::test]
async fn a_turn_without_a_budget_is_refused_and_its_provider_is_not_asked() {
    let (address, mut inbox) = provider(usual, false).await;
    let mut more = poor();
    // A turn costs $25.30. What it holds is less, by the caller's bound.
    more["prices"] = json!({ "m": { "input": "100000", "output": "100000" } });
    let gateway = gateway(address, more).await;
    let mut socket = open(&gateway).await;
    let mut complete = 0;
    let refused = loop {
        let bound = json!({"max_output_tokens":5});
        send(
            &mut socket,
            json!({"type":"response.create","response":bound}),
        )
        .await;
        let last = loop {
            let event = event(&mut socket).await.expect("the session stays");
            if event["type"] == "error" || event["type"] == "response.done" {
                break event;
            }
        };
        if last["type"] == "error" {
            break last;
        }
        complete += 1;
        assert!(complete < 8, "the budget has no end");
    };
    assert!(complete > 0);
    assert_eq!(refused["error"]["type"], "insufficient_quota", "{refused}");
    let record = gateway.record_where(|record| record["status"] == 429).await;
    assert_eq!(
        (&record["outcome"], &record["cost"]),
        (&json!("refused"), &json!(0))
    );
    let sent = std::iter::from_fn(|| inbox.try_recv().ok());
    let asked = sent
        .filter(|message| message["type"] == "response.create")
        .count();
    assert_eq!(asked, complete, "the refused one isn't among them");
}

/// Says that it has begun, and nothing more.
fn silent(message: &Value) -> Vec<Value> {
    match message["type"].as_str() {
        Some("response.create") => response("resp_1")[..1].to_vec(),
        _ => usual(message),
    }
}

#[tokio::test]
async fn what_is_held_of_a_turn_that_may_be_spoken_is_the_price_of_speech() {
    let (address, mut inbox) = provider(silent, false).await;
    let mut more = poor();
    // Ten tokens cost $60 if they are spoken, and almost nothing as text.
    more["prices"] = json!({ "m": { "input": "1", "output": "1", "audio_output": "6000000" } });
    let gateway = gateway(address, more).await;
    let (mut first, mut second) = (open(&gateway).await, open(&gateway).await);
    let ask = json!({"type":"response.create","response":{"max_output_tokens":10}});
    send(&mut first, ask.clone()).await;
    sent(&mut inbox, "response.create").await;
    send(&mut second, ask).await;
    let refused = until(&mut second, "error").await;
    assert_eq!(refused["error"]["type"], "insufficient_quota", "{refused}");
}

#[tokio::test]
async fn a_turn_that_a_provider_begins_is_metered() {
    let (address, _inbox) = provider(usual, false).await;
    let gateway = gateway(address, json!({})).await;
    let mut socket = open(&gateway).await;
    send(
        &mut socket,
        json!({"type":"input_audio_buffer.append","audio":"AAAA"}),
    )
    .await;
    until(&mut socket, "response.done").await;
    let record = gateway.record_where(of_turn).await;
    assert_eq!(
        (&record["usage"]["output_tokens"], &record["outcome"]),
        (&json!(121), &json!("complete"))
    );
}

#[tokio::test]
async fn a_turn_that_a_provider_begins_without_a_budget_is_cancelled() {
    let (address, mut inbox) = provider(usual, false).await;
    let gateway = gateway(address, poor()).await;
    let mut socket = open(&gateway).await;
    // One turn may overdraw it.
    send(&mut socket, json!({"type":"response.create"})).await;
    until(&mut socket, "response.done").await;
    gateway.record_where(of_turn).await;
    send(
        &mut socket,
        json!({"type":"input_audio_buffer.append","audio":"AAAA"}),
    )
    .await;
    let refused = loop {
        let event = event(&mut socket).await.expect("an error first");
        let kind = event["type"].as_str().unwrap().to_owned();
        assert!(
            !kind.starts_with("response."),
            "nothing of it is given: {event}"
        );
        if kind == "error" {
            break event;
        }
    };
    assert_eq!(refused["error"]["type"], "insufficient_quota", "{refused}");
    let cancel = sent(&mut inbox, "response.cancel").await;
    assert_eq!(cancel["response_id"], "resp_vad");
    closed(&mut socket).await;
    let record = gateway.record_where(|record| record["status"] == 429).await;
    assert_eq!(record["outcome"], "refused", "{record}");
}

#[tokio::test]
async fn guardrails_read_what_a_model_will_read() {
    let (address, mut inbox) = provider(usual, false).await;
    let grant = |guard: &str| {
        json!([{ "src": ["(loopback)"], "app": { "tailscale.com/cap/aperture": [
            { "role": "admin" }, { "models": "**", "guards": [guard] }] } }])
    };
    let guards = json!({
        "block": { "kind": "patterns", "detect": ["email"], "action": "block" },
        "redact": { "kind": "patterns", "detect": ["email"], "action": "redact" },
    });
    let more = json!({ "guards": guards, "grants": grant("block") });
    let blocking = gateway(address, more).await;
    let mut socket = open(&blocking).await;
    let said = |text: &str| {
        json!({"type":"conversation.item.create","item":{"type":"message","role":"user",
            "content":[{"type":"input_text","text":text}]}})
    };
    let result = json!({"type":"conversation.item.create","item":{"type":"function_call_output","call_id":"c",
        "output":"it is pat@example.org"}});
    for message in [
        said("I am pat@example.org"),
        json!({"type":"session.update","session":{"instructions":"write to pat@example.org"}}),
        json!({"type":"response.create","response":{"instructions":"write to pat@example.org"}}),
        result,
        json!({"type":"session.update","session":{"secret_prompt":"x"}}),
    ] {
        send(&mut socket, message.clone()).await;
        let refused = until(&mut socket, "error").await;
        assert_eq!(
            refused["error"]["type"], "guardrail_blocked",
            "{message}: {refused}"
        );
    }
    send(&mut socket, said("I am Pat")).await;
    until(&mut socket, "conversation.item.added").await;
    let record = blocking
        .record_where(|record| record["outcome"] == "refused")
        .await;
    assert_eq!(record["status"], 403, "{record}");
    inbox.recv().await.unwrap();
    let passed = inbox.recv().await.unwrap();
    assert_eq!(passed, said("I am Pat"), "nothing else was passed on");

    let more = json!({ "guards": guards, "grants": grant("redact") });
    let redacting = gateway(address, more).await;
    let mut socket = open(&redacting).await;
    send(&mut socket, said("I am pat@example.org")).await;
    until(&mut socket, "conversation.item.added").await;
    inbox.recv().await.unwrap();
    let passed = inbox.recv().await.unwrap().to_string();
    assert!(
        passed.contains("[redacted") && !passed.contains("pat@"),
        "{passed}"
    );
    send(&mut socket, json!({"type":"response.create"})).await;
    until(&mut socket, "response.done").await;
    let record = redacting.record_where(of_turn).await;
    let reasons = record["reasons"].to_string();
    assert!(reasons.contains("redact"), "{reasons}");
}

#[tokio::test]
async fn a_withdrawn_grant_cuts_a_session() {
    let (address, _inbox) = provider(usual, false).await;
    let gateway = gateway(address, json!({})).await;
    let mut socket = open(&gateway).await;
    revoke(&gateway);
    let told = until(&mut socket, "error").await;
    assert!(
        told["error"]["message"]
            .as_str()
            .unwrap()
            .contains("withdrawn"),
        "{told}"
    );
    assert_eq!(u16::from(closed(&mut socket).await.code), 1008);
}

#[tokio::test]
async fn a_caller_who_leaves_has_the_response_cancelled_and_its_count_recorded() {
    let (address, mut inbox) = provider(
        |message| match message["type"].as_str() {
            Some("response.create") => response("resp_1")[..2].to_vec(),
            Some("response.cancel") => {
                let mut done = response("resp_1").remove(2);
                done["response"]["status"] = "cancelled".into();
                vec![done]
            }
            _ => usual(message),
        },
        false,
    )
    .await;
    let gateway = gateway(address, json!({})).await;
    let mut socket = open(&gateway).await;
    send(&mut socket, json!({"type":"response.create"})).await;
    until(&mut socket, "response.output_audio.delta").await;
    socket.close(None).await.unwrap();
    let cancel = sent(&mut inbox, "response.cancel").await;
    assert_eq!(cancel["response_id"], "resp_1");
    let record = gateway.record_where(of_turn).await;
    assert_eq!(record["outcome"], "client_closed", "{record}");
    assert_eq!(record["usage"]["input_tokens"], 132, "{record}");
}

#[tokio::test]
async fn a_provider_that_breaks_off_is_told_and_what_came_is_estimated() {
    let (address, _inbox) = provider(
        |message| match message["type"].as_str() {
            Some("response.create") => {
                let mut events = response("resp_1");
                events[2] = Value::Null;
                events
            }
            _ => usual(message),
        },
        false,
    )
    .await;
    let gateway = gateway(address, json!({})).await;
    let mut socket = open(&gateway).await;
    send(&mut socket, json!({"type":"response.create"})).await;
    let told = until(&mut socket, "error").await;
    assert_eq!(told["error"]["code"], "provider_broke_off", "{told}");
    closed(&mut socket).await;
    let record = gateway.record_where(of_turn).await;
    assert_eq!(record["outcome"], "upstream_error", "{record}");
    assert_eq!(record["usage"]["estimated"], true, "{record}");
}

#[tokio::test]
async fn a_refused_response_is_on_record_and_the_next_one_is_its_own() {
    let (address, _inbox) = provider(
        |message| match message["type"].as_str() {
            Some("response.create") if message["event_id"] == "bad" => vec![json!({"type":"error",
                "error":{"type":"invalid_request_error","code":"x","message":"not now","event_id":"bad"}})],
            _ => usual(message),
        },
        false,
    )
    .await;
    let gateway = gateway(address, json!({})).await;
    let mut socket = open(&gateway).await;
    send(
        &mut socket,
        json!({"type":"response.create","event_id":"bad"}),
    )
    .await;
    until(&mut socket, "error").await;
    let record = gateway.record_where(of_turn).await;
    assert_eq!(record["outcome"], "upstream_error", "{record}");
    assert_eq!(record["error"], "not now", "{record}");
    send(&mut socket, json!({"type":"response.create"})).await;
    until(&mut socket, "response.done").await;
    let complete = |record: &Value| of_turn(record) && record["outcome"] == "complete";
    gateway.record_where(complete).await;
}

#[tokio::test]
async fn two_responses_can_run_at_once_and_each_has_its_count() {
    let (address, _inbox) = provider(
        |message| match message["type"].as_str() {
            Some("response.create") if message["event_id"] == "a" => response("ra")[..2].to_vec(),
            Some("response.create") => {
                let mut events = response("rb");
                events.push(response("ra").remove(2));
                events
            }
            _ => usual(message),
        },
        false,
    )
    .await;
    let gateway = gateway(address, json!({})).await;
    let mut socket = open(&gateway).await;
    let beside = json!({"conversation":"none"});
    send(
        &mut socket,
        json!({"type":"response.create","event_id":"a"}),
    )
    .await;
    send(
        &mut socket,
        json!({"type":"response.create","event_id":"b","response":beside}),
    )
    .await;
    for id in ["rb", "ra"] {
        let done = until(&mut socket, "response.done").await;
        assert_eq!(done["response"]["id"], id);
    }
    socket.flush().await.unwrap();
    let complete = |record: &Value| of_turn(record) && record["outcome"] == "complete";
    gateway.record_where(complete).await;
    let mut found = 0;
    for _ in 0..50 {
        let page = http::Request::get("/api/requests").body(http_body_util::Full::default());
        let all = gateway.send(page.unwrap()).await.json();
        found = all.to_string().matches("\"output_tokens\":121").count();
        if found == 2 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(found, 2);
}

#[tokio::test]
async fn a_transcription_is_charged_at_the_price_of_its_model() {
    let (address, _inbox) = provider(
        |message| match message["type"].as_str() {
            Some("input_audio_buffer.commit") => vec![json!({
                "type":"conversation.item.input_audio_transcription.completed","item_id":"i","content_index":0,
                "transcript":"hello","usage":{"type":"tokens","total_tokens":22,"input_tokens":13,
                "input_token_details":{"text_tokens":0,"audio_tokens":13},"output_tokens":9}})],
            _ => usual(message),
        },
        false,
    )
    .await;
    let prices =
        json!({ "m": { "input": "1", "output": "1" }, "whisper": { "input": "2", "output": "4" } });
    let gateway = gateway(address, json!({ "prices": prices })).await;
    let mut socket = open(&gateway).await;
    let session = json!({"audio":{"input":{"transcription":{"model":"whisper"}}}});
    send(
        &mut socket,
        json!({"type":"session.update","session":session}),
    )
    .await;
    until(&mut socket, "session.updated").await;
    send(&mut socket, json!({"type":"input_audio_buffer.commit"})).await;
    until(
        &mut socket,
        "conversation.item.input_audio_transcription.completed",
    )
    .await;
    let record = gateway.record_where(of_turn).await;
    assert_eq!(
        (&record["model"], &record["cost"]),
        (&json!("whisper"), &json!(13 * 2_000 + 9 * 4_000))
    );
}

#[tokio::test]
async fn a_transcription_counted_in_seconds_is_not_charged_for_the_conversation() {
    let (address, _inbox) = provider(
        |message| match message["type"].as_str() {
            Some("input_audio_buffer.commit") => vec![json!({
                "type":"conversation.item.input_audio_transcription.completed","item_id":"i","content_index":0,
                "transcript":"hello there","usage":{"type":"duration","seconds":3.2}})],
            _ => usual(message),
        },
        false,
    )
    .await;
    let prices = json!({ "m": { "input": "1", "output": "2" } });
    let gateway = gateway(address, json!({ "prices": prices })).await;
    let mut socket = open(&gateway).await;
    // The provider holds a turn, and much sound.
    send(&mut socket, json!({"type":"response.create"})).await;
    until(&mut socket, "response.done").await;
    send(
        &mut socket,
        json!({"type":"input_audio_buffer.append","audio":"A".repeat(640_000)}),
    )
    .await;
    until(&mut socket, "response.done").await;
    send(&mut socket, json!({"type":"input_audio_buffer.commit"})).await;
    until(
        &mut socket,
        "conversation.item.input_audio_transcription.completed",
    )
    .await;
    let estimated = |record: &Value| of_turn(record) && record["usage"]["estimated"] == true;
    let record = gateway.record_where(estimated).await;
    assert_eq!(record["usage"]["input_tokens"], 32, "{record}");
    assert_eq!(record["cost"], 32 * 1_000 + 3 * 2_000, "{record}");
}
