#![no_main]
//! Requests and answers of `rerank`.
const PATH: &str = "/v1/rerank";
const BODY: &str = r#"{"model":"m","query":"hi","documents":["a"]}"#;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    iris_fuzz::request("rerank", PATH, data);
    iris_fuzz::answer("rerank", PATH, BODY, data);
});
