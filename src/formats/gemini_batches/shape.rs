//! Batches as Gemini's clients read them: long-running operations.

use serde_json::{Map, Value, json};

use super::MethodOfModel;
use super::line::error_of;
use crate::formats::openai_batches::Counts;

/// What Google's types are called.
const TYPES: &str = "type.googleapis.com/google.ai.generativelanguage.v1main.";
/// What stands around the results that came with a batch.
const LIST: &str = r#"{"inlinedResponses":{"inlinedResponses":["#;
const END: &str = "]}}";

/// Where a batch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Running,
    Succeeded,
    Failed,
    Cancelled,
    Expired,
}

/// What clients see of a batch. Times are Unix seconds.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'b> {
    pub id: &'b str,
    /// The path that its lines are for.
    pub endpoint: &'b str,
    pub name: &'b str,
    /// The file that it is made of, if it is.
    pub input: Option<&'b str>,
    pub state: State,
    pub counts: Counts,
    pub created: Option<i64>,
    pub updated: Option<i64>,
    pub ended: Option<i64>,
    /// The file with its results, if they are in one and it has ended.
    pub output: Option<&'b str>,
    /// Why it failed.
    pub why: Option<&'b str>,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Running => "BATCH_STATE_RUNNING",
            Self::Succeeded => "BATCH_STATE_SUCCEEDED",
            Self::Failed => "BATCH_STATE_FAILED",
            Self::Cancelled => "BATCH_STATE_CANCELLED",
            Self::Expired => "BATCH_STATE_EXPIRED",
        }
    }
}

impl Batch<'_> {
    fn method(&self) -> Option<MethodOfModel<'_>> {
        MethodOfModel::of_endpoint(self.endpoint)
    }

    /// The name of one of Google's types, such as `GenerateContentBatch`.
    fn kind(&self, what: &str) -> String {
        let embeds = self.method().is_some_and(MethodOfModel::embeds);
        let method = if embeds {
            "EmbedContent"
        } else {
            "GenerateContent"
        };
        format!("{TYPES}{method}{what}")
    }

    fn metadata(&self) -> Map<String, Value> {
        let Counts {
            total,
            completed,
            failed,
        } = self.counts;
        let pending = match self.state {
            State::Running => total.saturating_sub(completed + failed),
            _ => 0,
        };
        // Numbers of 64 bits are texts in this API.
        let stats = json!({
            "requestCount": total.to_string(),
            "successfulRequestCount": completed.to_string(),
            "failedRequestCount": failed.to_string(),
            "pendingRequestCount": pending.to_string(),
        });
        let text = |key: &str, value: String| (key.to_owned(), Value::from(value));
        let mut metadata = Map::from_iter([
            text("@type", self.kind("Batch")),
            text("name", format!("batches/{}", self.id)),
            text("state", self.state.as_str().to_owned()),
            ("batchStats".to_owned(), stats),
        ]);
        let name = Some(self.name).filter(|name| !name.is_empty());
        metadata.extend(name.map(|name| text("displayName", name.to_owned())));
        let model = self.method().map(MethodOfModel::resource);
        metadata.extend(model.map(|model| text("model", model)));
        for (key, seconds) in [
            ("createTime", self.created),
            ("updateTime", self.updated),
            ("endTime", self.ended),
        ] {
            metadata.extend(time(seconds).map(|time| text(key, time)));
        }
        if let Some(input) = self.input {
            let input = json!({ "fileName": format!("files/{input}") });
            metadata.insert("inputConfig".to_owned(), input);
        }
        metadata
    }

    /// What an operation that has ended without success says: a `google.rpc.Status`.
    fn error(&self) -> Option<Value> {
        let (code, why) = match self.state {
            State::Running | State::Succeeded => return None,
            State::Cancelled => (1, "the batch was cancelled"),
            State::Expired => (4, "the batch has not ended in its time"),
            State::Failed => (13, "the batch failed"),
        };
        Some(error_of(code, self.why.unwrap_or(why)))
    }
}

/// A batch, with its results if they are in a file.
#[must_use]
pub fn operation(batch: &Batch<'_>) -> Value {
    let mut metadata = batch.metadata();
    let file = batch.output.map(|id| format!("files/{id}"));
    if let Some(file) = &file {
        metadata.insert("output".to_owned(), json!({ "responsesFile": file }));
    }
    let mut operation = json!({
        "name": format!("batches/{}", batch.id),
        "metadata": metadata,
        "done": batch.state != State::Running,
    });
    if let Some(error) = batch.error() {
        operation["error"] = error;
    } else if let Some(file) = file {
        let kind = batch.kind("BatchOutput");
        operation["response"] = json!({ "@type": kind, "responsesFile": file });
    }
    operation
}

