#![no_main]
//! Requests and answers of `bedrock_converse`.
const PATH: &str = "/bedrock/model/m/converse-stream";
const BODY: &str = r#"{"messages":[{"role":"user","content":[{"text":"hi"}]}]}"#;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    iris_fuzz::request("bedrock_converse", PATH, data);
    iris_fuzz::answer("bedrock_converse", PATH, BODY, data);
});
