//! Vertex, Anthropic's models:
//! `POST /v1/projects/PROJECT/locations/REGION/publishers/anthropic/models/MODEL:rawPredict`,
//! `:streamRawPredict`, and `count-tokens:rawPredict`, whose body names the model. Bodies and
//! answers are Anthropic's own; refusals are Google's, and errors in a stream Anthropic's, as
//! those who read them expect.

use std::borrow::Cow;

use bytes::Bytes;

use super::anthropic_messages as anthropic;
use super::body::{self, bad_request};
use super::{
    Call, Destination, Flag, Format, Head, Outbound, Path, ProviderState, Refusals, Splice, google,
    known, opening,
};
use crate::base::money::CostBasis;
use crate::wire::Rejection;

/// Methods of a model that are relayed.
const VERBS: [&str; 2] = ["rawPredict", "streamRawPredict"];
/// Stands in the path where a model would, to count the tokens of a request.
const COUNT: &str = "count-tokens";

static FLAG: Flag = Flag {
    name: "google_raw_predict",
    text: "Vertex, Anthropic's models.",
    is_default: false,
    vendor: Some(CostBasis::Vertex),
};

/// Vertex, Anthropic's models.
pub(super) static FORMAT: Format = Format {
    flags: &[&FLAG],
    endpoint: Some(
        "/v1/projects/{project}/locations/{region}/publishers/anthropic/models/{model}:rawPredict",
    ),
    recognises: |path| google::vertex::split(path, "anthropic").is_some(),
    opaque: anthropic::OPAQUE,
    opaque_places: anthropic::OPAQUE_PLACES,
    tools: anthropic::tools,
    prepare,
    count_response: Some(anthropic::count_response),
    refusals: Refusals {
        event: anthropic::REFUSALS.event,
        ..google::error::REFUSALS
    },
    state: ProviderState::Named,
    conversation: anthropic::CONVERSATION,
    turns: &["messages"],
    ..Format::new(
        "google_raw_predict",
        &known::RAW_PREDICT,
        read,
        anthropic::meter,
    )
};

fn read(head: &Head<'_>, body: Bytes) -> Result<Call, Rejection> {
    let Some((before, rest)) = google::vertex::split(head.path, "anthropic") else {
        return Err(bad_request("the path names no model"));
    };
    google::vertex::plain(&before)?;
    let target = google::path::target(rest, &VERBS)?;
    google::path::same_in_query(head.query, &target.model)?;
    let keys = ["model", "stream", "system", "messages", "max_tokens"];
    let fields = body::scan(&body, &keys)?;
    let stream = body::flag(&body, fields.get(1), "stream")?;
    let value = |nth| fields.get(nth).map(|at| &body[at]);
    let opening = opening::of(value(2), value(3));
    let answer_limit = body::count(value(4));
    let mut choices = known::choices(&body, &fields.members);
    choices.extend(known::models_of_tools(&body, &fields.members));
    let mut call = Call::new(target.model, Bytes::new());
    if call.model == COUNT {
        call.model = body::model(&body, fields.get(0))?;
        call.billed = false;
        call.splice = Splice::at(fields.get(0));
        call.path = Path::Fixed(Cow::Owned(format!("{before}{COUNT}:{}", target.verb)));
    } else {
        if fields.get(0).is_some() && body::model(&body, fields.get(0))? != call.model {
            return Err(google::path::two_models());
        }
        call.path = Path::Around {
            before: before.into_owned(),
            after: format!(":{}", target.verb),
        };
    }
    Ok(Call {
        stream: stream || target.verb == "streamRawPredict",
        choices,
        answer_limit,
        opening,
        body,
        ..call
    })
}

fn prepare(call: &Call, to: &Destination<'_>) -> Result<Outbound, Rejection> {
    let mut out = call.outbound(to.model);
    out.path = match &call.path {
        Path::Around { before, after } => {
            let before = google::vertex::filled(before, to)?;
            let model = body::path_segment(to.model);
            Cow::Owned(format!("{before}{model}{after}"))
        }
        Path::Fixed(path) => Cow::Owned(google::vertex::filled(path, to)?.into_owned()),
    };
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::corpus;

    const BEFORE: &str = "/v1/projects/_aperture_auto_vertex_project_id_/locations/_aperture_auto_vertex_region_/publishers/anthropic/models/";

    fn read(end: &str, body: &str) -> Result<Call, Rejection> {
        corpus::ask(&FORMAT, &format!("{BEFORE}{end}"), body)
    }

    fn sent(call: &Call, model: &str) -> Outbound {
        let to = Destination {
            model,
            project: Some("acme"),
            region: Some("europe-west1"),
            flags: &[],
        };
        FORMAT.prepare(call, &to).unwrap()
    }

    #[test]
    fn the_path_names_the_model_and_the_provider_its_project() {
        let body = r#"{"anthropic_version":"vertex-2023-10-16","messages":[]}"#;
        let call = read("claude@1:streamRawPredict", body).unwrap();
        assert!(call.stream && call.billed);
        let out = sent(&call, "claude@2");
        assert_eq!(
            out.path,
            "/v1/projects/acme/locations/europe-west1/publishers/anthropic/models/claude@2:streamRawPredict"
        );
        assert_eq!(out.body, body);
    }

    #[test]
    fn counting_names_the_model_in_the_body() {
        let call = read(
            "count-tokens:rawPredict",
            r#"{"model":"claude","messages":[]}"#,
        )
        .unwrap();
        assert_eq!((call.model.as_str(), call.billed), ("claude", false));
        let out = sent(&call, "claude@2");
        assert!(out.path.ends_with(
            "/acme/locations/europe-west1/publishers/anthropic/models/count-tokens:rawPredict"
        ));
        assert_eq!(out.body, r#"{"model":"claude@2","messages":[]}"#);
    }

    #[test]
    fn two_models_and_odd_paths_are_refused() {
        assert!(read("claude:rawPredict", r#"{"model":"other"}"#).is_err());
        assert!(read("claude:predict", "{}").is_err());
        assert!(read("..:rawPredict", "{}").is_err());
        assert!(read("count-tokens:rawPredict", "{}").is_err());
    }
}
