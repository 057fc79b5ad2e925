//! Usage as OpenAI's APIs and their look-alikes report it. There are two sets of words, an older
//! one (`prompt_tokens`, `completion_tokens`) and a newer one (`input_tokens`, `output_tokens`),
//! and servers that follow them add words and places of their own.

use serde_json::{Map, Value, json};

use crate::formats::Tokens;
use crate::formats::tree::{add_counts, count, highest, list, sum};

/// Counts of a report that lie deeper than their object: its details.
const INPUT_DETAILS: [&str; 2] = ["prompt_tokens_details", "input_tokens_details"];
const OUTPUT_DETAILS: [&str; 2] = ["completion_tokens_details", "output_tokens_details"];
/// Tokens of the prompt. The last two are Ollama's and llama.cpp's own.
const INPUT: [&str; 5] = [
    "prompt_tokens",
    "input_tokens",
    "prompt_token_count",
    "prompt_eval_count",
    "tokens_evaluated",
];
const OUTPUT: [&str; 6] = [
    "completion_tokens",
    "output_tokens",
    "generated_tokens",
    "completion_token_count",
    "eval_count",
    "tokens_predicted",
];
/// Tokens that the cache served: OpenAI, `DeepSeek`, Anthropic's words, others.
const CACHED: [&str; 7] = [
    "cached_tokens",
    "prompt_cache_hit_tokens",
    "cache_read_input_tokens",
    "cache_read_tokens",
    "cached_prompt_tokens",
    "num_cached_tokens",
    "cache_hit_tokens",
];
const WRITTEN: [&str; 4] = [
    "cache_write_tokens",
    "cache_creation_tokens",
    "cache_creation_input_tokens",
    "cache_write_input_tokens",
];
/// `LiteLLM` tells how long they live, as Anthropic does.
const LIVES: [&str; 2] = ["cache_creation_token_details", "cache_creation"];
const REASONING: [&str; 2] = ["reasoning_tokens", "thinking_tokens"];

/// What a report tells.
#[derive(Clone, Copy, Default)]
pub(in crate::formats) struct Usage {
    pub tokens: Tokens,
    /// All tokens, which some APIs tell alone.
    pub total: Option<u64>,
    /// Tokens of the completion as the report states them, not as its total implies.
    pub written: Option<u64>,
}

impl Usage {
    /// Reads a response, wherever it has its usage.
    pub(in crate::formats) fn of_response(response: &Map<String, Value>) -> Self {
        let of = |from: Option<&Value>, key: &str| from?.get(key)?.as_object().map(Self::of);
        let usage = response.get("usage");
        let of_usage = usage.and_then(Value::as_object).map(Self::of);
        let mut found = of_usage.unwrap_or_default();
        // Groq, and Moonshot in the choice that ends the response.
        found.fill(of(response.get("x_groq"), "usage"));
        let choices = list(response, "choices").iter();
        let of_choices = choices.filter_map(|choice| of(Some(choice), "usage"));
        found.fill(of_choices.reduce(Self::beside));
        // Cohere bills other counts than those that its models see.
        // Cloudflare wraps its responses.
        found.fill(of(response.get("result"), "usage"));
        for from in [usage, response.get("meta")] {
            found.fill(of(from, "billed_units"));
            found.fill(of(from, "tokens"));
        }
        let of_timings = response.get("timings").and_then(Value::as_object);
        found.fill(of_timings.map(timings));
        found.fill(Some(Self::of(response)));
        found
    }

