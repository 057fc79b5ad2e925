#![no_main]
//! Requests and responses of `openai_chat`, translated for providers and callers of all other formats.
const PATH: &str = "/v1/chat/completions";

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    iris_fuzz::translated::request("openai_chat", PATH, data);
    iris_fuzz::translated::response("openai_chat", data);
});