/// A batch that has ended and whose requests came with it, as the pieces of text around each place where its results are
/// to stand: they can be longer than what is held in memory. Google's SDKs read them in the metadata, and its examples
/// for curl in the response.
#[must_use]
pub fn around_results(batch: &Batch<'_>) -> Vec<String> {
    let name = Value::from(format!("batches/{}", batch.id));
    let mut metadata = Value::from(batch.metadata()).to_string();
    // More stands in it than what is here.
    metadata.pop();
    let first = format!(r#"{{"name":{name},"metadata":{metadata},"output":{LIST}"#);
    let then = format!(r#"{END}}},"done":true"#);
    if let Some(error) = batch.error() {
        return vec![first, format!(r#"{then},"error":{error}}}"#)];
    }
    let kind = Value::from(batch.kind("BatchOutput"));
    let list = LIST.trim_start_matches('{');
    let then = format!(r#"{then},"response":{{"@type":{kind},{list}"#);
    vec![first, then, format!("{END}}}")]
}

/// A page of a list.
#[must_use]
pub fn list(operations: &[Value], has_more: bool) -> Value {
    let mut page = json!({ "operations": operations });
    let name = operations.last().and_then(|last| last["name"].as_str());
    let last = name.and_then(|name| name.strip_prefix("batches/"));
    if let Some(last) = last.filter(|_| has_more) {
        page["nextPageToken"] = last.into();
    }
    page
}

fn time(seconds: Option<i64>) -> Option<String> {
    let time = jiff::Timestamp::from_second(seconds?).ok()?;
    Some(time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BATCH: Batch<'_> = Batch {
        id: "b",
        endpoint: "/v1beta/models/p%2Fm:generateContent",
        name: "night \"one\"",
        input: None,
        state: State::Succeeded,
        counts: Counts {
            total: 3,
            completed: 1,
            failed: 1,
        },
        created: Some(0),
        updated: Some(60),
        ended: Some(60),
        output: None,
        why: None,
    };

    #[test]
    fn a_batch_is_an_operation() {
        let running = operation(&Batch {
            state: State::Running,
            input: Some("in"),
            ended: None,
            ..BATCH
        });
        let expected = json!({
            "name": "batches/b",
            "metadata": {
                "@type": format!("{TYPES}GenerateContentBatch"),
                "name": "batches/b",
                "displayName": "night \"one\"",
                "model": "models/p/m",
                "state": "BATCH_STATE_RUNNING",
                "inputConfig": { "fileName": "files/in" },
                "createTime": "1970-01-01T00:00:00Z",
                "updateTime": "1970-01-01T00:01:00Z",
                "batchStats": {
                    "requestCount": "3", "successfulRequestCount": "1",
                    "failedRequestCount": "1", "pendingRequestCount": "1",
                },
            },
            "done": false,
        });
        assert_eq!(running, expected);
        let file = operation(&Batch {
            endpoint: "/v1beta/models/m:embedContent",
            output: Some("out"),
            ..BATCH
        });
        let output = json!({ "responsesFile": "files/out" });
        assert_eq!(file["metadata"]["output"], output);
        assert_eq!(file["response"]["responsesFile"], "files/out");
        let kind = format!("{TYPES}EmbedContentBatchOutput");
        assert_eq!(file["response"]["@type"], kind);
    }

    #[test]
    fn results_that_came_with_a_batch_stand_in_metadata_and_response() {
        let result = r#"{"response":{}}"#;
        let whole = |batch: &Batch<'_>| {
            let text = around_results(batch).join(&format!("{result},\n{result}\n"));
            serde_json::from_str::<Value>(&text).unwrap()
        };
        let succeeded = whole(&BATCH);
        let list = json!({ "inlinedResponses": [{ "response": {} }, { "response": {} }] });
        assert_eq!(succeeded["metadata"]["output"]["inlinedResponses"], list);
        assert_eq!(succeeded["response"]["inlinedResponses"], list);
        assert_eq!(succeeded["done"], true);
        for (state, why, error) in [
            (
                State::Cancelled,
                None,
                json!({ "code": 1, "message": "the batch was cancelled" }),
            ),
            (
                State::Failed,
                Some("why"),
                json!({ "code": 13, "message": "why" }),
            ),
        ] {
            let ended = whole(&Batch {
                state,
                why,
                ..BATCH
            });
            assert_eq!(ended["error"], error);
            assert_eq!(ended["metadata"]["output"]["inlinedResponses"], list);
            assert_eq!(ended.get("response"), None);
        }
    }
}
