//! OpenAI Chat Completions and its many look-alikes: `POST /v1/chat/completions`.

mod attached;
mod meter;
mod translate;

use bytes::Bytes;

use super::assembly::Assembling;
use super::body::{self, bad_request};
use super::offer;
use super::{
    Call, Chat, Flag, Format, Goes, Head, Offer, OpaquePlace, ProviderState, known, openai, opening,
};
use crate::wire::{Rejection, json};

pub(in crate::formats) use meter::{CHAT, Chunks, Kind, Says, read};

/// Its path as listings and providers know it.
const ENDPOINT: &str = "/v1/chat/completions";

/// OpenAI's chat, which a provider is asked in whose configuration names no format.
pub(super) static FLAG: Flag = Flag {
    name: "openai_chat",
    text: "OpenAI chat completions and their companions.",
    is_default: true,
    vendor: None,
};

/// What a model thought, where only its provider can read or check it: as `OpenRouter` has it, and as Iris
/// gives it to callers for whom it translates.
const OPAQUE_PLACES: &[OpaquePlace] = &[
    OpaquePlace {
        path: "messages.*.reasoning_details.*.data",
        kinds: &["reasoning.encrypted"],
        goes: Goes::Element,
    },
    OpaquePlace {
        path: "messages.*.reasoning_details.*.signature",
        kinds: &["reasoning.summary", "reasoning.text"],
        goes: Goes::Element,
    },
];

/// OpenAI Chat Completions.
pub(super) static FORMAT: Format = Format {
    flags: &[&FLAG],
    endpoint: Some(ENDPOINT),
    paths: &[ENDPOINT],
    tools,
    with_model: |_, body, model| body::with_model(body, model),
    refusals: openai::error::REFUSALS,
    opaque_places: OPAQUE_PLACES,
    state: ProviderState::Named,
    conversation: openai::transcript::CHAT,
    turns: &["messages"],
    codec: Some(&translate::CODEC),
    delivery_keys: &["stream", "stream_options"],
    attaching: Some(attached::ATTACHING),
    export_name: "oai_chat",
    chat: Some(Chat {
        flag: &FLAG,
        name: "chat",
        rank: 0,
    }),
    ..Format::new("openai_chat", &known::CHAT, understand, |request| {
        let chunks = Chunks::new(&CHAT, request.hide_usage);
        Box::new(Assembling::new(chunks, read, request))
    })
};

fn understand(_: &Head<'_>, body: Bytes) -> Result<Call, Rejection> {
    let keys = [
        "model",
        "stream",
        "stream_options",
        "messages",
        "max_tokens",
        "max_completion_tokens",
        "n",
    ];
    let (mut call, fields) = Call::of_json(ENDPOINT, body, &keys)?;
    if call.stream {
        ask_for_usage(&mut call, &fields, 2)?;
    }
    call.add_models_of_tools(&fields);
    let value = |nth| call.value(&fields, nth);
    Ok(Call {
        answer_limit: body::answer_limit([value(4), value(5)], value(6)),
        opening: opening::of(None, value(3)),
        ..call
    })
}

/// Functions and custom tools by their name, others by their type.
fn tools(body: &[u8]) -> Offer {
    let listed = |at| {
        offer::tools(body, at, |tool| match tool.text(&["type"])?.as_deref() {
            None | Some("function") => tool.agreed(&[&["function", "name"], &["name"]]),
            Some("custom") => tool.agreed(&[&["custom", "name"], &["name"]]),
            Some(kind) => Ok(Some(kind.to_owned())),
        })
    };
    let keys = ["functions", "messages"];
    offer::of_servers(body, 0..body.len(), &keys, listed, |key, at| match key {
        "functions" => offer::tools(body, at, |function| function.text(&["name"])),
        _ => offer::within(body, at, "tools", listed),
    })
}

/// Streams carry no usage unless asked (`stream_options.include_usage`); the gateway asks,
/// and hides the extra event from a caller who did not. The options are the value of the key `nth`.
pub(in crate::formats) fn ask_for_usage(
    call: &mut Call,
    fields: &json::Fields,
    nth: usize,
) -> Result<(), Rejection> {
    let body = &call.body;
    let (at, text) = match fields.get(nth) {
        None => {
            let asked = "\"stream_options\":{\"include_usage\":true},";
            (fields.open..fields.open, asked)
        }
        Some(options) if &body[options.clone()] == b"null" => (options, "{\"include_usage\":true}"),
        Some(options) => {
            let inner =
                json::scan(&body[options.clone()], &["include_usage"]).map_err(|error| {
                    bad_request(format!("`stream_options` is not acceptable: {error}"))
                })?;
            match inner.get(0).map(|at| body::inside(&options, at)) {
                Some(value) if &body[value.clone()] == b"true" => return Ok(()),
                Some(value) => (value, "true"),
                None => {
                    let at = options.start + inner.open;
                    let text = if inner.members.is_empty() {
                        "\"include_usage\":true"
                    } else {
                        "\"include_usage\":true,"
                    };
                    (at..at, text)
                }
            }
        }
    };
    call.splice.edits.push((at, text.into()));
    call.splice.hide_usage = true;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::corpus;

    fn read(body: &str) -> Result<Call, Rejection> {
        corpus::ask(&FORMAT, ENDPOINT, body)
    }

    fn outbound(body: &str, model: &str) -> String {
        let out = read(body).unwrap().outbound(model);
        String::from_utf8(out.body.to_vec()).unwrap()
    }

    #[test]
    fn recorded_exchanges() {
        let all = corpus::exchanges!("text", "several", "tools", "refused", "local", "broken_off",);
        for exchange in &all {
            let call = read(exchange.request).unwrap();
            corpus::check(exchange, |room| FORMAT.meter(&call.metered(room)));
        }
    }

    #[test]
    fn a_body_that_needs_nothing_is_the_same_bytes() {
        let call = read(r#"{ "model":"m",  "messages":[] }"#).unwrap();
        let out = call.outbound("m");
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
            assert_eq!(rejection.status, http::StatusCode::BAD_REQUEST, "{body}");
        }
    }
}
