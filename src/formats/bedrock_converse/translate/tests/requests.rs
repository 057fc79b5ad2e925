//! Requests.

use super::*;
use crate::formats::translate::{
    CacheMark, Delivery, Output, Seal, SealKind, Tool, ToolChoice, request as translate,
};

/// A request with each field that both directions carry.
fn full() -> Value {
    json!({
        "messages": [
            { "role": "user", "content": [
                { "image": { "format": "webp", "source": { "bytes": "aW1n" } } },
                { "document": {
                    "format": "docx", "name": "Tide table (2026)", "source": { "bytes": "ZG9j" },
                    "citations": { "enabled": true },
                } },
                { "document": { "format": "txt", "name": "notes", "source": { "text": "Low at 4." } } },
                { "text": "Tide and wind at Brest?" },
                { "cachePoint": { "type": "default" } },
            ] },
            { "role": "assistant", "content": [
                { "reasoningContent": { "reasoningText": { "text": "Look it up.", "signature": "c2ln" } } },
                { "reasoningContent": { "redactedContent": "aGlkZGVu" } },
                { "citationsContent": {
                    "content": [{ "text": "By the table: " }],
                    "citations": [
                        { "title": "Tide table", "sourceContent": [{ "text": "low" }],
                          "location": { "documentPage": { "documentIndex": 0, "start": 1, "end": 2 } } },
                        { "location": { "documentChar": { "documentIndex": 1, "start": 0, "end": 9 } } },
                        { "location": { "documentChunk": { "documentIndex": 1, "start": 0, "end": 1 } } },
                    ],
                } },
                { "toolUse": { "toolUseId": "tooluse_a1", "name": "tide", "input": { "z": 1, "a": [2] } } },
                { "toolUse": { "toolUseId": "tooluse_b2", "name": "wind", "input": {} } },
            ] },
            { "role": "user", "content": [
                { "toolResult": { "toolUseId": "tooluse_a1", "content": [
                    { "text": "{\"low\":4}" },
                    { "image": { "format": "png", "source": { "bytes": "aW1n" } } },
                    { "document": { "format": "pdf", "name": "chart", "source": { "bytes": "cGRm" } } },
                ] } },
                { "toolResult": {
                    "toolUseId": "tooluse_b2", "content": [{ "text": "no anemometer" }], "status": "error",
                } },
                { "cachePoint": { "type": "default", "ttl": "1h" } },
            ] },
        ],
        "system": [{ "text": "Be brief." }, { "cachePoint": { "type": "default", "ttl": "1h" } }],
        "inferenceConfig": {
            "maxTokens": 200, "temperature": 0.5, "topP": 0.9, "stopSequences": ["END"],
        },
        "toolConfig": {
            "tools": [
                { "toolSpec": {
                    "name": "tide", "description": "The tide.", "strict": true,
                    "inputSchema": { "json": { "type": "object", "properties": { "z": {}, "a": {} } } },
                } },
                { "cachePoint": { "type": "default" } },
                { "toolSpec": { "name": "wind", "inputSchema": { "json": { "type": "object" } } } },
            ],
            "toolChoice": { "tool": { "name": "tide" } },
        },
        "additionalModelRequestFields": {
            "thinking": { "type": "adaptive" }, "output_config": { "effort": "high" }, "top_k": 40,
            "tool_choice": { "disable_parallel_tool_use": true },
        },
        "additionalModelResponseFieldPaths": ["/stop_sequence"],
        "outputConfig": { "textFormat": { "type": "json_schema", "structure": { "jsonSchema": {
            "schema": "{\"type\":\"object\",\"properties\":{\"z\":{},\"a\":{}}}",
            "name": "report", "description": "What to report.",
        } } } },
    })
}

/// What Claude takes of it: because the request forces a call, the model can't think.
fn full_as_taken() -> Value {
    let mut body = full();
    let config = body["inferenceConfig"].as_object_mut().unwrap();
    config.remove("topP");
    let more = body["additionalModelRequestFields"]
        .as_object_mut()
        .unwrap();
    more.remove("thinking");
    more.remove("output_config");
    body
}

