//! Files as Gemini's clients read them.

use serde_json::{Value, json};

/// What clients see of a file. Times are Unix milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct FileShape<'f> {
    pub id: &'f str,
    pub name: &'f str,
    pub kind: &'f str,
    pub bytes: u64,
    pub made: i64,
    pub ends: Option<i64>,
    /// The gateway wrote it: it has the results of a batch.
    pub is_generated: bool,
    /// The gateway as the caller knows it, such as `http://ai`.
    pub origin: &'f str,
}

/// A file.
#[must_use]
pub fn file(file: &FileShape<'_>) -> Value {
    let made = time(file.made);
    let uri = format!("{}/v1beta/files/{}", file.origin, file.id);
    let mut shape = json!({
        "name": format!("files/{}", file.id),
        "displayName": file.name,
        "mimeType": file.kind,
        // A number of 64 bits is a text in this API.
        "sizeBytes": file.bytes.to_string(),
        "createTime": made,
        "updateTime": made,
        "expirationTime": file.ends.and_then(time),
        "uri": uri,
        "state": "ACTIVE",
        "source": if file.is_generated { "GENERATED" } else { "UPLOADED" },
    });
    if file.is_generated {
        // Google's SDKs download no file without it.
        shape["downloadUri"] = format!("{uri}:download?alt=media").into();
    }
    shape
}

fn time(milliseconds: i64) -> Option<String> {
    let time = jiff::Timestamp::from_millisecond(milliseconds).ok()?;
    Some(time.to_string())
}

/// The answer to the last step of an upload.
#[must_use]
pub fn uploaded(file: &Value) -> Value {
    json!({ "file": file })
}

/// A page of a list.
#[must_use]
pub fn list(files: &[Value], has_more: bool) -> Value {
    let mut page = json!({ "files": files });
    let name = files.last().and_then(|last| last["name"].as_str());
    let last = name.and_then(|name| name.strip_prefix("files/"));
    if let Some(last) = last.filter(|_| has_more) {
        page["nextPageToken"] = last.into();
    }
    page
}

/// The answer to the deletion of a file.
#[must_use]
pub fn deleted() -> Value {
    json!({})
}
