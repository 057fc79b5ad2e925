//! Vertex, Google's own models:
//! `POST /v1/projects/PROJECT/locations/REGION/publishers/google/models/MODEL:generateContent`
//! and its siblings. Bodies and answers are those of Gemini's API, but for `predict`, by which
//! the older models of text and image embeddings are asked.

use std::borrow::Cow;

use bytes::Bytes;

use super::gemini_generate_content as gemini;
use super::tree::{counted, list, sum};
use super::{
    Call, Destination, Flag, Format, Head, Outbound, Path, ProviderState, Reading, google, known,
};
use crate::base::money::CostBasis;
use crate::wire::Rejection;
use crate::wire::json::Part;

/// Methods of a model that are relayed.
const VERBS: [&str; 5] = [
    "generateContent",
    "streamGenerateContent",
    "countTokens",
    "embedContent",
    "predict",
];

static FLAG: Flag = Flag {
    name: "google_generate_content",
    text: "Vertex, Google's models.",
    is_default: false,
    vendor: Some(CostBasis::Vertex),
};

/// Vertex, Google's models.
pub(super) static FORMAT: Format = Format {
    attaching: Some(gemini::ATTACHING),
    flags: &[&FLAG],
    endpoint: Some(
        "/v1/projects/{project}/locations/{region}/publishers/google/models/{model}:generateContent",
    ),
    recognises: |path| google::vertex::split(path, "google").is_some(),
    opaque_places: gemini::OPAQUE_PLACES,
    tools: gemini::tools,
    prepare,
    density: google::path::density,
    count_response: Some(gemini::count_response),
    refusals: google::error::REFUSALS,
    refuses_key: google::error::refuses_key,
    state: ProviderState::Named,
    conversation: gemini::CONVERSATION,
    turns: &["contents"],
    operation: "generate_content",
    ..Format::new("google_generate_content", &known::GOOGLE, read, |request| {
        let is_predict = matches!(request.path, Path::Around { after, .. } if after == ":predict");
        gemini::meter(if is_predict { predicted } else { gemini::read }, request)
    })
};

fn read(head: &Head<'_>, body: Bytes) -> Result<Call, Rejection> {
    let Some((before, rest)) = google::vertex::split(head.path, "google") else {
        return Err(super::body::bad_request("the path names no model"));
    };
    google::vertex::plain(&before)?;
    let target = google::path::target(rest, &VERBS)?;
    google::path::same_in_query(head.query, &target.model)?;
    gemini::call(before.into_owned(), target.model, target.verb, body)
}

fn prepare(call: &Call, to: &Destination<'_>) -> Result<Outbound, Rejection> {
    let Path::Around { before, after } = &call.path else {
        return Ok(call.outbound(to.model));
    };
    let before = google::vertex::filled(before, to)?;
    let model = super::body::path_segment(to.model);
    Ok(Outbound {
        path: Cow::Owned(format!("{before}{model}{after}")),
        body: gemini::renamed(call, to.model)?.apply(&call.body, None),
    })
}

/// Reads the predictions of an older model. A response without any is whole: pictures are left out
/// that Google's filters don't let through.
fn predicted(response: Part<'_>) -> Reading {
    let mut reading = gemini::read(response);
    reading.is_foreign = false;
    let predictions = list(response, "predictions");
    if predictions.clone().next().is_none() {
        reading.tokens.output = reading.tokens.output.or(Some(0));
    }
    let is_stored = |one: &Part<'_>| one.get("gcsUri").is_some_and(Part::is_text);
    reading.linked = predictions.clone().filter(is_stored).count() as u64;
    // Each of the texts that were embedded tells its own tokens.
    let of_text = |one: Part<'_>| counted(one.at("embeddings/statistics/token_count")?);
    let embedded = || sum(predictions.map(of_text));
    reading.tokens.input = reading.tokens.input.or_else(embedded);
    reading
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::corpus::{self, check, exchanges, metered};

    fn ask(path: &str, body: &str) -> Result<Call, Rejection> {
        corpus::ask(&FORMAT, path, body)
    }

    #[test]
    fn recorded_exchanges() {
        for exchange in exchanges!["predict", "generate"] {
            check(&exchange, |room| {
                gemini::meter(predicted, &metered(400, room))
            });
            let path = "/v1/projects/p/locations/r/publishers/google/models/m:predict";
            assert!(ask(path, exchange.request).is_ok(), "{}", exchange.name);
        }
    }

    #[test]
    fn only_the_model_and_what_stands_for_the_provider_change() {
        let to = Destination {
            model: "gemini-x",
            project: Some("own"),
            region: Some("us-east5"),
            flags: &[],
        };
        for (path, expected) in [
            (
                "/v1/projects/p/locations/r/publishers/google/models/m:generateContent",
                "/v1/projects/p/locations/r/publishers/google/models/gemini-x:generateContent",
            ),
            (
                "/v1beta1/projects/_aperture_auto_vertex_project_id_/locations/_aperture_auto_vertex_region_/publishers/google/models/m:streamGenerateContent",
                "/v1beta1/projects/own/locations/us-east5/publishers/google/models/gemini-x:streamGenerateContent",
            ),
            (
                "/v1beta1/publishers/google/models/m:countTokens",
                "/v1beta1/publishers/google/models/gemini-x:countTokens",
            ),
        ] {
            let body = r#"{"model":"projects/p/locations/r/publishers/google/models/m"}"#;
            let out = FORMAT.prepare(&ask(path, body).unwrap(), &to).unwrap();
            assert_eq!(out.path, expected);
            assert_eq!(
                out.body,
                r#"{"model":"projects/p/locations/r/publishers/google/models/gemini-x"}"#
            );
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let below = "locations/r/publishers/google/models";
        for (path, body, code) in [
            (format!("/v1/projects/../{below}/m:predict"), "{}", 400),
            (format!("/v1/projects/%2e%2e/{below}/m:predict"), "{}", 400),
            (format!("/v1/projects/p/{below}/../m:predict"), "{}", 400),
            (
                format!("/v1/projects/p/{below}/m:predict:predict"),
                "{}",
                400,
            ),
            (format!("/v1/projects/p/{below}/m:rawPredict"), "{}", 404),
            (
                format!("/v1/projects/p/{below}/m:predict"),
                r#"{"model":"n"}"#,
                400,
            ),
        ] {
            assert_eq!(
                ask(&path, body).unwrap_err().status.as_u16(),
                code,
                "{path}"
            );
        }
    }
}
