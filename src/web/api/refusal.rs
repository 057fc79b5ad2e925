//! The forms of a refusal that are no model API's.

use http::{HeaderValue, Response, header};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::formats;
use crate::wire::{Body, Rejection};

/// A refusal, as the API writes it.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "it is written with the refusals of the formats")]
#[expect(clippy::struct_field_names, reason = "the key of the API")]
pub(super) struct Error {
    error: String,
    code: String,
    #[schemars(with = "Details", skip_serializing_if = "Option::is_none")]
    errors: Option<Details>,
}

/// What is wrong with a configuration.
#[derive(JsonSchema, Serialize)]
#[serde(transparent)]
pub(super) struct Details(pub Vec<Detail>);

#[derive(JsonSchema, Serialize)]
#[schemars(inline)]
pub(super) struct Detail {
    pub message: String,
    pub location: String,
    #[schemars(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// RFC 9457.
#[derive(Serialize, JsonSchema)]
pub(super) struct Problem {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
    instance: String,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Details")]
    errors: Option<Value>,
}

/// A refusal in the form of RFC 9457.
pub(super) fn problem(rejection: &Rejection, path: &str) -> Response<Body> {
    let problem = Problem {
        r#type: "about:blank",
        title: rejection.status.canonical_reason().unwrap_or_default(),
        status: rejection.status.as_u16(),
        detail: rejection.message.to_string(),
        instance: path.to_owned(),
        code: rejection.code.0,
        errors: rejection.details.as_deref().cloned(),
    };
    let text = serde_json::to_value(problem)
        .unwrap_or_default()
        .to_string();
    let mut response = formats::respond(rejection, text.into_bytes());
    let kind = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
