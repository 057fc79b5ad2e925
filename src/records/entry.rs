//! A record: the entry of a request, and what goes with it.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::base::bucket::Settlement;
use crate::base::labels::Labels;
use crate::base::reasons::{self, Reason};
use crate::base::text::Text;
use crate::formats::{Tokens, ToolCall};
use crate::wire::HeaderList;

use super::entry_id::EntryId;

/// How a request ended.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Outcome {
    Complete,
    Refused,
    #[default]
    ClientClosed,
    UpstreamError,
    TimedOut,
    Failed,
}

impl Outcome {
    /// In the order of their declaration, to which new ones are appended: the journal holds their places.
    pub(super) const ALL: [Outcome; 6] = [
        Outcome::Complete,
        Outcome::Refused,
        Outcome::ClientClosed,
        Outcome::UpstreamError,
        Outcome::TimedOut,
        Outcome::Failed,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Complete => "complete",
            Outcome::Refused => "refused",
            Outcome::ClientClosed => "client_closed",
            Outcome::UpstreamError => "upstream_error",
            Outcome::TimedOut => "timed_out",
            Outcome::Failed => "failed",
        }
    }

    pub fn parse(text: &str) -> Option<Outcome> {
        Outcome::ALL
            .into_iter()
            .find(|outcome| outcome.as_str() == text)
    }

    /// Whether reports count it as an error: the response is incomplete, and not because the caller left.
    pub fn is_error(self) -> bool {
        !matches!(self, Outcome::Complete | Outcome::ClientClosed)
    }
}

/// One request, as it ended. Written once. It is read from JSON only while its response is made in the
/// background; reasons are sentences then.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "RequestRow")]
pub struct Entry {
    pub id: EntryId,
    pub session: Text,
    /// Unix milliseconds, the same as in the id.
    pub started_at: i64,
    /// Whose it is: the number of the user, or the tags. A login can pass to another user.
    pub caller: Text,
    /// What people call the caller.
    pub login: Text,
    pub node_id: Text,
    pub node_name: Text,
    pub tags: Vec<String>,
    /// The short name of the client program, such as `claude-code`; empty where unknown.
    pub agent: Text,
    /// The API the caller spoke, such as `openai_chat`.
    pub api: Text,
    pub model_requested: Text,
    pub model: Text,
    pub provider: Text,
    pub method: Text,
    pub path: Text,
    pub status: u16,
    pub outcome: Outcome,
    pub stream: bool,
    #[serde(rename = "usage")]
    pub tokens: Tokens,
    /// Nanodollars; null where no price is known.
    pub cost: Option<i64>,
    /// Whose price it is, such as `anthropic/claude-haiku-4-5`.
    pub cost_basis: Option<Text>,
    /// Whether it went to the provider with the caller's own credential: their account pays, and the cost is
    /// what it would be at list price.
    pub own_credential: bool,
    pub finish_reason: Option<String>,
    pub tool_calls: u32,
    pub first_byte_ms: Option<f64>,
    pub first_token_ms: Option<f64>,
    pub duration_ms: f64,
    pub overhead_ms: Option<f64>,
    pub request_bytes: u64,
    pub response_bytes: u64,
    pub user_agent: Text,
    /// The application that spoke for the caller, by its login or tags. The node and the tags are its own.
    pub via: Option<Text>,
    /// What the caller says that the request is for.
    #[schemars(with = "BTreeMap<String, String>")]
    pub labels: Labels,
    /// The decisions made for this request, in order.
    #[serde(serialize_with = "reasons::as_sentences")]
    #[schemars(with = "Vec<String>")]
    pub reasons: Vec<Reason>,
    pub error: Option<String>,
    /// Whether there is a capture at the time of reading.
    // Not written.
    pub captured: bool,
}

impl Entry {
    /// Whether the cost rests on tokens that the gateway counted itself.
    pub fn cost_estimated(&self) -> bool {
        self.cost.is_some() && self.tokens.estimated
    }
}

/// An entry and what goes with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub entry: Entry,
    /// The tool calls in the response, in order.
    pub tools: Vec<ToolCall>,
    /// Headers by which records can be filtered; an empty value says that the header was present.
    pub headers: Vec<(String, String)>,
    pub capture: Option<Capture>,
    /// What the request takes from budgets; written with its entry or not at all.
    pub settlement: Option<Settlement>,
    /// Events for hooks; queued with its entry or not at all.
    pub deliveries: Vec<Delivery>,
}

