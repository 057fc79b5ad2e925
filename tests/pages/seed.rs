//! A month of records, the same in every run but for their dates.

use std::path::Path;

use bytes::Bytes;
use iris::base::reasons::Reason;
use iris::policy::identity::Caller;
use iris::records::{Capture, Entry, EntryId, Ledger, Outcome, Record, Tokens, ToolCall};
use iris::wire::HeaderList;
use serde_json::json;

use crate::provider::PLANTED;

const DAY_MS: i64 = 86_400_000;

const USERS: [(&str, &str, u64); 7] = [
    ("ada@example.com", "ada-laptop", 9),
    ("grace@example.com", "grace-desktop", 7),
    ("alan@example.com", "enigma", 5),
    ("edsger@example.com", "the-shortest-path", 3),
    ("barbara@example.com", "clu", 2),
    ("tag:ci", "runner-7", 6),
    ("(loopback)", "localhost", 2),
];

/// Agent, API, path, provider, model, tokens of a prompt, of an answer, nanodollars a token.
type Kind = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    u64,
    u64,
    i64,
);

const KINDS: [Kind; 5] = [
    (
        "claude-code",
        "anthropic_messages",
        "/v1/messages",
        "anthropic",
        "claude-sonnet-4-5",
        48_000,
        900,
        3_000,
    ),
    (
        "claude-code",
        "anthropic_messages",
        "/v1/messages",
        "anthropic",
        "claude-haiku-4-5",
        9_000,
        300,
        800,
    ),
    (
        "codex",
        "openai_chat",
        "/v1/chat/completions",
        "lab",
        "qwen3-coder",
        22_000,
        1_200,
        0,
    ),
    (
        "opencode",
        "anthropic_messages",
        "/v1/messages",
        "anthropic",
        "claude-opus-4-5",
        31_000,
        1_500,
        15_000,
    ),
    (
        "",
        "openai_chat",
        "/v1/chat/completions",
        "demo",
        "demo",
        40,
        30,
        1_000,
    ),
];

/// Numbers that look like chance and are the same each time.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    pub(crate) fn float(&mut self, bound: u32) -> f64 {
        u32::try_from(self.below(bound.into())).map_or(0.0, f64::from)
    }
}

pub(crate) async fn fill(url: &str, state: &Path) -> anyhow::Result<()> {
    let ledger = Ledger::open(url, state)?;
    let now = iris::base::clock::unix_ms();
    let mut chance = Chance(7);
    for days_ago in 0..30 {
        let weekend = days_ago % 7 >= 5;
        for (login, node, weight) in USERS {
            let sessions = 1 + chance.below(if weekend { 2 } else { weight });
            for nth in 0..sessions {
                let session = format!(
                    "{days_ago:02}-{nth}-{:08x}",
                    chance.below(u64::from(u32::MAX))
                );
                let kind = KINDS[usize::try_from(chance.below(KINDS.len() as u64))?];
                let start =
                    now - days_ago * DAY_MS - i64::try_from(chance.below(36_000_000))? - 60_000;
                for turn in 0..=chance.below(6) {
                    let at = start + i64::try_from(turn)? * 20_000;
                    let record = record(at, (login, node), &session, kind, &mut chance);
                    ledger.admit()?.record(record);
                }
            }
        }
    }
    ledger.admit()?.record(hostile(now - 30_000));
    ledger.close().await?;
    Ok(())
}

fn record(
    at: i64,
    (login, node): (&str, &str),
    session: &str,
    (agent, api, path, provider, model, input, output, price): Kind,
    chance: &mut Chance,
) -> Record {
    let input = input / 2 + chance.below(input);
    let output = output / 2 + chance.below(output);
    let failed = chance.below(40) == 0;
    let tools = if agent.is_empty() || failed {
        0
    } else {
        chance.below(3)
    };
    let names = ["Bash", "Read", "Edit", "Grep", "WebSearch"];
    let tools: Vec<ToolCall> = (0..tools)
        .map(|_| ToolCall {
            name: names[usize::try_from(chance.below(5)).unwrap_or(0)].to_owned(),
            params: json!({ "command": "cargo test", "timeout": 120 }).to_string(),
        })
        .collect();
    let duration = 400.0 + chance.float(9_000);
    let entry = Entry {
        id: EntryId::new(at),
        session: session.into(),
        started_at: at,
        caller: Caller::hypothetical(login, None).key().into(),
        login: login.into(),
        node_id: format!("n-{node}").into(),
        node_name: node.into(),
        tags: if login.starts_with("tag:") {
            vec![login.to_owned()]
        } else {
            Vec::new()
        },
        agent: agent.into(),
        api: api.into(),
        model_requested: model.into(),
        model: model.into(),
        provider: provider.into(),
        method: "POST".into(),
        path: path.into(),
        status: if failed { 529 } else { 200 },
        outcome: if failed {
            Outcome::Failed
        } else {
            Outcome::Complete
        },
        stream: true,
        tokens: Tokens {
            input: Some(input),
            output: (!failed).then_some(output),
            cached: Some(input * 7 / 10),
            ..Tokens::default()
        },
        cost: (price > 0).then(|| {
            let tokens = i64::try_from(input / 4 + output).unwrap_or(0);
            tokens * price
        }),
        cost_basis: (price > 0).then(|| format!("{provider}/{model}").into()),
        own_credential: false,
        finish_reason: (!failed).then(|| {
            if tools.is_empty() {
                "end_turn"
            } else {
                "tool_use"
            }
            .to_owned()
        }),
        tool_calls: u32::try_from(tools.len()).unwrap_or(0),
        first_byte_ms: Some(90.0),
        first_token_ms: Some(120.0 + chance.float(900)),
        duration_ms: duration,
        overhead_ms: Some(0.08),
        request_bytes: input * 4,
        response_bytes: output * 6,
        user_agent: if agent.is_empty() {
            "curl/8.5".into()
        } else {
            format!("{agent}/2.1 (external, cli)").into()
        },
        reasons: vec![
            Reason::Granted {
                pattern: format!("{provider}/**").into(),
                grant: "grants[0], line 12".into(),
            },
            Reason::OnlyProvider {
                provider: provider.into(),
                model: model.into(),
            },
        ],
        error: failed.then(|| "the provider is overloaded".to_owned()),
        captured: false,
    };
    let capture = capture(api, model, &tools);
    Record {
        tools,
        headers: vec![(
            "x-team".to_owned(),
            if login < "b" { "red" } else { "blue" }.to_owned(),
        )],
        capture: Some(capture),
        ..Record::from(entry)
    }
}

