//! A caller's request.

use serde_json::{Value, json};

use super::super::CODEC;
use super::{chat, messages};
use crate::formats::translate::checks::{read, translated, value};
use crate::formats::translate::{
    Content, Inbound, Reasoning, Role, SealKind, Source, Untranslatable,
};

/// Everything that a caller can ask for and a provider can do.
fn everything() -> Value {
    json!({
        "systemInstruction": { "parts": [{ "text": "Be brief." }] },
        "contents": [
            { "role": "user", "parts": [
                { "text": "What is this?" },
                { "inlineData": { "mimeType": "image/png", "data": "iVBO" } },
                { "fileData": { "mimeType": "image/jpeg", "fileUri": "https://x.test/a.jpg" } },
                { "inlineData": { "mimeType": "application/pdf", "data": "JVBE" } },
                { "fileData": { "mimeType": "application/pdf", "fileUri": "https://x.test/a.pdf" } },
                { "inlineData": { "mimeType": "audio/mp3", "data": "SUQz" } },
                { "fileData": { "mimeType": "video/mp4", "fileUri": "https://www.youtube.com/watch?v=1" } },
            ] },
            { "role": "model", "parts": [
                { "text": "Hm", "thought": true, "thoughtSignature": "c2ln" },
                { "text": "I look." },
                { "functionCall": { "id": "c1", "name": "look", "args": { "z": 1, "a": [true] } },
                  "thoughtSignature": "bmV4dA==" },
                { "functionCall": { "id": "c2", "name": "now", "args": {} } },
            ] },
            { "role": "user", "parts": [
                { "functionResponse": { "id": "c1", "name": "look", "response": { "output": { "seen": [1] } } } },
                { "functionResponse": { "id": "c2", "name": "now", "response": { "error": "late" } } },
                { "text": "Go on." },
            ] },
        ],
        "tools": [{ "functionDeclarations": [
            { "name": "look", "description": "Looks.", "parametersJsonSchema": {
                "type": "object", "properties": { "snake_case": { "type": "number" } } } },
            { "name": "now" },
        ] }],
        "toolConfig": { "functionCallingConfig": { "mode": "ANY", "allowedFunctionNames": ["look", "now"] } },
        "generationConfig": {
            "maxOutputTokens": 900, "temperature": 1.5, "topP": 0.9, "topK": 40, "seed": 7,
            "presencePenalty": 0.5, "frequencyPenalty": -0.5, "stopSequences": ["END"],
            "responseLogprobs": true, "logprobs": 3,
            "responseMimeType": "application/json", "responseJsonSchema": { "type": "object" },
            "thinkingConfig": { "thinkingBudget": 2000, "includeThoughts": true },
        },
    })
}

#[test]
fn a_request_keeps_its_meaning() {
    let (sent, dropped) = translated(&CODEC, &CODEC, &everything()).unwrap();
    assert_eq!(sent, everything());
    assert!(dropped.is_empty(), "{dropped:?}");
}

#[test]
fn either_spelling_and_lone_values_say_the_same() {
    let plain = json!({
        "systemInstruction": { "parts": [{ "text": "Be brief." }] },
        "contents": [{ "role": "user", "parts": [{ "inlineData": { "mimeType": "image/png", "data": "+/8=" } }] }],
        "tools": [{ "functionDeclarations": [{
            "name": "look",
            "parameters": { "type": "OBJECT", "properties": { "a_b": { "type": "STRING", "maxLength": 3 } } },
        }] }],
        "generationConfig": { "topK": 40, "stopSequences": ["x"], "responseMimeType": "application/json",
            "thinkingConfig": { "thinkingBudget": -1 } },
    });
    let other = json!({
        "system_instruction": { "parts": { "text": "Be brief." } },
        "contents": { "parts": { "inline_data": { "mime_type": "image/png", "data": "-_8" } } },
        "tools": { "function_declarations": {
            "name": "look",
            "parameters": { "type": "object", "properties": { "a_b": { "type": "string", "max_length": "3" } } },
        } },
        "generation_config": { "top_k": 40.0, "stop_sequences": "x", "response_mime_type": "application/json",
            "thinking_config": { "thinking_budget": "-1" } },
    });
    let plain = read(&CODEC, &plain).unwrap();
    assert_eq!(read(&CODEC, &other).unwrap(), plain);
    let parameters = plain.tools[0].parameters.as_ref().unwrap();
    assert_eq!(
        value(parameters)["properties"],
        json!({ "a_b": { "type": "string", "maxLength": 3 } })
    );
    assert_eq!(plain.reasoning, Some(Reasoning::Adaptive));
    let twice = json!({ "contents": [], "generationConfig": {}, "generation_config": {} });
    assert_eq!(read(&CODEC, &twice).unwrap_err().field, "generationConfig");
}

