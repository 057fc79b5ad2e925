//! Requests of callers.

use serde_json::{Value, json};

use super::super::CODEC;
use super::{chat, messages};
use crate::formats::translate::checks::{read, translated, value};
use crate::formats::translate::{Content, Part, Reasoning, Response, Role, Source, ToolCall};

/// Everything that a caller can ask for and a provider can do.
fn everything() -> Value {
    json!({
        "model": "m",
        "instructions": "Be brief.",
        "input": [
            { "type": "message", "role": "developer", "content": "Use tools." },
            { "type": "message", "role": "user", "content": [
                { "type": "input_text", "text": "What is this?" },
                { "type": "input_image", "image_url": "data:image/png;base64,iVBO", "detail": "low" },
                { "type": "input_image", "image_url": "https://x.test/a.png", "detail": "auto" },
                { "type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE" },
                { "type": "input_file", "file_url": "https://x.test/a.pdf" },
            ] },
            { "type": "reasoning", "summary": [{ "type": "summary_text", "text": "Hm" }],
              "encrypted_content": "gAAA" },
            { "type": "message", "role": "assistant", "content": "I look." },
            { "type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{\"z\":1,\"a\":2}" },
            { "type": "custom_tool_call", "call_id": "call_2", "name": "patch", "input": "+ a" },
            { "type": "function_call_output", "call_id": "call_1", "output": [
                { "type": "input_text", "text": "seen" },
                { "type": "input_image", "image_url": "data:image/png;base64,iVBO", "detail": "auto" },
                { "type": "input_file", "filename": "b.pdf", "file_data": "data:application/pdf;base64,JVBE" },
            ] },
            { "type": "custom_tool_call_output", "call_id": "call_2", "output": "done" },
            { "type": "message", "role": "system", "content": "Be briefer." },
            { "type": "message", "role": "user", "content": "Go on." },
        ],
        "max_output_tokens": 500, "temperature": 1.5, "top_p": 0.5, "top_logprobs": 2,
        "reasoning": { "effort": "high", "summary": "auto" },
        "include": ["reasoning.encrypted_content", "message.output_text.logprobs"],
        "text": {
            "format": { "type": "json_schema", "name": "log", "description": "A log.",
                        "schema": { "type": "object" }, "strict": true },
            "verbosity": "low",
        },
        "tools": [
            { "type": "function", "name": "look", "description": "Looks.",
              "parameters": { "type": "object" }, "strict": true },
            { "type": "custom", "name": "patch", "description": "Patches.",
              "format": { "type": "grammar", "definition": "start: /.+/", "syntax": "lark" } },
        ],
        "tool_choice": { "type": "allowed_tools", "mode": "required", "tools": [
            { "type": "function", "name": "look" }, { "type": "custom", "name": "patch" },
        ] },
        "parallel_tool_calls": false,
        "prompt_cache_key": "k", "user": "u1", "metadata": { "a": "b" },
        "store": false, "stream": true,
    })
}

/// The request with another value at a place.
fn with(pointer: &str, value: Value) -> Value {
    let mut body = everything();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = body.pointer_mut(parent).unwrap();
    match key.parse::<usize>() {
        Ok(nth) => parent[nth] = value,
        Err(_) => parent[key] = value,
    }
    body
}

#[test]
fn a_request_keeps_its_meaning() {
    let (sent, dropped) = translated(&CODEC, &CODEC, &everything()).unwrap();
    assert_eq!(sent, everything());
    assert!(dropped.is_empty(), "{dropped:?}");
}

#[test]
fn every_choice_of_tools_keeps_its_meaning() {
    for choice in [
        json!("auto"),
        json!("none"),
        json!("required"),
        json!({ "type": "function", "name": "look" }),
        json!({ "type": "custom", "name": "patch" }),
    ] {
        let body = with("/tool_choice", choice);
        assert_eq!(translated(&CODEC, &CODEC, &body).unwrap().0, body);
    }
}