    /// Reads an object `usage`.
    fn of(usage: &Map<String, Value>) -> Self {
        let details = |keys: &[&str]| {
            let mut all = Map::new();
            for details in keys.iter().filter_map(|key| usage.get(*key)?.as_object()) {
                add_counts(&mut all, details.clone());
            }
            all
        };
        let (input, output) = (details(&INPUT_DETAILS), details(&OUTPUT_DETAILS));
        let either =
            |of: &Map<String, Value>, keys: &[&str]| highest(of, keys).max(highest(usage, keys));
        let lives = |key: &str| {
            let places = LIVES
                .iter()
                .flat_map(|place| [input.get(*place), usage.get(*place)]);
            places
                .flatten()
                .filter_map(|lives| count(lives.get(key)?))
                .max()
        };
        let mut tokens = Tokens {
            input: highest(usage, &INPUT),
            output: highest(usage, &OUTPUT),
            cached: either(&input, &CACHED),
            cache_write: either(&input, &WRITTEN),
            cache_write_5m: lives("ephemeral_5m_input_tokens"),
            cache_write_1h: lives("ephemeral_1h_input_tokens"),
            reasoning: either(&output, &REASONING),
            image_input: highest(&input, &["image_tokens"]),
            image_output: highest(&output, &["image_tokens"]),
            ..Tokens::default()
        };
        let total = highest(usage, &["total_tokens"]);
        let written = tokens.output;
        complete(&mut tokens, total);
        Self {
            tokens,
            total,
            written,
        }
    }

    /// The usage of two choices that were written for the same prompt.
    fn beside(self, other: Self) -> Self {
        let (one, two) = (self.tokens, other.tokens);
        let tokens = Tokens {
            input: one.input.max(two.input),
            cached: one.cached.max(two.cached),
            cache_write: one.cache_write.max(two.cache_write),
            cache_write_5m: one.cache_write_5m.max(two.cache_write_5m),
            cache_write_1h: one.cache_write_1h.max(two.cache_write_1h),
            image_input: one.image_input.max(two.image_input),
            output: sum([one.output, two.output]),
            reasoning: sum([one.reasoning, two.reasoning]),
            image_output: sum([one.image_output, two.image_output]),
            ..Tokens::default()
        };
        Self {
            tokens,
            total: sum([self.total, other.total]),
            written: sum([self.written, other.written]),
        }
    }

    /// Takes from another place what is not known yet.
    fn fill(&mut self, other: Option<Self>) {
        let Some(Self {
            tokens,
            total,
            written,
        }) = other
        else {
            return;
        };
        let held = &mut self.tokens;
        held.input = held.input.or(tokens.input);
        held.output = held.output.or(tokens.output);
        held.cached = held.cached.or(tokens.cached);
        held.cache_write = held.cache_write.or(tokens.cache_write);
        held.reasoning = held.reasoning.or(tokens.reasoning);
        self.total = self.total.or(total);
        self.written = self.written.or(written);
    }
}

/// Puts the tokens where they belong that a report counts beside the prompt and the completion.
///
/// Most count cached tokens as part of the prompt, and reasoning as part of the completion. xAI
/// and Google count reasoning apart, and some that pass on Anthropic's counts do so with the
/// cache: the total, or a part that is larger than its whole, says so.
fn complete(tokens: &mut Tokens, total: Option<u64>) {
    let (cached, cache_write) = (tokens.cached.unwrap_or(0), tokens.cache_write.unwrap_or(0));
    let cache = cached.saturating_add(cache_write);
    let reasoning = tokens.reasoning.unwrap_or(0);
    match (tokens.input, tokens.output, total) {
        // A total that is that of the prompt leaves nothing for a completion.
        (Some(input), None, Some(total)) if total >= input => tokens.output = Some(total - input),
        (None, Some(output), Some(total)) => tokens.input = total.checked_sub(output),
        (Some(input), Some(output), total) => {
            let sum = input.saturating_add(output);
            let beside = total.unwrap_or(0).saturating_sub(sum);
            let of_cache = beside.saturating_sub(reasoning);
            let cache = if cache > input || (of_cache > 0 && of_cache == cache) {
                cache
            } else {
                0
            };
            let rest = beside.saturating_sub(cache);
            let rest = if reasoning > output {
                rest.max(reasoning)
            } else {
                rest
            };
            tokens.input = Some(input.saturating_add(cache));
            tokens.output = Some(output.saturating_add(rest));
        }
        _ => {}
    }
}

