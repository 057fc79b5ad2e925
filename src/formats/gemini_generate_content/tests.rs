//! Recorded exchanges of this format, and what of its requests goes on to a provider.

use http::{HeaderMap, Method};

use super::*;
use crate::formats::corpus::{self, check, exchanges, metered};
use crate::formats::translate::{Seal, SealKind};
use crate::formats::{Meter, Reading, Splice};

const MODEL: &str = "gemini-2.5-flash";

fn ask(path: &str, query: Option<&str>, body: &str) -> Result<Call, Rejection> {
    let headers = HeaderMap::new();
    let head = Head {
        path,
        query,
        headers: &headers,
    };
    FORMAT.read(&head, Bytes::copy_from_slice(body.as_bytes()))
}

fn sent(path: &str, body: &str, model: &str, flags: &[&'static str]) -> (String, String) {
    let to = Destination {
        model,
        project: Some("proj"),
        region: Some("europe-west4"),
        flags,
    };
    let call = ask(path, None, body).unwrap();
    let out = FORMAT.prepare(&call, &to).unwrap();
    let body = String::from_utf8(out.body.to_vec()).unwrap();
    (out.path.into_owned(), body)
}

fn meter(room: usize) -> Box<dyn Meter> {
    super::meter(read, &metered(400, room))
}

#[test]
fn recorded_exchanges() {
    for exchange in exchanges![
        "text",
        "tools",
        "thinking",
        "search",
        "blocked",
        "candidates",
        "image",
        "code",
        "partial_arguments",
        "cut",
        "error",
        "odd",
        "embed",
    ] {
        check(&exchange, meter);
        let path = format!("/v1beta/models/{MODEL}:generateContent");
        assert!(
            ask(&path, None, exchange.request).is_ok(),
            "{}",
            exchange.name
        );
    }
}

#[test]
fn an_array_reads_as_the_events_would() {
    let array = |text: &str| -> Reading {
        let mut meter = meter(100_000);
        meter.body(text.as_bytes());
        meter.finish()
    };
    let one = include_str!("fixtures/text.response.json");
    let both = array(&format!("[{one}\n,\r\n{one}]\n"));
    assert_eq!(both.tokens.output, Some(9));
    let response: Value = serde_json::from_slice(&both.response.unwrap()).unwrap();
    let text = &response["candidates"][0]["content"]["parts"][0]["text"];
    assert_eq!(text, "The Rhône and the Elbe.The Rhône and the Elbe.");
    // As far as it came.
    let piece = r#"[{"candidates":[{"content":{"parts":[{"text":"12345678"}]}}]},{"candi"#;
    let tokens = array(piece).tokens;
    assert_eq!((tokens.output, tokens.estimated), (Some(2), true));
    assert_eq!(array("[]").tokens, crate::formats::Tokens::default());
}

#[test]
fn counts_that_are_left_out_are_zero() {
    let usage = r#""usageMetadata":{"promptTokenCount":10,"totalTokenCount":10}"#;
    for reported in [
        r#""candidates":[{"finishReason":"SAFETY"}]"#,
        r#""promptFeedback":{"blockReason":"OTHER"}"#,
    ] {
        let response = format!("{{{reported},{usage}}}");
        let mut whole = meter(100_000);
        whole.body(response.as_bytes());
        let tokens = whole.finish().tokens;
        assert_eq!(
            (tokens.input, tokens.output, tokens.estimated),
            (Some(10), Some(0), false),
            "{reported}"
        );
        let mut streamed = meter(100_000);
        corpus::feed(&mut *streamed, "", &response);
        assert!(streamed.is_complete());
        assert_eq!(streamed.finish().tokens, tokens, "{reported}");
    }
}

#[test]
fn a_request_with_nothing_to_change_is_the_same_bytes() {
    let body = r#"{ "contents" : [{"parts":[{"text":"x"}]}]}"#;
    let path = "/v1beta/models/gemini-2.5-flash:streamGenerateContent";
    let call = ask(path, Some("alt=sse"), body).unwrap();
    assert!(call.stream && call.billed && call.opening.is_some());
    let splice: &Splice = &call.splice;
    assert!(splice.edits.is_empty());
    assert_eq!(
        sent(path, body, MODEL, &["gemini_generate_content"]),
        (path.to_owned(), body.to_owned())
    );
    assert!(!ask("/v1/models/m:countTokens", None, "{}").unwrap().billed);
}

#[test]
fn a_renamed_model_is_renamed_everywhere() {
    for (path, body, out_path, out) in [
        (
            "/v1/models/a:embedContent",
            r#"{"model": "models/a","content":{}}"#,
            "/v1/models/p%2Fb:embedContent",
            r#"{"model": "models/p/b","content":{}}"#,
        ),
        (
            "/v1beta/models/a:batchEmbedContents",
            r#"{"requests":[{"model":"models/a"},{"model":"a"},{}]}"#,
            "/v1beta/models/p%2Fb:batchEmbedContents",
            r#"{"requests":[{"model":"models/p/b"},{"model":"p/b"},{}]}"#,
        ),
        (
            "/v1alpha/models/a:countTokens",
            r#"{"generateContentRequest":{"contents":[],"model":"models/a"}}"#,
            "/v1alpha/models/p%2Fb:countTokens",
            r#"{"generateContentRequest":{"contents":[],"model":"models/p/b"}}"#,
        ),
    ] {
        assert_eq!(
            sent(path, body, "p/b", &[]),
            (out_path.to_owned(), out.to_owned())
        );
    }
    let tuned = "/v1beta/tunedModels/t:generateContent";
    assert_eq!(ask(tuned, None, "{}").unwrap().model, "tunedModels/t");
    assert_eq!(sent(tuned, "{}", "tunedModels/t", &[]).0, tuned);
    assert_eq!(
        sent(tuned, "{}", MODEL, &[]).0,
        "/v1beta/models/gemini-2.5-flash:generateContent"
    );
}

#[test]
fn a_second_model_is_refused() {
    let path = "/v1beta/models/a:generateContent";
    for body in [
        r#"{"model":"models/b"}"#,
        r#"{"model":"models/a","model":"models/a"}"#,
        r#"{"Model":"models/a"}"#,
        r#"{"model":1}"#,
        r#"{"model":"../models/a"}"#,
        r#"{"requests":[{"model":"models/a"},{"model":"models/b"}]}"#,
        r#"{"requests":[{"model":"models/a","MODEL":"models/b"}]}"#,
        r#"{"requests":{}}"#,
        r#"{"generateContentRequest":{"model":"models/b"}}"#,
        r#"{"generate_content_request":{"model":"models/b"}}"#,
        r#"{"generateContentRequest":{},"generate_content_request":{}}"#,
        r#"{"generateContentrequest":{"model":"models/b"}}"#,
        r#"{"generateContentRequest":[]}"#,
        "[]",
    ] {
        let rejection = ask(path, None, body).unwrap_err();
        assert_eq!(rejection.status, http::StatusCode::BAD_REQUEST, "{body}");
    }
    assert!(ask(path, Some("model=b"), "{}").is_err());
    assert!(ask(path, Some("alt=sse&model=models/a"), "{}").is_ok());
}

#[test]
fn paths_of_the_format_and_no_others() {
    let api = &FORMAT;
    for path in [
        "/v1/models/m:generateContent",
        "/v1beta/tunedModels/m:x",
        "/v1alpha/models/%2e:x",
    ] {
        assert!(api.recognises(&Method::POST, path), "{path}");
        assert!(!api.recognises(&Method::GET, path), "{path}");
    }
    for path in [
        "/v1/models",
        "/v1/models/",
        "/v2/models/m:x",
        "//v1/models/m:x",
        "/v1beta/files/m:x",
        "/v1beta1/models/m:x",
    ] {
        assert!(!api.recognises(&Method::POST, path), "{path}");
    }
}

#[test]
fn for_vertex_the_path_grows_and_unknown_fields_go() {
    let body = r#"{"session_id":"s","contents":[{"role":"model","parts":[{"functionCall":{"id":"1","name":"f","args":{"id":"kept"}}}]},{"parts":[{"function_response":{"name":"f","response":{"id":2}, "id":"1"},"partMetadata":{}},{"text":"x"}]}]}"#;
    let flags = ["experimental_gemini_cli_vertex_compat"];
    let (path, body) = sent(
        "/v1beta/models/a:streamGenerateContent",
        body,
        "gemini-x",
        &flags,
    );
    assert_eq!(
        path,
        "/v1/projects/proj/locations/europe-west4/publishers/google/models/gemini-x:streamGenerateContent"
    );
    assert_eq!(
        body,
        r#"{"contents":[{"role":"model","parts":[{"functionCall":{"name":"f","args":{"id":"kept"}}}]},{"parts":[{"function_response":{"name":"f","response":{"id":2}}},{"text":"x"}]}]}"#
    );
    let call = ask(
        "/v1beta/models/a:generateContent",
        None,
        r#"{"session_id":"s"}"#,
    )
    .unwrap();
    assert_eq!(call.session.as_deref(), Some("s"));
    let to = Destination {
        model: "m",
        project: None,
        region: None,
        flags: &flags,
    };
    assert_eq!(FORMAT.prepare(&call, &to).unwrap_err().status, 502);
}

/// A conversation that another API's model began has seals of Iris in it.
#[test]
fn a_call_without_a_signature_of_googles_says_so_to_newer_models() {
    let seal = Seal::new("some_format", SealKind::Signature, "v").closed_base64();
    let body = |signature: &str| {
        let call = format!(r#"{{"functionCall":{{"name":"look"}}{signature}}}"#);
        format!(r#"{{"contents":[{{"role":"model","parts":[{call}, {{"text":"x"}}]}}]}}"#)
    };
    let before = body(&format!(r#","thoughtSignature":"{seal}""#));
    let before = before.replace(r#""x""#, &format!(r#""x","thoughtSignature":"{seal}""#));
    let left = |model: &str| FORMAT.without_seals(before.as_bytes(), model).unwrap();
    let stand_in = r#","thoughtSignature":"skip_thought_signature_validator""#;
    assert_eq!(left("gemini-3-pro"), body(stand_in));
    assert_eq!(left("gemini-2.5-flash"), body(""));
}
