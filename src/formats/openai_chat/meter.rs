//! Chat completions, and the older ones, which come in the same chunks: put together again, and what
//! a completion tells.

use serde_json::{Map, Value, json};

use crate::formats::assembly::{Assembly, Seen};
use crate::formats::merge::merge;
use crate::formats::openai::usage::{self, OfChoices, Usage};
use crate::formats::room::Room;
use crate::formats::tokens::spoken;
use crate::formats::tree::{self, add_counts_at, elements, list, size, word};
use crate::formats::{Pass, Reading, ToolCall};
use crate::wire::sse;

/// Bytes of what counts, which needs no room.
const NEEDED: usize = 4096;

/// Chunks of a stream, each with a piece of one choice or several.
pub(in crate::formats) struct Chunks {
    hide_usage: bool,
    kind: &'static Kind,
    response: Option<Value>,
    of_choices: OfChoices,
}

/// What differs between chat and the older completions.
pub(in crate::formats) struct Kind {
    /// The `object` of the whole response, where that of a chunk is another.
    pub object: Option<&'static str>,
    /// Keys of a chunk that always have room, because they count or name a price.
    pub needed: &'static [&'static str],
    /// Bytes that the model wrote of a piece of a choice, and the piece as the whole response has
    /// it; `None` for what is no choice.
    pub piece: fn(Value) -> Option<(usize, Value)>,
}

/// Chat completions.
pub(in crate::formats) static CHAT: Kind = Kind {
    object: Some("chat.completion"),
    needed: &["usage", "timings", "service_tier", "model"],
    piece: |choice| {
        let Value::Object(mut choice) = choice else {
            return None;
        };
        let delta = choice.remove("delta").unwrap_or_default();
        let said = said(&delta);
        choice.entry("index").or_insert(0.into());
        choice.insert("message".to_owned(), delta);
        Some((said, Value::Object(choice)))
    },
};

impl Chunks {
    pub(in crate::formats) fn new(kind: &'static Kind, hide_usage: bool) -> Self {
        Self {
            hide_usage,
            kind,
            response: None,
            of_choices: OfChoices::default(),
        }
    }
}

impl Assembly for Chunks {
    fn add(&mut self, event: &sse::Event<'_>, room: &mut Room) -> Seen {
        if event.data == b"[DONE]" {
            return Seen::end();
        }
        match tree::object(event.data) {
            Some(chunk) => self.chunk(chunk, room),
            None => Seen::default(),
        }
    }

    fn marks(&self) -> &'static [&'static str] {
        &["choices"]
    }

    fn response(&mut self) -> Option<Value> {
        let mut response = self.response.take()?;
        let choices = response["choices"].as_array_mut()?;
        self.of_choices.put(choices);
        choices.sort_by_key(|choice| choice["index"].as_u64());
        for choice in choices {
            let calls = choice.pointer_mut("/message/tool_calls");
            // Only pieces of a stream need an index.
            for call in calls.and_then(Value::as_array_mut).into_iter().flatten() {
                if let Some(call) = call.as_object_mut() {
                    call.remove("index");
                }
            }
        }
        Some(response)
    }
}

impl Chunks {
    /// Takes in one chunk.
    pub(in crate::formats) fn chunk(
        &mut self,
        mut chunk: Map<String, Value>,
        room: &mut Room,
    ) -> Seen {
        let mut choices = match chunk.remove("choices") {
            Some(Value::Array(choices)) => choices,
            _ => Vec::new(),
        };
        let is_report = chunk.get("usage").is_some_and(Value::is_object);
        let reported = usage::take(&mut chunk, &mut choices, &mut self.of_choices);
        let mut seen = Seen {
            counted: reported.counts_output,
            // Not every server sends `[DONE]`.
            ends: choices.iter().any(|one| finish_reason(one).is_some()),
            ..Seen::default()
        };
        if is_report && choices.is_empty() && self.hide_usage {
            seen.pass = Pass::Hidden;
        }
        if let Some(object) = self.kind.object {
            chunk.insert("object".to_owned(), object.into());
        }
        let response = self
            .response
            .get_or_insert_with(|| json!({ "choices": [] }));
        for (key, value) in chunk {
            // Later chunks repeat these, or tell more.
            if let Some(held) = response.get_mut(&key) {
                if !value.is_null() {
                    *held = value;
                }
            } else if self.kind.needed.contains(&key.as_str()) && size(&value) < NEEDED
                || room.take(key.len() + size(&value))
            {
                response[key] = value;
            }
        }
        if let (Some(usage), Some(response)) = (reported.usage, response.as_object_mut()) {
            add_counts_at(response, "usage", usage);
        }
        let pieces = choices.into_iter().filter_map(self.kind.piece);
        let pieces = pieces.map(|(said, piece)| {
            seen.said += said as u64;
            piece
        });
        merge(&mut response["choices"], pieces.collect(), room);
        seen
    }
}