/// llama.cpp counts what it has computed, apart from what it had.
fn timings(timings: &Map<String, Value>) -> Usage {
    let of = |key: &str| count(timings.get(key)?);
    let cached = of("cache_n");
    let tokens = Tokens {
        input: of("prompt_n").map(|input| input.saturating_add(cached.unwrap_or(0))),
        output: of("predicted_n"),
        cached,
        ..Tokens::default()
    };
    Usage {
        written: tokens.output,
        tokens,
        total: None,
    }
}

/// Whether a report of a stream tells what was written up to here.
pub(in crate::formats) fn counts_output(usage: &Map<String, Value>) -> bool {
    Usage::of(usage).tokens.output.is_some()
}

/// What the choices of a stream have counted, each for itself.
#[derive(Default)]
pub(in crate::formats) struct OfChoices(Vec<(u64, Map<String, Value>)>);

impl OfChoices {
    /// Takes the usage out of choices. Returns whether one tells what was written up to here.
    fn take(&mut self, choices: &mut [Value]) -> bool {
        let mut counts = false;
        for choice in choices.iter_mut().filter_map(Value::as_object_mut) {
            let Some(Value::Object(reported)) = choice.remove("usage") else {
                continue;
            };
            counts |= counts_output(&reported);
            let index = choice.get("index").and_then(Value::as_u64).unwrap_or(0);
            let has_room = self.0.len() < MAX_CHOICES;
            let held = self.0.iter_mut().find(|(of, _)| *of == index);
            match held {
                Some((_, held)) => add_counts(held, reported),
                None if has_room => {
                    let mut held = Map::new();
                    add_counts(&mut held, reported);
                    self.0.push((index, held));
                }
                None => {}
            }
        }
        counts
    }

    /// Puts it back into the choices of the response.
    pub(in crate::formats) fn put(&mut self, choices: &mut Vec<Value>) {
        for (index, usage) in std::mem::take(&mut self.0) {
            let held = choices
                .iter_mut()
                .filter_map(Value::as_object_mut)
                .find(|held| held.get("index").and_then(Value::as_u64).unwrap_or(0) == index);
            match held {
                Some(held) => {
                    held.insert("usage".to_owned(), Value::Object(usage));
                }
                // There was no room for the choice.
                None => choices.push(json!({ "index": index, "usage": usage })),
            }
        }
    }
}

/// Choices whose usage is followed.
const MAX_CHOICES: usize = 128;

/// The usage that a chunk of a stream tells.
pub(in crate::formats) struct ChunkUsage {
    /// That of the whole response, if the chunk has one.
    pub usage: Option<Map<String, Value>>,
    /// Whether it, or a choice, tells what was written up to here.
    pub counts_output: bool,
}

