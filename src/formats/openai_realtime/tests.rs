//! Messages and events in the shapes of the API's reference, and what is refused.

use http::HeaderMap;
use serde_json::{Value, json};

use super::*;
use crate::formats::realtime::{Event, Names, Sent, Told};
use crate::formats::{Destination, Format, Head, Tokens};
use crate::wire::sse;

fn names() -> Names {
    Names {
        asked: "voice".into(),
        served: "gpt-realtime".into(),
        provider: "openai".into(),
    }
}

fn understand(message: &Value) -> Result<(Sent, Call), Rejection> {
    message::understand(message.to_string().into(), &names())
}

fn open(path: &str, query: &str) -> Result<Call, Rejection> {
    let headers = HeaderMap::new();
    let head = Head {
        path,
        query: Some(query),
        headers: &headers,
    };
    FORMAT.read(&head, Bytes::new())
}

#[test]
fn the_url_names_the_model() {
    for path in [
        "/v1/realtime",
        "/realtime",
        "/openai/v1/realtime",
        "/openai/realtime",
    ] {
        assert!(FORMAT.recognises_socket(path), "{path}");
        for query in [
            "model=gpt-realtime",
            "deployment=gpt-realtime&api-version=2025-04-01-preview",
            "model=gpt-realtime&deployment=gpt-realtime",
            "model=gpt%2Drealtime",
        ] {
            let call = open(path, query).unwrap();
            assert_eq!(
                (&*call.model, call.billed),
                ("gpt-realtime", false),
                "{query}"
            );
        }
    }
    for query in [
        "",
        "model=",
        "model=a&model=b",
        "model=a;deployment=b",
        "model=a&call_id=rtc_1",
        "model=a&intent=transcription",
        "model=%00",
    ] {
        assert_eq!(
            open("/v1/realtime", query).unwrap_err().status,
            400,
            "{query}"
        );
    }
    for path in [
        "/v1/realtimes",
        "/v1/realtime/calls/rtc_1/accept",
        "/v1/realtime/",
    ] {
        assert!(
            !FORMAT.recognises_socket(path) || path.ends_with('/'),
            "{path}"
        );
    }
}

#[test]
fn what_leads_past_the_gateway_is_refused_with_the_reason() {
    for path in [
        "/v1/realtime/client_secrets",
        "/v1/realtime/sessions",
        "/v1/realtime/transcription_sessions",
        "/v1/realtime/calls",
        "/v1/realtime/calls/rtc_1/accept",
        "/realtime/client_secrets",
        "/openai/v1/realtime/calls",
    ] {
        assert!(FORMAT.recognises(&http::Method::POST, path), "{path}");
        let refused = open(path, "model=m").unwrap_err();
        assert_eq!(refused.status, 403, "{path}");
        assert!(refused.message.contains("without this gateway"), "{path}");
    }
}

#[test]
fn messages_are_told_apart_and_unknown_ones_refused() {
    for (sent, message) in [
        (
            Sent::Sound,
            json!({"type":"input_audio_buffer.append","audio":"AAAA"}),
        ),
        (
            Sent::Beside,
            json!({"type":"input_audio_buffer.commit","event_id":"e"}),
        ),
        (
            Sent::Beside,
            json!({"type":"response.cancel","response_id":"r"}),
        ),
        (
            Sent::Beside,
            json!({"type":"conversation.item.truncate","item_id":"i","content_index":0,"audio_end_ms":5}),
        ),
        (
            Sent::Content,
            json!({"type":"conversation.item.create","item":{"type":"message","role":"user",
                "content":[{"type":"input_text","text":"hi"}]}}),
        ),
        (
            Sent::Content,
            json!({"type":"session.update","session":{"type":"realtime","instructions":"be kind",
                "speed":1.2,"audio":{"output":{"voice":"marin"}}}}),
        ),
        (Sent::Turn, json!({"type":"response.create"})),
        (
            Sent::Turn,
            json!({"type":"response.create","response":{"max_output_tokens":200}}),
        ),
    ] {
        let (found, call) = understand(&message).unwrap();
        assert_eq!(found, sent, "{message}");
        assert_eq!(&*call.model, "openai/gpt-realtime");
        assert!(call.choices.is_empty(), "{message}");
    }
    for message in [
        json!({}),
        json!({"type":7}),
        json!({"type":"transcription_session.update","session":{}}),
        json!({"type":"response.steer"}),
        json!({"type":"input_audio_buffer.append","audio":"AA","text":"hi"}),
        json!({"type":"response.cancel","response":{"instructions":"hi"}}),
        json!({"type":"session.update","session":{"type":"transcription"}}),
        json!({"type":"session.update","session":7}),
    ] {
        assert_eq!(understand(&message).unwrap_err().status, 400, "{message}");
    }
    for text in [
        "",
        "hi",
        "[]",
        r#"{"type":"response.cancel","type":"response.create"}"#,
        r#"{"Type":"response.create","type":"response.cancel"}"#,
    ] {
        let read = message::understand(Bytes::from_static(text.as_bytes()), &names());
        assert!(read.is_err(), "{text}");
    }
}

