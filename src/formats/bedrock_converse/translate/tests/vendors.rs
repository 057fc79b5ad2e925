//! Fields of one vendor's models.

use super::*;
use crate::formats::translate::{
    Effort, Reasoning, Seal, SealKind, Tool, ToolChoice, request as translate,
};

fn more(model: &str, change: impl FnOnce(&mut Request)) -> Result<Value, Untranslatable> {
    let mut request = Request {
        model: model.to_owned(),
        ..asks(vec![Part::text("?")])
    };
    change(&mut request);
    let outbound = (CODEC.write_request)(&request)?;
    Ok(value(&outbound.body)["additionalModelRequestFields"].clone())
}

const SONNET: &str = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0";

#[test]
fn each_vendor_has_its_own_words_for_reasoning() {
    use Reasoning::{Adaptive, Budget, Off};
    let effort = Reasoning::Effort;
    let profile = "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc";
    let nova = "us.amazon.nova-2-lite-v1:0";
    let oss = "openai.gpt-oss-120b-1:0";
    let enabled =
        |budget: u64| json!({ "thinking": { "type": "enabled", "budget_tokens": budget } });
    let adaptive = |effort: &str| {
        json!({
            "thinking": { "type": "adaptive" }, "output_config": { "effort": effort },
        })
    };
    let nova_enabled = |effort: &str| {
        json!({
            "reasoningConfig": { "type": "enabled", "maxReasoningEffort": effort },
        })
    };
    for (model, reasoning, expected) in [
        (MODEL, effort(Effort::Minimal), adaptive("low")),
        (MODEL, effort(Effort::Max), adaptive("max")),
        (MODEL, Budget(4_000), adaptive("medium")),
        (
            MODEL,
            Adaptive,
            json!({ "thinking": { "type": "adaptive" } }),
        ),
        (MODEL, Off, Value::Null),
        (profile, effort(Effort::Low), adaptive("low")),
        (SONNET, Budget(5_000), enabled(5_000)),
        (SONNET, Budget(1), enabled(1_024)),
        (SONNET, effort(Effort::Medium), enabled(4_096)),
        (SONNET, Adaptive, enabled(16_384)),
        (SONNET, Off, Value::Null),
        (
            "anthropic.claude-opus-4-7",
            Budget(90_000),
            adaptive("high"),
        ),
        (
            "anthropic.claude-opus-4-7",
            effort(Effort::XHigh),
            adaptive("xhigh"),
        ),
        (MODEL, effort(Effort::XHigh), adaptive("high")),
        (nova, effort(Effort::Max), nova_enabled("high")),
        (nova, Budget(1), nova_enabled("low")),
        (
            nova,
            Off,
            json!({ "reasoningConfig": { "type": "disabled" } }),
        ),
        (
            oss,
            effort(Effort::XHigh),
            json!({ "reasoning_effort": "high" }),
        ),
        (oss, Off, Value::Null),
    ] {
        let written = more(model, |request| request.reasoning = Some(reasoning)).unwrap();
        assert_eq!(written, expected, "{model} {reasoning:?}");
    }
    let bounded = more(nova, |request| {
        request.reasoning = Some(effort(Effort::High));
        request.temperature = Some(0.5);
    });
    assert_eq!(bounded.unwrap(), nova_enabled("medium"));
    let shown = more(MODEL, |request| {
        request.reasoning = Some(Adaptive);
        request.shows_thoughts = Some(true);
    });
    assert_eq!(shown.unwrap()["thinking"]["display"], "summarized");
}

#[test]
fn a_budget_needs_room_and_the_thoughts_before_calls() {
    let mut request = Request {
        model: SONNET.to_owned(),
        reasoning: Some(Reasoning::Budget(2_000)),
        ..asks(vec![Part::text("?")])
    };
    let written = write(&request);
    assert_eq!(written["inferenceConfig"], json!({ "maxTokens": 10_192 }));
    request.max_tokens = Some(1_500);
    let written = write(&request);
    assert_eq!(written["inferenceConfig"], json!({ "maxTokens": 1_500 }));
    let thinking = |written: &Value| written["additionalModelRequestFields"]["thinking"].clone();
    assert_eq!(thinking(&written)["budget_tokens"], 1_499);
    request.max_tokens = Some(1_024);
    assert_eq!(thinking(&write(&request)), Value::Null);
    request.max_tokens = None;
    request
        .turns
        .push(Turn::new(Role::Assistant, vec![call("1", "look", "{}")]));
    request
        .turns
        .push(Turn::new(Role::User, vec![result("1", Vec::new())]));
    assert_eq!(thinking(&write(&request)), Value::Null);
    let seal = Seal::new("bedrock_converse", SealKind::Signature, "v");
    request.turns[1]
        .parts
        .insert(0, thought("I look.", Some(seal)));
    assert_eq!(thinking(&write(&request))["budget_tokens"], 2_000);
}

