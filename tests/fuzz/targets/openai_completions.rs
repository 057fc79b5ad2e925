#![no_main]
//! Requests and answers of `openai_completions`.
const PATH: &str = "/v1/completions";
const BODY: &str = r#"{"model":"m","stream":true,"prompt":"hi"}"#;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    iris_fuzz::request("openai_completions", PATH, data);
    iris_fuzz::answer("openai_completions", PATH, BODY, data);
});