#[test]
fn what_is_read_is_written_the_same() {
    let read = read(&full());
    assert_eq!(read.dropped, [""; 0]);
    assert_eq!(write(&read), full_as_taken());
}

#[test]
fn keys_of_a_schema_keep_their_order() {
    let schema = r#"{"z":{},"a":{}}"#;
    let tool = format!(r#"{{"toolSpec":{{"name":"n","inputSchema":{{"json":{schema}}}}}}}"#);
    let body = format!(r#"{{"messages":[],"toolConfig":{{"tools":[{tool}]}}}}"#);
    let inbound = Inbound {
        path: "",
        query: None,
        model: MODEL,
        is_streamed: false,
        body: body.as_bytes(),
    };
    let read = (CODEC.read_request)(&inbound).unwrap();
    let written = (CODEC.write_request)(&read).unwrap().body.to_string();
    assert!(written.contains(schema), "{written}");
}

#[test]
fn the_whole_way_drops_what_claude_cant_do() {
    let body = full().to_string();
    let inbound = Inbound {
        path: "/model/m/converse-stream",
        query: None,
        model: "smart",
        is_streamed: true,
        body: body.as_bytes(),
    };
    let profile = "arn:aws:bedrock:eu-west-1:1:inference-profile/eu.anthropic.claude-sonnet-4-6";
    let translated = translate(&CODEC, &CODEC, &inbound, profile).unwrap();
    assert_eq!(
        translated.dropped,
        [
            "additionalModelRequestFields.thinking",
            "inferenceConfig.topP"
        ]
    );
    assert_eq!(
        translated.request.delivery,
        Delivery::Events { usage: true }
    );
    assert_eq!(
        translated.outbound.path,
        "/bedrock/model/arn%3Aaws%3Abedrock%3Aeu-west-1%3A1%3Ainference-profile%2F\
         eu.anthropic.claude-sonnet-4-6/converse-stream"
    );
    assert_eq!(value(&translated.outbound.body), full_as_taken());
}

#[test]
fn a_callers_request_is_understood() {
    let read = read(&full());
    let [system, user, assistant, results] = &read.turns[..] else {
        panic!("{:?}", read.turns);
    };
    assert_eq!(system.parts[0].cache, Some(CacheMark::Hour));
    assert_eq!(user.parts.len(), 4);
    let Content::Media(document) = &user.parts[1].content else {
        panic!("{:?}", user.parts);
    };
    assert!(document.citations && document.mime.as_deref().unwrap().ends_with("document"));
    assert_eq!(user.parts[3].cache, Some(CacheMark::Default));
    let seal = |part: &Part| match &part.content {
        Content::Reasoning(thought) => thought.seal.clone(),
        _ => None,
    };
    let own = |kind, value| Some(Seal::new("bedrock_converse", kind, value));
    assert_eq!(seal(&assistant.parts[0]), own(SealKind::Signature, "c2ln"));
    assert_eq!(
        seal(&assistant.parts[1]),
        own(SealKind::Encrypted, "aGlkZGVu")
    );
    let Content::ToolResult(failed) = &results.parts[1].content else {
        panic!("{:?}", results.parts);
    };
    assert!(failed.is_error && failed.id == "tooluse_b2");
    assert_eq!(read.tool_choice, Some(ToolChoice::Named("tide".to_owned())));
    assert_eq!(read.parallel_tool_calls, Some(false));
    assert!(
        matches!(&read.output, Output::JsonSchema { name: Some(name), .. } if name == "report")
    );
}

#[test]
fn json_in_a_result_is_read_as_text() {
    let content = json!([{ "json": { "low": [4] } }, { "text": "by the table" }]);
    let block = json!({ "toolResult": { "toolUseId": "t", "content": content } });
    let read = read(&asked(&block));
    let Content::ToolResult(result) = &read.turns[0].parts[0].content else {
        panic!("{read:?}");
    };
    assert_eq!(result.text(), "{\"low\":[4]}\nby the table");
}

#[test]
fn hints_are_noted() {
    let read = read(&json!({
        "messages": [{ "role": "user", "content": [
            { "cachePoint": { "type": "default" } },
            { "document": { "name": "a", "source": { "bytes": "AA==" }, "context": "old" } },
        ] }],
        "performanceConfig": { "latency": "optimized" },
        "serviceTier": { "type": "flex" },
        "requestMetadata": { "team": "sea" },
    }));
    let expected = [
        "performanceConfig",
        "serviceTier",
        "messages[0].content[0].cachePoint",
        "messages.content.document.context",
    ];
    assert_eq!(read.dropped, expected);
    assert_eq!(value(&read.metadata.unwrap()), json!({ "team": "sea" }));
}

#[test]
fn documents_have_names_by_the_apis_rules() {
    let names = [
        None,
        None,
        Some("report_v1.pdf"),
        Some("Report v1  pdf"),
        Some("資料"),
        Some("document (2)"),
    ];
    let parts = names
        .into_iter()
        .map(|name| medium(MediaKind::Document, "application/pdf", name));
    let written = write(&asks(parts.collect()));
    let content = written["messages"][0]["content"].as_array().unwrap();
    let names: Vec<&str> = content
        .iter()
        .filter_map(|block| block["document"]["name"].as_str())
        .collect();
    let expected = [
        "document",
        "document (2)",
        "report v1 pdf",
        "Report v1 pdf (2)",
        "document (3)",
        "document (2) (2)",
    ];
    assert_eq!(names, expected);
    // Without a text beside them, the API refuses documents.
    assert_eq!(
        content.last().unwrap(),
        &json!({ "text": "The document is attached." })
    );
    let long = medium(
        MediaKind::Document,
        "application/pdf",
        Some(&"x".repeat(500)),
    );
    let written = write(&asks(vec![long.clone(), long]));
    for block in &written["messages"][0]["content"].as_array().unwrap()[..2] {
        assert!(block["document"]["name"].as_str().unwrap().len() <= 200);
    }
}

#[test]
fn media_have_the_apis_formats() {
    let written = |kind, mime: &str| {
        let request = asks(vec![medium(kind, mime, None), Part::text("?")]);
        (CODEC.write_request)(&request)
            .map(|outbound| value(&outbound.body)["messages"][0]["content"][0].clone())
    };
    for (kind, mime, format) in [
        (MediaKind::Image, "image/jpg", "jpeg"),
        (MediaKind::Image, "image/PNG", "png"),
        (MediaKind::Document, "text/plain; charset=utf-8", "txt"),
        (MediaKind::Document, "text/x-python", "txt"),
        (MediaKind::Document, "application/json", "txt"),
        (MediaKind::Document, "application/vnd.ms-excel", "xls"),
    ] {
        let block = written(kind, mime).unwrap();
        let key = if kind == MediaKind::Image {
            "image"
        } else {
            "document"
        };
        assert_eq!(block[key]["format"], format, "{mime}");
        assert_eq!(block[key]["source"]["bytes"], "AAAA");
    }
    let refusal = written(MediaKind::Image, "image/tiff").unwrap_err();
    assert_eq!(refusal.field, "image");
    assert!(written(MediaKind::Document, "application/zip").is_err());
}

#[test]
fn blank_texts_are_left_out_and_roles_alternate() {
    let written = write(&request(vec![
        (Role::System, vec![Part::text(" "), Part::text("Be brief.")]),
        (Role::User, vec![Part::text("a")]),
        (
            Role::Assistant,
            vec![Part::text("\n"), thought("unsigned", None)],
        ),
        (Role::Developer, vec![Part::text("And kind.")]),
        (Role::User, vec![Part::text("b")]),
    ]));
    assert_eq!(
        written,
        json!({
            "messages": [{ "role": "user", "content": [{ "text": "a" }, { "text": "b" }] }],
            "system": [{ "text": "Be brief." }, { "text": "And kind." }],
        })
    );
}

#[test]
fn results_come_first_and_are_never_empty() {
    let blank = Part {
        cache: Some(CacheMark::Hour),
        ..Part::text(" ")
    };
    let cached = result("a.b", vec![blank]);
    let mut request = request(vec![
        (Role::Assistant, vec![call("a.b", "look", "")]),
        (Role::User, vec![Part::text("Well?"), cached]),
    ]);
    request.tools = vec![Tool {
        name: "look".to_owned(),
        ..Tool::default()
    }];
    let written = write(&request);
    let id = &written["messages"][0]["content"][0]["toolUse"]["toolUseId"];
    assert!(id.as_str().unwrap().starts_with("call_"));
    assert_eq!(
        written["messages"][1]["content"],
        json!([
            { "toolResult": { "toolUseId": id, "content": [{ "text": "(no output)" }] } },
            { "cachePoint": { "type": "default", "ttl": "1h" } },
            { "text": "Well?" },
        ])
    );
    assert_eq!(
        written["toolConfig"]["tools"][0]["toolSpec"]["inputSchema"],
        json!({ "json": { "type": "object" } })
    );
}

#[test]
fn calls_need_tools_and_none_can_be_forbidden_before_them() {
    let turns = || {
        vec![
            (Role::User, vec![Part::text("?")]),
            (
                Role::Assistant,
                vec![call("1", "look", "{}"), call("2", "look", "{}")],
            ),
            (
                Role::User,
                vec![result("1", Vec::new()), result("2", Vec::new())],
            ),
        ]
    };
    let written = write(&request(turns()));
    let tools = written["toolConfig"]["tools"].as_array().unwrap();
    let names: Vec<&Value> = tools.iter().map(|tool| &tool["toolSpec"]["name"]).collect();
    assert_eq!(names, ["look", "tool"]);
    let forbidding = |turns| Request {
        tools: vec![Tool {
            name: "look".to_owned(),
            ..Tool::default()
        }],
        tool_choice: Some(ToolChoice::None),
        parallel_tool_calls: Some(false),
        ..request(turns)
    };
    let written = write(&forbidding(vec![(Role::User, vec![Part::text("?")])]));
    assert_eq!(
        written,
        json!({ "messages": [{ "role": "user", "content": [{ "text": "?" }] }] })
    );
    let refusal = (CODEC.write_request)(&forbidding(turns())).unwrap_err();
    assert_eq!(refusal.field, "tool_choice");
}

#[test]
fn only_its_own_thoughts_go_to_a_provider() {
    let seal = |format: &str, kind| Some(Seal::new(format, kind, "v"));
    let written = write(&request(vec![(
        Role::Assistant,
        vec![
            thought("a", seal("bedrock_converse", SealKind::Signature)),
            thought("", seal("bedrock_converse", SealKind::Encrypted)),
            thought("b", seal("anthropic_messages", SealKind::Signature)),
            thought("c", None),
            Part::text("d"),
        ],
    )]));
    assert_eq!(
        written["messages"][0]["content"],
        json!([
            { "reasoningContent": { "reasoningText": { "text": "a", "signature": "v" } } },
            { "reasoningContent": { "redactedContent": "v" } },
            { "text": "d" },
        ])
    );
}

#[test]
fn sealed_thoughts_come_back() {
    for (text, kind) in [
        ("shown", SealKind::Encrypted),
        ("", SealKind::Encrypted),
        ("", SealKind::Next),
        ("s", SealKind::Signature),
    ] {
        let seal = Seal::new("openai_responses", kind, "gAAA");
        let response = crate::formats::translate::Response {
            parts: vec![thought(text, Some(seal.clone()))],
            ..Default::default()
        };
        let whole = value(&(CODEC.write_response)(&Request::default(), response));
        let message = &whole["output"]["message"];
        let back = read(&json!({ "messages": [message] }));
        assert_eq!(
            back.turns[0].parts,
            [thought(text, Some(seal))],
            "{message}"
        );
        if text.is_empty() {
            // A blob: SDKs decode and encode it.
            let blob = message["content"][0]["reasoningContent"]["redactedContent"]
                .as_str()
                .unwrap();
            assert!(aws_smithy_types::base64::decode(blob).is_ok() && blob.starts_with("aXJpcy"));
        }
    }
}
