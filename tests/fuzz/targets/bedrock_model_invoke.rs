#![no_main]
//! Requests and answers of `bedrock_model_invoke`.
const PATH: &str = "/bedrock/model/m/invoke-with-response-stream";
const BODY: &str = r#"{"anthropic_version":"bedrock-2023-05-31","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    iris_fuzz::request("bedrock_model_invoke", PATH, data);
    iris_fuzz::answer("bedrock_model_invoke", PATH, BODY, data);
});
