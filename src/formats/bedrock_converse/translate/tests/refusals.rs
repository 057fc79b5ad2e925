//! What a caller's request can't have.

use super::*;

/// Blocks of content, each with the member that it is refused for.
fn blocks() -> Vec<(Value, &'static str)> {
    vec![
        (
            json!({ "video": { "format": "mp4", "source": { "bytes": "AA==" } } }),
            "video",
        ),
        (
            json!({ "audio": { "format": "mp3", "source": { "bytes": "AA==" } } }),
            "audio",
        ),
        (
            json!({ "guardContent": { "text": { "text": "x" } } }),
            "guardContent",
        ),
        (
            json!({ "searchResult": { "source": "s", "title": "t", "content": [] } }),
            "searchResult",
        ),
        (
            json!({ "image": { "format": "png", "source": { "s3Location": { "uri": "s3://b/k" } } } }),
            "image.source.s3Location",
        ),
        (
            json!({ "image": { "format": "tiff", "source": { "bytes": "AA==" } } }),
            "image.format",
        ),
        (
            json!({ "image": { "format": "png", "source": {} } }),
            "image.source.bytes",
        ),
        (json!({ "image": { "format": "png" } }), "image.source"),
        (
            json!({ "document": { "name": "a", "source": { "content": [{ "text": "a" }] } } }),
            "document.source.content",
        ),
        (
            json!({ "toolUse": { "toolUseId": "t", "name": "n", "input": {}, "type": "server_tool_use" } }),
            "toolUse.type",
        ),
        (
            json!({ "toolUse": { "name": "n", "input": {} } }),
            "toolUse.toolUseId",
        ),
        (
            json!({ "toolResult": { "toolUseId": "t", "content": [], "status": "odd" } }),
            "toolResult.status",
        ),
        (
            json!({ "toolResult": { "toolUseId": "t", "content": [{ "video": {} }] } }),
            "toolResult.content[0].video",
        ),
        (json!({ "text": "a", "image": {} }), "image"),
        (
            json!({ "cachePoint": { "type": "default", "scope": "x" } }),
            "cachePoint.scope",
        ),
        (
            json!({ "reasoningContent": { "reasoningText": { "text": "", "x": 1 } } }),
            "reasoningContent.reasoningText.x",
        ),
    ]
}

/// Members of a request, each with the field that it is refused for.
fn members() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        (
            "guardrailConfig",
            json!({ "guardrailIdentifier": "g" }),
            "guardrailConfig",
        ),
        ("promptVariables", json!({}), "promptVariables"),
        (
            "additionalModelResponseFieldPaths",
            json!(["/x"]),
            "additionalModelResponseFieldPaths[0]",
        ),
        (
            "inferenceConfig",
            json!({ "maxTokens": "9" }),
            "inferenceConfig.maxTokens",
        ),
        (
            "inferenceConfig",
            json!({ "topK": 9 }),
            "inferenceConfig.topK",
        ),
        (
            "system",
            json!([{ "guardContent": {} }]),
            "system[0].guardContent",
        ),
        (
            "messages",
            json!([{ "role": "system", "content": [] }]),
            "messages[0].role",
        ),
        (
            "toolConfig",
            json!({ "tools": [{ "systemTool": { "name": "x" } }] }),
            "toolConfig.tools[0].systemTool",
        ),
        (
            "toolConfig",
            json!({ "tools": [], "toolChoice": { "none": {} } }),
            "toolConfig.toolChoice.none",
        ),
        (
            "additionalModelRequestFields",
            json!({ "anthropic_beta": ["x"] }),
            "additionalModelRequestFields.anthropic_beta",
        ),
        (
            "additionalModelRequestFields",
            json!([]),
            "additionalModelRequestFields",
        ),
        (
            "outputConfig",
            json!({ "textFormat": { "type": "json_schema", "structure": { "jsonSchema": { "schema": "{" } } } }),
            "outputConfig.textFormat.structure.jsonSchema.schema",
        ),
        ("newField", json!(1), "newField"),
    ]
}

#[test]
fn what_cant_be_carried_is_refused_by_name() {
    for (block, field) in blocks() {
        let refusal = refusal(&asked(&block));
        let name = format!("`messages[0].content[0].{field}` ");
        assert!(refusal.starts_with(&name), "{block}: {refusal}");
    }
    for (key, body, field) in members() {
        let refusal = refusal(&json!({ key: body }));
        assert!(
            refusal.starts_with(&format!("`{field}` ")),
            "{key}: {refusal}"
        );
    }
}

#[test]
fn what_isnt_a_request_is_refused() {
    let empty = refusal(&asked(&json!({})));
    assert_eq!(empty, "`messages[0].content[0]` is empty");
    for body in ["", "[]", "{", "{\"a\":1,\"a\":2}"] {
        let inbound = Inbound {
            path: "",
            query: None,
            model: "m",
            is_streamed: false,
            body: body.as_bytes(),
        };
        assert_eq!((CODEC.read_request)(&inbound).unwrap_err().field, "body");
    }
}
