//! Anthropic's message batches at a provider. The API keeps no tag. When a batch was made and how many requests it has
//! say whether it may be one that is looked for; only the names of its lines, which its results have, say that it is.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::FORMAT;
use crate::formats::remote_batches::{
    Likeness, NewRemote, RemoteBatch, RemoteBatches, RemoteEnd, RemoteResponse, RemoteResult,
    Sought, id, on_one_line, page, value_of,
};

const PATH: &str = "/v1/messages/batches";
/// Seconds by which the provider's clock may be wrong.
const SKEW: i64 = 120;

/// The API of a provider with the flag `anthropic_batches`.
pub static REMOTE: RemoteBatches = RemoteBatches {
    format: &FORMAT,
    headers: &[("anthropic-version", &super::request::VERSIONS)],
    files: None,
    path: PATH,
    line,
    asked: |line| value_of(line, "params"),
    create,
    read: |body| of(&parsed(body)?),
    paging: (1_000, "after_id"),
    list: |body| page(&parsed(body)?, of),
    likeness,
    result,
};

fn parsed(body: &[u8]) -> Option<Value> {
    serde_json::from_slice(body).ok()
}

fn line(name: &str, _: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("{{\"custom_id\":{},\"params\":", Value::from(name));
    let mut line = head.into_bytes();
    line.extend(on_one_line(body));
    line.push(b'}');
    line
}

fn create(new: &NewRemote<'_>) -> Vec<u8> {
    let mut create = b"{\"requests\":[".to_vec();
    let lines = new.lines.strip_suffix(b"\n").unwrap_or(new.lines);
    create.extend(lines.iter().map(|byte| match byte {
        b'\n' => b',',
        byte => *byte,
    }));
    create.extend_from_slice(b"]}");
    create
}

fn of(batch: &Value) -> Option<RemoteBatch> {
    let id = id(&batch["id"])?;
    let counts = &batch["request_counts"];
    let has = |key: &str| counts[key].as_u64().is_some_and(|count| count > 0);
    let end = match batch["processing_status"].as_str()? {
        "ended" if batch["cancel_initiated_at"].is_string() => Some(RemoteEnd::Cancelled),
        "ended" if has("expired") => Some(RemoteEnd::Expired),
        "ended" => Some(RemoteEnd::Completed),
        _ => None,
    };
    let counts = counts.as_object();
    let total = counts.map(|counts| counts.values().filter_map(Value::as_u64).sum());
    let made = batch["created_at"].as_str();
    let made = made.and_then(|made| made.parse::<Timestamp>().ok());
    Some(RemoteBatch {
        tag: None,
        made: made.map(Timestamp::as_second),
        total,
        end,
        results: vec![format!("{PATH}/{id}/results")],
        leftovers: vec![format!("{PATH}/{id}")],
        why: None,
        id,
    })
}

fn likeness(batch: &RemoteBatch, sought: &Sought<'_>) -> Likeness {
    let (since, until) = (sought.since - SKEW, sought.until + SKEW);
    let is_then = batch
        .made
        .is_some_and(|made| (since..=until).contains(&made));
    if is_then && batch.total == Some(sought.lines) {
        Likeness::Perhaps
    } else {
        Likeness::Other
    }
}

fn result(line: &[u8]) -> Option<RemoteResult> {
    let mut line = parsed(line)?;
    let name = line["custom_id"].as_str()?.to_owned();
    let result = &mut line["result"];
    let unasked = |code: &str| RemoteResponse::Unasked {
        code: code.to_owned(),
        why: "the provider did not run it".to_owned(),
    };
    let response = match result["type"].as_str()? {
        "succeeded" => RemoteResponse::Body(200, result["message"].take()),
        "errored" => {
            let error = result["error"].take();
            // Some have the error without what is around it.
            let error = match &error["error"] {
                Value::Object(_) => error,
                _ => json!({ "type": "error", "error": error }),
            };
            RemoteResponse::Body(status(&error["error"]["type"]), error)
        }
        "canceled" => unasked("batch_cancelled"),
        "expired" => unasked("batch_expired"),
        _ => return None,
    };
    Some(RemoteResult { id: name, response })
}

