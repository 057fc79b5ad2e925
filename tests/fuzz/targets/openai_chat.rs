#![no_main]
//! Requests and answers of `openai_chat`.
const PATH: &str = "/v1/chat/completions";
const BODY: &str = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    iris_fuzz::request("openai_chat", PATH, data);
    iris_fuzz::answer("openai_chat", PATH, BODY, data);
});
