//! A request that makes a batch. Names are read in either spelling of Google's APIs.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::formats::body::{bad_request, names};
use crate::formats::remote_batches::on_one_line;
use crate::wire::{Rejection, json};

/// Requests of a batch.
const MOST_REQUESTS: usize = 50_000;
/// Letters of a batch's name.
const MOST_NAME: usize = 256;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<'b> {
    #[serde(borrow)]
    batch: Read<'b>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Read<'b> {
    #[serde(default)]
    model: Option<String>,
    #[serde(default, alias = "display_name")]
    display_name: Option<String>,
    #[serde(borrow, alias = "input_config")]
    input_config: InputConfig<'b>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct InputConfig<'b> {
    #[serde(default, alias = "file_name")]
    file_name: Option<String>,
    #[serde(borrow, default)]
    requests: Option<Requests<'b>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Requests<'b> {
    #[serde(borrow)]
    requests: &'b RawValue,
}

/// A batch that is to be made.
#[derive(Debug, PartialEq, Eq)]
pub struct CreateBatch {
    pub about: About,
    pub input: Input,
}

/// What a batch says of itself.
#[derive(Debug, PartialEq, Eq)]
pub struct About {
    /// What its owner calls it.
    pub name: String,
    model: Option<String>,
}

/// Where the lines of a batch are.
#[derive(Debug, PartialEq, Eq)]
pub enum Input {
    /// In the file with this id.
    File(String),
    /// They came with the batch, as these lines.
    Inline(Vec<u8>),
}

impl CreateBatch {
    /// Reads a body.
    ///
    /// # Errors
    /// A 400 that says what is wrong with it.
    pub fn read(body: &[u8]) -> Result<Self, Rejection> {
        let Body { batch } = serde_json::from_slice(body)
            .map_err(|error| bad_request(format!("the batch is not acceptable: {error}")))?;
        let name = batch.display_name.unwrap_or_default();
        if name.chars().count() > MOST_NAME || name.chars().any(char::is_control) {
            let why = format!("the displayName must have at most {MOST_NAME} visible characters");
            return Err(bad_request(why));
        }
        let InputConfig {
            file_name,
            requests,
        } = batch.input_config;
        let input = match (file_name, requests) {
            (Some(name), None) => {
                let id = name.strip_prefix("files/").unwrap_or(&name);
                Input::File(id.to_owned())
            }
            (None, Some(Requests { requests })) => Input::Inline(lines(requests)?),
            _ => {
                let why = "expected inputConfig to have either a fileName or requests";
                return Err(bad_request(why));
            }
        };
        let about = About {
            name,
            model: batch.model,
        };
        Ok(Self { about, input })
    }
}

impl About {
    /// Sees that it names no other model than its path does.
    ///
    /// # Errors
    /// A 400 if it does.
    pub fn is_for(&self, model: &str) -> Result<(), Rejection> {
        match &self.model {
            Some(named) if !names(named, model) => Err(bad_request(
                "the batch names another model than its path does",
            )),
            _ => Ok(()),
        }
    }
}

/// A line for each request. The list is read piece by piece: it may have millions of small values.
fn lines(requests: &RawValue) -> Result<Vec<u8>, Rejection> {
    let mut lines = Vec::new();
    let (mut count, mut has_only_objects) = (0, requests.get().starts_with('['));
    json::each_element(requests.get().as_bytes(), |request| {
        count += 1;
        has_only_objects &= request.starts_with(b"{");
        lines.extend(on_one_line(request));
        lines.push(b'\n');
        has_only_objects && count <= MOST_REQUESTS
    });
    let why = match count {
        _ if !has_only_objects => "expected requests to be a list of objects".to_owned(),
        0 => "the batch has no requests".to_owned(),
        1..=MOST_REQUESTS => return Ok(lines),
        _ => format!("a batch has at most {MOST_REQUESTS} requests"),
    };
    Err(bad_request(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &str, more: &str) -> Result<CreateBatch, Rejection> {
        let body = format!(r#"{{"batch":{{"inputConfig":{input}{more}}}}}"#);
        CreateBatch::read(body.as_bytes())
    }

    #[test]
    fn a_batch_has_a_file_or_requests() {
        let file = read(r#"{"fileName":"files/f"}"#, r#","display_name":"night""#).unwrap();
        assert_eq!(
            (file.input, file.about.name.as_str()),
            (Input::File("f".to_owned()), "night")
        );
        let inline = "{\"requests\":{\"requests\":[{\"request\":{\n\"contents\":[]}},\n{}]}}";
        let inline = read(inline, "").unwrap();
        let lines = "{\"request\":{ \"contents\":[]}}\n{}\n";
        assert_eq!(inline.input, Input::Inline(lines.into()));
        for (input, more) in [
            ("{}", ""),
            (r#"{"fileName":"files/f","requests":{"requests":[]}}"#, ""),
            (r#"{"fileName":"f","file_name":"g"}"#, ""),
            (r#"{"gcsSource":"x"}"#, ""),
            (r#"{"requests":[{}]}"#, ""),
            (r#"{"requests":{"requests":[]}}"#, ""),
            (r#"{"requests":{"requests":[{},1]}}"#, ""),
            (r#"{"requests":{"requests":{}}}"#, ""),
            (r#"{"fileName":"f"}"#, r#","webhookConfig":{}"#),
            (r#"{"fileName":"f"}"#, r#","displayName":"\n""#),
        ] {
            assert!(read(input, more).is_err(), "{input} {more}");
        }
        for wrong in ["", "{}", "[]", "{\"batch\":1}", "\u{0}"] {
            assert!(CreateBatch::read(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_batch_has_a_bounded_number_of_requests() {
        let batch = |count: usize| {
            let requests = vec!["{}"; count].join(",");
            read(
                &format!(r#"{{"requests":{{"requests":[{requests}]}}}}"#),
                "",
            )
        };
        assert!(batch(MOST_REQUESTS).is_ok());
        assert!(batch(MOST_REQUESTS + 1).is_err());
    }

    #[test]
    fn a_batch_names_the_model_of_its_path_or_none() {
        let batch = |more: &str| read(r#"{"fileName":"f"}"#, more).unwrap().about;
        assert!(batch("").is_for("m").is_ok());
        assert!(batch(r#","model":"models/m""#).is_for("m").is_ok());
        assert!(batch(r#","model":"models/n""#).is_for("m").is_err());
    }
}
