//! Errors that a provider reports in a response whose status says success.
//!
//! Each format has its own place for them, and many servers use another format's. They are read
//! in one place for all formats, so that an error is found wherever it stands. Text of the model
//! is never looked at: it may speak of errors as much as it likes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

use super::tree;
use crate::wire::json::Part;
use crate::wire::sse;

/// Bytes that are kept of an error: as few as say what it is, because servers quote requests in them.
const MAX_WORDS: usize = 512;
/// Longer values aren't treated as errors.
const MAX_VALUE: usize = 64 * 1024;
/// Whether a member may stand in a document that is nothing but an error. One with any other member
/// is a response.
fn is_of_error(key: &str) -> bool {
    matches!(
        key,
        "__type"
            | "code"
            | "detail"
            | "details"
            | "documentation_url"
            | "error_code"
            | "error_type"
            | "instance"
            | "Message"
            | "message"
            | "msg"
            | "object"
            | "param"
            | "path"
            | "request_id"
            | "requestId"
            | "sid"
            | "status"
            | "statusCode"
            | "success"
            | "timestamp"
            | "title"
            | "type"
    )
}

/// Whether a member stands around a list of errors.
fn is_envelope(key: &str) -> bool {
    matches!(key, "errors" | "id" | "messages" | "result" | "success")
}

/// Members that only an error has.
const MARKS: [&str; 8] = [
    "__type",
    "code",
    "detail",
    "error_code",
    "error_type",
    "statusCode",
    "success",
    "title",
];
/// Members that hold the words, the best first.
const WORDS: [&str; 12] = [
    "message",
    "Message",
    "msg",
    "detail",
    "error_message",
    "error_msg",
    "status_msg",
    "failureMessage",
    "error",
    "type",
    "status",
    "code",
];

/// The members of a JSON object. Of a repeated key the last one counts.
type Members<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

/// Whether a document can report an error at all: most have nothing that could.
pub(super) fn may_report(document: Part<'_>) -> bool {
    document.members().any(|(key, value)| match key {
        "type" => value.is("error") || value.is("response.failed"),
        "object" => value.is("error"),
        "status" | "finish_reason" => value.text().is_some_and(|word| is_failed(&word)),
        "choices" => value.elements().any(|choice| {
            choice.members().any(|(key, value)| match key {
                "error" => !value.is_null(),
                "finish_reason" => value.text().is_some_and(|word| is_failed(&word)),
                _ => false,
            })
        }),
        "message" | "Message" | "msg" => value.is_text(),
        "Error" | "Response" | "base_resp" | "detail" | "error" | "error_code" | "errors" => {
            !value.is_null()
        }
        _ => false,
    })
}

/// Whether the name of an event says that it is an error. Amazon's exceptions are named after their
/// type.
pub(super) fn is_named(event: &sse::Event<'_>) -> bool {
    event.name == b"error" || event.name.ends_with(b"Exception")
}

/// The error that an event of a stream reports.
pub(super) fn of_event(event: &sse::Event<'_>) -> Option<String> {
    if is_named(event) {
        let name = String::from_utf8_lossy(event.name);
        return Some(of_named(event.data).unwrap_or_else(|| name.into_owned()));
    }
    // Most events are pieces of text, which are parsed only once.
    let hints: [&[u8]; 8] = [
        b"rror\"",
        b"rrors\"",
        b"RROR\"",
        b"ailed\"",
        b"essage\"",
        b"\"detail\"",
        b"\"error_msg\"",
        b"\"status_msg\"",
    ];
    let may_fail = |hint: &&[u8]| memchr::memmem::find(event.data, hint).is_some();
    hints.iter().any(may_fail).then(|| of_body(event.data))?
}

/// The words of a response whose status is that of an error: those of a known form, else the first
/// line of a text.
#[must_use]
pub fn of_response(body: &[u8]) -> Option<String> {
    of_body(body).or_else(|| {
        let text = std::str::from_utf8(body).ok()?;
        let line = text.lines().find(|line| !line.trim().is_empty())?;
        bounded(line).filter(|line| !line.starts_with(['<', '{', '[']))
    })
}

/// The words of an event whose name says that it is an error.
fn of_named(data: &[u8]) -> Option<String> {
    match serde_json::from_slice::<Value>(data) {
        Ok(value) => of_body(data).or_else(|| words(&value)),
        Err(_) => of_body(data).or_else(|| bounded(&String::from_utf8_lossy(data))),
    }
}

/// The error that a document reports: the body of a response, or the data of an event. Google
/// puts some errors in an array.
pub(super) fn of_body(body: &[u8]) -> Option<String> {
    match body.iter().find(|byte| !byte.is_ascii_whitespace())? {
        b'{' => of_object(body),
        b'[' => {
            let list: Vec<&RawValue> = serde_json::from_slice(body).ok()?;
            let first = list.first()?.get();
            of_object(first.as_bytes())
        }
        _ => None,
    }
}

