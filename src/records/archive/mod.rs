//! The archive: one record and what belongs to it, sessions, and what people do: the audit log, versions of
//! the configuration, conversations of the chat.

pub(super) mod audit;
pub(super) mod chats;
pub(super) mod earlier;

use serde::Serialize;

use super::{Capture, Counts, Entry, EntryId, Error, Failure, Ledger, Query, Scope, ToolCall};
use audit::AuditLog;
pub use audit::{AuditQuery, Audited, Version};
use chats::Chats;
pub use chats::{ChatRow, ChatWrite, Expected, MOST_CHATS, chat_version};
use earlier::Earlier;

/// The requests of one caller that carry one session id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Session {
    pub id: String,
    /// Whose it is: the number of the user, or the tags. A login can pass to another user.
    pub caller: String,
    /// What people called the caller with the last request.
    pub login: String,
    /// Of the last request, as are the agent, the model and the provider.
    pub node_name: String,
    pub agent: String,
    pub model: String,
    pub provider: String,
    /// All models that answered, in the order of their names.
    pub models: Vec<String>,
    #[serde(flatten)]
    pub counts: Counts,
    /// When its first and its last request started, in unix milliseconds.
    pub started_at: i64,
    pub last_at: i64,
    /// The cursor of this row: what comes before it is older.
    pub last_request: EntryId,
}

/// What a store of the archive does: one thing is found, or kept, at a time.
pub(super) trait Archive: AuditLog + Chats + Earlier {
    /// One request, if it exists within `scope`.
    fn request(&mut self, scope: &Scope, id: &str) -> Result<Option<Entry>, Failure>;
    /// The tool calls in its response, in order.
    fn tools(&mut self, scope: &Scope, id: &str) -> Result<Vec<ToolCall>, Failure>;
    /// The headers by which it can be filtered.
    fn headers(&mut self, scope: &Scope, id: &str) -> Result<Vec<(String, String)>, Failure>;
    /// Its capture, if there is one.
    fn capture(&mut self, scope: &Scope, id: &str) -> Result<Option<Capture>, Failure>;
    /// A page of the sessions of which some request matches, those with the latest requests first.
    fn sessions(&mut self, scope: &Scope, query: &Query) -> Result<Vec<Session>, Failure>;
}

impl Ledger {
    /// One request; `None` also where it is not within `scope`.
    pub async fn request(&self, scope: Scope, id: &str) -> Result<Option<Entry>, Error> {
        let (within, of) = (scope.clone(), id.to_owned());
        let found = self.read(move |connection| connection.request(&within, &of));
        if let Some(found) = found.await? {
            return Ok(Some(found));
        }
        // It may be in the journal.
        let id = id.to_owned();
        self.read_records(move |connection| connection.request(&scope, &id))
            .await
    }

    /// The calls of tools in a request's answer, in order; empty where they were purged.
    pub async fn tools(&self, scope: Scope, id: &str) -> Result<Vec<ToolCall>, Error> {
        self.read_part(scope, id, |connection, scope, id| {
            connection.tools(scope, id)
        })
        .await
    }

    /// The headers by which a request can be filtered.
    pub async fn headers(&self, scope: Scope, id: &str) -> Result<Vec<(String, String)>, Error> {
        self.read_part(scope, id, |connection, scope, id| {
            connection.headers(scope, id)
        })
        .await
    }

    /// What was said in a request, if it was captured and is kept.
    pub async fn capture(&self, scope: Scope, id: &str) -> Result<Option<Capture>, Error> {
        self.read_part(scope, id, |connection, scope, id| {
            connection.capture(scope, id)
        })
        .await
    }

    /// The sessions within `scope` of which some request matches, newest first.
    pub async fn sessions(&self, scope: Scope, query: Query) -> Result<Vec<Session>, Error> {
        self.read_records(move |connection| connection.sessions(&scope, &query))
            .await
    }
}