/// Where a value is put that isn't known, and the field that the refusal names.
fn unknown() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        ("/cachedContent", json!("cachedContents/1"), "cachedContent"),
        ("/odd", json!(1), "odd"),
        ("/serviceTier", json!("priority"), "serviceTier"),
        (
            "/safetySettings",
            json!([{ "category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_LOW_AND_ABOVE" }]),
            "safetySettings[0].threshold",
        ),
        (
            "/tools/1",
            json!({ "googleSearch": {} }),
            "tools[1].googleSearch",
        ),
        (
            "/tools/1",
            json!({ "code_execution": {} }),
            "tools[1].codeExecution",
        ),
        ("/tools/0/urlContext", json!({}), "tools[0].urlContext"),
        ("/contents/0/role", json!("assistant"), "contents[0].role"),
        (
            "/contents/0/parts/0",
            json!({ "executableCode": { "code": "1" } }),
            "contents[0].parts[0].executableCode",
        ),
        (
            "/contents/0/parts/1/videoMetadata",
            json!({ "fps": 1 }),
            "contents[0].parts[1].videoMetadata",
        ),
        (
            "/contents/0/parts/2/fileData/fileUri",
            json!("https://generativelanguage.googleapis.com/v1beta/files/1"),
            "contents[0].parts[2].fileData.fileUri",
        ),
        (
            "/contents/2/parts/0/functionResponse",
            json!({ "name": "other", "response": {} }),
            "contents[2].parts[0].functionResponse.name",
        ),
        (
            "/generationConfig/candidateCount",
            json!(2),
            "generationConfig.candidateCount",
        ),
        (
            "/generationConfig/responseModalities",
            json!(["TEXT", "IMAGE"]),
            "generationConfig.responseModalities",
        ),
        (
            "/generationConfig/speechConfig",
            json!({}),
            "generationConfig.speechConfig",
        ),
        (
            "/generationConfig/responseMimeType",
            json!("text/x.enum"),
            "generationConfig.responseMimeType",
        ),
        (
            "/generationConfig/thinkingConfig/thinkingLevel",
            json!("LOW"),
            "generationConfig.thinkingConfig.thinkingLevel",
        ),
        (
            "/toolConfig/functionCallingConfig/mode",
            json!("AUTO"),
            "toolConfig.functionCallingConfig.allowedFunctionNames",
        ),
    ]
}

#[test]
fn what_is_not_known_is_refused_by_its_name() {
    for (pointer, value, field) in unknown() {
        let mut body = everything();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        match body.pointer_mut(parent).unwrap() {
            Value::Array(list) if list.len() <= key.parse().unwrap() => list.push(value),
            Value::Array(list) => list[key.parse::<usize>().unwrap()] = value,
            object => object[key] = value,
        }
        let refused = read(&CODEC, &body).unwrap_err();
        assert_eq!(refused.field, field, "{refused}");
    }
}

#[test]
fn what_a_provider_of_another_format_lacks_is_refused_by_the_callers_name() {
    for (config, field) in [
        (
            json!({ "responseLogprobs": true }),
            "generationConfig.responseLogprobs",
        ),
        (
            json!({ "responseMimeType": "application/json" }),
            "generationConfig.responseMimeType",
        ),
        (
            json!({ "presencePenalty": 1 }),
            "generationConfig.presencePenalty",
        ),
    ] {
        let body = json!({ "contents": [], "generationConfig": config });
        let refused: Untranslatable = translated(&CODEC, messages(), &body).unwrap_err();
        assert_eq!(refused.field, field);
    }
}