fn of_object(data: &[u8]) -> Option<String> {
    let members = serde_json::from_slice(data).ok();
    let words = members.and_then(|members| of_members(&members));
    words.or_else(|| {
        // A key given twice, or what no parser accepts, hides no error.
        let may_fail = data.len() <= MAX_VALUE && memchr::memmem::find(data, b"rror").is_some();
        let text = may_fail.then(|| String::from_utf8_lossy(data))?;
        let readable = Value::Object(tree::object(text.as_bytes())?).to_string();
        of_members(&serde_json::from_str(&readable).ok()?)
    })
}

fn of_members(members: &Members<'_>) -> Option<String> {
    let value = |key: &str| members.get(key).and_then(|raw| short(raw));
    let is = |key: &str, word: &str| value(key).is_some_and(|value| value == word);
    if let Some(error) = value("error").filter(is_some_error) {
        return Some(beside(&error, value("message").as_ref()));
    }
    if let Some(words) = of_vendor(&value) {
        return Some(words);
    }
    // Responses: `{"type":"response.failed","response":{"error":{…}}}`.
    if let Some(response) = members.get("response")
        && is("type", "response.failed")
    {
        let inner: Members<'_> = serde_json::from_str(response.get()).unwrap_or_default();
        return of_members(&inner).or_else(|| Some("response.failed".to_owned()));
    }
    let all = || {
        let short = |key: &Cow<'_, str>| Some((key.to_string(), value(key)?));
        Value::Object(members.keys().filter_map(short).collect())
    };
    if is("type", "error") || is("object", "error") {
        return words(&all());
    }
    if let Some(words) = members.get("choices").and_then(|raw| of_choices(raw)) {
        return Some(words);
    }
    // `Cloudflare`: `{"success":false,"errors":[{"message":…}],"result":null}`.
    if let Some(errors) = value("errors").filter(is_some_error)
        && members
            .keys()
            .all(|key| is_envelope(key) || is_of_error(key))
    {
        return words(&errors);
    }
    let failed = ["status", "finish_reason"].into_iter().find_map(|key| {
        let word = value(key)?.as_str().map(str::to_owned)?;
        is_failed(&word).then(|| format!("{key} {word:?}"))
    });
    if failed.is_some() {
        let message = ["message", "failureMessage", "detail"]
            .into_iter()
            .find_map(value);
        return message.as_ref().and_then(words).or(failed);
    }
    is_error_only(members).then(|| words(&all()))?
}

/// Errors in forms of one vendor each.
fn of_vendor(value: &impl Fn(&str) -> Option<Value>) -> Option<String> {
    // `MiniMax`: `{"base_resp":{"status_code":1004,"status_msg":…}}`.
    if let Some(base) = value("base_resp")
        && is_some_error(&base["status_code"])
    {
        return words(&base);
    }
    // Baidu: `{"error_code":17,"error_msg":…}`.
    if let (Some(code), Some(Value::String(message))) = (value("error_code"), value("error_msg"))
        && is_some_error(&code)
    {
        return bounded(&message);
    }
    // Tencent: `{"Response":{"Error":{"Code":…,"Message":…}}}`.
    let error = value("Error").or_else(|| value("Response")?.get("Error").cloned());
    error.filter(is_some_error).as_ref().and_then(words)
}

/// Whether a value says that all is well.
fn is_well(key: &str, value: &Value) -> bool {
    match key {
        "success" => *value == true,
        "code" | "error_code" => ["0", "200"].contains(&value.to_string().trim_matches('"')),
        _ => false,
    }
}

/// Whether a document is nothing but an error, by its members. What has a type or a status may be
/// a sign of life instead.
fn is_error_only(members: &Members<'_>) -> bool {
    let value = |key: &str| members.get(key).and_then(|raw| short(raw));
    let is_text = |key: &&str| value(key).is_some_and(|value| value.is_string());
    let is_well = |key: &&str| value(key).is_some_and(|value| is_well(key, &value));
    if MARKS.iter().any(is_well) {
        return false;
    }
    let has_message = ["message", "Message", "msg"].iter().any(is_text)
        || value("detail").is_some_and(|detail| is_some_error(&detail));
    let marked = MARKS.iter().any(|key| members.contains_key(*key));
    let unmarked = !is_text(&"type") && !is_text(&"status");
    has_message && (marked || unmarked) && members.keys().all(|key| is_of_error(key))
}

/// Whether a document is a message and nothing else, which some APIs have for errors and some models
/// for their text.
pub(super) fn is_message_alone(data: &[u8]) -> bool {
    let members: Option<Members<'_>> = serde_json::from_slice(data).ok();
    members.is_some_and(|members| members.keys().all(|key| key == "message"))
}

