//! Damaged requests that make a batch, and its damaged lines.

use iris::formats::gemini_batches::{CreateBatch, Input, Line, result_line};
use serde_json::{Value, json};

use super::{PIECES, fuzz};

const BATCH: &str = "{\"batch\":{\"displayName\":\"n\",\"inputConfig\":{\"requests\":{\"requests\":[\n\
    {\"request\":{\"contents\":[]},\n\"metadata\":{\"key\":\"a\"}},{\"key\":\"b\",\"request\":{}}]}}}}";
const LINE: &str =
    r#"{"key":"a \u0000","metadata":{"key":"b","n":[1.5e3]},"request":{"contents":[{}]}}"#;

#[test]
fn each_request_of_a_batch_is_one_line() {
    let mut accepted = 0;
    fuzz(41, &[BATCH], &PIECES, |bytes, _| {
        let Ok(create) = CreateBatch::read(bytes) else {
            return;
        };
        let Input::Inline(lines) = create.input else {
            return;
        };
        accepted += 1;
        let lines = lines.strip_suffix(b"\n").unwrap();
        for line in lines.split(|byte| *byte == b'\n') {
            serde_json::from_slice::<Value>(line).unwrap();
        }
    });
    assert!(accepted > 1_000, "{accepted}");
}

#[test]
fn a_result_repeats_what_names_its_line() {
    let mut accepted = 0;
    fuzz(42, &[LINE], &PIECES, |bytes, _| {
        let line = match Line::read(bytes) {
            Ok(line) => line,
            Err(flaw) => {
                assert!(flaw.message.len() < 2_000, "{}", flaw.message);
                return;
            }
        };
        accepted += 1;
        let mut expected: Value = serde_json::from_slice(bytes).unwrap();
        let expected = expected.as_object_mut().unwrap();
        expected.remove("request");
        expected.retain(|_, value| !value.is_null());
        expected.insert("response".to_owned(), json!({}));
        let result = result_line(&line.tag, 200, &json!({}));
        assert_eq!(result.as_object(), Some(&*expected));
    });
    assert!(accepted > 1_000, "{accepted}");
}
