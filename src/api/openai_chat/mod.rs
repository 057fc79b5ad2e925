//! OpenAI Chat Completions and its many look-alikes: `POST /v1/chat/completions`.

mod meter;

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use http::{Method, Response, StatusCode};

use super::{Api, ApiKind, Call, Meter, Outbound, Splice, respond};
use crate::wire::{Body, Rejection, json};

/// The format's name.
pub const KIND: ApiKind = ApiKind("openai_chat");
/// Its path as listings and providers know it.
const ENDPOINT: &str = "/v1/chat/completions";
/// A model's name is a header, a column and a line of a log: it has a bound.
const MAX_MODEL: usize = 512;

/// OpenAI Chat Completions.
#[derive(Debug)]
pub struct OpenAiChat;

impl Api for OpenAiChat {
    fn kind(&self) -> ApiKind {
        KIND
    }

    fn endpoint(&self) -> &'static str {
        ENDPOINT
    }

    fn recognises(&self, method: &Method, path: &str) -> bool {
        method == Method::POST && matches!(path, ENDPOINT | "/chat/completions")
    }

    fn read(&self, body: Bytes) -> Result<Call, Rejection> {
        let fields = json::scan(&body, &["model", "stream", "stream_options"])
            .map_err(|error| bad_request(format!("the request body is not acceptable: {error}")))?;
        let Some(model_at) = fields.get(0) else {
            return Err(bad_request("the request has no `model`"));
        };
        let model = json::string(&body[model_at.clone()])
            .filter(|model| !model.is_empty() && model.len() <= MAX_MODEL)
            .filter(|model| !model.chars().any(char::is_control))
            .ok_or_else(|| bad_request("`model` must be the name of a model"))?
            .into_owned();
        let stream = match fields.get(1).map(|range| &body[range]) {
            None | Some(b"false" | b"null") => false,
            Some(b"true") => true,
            Some(_) => return Err(bad_request("`stream` must be true or false")),
        };
        let mut splice = Splice {
            model: model_at,
            ..Splice::default()
        };
        if stream {
            ask_for_usage(&body, fields.open, fields.get(2), &mut splice)?;
        }
        Ok(Call {
            kind: KIND,
            model,
            stream,
            session: None,
            body,
            splice,
        })
    }

    fn prepare(&self, call: &Call, model: &str) -> Outbound {
        let mut edits: Vec<(Range<usize>, String)> = call
            .splice
            .edits
            .iter()
            .map(|(at, text)| (at.clone(), (*text).to_owned()))
            .collect();
        if call.model != model {
            let name = serde_json::Value::from(model).to_string();
            edits.push((call.splice.model.clone(), name));
        }
        edits.sort_by_key(|(at, _)| at.start);
        Outbound {
            path: ENDPOINT,
            body: spliced(&call.body, &edits),
        }
    }

    fn meter(&self, call: &Call) -> Box<dyn Meter> {
        Box::new(meter::ChatMeter::new(
            call.splice.hide_usage,
            call.body.len(),
        ))
    }

    fn refuse(&self, rejection: &Rejection) -> Response<Body> {
        respond(rejection, error_json(rejection).into_bytes())
    }

    fn stream_error(&self, rejection: &Rejection) -> Bytes {
        format!("data: {}\n\n", error_json(rejection)).into()
    }
}

/// Streams carry no usage unless asked (`stream_options.include_usage`); the gateway asks,
/// and hides the extra event from a caller who did not.
fn ask_for_usage(
    body: &[u8],
    open: usize,
    options: Option<Range<usize>>,
    splice: &mut Splice,
) -> Result<(), Rejection> {
    let Some(options) = options else {
        splice
            .edits
            .push((open..open, "\"stream_options\":{\"include_usage\":true},"));
        splice.hide_usage = true;
        return Ok(());
    };
    if &body[options.clone()] == b"null" {
        splice.edits.push((options, "{\"include_usage\":true}"));
        splice.hide_usage = true;
        return Ok(());
    }
    let inner = json::scan(&body[options.clone()], &["include_usage"])
        .map_err(|error| bad_request(format!("`stream_options` is not acceptable: {error}")))?;
    match inner
        .get(0)
        .map(|range| range.start + options.start..range.end + options.start)
    {
        Some(value) if &body[value.clone()] == b"true" => {}
        Some(value) => {
            splice.edits.push((value, "true"));
            splice.hide_usage = true;
        }
        None => {
            let text = if inner.is_empty {
                "\"include_usage\":true"
            } else {
                "\"include_usage\":true,"
            };
            let at = options.start + inner.open;
            splice.edits.push((at..at, text));
            splice.hide_usage = true;
        }
    }
    Ok(())
}