/// Bytes of a delta that the model wrote, under whatever key. A call has said something before it
/// has parameters.
fn said(delta: &Value) -> usize {
    let calls = delta.get("tool_calls").and_then(Value::as_array);
    let (mut plain, mut reasoning) = (calls.map_or(0, Vec::len), 0);
    for (key, value) in delta.as_object().into_iter().flatten() {
        match key.as_str() {
            // What the names of things are, and what repeats the rest in another form.
            "role" | "id" | "type" | "provider_specific_fields" => {}
            // Some servers give the same reasoning under several names.
            key if key.contains("reason") || key.contains("think") => {
                reasoning = reasoning.max(spoken(value));
            }
            "audio" => plain += spoken(&json!({ "audio": value })),
            _ => plain += spoken(value),
        }
    }
    plain + reasoning
}

/// Reads a completion.
pub(in crate::formats) fn read(completion: &Map<String, Value>) -> Reading {
    let usage = Usage::of_response(completion);
    let choices = list(completion, "choices");
    let calls = choices.iter().flat_map(|choice| {
        let message = &choice["message"];
        let calls = elements(&message["tool_calls"])
            .iter()
            .filter_map(tool_call);
        // The form from before there could be several.
        calls.chain(message.get("function_call").and_then(function))
    });
    Reading {
        tier: word(completion, "service_tier"),
        model: word(completion, "model"),
        finish_reason: choices.iter().rev().find_map(finish_reason),
        tool_calls: calls.collect(),
        ..Reading::of(completion, usage.tokens, usage.total)
    }
}

/// Why a choice ended; some servers send an empty reason until it does.
fn finish_reason(choice: &Value) -> Option<String> {
    let reason = choice.get("finish_reason")?.as_str()?;
    (!reason.is_empty()).then(|| reason.to_owned())
}

fn tool_call(call: &Value) -> Option<ToolCall> {
    if let Some(custom) = call.get("custom") {
        let input = || Value::from(text(custom, "input")).to_string();
        return ToolCall::of(custom.get("name"), input);
    }
    function(call.get("function")?)
}

fn function(function: &Value) -> Option<ToolCall> {
    ToolCall::of(function.get("name"), || {
        text(function, "arguments").to_owned()
    })
}

