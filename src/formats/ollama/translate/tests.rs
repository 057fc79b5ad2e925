//! Requests and responses of Ollama's API, translated from and to chat completions and messages.

use serde_json::{Value, json};

use super::{CHAT, GENERATE, idle_chat, idle_generate};
use crate::formats::translate::checks::{
    read, streamed, survives_every_split, through, translated, value, whole, written,
};
use crate::formats::translate::{
    Codec, Content, Delivery, Effort, Inbound, Reasoning, Request, Response, Stop, request,
};
use crate::formats::{Call, corpus, named, ollama};
use crate::wire::Framing;

fn codec(name: &str) -> &'static Codec {
    named(name).unwrap().codec.unwrap()
}

fn to_chat(body: &Value) -> (Value, Vec<String>) {
    translated(&CHAT, codec("openai_chat"), body).unwrap()
}

/// The lines of a stream, without their time.
fn lines(stream: &[u8]) -> Vec<Value> {
    let text = String::from_utf8(stream.to_vec()).unwrap();
    let lines = text.lines().map(|line| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        assert!(line["created_at"].as_str().unwrap().ends_with('Z'));
        line.as_object_mut().unwrap().remove("created_at");
        line
    });
    lines.collect()
}

#[test]
fn a_chat_with_everything_becomes_one_of_another_format() {
    let (sent, dropped) = to_chat(&json!({
        "model": "m", "stream": false, "keep_alive": "5m", "think": "high",
        "messages": [
            { "role": "system", "content": "be brief" },
            { "role": "User", "content": "what is this?", "images": ["iVBORw0KGgo="] },
            { "role": "assistant", "content": "", "thinking": "a tool", "tool_calls": [
                { "function": { "name": "now", "arguments": { "zone": "UTC" } } },
                { "function": { "name": "look", "arguments": {} } },
            ] },
            { "role": "tool", "tool_name": "look", "content": "a ship" },
            { "role": "tool", "content": "noon" },
        ],
        "tools": [{ "type": "function", "function": { "name": "now", "description": "the time",
            "parameters": { "type": "object", "properties": { "zone": { "type": "string" } } } } }],
        "options": { "num_predict": 64, "temperature": 0.5, "top_p": 0.9, "top_k": 40.0, "seed": 7, "stop": ["END"],
            "num_ctx": 4096, "repeat_penalty": 1.1, "presence_penalty": 0.0 },
        "format": { "type": "object", "properties": {} },
    }));
    let arguments = r#"{"zone":"UTC"}"#;
    assert_eq!(
        sent["messages"],
        json!([
            { "role": "system", "content": "be brief" },
            { "role": "user", "content": [
                { "type": "text", "text": "what is this?" },
                { "type": "image_url", "image_url": { "url": "data:image/png;base64,iVBORw0KGgo=" } },
            ] },
            { "role": "assistant", "content": null, "tool_calls": [
                { "id": "call_1", "type": "function", "function": { "name": "now", "arguments": arguments } },
                { "id": "call_2", "type": "function", "function": { "name": "look", "arguments": "{}" } },
            ] },
            { "role": "tool", "tool_call_id": "call_2", "content": "a ship" },
            { "role": "tool", "tool_call_id": "call_1", "content": "noon" },
        ])
    );
    assert_eq!(sent["max_completion_tokens"], 64);
    assert_eq!(
        (&sent["temperature"], &sent["seed"]),
        (&json!(0.5), &json!(7))
    );
    assert_eq!(sent["stop"], json!(["END"]));
    assert_eq!(sent["reasoning_effort"], "high");
    assert_eq!(sent["response_format"]["type"], "json_schema");
    assert_eq!(sent["tools"][0]["function"]["name"], "now");
    let expected = [
        "keep_alive",
        "options.num_ctx",
        "options.repeat_penalty",
        "options.top_k",
        "messages.thinking",
    ];
    assert_eq!(dropped, expected);
}

