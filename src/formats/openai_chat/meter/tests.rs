//! Streams and completions of OpenAI and of servers that follow it.

use super::*;
use crate::formats::Meter;
use crate::formats::assembly::Assembling;
use crate::formats::corpus::feed;

fn meter(hide: bool) -> Assembling<Chunks> {
    Assembling::new(
        Chunks::new(&CHAT, hide),
        read,
        &crate::formats::corpus::metered(400, 10_000),
    )
}

fn run(hide: bool, events: &[&str]) -> (Vec<Pass>, Reading) {
    let mut meter = meter(hide);
    let passed = events.iter().map(|data| feed(&mut meter, "", data));
    (passed.collect(), meter.finish())
}

#[test]
fn a_stream_becomes_the_answer_that_would_have_come() {
    let events = [
        r#"{"id":"c","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":null},"finish_reason":null}]}"#,
        r#"{"id":"c","choices":[{"index":0,"delta":{"content":"h\u00e9"}}],"usage":null}"#,
        r#"{"id":"c","choices":[{"index":0,"delta":{"content":"y","tool_calls":[{"index":0,"id":"t","type":"function","function":{"name":"f","arguments":"{"}}]}}]}"#,
        r#"{"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"}"}}]}}]}"#,
        r#"{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#,
        r#"{"id":"c","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":2},"completion_tokens_details":{"reasoning_tokens":1}}}"#,
        "[DONE]",
    ];
    let (passed, reading) = run(true, &events);
    assert_eq!(passed[5], Pass::Hidden);
    assert_eq!(
        passed.iter().filter(|pass| **pass == Pass::Hidden).count(),
        1
    );
    let response: Value = serde_json::from_slice(&reading.response.clone().unwrap()).unwrap();
    assert_eq!(
        response,
        json!({"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,
            "message":{"role":"assistant","content":"héy","tool_calls":[
                {"id":"t","type":"function","function":{"name":"f","arguments":"{}"}}]},
            "finish_reason":"tool_calls"}],
            "usage":{"prompt_tokens":7,"completion_tokens":3,
                "prompt_tokens_details":{"cached_tokens":2},
                "completion_tokens_details":{"reasoning_tokens":1}}})
    );
    let tokens = reading.tokens;
    assert_eq!((tokens.input, tokens.output), (Some(7), Some(3)));
    assert_eq!((tokens.cached, tokens.reasoning), (Some(2), Some(1)));
    assert!(!tokens.estimated);
    assert_eq!(reading.tool_calls[0].params, "{}");
    assert_eq!(reading.finish_reason.as_deref(), Some("tool_calls"));
    // The same response unstreamed reads the same.
    let mut whole = meter(false);
    whole.body(response.to_string().as_bytes());
    let whole = whole.finish();
    assert_eq!(
        (whole.tokens, whole.tool_calls),
        (reading.tokens, reading.tool_calls)
    );
    let (passed, _) = run(false, &events);
    assert!(passed.iter().all(|pass| *pass == Pass::Through));
}

#[test]
fn an_interrupted_stream_is_estimated_and_says_so() {
    let (_, reading) = run(
        true,
        &[
            r#"{"choices":[{"delta":{"content":"a"}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":1,"function":{"name":"f"}}]}}]}"#,
        ],
    );
    assert_eq!(
        (reading.tokens.input, reading.tokens.output),
        (Some(100), Some(2))
    );
    assert!(reading.tokens.estimated);
    assert_eq!(reading.tool_calls.len(), 1);
}

#[test]
fn a_stream_in_a_dialect_reads_like_the_others() {
    let said = r#"{"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":""}]}"#;
    let usage = r#"{"prompt_tokens":19,"completion_tokens":21,"total_tokens":40}"#;
    let zeros = r#"{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}"#;
    let end = |more: &str, choice: &str| {
        format!(
            r#"{{"choices":[{{"index":0,"delta":{{}},"finish_reason":"stop"{choice}}}]{more}}}"#
        )
    };
    for (server, events) in [
        ("Moonshot", vec![end("", &format!(r#","usage":{usage}"#))]),
        (
            "Groq",
            vec![end(
                &format!(r#","x_groq":{{"id":"r","usage":{usage}}}"#),
                "",
            )],
        ),
        (
            "in each chunk",
            vec![
                end(&format!(r#","usage":{usage}"#), ""),
                format!(r#"{{"choices":[],"usage":{zeros}}}"#),
            ],
        ),
        (
            "twice in one",
            vec![end(
                &format!(r#","usage":{usage},"usage":null,"id":"a","id":"b""#),
                "",
            )],
        ),
        (
            "Ollama",
            vec![end(r#","prompt_eval_count":19,"eval_count":21"#, "")],
        ),
        (
            "llama.cpp",
            vec![end(r#","timings":{"prompt_n":19,"predicted_n":21}"#, "")],
        ),
        (
            "half a pair",
            vec![
                r#"{"choices":[{"index":0,"delta":{"content":"x\ud83d"}}]}"#.to_owned(),
                end(&format!(r#","usage":{usage}"#), ""),
            ],
        ),
    ] {
        let mut all = vec![said];
        all.extend(events.iter().map(String::as_str));
        all.push("[DONE]");
        let (_, reading) = run(false, &all);
        let tokens = reading.tokens;
        assert_eq!(
            (tokens.input, tokens.output),
            (Some(19), Some(21)),
            "{server}"
        );
        assert!(!tokens.estimated, "{server}");
        assert_eq!(reading.finish_reason.as_deref(), Some("stop"), "{server}");
        let mut whole = meter(false);
        whole.body(&reading.response.unwrap());
        assert_eq!(whole.finish().tokens, tokens, "{server}, unstreamed");
    }
}

#[test]
fn an_empty_reason_is_no_end() {
    let mut meter = meter(false);
    let data = r#"{"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":""}]}"#;
    feed(&mut meter, "", data);
    assert!(!meter.is_complete());
}

#[test]
fn an_explicit_zero_stays_zero_and_junk_is_unknown() {
    let mut whole = meter(false);
    whole.body(br#"{"choices":[],"usage":{"prompt_tokens":0,"completion_tokens":0}}"#);
    assert_eq!(whole.finish().tokens.output, Some(0));
    for junk in ["-1", "1e99", "\"x\"", "null", "{}", "true"] {
        let mut whole = meter(false);
        let body = format!(r#"{{"usage":{{"prompt_tokens":{junk},"completion_tokens":4}}}}"#);
        whole.body(body.as_bytes());
        let tokens = whole.finish().tokens;
        assert_eq!((tokens.input, tokens.output), (None, Some(4)), "{junk}");
    }
}
