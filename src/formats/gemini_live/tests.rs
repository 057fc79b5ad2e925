//! Messages in the shapes of the API's reference, and what is refused.

use http::HeaderMap;
use serde_json::{Value, json};

use super::*;
use crate::formats::realtime::{Names, Sent};
use crate::formats::{Path, Reading};
use crate::wire::sse;

const PATH: &str = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent";
const OTHER: &str = "/ws/google.cloud.aiplatform.v1beta1.LlmBidiService/BidiGenerateContent";

fn names() -> Names {
    Names {
        asked: "voice".into(),
        served: "gemini-live".into(),
        provider: "google".into(),
    }
}

fn open(path: &str, message: &Value) -> Result<Call, Rejection> {
    let headers = HeaderMap::new();
    let head = Head {
        path,
        query: None,
        headers: &headers,
    };
    FORMAT.read(&head, message.to_string().into())
}

fn to(project: Option<&str>) -> Destination<'_> {
    Destination {
        model: "gemini-live",
        project,
        region: Some("europe-west1"),
        flags: &[],
    }
}

#[test]
fn the_first_message_names_the_model() {
    for (named, model) in [
        ("models/voice", "voice"),
        ("voice", "voice"),
        ("models/google/voice", "google/voice"),
        ("tunedModels/voice", "tunedModels/voice"),
        ("publishers/google/models/voice", "voice"),
        (
            "projects/p/locations/l/publishers/google/models/voice",
            "voice",
        ),
        // What the SDK makes of `lab/voice` for Vertex.
        ("publishers/lab/models/voice", "lab/voice"),
    ] {
        let call = open(PATH, &json!({"setup":{"model":named}})).unwrap();
        assert_eq!((&*call.model, call.billed), (model, false), "{named}");
        assert_eq!(call.path, Path::Fixed(PATH.into()));
        let sent = FORMAT.prepare(&call, &to(None)).unwrap();
        let sent: Value = serde_json::from_slice(&sent.body).unwrap();
        assert_eq!(sent, json!({"setup":{"model":"models/gemini-live"}}));
    }
    for message in [
        json!({}),
        json!({"setup":{}}),
        json!({"setup":{"model":""}}),
        json!({"setup":{"model":"models/"}}),
        json!({"setup":{"model":"m"},"clientContent":{}}),
        json!({"clientContent":{"turns":[],"turnComplete":true}}),
        json!({"config":{"model":"m"}}),
    ] {
        assert_eq!(open(PATH, &message).unwrap_err().status, 400, "{message}");
    }
}

#[test]
fn vertex_gets_its_own_project_whatever_the_caller_wrote() {
    let setup =
        json!({"setup":{"model":"projects/other/locations/us/publishers/google/models/voice"}});
    let call = open(OTHER, &setup).unwrap();
    let sent = VERTEX.prepare(&call, &to(Some("own"))).unwrap();
    assert_eq!(sent.path, OTHER);
    let sent: Value = serde_json::from_slice(&sent.body).unwrap();
    let expected = "projects/own/locations/europe-west1/publishers/google/models/gemini-live";
    assert_eq!(sent["setup"]["model"], expected);
    assert!(VERTEX.prepare(&call, &to(None)).is_err());
}

#[test]
fn paths_of_both_apis_and_keys_that_lead_past() {
    for path in [
        PATH,
        &format!("/{PATH}"),
        &PATH.replace("v1beta", "v1alpha"),
    ] {
        assert!(FORMAT.recognises_socket(path), "{path}");
        assert!(!VERTEX.recognises_socket(path), "{path}");
    }
    assert!(VERTEX.recognises_socket(OTHER) && !FORMAT.recognises_socket(OTHER));
    let constrained = format!("{PATH}Constrained");
    for path in [&*constrained, "/v1alpha/auth_tokens", "/v1beta/auth_tokens"] {
        assert!(FORMAT.recognises(&http::Method::POST, path), "{path}");
        let refused = open(path, &json!({"setup":{"model":"m"}})).unwrap_err();
        assert_eq!(refused.status, 403, "{path}");
    }
}

