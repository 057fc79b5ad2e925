//! The lists: what passes, what is refused by name, and the page that shows them.

mod choosers;

use std::fmt::Write as _;

use bytes::Bytes;
use http::HeaderMap;

use super::*;
use crate::formats::{self, Call, Format, Head};
use crate::wire::Rejection;
use choosers::CHOOSERS;

fn format(kind: &str) -> &'static Format {
    formats::named(kind).unwrap()
}

fn read(kind: &str, path: &str, query: &str, body: &str) -> Result<Call, Rejection> {
    let headers = HeaderMap::new();
    let head = Head {
        path,
        query: Some(query),
        headers: &headers,
    };
    format(kind).read(&head, Bytes::copy_from_slice(body.as_bytes()))
}

/// Reads a request and judges it, with a grant for `cheap` alone.
fn judge(kind: &str, path: &str, query: &str, body: &str) -> Result<(), Rejection> {
    let call = read(kind, path, query, body)?;
    check_query(format(kind).known, &call.model, Some(query))?;
    conflict(&call.choices, "cheap", None, &[], &|model| model == "cheap")
}

const CHAT: (&str, &str) = ("openai_chat", "/v1/chat/completions");
const RESPONSES: (&str, &str) = ("openai_responses", "/v1/responses");
const MESSAGES: (&str, &str) = ("anthropic_messages", "/v1/messages");
const GEMINI: (&str, &str) = (
    "gemini_generate_content",
    "/v1beta/models/cheap:streamGenerateContent",
);
const CONVERSE: (&str, &str) = ("bedrock_converse", "/bedrock/model/cheap/converse");
const INVOKE: (&str, &str) = ("bedrock_model_invoke", "/bedrock/model/cheap/invoke");
const RAW: (&str, &str) = (
    "google_raw_predict",
    "/v1/publishers/anthropic/models/cheap:rawPredict",
);

#[test]
fn what_chooses_more_than_the_model_is_refused_by_name() {
    for row in CHOOSERS.trim().lines() {
        let [format, key, body] = row.split('|').collect::<Vec<_>>()[..] else {
            panic!("three columns: {row}")
        };
        let (kind, path) = match format {
            "CHAT" => CHAT,
            "RESPONSES" => RESPONSES,
            "MESSAGES" => MESSAGES,
            "RAW" => RAW,
            "GEMINI" => GEMINI,
            "CONVERSE" => CONVERSE,
            "INVOKE" => INVOKE,
            kind => (kind, self::format(kind).paths[0]),
        };
        let rejection = judge(kind, path, "", body).unwrap_err();
        assert_eq!(rejection.status, 400, "{kind} {body}");
        let message = &rejection.message;
        assert!(
            message.contains(&format!("\"{key}\"")),
            "{kind} {body}: {message}"
        );
    }
}

#[test]
fn what_chooses_nothing_else_passes() {
    for ((kind, path), body) in [
        (
            CHAT,
            r#"{"model":"cheap","models":["cheap"],"fallbacks":[],"provider":null}"#,
        ),
        (
            CHAT,
            r#"{"model":"cheap","min_p":0.1,"chat_template_kwargs":{"model":"x"},"anything":1}"#,
        ),
        (
            CHAT,
            r#"{"model":"cheap","tools":[{"type":"function","function":{"name":"f","parameters":{"properties":{"model":{"type":"string"}}}}}]}"#,
        ),
        (
            MESSAGES,
            r#"{"model":"cheap","tools":[{"name":"f","input_schema":{"default":{"model":"x"}},"input_examples":[{"model":"x"}]}]}"#,
        ),
        (
            GEMINI,
            r#"{"contents":[],"generationConfig":{"maxOutputTokens":1},"tools":[{"functionDeclarations":[{"name":"f","parameters":{"example":{"model":"x"}}}]}]}"#,
        ),
        (
            CHAT,
            r#"{"model":"cheap","tools":[{"type":"function","model":"x"}]}"#,
        ),
        (
            RESPONSES,
            r#"{"model":"cheap","background":false,"tools":[{"type":"image_generation","model":"cheap"}]}"#,
        ),
        (
            MESSAGES,
            r#"{"model":"cheap","speed":"standard","service_tier":"auto"}"#,
        ),
        (
            CONVERSE,
            r#"{"performanceConfig":{"latency":"standard"},"modelId":"cheap"}"#,
        ),
        (
            CHAT,
            r#"{"model":"cheap","organization":"","provider":{ },"deferred":0,"models":[ ],"draft_model":null}"#,
        ),
        (
            RESPONSES,
            r#"{"model":"cheap","tools":[{"type":"namespace","name":"n","tools":[{"type":"function","name":"f","parameters":{"properties":{"model":{"type":"string"}}}}]}],"input":[{"type":"mcp_list_tools","tools":[{"name":"f","input_schema":{"properties":{"model":{"type":"string"}}}}]},{"role":"user","content":"tools"}]}"#,
        ),
        (
            GEMINI,
            r#"{"contents":[],"generationConfig":{"model":null},"tools":{"functionDeclarations":[{"name":"f","parameters":{"properties":{"model":{"type":"string"}}}}]}}"#,
        ),
        (
            CHAT,
            r#"{"model":"cheap","litellm_session_id":"s","litellm_trace_id":"t","litellmCallId":"c"}"#,
        ),
        (
            ("openai_images", "/v1/images/generations"),
            r#"{"model":"cheap","background":"transparent"}"#,
        ),
        (
            ("openai_audio", "/v1/audio/speech"),
            r#"{"model":"cheap","speed":1.2}"#,
        ),
    ] {
        let judged = judge(kind, path, "", body);
        assert!(judged.is_ok(), "{kind} {body}: {judged:?}");
    }
}