#[test]
fn a_session_keeps_its_model_under_each_of_its_names() {
    let to = Destination {
        model: "gpt-realtime",
        project: None,
        region: None,
        flags: &[],
    };
    for name in ["voice", "gpt-realtime", "openai/gpt-realtime"] {
        for key in ["session", "response"] {
            let kind = if key == "session" {
                "session.update"
            } else {
                "response.create"
            };
            let message = json!({"type":kind, key:{"model":name}});
            let (_, call) = understand(&message).unwrap();
            let sent = FORMAT.prepare(&call, &to).unwrap();
            let sent: Value = serde_json::from_slice(&sent.body).unwrap();
            assert_eq!(sent[key]["model"], "gpt-realtime", "{message}");
        }
    }
    let other = json!({"type":"session.update","session":{"model":"gpt-5"}});
    let refused = understand(&other).unwrap_err();
    assert!(refused.message.contains("\"gpt-5\""), "{}", refused.message);
}

#[test]
fn models_beside_the_session_are_named_for_the_grant() {
    for session in [
        json!({"audio":{"input":{"transcription":{"model":"whisper-1"}}}}),
        json!({"input_audio_transcription":{"model":"whisper-1"}}),
    ] {
        let (_, call) = understand(&json!({"type":"session.update","session":session})).unwrap();
        assert_eq!(call.choices.len(), 1);
        assert_eq!(
            call.choices[0].models.as_deref(),
            Some(&["whisper-1".to_owned()][..])
        );
    }
    let (_, call) =
        understand(&json!({"type":"session.update","session":{"fallbacks":["x"]}})).unwrap();
    assert_eq!(call.choices.len(), 1);
}

