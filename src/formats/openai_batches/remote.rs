//! OpenAI's batches at a provider.

use serde_json::{Value, json};

use super::BATCHES;
use crate::formats::remote_batches::{
    Likeness, NewRemote, RemoteBatch, RemoteBatches, RemoteEnd, RemoteFiles, RemoteResponse,
    RemoteResult, id, on_one_line, page, value_of,
};

/// Begins no line of a file: each begins with a brace.
const BOUNDARY: &str = "iris-batch-lines";
/// The key of `metadata` that has a batch's tag.
const TAG: &str = "iris_batch";
/// Flaws of a batch that are repeated.
const MOST_FLAWS: usize = 5;
/// Characters of each.
const MOST_WORDS: usize = 300;

/// The API of a provider with the flag `openai_batches`.
pub static REMOTE: RemoteBatches = RemoteBatches {
    format: &BATCHES,
    headers: &[],
    files: Some(RemoteFiles {
        path: "/v1/files",
        content_type: "multipart/form-data; boundary=iris-batch-lines",
        form,
        read: |body| id(&parsed(body)?["id"]),
    }),
    path: "/v1/batches",
    line,
    asked: |line| value_of(line, "body"),
    create,
    read: |body| of(&parsed(body)?),
    paging: (100, "after"),
    list: |body| page(&parsed(body)?, of),
    likeness: |batch, sought| match batch.tag.as_deref() {
        Some(tag) if tag == sought.tag => Likeness::Same,
        _ => Likeness::Other,
    },
    result,
};

fn parsed(body: &[u8]) -> Option<Value> {
    serde_json::from_slice(body).ok()
}

fn form(name: &str, lines: &[u8]) -> Vec<u8> {
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n\
         --{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}.jsonl\"\r\n\
         Content-Type: application/jsonl\r\n\r\n"
    );
    let end = format!("\r\n--{BOUNDARY}--\r\n");
    [head.as_bytes(), lines, end.as_bytes()].concat()
}

fn line(name: &str, endpoint: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "{{\"custom_id\":{},\"method\":\"POST\",\"url\":{},\"body\":",
        Value::from(name),
        Value::from(endpoint)
    );
    let mut line = head.into_bytes();
    line.extend(on_one_line(body));
    line.push(b'}');
    line
}

fn create(new: &NewRemote<'_>) -> Vec<u8> {
    let create = json!({
        "input_file_id": new.file,
        "endpoint": new.endpoint,
        "completion_window": "24h",
        "metadata": { TAG: new.tag },
    });
    create.to_string().into_bytes()
}

fn of(batch: &Value) -> Option<RemoteBatch> {
    let end = match batch["status"].as_str()? {
        "completed" => Some(RemoteEnd::Completed),
        "failed" => Some(RemoteEnd::Failed),
        "expired" => Some(RemoteEnd::Expired),
        "cancelled" => Some(RemoteEnd::Cancelled),
        _ => None,
    };
    let files = |keys: &[&str]| {
        let ids = keys.iter().filter_map(|key| id(&batch[key]));
        ids.collect::<Vec<_>>()
    };
    let results = files(&["output_file_id", "error_file_id"]);
    let leftovers = files(&["input_file_id", "output_file_id", "error_file_id"]);
    Some(RemoteBatch {
        id: id(&batch["id"])?,
        tag: batch["metadata"][TAG].as_str().map(str::to_owned),
        made: batch["created_at"].as_i64(),
        total: None,
        end,
        results: paths(results, "/content"),
        leftovers: paths(leftovers, ""),
        why: why(&batch["errors"]["data"]),
    })
}

fn paths(ids: Vec<String>, then: &str) -> Vec<String> {
    let ids = ids.into_iter();
    ids.map(|id| format!("/v1/files/{id}{then}")).collect()
}

fn why(flaws: &Value) -> Option<String> {
    let flaws = flaws.as_array()?.iter().take(MOST_FLAWS);
    let words = flaws.filter_map(|flaw| {
        let words: String = flaw["message"].as_str()?.chars().take(MOST_WORDS).collect();
        Some(match flaw["line"].as_u64() {
            Some(line) => format!("line {line}: {words}"),
            None => words,
        })
    });
    let words: Vec<_> = words.collect();
    (!words.is_empty()).then(|| words.join("; "))
}

fn result(line: &[u8]) -> Option<RemoteResult> {
    let mut line = parsed(line)?;
    let name = line["custom_id"].as_str()?.to_owned();
    let text = |value: &Value| {
        let text = value.as_str().unwrap_or_default();
        text.chars().take(MOST_WORDS).collect::<String>()
    };
    let status = line["response"]["status_code"].as_u64();
    let status = status.and_then(|status| u16::try_from(status).ok());
    let response = if let Some(status) = status {
        RemoteResponse::Body(status, line["response"]["body"].take())
    } else {
        let error = line.get("error").filter(|error| error.is_object())?;
        RemoteResponse::Unasked {
            code: text(&error["code"]),
            why: text(&error["message"]),
        }
    };
    Some(RemoteResult { id: name, response })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_ended_where_its_status_says_so() {
        let read = |text: &str| (REMOTE.read)(text.as_bytes());
        let running = read(r#"{"id":"batch_1","status":"validating"}"#).unwrap();
        assert_eq!((running.end, running.results), (None, vec![]));
        let ended = read(
            r#"{"id":"batch_1","status":"expired","input_file_id":"file-1","output_file_id":"file-2",
                "error_file_id":null,"metadata":{"iris_batch":"t"}}"#,
        )
        .unwrap();
        assert_eq!(ended.end, Some(RemoteEnd::Expired));
        assert_eq!(ended.tag.as_deref(), Some("t"));
        assert_eq!(ended.results, ["/v1/files/file-2/content"]);
        assert_eq!(ended.leftovers, ["/v1/files/file-1", "/v1/files/file-2"]);
        let failed = read(
            r#"{"id":"b","status":"failed","errors":{"data":[{"message":"no","line":2},{"code":"x"}]}}"#,
        );
        assert_eq!(failed.unwrap().why.as_deref(), Some("line 2: no"));
        for wrong in [
            "",
            "[]",
            "{}",
            r#"{"id":"../x","status":"completed"}"#,
            r#"{"id":1}"#,
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_result_is_a_response_or_why_there_is_none() {
        let read = |text: &str| (REMOTE.result)(text.as_bytes());
        let asked =
            read(r#"{"custom_id":"a","response":{"status_code":400,"body":{"x":1}},"error":null}"#);
        let response = RemoteResponse::Body(400, json!({ "x": 1 }));
        assert_eq!(asked.unwrap().response, response);
        let expired = r#"{"custom_id":"a","response":null,"error":{"code":"batch_expired","message":"late"}}"#;
        let response = RemoteResponse::Unasked {
            code: "batch_expired".to_owned(),
            why: "late".to_owned(),
        };
        assert_eq!(read(expired).unwrap().response, response);
        for wrong in [
            "",
            "7",
            r#"{"custom_id":"a"}"#,
            r#"{"response":{"status_code":200}}"#,
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_line_has_no_break() {
        let line = (REMOTE.line)("a-1", "/v1/embeddings", b"{\"input\":\n\"a\\nb\"}");
        let expected = r#"{"custom_id":"a-1","method":"POST","url":"/v1/embeddings","body":{"input": "a\nb"}}"#;
        assert_eq!(line, expected.as_bytes());
        let asked = br#"{"input": "a\nb"}"#;
        assert_eq!((REMOTE.asked)(&line), Some(&asked[..]));
        assert_eq!((REMOTE.asked)(b"{"), None);
    }
}
