//! What objects of files and batches say besides whose they are, as JSON in their rows.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::family::Family;
use super::relayed::RunBy;
use crate::formats::openai_batches::{BatchShape, Counts, FileShape, batch, file};
use crate::formats::{anthropic_batches, anthropic_files, gemini_batches, gemini_files};
use crate::records::objects::Object;
use crate::wire::Rejection;

/// The purpose of files with the results of a batch.
pub(super) const RESULTS: &str = "batch_output";

/// The API in which a file is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileApi<'o> {
    OpenAi,
    Anthropic,
    Gemini {
        /// The gateway as the caller knows it.
        origin: &'o str,
    },
}

/// A file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct FileDetail {
    pub(super) name: String,
    pub(super) purpose: String,
    /// Its content type; empty for files that were kept before it was.
    #[serde(default)]
    pub(super) kind: String,
    pub(super) bytes: u64,
}

/// Where a batch stands, in OpenAI's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    InProgress,
    Completed,
    Failed,
    Expired,
    Cancelling,
    Cancelled,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The device that a batch was made from: its lines run as its owner, as the tailnet knows them then.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Device {
    /// `None` for this machine.
    pub(super) address: Option<IpAddr>,
    pub(super) node_id: String,
}

/// A batch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct BatchDetail {
    pub(super) family: Family,
    pub(super) status: Status,
    pub(super) endpoint: String,
    pub(super) input: String,
    pub(super) window: String,
    /// What its owner says of it: pairs, or a name.
    pub(super) metadata: Value,
    /// When it came to its statuses, in Unix seconds.
    pub(super) times: Map<String, Value>,
    /// Until when lines are run, in Unix milliseconds.
    pub(super) deadline: i64,
    pub(super) counts: Counts,
    /// Of the failed lines, those that were not asked because the batch expired or was cancelled.
    pub(super) given_up: u64,
    /// What is wrong with its input, or why it ended.
    pub(super) flaws: Vec<Value>,
    pub(super) device: Device,
    /// Headers that its lines have: labels, and versions of the API.
    pub(super) headers: Vec<(String, String)>,
    /// The files with results and with failed lines, and how many bytes of each count.
    pub(super) output: String,
    pub(super) output_bytes: u64,
    pub(super) errors: String,
    pub(super) errors_bytes: u64,
    /// Where the next line begins in the input.
    pub(super) next: u64,
    /// How often the next line was begun.
    pub(super) tries: u32,
    /// Who runs it.
    #[serde(default)]
    pub(super) run_by: RunBy,
}

impl BatchDetail {
    /// Notes that it comes to a status.
    pub(super) fn come_to(&mut self, status: Status, now: i64) {
        self.status = status;
        let name = format!("{}_at", status.as_str());
        self.times.insert(name, (now / 1_000).into());
    }

    pub(super) fn has_ended(&self) -> bool {
        !matches!(self.status, Status::InProgress | Status::Cancelling)
    }

    /// As Anthropic's clients see it; `results` is where its results are.
    pub(super) fn message_batch(&self, id: &str, results: &str) -> Value {
        let Counts {
            total,
            completed,
            failed,
        } = self.counts;
        let given_up = |status| {
            if self.status == status {
                self.given_up
            } else {
                0
            }
        };
        let time = |name: &str| self.times.get(name).and_then(Value::as_i64);
        let ended = format!("{}_at", self.status.as_str());
        anthropic_batches::batch(&anthropic_batches::Shape {
            id,
            status: match self.status {
                Status::InProgress => "in_progress",
                Status::Cancelling => "canceling",
                _ => "ended",
            },
            counts: anthropic_batches::Counts {
                processing: total.saturating_sub(completed + failed),
                succeeded: completed,
                errored: failed.saturating_sub(self.given_up),
                canceled: given_up(Status::Cancelled),
                expired: given_up(Status::Expired),
            },
            created: time("created_at"),
            expires: time("expires_at"),
            cancelled: time("cancelling_at"),
            ended: self.has_ended().then(|| time(&ended)).flatten(),
            results: self.has_ended().then_some(results),
        })
    }

    /// As Gemini's clients see it.
    pub(super) fn operation<'d>(&'d self, id: &'d str) -> gemini_batches::Batch<'d> {
        use gemini_batches::State;

        let time = |name: &str| self.times.get(name).and_then(Value::as_i64);
        let changed = time(&format!("{}_at", self.status.as_str()));
        let (has_ended, has_files) = (self.has_ended(), self.family.has_files());
        let has_output = has_ended && has_files && self.output_bytes > 0;
        let first_flaw = self.flaws.first();
        gemini_batches::Batch {
            id,
            endpoint: &self.endpoint,
            name: self.metadata.as_str().unwrap_or_default(),
            input: has_files.then_some(&*self.input),
            state: match self.status {
                Status::InProgress | Status::Cancelling => State::Running,
                Status::Completed => State::Succeeded,
                Status::Failed => State::Failed,
                Status::Expired => State::Expired,
                Status::Cancelled => State::Cancelled,
            },
            counts: self.counts,
            created: time("created_at"),
            updated: changed,
            ended: changed.filter(|_| has_ended),
            output: has_output.then_some(&*self.output),
            why: first_flaw.and_then(|flaw| flaw["message"].as_str()),
        }
    }

    /// As OpenAI's clients see it.
    pub(super) fn shape(&self, id: &str) -> Value {
        // The files exist once it has ended.
        let file = |id, bytes| Some(id).filter(|_| self.has_ended() && bytes > 0);
        batch(&BatchShape {
            id,
            endpoint: &self.endpoint,
            input: &self.input,
            window: &self.window,
            status: self.status.as_str(),
            output: file(self.output.as_str(), self.output_bytes),
            errors_file: file(self.errors.as_str(), self.errors_bytes),
            flaws: &self.flaws,
            metadata: &self.metadata,
            counts: self.counts,
            times: &self.times,
        })
    }
}

impl FileDetail {
    /// As clients see it.
    pub(super) fn shape(&self, object: &Object, api: FileApi<'_>) -> Value {
        let made = object.made / 1_000;
        match api {
            FileApi::OpenAi => {}
            FileApi::Anthropic => {
                return anthropic_files::file(&object.id, &self.name, &self.kind, self.bytes, made);
            }
            FileApi::Gemini { origin } => {
                return gemini_files::file(&gemini_files::FileShape {
                    id: &object.id,
                    name: &self.name,
                    kind: &self.kind,
                    bytes: self.bytes,
                    made: object.made,
                    ends: object.ends,
                    is_generated: self.purpose == RESULTS,
                    origin,
                });
            }
        }
        file(&FileShape {
            id: &object.id,
            bytes: self.bytes,
            made,
            ends: object.ends.map(|ends| ends / 1_000),
            name: &self.name,
            purpose: &self.purpose,
        })
    }
}

/// A detail as it is stored.
pub(super) fn stored(detail: &impl Serialize) -> Vec<u8> {
    // Texts and numbers always are JSON.
    serde_json::to_vec(detail).unwrap_or_default()
}

/// The detail of an object.
pub(super) fn read<'d, T: Deserialize<'d>>(object: &'d Object) -> Result<T, Rejection> {
    serde_json::from_slice(&object.detail).map_err(|error| {
        tracing::error!(id = object.id, %error, "an object can't be read");
        Rejection::panicked()
    })
}
