#![no_main]
//! Requests and answers of `anthropic_messages`.
const PATH: &str = "/v1/messages";
const BODY: &str = r#"{"model":"m","stream":true,"max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    iris_fuzz::request("anthropic_messages", PATH, data);
    iris_fuzz::answer("anthropic_messages", PATH, BODY, data);
});