#[test]
fn pass_keys_allow_what_can_be_counted() {
    let call = read(
        CHAT.0,
        CHAT.1,
        "",
        r#"{"model":"cheap","provider":{"only":["x"]},"background":true}"#,
    );
    let mut choices = call.unwrap().choices;
    let passed = ["provider".to_owned(), "background".to_owned()];
    let rejection = conflict(&choices, "cheap", None, &passed, &|_| true).unwrap_err();
    assert!(
        rejection.message.contains("\"background\""),
        "{}",
        rejection.message
    );
    choices.retain(|choice| choice.key != "background");
    assert_eq!(
        conflict(&choices, "cheap", None, &passed, &|_| true).map_err(|e| e.status),
        Ok(())
    );
    assert!(key_may_pass("provider") && !key_may_pass("background"));
}

#[test]
fn queries_pass_by_name_and_value() {
    for ((kind, path), query, passed) in [
        (GEMINI, "alt=sse", Some("alt=sse")),
        (
            GEMINI,
            "alt=sse&key=mine&prettyPrint=true&a=b",
            Some("alt=sse"),
        ),
        (GEMINI, "$alt=json&%24alt=json", Some("$alt=json&$alt=json")),
        (GEMINI, "ALT2=x&model=models%2Fcheap", None),
        (MESSAGES, "beta=true", Some("beta=true")),
        (MESSAGES, "BETA=true&x=1", None),
        (
            CHAT,
            "api-version=2025-01-01",
            Some("api-version=2025-01-01"),
        ),
        (CHAT, "model=cheap", None),
        (CHAT, "region=a%20b", Some("region=a%20b")),
        (CHAT, "&&=&x", None),
        (CONVERSE, "modelId=cheap&x=1", None),
    ] {
        let call = read(kind, path, query, r#"{"model":"cheap"}"#).unwrap();
        let known = format(kind).known;
        assert!(
            check_query(known, &call.model, Some(query)).is_ok(),
            "{query}"
        );
        let out = passed_query(known, &["region".to_owned(), "key".to_owned()], Some(query));
        assert_eq!(out.as_deref(), passed, "{kind} {query}");
    }
    for ((kind, path), query) in [
        (GEMINI, "fields=candidates"),
        (GEMINI, "FIELDS=candidates"),
        (GEMINI, "%24fields=candidates"),
        (GEMINI, "f%69elds=candidates"),
        (GEMINI, "fields[]=candidates"),
        (GEMINI, "alt=proto"),
        (GEMINI, "alt=sse&alt=json"),
        (GEMINI, "alt=sse&$alt=json"),
        (GEMINI, "alt=sse;fields=candidates"),
        (GEMINI, "Alt=sse"),
        (GEMINI, "$httpHeaders=X-Goog-FieldMask:candidates"),
        (GEMINI, "callback=f"),
        (GEMINI, "$userProject=p"),
        (CHAT, "model=dear"),
        (CHAT, "mod%65l=dear"),
        (CHAT, "Model=dear"),
        (CHAT, "x=1&model=cheap&model=dear"),
        (CHAT, "x=1;model=dear"),
        (CHAT, "api_base=http%3A%2F%2Fx"),
        (MESSAGES, "model=dear"),
        (RAW, "fields=usage"),
        (CONVERSE, "modelId=dear"),
    ] {
        let rejection = judge(kind, path, query, r#"{"model":"cheap"}"#).unwrap_err();
        assert_eq!(rejection.status, 400, "{kind} {query}");
    }
    assert!(query_may_pass("region") && !query_may_pass("$fields") && !query_may_pass("key"));
}

#[test]
fn forms_are_held_to_the_same_names() {
    let mut headers = HeaderMap::new();
    headers.insert(
        "content-type",
        "multipart/form-data; boundary=X".parse().unwrap(),
    );
    let head = Head {
        path: "/v1/audio/transcriptions",
        query: None,
        headers: &headers,
    };
    let form = |name: &str| {
        format!(
            "--X\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\ncheap\r\n--X\r\n\
             Content-Disposition: form-data; name=\"{name}\"\r\n\r\ndear\r\n--X--\r\n"
        )
    };
    for (name, passes) in [
        ("language", true),
        ("fallbacks[]", false),
        ("fallbacks.0", false),
        ("[api_base]", false),
        (".api_base", false),
        ("api%5Fbase", false),
        ("timestamp_granularities[]", true),
        ("api_base", false),
    ] {
        let call = format("openai_audio")
            .read(&head, form(name).into())
            .unwrap();
        let judged = conflict(&call.choices, "cheap", None, &[], &|_| false);
        assert_eq!(judged.is_ok(), passes, "{name}");
    }
}

/// The part of `docs/ALLOWED.md` that is made of the lists.
fn page() -> String {
    let quoted = |names: &mut dyn Iterator<Item = &str>| {
        let names: std::collections::BTreeSet<&str> = names.collect();
        let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
        match names.len() {
            0 => "none".to_owned(),
            _ => names.join(", "),
        }
    };
    let flat = |lists: &'static [&'static [&'static str]]| {
        let mut all = lists.iter().flat_map(|list| list.iter().copied());
        quoted(&mut all)
    };
    let mut out = String::new();
    let mut seen: Vec<(String, Vec<&str>)> = Vec::new();
    for api in formats::ALL {
        let known = api.known;
        let parameters: Vec<String> = known
            .query
            .iter()
            .map(|one| match one.values {
                [] => one.name.to_owned(),
                values => format!("{}={}", one.name, values.join("|")),
            })
            .collect();
        let mut keys = flat(known.keys);
        for (outer, inner) in known.inside {
            keys = format!("{keys}\n- keys in `{outer}`: {}", flat(inner));
        }
        let text = format!(
            "\n- request headers: {}\n- query: {}\n- response headers: {}\n- keys: {keys}\n",
            flat(known.request),
            quoted(&mut parameters.iter().map(String::as_str)),
            flat(known.response),
        );
        match seen.iter_mut().find(|(other, _)| *other == text) {
            Some((_, names)) => names.push(api.name),
            None => seen.push((text, vec![api.name])),
        }
    }
    for (text, names) in seen {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        let _ = write!(out, "\n### {}\n{text}", names.join(", "));
    }
    let _ = write!(out, "\n## Keys that are refused\n\n{}", body::page());
    out
}

#[test]
fn the_page_of_lists_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/ALLOWED.md");
    let text = std::fs::read_to_string(path).unwrap();
    let mark = "<!-- What follows is generated: `just reference` -->\n";
    let (by_hand, generated) = text.split_once(mark).expect("the mark in docs/ALLOWED.md");
    if std::env::var_os("IRIS_WRITE_DOCS").is_some() {
        std::fs::write(path, format!("{by_hand}{mark}{}", page())).unwrap();
        return;
    }
    assert!(
        generated == page(),
        "docs/ALLOWED.md is stale: run `just reference`"
    );
}

#[test]
fn a_list_that_names_the_model_as_the_caller_does_is_replaced_with_it() {
    let body = r#"{"model":"pl/m","models":["pl/m", "pl\/m"],"messages":["pl/m"]}"#;
    let call = read(CHAT.0, CHAT.1, "", body).unwrap();
    assert!(call.replaces_lists());
    let asked = Some(call.model.as_str());
    assert!(conflict(&call.choices, "m", asked, &[], &|_| false).is_ok());
    assert!(conflict(&call.choices, "m", None, &[], &|_| false).is_err());
    assert_eq!(
        call.outbound("m").body,
        r#"{"model":"m","models":["m", "m"],"messages":["pl/m"]}"#
    );
    let two = read(CHAT.0, CHAT.1, "", &body.replace("\"pl\\/m\"", "\"x\"")).unwrap();
    assert!(conflict(&two.choices, "m", asked, &[], &|_| true).is_err());
}
