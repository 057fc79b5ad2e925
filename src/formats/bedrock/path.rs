//! Paths of Bedrock's runtime, `/model/MODEL/OPERATION`, which clients of the gateway put behind
//! `/bedrock`. The path names the model, as the AWS SDKs write it: an id or an ARN, encoded.

use http::HeaderMap;
use percent_encoding::percent_decode_str;

use crate::formats::body::{self, bad_request, model_in_path};
use crate::formats::{Call, Path, Splice, known};
use crate::wire::{Rejection, json};

/// Keys by which a query or a body could name a model once more.
const NAMES: [&str; 2] = ["model", "modelId"];

/// The model as it came, and the operation.
pub(in crate::formats) fn split(path: &str) -> Option<(&str, &str)> {
    let path = path.strip_prefix("/bedrock").unwrap_or(path);
    path.strip_prefix("/model/")?.rsplit_once('/')
}

/// The operation.
pub(in crate::formats) fn operation(path: &str) -> Option<&str> {
    split(path).map(|(_, operation)| operation)
}

/// Understands a request for one of the operations of a model; `path` is one that [`split`]
/// takes, and `query` and `body` may not name another model than it does.
///
/// # Errors
/// A 400 if the body isn't a JSON object, or the model could be read in two ways.
pub(in crate::formats) fn call(
    path: &str,
    query: Option<&str>,
    body: bytes::Bytes,
) -> Result<Call, Rejection> {
    let (raw, operation) =
        split(path).ok_or_else(|| bad_request("the path names no model of Bedrock"))?;
    let model = model_in_path(raw)?;
    let same = |named: &str| {
        if named == model {
            return Ok(());
        }
        Err(bad_request(
            "the request names another model than its path does",
        ))
    };
    for pair in query.unwrap_or_default().split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = percent_decode_str(name).decode_utf8_lossy();
        if NAMES.iter().any(|known| known.eq_ignore_ascii_case(&name)) {
            same(&percent_decode_str(value).decode_utf8_lossy())?;
        }
    }
    let fields = body::scan(&body, &NAMES)?;
    let mut choices = known::choices(&body, &fields.members);
    choices.retain(|choice| !NAMES.contains(&&*choice.key));
    let mut at = None;
    for named in (0..NAMES.len()).filter_map(|nth| fields.get(nth)) {
        let name = json::string(&body[named.clone()])
            .ok_or_else(|| bad_request("`model` must be the name of a model"))?;
        same(&name)?;
        if at.replace(named).is_some() {
            return Err(bad_request("the request names its model twice"));
        }
    }
    Ok(Call {
        choices,
        path: Path::Around {
            before: "/model/".to_owned(),
            after: format!("/{operation}"),
        },
        splice: Splice::at(at),
        ..Call::new(model, body)
    })
}

/// AWS SDKs send what they take for bytes without a content type. A web page can't send the
/// header that comes with it without asking.
pub(in crate::formats) fn takes_untyped(headers: &HeaderMap) -> bool {
    headers.contains_key(http::header::AUTHORIZATION)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn ask(path: &str, query: Option<&str>, body: &str) -> Result<Call, Rejection> {
        let body = Bytes::copy_from_slice(body.as_bytes());
        call(path, query, body)
    }

    #[test]
    fn models_as_the_sdks_write_them() {
        let arn =
            "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.amazon.nova-pro-v1:0";
        let encoded = "arn%3Aaws%3Abedrock%3Aeu-west-1%3A123456789012%3Ainference-profile%2Feu.amazon.nova-pro-v1%3A0";
        for (path, model, sent) in [
            ("/bedrock/model/m/invoke", "m", "/model/m/invoke"),
            (
                "/model/anthropic.claude-v2%3A1/converse",
                "anthropic.claude-v2:1",
                "/model/anthropic.claude-v2%3A1/converse",
            ),
            (
                "/bedrock/model/anthropic.claude-v2:1/converse-stream",
                "anthropic.claude-v2:1",
                "/model/anthropic.claude-v2%3A1/converse-stream",
            ),
            ("/model/p/m/invoke", "p/m", "/model/p%2Fm/invoke"),
            (
                &format!("/bedrock/model/{encoded}/invoke"),
                arn,
                &format!("/model/{encoded}/invoke"),
            ),
        ] {
            let call = ask(path, None, "{}").unwrap();
            assert_eq!(call.model, model);
            assert_eq!(call.outbound(model).path, sent);
            assert_eq!(call.outbound("x:1").path.matches("x%3A1").count(), 1);
        }
    }

    #[test]
    fn a_path_that_can_be_read_in_two_ways_is_refused() {
        for model in [
            "",
            ".",
            "..",
            "%2e%2e",
            "a%2f..%2fb",
            "a/../b",
            "a//b",
            "/a",
            "a/",
            "a%5cb",
            "a\\b",
            "a;b",
            "a%00",
            "a%0d%0a",
            "a%252e",
            "a%2525",
            "a%",
            "a%zz",
            "a%ff",
            "a%c0%ae",
            "a%20b",
            "a%3fb",
            "a%23b",
            "a*",
        ] {
            let path = format!("/bedrock/model/{model}/invoke");
            assert_eq!(ask(&path, None, "{}").unwrap_err().status, 400, "{path}");
        }
        assert!(ask(&format!("/model/{}/invoke", "x".repeat(600)), None, "{}").is_err());
        for path in ["/bedrock/m/invoke", "/bedrock//model/m/invoke", "/model/m"] {
            assert!(split(path).is_none(), "{path}");
        }
    }

    #[test]
    fn one_model_and_no_other() {
        let path = "/model/m/invoke";
        for (query, body) in [
            (None, r#"{"model":"n"}"#),
            (None, r#"{"modelId":"n"}"#),
            (None, r#"{"Model":"m"}"#),
            (None, r#"{"model":"m","modelId":"m"}"#),
            (None, r#"{"model":null}"#),
            (None, "[]"),
            (None, ""),
            (Some("model=n"), "{}"),
            (Some("a=b&mod%65lid=n"), "{}"),
        ] {
            assert_eq!(
                ask(path, query, body).unwrap_err().status,
                400,
                "{query:?} {body}"
            );
        }
        let named = ask(path, Some("model=m"), r#"{"a":1, "model":"m"}"#).unwrap();
        assert_eq!(named.outbound("n").body, r#"{"a":1, "model":"n"}"#);
        assert_eq!(named.outbound("m").body.as_ptr(), named.body.as_ptr());
    }
}