#[test]
fn options_that_ask_for_nothing_are_nothing() {
    let (sent, dropped) = to_chat(&json!({
        "model": "m", "messages": [{ "role": "user", "content": "hi" }], "tools": [], "format": "",
        "options": { "num_predict": -1, "stop": [] }, "think": null, "logprobs": false, "top_logprobs": 0,
    }));
    assert_eq!(
        sent,
        json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] })
    );
    assert!(dropped.is_empty(), "{dropped:?}");
    let think = |think: Value| {
        let body = json!({ "model": "m", "messages": [], "think": think });
        let request = read(&CHAT, &body).unwrap();
        (request.reasoning, request.shows_thoughts)
    };
    assert_eq!(think(json!(true)), (Some(Reasoning::Adaptive), Some(true)));
    assert_eq!(think(json!(false)), (Some(Reasoning::Off), Some(false)));
    let low = Some(Reasoning::Effort(Effort::Low));
    assert_eq!(think(json!("low")), (low, Some(true)));
}

#[test]
fn what_has_no_counterpart_is_refused_by_name() {
    let chat = |more: Value| {
        let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        translated(&CHAT, codec("anthropic_messages"), &body)
            .unwrap_err()
            .field
    };
    for (more, field) in [
        (json!({ "options": { "sampler": 1 } }), "options.sampler"),
        (
            json!({ "options": { "temperature": 1.5 } }),
            "options.temperature",
        ),
        (json!({ "format": "json" }), "format"),
        (json!({ "format": "xml" }), "format"),
        (json!({ "think": "much" }), "think"),
        (json!({ "logprobs": true }), "logprobs"),
        (json!({ "template": "{{ .Prompt }}" }), "template"),
        (json!({ "_debug_render_only": true }), "_debug_render_only"),
        (json!({ "tools": [{ "type": "web" }] }), "tools[0].type"),
        (
            json!({ "messages": [{ "role": "critic", "content": "x" }] }),
            "messages[0].role",
        ),
        (
            json!({ "messages": [{ "role": "user", "images": ["https://x/y.png"] }] }),
            "messages[0].images[0]",
        ),
        (
            json!({ "messages": [{ "role": "user", "thinking": "x" }] }),
            "messages[0].thinking",
        ),
        (
            json!({ "messages": [{ "role": "assistant", "tool_calls": [{ "function": { "name": "f", "arguments": "{}" } }] }] }),
            "messages[0].tool_calls[0].function.arguments",
        ),
    ] {
        assert_eq!(chat(more), field);
    }
    let generate = |more: Value| {
        let mut body = json!({ "model": "m", "prompt": "hi" });
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        translated(&GENERATE, codec("openai_chat"), &body)
            .unwrap_err()
            .field
    };
    for (more, field) in [
        (json!({ "suffix": "}" }), "suffix"),
        (json!({ "template": "{{ .Prompt }}" }), "template"),
        (json!({ "raw": true }), "raw"),
        (json!({ "context": [1, 2] }), "context"),
        (json!({ "messages": [] }), "messages"),
    ] {
        assert_eq!(generate(more), field);
    }
}

#[test]
fn a_completion_is_a_chat_of_one_turn() {
    let (sent, dropped) = translated(&GENERATE, codec("openai_chat"), &json!({
        "model": "m", "prompt": "hi", "system": "be brief", "images": ["/9j/4AAQ"], "suffix": "", "template": "",
        "context": [], "raw": false, "format": "json", "keep_alive": 0,
    }))
    .unwrap();
    assert_eq!(
        sent["messages"],
        json!([
            { "role": "system", "content": "be brief" },
            { "role": "user", "content": [
                { "type": "text", "text": "hi" },
                { "type": "image_url", "image_url": { "url": "data:image/jpeg;base64,/9j/4AAQ" } },
            ] },
        ])
    );
    assert_eq!(sent["response_format"], json!({ "type": "json_object" }));
    assert_eq!(dropped, ["keep_alive"]);
}

/// A chat completion with a thought, a text and a call, as a stream.
const CHUNKS: &str = r#"data: {"id":"c","model":"x","choices":[{"index":0,"delta":{"role":"assistant","reasoning_content":"hm"}}]}

