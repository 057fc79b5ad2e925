//! OpenAI's older completions: `POST /v1/completions`.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::{Value, json};

use super::merge::{merge, size};
use super::meter::{Assembling, Assembly, Room, Seen, is_response, spoken};
use super::openai::usage::{self, OfChoices, Usage};
use super::tree::{self, add_counts_at};
use super::{
    Call, Format, Head, Pass, Path, Reading, Splice, body, known, openai, openai_chat, opening,
};
use crate::wire::{Rejection, sse};

const ENDPOINT: &str = "/v1/completions";

const KEYS: [&str; 6] = [
    "model",
    "stream",
    "stream_options",
    "prompt",
    "max_tokens",
    "n",
];

/// OpenAI's completions.
pub(super) static FORMAT: Format = Format {
    flags: &[&openai_chat::FLAG],
    paths: &[ENDPOINT],
    refusals: openai::error::REFUSALS,
    conversation: openai::transcript::COMPLETIONS,
    operation: "text_completion",
    export_name: "oai_completions",
    ..Format::new(
        "openai_completions",
        &known::COMPLETIONS,
        understand,
        |request| {
            let chunks = Chunks {
                hide_usage: request.hide_usage,
                answer: None,
                of_choices: OfChoices::default(),
            };
            Box::new(Assembling::new(chunks, read, request).unmarked())
        },
    )
};

fn understand(_: &Head<'_>, body: Bytes) -> Result<Call, Rejection> {
    let fields = body::scan(&body, &KEYS)?;
    let model = body::model(&body, fields.get(0))?;
    let stream = body::flag(&body, fields.get(1), "stream")?;
    let mut splice = Splice::at(fields.get(0));
    if stream {
        openai_chat::ask_for_usage(&body, fields.open, fields.get(2), &mut splice)?;
    }
    Ok(Call {
        stream,
        choices: known::choices(&body, &fields.members),
        answer_limit: body::answer_limit(&body, [fields.get(4), None], fields.get(5)),
        opening: fields.get(3).and_then(|at| opening::of(None, &body[at])),
        path: Path::Fixed(Cow::Borrowed(ENDPOINT)),
        splice,
        ..Call::new(model, body)
    })
}

/// Chunks of a stream: each is an answer of its own, with a piece of the text.
struct Chunks {
    hide_usage: bool,
    answer: Option<Value>,
    of_choices: OfChoices,
}

impl Assembly for Chunks {
    fn add(&mut self, event: &sse::Event<'_>, room: &mut Room) -> Seen {
        if event.data == b"[DONE]" {
            return Seen {
                ends: true,
                ..Seen::default()
            };
        }
        let Some(mut chunk) = tree::object(event.data) else {
            return Seen::default();
        };
        let mut choices = chunk.remove("choices").unwrap_or_default();
        let is_report = chunk.get("usage").is_some_and(Value::is_object);
        let list = choices.as_array_mut().map(Vec::as_mut_slice);
        let list = list.unwrap_or_default();
        let told = usage::take(&mut chunk, list, &mut self.of_choices);
        let mut seen = Seen {
            counted: told.counts_output,
            ..Seen::default()
        };
        if is_report && list.is_empty() && self.hide_usage {
            seen.pass = Pass::Hidden;
        }
        for choice in list.iter() {
            let parts = choice.as_object().into_iter().flatten();
            let spoken = parts
                .filter(|(key, _)| {
                    !matches!(
                        key.as_str(),
                        "finish_reason" | "stop_reason" | "logprobs" | "prompt_logprobs"
                    )
                })
                .map(|(_, value)| spoken(value));
            seen.said += spoken.sum::<usize>() as u64;
            seen.ends |= choice["finish_reason"]
                .as_str()
                .is_some_and(|reason| !reason.is_empty());
        }
        let answer = self.answer.get_or_insert_with(|| json!({ "choices": [] }));
        for (key, value) in chunk {
            if let Some(held) = answer.get_mut(&key) {
                if !value.is_null() {
                    *held = value;
                }
            } else if matches!(key.as_str(), "usage" | "service_tier" | "model")
                && size(&value) < 4096
                || room.take(key.len() + size(&value))
            {
                answer[key] = value;
            }
        }
        if let (Some(usage), Some(answer)) = (told.usage, answer.as_object_mut()) {
            add_counts_at(answer, "usage", usage);
        }
        if choices.is_array() {
            merge(&mut answer["choices"], choices, room);
        }
        seen
    }

    fn marks(&self) -> &'static [&'static str] {
        &["choices"]
    }

    fn answer(&mut self) -> Option<Value> {
        let mut answer = self.answer.take()?;
        let choices = answer["choices"].as_array_mut()?;
        self.of_choices.put(choices);
        choices.sort_by_key(|choice| choice["index"].as_u64());
        Some(answer)
    }
}

fn read(body: &[u8]) -> Reading {
    let Some(completion) = tree::object(body) else {
        return Reading::foreign();
    };
    let word = |key: &str| Some(completion.get(key)?.as_str()?.to_owned());
    let usage = Usage::of_response(&completion);
    let choices = completion.get("choices").and_then(Value::as_array);
    let reasons = choices.into_iter().flatten().rev();
    Reading {
        tokens: usage.tokens,
        total: usage.total_alone(),
        tier: word("service_tier"),
        model: word("model"),
        is_foreign: !is_response(&completion),
        finish_reason: reasons
            .filter_map(|one| one["finish_reason"].as_str())
            .find(|reason| !reason.is_empty())
            .map(str::to_owned),
        ..Reading::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::{Meter, corpus};

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
        let chunks = Chunks {
            hide_usage: true,
            answer: None,
            of_choices: OfChoices::default(),
        };
        let mut meter = Assembling::new(chunks, read, &corpus::metered(40, 1000));
        let passed: Vec<Pass> = events
            .iter()
            .map(|data| {
                meter.event(&sse::Event {
                    name: b"",
                    data: data.as_bytes(),
                })
            })
            .collect();
        assert_eq!(passed, [Pass::Through, Pass::Through, Pass::Hidden]);
        let streamed = meter.finish();
        assert_eq!(streamed.finish_reason.as_deref(), Some("length"));
        assert_eq!(
            (streamed.tokens.input, streamed.tokens.output),
            (Some(4), Some(2))
        );
        let answer: Value = serde_json::from_slice(&streamed.response.unwrap()).unwrap();
        assert_eq!(answer["choices"][0]["text"], "Once upon");
    }
}