impl From<Entry> for Record {
    /// A record of nothing but its entry.
    fn from(entry: Entry) -> Record {
        Record {
            entry,
            tools: Vec::new(),
            headers: Vec::new(),
            capture: None,
            settlement: None,
            deliveries: Vec::new(),
        }
    }
}

impl Record {
    /// Roughly the memory it takes, in bytes.
    pub(super) fn size(&self) -> usize {
        let tools = self.tools.iter().map(|tool| tool.params.len());
        let capture = self.capture.as_ref().map_or(0, |capture| {
            let raw = capture.raw.as_ref().map_or(0, Bytes::len);
            capture.request_body.len() + capture.response_body.len() + raw
        });
        let events = self.deliveries.iter().map(|one| one.payload.len());
        size_of::<Record>() + tools.sum::<usize>() + capture + events.sum::<usize>()
    }
}

/// The content of a request and its response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capture {
    /// Without secrets.
    pub request_headers: HeaderList,
    pub request_body: Bytes,
    pub response_headers: HeaderList,
    /// Decoded, and reassembled if it was a stream.
    pub response_body: Bytes,
    /// The response as it came, if that is kept.
    pub raw: Option<Bytes>,
    /// Whether a body was too long to be kept whole.
    pub truncated: bool,
}

/// An event for a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Name of the hook.
    pub hook: String,
    pub event: String,
    /// JSON.
    pub payload: Vec<u8>,
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[test]
    fn outcomes_have_names_and_say_whose_fault_it_is() {
        for (outcome, name, is_error) in [
            (Outcome::Complete, "complete", false),
            (Outcome::Refused, "refused", true),
            (Outcome::ClientClosed, "client_closed", false),
            (Outcome::UpstreamError, "upstream_error", true),
            (Outcome::TimedOut, "timed_out", true),
            (Outcome::Failed, "failed", true),
        ] {
            assert_eq!(
                (outcome.as_str(), Outcome::parse(name)),
                (name, Some(outcome))
            );
            assert_eq!(outcome.is_error(), is_error, "{name}");
        }
        assert_eq!(Outcome::parse("other"), None);
    }

    #[test]
    fn a_cost_is_estimated_where_tokens_are() {
        let mut one = entry(1, "ann@example.com", "s");
        assert!(!one.cost_estimated());
        one.tokens.estimated = true;
        assert!(one.cost_estimated());
        one.cost = None;
        assert!(!one.cost_estimated());
    }

    #[test]
    fn the_size_of_a_record_is_that_of_what_is_long_in_it() {
        let mut record = Record::from(entry(1, "ann@example.com", "s"));
        let plain = record.size();
        assert!(plain >= size_of::<Entry>());
        let tool = |params: usize| ToolCall {
            name: "t".into(),
            params: "p".repeat(params),
        };
        record.tools = vec![tool(1_000), tool(2_000)];
        let body = |length: usize| Bytes::from(vec![b'x'; length]);
        record.capture = Some(Capture {
            request_body: body(10_000),
            response_body: body(20_000),
            raw: Some(body(40_000)),
            ..Capture::default()
        });
        record.deliveries = vec![Delivery {
            hook: "h".into(),
            event: "e".into(),
            payload: vec![b'x'; 100_000],
        }];
        assert_eq!(record.size(), plain + 173_000);
    }

    pub(crate) fn entry(started_at: i64, login: &str, session: &str) -> Entry {
        Entry {
            id: EntryId::new(started_at),
            session: session.into(),
            started_at,
            caller: login.into(),
            login: login.into(),
            node_id: "n1".into(),
            node_name: "laptop".into(),
            tags: vec!["tag:dev".into()],
            agent: "claude-code".into(),
            api: "openai_chat".into(),
            model_requested: "fast".into(),
            model: format!("model-{started_at}").into(),
            provider: "main".into(),
            method: "POST".into(),
            path: "/v1/chat/completions".into(),
            status: 200,
            outcome: Outcome::ClientClosed,
            stream: true,
            tokens: Tokens {
                input: Some(7),
                output: Some(3),
                ..Tokens::default()
            },
            cost: Some(1_500),
            cost_basis: Some("main/fast".into()),
            own_credential: false,
            finish_reason: Some("stop".into()),
            tool_calls: 2,
            first_byte_ms: Some(1.5),
            first_token_ms: None,
            duration_ms: 12.25,
            overhead_ms: Some(0.125),
            request_bytes: 100,
            response_bytes: 200,
            user_agent: "client/1".into(),
            via: None,
            labels: Labels::default(),
            reasons: vec![Reason::NoRole, Reason::Sentence("budget: 3 left".into())],
            error: None,
            captured: false,
        }
    }
}
