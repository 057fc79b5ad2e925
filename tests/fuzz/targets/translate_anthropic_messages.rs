#![no_main]
//! Requests and responses of `anthropic_messages`, translated for providers and callers of all other formats.
const PATH: &str = "/v1/messages";

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    iris_fuzz::translated::request("anthropic_messages", PATH, data);
    iris_fuzz::translated::response("anthropic_messages", data);
});
