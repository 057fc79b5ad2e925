//! Who runs a batch, and how far it has come at a provider that has batches of its own. It is stored with the batch,
//! so that another process can go on with it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::patience::FailingFor;
use crate::base::money::Money;
use crate::exchange::stored::Running;
use crate::formats::remote_batches::RemoteEnd;
use crate::policy::budget::Amounts;

/// Which batches of providers this process's batches are: the provider's name and its id, by the id here.
pub(super) type Known = Mutex<HashMap<String, (String, String)>>;

/// Who runs the lines of a batch.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RunBy {
    /// This gateway, one after the other.
    #[default]
    Gateway,
    /// A provider, in a batch of its own.
    Provider(Box<Relayed>),
}

/// A batch that a provider runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Relayed {
    /// The provider's name in the configuration.
    pub(super) provider: String,
    /// The number of its key.
    pub(super) key: usize,
    /// What tells it from the provider's other batches. The names of its lines begin with it.
    pub(super) tag: String,
    /// The lines that the provider gets.
    pub(super) lines: LocalFile,
    /// For each of them, what its record needs.
    pub(super) notes: LocalFile,
    /// What the provider has made of them.
    pub(super) results: LocalFile,
    /// How many lines it gets.
    pub(super) sent: u64,
    /// What they may cost, by model.
    pub(super) expected: BTreeMap<String, Expected>,
    pub(super) stage: Stage,
    /// When the lines that are checked next were begun, in Unix milliseconds; 0 before that. The ids of their
    /// records have this time, so that a line that is checked again after a restart has the same id.
    #[serde(default)]
    pub(super) since: i64,
    /// For how long the provider has said that it has no such batch.
    #[serde(default)]
    pub(super) gone: FailingFor,
    /// For how long the batch could not be gone on with although it is late.
    #[serde(default)]
    pub(super) stuck: FailingFor,
}

/// A file on this node's disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct LocalFile {
    pub(super) id: String,
    pub(super) bytes: u64,
}

/// What lines may cost.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Expected {
    pub(super) tokens: i64,
    /// Nanodollars; `None` where a price isn't known.
    pub(super) cost: Option<i64>,
}

/// What is done next.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    /// Lines are cleared, one after the other.
    Preparing,
    /// The lines are sent.
    Sending,
    /// The batch is made of the provider's file, if it takes files. With `asked` the provider may have made it.
    Making {
        file: String,
        asked: Option<AskedFor>,
    },
    /// The provider runs it.
    Running {
        batch: String,
        file: String,
        is_cancelled: bool,
    },
    /// Results are fetched.
    Fetching(End),
    /// Results are recorded. `read` is where the next one begins, and lines before `missing` have one.
    Settling { end: End, read: u64, missing: u64 },
}

/// When a provider was asked for a batch that it may have made, first and last, in Unix seconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct AskedFor {
    pub(super) first: i64,
    pub(super) last: i64,
}

/// How the provider's batch has ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct End {
    pub(super) kind: EndKind,
    /// Paths of results at the provider.
    pub(super) results: Vec<String>,
    /// Paths of what is to be deleted there.
    pub(super) leftovers: Vec<String>,
    /// What the provider says is wrong, or what is wrong with its answers.
    pub(super) why: Option<String>,
}

/// How a provider's batch has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum EndKind {
    Completed,
    Failed,
    Expired,
    Cancelled,
    /// The provider has it no more, or not all that it made could be had.
    Lost,
}

impl From<RemoteEnd> for EndKind {
    fn from(end: RemoteEnd) -> Self {
        match end {
            RemoteEnd::Completed => Self::Completed,
            RemoteEnd::Failed => Self::Failed,
            RemoteEnd::Expired => Self::Expired,
            RemoteEnd::Cancelled => Self::Cancelled,
        }
    }
}

impl Relayed {
    /// What the provider calls a line, by its number from 0.
    pub(super) fn name(&self, nth: u64) -> String {
        format!("{}-{nth}", self.tag)
    }

    /// The number of a line that the provider names, if it is one of this batch.
    pub(super) fn nth(&self, name: &str) -> Option<u64> {
        let nth = name.strip_prefix(self.tag.as_str())?.strip_prefix('-')?;
        nth.parse().ok().filter(|nth| *nth < self.sent)
    }

    /// The files on this node's disk that go with it.
    pub(super) fn files(&self) -> [&str; 3] {
        [&self.lines, &self.notes, &self.results].map(|file| file.id.as_str())
    }
}

impl Expected {
    /// What so many of all lines may cost.
    pub(super) fn share(self, lines: u64, of: u64) -> Amounts {
        let share = |whole: i64| {
            let part = i128::from(whole) * i128::from(lines) / i128::from(of.max(1));
            i64::try_from(part).unwrap_or(i64::MAX)
        };
        Amounts {
            tokens: share(self.tokens),
            cost: self.cost.map(share).map(Money::from_nanodollars),
        }
    }

    /// With another line.
    pub(super) fn and(self, tokens: i64, cost: Option<i64>) -> Self {
        Self {
            tokens: self.tokens.saturating_add(tokens),
            cost: self
                .cost
                .zip(cost)
                .map(|(one, other)| one.saturating_add(other)),
        }
    }
}

/// What it takes to end a line that a provider runs.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Note {
    /// What its owner calls it.
    pub(super) custom_id: String,
    /// What results call it.
    pub(super) id: String,
    /// The model as the provider names it.
    pub(super) model: String,
    /// Where it begins among the lines that the provider gets.
    pub(super) at: u64,
    pub(super) running: Running,
}

/// What is known of the lines of a batch whose results are recorded.
pub(super) struct Progress {
    /// Where the note on each line begins.
    pub(super) notes: Vec<u64>,
    /// Which lines have a result.
    pub(super) has_result: Vec<bool>,
}

impl Progress {
    /// How many lines have no result, of those behind the first `missing`.
    pub(super) fn left(&self, missing: u64) -> u64 {
        let lines = (0_u64..).zip(&self.has_result);
        let left = lines.filter(|(nth, has_result)| *nth >= missing && !**has_result);
        left.count() as u64
    }
}