data: {"choices":[{"index":0,"delta":{"content":"ah"}}]}

data: {"choices":[{"index":0,"delta":{"content":"oy"}}]}

data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_x","function":{"name":"now","arguments":"{\"zo"}}]}}]}

data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"ne\":\"UTC\"}"}}]}}]}

data: {"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}

data: {"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":4}}

data: [DONE]

"#;

fn asked(delivery: Delivery) -> Request {
    Request {
        model: "m:latest".to_owned(),
        delivery,
        ..Request::default()
    }
}

#[test]
fn a_caller_gets_lines() {
    let served = (codec("openai_chat"), Framing::Text);
    let request = asked(Delivery::Events { usage: true });
    let stream = through(served, &CHAT, &request, &[CHUNKS.as_bytes()]);
    let said = |message: Value| json!({ "model": "m:latest", "message": message, "done": false });
    let call = json!({ "id": "call_x", "function": { "index": 0, "name": "now", "arguments": { "zone": "UTC" } } });
    assert_eq!(
        lines(&stream),
        [
            said(json!({ "role": "assistant", "content": "", "thinking": "hm" })),
            said(json!({ "role": "assistant", "content": "ah" })),
            said(json!({ "role": "assistant", "content": "oy" })),
            said(json!({ "role": "assistant", "content": "", "tool_calls": [call] })),
            json!({ "model": "m:latest", "message": { "role": "assistant", "content": "" }, "done": true, "done_reason": "stop",
            "prompt_eval_count": 10, "eval_count": 4 }),
        ]
    );
    survives_every_split(served, &CHAT, &request, CHUNKS.as_bytes());
    let stream = through(served, &GENERATE, &request, &[CHUNKS.as_bytes()]);
    let lines = lines(&stream);
    assert_eq!(
        lines[0],
        json!({ "model": "m:latest", "response": "", "thinking": "hm", "done": false })
    );
    assert_eq!(
        lines[1],
        json!({ "model": "m:latest", "response": "ah", "done": false })
    );
    assert_eq!(
        (&lines[4]["done"], &lines[4]["eval_count"]),
        (&json!(true), &json!(4))
    );
}

#[test]
fn a_whole_response_says_the_same() {
    let response = streamed(codec("openai_chat"), Framing::Text, CHUNKS.as_bytes()).unwrap();
    let mut of_chat = value(&(CHAT.write_response)(
        &asked(Delivery::Whole),
        response.clone(),
    ));
    of_chat.as_object_mut().unwrap().remove("created_at");
    let call = json!({ "id": "call_x", "function": { "index": 0, "name": "now", "arguments": { "zone": "UTC" } } });
    assert_eq!(
        of_chat,
        json!({
            "model": "m:latest", "done": true, "done_reason": "stop", "prompt_eval_count": 10, "eval_count": 4,
            "message": { "role": "assistant", "content": "ahoy", "thinking": "hm", "tool_calls": [call] },
        })
    );
    let completion = value(&(GENERATE.write_response)(
        &asked(Delivery::Whole),
        response,
    ));
    assert_eq!(
        (&completion["response"], &completion["thinking"]),
        (&json!("ahoy"), &json!("hm"))
    );
    let long = Response {
        stop: Stop::MaxTokens,
        ..Response::default()
    };
    let long = value(&(CHAT.write_response)(&asked(Delivery::Whole), long));
    assert_eq!(long["done_reason"], "length");
}

const LINES: &str = include_str!("../fixtures/tools.stream.ndjson");

