//! The audit log, and the versions of the configuration.

use serde::Serialize;
use serde_json::Value as Json;

use crate::records::stores::Failure;
use crate::records::{EntryId, Error, Ledger};

/// Something that was done, and by whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[schemars(inline)]
pub struct Audited {
    /// Its id.
    pub id: EntryId,
    /// Unix milliseconds, the same as in the id.
    pub at: i64,
    /// Login or tags; empty for the gateway itself.
    pub actor: String,
    /// The node that it was done from.
    pub node: String,
    /// What was done, such as `config_saved`.
    pub kind: String,
    /// What it was done to.
    pub subject: String,
    /// More on it.
    #[schemars(with = "serde_json::Map<String, Json>")]
    pub detail: Json,
    /// How often, where it was done again and again.
    pub count: i64,
    /// What the actor is told apart by from others of the same login. Empty for the gateway itself and
    /// in rows from before it was kept.
    pub caller: String,
}

/// Which rows of the audit log are asked for.
#[derive(Clone, Debug, Default)]
pub struct AuditQuery {
    /// Only this actor's.
    pub actor: Option<String>,
    /// Only of this kind.
    pub kind: Option<String>,
    /// Only from then on, in Unix milliseconds.
    pub from: Option<i64>,
    /// Only before then.
    pub to: Option<i64>,
    /// Only those before this one.
    pub before: Option<String>,
    /// Rows at most.
    pub limit: usize,
}

/// A version of the configuration that was in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[schemars(rename = "VersionRow")]
pub struct Version {
    /// Its id.
    pub id: EntryId,
    /// Unix milliseconds.
    pub at: i64,
    /// Who made it; empty where it was found in the file.
    pub actor: String,
    /// From which node.
    pub node: String,
    /// `saved`, `rolled_back` or `file`.
    pub how: String,
    /// Of the whole text, secrets included.
    pub hash: String,
    /// The version before.
    pub parent: Option<String>,
    /// Without its secrets; left out of lists.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(skip)]
    pub text: String,
}

/// The audit log and the history of the configuration.
pub(crate) trait AuditLog {
    /// Adds a row.
    fn audit(&mut self, one: &Audited) -> Result<(), Failure>;
    /// A page of rows, newest first.
    fn audited(&mut self, query: &AuditQuery) -> Result<Vec<Audited>, Failure>;
    /// Adds a version of the configuration, unless the newest has the same hash; its parent is the newest.
    /// Returns whether it was new.
    fn add_version(&mut self, version: &Version) -> Result<bool, Failure>;
    /// The versions, newest first, without their texts.
    fn versions(&mut self) -> Result<Vec<Version>, Failure>;
    /// One version, with its text.
    fn version(&mut self, id: &str) -> Result<Option<Version>, Failure>;
}

impl Ledger {
    /// Notes what was done. It is durable when this returns.
    pub async fn audit(&self, one: Audited) -> Result<(), Error> {
        self.write(move |connection| connection.audit(&one)).await
    }

    /// What was done, newest first.
    pub async fn audited(&self, query: AuditQuery) -> Result<Vec<Audited>, Error> {
        self.read(move |connection| connection.audited(&query))
            .await
    }

    /// Keeps a version of the configuration, unless it is the newest. Answers whether it is new.
    pub async fn add_version(&self, version: Version) -> Result<bool, Error> {
        self.write(move |connection| connection.add_version(&version))
            .await
    }

    /// The versions of the configuration, newest first, without their texts.
    pub async fn versions(&self) -> Result<Vec<Version>, Error> {
        self.read(|connection| connection.versions()).await
    }

    /// One version of the configuration.
    pub async fn version(&self, id: &str) -> Result<Option<Version>, Error> {
        let id = id.to_owned();
        self.read(move |connection| connection.version(&id)).await
    }
}
