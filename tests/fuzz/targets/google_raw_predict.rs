#![no_main]
//! Requests and answers of `google_raw_predict`.
const PATH: &str = "/v1/projects/p/locations/r/publishers/anthropic/models/m:streamRawPredict";
const BODY: &str = r#"{"anthropic_version":"vertex-2023-10-16","stream":true,"max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    iris_fuzz::request("google_raw_predict", PATH, data);
    iris_fuzz::answer("google_raw_predict", PATH, BODY, data);
});