#[test]
fn a_provider_of_this_format_is_read_as_lines_and_as_a_whole() {
    let response = streamed(&CHAT, Framing::Ndjson, LINES.as_bytes()).unwrap();
    assert_eq!(response.stop, Stop::ToolUse);
    assert_eq!(
        (response.usage.input, response.usage.output),
        (Some(122), Some(33))
    );
    let kinds: Vec<&str> = response
        .parts
        .iter()
        .map(|part| match &part.content {
            Content::Reasoning(thought) => thought.text.as_str(),
            Content::ToolCall(call) => call.arguments.as_str(),
            _ => "other",
        })
        .collect();
    assert_eq!(
        kinds,
        [
            "Two calls, then.",
            r#"{"city":"Tokyo"}"#,
            r#"{"city":"Paris"}"#
        ]
    );
    let same = whole(&CHAT, include_bytes!("../fixtures/tools.response.json"));
    assert_eq!((same.parts, same.usage), (response.parts, response.usage));
    let request = asked(Delivery::Events { usage: true });
    for caller in ["openai_chat", "anthropic_messages"] {
        survives_every_split(
            (&CHAT, Framing::Ndjson),
            codec(caller),
            &request,
            LINES.as_bytes(),
        );
    }
    let broken = include_str!("../fixtures/broken_off.stream.ndjson");
    let failure = streamed(&CHAT, Framing::Ndjson, broken.as_bytes()).unwrap_err();
    assert!(failure.message.contains("unexpected EOF"), "{failure}");
    let half = LINES.split_inclusive('\n').next().unwrap();
    assert!(streamed(&CHAT, Framing::Ndjson, half.as_bytes()).is_err());
}

#[test]
fn a_provider_of_this_format_is_asked_in_a_chat() {
    let (sent, dropped) = translated(codec("openai_chat"), &CHAT, &json!({
        "model": "m", "max_tokens": 9, "temperature": 1.5, "stop": "END", "reasoning_effort": "minimal", "user": "u",
        "response_format": { "type": "json_object" }, "stream": true,
        "messages": [
            { "role": "user", "content": [{ "type": "text", "text": "hi" },
                { "type": "image_url", "image_url": { "url": "data:image/png;base64,AAAA" } }] },
            { "role": "assistant", "content": null, "tool_calls": [
                { "id": "a", "type": "function", "function": { "name": "now", "arguments": "{\"z\":1}" } }] },
            { "role": "tool", "tool_call_id": "a", "content": "noon" },
        ],
        "tools": [{ "type": "function", "function": { "name": "now" } }],
    }))
    .unwrap();
    assert_eq!(
        sent,
        json!({
            "model": "m", "stream": true, "format": "json",
            "options": { "num_predict": 9, "temperature": 1.5, "stop": ["END"] },
            "messages": [
                { "role": "user", "content": "hi", "images": ["AAAA"] },
                { "role": "assistant", "content": "", "tool_calls": [{ "id": "a", "function": { "name": "now", "arguments": { "z": 1 } } }] },
                { "role": "tool", "content": "noon", "tool_name": "now", "tool_call_id": "a" },
            ],
            "tools": [{ "type": "function", "function": { "name": "now", "parameters": { "type": "object", "properties": {} } } }],
        })
    );
    assert_eq!(dropped, ["user", "reasoning_effort"]);
    let tool = json!([{ "type": "function", "function": { "name": "now" } }]);
    let choose = |choice: Value| {
        let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }], "tools": tool, "tool_choice": choice });
        translated(codec("openai_chat"), &CHAT, &body)
    };
    assert_eq!(choose(json!("required")).unwrap_err().field, "tool_choice");
    let (sent, _) = choose(json!("none")).unwrap();
    assert!(sent["tools"].is_null() && sent["stream"] == false);
}

/// Ollama 0.17.4 answers a level of any other model with 400: "think value \"high\" is not supported for this
/// model".
#[test]
fn only_models_of_one_kind_get_a_level_of_thinking() {
    let chat = codec("openai_chat");
    let sent = |model: &str, effort: &str| {
        let body = json!({
            "model": "alias", "reasoning_effort": effort, "messages": [{ "role": "user", "content": "hi" }],
        });
        let text = body.to_string();
        let inbound = Inbound {
            path: "",
            query: None,
            model: "alias",
            is_streamed: false,
            body: text.as_bytes(),
        };
        let translated = request(chat, &CHAT, &inbound, model).unwrap();
        let think = value(&translated.outbound.body)["think"].clone();
        (think, translated.dropped.len())
    };
    assert_eq!(sent("gpt-oss:20b", "minimal"), (json!("low"), 0));
    assert_eq!(sent("qwen3:8b", "high"), (Value::Null, 1));
    assert_eq!(sent("qwen3:8b", "none"), (json!(false), 0));
}

