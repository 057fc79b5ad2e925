//! Usage as OpenAI's APIs and their look-alikes report it. There are two sets of words, an older
//! one (`prompt_tokens`, `completion_tokens`) and a newer one (`input_tokens`, `output_tokens`),
//! and servers that follow them add words and places of their own.

use serde_json::{Map, Value, json};

use crate::formats::Tokens;
use crate::formats::tree::{self, add_counts, counted, highest, sum};
use crate::wire::json::Part;

/// What a report counts by one of its words.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Input,
    Output,
    Cached,
    Written,
    Reasoning,
    Images,
    Sound,
    Total,
}

impl Word {
    /// Servers have several words for one count. `prompt_eval_count` and `tokens_evaluated` are Ollama's
    /// and llama.cpp's own; those of the cache are `DeepSeek`'s, Anthropic's and others'.
    fn of(key: &str) -> Option<Self> {
        // Most members of a response have shorter ones.
        if key.len() < "eval_count".len() {
            return None;
        }
        Some(match key {
            "prompt_tokens" | "input_tokens" | "prompt_token_count" | "prompt_eval_count"
            | "tokens_evaluated" => Self::Input,
            "completion_tokens"
            | "output_tokens"
            | "generated_tokens"
            | "completion_token_count"
            | "eval_count"
            | "tokens_predicted" => Self::Output,
            "cached_tokens"
            | "prompt_cache_hit_tokens"
            | "cache_read_input_tokens"
            | "cache_read_tokens"
            | "cached_prompt_tokens"
            | "num_cached_tokens"
            | "cache_hit_tokens" => Self::Cached,
            "cache_write_tokens"
            | "cache_creation_tokens"
            | "cache_creation_input_tokens"
            | "cache_write_input_tokens" => Self::Written,
            "reasoning_tokens" | "thinking_tokens" => Self::Reasoning,
            "image_tokens" => Self::Images,
            "audio_tokens" => Self::Sound,
            "total_tokens" => Self::Total,
            _ => return None,
        })
    }
}

/// Counts of a report that lie deeper than their object.
#[derive(Clone, Copy)]
enum Details {
    Input,
    Output,
    /// The realtime API tells what of the cached prompt is sound.
    Cached,
    /// `LiteLLM` tells how long what the cache took lives, as Anthropic does.
    Lives,
}

impl Details {
    fn of(key: &str) -> Option<Self> {
        Some(match key {
            "prompt_tokens_details" | "input_tokens_details" | "input_token_details" => Self::Input,
            "completion_tokens_details" | "output_tokens_details" | "output_token_details" => {
                Self::Output
            }
            "cached_tokens_details" => Self::Cached,
            "cache_creation_token_details" | "cache_creation" => Self::Lives,
            _ => return None,
        })
    }
}

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
    pub(in crate::formats) fn of_response(response: Part<'_>) -> Self {
        let report = |part: Part<'_>| part.is_object().then(|| Self::of(part));
        let below = |from: Option<Part<'_>>, key: &str| report(from?.get(key)?);
        let places = Places::of(response);
        let mut found = places.usage.and_then(report).unwrap_or_default();
        // Groq, and Moonshot in the choice that ends the response.
        found.fill(below(places.groq, "usage"));
        let choices = places.choices.into_iter().flat_map(Part::elements);
        let of_choices = choices.filter_map(|one| below(Some(one), "usage"));
        found.fill(of_choices.reduce(Self::beside));
        // Cohere bills other counts than those that its models see.
        // Cloudflare wraps its responses.
        found.fill(below(places.result, "usage"));
        for from in [places.usage, places.meta] {
            found.fill(below(from, "billed_units"));
            found.fill(below(from, "tokens"));
        }
        let of_timings = places.timings.filter(|of| of.is_object());
        found.fill(of_timings.map(timings));
        found.fill(Some(Self::of(response)));
        found
    }

    /// Reads an object `usage`.
    fn of(usage: Part<'_>) -> Self {
        let (mut tokens, mut total) = (Tokens::default(), None);
        for (key, value) in usage.members() {
            match Details::of(key) {
                Some(Details::Lives) => add_lives(&mut tokens, value),
                Some(Details::Cached) => {}
                Some(details) => add_details(&mut tokens, details, value),
                None => {
                    let slot = match Word::of(key) {
                        Some(Word::Input) => &mut tokens.input,
                        Some(Word::Output) => &mut tokens.output,
                        Some(Word::Cached) => &mut tokens.cached,
                        Some(Word::Written) => &mut tokens.cache_write,
                        Some(Word::Reasoning) => &mut tokens.reasoning,
                        Some(Word::Total) => &mut total,
                        Some(Word::Images | Word::Sound) | None => continue,
                    };
                    *slot = (*slot).max(counted(value));
                }
            }
        }
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
            audio_input: one.audio_input.max(two.audio_input),
            audio_cached: one.audio_cached.max(two.audio_cached),
            output: sum([one.output, two.output]),
            reasoning: sum([one.reasoning, two.reasoning]),
            image_output: sum([one.image_output, two.image_output]),
            audio_output: sum([one.audio_output, two.audio_output]),
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

/// Where a response may have its usage.
#[derive(Clone, Copy, Default)]
struct Places<'a> {
    choices: Option<Part<'a>>,
    groq: Option<Part<'a>>,
    meta: Option<Part<'a>>,
    result: Option<Part<'a>>,
    timings: Option<Part<'a>>,
    usage: Option<Part<'a>>,
}

