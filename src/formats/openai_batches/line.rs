//! One line of a batch's input.

use serde::Deserialize;
use serde_json::value::RawValue;

/// Characters of a `custom_id`.
const MOST_ID: usize = 512;

/// A request of a batch.
#[derive(Debug, Deserialize)]
pub struct Line<'l> {
    /// What tells it from the others.
    pub custom_id: String,
    method: String,
    url: String,
    /// What is asked.
    #[serde(borrow)]
    pub body: &'l RawValue,
}

/// What is wrong with a line, as `errors` of a batch say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    pub code: &'static str,
    pub message: String,
    pub param: Option<&'static str>,
}

impl Flaw {
    #[must_use]
    pub fn new(code: &'static str, param: Option<&'static str>, message: String) -> Self {
        Self {
            code,
            message,
            param,
        }
    }
}

impl<'l> Line<'l> {
    /// Reads a line that has to be for `endpoint`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(line: &'l [u8], endpoint: &str) -> Result<Self, Flaw> {
        let read: Self = serde_json::from_slice(line).map_err(|error| {
            let why = format!("this line is not a request of a batch: {error}");
            Flaw::new("invalid_json_line", None, why)
        })?;
        let shown = |text: &str| text.chars().take(80).collect::<String>();
        if read.custom_id.is_empty() || read.custom_id.chars().count() > MOST_ID {
            let why = format!("expected a custom_id of 1 to {MOST_ID} characters");
            return Err(Flaw::new("invalid_custom_id", Some("custom_id"), why));
        }
        if read.method != "POST" {
            let why = format!(
                "invalid method {:?}: expected \"POST\"",
                shown(&read.method)
            );
            return Err(Flaw::new("invalid_method", Some("method"), why));
        }
        if read.url != endpoint {
            let why = format!(
                "invalid url {:?}: expected the batch's endpoint {endpoint:?}",
                shown(&read.url)
            );
            return Err(Flaw::new("invalid_url", Some("url"), why));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_request_for_the_endpoint_of_its_batch() {
        let read = |line: &str| {
            let line = Line::read(line.as_bytes(), "/v1/embeddings");
            line.map(|line| line.body.get().to_owned())
                .map_err(|flaw| flaw.code)
        };
        let line =
            r#"{"custom_id":"a","method":"POST","url":"/v1/embeddings","body":{"model":"m"}}"#;
        assert_eq!(read(line).as_deref(), Ok(r#"{"model":"m"}"#));
        for (from, to, code) in [
            (r#""a""#, r#""""#, "invalid_custom_id"),
            ("POST", "GET", "invalid_method"),
            ("embeddings", "responses", "invalid_url"),
            (r#""custom_id""#, r#""custom""#, "invalid_json_line"),
            (r#"{"custom"#, r#"{"url":"x","custom"#, "invalid_json_line"),
            ("}}", "}", "invalid_json_line"),
        ] {
            assert_eq!(read(&line.replace(from, to)), Err(code), "{from} -> {to}");
        }
    }
}