#[test]
fn messages_are_told_apart_and_unknown_ones_refused() {
    let audio = json!({"data":"AAAA","mimeType":"audio/pcm;rate=16000"});
    let picture = json!({"data":"AAAA","mimeType":"image/jpeg"});
    let text = json!({"data":"aGVsbG8=","mimeType":"text/plain"});
    let silent = json!({"id":"1","name":"f","response":{},"scheduling":"SILENT"});
    let loud = json!({"id":"2","name":"f","response":{},"scheduling":"WHEN_IDLE"});
    let turns = json!([{"role":"user","parts":[{"text":"hi"}]}]);
    for (sent, message) in [
        (
            Sent::Turn,
            json!({"clientContent":{"turns":turns,"turnComplete":true}}),
        ),
        (
            Sent::Turn,
            json!({"client_content":{"turns":turns,"turn_complete":true}}),
        ),
        (Sent::Content, json!({"clientContent":{"turns":turns}})),
        (
            Sent::Content,
            json!({"clientContent":{"turns":turns,"turnComplete":false}}),
        ),
        (Sent::Sound, json!({"realtimeInput":{"audio":audio}})),
        (
            Sent::Sound,
            json!({"realtime_input":{"media_chunks":[audio, picture]}}),
        ),
        (Sent::Beside, json!({"realtimeInput":{"video":picture}})),
        (Sent::Beside, json!({"realtimeInput":{"activityStart":{}}})),
        (
            Sent::Beside,
            json!({"realtimeInput":{"audioStreamEnd":true}}),
        ),
        (Sent::Content, json!({"realtimeInput":{"text":"hi"}})),
        (Sent::Content, json!({"realtimeInput":{"audio":text}})),
        (
            Sent::Content,
            json!({"realtimeInput":{"mediaChunks":[audio, text]}}),
        ),
        (Sent::Content, json!({"realtimeInput":{"mediaChunks":[]}})),
        (
            Sent::Result,
            json!({"toolResponse":{"functionResponses":[{"id":"1","name":"f","response":{}}]}}),
        ),
        (
            Sent::Content,
            json!({"toolResponse":{"functionResponses":[silent]}}),
        ),
        (
            Sent::Result,
            json!({"tool_response":{"function_responses":[silent, loud]}}),
        ),
        (Sent::Result, json!({"toolResponse":{}})),
    ] {
        let read = message::understand(message.to_string().into(), &names());
        let (found, call) = read.unwrap();
        assert_eq!(found, sent, "{message}");
        assert_eq!(&*call.model, "google/gemini-live");
    }
    for message in [
        json!({"setup":{"model":"models/other"}}),
        json!({"realtimeInput":{"say":"hi"}}),
        json!({"clientContent":{"turnComplete":"yes"}}),
        json!({"realtimeInput":{"audio":audio},"clientContent":{"turnComplete":true}}),
        json!({"other":{}}),
        json!([]),
    ] {
        let read = message::understand(message.to_string().into(), &names());
        assert_eq!(read.unwrap_err().status, 400, "{message}");
    }
}

#[test]
fn tools_of_a_setup_are_found() {
    let setup = json!({"setup":{"model":"m","tools":[{"functionDeclarations":[{"name":"f"}]},
        {"googleSearch":{}}]}});
    let mut found = Vec::new();
    FORMAT
        .tools(setup.to_string().as_bytes())
        .names(&mut |name| found.push(name.map(str::to_owned)));
    assert_eq!(
        found,
        [Some("f".to_owned()), Some("googleSearch".to_owned())]
    );
}

fn metered(messages: &[Value]) -> (Reading, bool) {
    let call = Call::new("m", Bytes::from_static(b"{}"));
    let mut meter = FORMAT.meter(&call.metered(1 << 20));
    for message in messages {
        meter.event(&sse::Event {
            name: b"",
            data: message.to_string().as_bytes(),
        });
    }
    let is_complete = meter.is_complete();
    (meter.finish(), is_complete)
}

