//! A month of records that look like work: a hundred people, ten models, four providers.

use iris::base::reasons::Reason;
use iris::records::{Entry, EntryId, Ledger, Outcome, Record, Tokens, ToolCall};

pub(crate) const DAY_MS: i64 = 86_400_000;
pub(crate) const DAYS: i64 = 30;

/// How long a user stays with one session: in thirty days all of them have a hundred thousand.
const SESSION_MS: i64 = 43 * 60_000;

pub(crate) fn user(nth: u64) -> String {
    format!("user{nth}@example.com")
}

/// Numbers that look random and are the same each time.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Writes the records of thirty days and waits until they are durable.
pub(crate) async fn write(ledger: &Ledger, start_ms: i64, records: u32) {
    let mut dice = Dice(7);
    for nth in 0..records {
        let started_at = start_ms + i64::from(nth) * DAYS * DAY_MS / i64::from(records);
        let record = record(nth, started_at, &mut dice);
        let slot = if let Ok(slot) = ledger.admit() {
            slot
        } else {
            ledger.flush().await.expect("a working disk");
            ledger.admit().expect("room")
        };
        slot.record(record);
    }
    ledger.flush().await.expect("a working disk");
}

pub(crate) fn record(nth: u32, started_at: i64, dice: &mut Dice) -> Record {
    let person = dice.below(100);
    let tool = match dice.below(10_000) {
        0 => Some("rare".to_owned()),
        nth if nth < 2_000 => Some(format!("tool-{}", nth % 6)),
        _ => None,
    };
    let mut headers = Vec::new();
    if dice.below(3) == 0 {
        headers.push(("x-team".to_owned(), format!("team-{}", person % 8)));
    }
    if dice.below(20) == 0 {
        headers.push(("x-trace".to_owned(), String::new()));
    }
    let mut entry = entry(started_at, person, dice);
    entry.first_token_ms = Some(150.0 + f64::from(nth % 1_000));
    entry.duration_ms = 500.0 + f64::from(nth % 30_000);
    entry.tool_calls = tool.is_some().into();
    let tools = tool.map(|name| ToolCall {
        name,
        params: "{\"path\":\"src/main.rs\"}".into(),
    });
    Record {
        entry,
        tools: tools.into_iter().collect(),
        headers,
        capture: None,
        settlement: None,
        deliveries: Vec::new(),
    }
}

fn entry(started_at: i64, person: u64, dice: &mut Dice) -> Entry {
    let model = dice.below(10);
    // Most people have one agent, and most models one provider.
    let strays = dice.below(5) == 0;
    let agent = if strays { dice.below(5) } else { person % 5 };
    let strays = dice.below(10) == 0;
    let provider = if strays { dice.below(4) } else { model % 4 };
    let (status, outcome) = match dice.below(50) {
        0 => (502, Outcome::Failed),
        _ => (200, Outcome::Complete),
    };
    Entry {
        id: EntryId::new(started_at),
        session: format!("session-{person}-{}", started_at / SESSION_MS).into(),
        started_at,
        caller: user(person).into(),
        login: user(person).into(),
        node_id: format!("node-{person}").into(),
        node_name: "laptop".into(),
        tags: Vec::new(),
        agent: format!("agent-{agent}").into(),
        api: "openai_chat".into(),
        model_requested: format!("model-{model}").into(),
        model: format!("model-{model}").into(),
        provider: format!("provider-{provider}").into(),
        method: "POST".into(),
        path: "/v1/chat/completions".into(),
        status,
        outcome,
        stream: true,
        tokens: Tokens {
            input: Some(dice.below(40_000)),
            output: Some(dice.below(2_000)),
            cached: Some(dice.below(10_000)),
            ..Tokens::default()
        },
        cost: Some(1_000_000),
        cost_basis: Some("main/model".into()),
        own_credential: false,
        finish_reason: Some("stop".into()),
        tool_calls: 0,
        first_byte_ms: Some(100.0),
        first_token_ms: None,
        duration_ms: 0.0,
        overhead_ms: Some(0.2),
        request_bytes: 20_000,
        response_bytes: 9_000,
        user_agent: "client/1.0 (linux)".into(),
        reasons: vec![
            Reason::Sentence("caller user on node laptop, role User by grant 3".into());
            2
        ],
        error: None,
        captured: false,
    }
}