#[test]
fn what_a_model_lacks_is_dropped_or_refused() {
    let llama = "us.meta.llama4-scout-17b-instruct-v1:0";
    let sent = |model: &str, body: Value| {
        let body = body.to_string();
        let inbound = Inbound {
            path: "",
            query: None,
            model: "smart",
            is_streamed: false,
            body: body.as_bytes(),
        };
        let translated = translate(&CODEC, &CODEC, &inbound, model)?;
        Ok::<_, Untranslatable>((value(&translated.outbound.body), translated.dropped))
    };
    let thinking = json!({
        "additionalModelRequestFields": { "thinking": { "type": "adaptive" } },
    });
    for model in [
        llama,
        "anthropic.claude-3-5-sonnet-20241022-v2:0",
        "amazon.nova-pro-v1:0",
    ] {
        let (body, dropped) = sent(model, thinking.clone()).unwrap();
        assert_eq!(dropped, ["additionalModelRequestFields.thinking"]);
        assert_eq!(body, json!({ "messages": [] }), "{model}");
    }
    let top_k = json!({ "additionalModelRequestFields": { "top_k": 1 } });
    let refusal = sent(llama, top_k.clone()).unwrap_err();
    assert_eq!(refusal.field, "additionalModelRequestFields.top_k");
    assert!(sent(MODEL, top_k.clone()).is_ok());
    let opus = sent("anthropic.claude-opus-4-7", top_k).unwrap_err();
    assert_eq!(opus.field, "additionalModelRequestFields.top_k");
}

#[test]
fn claude_samples_as_its_version_allows() {
    let opus = "anthropic.claude-opus-4-7";
    let sampled = |model: &str, change: fn(&mut Request)| {
        let mut request = Request {
            model: model.to_owned(),
            temperature: Some(0.5),
            top_p: Some(0.9),
            top_k: Some(40),
            ..asks(vec![Part::text("?")])
        };
        change(&mut request);
        let written = write(&request);
        let mut config = written["inferenceConfig"].clone();
        if let Some(config) = config.as_object_mut() {
            config.remove("maxTokens");
        }
        let top_k = written["additionalModelRequestFields"]["top_k"].clone();
        (config, top_k)
    };
    let none = (Value::Null, Value::Null);
    let warm = (json!({ "temperature": 0.5 }), json!(40));
    let think = |request: &mut Request| request.reasoning = Some(Reasoning::Adaptive);
    assert_eq!(sampled(MODEL, think), none);
    assert_eq!(sampled(SONNET, think), (json!({}), Value::Null));
    assert_eq!(sampled(MODEL, |_| {}), warm);
    assert_eq!(sampled(opus, |_| {}), none);
    let both = json!({ "temperature": 0.5, "topP": 0.9 });
    assert_eq!(sampled("claude-3-5-haiku", |_| {}).0, both);
    assert_eq!(sampled("meta.llama4", |_| {}).0, both);
    let nucleus = sampled(MODEL, |request| request.temperature = None);
    assert_eq!(nucleus.0, json!({ "topP": 0.9 }));
}

#[test]
fn claude_doesnt_think_where_a_call_is_forced() {
    let forced = |choice: ToolChoice| {
        more(MODEL, |request| {
            request.reasoning = Some(Reasoning::Effort(Effort::High));
            request.top_k = Some(40);
            request.tools = vec![Tool {
                name: "look".to_owned(),
                ..Tool::default()
            }];
            request.tool_choice = Some(choice);
        })
        .unwrap()
    };
    let sampled = json!({ "top_k": 40 });
    assert_eq!(forced(ToolChoice::Required), sampled);
    assert_eq!(forced(ToolChoice::Named("look".to_owned())), sampled);
    assert_eq!(forced(ToolChoice::Auto)["thinking"]["type"], "adaptive");
}

