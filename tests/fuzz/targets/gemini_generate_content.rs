#![no_main]
//! Requests and answers of `gemini_generate_content`.
const PATH: &str = "/v1beta/models/m:streamGenerateContent";
const BODY: &str = r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}"#;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    iris_fuzz::request("gemini_generate_content", PATH, data);
    iris_fuzz::answer("gemini_generate_content", PATH, BODY, data);
});