#[test]
fn a_thought_goes_back_to_a_provider_of_this_format() {
    let chat = codec("openai_chat");
    let response = streamed(&CHAT, Framing::Ndjson, LINES.as_bytes()).unwrap();
    let got = value(&(chat.write_response)(
        &asked(Delivery::Whole),
        response.clone(),
    ));
    let messages = codec("anthropic_messages");
    let of_messages = value(&(messages.write_response)(
        &asked(Delivery::Whole),
        response,
    ));
    assert_eq!(
        got["choices"][0]["message"]["reasoning_content"],
        "Two calls, then."
    );
    let body = json!({ "model": "m", "max_tokens": 9, "messages": [
        { "role": "user", "content": "hi" },
        { "role": "assistant", "content": of_messages["content"] },
    ] });
    let (sent, dropped) = translated(messages, &CHAT, &body).unwrap();
    assert_eq!(sent["messages"][1]["thinking"], "Two calls, then.");
    assert!(dropped.is_empty(), "{dropped:?}");
}

#[test]
fn a_request_to_load_a_model_is_told_from_others() {
    let chat = |body: &str| {
        let call: Call = corpus::ask(&ollama::CHAT, "/api/chat", body).unwrap();
        idle_chat(&call).map(|response| response["done_reason"].clone())
    };
    let generate = |body: &str| {
        let call: Call = corpus::ask(&ollama::GENERATE, "/api/generate", body).unwrap();
        idle_generate(&call).map(|response| response["done_reason"].clone())
    };
    for (body, expected) in [
        (r#"{"model":"m"}"#, Some(json!("load"))),
        (
            r#"{"model":"m","messages":[],"keep_alive":"10m"}"#,
            Some(json!("load")),
        ),
        (
            r#"{"model":"m","messages":[],"keep_alive":0}"#,
            Some(json!("unload")),
        ),
        (
            r#"{"model":"m","messages":null,"keep_alive":"0s"}"#,
            Some(json!("unload")),
        ),
        (
            r#"{"model":"m","messages":[{"role":"user","content":""}]}"#,
            None,
        ),
        (r#"{"model":"m","messages":"odd"}"#, None),
    ] {
        assert_eq!(chat(body), expected, "{body}");
    }
    for (body, expected) in [
        (r#"{"model":"m"}"#, Some(json!("load"))),
        (
            r#"{"model":"m","prompt":"","keep_alive":-1}"#,
            Some(json!("load")),
        ),
        (
            r#"{"model":"m","prompt":"","keep_alive":0}"#,
            Some(json!("unload")),
        ),
        (r#"{"model":"m","prompt":" "}"#, None),
    ] {
        assert_eq!(generate(body), expected, "{body}");
    }
}

#[test]
fn log_probabilities_and_empty_responses_are_written() {
    let served = r#"{"model":"x","message":{"role":"assistant","content":"a"},"logprobs":[{"token":"a","logprob":-0.5,"bytes":[97],"top_logprobs":[{"token":"b","logprob":-1.0}]}],"done":false}
{"model":"x","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop"}
"#;
    let response = streamed(&CHAT, Framing::Ndjson, served.as_bytes()).unwrap();
    let request = asked(Delivery::Events { usage: true });
    let lines = lines(&written(&CHAT, &request, response));
    assert_eq!(lines[1]["logprobs"][0]["top_logprobs"][0]["token"], "b");
    assert_eq!(lines[1]["logprobs"][0]["bytes"], json!([97]));
    assert!(
        lines[2].get("eval_count").is_none(),
        "what isn't known is left out"
    );
}
