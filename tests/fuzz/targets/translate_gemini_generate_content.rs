#![no_main]
//! Requests and responses of `gemini_generate_content`, translated for providers and callers of all other formats.
const PATH: &str = "/v1beta/models/m:streamGenerateContent";

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    iris_fuzz::translated::request("gemini_generate_content", PATH, data);
    iris_fuzz::translated::response("gemini_generate_content", data);
});