#[test]
fn what_is_not_known_is_refused_by_its_name() {
    for (pointer, value, field) in [
        (
            "/previous_response_id",
            json!("resp_1"),
            "previous_response_id",
        ),
        ("/conversation", json!("conv_1"), "conversation"),
        ("/prompt", json!({ "id": "pmpt_1" }), "prompt"),
        ("/background", json!(true), "background"),
        ("/store", json!(true), "store"),
        ("/truncation", json!("auto"), "truncation"),
        ("/moderation", json!({ "model": "m" }), "moderation"),
        ("/stop", json!(["END"]), "stop"),
        ("/max_output_tokens", json!("9"), "max_output_tokens"),
        ("/include/0", json!("odd"), "include[0]"),
        ("/reasoning/effort", json!("odd"), "reasoning.effort"),
        ("/reasoning/mode", json!("pro"), "reasoning.mode"),
        ("/text/format/type", json!("grammar"), "text.format.type"),
        ("/tools/0/type", json!("file_search"), "tools[0].type"),
        ("/tools/0/type", json!("local_shell"), "tools[0].type"),
        (
            "/tools/0/allowed_callers",
            json!(["programmatic"]),
            "tools[0].allowed_callers",
        ),
        (
            "/tool_choice",
            json!({ "type": "file_search" }),
            "tool_choice",
        ),
        (
            "/tool_choice",
            json!({ "type": "web_search" }),
            "tool_choice",
        ),
        ("/tool_choice", json!("odd"), "tool_choice"),
        ("/input/0/role", json!("tool"), "input[0].role"),
        (
            "/input/0",
            json!({ "type": "item_reference", "id": "msg_1" }),
            "input[0].type",
        ),
        (
            "/input/0",
            json!({ "type": "web_search_call", "id": "ws_1" }),
            "input[0].type",
        ),
        (
            "/input/0",
            json!({ "type": "compaction", "encrypted_content": "g" }),
            "input[0].type",
        ),
        (
            "/input/1/content/1",
            json!({ "type": "input_image", "file_id": "file_1" }),
            "input[1].content[1].file_id",
        ),
        (
            "/input/1/content/3/file_id",
            json!("file_1"),
            "input[1].content[3].file_id",
        ),
        (
            "/input/1/content/3",
            json!({ "type": "input_file", "filename": "a.csv", "file_data": "YQ==" }),
            "input[1].content[3].file_data",
        ),
        (
            "/input/4/caller",
            json!({ "type": "program", "caller_id": "p" }),
            "input[4].caller.type",
        ),
        ("/input/4/arguments", json!({}), "input[4].arguments"),
        ("/odd", json!(1), "odd"),
    ] {
        let refused = read(&CODEC, &with(pointer, value)).unwrap_err();
        assert_eq!(refused.field, field, "{refused}");
    }
}

#[test]
fn what_another_format_lacks_is_refused_by_its_name() {
    let lacks = |pointer, value| {
        let refused = translated(&CODEC, messages(), &with(pointer, value)).unwrap_err();
        refused.field
    };
    assert_eq!(lacks("/temperature", json!(1.5)), "temperature");
    let mut body = with("/temperature", json!(1.0));
    assert_eq!(
        translated(&CODEC, messages(), &body).unwrap_err().field,
        "top_logprobs"
    );
    body["top_logprobs"] = json!(0);
    body["include"] = json!([]);
    body["text"]["format"] = json!({ "type": "json_object" });
    assert_eq!(
        translated(&CODEC, messages(), &body).unwrap_err().field,
        "text.format"
    );
}

#[test]
fn hints_are_left_out_and_named() {
    let mut body = everything();
    body["service_tier"] = json!("priority");
    body["client_metadata"] = json!({ "x": "y" });
    body["safety_identifier"] = json!("s1");
    body["input"][3]["phase"] = json!("commentary");
    body["tools"][0]["defer_loading"] = json!(true);
    // These say nothing.
    body["truncation"] = json!("disabled");
    body["background"] = json!(false);
    body["stream_options"] = json!({ "include_obfuscation": false });
    body["previous_response_id"] = Value::Null;
    body["input"][4]["id"] = json!("fc_1");
    body["input"][4]["status"] = json!("completed");
    let (sent, dropped) = translated(&CODEC, &CODEC, &body).unwrap();
    let expected = [
        "user",
        "client_metadata",
        "service_tier",
        "tools.defer_loading",
        "input.phase",
    ];
    assert_eq!(dropped, expected);
    assert_eq!(sent["user"], "s1");
}

