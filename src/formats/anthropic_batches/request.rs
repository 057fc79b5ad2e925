//! A request that makes a message batch.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::ENDPOINT;
use crate::formats::body::bad_request;
use crate::wire::Rejection;

/// The versions of the API that a provider's batches are known to have. The first is meant where a batch names none.
pub(super) const VERSIONS: [&str; 2] = ["2023-06-01", "2026-10-21"];

/// Characters of a `custom_id`.
const MOST_ID: usize = 64;
/// Requests of a batch; the API has twice as many.
const MOST_REQUESTS: usize = 50_000;

#[derive(Deserialize)]
struct Create<'b> {
    #[serde(borrow)]
    requests: Vec<Request<'b>>,
}

#[derive(Deserialize)]
struct Request<'b> {
    custom_id: String,
    #[serde(borrow)]
    params: &'b RawValue,
}

/// The version of the API that lines are for.
#[must_use]
pub fn version(named: Option<&str>) -> &str {
    named.unwrap_or(VERSIONS[0])
}

/// The requests of a batch, as the lines of a file: those of OpenAI's batches, for Anthropic's endpoint.
///
/// # Errors
/// A 400 that says what is wrong with it.
pub fn lines(body: &[u8]) -> Result<Vec<u8>, Rejection> {
    let create: Create<'_> = serde_json::from_slice(body)
        .map_err(|error| bad_request(format!("the batch is not acceptable: {error}")))?;
    if create.requests.len() > MOST_REQUESTS {
        return Err(bad_request(format!(
            "a batch has at most {MOST_REQUESTS} requests"
        )));
    }
    let mut lines = Vec::with_capacity(body.len());
    for request in create.requests {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let id = &request.custom_id;
        if id.is_empty() || id.len() > MOST_ID || !id.bytes().all(is_plain) {
            let shown: String = id.chars().take(80).collect();
            let why = format!(
                "invalid custom_id {shown:?}: expected 1 to {MOST_ID} letters, digits, \"-\" and \"_\""
            );
            return Err(bad_request(why));
        }
        let head = format!(r#"{{"custom_id":"{id}","method":"POST","url":"{ENDPOINT}","body":"#);
        lines.extend_from_slice(head.as_bytes());
        // Outside of texts, in which none can stand, they are blanks.
        let params = request.params.get().bytes();
        lines.extend(params.map(|byte| {
            if matches!(byte, b'\n' | b'\r') {
                b' '
            } else {
                byte
            }
        }));
        lines.extend_from_slice(b"}\n");
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_become_lines() {
        let body = b"{\"requests\":[{\"custom_id\":\"a-1\",\"params\":{\"model\":\n \"m\"}},\n\
            {\"params\":{\"model\":\"n\\n\"},\"custom_id\":\"b\"}]}";
        let text = String::from_utf8(lines(body).unwrap()).unwrap();
        let all: Vec<_> = text.lines().collect();
        assert_eq!(
            all,
            [
                r#"{"custom_id":"a-1","method":"POST","url":"/v1/messages","body":{"model":  "m"}}"#,
                r#"{"custom_id":"b","method":"POST","url":"/v1/messages","body":{"model":"n\n"}}"#,
            ]
        );
        for wrong in [
            "{}",
            r#"{"requests":[{"custom_id":"a b","params":{}}]}"#,
            r#"{"requests":[{"custom_id":"","params":{}}]}"#,
            r#"{"requests":[{"custom_id":"a"}]}"#,
        ] {
            assert!(lines(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
