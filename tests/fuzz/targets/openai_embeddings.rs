#![no_main]
//! Requests and answers of `openai_embeddings`.
const PATH: &str = "/v1/embeddings";
const BODY: &str = r#"{"model":"m","input":"hi"}"#;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    iris_fuzz::request("openai_embeddings", PATH, data);
    iris_fuzz::answer("openai_embeddings", PATH, BODY, data);
});
