#![no_main]
//! Requests and responses of `bedrock_converse`, translated for providers and callers of all other formats.
const PATH: &str = "/bedrock/model/m/converse-stream";

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    iris_fuzz::translated::request("bedrock_converse", PATH, data);
    iris_fuzz::translated::response("bedrock_converse", data);
});
