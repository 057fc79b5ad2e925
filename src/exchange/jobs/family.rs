//! How the API that a batch was made with writes results.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::formats::remote_batches::RemoteBatches;
use crate::formats::{anthropic_batches, openai_batches};

/// The API that a batch was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Family {
    /// Lines come from a file, and results that failed go to a file of their own.
    OpenAi,
    /// Lines come with the batch. All of them have a result, in one file.
    Anthropic,
}

/// Why a line wasn't asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unasked {
    Expired,
    Cancelled,
    Failed(&'static str),
}

/// A line, as its result names it.
#[derive(Clone, Copy)]
pub(super) struct LineId<'l> {
    pub(super) id: &'l str,
    pub(super) custom_id: &'l str,
}

impl Family {
    /// What the ids of batches begin with.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::OpenAi => "batch_",
            Self::Anthropic => "msgbatch_",
        }
    }

    /// The API of providers that have such batches themselves.
    pub(super) fn remote(self) -> &'static RemoteBatches {
        match self {
            Self::OpenAi => &openai_batches::REMOTE,
            Self::Anthropic => &anthropic_batches::REMOTE,
        }
    }

    /// Whether lines that failed have a file of their own.
    pub(super) fn parts_errors(self) -> bool {
        self == Self::OpenAi
    }

    /// The result of a line that was asked.
    pub(super) fn asked(
        self,
        line: LineId<'_>,
        status: u16,
        request_id: &str,
        body: &Value,
    ) -> Value {
        let LineId { id, custom_id } = line;
        match self {
            Self::OpenAi => openai_batches::result_line(id, custom_id, status, request_id, body),
            Self::Anthropic => anthropic_batches::result_line(custom_id, status, body),
        }
    }

    /// The result of a line that wasn't asked, or whose response broke off.
    pub(super) fn unasked(self, line: LineId<'_>, unasked: Unasked, why: &str) -> Value {
        let LineId { id, custom_id } = line;
        let (code, kind) = match unasked {
            Unasked::Expired => ("batch_expired", "expired"),
            Unasked::Cancelled => ("batch_cancelled", "canceled"),
            Unasked::Failed(code) => (code, "errored"),
        };
        match self {
            Self::OpenAi => openai_batches::failed_line(id, custom_id, code, why),
            Self::Anthropic => anthropic_batches::failed_line(custom_id, kind, why),
        }
    }
}
