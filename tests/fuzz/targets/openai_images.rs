#![no_main]
//! Requests and answers of `openai_images`.
const PATH: &str = "/v1/images/generations";
const BODY: &str = r#"{"model":"m","prompt":"hi","stream":true}"#;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    iris_fuzz::request("openai_images", PATH, data);
    iris_fuzz::answer("openai_images", PATH, BODY, data);
});