fn spoken() -> Value {
    json!({"serverContent":{"modelTurn":{"parts":[{"inlineData":{"mimeType":"audio/pcm;rate=24000",
        "data":"A".repeat(25_600)}}]}}})
}

#[test]
fn a_turn_counts_text_sound_and_cache() {
    let usage = json!({"promptTokenCount":100,"cachedContentTokenCount":40,"responseTokenCount":30,
        "totalTokenCount":135,"thoughtsTokenCount":5,
        "promptTokensDetails":[{"modality":"TEXT","tokenCount":20},{"modality":"AUDIO","tokenCount":80}],
        "cacheTokensDetails":[{"modality":"AUDIO","tokenCount":40}],
        "responseTokensDetails":[{"modality":"AUDIO","tokenCount":30}]});
    let (reading, is_complete) = metered(&[
        spoken(),
        json!({"serverContent":{"outputTranscription":{"text":"hello"}}}),
        json!({"serverContent":{"turnComplete":true}, "usageMetadata":usage}),
    ]);
    assert!(is_complete);
    let tokens = reading.tokens;
    assert_eq!(
        (tokens.input, tokens.output, tokens.cached, tokens.reasoning),
        (Some(100), Some(35), Some(40), Some(5))
    );
    assert_eq!(tokens.sound(), [Some(80), Some(40), Some(30)]);
    assert!(!tokens.estimated);
    let response = String::from_utf8(reading.response.unwrap().to_vec()).unwrap();
    assert!(
        response.contains("hello") && response.contains("[25600 bytes]"),
        "{response}"
    );
}

#[test]
fn counts_before_the_end_wait_for_those_behind_it() {
    let counts = |output: u64| {
        json!({"usageMetadata":{"promptTokenCount":100,"responseTokenCount":output,
        "totalTokenCount":100 + output}})
    };
    let ends = json!({"serverContent":{"turnComplete":true}});
    let (reading, is_complete) = metered(&[spoken(), counts(20), ends.clone()]);
    assert!(!is_complete && !reading.tokens.estimated);
    let (reading, is_complete) = metered(&[spoken(), counts(20), ends, counts(25)]);
    assert!(is_complete);
    assert_eq!(
        (reading.tokens.input, reading.tokens.output),
        (Some(100), Some(25))
    );
}

#[test]
fn a_turn_that_breaks_off_is_estimated_and_one_without_a_count_waits() {
    let (reading, is_complete) = metered(&[spoken()]);
    assert!(!is_complete && reading.tokens.estimated);
    let (_, is_complete) = metered(&[spoken(), json!({"serverContent":{"turnComplete":true}})]);
    assert!(!is_complete);
    let call = json!({"toolCall":{"functionCalls":[{"id":"1","name":"f","args":{"x":1}}]}});
    let (reading, _) = metered(&[call]);
    assert_eq!(reading.tool_calls[0].name, "f");
}

#[test]
fn only_messages_of_a_turn_begin_one() {
    for (message, expected) in [
        (spoken(), Told::Within),
        (json!({"toolCall":{"functionCalls":[]}}), Told::Within),
        (json!({"serverContent":{"turnComplete":true}}), Told::Rest),
        (json!({"usageMetadata":{"totalTokenCount":3}}), Told::Counts),
        (json!({"setupComplete":{}}), Told::Beside),
        (json!({"goAway":{"timeLeft":"10s"}}), Told::Beside),
        (
            json!({"serverContent":{"inputTranscription":{"text":"hi"}}}),
            Told::Beside,
        ),
        (
            json!({"sessionResumptionUpdate":{"newHandle":"h"}}),
            Told::Beside,
        ),
    ] {
        assert_eq!(
            event(message.to_string().as_bytes()).told,
            expected,
            "{message}"
        );
    }
    assert_eq!(event(b"\xff").told, Told::Beside);
}