/// The status of an error, as a request would have got it.
fn status(kind: &Value) -> u16 {
    match kind.as_str().unwrap_or_default() {
        "invalid_request_error" => 400,
        "authentication_error" => 401,
        "permission_error" => 403,
        "not_found_error" => 404,
        "request_too_large" => 413,
        "rate_limit_error" => 429,
        "overloaded_error" => 529,
        _ => 500,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_with_the_batch() {
        let one = (REMOTE.line)("a-0", "", b"{\"model\":\n\"m\"}");
        let two = (REMOTE.line)("a-1", "", b"{}");
        assert_eq!((REMOTE.asked)(&two), Some(&b"{}"[..]));
        let lines = [one, two].map(|line| [&line[..], b"\n"].concat()).concat();
        let new = NewRemote {
            endpoint: "/v1/messages",
            file: "",
            lines: &lines,
            tag: "a",
        };
        let create = parsed(&(REMOTE.create)(&new)).unwrap();
        let params = json!({ "model": "m" });
        let one = json!({ "custom_id": "a-0", "params": params });
        let two = json!({ "custom_id": "a-1", "params": {} });
        assert_eq!(create, json!({ "requests": [one, two] }));
    }

    #[test]
    fn a_batch_is_sought_by_its_time_and_size() {
        let read = |status: &str, more: &str| {
            let text = format!(
                r#"{{"id":"msgbatch_1","processing_status":"{status}",
                    "created_at":"2026-01-01T00:00:00Z","request_counts":{{"processing":1,"succeeded":2,"expired":0}}{more}}}"#
            );
            (REMOTE.read)(text.as_bytes()).unwrap()
        };
        let running = read("in_progress", "");
        assert_eq!(running.end, None);
        let sought = |since, lines| Sought {
            tag: "t",
            since,
            until: since + 600,
            lines,
        };
        let made = running.made.unwrap();
        for (since, lines, expected) in [
            (made, 3, Likeness::Perhaps),
            (made, 2, Likeness::Other),
            (made + 3_600, 3, Likeness::Other),
            (made - 3_600, 3, Likeness::Other),
        ] {
            let likeness = (REMOTE.likeness)(&running, &sought(since, lines));
            assert_eq!(likeness, expected, "{since} {lines}");
        }
        let page =
            |more: &str| (REMOTE.list)(format!(r#"{{"data":[{{"id":"a"}}],{more}}}"#).as_bytes());
        let next = |more| page(more).unwrap().next;
        assert_eq!(next(r#""has_more":true"#).as_deref(), Some("a"));
        assert_eq!(next(r#""has_more":false"#), None);
        assert_eq!(read("ended", "").end, Some(RemoteEnd::Completed));
        let cancelled = read("ended", r#","cancel_initiated_at":"2026-01-01T00:00:00Z""#);
        assert_eq!(cancelled.end, Some(RemoteEnd::Cancelled));
        assert_eq!(
            (REMOTE.read)(b"{\"id\":\"..\",\"processing_status\":\"ended\"}"),
            None
        );
    }

    #[test]
    fn each_type_of_result_is_read() {
        let read = |result: &str| {
            let line = format!(r#"{{"custom_id":"a","result":{result}}}"#);
            (REMOTE.result)(line.as_bytes()).map(|result| result.response)
        };
        let message = read(r#"{"type":"succeeded","message":{"id":"x"}}"#);
        assert_eq!(
            message,
            Some(RemoteResponse::Body(200, json!({ "id": "x" })))
        );
        let error = r#"{"type":"error","error":{"type":"overloaded_error","message":"x"}}"#;
        let errored = read(&format!(r#"{{"type":"errored","error":{error}}}"#));
        assert!(matches!(errored, Some(RemoteResponse::Body(529, _))));
        let expired = read(r#"{"type":"expired"}"#);
        assert!(matches!(expired, Some(RemoteResponse::Unasked { .. })));
        assert_eq!(read(r#"{"type":"other"}"#), None);
        assert_eq!(read("7"), None);
    }
}
