//! Usage in the words of many servers.

use super::*;

fn read(response: Value) -> Tokens {
    let Value::Object(response) = response else {
        unreachable!()
    };
    tree::read_object(&response, Usage::of_response)
        .unwrap()
        .tokens
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