fn capture(api: &str, model: &str, tools: &[ToolCall]) -> Capture {
    let calls = |tool: &ToolCall| {
        serde_json::from_str::<serde_json::Value>(&tool.params).unwrap_or_default()
    };
    let (request, response) = if api == "anthropic_messages" {
        let mut content = vec![
            json!({ "type": "text", "text": "I'll run the tests first.\n\nThen I look at the one that fails." }),
        ];
        content.extend(tools.iter().map(|tool| {
            json!({ "type": "tool_use", "id": "toolu_1", "name": tool.name, "input": calls(tool) })
        }));
        (
            json!({
                "model": model, "max_tokens": 32_000, "stream": true,
                "system": [{ "type": "text", "text": "You are a coding agent. Work in small steps." }],
                "tools": [{ "name": "Bash" }, { "name": "Read" }, { "name": "Edit" }],
                "messages": [
                    { "role": "user", "content": "Why does `parse_date` fail on leap days?" },
                    { "role": "assistant", "content": [{ "type": "tool_use", "id": "toolu_0", "name": "Read", "input": { "path": "src/date.rs" } }] },
                    { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "toolu_0", "content": "fn parse_date(text: &str) -> Option<Date> {\n    let (year, rest) = text.split_once('-')?;\n}" }] },
                ],
            }),
            json!({ "id": "msg_1", "type": "message", "role": "assistant", "model": model, "content": content, "stop_reason": "end_turn" }),
        )
    } else {
        (
            json!({ "model": model, "messages": [{ "role": "system", "content": "Be brief." }, { "role": "user", "content": "What is a monad?" }] }),
            json!({ "choices": [{ "index": 0, "finish_reason": "stop", "message": { "role": "assistant", "content": "A monoid in the category of endofunctors." } }] }),
        )
    };
    Capture {
        request_headers: [("content-type", "application/json")].into_iter().collect(),
        request_body: Bytes::from(request.to_string()),
        response_headers: [("content-type", "application/json")].into_iter().collect(),
        response_body: Bytes::from(response.to_string()),
        raw: None,
        truncated: false,
    }
}

/// A record in which everything that callers and providers wrote is markup.
fn hostile(at: i64) -> Record {
    let evil = PLANTED.to_owned();
    let mut chance = Chance(1);
    let mut record = record(
        at,
        ("(loopback)", "localhost"),
        &evil,
        KINDS[4],
        &mut chance,
    );
    let entry = &mut record.entry;
    for text in [
        &mut entry.agent,
        &mut entry.model_requested,
        &mut entry.model,
        &mut entry.provider,
        &mut entry.path,
        &mut entry.user_agent,
        &mut entry.node_name,
        &mut entry.node_id,
        &mut entry.api,
        &mut entry.method,
    ] {
        *text = evil.as_str().into();
    }
    entry.api = "openai_chat".into();
    entry.error = Some(evil.clone());
    entry.finish_reason = Some(evil.clone());
    entry.cost_basis = Some(evil.as_str().into());
    entry.reasons = vec![Reason::Sentence(evil.clone())];
    entry.tags = vec![evil.clone()];
    entry.tool_calls = 1;
    record.tools = vec![ToolCall {
        name: evil.clone(),
        params: json!({ (PLANTED): evil }).to_string(),
    }];
    record.headers = vec![("x-team".to_owned(), evil.clone())];
    let head: HeaderList = [(&evil, &evil)].into_iter().collect();
    let request = json!({ "model": evil, "tools": [{ "name": evil }], "messages": [
        { "role": evil, "content": evil },
        { "role": "tool", "tool_call_id": evil, "content": evil },
    ] });
    let response = json!({ "choices": [{ "message": { "role": "assistant", "content": evil, "reasoning_content": evil,
        "tool_calls": [{ "function": { "name": evil, "arguments": evil } }] } }] });
    record.capture = Some(Capture {
        request_headers: head.clone(),
        request_body: Bytes::from(request.to_string()),
        response_headers: head,
        response_body: Bytes::from(response.to_string()),
        raw: Some(Bytes::from(evil)),
        truncated: true,
    });
    record
}