#[test]
fn top_k_and_tools_one_at_a_time() {
    let top_k = |request: &mut Request| request.top_k = Some(20);
    assert_eq!(more(MODEL, top_k).unwrap(), json!({ "top_k": 20 }));
    let nova = more("amazon.nova-pro-v1:0", top_k).unwrap();
    assert_eq!(nova, json!({ "inferenceConfig": { "topK": 20 } }));
    let serial = |choice: Option<ToolChoice>| {
        let mut request = asks(vec![Part::text("?")]);
        request.parallel_tool_calls = Some(false);
        request.tools = vec![Tool {
            name: "look".to_owned(),
            ..Tool::default()
        }];
        request.tool_choice = choice;
        let written = write(&request);
        (
            written["toolConfig"]["toolChoice"].clone(),
            written["additionalModelRequestFields"]["tool_choice"].clone(),
        )
    };
    let auto = (
        Value::Null,
        json!({ "type": "auto", "disable_parallel_tool_use": true }),
    );
    assert_eq!(serial(None), auto);
    assert_eq!(serial(Some(ToolChoice::Auto)), auto);
    let forced = (
        json!({ "any": {} }),
        json!({ "disable_parallel_tool_use": true }),
    );
    assert_eq!(serial(Some(ToolChoice::Required)), forced);
    // Frameworks ask for it without tools too, which the API refuses.
    let written = more(MODEL, |request| request.parallel_tool_calls = Some(false));
    assert_eq!(written.unwrap(), Value::Null);
}

#[test]
fn callers_use_the_words_of_any_vendor() {
    let fields = |more: Value| {
        let body = json!({ "additionalModelRequestFields": more });
        read_as("m", &body, false)
    };
    for (more, expected) in [
        (
            json!({ "thinking": { "type": "enabled", "budget_tokens": 2_000 } }),
            Reasoning::Budget(2_000),
        ),
        (
            json!({ "reasoning_config": { "type": "enabled", "budget_tokens": 2_000 } }),
            Reasoning::Budget(2_000),
        ),
        (
            json!({ "thinking": { "type": "adaptive" } }),
            Reasoning::Adaptive,
        ),
        (
            json!({ "thinking": { "type": "disabled" } }),
            Reasoning::Off,
        ),
        (
            json!({ "thinking": { "type": "adaptive" }, "output_config": { "effort": "xhigh" } }),
            Reasoning::Effort(Effort::XHigh),
        ),
        (
            json!({ "reasoningConfig": { "type": "enabled", "maxReasoningEffort": "low" } }),
            Reasoning::Effort(Effort::Low),
        ),
        (
            json!({ "reasoningConfig": { "type": "disabled" } }),
            Reasoning::Off,
        ),
        (
            json!({ "reasoning_effort": "medium" }),
            Reasoning::Effort(Effort::Medium),
        ),
    ] {
        assert_eq!(
            fields(more.clone()).unwrap().reasoning,
            Some(expected),
            "{more}"
        );
    }
    let thinking = json!({ "thinking": { "type": "adaptive", "display": "omitted" } });
    assert_eq!(fields(thinking).unwrap().shows_thoughts, Some(false));
    let effort = fields(json!({ "output_config": { "effort": "low" } })).unwrap();
    assert_eq!(
        effort.dropped,
        ["additionalModelRequestFields.output_config.effort"]
    );
    assert_eq!(
        fields(json!({ "inferenceConfig": { "topK": 5 } }))
            .unwrap()
            .top_k,
        Some(5)
    );
    let choice = fields(json!({ "tool_choice": { "type": "none" } })).unwrap();
    assert_eq!(choice.tool_choice, Some(ToolChoice::None));
}

#[test]
fn unknown_words_are_refused() {
    for (more, field) in [
        (
            json!({ "thinking": { "type": "enabled" } }),
            "thinking.budget_tokens",
        ),
        (json!({ "thinking": { "type": "odd" } }), "thinking.type"),
        (
            json!({ "output_config": { "effort": "odd" } }),
            "output_config.effort",
        ),
        (
            json!({ "output_config": { "format": {} } }),
            "output_config.format",
        ),
        (
            json!({ "reasoningConfig": { "type": "odd" } }),
            "reasoningConfig.type",
        ),
        (
            json!({ "tool_choice": { "type": "odd" } }),
            "tool_choice.type",
        ),
        (
            json!({ "tool_choice": { "type": "tool" } }),
            "tool_choice.name",
        ),
        (
            json!({ "inferenceConfig": { "x": 5 } }),
            "inferenceConfig.x",
        ),
    ] {
        let body = json!({ "additionalModelRequestFields": more });
        let refusal = read_as("m", &body, false).unwrap_err();
        assert_eq!(
            refusal.field,
            format!("additionalModelRequestFields.{field}")
        );
    }
}