/// `OpenRouter` and others report an error in the choice that it ended.
fn of_choices(choices: &RawValue) -> Option<String> {
    let choices: Vec<Members<'_>> = serde_json::from_str(choices.get()).ok()?;
    choices.iter().find_map(|choice| {
        let value = |key: &str| choice.get(key).and_then(|raw| short(raw));
        if let Some(error) = value("error").filter(is_some_error) {
            return words(&error);
        }
        let reason = value("finish_reason")?;
        is_failed(reason.as_str()?).then(|| format!("finish_reason {reason}"))
    })
}

fn is_failed(word: &str) -> bool {
    word.eq_ignore_ascii_case("error") || word.eq_ignore_ascii_case("failed")
}

/// A value, unless it is too long for an error.
fn short(raw: &RawValue) -> Option<Value> {
    let text = raw.get();
    if text.len() > MAX_VALUE {
        return None;
    }
    let whole = serde_json::from_str(text).ok();
    whole.or_else(|| tree::object(text.as_bytes()).map(Value::Object))
}

/// Whether a value reports anything.
fn is_some_error(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(is_error) => *is_error,
        Value::Number(code) => code.as_f64() != Some(0.0),
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(list) => list.iter().any(is_some_error),
        Value::Object(fields) => fields.values().any(is_some_error),
    }
}

/// The words of an error beside which a message may stand.
fn beside(error: &Value, message: Option<&Value>) -> String {
    let message = message.and_then(Value::as_str).and_then(bounded);
    let own = match error {
        Value::Bool(_) | Value::Number(_) => None,
        error => words(error),
    };
    match (own, message) {
        (Some(own), Some(message)) if error.is_string() && own != message => {
            format!("{own}: {message}")
        }
        (Some(own), _) => own,
        (None, Some(message)) => message,
        (None, None) => format!("error {error}"),
    }
}

/// The words in an error: its message, else what it has instead, else all of it.
fn words(error: &Value) -> Option<String> {
    match error {
        Value::Null => None,
        Value::String(text) => bounded(text),
        Value::Array(list) => list.iter().find_map(words),
        Value::Object(fields) => WORDS
            .iter()
            .filter_map(|key| fields.get(*key))
            .find_map(|value| match value {
                Value::Bool(_) | Value::Number(_) => None,
                value => words(value),
            })
            .or_else(|| bounded(&error.to_string()).filter(|_| !fields.is_empty())),
        other => bounded(&other.to_string()),
    }
}

