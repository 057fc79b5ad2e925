#![no_main]
//! Requests and answers of `google_generate_content`.
const PATH: &str = "/v1/projects/p/locations/r/publishers/google/models/m:streamGenerateContent";
const BODY: &str = r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}"#;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    iris_fuzz::request("google_generate_content", PATH, data);
    iris_fuzz::answer("google_generate_content", PATH, BODY, data);
});