#[test]
fn a_transcription_that_could_be_read_in_two_ways_is_refused() {
    for session in [
        r#"{"input_audio_transcription":{"model":"a"},"audio":{"input":{"transcription":{"model":"b"}}}}"#,
        r#"{"input_audio_transcription":{},"audio":{"input":{"transcription":{"model":"b"}}}}"#,
        r#"{"audio":{"input":{"transcription":{"model":"a"},"transcription":{"model":"b"}}}}"#,
        r#"{"audio":{"input":{"transcription":{"model":"a","Model":"b"}}}}"#,
        r#"{"audio":{"Input":{"transcription":{"model":"b"}}}}"#,
        r#"{"audio":[{"input":{"transcription":{"model":"b"}}}]}"#,
    ] {
        let message = format!(r#"{{"type":"session.update","session":{session}}}"#);
        let refused = message::understand(message.into(), &names());
        assert_eq!(refused.unwrap_err().status, 400, "{session}");
    }
    let one =
        json!({"input_audio_transcription":{"model":"a"},"audio":{"input":{"transcription":null}}});
    let (_, call) = understand(&json!({"type":"session.update","session":one})).unwrap();
    assert_eq!(call.choices.len(), 1);
}

#[test]
fn tools_are_found_where_sessions_and_responses_have_them() {
    for message in [
        json!({"type":"session.update","session":{"tools":[{"type":"function","name":"f"}]}}),
        json!({"type":"response.create","response":{"tools":[{"type":"function","name":"f"}]}}),
    ] {
        let mut found = Vec::new();
        FORMAT
            .tools(message.to_string().as_bytes())
            .names(&mut |name| found.push(name.map(str::to_owned)));
        assert_eq!(found, [Some("f".to_owned())], "{message}");
    }
}

#[test]
fn events_say_whose_turn_they_are() {
    let read = |event: Value| event::read(event.to_string().as_bytes());
    let turn = |told, id: Option<&str>| Event {
        told,
        turn: id.map(str::to_owned),
    };
    assert_eq!(
        read(json!({"type":"response.created","response":{"id":"r"}})),
        turn(Told::Begins, Some("r"))
    );
    assert_eq!(
        read(json!({"type":"response.output_audio.delta","response_id":"r","delta":"AA"})),
        turn(Told::Within, Some("r"))
    );
    // Those of the tools of an MCP server can come when no response runs.
    for kind in ["response.mcp_call.in_progress", "response.mcp_call.failed"] {
        let event = json!({"type":kind,"item_id":"i","output_index":0});
        assert_eq!(read(event), turn(Told::Rest, None), "{kind}");
    }
    assert_eq!(
        read(json!({"type":"error","error":{"event_id":"e","message":"no"}})),
        turn(Told::Refused(Some("e".to_owned())), None)
    );
    for event in [
        json!({"type":"session.created","session":{}}),
        json!({"type":"rate_limits.updated"}),
        json!({"response_id":7}),
        json!([]),
    ] {
        assert_eq!(read(event.clone()).told, Told::Beside, "{event}");
    }
    assert_eq!(event::read(b"\xff").told, Told::Beside);
}

fn metered(events: &[Value]) -> crate::formats::Reading {
    let call = understand(&json!({"type":"response.create"})).unwrap().1;
    let format: &Format = &FORMAT;
    let mut meter = format.meter(&call.metered(1 << 20));
    for event in events {
        meter.event(&sse::Event {
            name: b"",
            data: event.to_string().as_bytes(),
        });
    }
    meter.finish()
}

fn done(status: &str) -> Value {
    json!({"type":"response.done","response":{"object":"realtime.response","id":"r","status":status,
        "status_details":{"type":status,"reason":if status == "cancelled" {"turn_detected"} else {""},
            "error":{"type":"server_error","code":"x","message":"it broke"}},
        "output":[{"id":"i","type":"message","role":"assistant","status":"completed",
            "content":[{"type":"output_audio","transcript":"hello"}]}],
        "usage":{"total_tokens":253,"input_tokens":132,"output_tokens":121,
            "input_token_details":{"text_tokens":119,"audio_tokens":13,"image_tokens":0,"cached_tokens":64,
                "cached_tokens_details":{"text_tokens":60,"audio_tokens":4,"image_tokens":0}},
            "output_token_details":{"text_tokens":30,"audio_tokens":91}}}})
}

#[test]
fn the_end_of_a_response_counts_text_sound_and_cache() {
    let reading = metered(&[
        json!({"type":"response.created","response":{"object":"realtime.response","id":"r","status":"in_progress",
            "output":[]}}),
        done("completed"),
    ]);
    let expected = Tokens {
        input: Some(132),
        output: Some(121),
        cached: Some(64),
        image_input: Some(0),
        audio_input: Some(13),
        audio_cached: Some(4),
        audio_output: Some(91),
        ..Tokens::default()
    };
    assert_eq!(reading.tokens, expected);
    assert_eq!((reading.failure, reading.is_foreign), (None, false));
    let response: Value = serde_json::from_slice(&reading.response.unwrap()).unwrap();
    assert_eq!(response["output"][0]["content"][0]["transcript"], "hello");
    assert_eq!(
        metered(&[done("failed")]).failure.as_deref(),
        Some("it broke")
    );
    let cancelled = metered(&[done("cancelled")]);
    assert_eq!(cancelled.finish_reason.as_deref(), Some("turn_detected"));
}

#[test]
fn what_came_of_a_response_that_breaks_off_is_estimated() {
    let sound = "A".repeat(64_000);
    let reading = metered(&[
        json!({"type":"response.created","response":{"object":"realtime.response","id":"r","output":[]}}),
        json!({"type":"response.output_item.added","response_id":"r","output_index":0,
            "item":{"id":"i","type":"message","role":"assistant","content":[]}}),
        json!({"type":"response.output_audio.delta","response_id":"r","item_id":"i","output_index":0,
            "content_index":0,"delta":sound}),
        json!({"type":"response.output_audio_transcript.delta","response_id":"r","item_id":"i","output_index":0,
            "content_index":0,"delta":"hello there"}),
    ]);
    assert!(reading.tokens.estimated);
    let output = reading.tokens.output.unwrap();
    assert!((20..200).contains(&output), "{output}");
    let response = reading.response.unwrap();
    assert!(response.len() < 1_000);
    assert!(String::from_utf8_lossy(&response).contains("hello there"));
}

#[test]
fn a_transcription_is_a_turn_of_its_own() {
    let event = json!({"type":"conversation.item.input_audio_transcription.completed","item_id":"i",
        "content_index":0,"transcript":"hello","usage":{"type":"tokens","total_tokens":22,"input_tokens":13,
        "input_token_details":{"text_tokens":0,"audio_tokens":13},"output_tokens":9}});
    let Told::Heard(turn) = event::read(event.to_string().as_bytes()).told else {
        panic!("it has a usage");
    };
    let reading = metered(&[serde_json::from_slice(&turn).unwrap()]);
    assert_eq!(
        (
            reading.tokens.input,
            reading.tokens.output,
            reading.tokens.audio_input
        ),
        (Some(13), Some(9), Some(13))
    );
}

#[test]
fn a_transcription_counted_in_seconds_is_estimated_by_them() {
    let heard = |usage: Value| {
        let event = json!({"type":"conversation.item.input_audio_transcription.completed","item_id":"i",
            "content_index":0,"transcript":"hello there","usage":usage});
        let Told::Heard(turn) = event::read(event.to_string().as_bytes()).told else {
            panic!("it has a usage");
        };
        metered(&[serde_json::from_slice(&turn).unwrap()]).tokens
    };
    let expected = Tokens {
        input: Some(33),
        audio_input: Some(33),
        output: Some(3),
        estimated: true,
        ..Tokens::default()
    };
    assert_eq!(heard(json!({"type":"duration","seconds":3.24})), expected);
    for seconds in [json!(-1), json!(1e300), json!("3"), Value::Null] {
        let tokens = heard(json!({"type":"duration","seconds":seconds}));
        assert_eq!(tokens, Tokens::default(), "{seconds}");
    }
}

#[test]
fn a_browser_asks_for_the_beta_by_a_subprotocol() {
    let mut headers = HeaderMap::new();
    assert_eq!(version(&headers), None);
    let offered = "realtime, openai-insecure-api-key.sk-1, openai-beta.realtime-v1";
    headers.insert("sec-websocket-protocol", offered.parse().unwrap());
    assert_eq!(version(&headers), Some(("openai-beta", "realtime=v1")));
}
