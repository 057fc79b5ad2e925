//! How the API that a batch was made with writes lines and results.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::formats::openai_batches::Flaw;
use crate::formats::remote_batches::RemoteBatches;
use crate::formats::{anthropic_batches, gemini_batches, openai_batches};

/// The API that a batch was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Family {
    /// Lines come from a file, and results that failed go to a file of their own.
    OpenAi,
    /// Lines come with the batch. All of them have a result, in one file.
    Anthropic,
    /// Lines come from a file. All of them have a result, in one file.
    Gemini,
    /// Lines come with the batch, and results stand in it once it has ended.
    GeminiInline,
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
            Self::Gemini | Self::GeminiInline => "geminibatch_",
        }
    }

    /// Whether batches of both are those of one API.
    pub(super) fn is_of_api(self, other: Self) -> bool {
        self.prefix() == other.prefix()
    }

    /// The API of providers that have such batches themselves, if they can be relayed.
    pub(super) fn remote(self) -> Option<&'static RemoteBatches> {
        match self {
            Self::OpenAi => Some(&openai_batches::REMOTE),
            Self::Anthropic => Some(&anthropic_batches::REMOTE),
            Self::Gemini | Self::GeminiInline => None,
        }
    }

    /// Whether input and results are files of its owner's; else the gateway alone knows them.
    pub(super) fn has_files(self) -> bool {
        matches!(self, Self::OpenAi | Self::Gemini)
    }

    /// Whether each line has to have another name.
    pub(super) fn names_differ(self) -> bool {
        matches!(self, Self::OpenAi | Self::Anthropic)
    }

    /// What a line of the input is called, and what it asks.
    pub(super) fn line<'l>(
        self,
        line: &'l [u8],
        endpoint: &str,
    ) -> Result<(String, &'l RawValue), Flaw> {
        match self {
            Self::OpenAi | Self::Anthropic => {
                let line = openai_batches::Line::read(line, endpoint)?;
                Ok((line.custom_id, line.body))
            }
            Self::Gemini | Self::GeminiInline => {
                let line = gemini_batches::Line::read(line)?;
                Ok((line.tag, line.request))
            }
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
            Self::Gemini | Self::GeminiInline => {
                gemini_batches::result_line(custom_id, status, body)
            }
        }
    }

    /// The result of a line that wasn't asked, or whose response broke off.
    pub(super) fn unasked(self, line: LineId<'_>, unasked: Unasked, why: &str) -> Value {
        let LineId { id, custom_id } = line;
        let (code, kind, number) = match unasked {
            Unasked::Expired => ("batch_expired", "expired", 4),
            Unasked::Cancelled => ("batch_cancelled", "canceled", 1),
            Unasked::Failed(code) => (code, "errored", 13),
        };
        match self {
            Self::OpenAi => openai_batches::failed_line(id, custom_id, code, why),
            Self::Anthropic => anthropic_batches::failed_line(custom_id, kind, why),
            Self::Gemini | Self::GeminiInline => {
                gemini_batches::failed_line(custom_id, number, why)
            }
        }
    }
}
