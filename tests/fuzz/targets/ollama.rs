#![no_main]
//! Requests and answers of Ollama's API.
const CHAT: &str = "/api/chat";
const GENERATE: &str = "/api/generate";
const ASKED: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
const COMPLETED: &str = r#"{"model":"m","prompt":"hi"}"#;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    iris_fuzz::request("ollama", CHAT, data);
    iris_fuzz::request("ollama_generate", GENERATE, data);
    iris_fuzz::answer("ollama", CHAT, ASKED, data);
    iris_fuzz::answer("ollama_generate", GENERATE, COMPLETED, data);
});
