#![no_main]
//! Requests and responses of `openai_responses`, translated for providers and callers of all other formats.
const PATH: &str = "/v1/responses";

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    iris_fuzz::translated::request("openai_responses", PATH, data);
    iris_fuzz::translated::response("openai_responses", data);
});
