//! Recorded exchanges, and what goes to the provider.

use http::{Method, StatusCode};

use super::*;
use crate::formats::{Meter, corpus, known, transcript};

fn ask(format: &Format, path: &str, body: &str) -> Call {
    corpus::ask(format, path, body).unwrap()
}

#[test]
fn recorded_exchanges() {
    let meter = |room| -> Box<dyn Meter> { (CHAT.meter)(&corpus::metered(400, room)) };
    for exchange in &corpus::exchanges!(Ndjson ".stream.ndjson": "text", "tools", "broken_off") {
        let call = ask(&CHAT, CHAT_PATH, exchange.request);
        assert!(call.stream && call.opening.is_some(), "{}", exchange.name);
        corpus::check(exchange, meter);
    }
    let [exchange] = &corpus::exchanges!(Ndjson ".stream.ndjson": "generate");
    let call = ask(&GENERATE, GENERATE_PATH, exchange.request);
    assert!(call.stream && call.opening.is_some());
    assert_eq!(call.answer_limit, Some(9));
    corpus::check(exchange, meter);
}

#[test]
fn a_response_is_a_stream_unless_the_request_says_otherwise() {
    for (stream, expected) in [
        ("", true),
        (r#","stream":null"#, true),
        (r#","stream":true"#, true),
        (r#","stream":false"#, false),
    ] {
        let body = format!(r#"{{"model":"m","messages":[]{stream}}}"#);
        assert_eq!(ask(&CHAT, CHAT_PATH, &body).stream, expected, "{stream}");
        let body = format!(r#"{{"model":"m","input":"a"{stream}}}"#);
        assert!(!ask(&EMBED, "/api/embed", &body).stream);
    }
    let odd = r#"{"model":"m","messages":[],"stream":"no"}"#;
    let refused = corpus::ask(&CHAT, CHAT_PATH, odd).unwrap_err();
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
}

#[test]
fn only_the_models_name_changes() {
    let body = r#"{ "model":"p/m", "messages":[],"options":{"num_predict":-1}}"#;
    let call = ask(&CHAT, CHAT_PATH, body);
    assert_eq!(call.answer_limit, None);
    let sent = call.outbound("m:latest");
    assert_eq!(sent.path, "/api/chat");
    assert_eq!(sent.body, body.replace("p/m", "m:latest"));
    for (format, path, known) in [
        (&CHAT, "/api/chat", true),
        (&GENERATE, "/api/generate", true),
        (&EMBED, "/api/embed", true),
        (&EMBED, "/api/embeddings", true),
        (&CHAT, "/api/chats", false),
        (&CHAT, "/chat", false),
        (&EMBED, "/embeddings", false),
    ] {
        assert_eq!(format.recognises(&Method::POST, path), known, "{path}");
        assert!(!format.recognises(&Method::GET, path), "{path}");
    }
}

#[test]
fn what_go_would_read_in_two_ways_is_refused() {
    for body in [
        r#"{"model":"a","Model":"b","messages":[]}"#,
        r#"{"model":"a","Messages":[]}"#,
        r#"{"model":"a","messages":[],"Stream":false}"#,
        r#"{"name":"a","messages":[]}"#,
    ] {
        assert!(corpus::ask(&CHAT, CHAT_PATH, body).is_err(), "{body}");
    }
    assert!(!known::OLLAMA.has_key("template") && !known::OLLAMA.has_key("context"));
}

#[test]
fn loading_a_model_counts_nothing() {
    for reason in ["load", "unload"] {
        let mut meter = (GENERATE.meter)(&corpus::metered(40, 1000));
        let response =
            format!(r#"{{"model":"m","response":"","done":true,"done_reason":"{reason}"}}"#);
        meter.body(response.as_bytes());
        let reading = meter.finish();
        assert_eq!(
            (reading.tokens.input, reading.tokens.output),
            (Some(0), Some(0))
        );
        assert!(!reading.is_foreign && !reading.tokens.estimated);
    }
    let mut meter = (EMBED.meter)(&corpus::metered(40, 1000));
    meter.body(br#"{"model":"m","embeddings":[[0.1,0.2]],"prompt_eval_count":8}"#);
    assert_eq!(meter.finish().tokens.input, Some(8));
}

#[test]
fn tools_and_turns_are_found() {
    let request = r#"{"model":"m","messages":[{"role":"system","content":"be brief"},{"role":"user","content":"hi","images":["AAAA"]},
        {"role":"assistant","content":"","thinking":"hm","tool_calls":[{"function":{"name":"now","arguments":{"a":1}}}]},
        {"role":"tool","tool_name":"now","content":"noon"}],
        "tools":[{"type":"function","function":{"name":"now"}}]}"#;
    let mut names = Vec::new();
    let offer = CHAT.tools(request.as_bytes());
    offer.names(&mut |name| names.push(name.map(str::to_owned)));
    assert_eq!(names, [Some("now".to_owned())]);
    let response = br#"{"message":{"role":"assistant","content":"Noon."},"done":true}"#;
    let read = transcript::read(CHAT.name, request.as_bytes(), response);
    let roles: Vec<&str> = read.sent.iter().map(|turn| turn.role.as_str()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "tool"]);
    assert_eq!(read.sent[1].parts.len(), 2);
    assert_eq!(read.sent[2].parts.len(), 2);
    assert_eq!(read.offered, ["now"]);
    assert_eq!(
        read.answered[0].parts,
        [transcript::Part::Text("Noon.".to_owned())]
    );
    let request = br#"{"model":"m","system":"be brief","prompt":"hi","images":["AAAA"]}"#;
    let response = br#"{"response":"Ahoy.","thinking":"hm","done":true}"#;
    let read = transcript::read(GENERATE.name, request, response);
    assert_eq!((read.sent.len(), read.answered[0].parts.len()), (2, 2));
}

#[test]
fn errors_are_strings_and_lines() {
    let rejection = Rejection::new(StatusCode::NOT_FOUND, "code", "why");
    assert_eq!(
        (REFUSALS.body)(&rejection),
        serde_json::json!({ "error": "why" })
    );
    assert_eq!(CHAT.stream_error(&rejection), "{\"error\":\"why\"}\n");
    let words = REFUSALS.missing_model.unwrap();
    assert_eq!(words("m:7b"), "model 'm:7b' not found");
}

#[test]
fn a_long_stream_has_no_room_without_end() {
    let mut meter = (CHAT.meter)(&corpus::metered(400, 4096));
    for nth in 0..5_000 {
        let data = format!(
            r#"{{"model":"m","message":{{"role":"assistant","content":"","x{nth}":"y"}},"done":false}}"#
        );
        corpus::feed(&mut *meter, "", &data);
    }
    let end = r#"{"model":"m","message":{"role":"assistant","content":""},"done":true,"prompt_eval_count":1,"eval_count":2}"#;
    corpus::feed(&mut *meter, "", end);
    let reading = meter.finish();
    assert!(reading.truncated && reading.response.unwrap().len() < 16_384);
    assert_eq!(reading.tokens.output, Some(2));
}