fn text<'v>(of: &'v Value, key: &str) -> &'v str {
    of[key].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::Meter;
    use crate::formats::assembly::Assembling;
    use crate::formats::corpus::feed;

    fn meter(hide: bool) -> Assembling<Chunks> {
        Assembling::new(
            Chunks::new(&CHAT, hide),
            read,
            &crate::formats::corpus::metered(400, 10_000),
        )
    }

    fn run(hide: bool, events: &[&str]) -> (Vec<Pass>, Reading) {
        let mut meter = meter(hide);
        let passed = events.iter().map(|data| feed(&mut meter, "", data));
        (passed.collect(), meter.finish())
    }

    #[test]
    fn a_stream_becomes_the_answer_that_would_have_come() {
        let events = [
            r#"{"id":"c","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":null},"finish_reason":null}]}"#,
            r#"{"id":"c","choices":[{"index":0,"delta":{"content":"h\u00e9"}}],"usage":null}"#,
            r#"{"id":"c","choices":[{"index":0,"delta":{"content":"y","tool_calls":[{"index":0,"id":"t","type":"function","function":{"name":"f","arguments":"{"}}]}}]}"#,
            r#"{"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"}"}}]}}]}"#,
            r#"{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#,
            r#"{"id":"c","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":2},"completion_tokens_details":{"reasoning_tokens":1}}}"#,
            "[DONE]",
        ];
        let (passed, reading) = run(true, &events);
        assert_eq!(passed[5], Pass::Hidden);
        assert_eq!(
            passed.iter().filter(|pass| **pass == Pass::Hidden).count(),
            1
        );
        let response: Value = serde_json::from_slice(&reading.response.clone().unwrap()).unwrap();
        assert_eq!(
            response,
            json!({"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,
                "message":{"role":"assistant","content":"héy","tool_calls":[
                    {"id":"t","type":"function","function":{"name":"f","arguments":"{}"}}]},
                "finish_reason":"tool_calls"}],
                "usage":{"prompt_tokens":7,"completion_tokens":3,
                    "prompt_tokens_details":{"cached_tokens":2},
                    "completion_tokens_details":{"reasoning_tokens":1}}})
        );
        let tokens = reading.tokens;
        assert_eq!((tokens.input, tokens.output), (Some(7), Some(3)));
        assert_eq!((tokens.cached, tokens.reasoning), (Some(2), Some(1)));
        assert!(!tokens.estimated);
        assert_eq!(reading.tool_calls[0].params, "{}");
        assert_eq!(reading.finish_reason.as_deref(), Some("tool_calls"));
        // The same response unstreamed reads the same.
        let mut whole = meter(false);
        whole.body(response.to_string().as_bytes());
        let whole = whole.finish();
        assert_eq!(
            (whole.tokens, whole.tool_calls),
            (reading.tokens, reading.tool_calls)
        );
        let (passed, _) = run(false, &events);
        assert!(passed.iter().all(|pass| *pass == Pass::Through));
    }

    #[test]
    fn an_interrupted_stream_is_estimated_and_says_so() {
        let (_, reading) = run(
            true,
            &[
                r#"{"choices":[{"delta":{"content":"a"}}]}"#,
                r#"{"choices":[{"delta":{"tool_calls":[{"index":1,"function":{"name":"f"}}]}}]}"#,
            ],
        );
        assert_eq!(
            (reading.tokens.input, reading.tokens.output),
            (Some(100), Some(2))
        );
        assert!(reading.tokens.estimated);
        assert_eq!(reading.tool_calls.len(), 1);
    }

    #[test]
    fn a_stream_in_a_dialect_reads_like_the_others() {
        let said = r#"{"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":""}]}"#;
        let usage = r#"{"prompt_tokens":19,"completion_tokens":21,"total_tokens":40}"#;
        let zeros = r#"{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}"#;
        let end = |more: &str, choice: &str| {
            format!(
                r#"{{"choices":[{{"index":0,"delta":{{}},"finish_reason":"stop"{choice}}}]{more}}}"#
            )
        };
        for (server, events) in [
            ("Moonshot", vec![end("", &format!(r#","usage":{usage}"#))]),
            (
                "Groq",
                vec![end(
                    &format!(r#","x_groq":{{"id":"r","usage":{usage}}}"#),
                    "",
                )],
            ),
            (
                "in each chunk",
                vec![
                    end(&format!(r#","usage":{usage}"#), ""),
                    format!(r#"{{"choices":[],"usage":{zeros}}}"#),
                ],
            ),
            (
                "twice in one",
                vec![end(
                    &format!(r#","usage":{usage},"usage":null,"id":"a","id":"b""#),
                    "",
                )],
            ),
            (
                "Ollama",
                vec![end(r#","prompt_eval_count":19,"eval_count":21"#, "")],
            ),
            (
                "llama.cpp",
                vec![end(r#","timings":{"prompt_n":19,"predicted_n":21}"#, "")],
            ),
            (
                "half a pair",
                vec![
                    r#"{"choices":[{"index":0,"delta":{"content":"x\ud83d"}}]}"#.to_owned(),
                    end(&format!(r#","usage":{usage}"#), ""),
                ],
            ),
        ] {
            let mut all = vec![said];
            all.extend(events.iter().map(String::as_str));
            all.push("[DONE]");
            let (_, reading) = run(false, &all);
            let tokens = reading.tokens;
            assert_eq!(
                (tokens.input, tokens.output),
                (Some(19), Some(21)),
                "{server}"
            );
            assert!(!tokens.estimated, "{server}");
            assert_eq!(reading.finish_reason.as_deref(), Some("stop"), "{server}");
            let mut whole = meter(false);
            whole.body(&reading.response.unwrap());
            assert_eq!(whole.finish().tokens, tokens, "{server}, unstreamed");
        }
    }

    #[test]
    fn an_empty_reason_is_no_end() {
        let mut meter = meter(false);
        let data = r#"{"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":""}]}"#;
        feed(&mut meter, "", data);
        assert!(!meter.is_complete());
    }

    #[test]
    fn an_explicit_zero_stays_zero_and_junk_is_unknown() {
        let mut whole = meter(false);
        whole.body(br#"{"choices":[],"usage":{"prompt_tokens":0,"completion_tokens":0}}"#);
        assert_eq!(whole.finish().tokens.output, Some(0));
        for junk in ["-1", "1e99", "\"x\"", "null", "{}", "true"] {
            let mut whole = meter(false);
            let body = format!(r#"{{"usage":{{"prompt_tokens":{junk},"completion_tokens":4}}}}"#);
            whole.body(body.as_bytes());
            let tokens = whole.finish().tokens;
            assert_eq!((tokens.input, tokens.output), (None, Some(4)), "{junk}");
        }
    }
}