/// The first line of a text, cut where it is too long.
fn bounded(text: &str) -> Option<String> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    let end = line.floor_char_boundary(MAX_WORDS);
    Some(line[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, data: &str) -> Option<String> {
        of_event(&sse::Event {
            name: name.as_bytes(),
            data: data.as_bytes(),
        })
    }

    #[test]
    fn every_form_of_an_error_is_found_with_its_words() {
        for data in [
            r#"{"error":{"message":"engine died","code":500}}"#,
            r#"{"error":{"message":"engine died","type":"x"},"id":"c","choices":[],"usage":{}}"#,
            r#"{"error":"engine died"}"#,
            r#"{"error":true,"message":"engine died"}"#,
            r#"{"error":500,"message":"engine died"}"#,
            r#"{"error":{"error":{"msg":"engine died"}}}"#,
            r#"{"error":{"code":503,"message":"engine died","status":"UNAVAILABLE"}}"#,
            r#"[{"error":{"code":503,"message":"engine died","status":"UNAVAILABLE"}}]"#,
            r#"{"id":"c","choices":[{"index":0,"delta":{"content":""},"finish_reason":"error","error":{"code":502,"message":"engine died"}}]}"#,
            r#"{"type":"error","error":{"type":"overloaded_error","message":"engine died"}}"#,
            r#"{"type":"error","code":"rate_limit_exceeded","message":"engine died","param":null}"#,
            r#"{"object":"error","message":"engine died","type":"x","code":40303}"#,
            r#"{"type":"response.failed","response":{"status":"failed","error":{"code":"server_error","message":"engine died"}}}"#,
            r#"{"id":"r","object":"response","status":"failed","output":[],"error":{"code":"x","message":"engine died"}}"#,
            r#"{"status":"Failed","failureMessage":"engine died"}"#,
            r#"{"message":"engine died"}"#,
            r#"{"Message":"engine died","__type":"x"}"#,
            r#"{"code":500,"message":"engine died","type":"server_error"}"#,
            r#"{"detail":"engine died"}"#,
            r#"{"detail":[{"loc":["body"],"msg":"engine died","type":"missing"}]}"#,
            r#"{"type":"about:blank","title":"x","status":500,"detail":"engine died"}"#,
            r#"{"error":{"message":"engine died"},"error":null}"#,
            r#"{"error":{"message":"engine died\ud83d"}}"#,
            r#"{"error":{"message":"engine died"},"usage":{"prompt_tokens":NaN}}"#,
            r#"{"base_resp":{"status_code":1004,"status_msg":"engine died"},"choices":null}"#,
            r#"{"error_code":17,"error_msg":"engine died","id":"x"}"#,
            r#"{"code":11200,"message":"engine died","sid":"cha000"}"#,
            r#"{"Response":{"Error":{"Code":"x","Message":"engine died"},"RequestId":"r"}}"#,
            r#"{"Error":{"message":"engine died"}}"#,
            r#"{"errors":[{"message":"engine died"}],"id":"x"}"#,
            r#"{"success":false,"errors":[{"code":7000,"message":"engine died"}],"messages":[],"result":null}"#,
        ] {
            for words in [
                of_body(data.as_bytes()),
                event("", data),
                event("error", data),
            ] {
                assert_eq!(words.as_deref(), Some("engine died"), "{data}");
            }
        }
    }

    #[test]
    fn an_error_without_a_message_says_what_it_has() {
        for (data, words) in [
            (
                r#"{"error":{"type":"overloaded_error"}}"#,
                "overloaded_error",
            ),
            (r#"{"error":{"code":503}}"#, r#"{"code":503}"#),
            (r#"{"error":true}"#, "error true"),
            (
                r#"{"statusCode":500,"error":"Server Error","message":"engine died"}"#,
                "Server Error: engine died",
            ),
            (
                r#"{"choices":[{"finish_reason":"error"}]}"#,
                r#"finish_reason "error""#,
            ),
            (
                r#"{"text":"","finish_reason":"ERROR"}"#,
                r#"finish_reason "ERROR""#,
            ),
            (
                r#"{"object":"response","status":"failed","error":null}"#,
                r#"status "failed""#,
            ),
            (
                r#"{"type":"response.failed","response":{}}"#,
                "response.failed",
            ),
        ] {
            assert_eq!(of_body(data.as_bytes()).as_deref(), Some(words), "{data}");
        }
        assert_eq!(
            event("error", "engine died").as_deref(),
            Some("engine died")
        );
        assert_eq!(event("error", "").as_deref(), Some("error"));
        let latin = b"{\"error\":{\"message\":\"caf\xe9 died\"}}";
        assert!(of_body(latin).is_some_and(|words| words.contains("died")));
        let name = "throttlingException";
        assert_eq!(event(name, "{}").as_deref(), Some(name));
        assert_eq!(
            event(name, r#"{"message":"slow"}"#).as_deref(),
            Some("slow")
        );
        let long = format!(r#"{{"error":"{}"}}"#, "é".repeat(MAX_WORDS));
        assert_eq!(of_body(long.as_bytes()).unwrap().len(), MAX_WORDS);
    }

    #[test]
    fn what_only_speaks_of_errors_is_none() {
        for data in [
            "",
            "error",
            "[DONE]",
            "[]",
            "{",
            r#""error""#,
            r#"{"error":null,"message":null}"#,
            r#"{"error":{},"errors":[]}"#,
            r#"{"error":""}"#,
            r#"{"error":{"code":null,"message":""},"choices":[]}"#,
            r#"{"error":false}"#,
            r#"{"choices":[{"message":{"content":"{"error":{"message":"x"}}"},"finish_reason":"stop","error":null}]}"#,
            r#"{"choices":[{"delta":{"content":"error","error":{"message":"x"}}}]}"#,
            r#"{"text":"error","usage":{"type":"duration"}}"#,
            r#"{"type":"message","content":[{"type":"text","text":"error"}],"error":null}"#,
            r#"{"type":"message_start","message":{"role":"assistant"}}"#,
            r#"{"message":{"role":"assistant","content":"error"}}"#,
            r#"{"type":"status","message":"loading the model"}"#,
            r#"{"id":"x","message":"hello"}"#,
            r#"{"success":true,"message":"ok"}"#,
            r#"{"code":0,"message":"ok"}"#,
            r#"{"code":"200","message":"ok"}"#,
            r#"{"base_resp":{"status_code":0,"status_msg":"success"},"choices":[]}"#,
            r#"{"error_code":0,"error_msg":"success"}"#,
            r#"{"type":"response.output_item.done","item":{"type":"mcp_call","status":"failed","error":"x"}}"#,
            r#"{"type":"response.mcp_call.failed","item_id":"x"}"#,
            r#"{"object":"response","status":"incomplete","error":null}"#,
            r#"{"candidates":[{"finishReason":"OTHER"}]}"#,
        ] {
            assert_eq!(of_body(data.as_bytes()), None, "{data}");
            assert_eq!(event("", data), None, "{data}");
        }
    }
}