impl<'a> Places<'a> {
    fn of(response: Part<'a>) -> Self {
        let mut places = Self::default();
        for (key, value) in response.members() {
            let place = match key {
                "choices" => &mut places.choices,
                "meta" => &mut places.meta,
                "result" => &mut places.result,
                "timings" => &mut places.timings,
                "usage" => &mut places.usage,
                "x_groq" => &mut places.groq,
                _ => continue,
            };
            // Of a key that is given twice, the first counts.
            place.get_or_insert(value);
        }
        places
    }
}

/// Adds the details of a prompt or of a completion.
fn add_details(tokens: &mut Tokens, details: Details, of: Part<'_>) {
    for (key, value) in of.members() {
        let slot = match (details, Word::of(key)) {
            (Details::Input, Some(Word::Cached)) => &mut tokens.cached,
            (Details::Input, Some(Word::Written)) => &mut tokens.cache_write,
            (Details::Input, Some(Word::Images)) => &mut tokens.image_input,
            (Details::Input, Some(Word::Sound)) => &mut tokens.audio_input,
            (Details::Cached, Some(Word::Sound)) => &mut tokens.audio_cached,
            (Details::Output, Some(Word::Sound)) => &mut tokens.audio_output,
            (Details::Output, Some(Word::Reasoning)) => &mut tokens.reasoning,
            (Details::Output, Some(Word::Images)) => &mut tokens.image_output,
            (Details::Input, None) => {
                match Details::of(key) {
                    Some(Details::Lives) => add_lives(tokens, value),
                    Some(Details::Cached) => add_details(tokens, Details::Cached, value),
                    _ => {}
                }
                continue;
            }
            _ => continue,
        };
        // Most responses say that they have no sound.
        let is_told = |count: &u64| *count > 0 || Word::of(key) != Some(Word::Sound);
        *slot = (*slot).max(counted(value).filter(is_told));
    }
}

/// Adds how long what the cache took lives.
fn add_lives(tokens: &mut Tokens, of: Part<'_>) {
    let five = highest(of, &["ephemeral_5m_input_tokens"]);
    let hour = highest(of, &["ephemeral_1h_input_tokens"]);
    tokens.cache_write_5m = tokens.cache_write_5m.max(five);
    tokens.cache_write_1h = tokens.cache_write_1h.max(hour);
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
fn timings(timings: Part<'_>) -> Usage {
    let of = |key: &str| counted(timings.get(key)?);
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

/// Whether a report of a stream counts what was written up to here.
pub(in crate::formats) fn counts_output(usage: &Map<String, Value>) -> bool {
    if usage.is_empty() {
        return false;
    }
    let tokens = tree::read_object(usage, |usage| Usage::of(usage).tokens);
    tokens.is_some_and(|tokens| tokens.output.is_some())
}

/// What the choices of a stream have counted, each for itself.
#[derive(Default)]
pub(in crate::formats) struct OfChoices(Vec<(u64, Map<String, Value>)>);

impl OfChoices {
    /// Takes the usage out of choices. Returns whether one counts what was written up to here.
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
    /// Whether it, or a choice, counts what was written up to here.
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
mod tests;
