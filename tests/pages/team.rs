//! Two weeks of a small team, for the screenshot in the README: what people want to see there, and the
//! same on each day, because the screenshot is compared with the page.

use std::path::Path;

use iris::base::reasons::Reason;
use iris::policy::identity::Caller;
use iris::records::{Entry, EntryId, Ledger, Outcome, Record, Tokens};

use crate::seed::Chance;

const DAY_MS: i64 = 86_400_000;

/// Login, node, sessions on a usual day.
const PEOPLE: [(&str, &str, u64); 7] = [
    ("maya@example.com", "maya-mbp", 14),
    ("jonas@example.com", "jonas-x1", 11),
    ("priya@example.com", "priya-mbp", 9),
    ("tomas@example.com", "tomas-desktop", 7),
    ("tag:ci", "ci-runner-2", 10),
    ("hanna@example.com", "hanna-air", 5),
    ("leo@example.com", "leo-mbp", 3),
];

/// What people use, and what a turn of it takes.
struct Kind {
    agent: &'static str,
    api: &'static str,
    path: &'static str,
    provider: &'static str,
    model: &'static str,
    input: u64,
    output: u64,
    /// Nanodollars for a token of a prompt and of an answer; a cached one costs a tenth.
    prices: (i64, i64),
    /// How many sessions of a hundred.
    share: u64,
}

const KINDS: [Kind; 6] = [
    Kind {
        agent: "claude-code",
        api: "anthropic_messages",
        path: "/v1/messages",
        provider: "anthropic",
        model: "claude-sonnet-5-5",
        input: 64_000,
        output: 1_400,
        prices: (2_000, 10_000),
        share: 33,
    },
    Kind {
        agent: "opencode",
        api: "openai_chat",
        path: "/v1/chat/completions",
        provider: "gpu-rack",
        model: "qwen3-coder-30b",
        input: 28_000,
        output: 1_100,
        prices: (0, 0),
        share: 24,
    },
    Kind {
        agent: "codex",
        api: "openai_responses",
        path: "/v1/responses",
        provider: "openai",
        model: "gpt-6.1-sol",
        input: 52_000,
        output: 1_900,
        prices: (2_000, 10_000),
        share: 17,
    },
    Kind {
        agent: "claude-code",
        api: "anthropic_messages",
        path: "/v1/messages",
        provider: "anthropic",
        model: "claude-haiku-5-5",
        input: 12_000,
        output: 400,
        prices: (100, 500),
        share: 10,
    },
    Kind {
        agent: "claude-code",
        api: "anthropic_messages",
        path: "/v1/messages",
        provider: "anthropic",
        model: "claude-opus-5-5",
        input: 58_000,
        output: 1_900,
        prices: (4_000, 20_000),
        share: 11,
    },
    Kind {
        agent: "gemini-cli",
        api: "google_generate_content",
        path: "/v1beta/models/gemini-3.8-flash:streamGenerateContent",
        provider: "google",
        model: "gemini-3.8-flash",
        input: 24_000,
        output: 800,
        prices: (750, 3_750),
        share: 5,
    },
];

/// How much of a usual day happens on the last seven days, today being the last; then again.
const WEEK: [u64; 7] = [70, 100, 115, 20, 15, 95, 105];

pub(crate) async fn fill(url: &str, state: &Path) -> anyhow::Result<()> {
    let ledger = Ledger::open(url, state)?;
    let now = iris::base::clock::unix_ms();
    let midnight = now.div_euclid(DAY_MS) * DAY_MS;
    let mut chance = Chance(11);
    for days_ago in 0..14 {
        let begins = midnight - days_ago * DAY_MS;
        // Today ends now, so that the picture shows the same day at noon and in the evening.
        let lasts = (now - begins).min(DAY_MS);
        let busy = WEEK[usize::try_from(days_ago)? % 7];
        for (login, node, sessions) in PEOPLE {
            for nth in 0..(sessions * busy + chance.below(100)) / 100 {
                let kind = kind(login, &mut chance);
                let session = format!("{days_ago:02}-{nth}-{:08x}", chance.below(1 << 32));
                let turns = 6 + i64::try_from(chance.below(18))?;
                let at = i64::try_from(chance.below(900))?;
                for turn in 0..turns {
                    let place = at * 1_000 + turn * 2_000 / turns;
                    let at = begins + lasts / 1_000_000 * place;
                    ledger
                        .admit()?
                        .record(record(at, (login, node), &session, kind, &mut chance));
                }
            }
        }
    }
    ledger.close().await?;
    Ok(())
}

/// A kind by its share; machines use what costs nothing.
fn kind(login: &str, chance: &mut Chance) -> &'static Kind {
    if login.starts_with("tag:") {
        return &KINDS[if chance.below(4) == 0 { 3 } else { 1 }];
    }
    let mut left = chance.below(100);
    let mut kinds = KINDS.iter();
    kinds
        .find(|kind| {
            let is_it = left < kind.share;
            left = left.saturating_sub(kind.share);
            is_it
        })
        .unwrap_or(&KINDS[0])
}

fn record(
    at: i64,
    (login, node): (&str, &str),
    session: &str,
    kind: &Kind,
    chance: &mut Chance,
) -> Record {
    let input = kind.input / 2 + chance.below(kind.input);
    let output = kind.output / 2 + chance.below(kind.output);
    let cached = input * (78 + chance.below(14)) / 100;
    let failed = chance.below(150) == 0;
    let of = |tokens: u64, price: i64| i64::try_from(tokens).unwrap_or(0) * price;
    let (of_prompt, of_answer) = kind.prices;
    let cost = of(input - cached, of_prompt) + of(cached, of_prompt) / 10 + of(output, of_answer);
    Record::from(Entry {
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
        agent: kind.agent.into(),
        api: kind.api.into(),
        model_requested: kind.model.into(),
        model: kind.model.into(),
        provider: kind.provider.into(),
        method: "POST".into(),
        path: kind.path.into(),
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
            cached: Some(cached),
            ..Tokens::default()
        },
        cost: Some(if failed { 0 } else { cost }),
        cost_basis: Some(format!("{}/{}", kind.provider, kind.model).into()),
        own_credential: false,
        finish_reason: (!failed).then(|| "tool_use".to_owned()),
        tool_calls: 0,
        first_byte_ms: Some(180.0),
        first_token_ms: Some(260.0 + chance.float(1_100)),
        duration_ms: 2_200.0 + chance.float(14_000),
        overhead_ms: Some(0.08),
        request_bytes: input * 4,
        response_bytes: output * 6,
        user_agent: format!("{}/2.1", kind.agent).into(),
        reasons: vec![Reason::Granted {
            pattern: "**".into(),
            grant: "grants[0]".into(),
        }],
        error: failed.then(|| "the provider is overloaded".to_owned()),
        captured: false,
    })
}