/// What Codex sends: a namespace of tools, its own fields, and reasoning without ids.
#[test]
fn a_request_of_codex_reaches_another_format() {
    let body = json!({
        "model": "m", "instructions": "You are Codex.", "stream": true, "store": false,
        "tool_choice": "auto", "parallel_tool_calls": false,
        "reasoning": { "effort": "medium", "summary": "auto" },
        "include": ["reasoning.encrypted_content"], "prompt_cache_key": "k",
        "client_metadata": { "installation": "1" },
        "tools": [
            { "type": "web_search", "external_web_access": false },
            { "type": "function", "name": "exec", "description": "Runs.", "strict": false,
              "parameters": { "type": "object" } },
            { "type": "namespace", "name": "mcp__docs", "description": "Docs.", "tools": [
                { "type": "function", "name": "search", "description": "Searches.", "strict": false,
                  "parameters": { "type": "object" } },
            ] },
        ],
        "input": [
            { "type": "message", "role": "developer", "content": [{ "type": "input_text", "text": "rules" }] },
            { "type": "message", "role": "user", "content": [{ "type": "input_text", "text": "go" }] },
            { "type": "reasoning", "summary": [], "content": null, "encrypted_content": "gAAA" },
            { "type": "function_call", "name": "search", "namespace": "mcp__docs", "arguments": "{}", "call_id": "call_1" },
            { "type": "function_call", "name": "exec", "arguments": "{}", "call_id": "call_2" },
            { "type": "function_call_output", "call_id": "call_1", "output": "found" },
            { "type": "function_call_output", "call_id": "call_2", "output": "ran" },
        ],
    });
    let (sent, dropped) = translated(&CODEC, chat(), &body).unwrap();
    assert_eq!(
        dropped,
        ["client_metadata", "tools.web_search", "input.summary"]
    );
    assert_eq!(sent["tools"].as_array().unwrap().len(), 2);
    assert_eq!(sent["tools"][1]["function"]["name"], "mcp__docs__search");
    assert_eq!(
        sent["tools"][1]["function"]["description"],
        "Docs.\n\nSearches."
    );
    let messages = sent["messages"].as_array().unwrap();
    let roles: Vec<_> = messages
        .iter()
        .map(|message| message["role"].as_str().unwrap())
        .collect();
    assert_eq!(
        roles,
        ["system", "system", "user", "assistant", "tool", "tool"]
    );
    let calls = messages[3]["tool_calls"].as_array().unwrap();
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[0]["function"]["name"], "mcp__docs__search");

    // The call goes back as Codex names it.
    let asked = read(&CODEC, &body).unwrap();
    let call = ToolCall {
        name: "mcp__docs__search".to_owned(),
        ..ToolCall::default()
    };
    let response = Response {
        parts: vec![
            Part::new(Content::ToolCall(call.clone())),
            Part::new(Content::ToolCall(call)),
        ],
        ..Response::default()
    };
    let written = value(&(CODEC.write_response)(&asked, response));
    let output = written["output"].as_array().unwrap();
    assert_eq!(output[0]["name"], "search");
    assert_eq!(output[0]["namespace"], "mcp__docs");
    assert_eq!(output[0]["arguments"], "{}");
    // A call without an id gets one of its own.
    assert_ne!(output[0]["call_id"], output[1]["call_id"]);
}

#[test]
fn a_text_is_a_turn_of_the_user() {
    let request = read(&CODEC, &json!({ "model": "m", "input": "hi" })).unwrap();
    assert_eq!(request.turns.len(), 1);
    assert_eq!(request.turns[0].role, Role::User);
    assert_eq!(request.turns[0].parts, [Part::text("hi")]);
}

#[test]
fn what_a_model_said_is_one_turn_with_its_calls() {
    let message = |text: &str| json!({ "role": "assistant", "content": [{ "type": "output_text", "text": text, "annotations": [] }] });
    let call = |id: &str| json!({ "type": "function_call", "call_id": id, "name": "t", "arguments": "{}" });
    let body = json!({ "model": "m", "input": [
        message("one"), message("two"), call("a"), message("three"), call("b"),
        { "type": "function_call_output", "call_id": "a", "output": "" },
        { "type": "function_call_output", "call_id": "b", "output": "" },
        { "role": "user", "content": "go" },
    ] });
    let request = read(&CODEC, &body).unwrap();
    let shape: Vec<_> = request
        .turns
        .iter()
        .map(|turn| (turn.role, turn.parts.len()))
        .collect();
    assert_eq!(
        shape,
        [
            (Role::Assistant, 1),
            (Role::Assistant, 4),
            (Role::User, 2),
            (Role::User, 1)
        ]
    );
}

#[test]
fn a_wish_to_read_thoughts_is_one_for_thoughts() {
    let reads = |reasoning: Value| {
        let request = read(
            &CODEC,
            &json!({ "model": "m", "input": "hi", "reasoning": reasoning }),
        )
        .unwrap();
        (request.reasoning, request.shows_thoughts)
    };
    assert_eq!(
        reads(json!({ "summary": "detailed" })),
        (Some(Reasoning::Adaptive), Some(true))
    );
    assert_eq!(
        reads(json!({ "generate_summary": "auto" })),
        (Some(Reasoning::Adaptive), Some(true))
    );
    assert_eq!(
        reads(json!({ "effort": "none" })),
        (Some(Reasoning::Off), Some(false))
    );
    assert_eq!(reads(json!({})), (None, Some(false)));
}

#[test]
fn a_document_is_read_from_where_it_is() {
    let source = |file: Value| {
        let body = json!({ "model": "m", "input": [{ "role": "user", "content": [file] }] });
        let request = read(&CODEC, &body).unwrap();
        let Content::Media(media) = &request.turns[0].parts[0].content else {
            panic!("{request:?}");
        };
        (media.mime.clone().unwrap_or_default(), media.source.clone())
    };
    let pdf = || {
        (
            "application/pdf".to_owned(),
            Source::Inline("JVBE".to_owned()),
        )
    };
    assert_eq!(
        source(json!({ "type": "input_file", "filename": "A.PDF", "file_data": "JVBE" })),
        pdf()
    );
    assert_eq!(
        source(json!({ "type": "input_file", "file_data": "data:application/pdf;base64,JVBE" })),
        pdf()
    );
    assert_eq!(
        source(json!({ "type": "input_file", "file_url": "https://x.test/a.csv" })),
        (
            String::new(),
            Source::Url("https://x.test/a.csv".to_owned())
        )
    );
}