#[test]
fn hints_are_left_out_and_named() {
    let body = json!({
        "contents": [{ "parts": [{ "text": "hi", "partMetadata": { "a": 1 } }] }],
        "labels": { "team": "a" },
        "safetySettings": [{ "category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF" },
            { "category": "HARM_CATEGORY_HATE_SPEECH", "threshold": "BLOCK_NONE" }],
        "tools": [{ "functionDeclarations": [{ "name": "f", "response": { "type": "STRING" } }] }],
        "toolConfig": { "functionCallingConfig": { "mode": "VALIDATED" } },
        "generationConfig": { "seed": 7, "mediaResolution": "MEDIA_RESOLUTION_LOW" },
    });
    let (sent, dropped) = translated(&CODEC, messages(), &body).unwrap();
    assert_eq!(
        dropped,
        [
            "labels",
            "safetySettings",
            "generationConfig.mediaResolution",
            "contents.parts.partMetadata",
            "tools.functionDeclarations.response",
            "toolConfig.functionCallingConfig.mode",
            "generationConfig.seed",
        ]
    );
    assert_eq!(sent["messages"][0]["content"][0]["text"], "hi");
    let body = json!({ "contents": [], "generationConfig": { "topK": 64, "topP": 0.9 } });
    let (sent, dropped) = translated(&CODEC, chat(), &body).unwrap();
    assert_eq!(dropped, ["generationConfig.topK"]);
    assert_eq!(sent["top_p"], 0.9);
    assert!(sent.get("top_k").is_none(), "{sent}");
}

