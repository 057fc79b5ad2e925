//! OpenAI's older completions: `POST /v1/completions`.

use bytes::Bytes;
use serde_json::Value;

use super::assembly::Assembling;
use super::openai_chat::{self, Chunks, Kind, Says};
use super::tokens::spoken;
use super::{Call, Format, Head, body, known, openai, opening};
use crate::wire::Rejection;

const ENDPOINT: &str = "/v1/completions";

/// OpenAI's completions.
pub(super) static FORMAT: Format = Format {
    flags: &[&openai_chat::FLAG],
    paths: &[ENDPOINT],
    with_model: |_, body, model| body::with_model(body, model),
    refusals: openai::error::REFUSALS,
    conversation: openai::transcript::COMPLETIONS,
    texts: &["prompt"],
    operation: "text_completion",
    export_name: "oai_completions",
    ..Format::new("openai_completions", &known::COMPLETIONS, read, |request| {
        let chunks = Chunks::new(&KIND, request.hide_usage);
        Box::new(Assembling::new(chunks, openai_chat::read, request).unmarked())
    })
};

/// Each chunk is a response of its own, with a piece of the text.
pub(super) static KIND: Kind = Kind {
    object: None,
    needed: &["usage", "service_tier", "model"],
    piece: |choice| Some((said(&choice), choice)),
    texts: None,
    says: |key| match key {
        "finish_reason" | "stop_reason" | "logprobs" | "prompt_logprobs" => Says::Nothing,
        _ => Says::Plain,
    },
};

fn said(choice: &Value) -> usize {
    let parts = choice.as_object().into_iter().flatten();
    let texts = parts.filter(|(key, _)| matches!((KIND.says)(key), Says::Plain));
    texts.map(|(_, value)| spoken(value)).sum()
}

fn read(_: &Head<'_>, body: Bytes) -> Result<Call, Rejection> {
    let keys = [
        "model",
        "stream",
        "stream_options",
        "prompt",
        "max_tokens",
        "n",
    ];
    let (mut call, fields) = Call::of_json(ENDPOINT, body, &keys)?;
    if call.stream {
        openai_chat::ask_for_usage(&mut call, &fields, 2)?;
    }
    let value = |nth| call.value(&fields, nth);
    Ok(Call {
        answer_limit: body::answer_limit([value(4), None], value(5)),
        opening: opening::of(None, value(3)),
        ..call
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::{Meter, Pass, corpus};

    #[test]
    fn recorded_exchanges() {
        let [exchange] = &corpus::exchanges!("text");
        let call = corpus::ask(&FORMAT, ENDPOINT, exchange.request).unwrap();
        corpus::check(exchange, |room| FORMAT.meter(&call.metered(room)));
    }

    #[test]
    fn a_stream_reads_like_the_answer() {
        let chunk = |text: &str, rest: &str| {
            format!(
                r#"{{"id":"c","object":"text_completion","choices":[{{"index":0,"text":"{text}"{rest}}}]}}"#
            )
        };
        let events = [
            chunk("Once ", ""),
            chunk("upon", r#","finish_reason":"length""#),
            r#"{"id":"c","object":"text_completion","choices":[],"usage":{"prompt_tokens":4,"completion_tokens":2}}"#.to_owned(),
        ];
        let chunks = Chunks::new(&KIND, true);
        let mut meter = Assembling::new(chunks, openai_chat::read, &corpus::metered(40, 1000));
        let passed = events
            .each_ref()
            .map(|data| corpus::feed(&mut meter, "", data));
        assert_eq!(passed, [Pass::Through, Pass::Through, Pass::Hidden]);
        let streamed = meter.finish();
        assert_eq!(streamed.finish_reason.as_deref(), Some("length"));
        assert_eq!(
            (streamed.tokens.input, streamed.tokens.output),
            (Some(4), Some(2))
        );
        let response: Value = serde_json::from_slice(&streamed.response.unwrap()).unwrap();
        assert_eq!(response["choices"][0]["text"], "Once upon");
    }
}
