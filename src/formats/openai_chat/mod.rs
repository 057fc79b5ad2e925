//! OpenAI Chat Completions and its many look-alikes: `POST /v1/chat/completions`.

mod meter;

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

use super::body::{self, bad_request};
use super::meter::Assembling;
use super::offer;
use super::{
    Call, Chat, Flag, Format, Head, Offer, Path, ProviderState, Splice, known, openai, opening,
};
use crate::wire::{Rejection, json};

pub(in crate::formats) use meter::{Chunks, read};

/// Its path as listings and providers know it.
const ENDPOINT: &str = "/v1/chat/completions";

const KEYS: [&str; 7] = [
    "model",
    "stream",
    "stream_options",
    "messages",
    "max_tokens",
    "max_completion_tokens",
    "n",
];

/// OpenAI's chat, which a provider is asked in whose configuration names no format.
pub(super) static FLAG: Flag = Flag {
    name: "openai_chat",
    text: "OpenAI chat completions and their companions.",
    is_default: true,
    vendor: None,
};

/// OpenAI Chat Completions.
pub(super) static FORMAT: Format = Format {
    flags: &[&FLAG],
    endpoint: Some(ENDPOINT),
    paths: &[ENDPOINT],
    tools,
    refusals: openai::error::REFUSALS,
    state: ProviderState::Named,
    conversation: openai::transcript::CHAT,
    turns: &["messages"],
    export_name: "oai_chat",
    chat: Some(Chat {
        flag: &FLAG,
        name: "chat",
        rank: 0,
    }),
    ..Format::new("openai_chat", &known::CHAT, understand, |request| {
        let chunks = Chunks::new(request.hide_usage);
        Box::new(Assembling::new(chunks, read, request))
    })
};

fn understand(_: &Head<'_>, body: Bytes) -> Result<Call, Rejection> {
    let fields = body::scan(&body, &KEYS)?;
    let model = body::model(&body, fields.get(0))?;
    let stream = body::flag(&body, fields.get(1), "stream")?;
    let mut splice = Splice::at(fields.get(0));
    if stream {
        ask_for_usage(&body, fields.open, fields.get(2), &mut splice)?;
    }
    let opening = fields.get(3).and_then(|at| opening::of(None, &body[at]));
    let mut choices = known::choices(&body, &fields.members);
    choices.extend(known::models_of_tools(&body, &fields.members));
    Ok(Call {
        stream,
        choices,
        answer_limit: body::answer_limit(&body, [4, 5].map(|nth| fields.get(nth)), fields.get(6)),
        opening,
        path: Path::Fixed(Cow::Borrowed(ENDPOINT)),
        splice,
        ..Call::new(model, body)
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
    let mut keys = vec!["tools", "functions", "messages"];
    keys.extend(SWITCHES);
    keys.extend(TEMPLATES);
    offer::request(body, &keys, |key, at| match key {
        key if TEMPLATES.contains(&key) => templated(body, at, listed),
        "tools" => listed(at),
        "functions" => offer::tools(body, at, |function| function.text(&["name"])),
        "messages" => offer::within(body, at, "tools", listed),
        key => switched(body, at, key),
    })
}

/// Keys by which the tools of a provider are turned on: OpenAI's search, `OpenRouter`'s plugins, and
/// the searches of xAI, Qwen, Groq and Perplexity.
pub(in crate::formats) const SWITCHES: [&str; 7] = [
    "web_search_options",
    "plugins",
    "search_parameters",
    "enable_search",
    "search_options",
    "search_settings",
    "search_mode",
];

/// What servers give to the template of a prompt by name, in place of their own.
pub(in crate::formats) const TEMPLATES: [&str; 2] = ["chat_template_args", "chat_template_kwargs"];

/// The tools that one of [`TEMPLATES`] has, which `listed` knows.
pub(in crate::formats) fn templated(
    body: &[u8],
    at: Range<usize>,
    listed: impl Fn(Range<usize>) -> Offer,
) -> Offer {
    let keys = ["tools", "functions", "messages"];
    offer::object(body, at, &keys, |key, at| match key {
        "messages" => offer::within(body, at, "tools", &listed),
        _ => listed(at),
    })
}

/// The tool that one of [`SWITCHES`] turns on: a search of the web, or a plugin by its id.
pub(in crate::formats) fn switched(body: &[u8], at: Range<usize>, key: &str) -> Offer {
    match key {
        "plugins" => offer::tools(body, at, |plugin| {
            let id = plugin.text(&["id"])?.unwrap_or_default();
            Ok(Some(format!("plugin:{id}")))
        }),
        _ => offer::switch(body, at, "web_search"),
    }
}

/// Streams carry no usage unless asked (`stream_options.include_usage`); the gateway asks,
/// and hides the extra event from a caller who did not.
pub(in crate::formats) fn ask_for_usage(
    body: &[u8],
    open: usize,
    options: Option<Range<usize>>,
    splice: &mut Splice,
) -> Result<(), Rejection> {
    let Some(options) = options else {
        splice.edits.push((
            open..open,
            Cow::Borrowed("\"stream_options\":{\"include_usage\":true},"),
        ));
        splice.hide_usage = true;
        return Ok(());
    };
    if &body[options.clone()] == b"null" {
        let asked = Cow::Borrowed("{\"include_usage\":true}");
        splice.edits.push((options, asked));
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
            splice.edits.push((value, Cow::Borrowed("true")));
            splice.hide_usage = true;
        }
        None => {
            let text = if inner.members.is_empty() {
                "\"include_usage\":true"
            } else {
                "\"include_usage\":true,"
            };
            let at = options.start + inner.open;
            splice.edits.push((at..at, Cow::Borrowed(text)));
            splice.hide_usage = true;
        }
    }
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