/// Takes the usage out of a chunk of a stream and out of its choices, wherever it stands.
pub(in crate::formats) fn take(
    chunk: &mut Map<String, Value>,
    choices: &mut [Value],
    of_choices: &mut OfChoices,
) -> ChunkUsage {
    let mut usage = Map::new();
    if chunk.get("usage").is_some_and(Value::is_object)
        && let Some(Value::Object(reported)) = chunk.remove("usage")
    {
        add_counts(&mut usage, reported);
    }
    if let Some(Value::Object(reported)) = chunk.get("x_groq").and_then(|groq| groq.get("usage")) {
        add_counts(&mut usage, reported.clone());
    }
    let counts_output = of_choices.take(choices) | counts_output(&usage);
    ChunkUsage {
        usage: (!usage.is_empty()).then_some(usage),
        counts_output,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(response: Value) -> Tokens {
        let Value::Object(response) = response else {
            unreachable!()
        };
        Usage::of_response(&response).tokens
    }

    fn tokens(usage: &Value) -> Tokens {
        read(json!({ "usage": usage }))
    }

    #[test]
    fn both_sets_of_words_say_the_same() {
        let older = json!({"prompt_tokens":9,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":4},
            "completion_tokens_details":{"reasoning_tokens":2}});
        let newer = older
            .to_string()
            .replace("prompt", "input")
            .replace("completion", "output");
        let reported = tokens(&older);
        assert_eq!((reported.input, reported.cached), (Some(9), Some(4)));
        assert_eq!((reported.output, reported.reasoning), (Some(5), Some(2)));
        assert_eq!(tokens(&serde_json::from_str(&newer).unwrap()), reported);
    }

    #[test]
    fn a_surprise_loses_only_itself() {
        for odd in ["7", "null", "[]", r#"{"cached_tokens":-1}"#, r#""x""#] {
            let odd: Value = serde_json::from_str(odd).unwrap();
            let reported = tokens(&json!({"prompt_tokens":9,"prompt_tokens_details":odd}));
            assert_eq!((reported.input, reported.cached), (Some(9), None), "{odd}");
        }
        assert_eq!(tokens(&json!([1])), Tokens::default());
    }

    /// A dialect, its tokens of the prompt and of the completion, and its report.
    const DIALECTS: &str = r#"
OpenAI; 20; 100; {"prompt_tokens":20,"completion_tokens":100,"total_tokens":120,"completion_tokens_details":{"reasoning_tokens":80}}
xAI; 32; 103; {"prompt_tokens":32,"completion_tokens":9,"total_tokens":135,"completion_tokens_details":{"reasoning_tokens":94}}
xAI, no reasoning; 32; 9; {"prompt_tokens":32,"completion_tokens":9,"total_tokens":41,"completion_tokens_details":{"reasoning_tokens":0}}
xAI, with a cache; 125; 148; {"prompt_tokens":125,"completion_tokens":48,"total_tokens":273,"prompt_tokens_details":{"cached_tokens":98},"completion_tokens_details":{"reasoning_tokens":100}}
Google's OpenAI form; 20; 603; {"prompt_tokens":20,"completion_tokens":198,"total_tokens":623}
Google, nothing but thoughts; 21; 60; {"prompt_tokens":21,"total_tokens":81}
Responses; 32; 103; {"input_tokens":32,"output_tokens":9,"total_tokens":135,"output_tokens_details":{"reasoning_tokens":94}}
Perplexity's research; 19; 1100; {"prompt_tokens":19,"completion_tokens":200,"total_tokens":219,"reasoning_tokens":900}
cache inside; 100; 3; {"prompt_tokens":100,"completion_tokens":3,"total_tokens":103,"cache_read_input_tokens":60,"cache_creation_input_tokens":30}
cache apart, by the total; 190; 3; {"prompt_tokens":100,"completion_tokens":3,"total_tokens":193,"cache_read_input_tokens":60,"cache_creation_input_tokens":30}
cache apart, by its size; 70; 3; {"prompt_tokens":10,"completion_tokens":3,"total_tokens":13,"cache_read_input_tokens":60}
a total that is too low; 10; 3; {"prompt_tokens":10,"completion_tokens":3,"total_tokens":1}
no completion; 5; 0; {"prompt_tokens":5,"total_tokens":5}
sums beyond all bounds; 10; 3; {"prompt_tokens":10,"completion_tokens":3,"cached_tokens":18446744073709551615,"cache_write_tokens":5}
completion and total; 10; 3; {"completion_tokens":3,"total_tokens":13}
averages; 123; 12; {"prompt_tokens":123.2,"completion_tokens":12.0}
one name at zero; 8; 2; {"prompt_tokens":8,"input_tokens":0,"completion_tokens":0,"output_tokens":2}
"#;

    #[test]
    fn what_is_counted_apart_is_added_where_it_belongs() {
        for line in DIALECTS.trim().lines() {
            let [dialect, input, output, usage] = *line.split("; ").collect::<Vec<_>>() else {
                panic!("four columns: {line}")
            };
            let reported = tokens(&serde_json::from_str(usage).unwrap());
            let expected = (input.parse().ok(), output.parse().ok());
            assert_eq!((reported.input, reported.output), expected, "{dialect}");
        }
    }

    #[test]
    fn each_name_of_the_caches_counts_is_known() {
        for (usage, cached, written) in [
            (json!({"cached_tokens":5}), Some(5), None),
            (
                json!({"prompt_cache_hit_tokens":5,"prompt_cache_miss_tokens":4}),
                Some(5),
                None,
            ),
            (
                json!({"cache_read_input_tokens":5,"cache_creation_input_tokens":6}),
                Some(5),
                Some(6),
            ),
            (
                json!({"prompt_tokens_details":{"cached_tokens":5,"cache_creation_tokens":6}}),
                Some(5),
                Some(6),
            ),
            (
                json!({"prompt_tokens_details":{"cached_tokens":5,"cache_write_tokens":6}}),
                Some(5),
                Some(6),
            ),
            (
                json!({"input_tokens_details":{"cache_read_input_tokens":5,"cache_creation_input_tokens":6}}),
                Some(5),
                Some(6),
            ),
            (
                json!({"prompt_tokens_details":{"cached_tokens":0},"cache_read_input_tokens":5}),
                Some(5),
                None,
            ),
            (
                json!({"cached_tokens":5.0,"cache_creation_tokens":"6"}),
                Some(5),
                Some(6),
            ),
        ] {
            let reported = tokens(&usage);
            assert_eq!(
                (reported.cached, reported.cache_write),
                (cached, written),
                "{usage}"
            );
        }
        let lives = json!({"prompt_tokens_details":{"cache_creation_tokens":9,
            "cache_creation_token_details":{"ephemeral_5m_input_tokens":4,"ephemeral_1h_input_tokens":5}}});
        let reported = tokens(&lives);
        assert_eq!(
            (reported.cache_write_5m, reported.cache_write_1h),
            (Some(4), Some(5))
        );
    }

    #[test]
    fn choices_that_count_for_themselves_are_added_up() {
        let one = json!({"prompt_tokens":19,"completion_tokens":5,"total_tokens":24});
        let two = json!({"prompt_tokens":19,"completion_tokens":9,"total_tokens":28});
        let reported = read(json!({ "choices": [{ "usage": one }, {}, { "usage": two }] }));
        assert_eq!((reported.input, reported.output), (Some(19), Some(14)));
    }

    #[test]
    fn usage_is_found_wherever_it_stands() {
        let usage = json!({"prompt_tokens":19,"completion_tokens":21,"total_tokens":40});
        for response in [
            json!({ "usage": usage }),
            json!({ "usage": null, "x_groq": { "id": "r", "usage": usage } }),
            json!({ "choices": [{}, { "usage": usage }] }),
            usage.clone(),
            json!({ "usage": { "billed_units": { "input_tokens": 19, "output_tokens": 21 }, "tokens": { "input_tokens": 200, "output_tokens": 30 } } }),
            json!({ "usage": {}, "meta": { "tokens": { "input_tokens": 19.0, "output_tokens": 21.0 } } }),
            json!({ "model": "m", "prompt_eval_count": 19, "eval_count": 21 }),
            json!({ "timings": { "prompt_n": 9, "cache_n": 10, "predicted_n": 21, "predicted_ms": 3.5 } }),
            json!({ "content": "x", "tokens_evaluated": 19, "tokens_predicted": 21 }),
        ] {
            let reported = read(response.clone());
            assert_eq!(
                (reported.input, reported.output),
                (Some(19), Some(21)),
                "{response}"
            );
        }
    }
}