#[test]
fn calls_without_ids_find_their_results() {
    let call =
        |city: &str| json!({ "functionCall": { "name": "weather", "args": { "city": city } } });
    let result = |text: &str| json!({ "functionResponse": { "name": "weather", "response": { "result": text } } });
    let body = json!({ "contents": [
        { "parts": [{ "text": "?" }] },
        { "role": "model", "parts": [call("Oslo"), call("Rome")] },
        { "role": "function", "parts": [result("cold"), result("warm")] },
        { "role": "model", "parts": [call("Bonn")] },
        { "role": "user", "parts": [{ "functionResponse": { "name": "weather",
            "response": { "days": [1] }, "parts": [{ "inlineData": { "mimeType": "image/png", "data": "iVBO" } }] } }] },
    ] });
    let (sent, _) = translated(&CODEC, messages(), &body).unwrap();
    let messages = &sent["messages"];
    assert_eq!(messages[1]["content"][1]["id"], "call_2");
    assert_eq!(
        messages[1]["content"][1]["input"],
        json!({ "city": "Rome" })
    );
    assert_eq!(messages[2]["content"][0]["tool_use_id"], "call_1");
    assert_eq!(messages[2]["content"][1]["tool_use_id"], "call_2");
    assert_eq!(messages[2]["content"][1]["content"][0]["text"], "warm");
    let last = &messages[4]["content"][0];
    assert_eq!(last["tool_use_id"], "call_3");
    assert_eq!(last["content"][0]["text"], r#"{"days":[1]}"#);
    assert_eq!(last["content"][1]["type"], "image");
}

#[test]
fn pieces_of_a_stream_in_the_history_are_put_together() {
    let piece = |part: Value| json!({ "role": "model", "parts": [part] });
    let body = json!({ "contents": [
        piece(json!({ "text": "Seven", "thought": true })),
        piece(json!({ "text": "teen", "thought": true })),
        piece(json!({ "text": "", "thought": true, "thoughtSignature": "c2ln" })),
        piece(json!({ "text": "It is" })),
        piece(json!({ "text": " 51." })),
        piece(json!({ "text": "", "thoughtSignature": "ZW5k" })),
    ] });
    let request = read(&CODEC, &body).unwrap();
    let [turn] = request.turns.as_slice() else {
        panic!("one turn: {request:?}")
    };
    let [first, text, last] = turn.parts.as_slice() else {
        panic!("three parts: {turn:?}")
    };
    let Content::Reasoning(thought) = &first.content else {
        panic!("a thought: {first:?}")
    };
    assert_eq!(thought.text, "Seventeen");
    assert_eq!(thought.seal.as_ref().unwrap().kind, SealKind::Signature);
    assert_eq!(text.as_text(), Some("It is 51."));
    let Content::Reasoning(end) = &last.content else {
        panic!("a signature: {last:?}")
    };
    assert_eq!(end.seal.as_ref().unwrap().kind, SealKind::Next);
    let (sent, _) = translated(&CODEC, &CODEC, &body).unwrap();
    assert_eq!(
        sent["contents"][0]["parts"],
        json!([
            { "text": "Seventeen", "thought": true, "thoughtSignature": "c2ln" },
            { "text": "It is 51." },
            { "text": "", "thoughtSignature": "ZW5k" },
        ])
    );
}

#[test]
fn a_text_document_is_a_text_and_tells_its_name() {
    let body = json!({ "contents": [{ "parts": [
        { "inlineData": { "mimeType": "text/csv", "data": "YSxi", "displayName": "t.csv" } },
    ] }] });
    let request = read(&CODEC, &body).unwrap();
    let Content::Media(media) = &request.turns[0].parts[0].content else {
        panic!("a document")
    };
    assert_eq!(media.source, Source::Text("a,b".to_owned()));
    let (sent, _) = translated(&CODEC, &CODEC, &body).unwrap();
    assert_eq!(sent["contents"][0]["parts"][0]["text"], "t.csv:\na,b");
}

#[test]
fn schemas_become_json_schema() {
    let body = json!({ "contents": [], "generationConfig": { "responseSchema": {
        "type": "OBJECT",
        "required": ["b"],
        "propertyOrdering": ["b", "a"],
        "properties": {
            "a": { "type": "STRING", "nullable": true, "format": "enum", "enum": ["x", "y"], "example": "x" },
            "b": { "type": "ARRAY", "minItems": "1", "items": { "type": "INTEGER", "format": "int64" } },
            "c": { "nullable": true, "anyOf": [{ "type": "NUMBER" }, { "type": "BOOLEAN" }] },
        },
    } } });
    let (sent, _) = translated(&CODEC, chat(), &body).unwrap();
    assert_eq!(
        sent["response_format"]["json_schema"]["schema"],
        json!({
            "type": "object",
            "required": ["b"],
            "properties": {
                "b": { "type": "array", "minItems": 1, "items": { "type": "integer" } },
                "a": { "type": ["string", "null"], "enum": ["x", "y", null], "examples": ["x"] },
                "c": { "anyOf": [{ "type": "number" }, { "type": "boolean" }, { "type": "null" }] },
            },
        })
    );
    let request = read(&CODEC, &body).unwrap();
    let text = format!("{:?}", request.output);
    assert!(
        text.find("\"b\": Object") < text.find("\"a\": Object"),
        "{text}"
    );
}

#[test]
fn no_body_makes_it_panic() {
    let text = everything().to_string();
    for end in 0..text.len() {
        let inbound = Inbound {
            path: "",
            query: None,
            model: "m",
            is_streamed: false,
            body: &text.as_bytes()[..end],
        };
        assert!((CODEC.read_request)(&inbound).is_err(), "cut at {end}");
    }
    let keys = [
        "contents",
        "tools",
        "toolConfig",
        "generationConfig",
        "systemInstruction",
    ];
    for odd in [
        json!(null),
        json!(1),
        json!("x"),
        json!([1]),
        json!([[]]),
        json!({ "parts": [1] }),
    ] {
        for key in keys {
            let mut body = everything();
            body[key] = odd.clone();
            let read = read(&CODEC, &body);
            assert_eq!(read.is_ok(), odd.is_null(), "{key}: {odd}");
        }
    }
    let role = read(&CODEC, &json!({ "contents": [{ "role": "user" }] })).unwrap();
    assert_eq!(role.turns[0].role, Role::User);
}