/// `edits` must be sorted and apart; without any, the bytes are the caller's own.
fn spliced(body: &Bytes, edits: &[(Range<usize>, String)]) -> Bytes {
    if edits.is_empty() {
        return body.clone();
    }
    let grown: usize = edits.iter().map(|(_, text)| text.len()).sum();
    let mut out = BytesMut::with_capacity(body.len() + grown);
    let mut copied = 0;
    for (at, text) in edits {
        out.extend_from_slice(&body[copied..at.start]);
        out.extend_from_slice(text.as_bytes());
        copied = at.end;
    }
    out.extend_from_slice(&body[copied..]);
    out.freeze()
}

fn bad_request(message: impl Into<std::borrow::Cow<'static, str>>) -> Rejection {
    Rejection::new(StatusCode::BAD_REQUEST, "invalid_request", message)
}

/// The error object of this API; its SDKs choose the exception by status and show `message`.
fn error_json(rejection: &Rejection) -> String {
    let kind = match rejection.status {
        StatusCode::BAD_REQUEST
        | StatusCode::NOT_FOUND
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNSUPPORTED_MEDIA_TYPE => "invalid_request_error",
        StatusCode::FORBIDDEN | StatusCode::MISDIRECTED_REQUEST => "permission_error",
        StatusCode::TOO_MANY_REQUESTS => "insufficient_quota",
        _ => "server_error",
    };
    serde_json::json!({
        "error": {
            "message": rejection.message,
            "type": kind,
            "param": null,
            "code": rejection.code.0,
        }
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Call, Rejection> {
        OpenAiChat.read(Bytes::copy_from_slice(body.as_bytes()))
    }

    fn outbound(body: &str, model: &str) -> String {
        let call = read(body).unwrap();
        String::from_utf8(OpenAiChat.prepare(&call, model).body.to_vec()).unwrap()
    }

    #[test]
    fn a_body_that_needs_nothing_is_the_same_bytes() {
        let call = read(r#"{ "model":"m",  "messages":[] }"#).unwrap();
        let out = OpenAiChat.prepare(&call, "m");
        assert_eq!(out.body.as_ptr(), call.body.as_ptr());
        assert_eq!(out.path, "/v1/chat/completions");
    }

    #[test]
    fn only_the_models_name_changes() {
        let body = r#"{"x": 1.50, "model" : "p/m\u002f1","n":null}"#;
        assert_eq!(
            outbound(body, "m/1"),
            r#"{"x": 1.50, "model" : "m/1","n":null}"#
        );
    }

    #[test]
    fn streams_ask_for_usage_in_every_form() {
        let asked = r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#;
        let call = read(asked).unwrap();
        assert!(!call.splice.hide_usage);
        assert_eq!(outbound(asked, "m"), asked);
        for body in [
            r#"{"model":"m","stream":true}"#,
            r#"{"model":"m","stream":true,"stream_options":null}"#,
            r#"{"model":"m","stream":true,"stream_options":{}}"#,
            r#"{"stream_options":{"include_usage":false},"model":"m","stream":true}"#,
            r#"{"model":"m","stream_options":{"x":[1]},"stream":true}"#,
        ] {
            assert!(read(body).unwrap().splice.hide_usage, "{body}");
            let sent: serde_json::Value =
                serde_json::from_str(&outbound(body, "other/model")).unwrap();
            assert_eq!(sent["stream_options"]["include_usage"], true, "{body}");
            assert_eq!(sent["model"], "other/model");
        }
        let kept = outbound(
            r#"{"model":"m","stream_options":{"x":[1]},"stream":true}"#,
            "m",
        );
        assert!(kept.contains(r#""x":[1]"#), "{kept}");
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for body in [
            r#"{"model":"a","model":"b"}"#,
            r#"{"model":"a","Model":"b"}"#,
            r#"{"model":1}"#,
            r#"{"model":""}"#,
            r#"{"messages":[]}"#,
            r#"{"model":"a","stream":"yes"}"#,
            r#"{"model":"a","stream":true,"stream_options":{"include_usage":1,"include_usage":2}}"#,
            "not json",
        ] {
            let rejection = read(body).unwrap_err();
            assert_eq!(rejection.status, StatusCode::BAD_REQUEST, "{body}");
        }
    }
}
