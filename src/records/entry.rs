//! A record: the entry of a request, and what goes with it.

use std::cell::RefCell;
use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::base::bucket::Settlement;
use crate::base::labels::Labels;
use crate::base::reasons::{self, Reason};
use crate::base::text::Text;
use crate::formats::{Tokens, ToolCall};
use crate::wire::HeaderList;

/// The name of a record: `req_` and 26 characters that sort by time.
#[derive(
    Clone,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(transparent)]
#[schemars(inline)]
pub struct EntryId(pub(super) Text);

impl EntryId {
    /// A new id: 48 bits of `unix_ms`, then 80 random bits, in Crockford's base 32. The time is
    /// the entry's [`started_at`](Entry::started_at): queries by time are ranges of places. A later time
    /// than 2248 becomes the last that entries have.
    pub fn new(unix_ms: i64) -> EntryId {
        let mut random = [0; 16];
        random[6..].copy_from_slice(&random_bytes());
        let id = spell(unix_ms.min(Self::LAST), u128::from_be_bytes(random));
        EntryId(first(&id, LENGTH).into())
    }

    /// What sorts before every id of `unix_ms` and of later, and after all others.
    pub(super) fn floor(unix_ms: i64) -> String {
        // Ten characters hold the time, and nothing but.
        first(&spell(unix_ms, 0), 10).to_owned()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where the entry of an id stands among all others: 43 bits of its time, then 20 random ones. Entries are
    /// stored in this order, which is that of their ids. An entry whose place is taken has one of the next.
    ///
    /// Any text has a place. A letter that ids don't have counts as the next that they have, or as the last.
    pub(super) fn place_of(id: &str) -> i64 {
        let digits = match id.strip_prefix("req_") {
            Some(digits) => digits.bytes(),
            None if id < "req_" => return 0,
            None => return i64::MAX,
        };
        let mut digits = digits.map(value);
        let mut number =
            |count: u32| (0..count).fold(0, |number, _| number << 5 | digits.next().unwrap_or(0));
        let time = number(10).min(Self::LAST);
        time << Self::RANDOM_BITS | number(4)
    }

    /// The first place of a time.
    pub(super) fn place_at(unix_ms: i64) -> i64 {
        unix_ms.clamp(0, Self::LAST + 1) << Self::RANDOM_BITS
    }

    /// The last time that entries have, in 2248: one more, and places that follow it are no numbers.
    const LAST: i64 = (1 << 43) - 2;

    /// Bits of a place that are not its time.
    pub(super) const RANDOM_BITS: u32 = 20;

    /// How far behind its place an entry may stand.
    pub(super) const PROBED: i64 = 256;

    /// The time in it, in Unix milliseconds.
    pub fn started_at(&self) -> i64 {
        let digits = self.0.bytes().skip(4).take(10);
        let time = digits.fold(0, |time, digit| time << 5 | value(digit));
        time.min(Self::LAST)
    }

    /// Its letters, to be shared.
    pub fn text(&self) -> Text {
        self.0.clone()
    }
}

/// The random part of an id. The operating system is asked for those of many ids at once.
fn random_bytes() -> [u8; 10] {
    thread_local! {
        /// The number is the index of the first that is unused.
        static KEPT: RefCell<(usize, [[u8; 10]; 64])> = const { RefCell::new((64, [[0; 10]; 64])) };
    }
    KEPT.with_borrow_mut(|(next, kept)| {
        if *next == kept.len() {
            getrandom::fill(kept.as_flattened_mut())
                .expect("the operating system gave no random bytes");
            *next = 0;
        }
        *next += 1;
        kept[*next - 1]
    })
}

/// The digits of an id.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// What a digit stands for. One that ids don't have counts as the next that they have, or as the last.
fn value(digit: u8) -> i64 {
    const VALUES: [u8; 256] = {
        let mut values = [0; 256];
        let mut digit = 0;
        while digit < values.len() {
            while values[digit] < 31 && (ALPHABET[values[digit] as usize] as usize) < digit {
                values[digit] += 1;
            }
            digit += 1;
        }
        values
    };
    VALUES[usize::from(digit)].into()
}

/// How ids begin.
const START: &str = "req_";
/// Characters of an id behind its start.
const LENGTH: usize = 26;

/// An id, whose first characters are its time.
fn spell(unix_ms: i64, random: u128) -> [u8; START.len() + LENGTH] {
    let time = unix_ms.max(0).cast_unsigned().min((1 << 48) - 1);
    let mut bits = u128::from(time) << 80 | random;
    let mut id = [0; START.len() + LENGTH];
    let (start, letters) = id.split_at_mut(START.len());
    start.copy_from_slice(START.as_bytes());
    for letter in letters.iter_mut().rev() {
        *letter = ALPHABET[bits as usize & 31];
        bits >>= 5;
    }
    id
}

/// The first characters of an id as text.
fn first(id: &[u8], letters: usize) -> &str {
    let text = str::from_utf8(id).unwrap_or_default();
    text.get(..START.len() + letters).unwrap_or_default()
}

impl std::fmt::Display for EntryId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

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
    fn ids_sort_by_time_and_differ() {
        let early = EntryId::new(1_700_000_000_000);
        let late = EntryId::new(1_700_000_000_001);
        assert!(early < late);
        assert_eq!(early.as_str().len(), 30);
        assert!(early.as_str().starts_with("req_"));
        assert_ne!(EntryId::new(5), EntryId::new(5));
        assert_eq!(EntryId::new(i64::MAX).started_at(), EntryId::LAST);
    }

