//! Batches that a provider runs itself: how they are made, looked at and read, by the API that the provider has.
//!
//! All that comes from a provider is checked here: ids become parts of paths.

use serde_json::Value;

use super::Format;
use crate::wire::json;

/// Characters of a provider's id.
const MOST_ID: usize = 256;

/// The API of a provider's batches.
#[derive(Clone, Copy, Debug)]
pub struct RemoteBatches {
    /// The format whose flag says that a provider has it.
    pub format: &'static Format,
    /// Headers of each request to it, with the values that batches may have: that of the request for the batch, or the
    /// first.
    pub headers: &'static [(&'static str, &'static [&'static str])],
    /// How lines are sent before the batch is made; `None` if they come with it.
    pub files: Option<RemoteFiles>,
    /// Where batches are made and listed.
    pub path: &'static str,
    /// A line, from its name, the path that it is for and what it asks. It has no line break.
    pub line: fn(&str, &str, &[u8]) -> Vec<u8>,
    /// What such a line asks.
    pub asked: fn(&[u8]) -> Option<&[u8]>,
    /// The request that makes a batch.
    pub create: fn(&NewRemote<'_>) -> Vec<u8>,
    /// A batch, as the provider tells it.
    pub read: fn(&[u8]) -> Option<RemoteBatch>,
    /// The longest page of the provider's list of batches, and the parameter with the id behind which it begins.
    pub paging: (usize, &'static str),
    /// A page of that list, newest first.
    pub list: fn(&[u8]) -> Option<RemotePage>,
    /// Whether a batch of the list is the one that is looked for.
    pub likeness: fn(&RemoteBatch, &Sought<'_>) -> Likeness,
    /// A line of results.
    pub result: fn(&[u8]) -> Option<RemoteResult>,
}

/// How the lines of a batch are sent as a file.
#[derive(Clone, Copy, Debug)]
pub struct RemoteFiles {
    /// Where.
    pub path: &'static str,
    /// The content type of the request.
    pub content_type: &'static str,
    /// The request's body, from the file's name and its lines.
    pub form: fn(&str, &[u8]) -> Vec<u8>,
    /// The id of the file, as the provider tells it.
    pub read: fn(&[u8]) -> Option<String>,
}

/// A batch that is to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewRemote<'n> {
    /// The path that its lines are for.
    pub endpoint: &'n str,
    /// The file with its lines, if they were sent as one.
    pub file: &'n str,
    /// Its lines, if they come with it.
    pub lines: &'n [u8],
    /// What tells it from the provider's other batches.
    pub tag: &'n str,
}

/// A batch that the provider may have made.
#[derive(Clone, Copy, Debug)]
pub struct Sought<'s> {
    /// What tells it from the provider's other batches.
    pub tag: &'s str,
    /// Between when and when it can have been made, in Unix seconds.
    pub since: i64,
    pub until: i64,
    /// How many lines it has.
    pub lines: u64,
}

/// Whether a batch is the one that is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Likeness {
    /// It has the tag.
    Same,
    /// The API has no tags. The names of its lines tell, once it has results.
    Perhaps,
    Other,
}

/// A page of a provider's list of batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemotePage {
    pub batches: Vec<RemoteBatch>,
    /// Behind which batch the next page begins; `None` on the last one.
    pub next: Option<String>,
}

/// A provider's batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteBatch {
    pub id: String,
    /// What tells it from the provider's other batches, where the API keeps that.
    pub tag: Option<String>,
    /// When it was made, in Unix seconds.
    pub made: Option<i64>,
    /// How many lines it has, where the API has no tags.
    pub total: Option<u64>,
    /// `None` while it runs.
    pub end: Option<RemoteEnd>,
    /// Where its results are, once it has ended.
    pub results: Vec<String>,
    /// What to delete once they have been read.
    pub leftovers: Vec<String>,
    /// What the provider says is wrong with it.
    pub why: Option<String>,
}

/// How a provider's batch has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoteEnd {
    Completed,
    Failed,
    Expired,
    Cancelled,
}

/// What a line came to.
#[derive(Clone, Debug, PartialEq)]
pub struct RemoteResult {
    /// The name of the line.
    pub id: String,
    pub response: RemoteResponse,
}

/// What came of a line.
#[derive(Clone, Debug, PartialEq)]
pub enum RemoteResponse {
    /// It was asked: its status, and what the response says.
    Body(u16, Value),
    /// It was not asked: a code, and why.
    Unasked { code: String, why: String },
}

impl RemoteBatches {
    /// Where a batch is told.
    #[must_use]
    pub fn batch(&self, id: &str) -> String {
        format!("{}/{id}", self.path)
    }

    /// Where a page of the list of batches is, behind some batch.
    #[must_use]
    pub fn page(&self, after: Option<&str>) -> String {
        let (limit, parameter) = self.paging;
        let after = after.map(|id| format!("&{parameter}={id}"));
        format!("{}?limit={limit}{}", self.path, after.unwrap_or_default())
    }

    /// Where a batch is cancelled.
    #[must_use]
    pub fn cancel(&self, id: &str) -> String {
        format!("{}/{id}/cancel", self.path)
    }
}

/// A provider's id that can stand in a path.
pub(super) fn id(value: &Value) -> Option<String> {
    let id = value.as_str()?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let fits = !id.is_empty() && id.len() <= MOST_ID && id.bytes().all(is_plain);
    fits.then(|| id.to_owned())
}

/// A page of a list, from how the API shows a batch.
pub(super) fn page(list: &Value, of: fn(&Value) -> Option<RemoteBatch>) -> Option<RemotePage> {
    let data = list["data"].as_array()?;
    let has_more = list["has_more"].as_bool().unwrap_or_default();
    let last = data.last().filter(|_| has_more);
    let next = match last {
        // Without it the rest of the list can't be had.
        Some(last) => Some(id(&last["id"])?),
        None => None,
    };
    Some(RemotePage {
        batches: data.iter().filter_map(of).collect(),
        next,
    })
}

/// The value of a key of a line that the gateway has written itself.
pub(super) fn value_of<'l>(line: &'l [u8], key: &str) -> Option<&'l [u8]> {
    let fields = json::scan(line, &[key]).ok()?;
    fields.get(0).map(|at| &line[at])
}

/// JSON without line breaks: outside of texts, in which none can stand, they are blanks.
pub(super) fn on_one_line(json: &[u8]) -> impl Iterator<Item = u8> {
    json.iter().map(|byte| match byte {
        b'\n' | b'\r' => b' ',
        byte => *byte,
    })
}
