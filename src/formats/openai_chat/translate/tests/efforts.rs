//! How a provider learns how much to think.

use serde_json::{Value, json};

use super::CODEC;
use crate::formats::translate::checks::value;
use crate::formats::translate::{Effort, Reasoning, Request};

fn written(model: &str, reasoning: Reasoning) -> Value {
    let request = Request {
        model: model.to_owned(),
        reasoning: Some(reasoning),
        ..Request::default()
    };
    let outbound = (CODEC.write_request)(&request).unwrap();
    value(&outbound.body)["reasoning_effort"].clone()
}

#[test]
fn a_budget_becomes_an_effort_that_most_models_take() {
    for (tokens, effort) in [
        (0, "low"),
        (512, "low"),
        (1_024, "low"),
        (1_025, "medium"),
        (16_384, "high"),
        (32_768, "high"),
        (u64::MAX, "high"),
    ] {
        assert_eq!(
            written("m", Reasoning::Budget(tokens)),
            effort,
            "{tokens} tokens"
        );
    }
}

#[test]
fn an_effort_keeps_the_word_of_the_caller() {
    for word in ["minimal", "low", "medium", "high", "xhigh", "max"] {
        let effort = Effort::named(word).unwrap();
        assert_eq!(written("m", Reasoning::Effort(effort)), word);
    }
}

#[test]
fn only_models_that_know_the_word_are_told_not_to_think() {
    for model in [
        "gpt-5.1",
        "gpt-5.1-2025-11-13",
        "gpt-5.2",
        "gpt-6",
        "openai/gpt-5.1",
    ] {
        assert_eq!(written(model, Reasoning::Off), "none", "{model}");
    }
    for model in [
        "gpt-5",
        "gpt-5-2025-08-07",
        "gpt-5-mini",
        "gpt-5.1-codex",
        "gpt-5.1-chat-latest",
        "gpt-4.1",
        "gpt-4o",
        "gpt-35",
        "gpt-oss-120b",
        "gpt-",
        "gpt-5.x",
        "o3",
        "llama3",
        "",
    ] {
        assert_eq!(written(model, Reasoning::Off), json!(null), "{model}");
    }
}