    #[test]
    fn the_floor_of_a_time_lies_between_it_and_the_time_before() {
        for time in [0, 1, 31, 32, 1_700_000_000_000] {
            let floor = EntryId::floor(time);
            assert!(floor.as_str() < EntryId::new(time).as_str());
            assert!(time == 0 || floor.as_str() > EntryId::new(time - 1).as_str());
        }
    }

    #[test]
    fn an_id_is_its_time_and_what_is_random_in_base_32() {
        let time = 1_700_000_000_123;
        let id = spell(time, 0x0123_4567_89ab_cdef_0123);
        assert_eq!(&id, b"req_01hf7yat3v04hmasw9nf6yy093");
        assert_eq!(EntryId::floor(time), "req_01hf7yat3v");
        assert_eq!(EntryId::floor(-5), "req_0000000000");
        let many: std::collections::HashSet<_> = (0..1_000).map(|_| EntryId::new(7)).collect();
        assert_eq!(many.len(), 1_000);
    }

    #[test]
    fn places_are_in_the_order_of_ids() {
        let place = |id: &EntryId| EntryId::place_of(id.as_str());
        let mut ids: Vec<_> = (0..500).map(|nth| EntryId::new(nth % 50)).collect();
        ids.sort_unstable();
        assert!(ids.is_sorted_by_key(place));
        for time in [0, 1, 1_700_000_000_123, EntryId::LAST] {
            let id = EntryId::new(time);
            assert_eq!(id.started_at(), time);
            assert_eq!(place(&id) >> EntryId::RANDOM_BITS, time);
            assert_eq!(
                EntryId::place_of(&EntryId::floor(time)),
                EntryId::place_at(time)
            );
        }
        let last = EntryId::place_at(i64::MAX);
        assert!(place(&EntryId::new(i64::MAX)) < last);
        let beyond = EntryId("req_7zzzzzzzzz0123456789abcdef".into());
        assert_eq!(beyond.started_at(), EntryId::LAST);
        assert_eq!(place(&beyond) >> EntryId::RANDOM_BITS, EntryId::LAST);
        assert_eq!(EntryId::place_at(-1), 0);
        assert_eq!(EntryId::place_of("a"), 0);
        assert_eq!(EntryId::place_of("req_"), 0);
        assert_eq!(EntryId::place_of("req_z"), EntryId::place_at(EntryId::LAST));
        assert_eq!(EntryId::place_of("s"), i64::MAX);
    }

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
