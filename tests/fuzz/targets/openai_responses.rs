#![no_main]
//! Requests and answers of `openai_responses`.
const PATH: &str = "/v1/responses";
const BODY: &str = r#"{"model":"m","stream":true,"input":"hi"}"#;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    iris_fuzz::request("openai_responses", PATH, data);
    iris_fuzz::answer("openai_responses", PATH, BODY, data);
});
