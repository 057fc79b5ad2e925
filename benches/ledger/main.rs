//! How fast a million records are written, and how long a dashboard's questions take on them.
//!
//! Before that, ten thousand a second are written at a steady pace: what that costs their requests. And
//! forty thousand a second, twenty thousand on `PostgreSQL`: what becomes of them.
//!
//! `cargo bench --bench ledger`; `IRIS_BENCH_POSTGRES=url` asks an empty `PostgreSQL` database the
//! same, `IRIS_BENCH_RECORDS=n` writes fewer, and `IRIS_BENCH_FLOOD=s` offers records for other than sixty
//! seconds; with `IRIS_BENCH_RECORDS=0` it ends there. The goal is 100 ms for each question.
#![expect(clippy::print_stdout, reason = "the figures are what it is for")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

use std::path::Path;
use std::time::{Duration, Instant};

use iris::records::{EntryId, Group, Ledger, Outcome, Query, Report, Scope};

use records::{DAY_MS, DAYS, user, write};

mod flood;
mod pace;
mod records;

/// The first of thirty days: 1 October 2026.
const START_MS: i64 = 20_727 * DAY_MS;
const END_MS: i64 = START_MS + DAYS * DAY_MS;

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const GOAL: Duration = Duration::from_millis(100);

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let dir = tempfile::tempdir().expect("a directory");
    let postgres = std::env::var("IRIS_BENCH_POSTGRES").ok();
    let urls = [Some("sqlite:ledger.db".to_owned()), postgres];
    for url in urls.into_iter().flatten() {
        runtime.block_on(measure(&url, dir.path()));
    }
}

async fn measure(url: &str, dir: &Path) {
    let records = std::env::var("IRIS_BENCH_RECORDS").ok();
    let records = records.and_then(|count| count.parse().ok());
    let records: u32 = records.unwrap_or(1_000_000);
    println!("{}:", url.split(':').next().unwrap_or_default());
    let flood = std::env::var("IRIS_BENCH_FLOOD").ok();
    let flood = flood.and_then(|seconds| seconds.parse().ok()).unwrap_or(60);
    let rate = if url.starts_with("sqlite") {
        40_000
    } else {
        20_000
    };
    let length = Duration::from_secs(flood);
    flood::offer(url, dir, START_MS - 80 * DAY_MS, rate, length).await;
    if records == 0 {
        return;
    }
    // Before the month that is asked about, in the same database.
    pace::hold(url, dir, START_MS - 40 * DAY_MS).await;
    let ledger = Ledger::open(url, dir).expect("a ledger");
    let started = Instant::now();
    write(&ledger, START_MS, records).await;
    let rate = f64::from(records) / started.elapsed().as_secs_f64();
    println!("  {records} records written, {rate:.0} a second");
    let mut slow = Vec::new();
    for (name, question) in questions() {
        let mut times = Vec::new();
        let mut rows = 0;
        for _ in 0..5 {
            let started = Instant::now();
            rows = ask(&ledger, question.clone()).await;
            times.push(started.elapsed());
        }
        times.sort();
        let median = times[2];
        println!(
            "  {:>8.1} ms  {name} ({rows} rows)",
            median.as_secs_f64() * 1e3
        );
        if median > GOAL {
            slow.push(name);
        }
    }
    match slow[..] {
        [] => println!("  all within {GOAL:?}"),
        _ => println!("  beyond {GOAL:?}: {}", slow.join("; ")),
    }
}

#[derive(Clone)]
enum Question {
    Requests(Scope, Query),
    Sessions(Scope, Query),
    Usage(Scope, Report),
}

async fn ask(ledger: &Ledger, question: Question) -> usize {
    match question {
        Question::Requests(scope, query) => {
            let rows = ledger.requests(scope, query).await;
            rows.expect("an answer").len()
        }
        Question::Sessions(scope, query) => {
            let rows = ledger.sessions(scope, query).await;
            rows.expect("an answer").len()
        }
        Question::Usage(scope, report) => {
            let usage = ledger.usage(scope, report).await;
            usage.expect("an answer").groups.len()
        }
    }
}

fn questions() -> Vec<(&'static str, Question)> {
    let own = || Scope::Own(vec![user(3)]);
    let mut all = Vec::new();
    for (name, is_own, change) in REQUESTS {
        let scope = if *is_own { own() } else { Scope::Everyone };
        let mut query = Query::default();
        change(&mut query);
        all.push((*name, Question::Requests(scope, query)));
    }
    for (name, is_own, change) in SESSIONS {
        let scope = if *is_own { own() } else { Scope::Everyone };
        let mut query = Query::default();
        change(&mut query);
        all.push((*name, Question::Sessions(scope, query)));
    }
    for (name, is_own, groups, change) in REPORTS {
        let scope = if *is_own { own() } else { Scope::Everyone };
        let mut report = Report {
            from: START_MS,
            to: END_MS,
            groups: groups.to_vec(),
            ..Report::default()
        };
        change(&mut report);
        all.push((*name, Question::Usage(scope, report)));
    }
    all
}

fn header(name: &str, value: Option<&str>) -> (String, Option<String>) {
    (name.to_owned(), value.map(str::to_owned))
}

fn middle() -> String {
    EntryId::new(START_MS + 15 * DAY_MS).to_string()
}

/// A name, whether it is about the caller's own data, and what is asked.
type Page = (&'static str, bool, fn(&mut Query));

const REQUESTS: &[Page] = &[
    ("requests", false, |_| {}),
    ("requests, own", true, |_| {}),
    ("requests, middle page", false, |query| {
        query.before = Some(middle());
    }),
    ("requests, own, middle page", true, |query| {
        query.before = Some(middle());
    }),
    ("requests of a model that failed", false, |query| {
        query.model = Some("model-4".into());
        query.outcome = Some(Outcome::Failed);
    }),
    ("requests, own, with a status", true, |query| {
        query.status = Some(502);
    }),
    ("requests of an agent and a provider", false, |query| {
        query.agent = Some("agent-2".into());
        query.provider = Some("provider-1".into());
    }),
    ("requests of an hour", false, |query| {
        query.from = Some(END_MS - 5 * DAY_MS);
        query.to = Some(END_MS - 5 * DAY_MS + DAY_MS / 24);
    }),
    ("requests with a tool", false, |query| {
        query.tool = Some("tool-1".into());
    }),
    ("requests with a rare tool", false, |query| {
        query.tool = Some("rare".into());
    }),
    ("requests, own, with a rare tool", true, |query| {
        query.tool = Some("rare".into());
    }),
    ("requests with a header", false, |query| {
        query.marks = vec![header("x-trace", None)];
    }),
    ("requests with a header's value", false, |query| {
        query.marks = vec![header("x-team", Some("team-3"))];
    }),
    ("requests, own, with a header's value", true, |query| {
        query.marks = vec![header("x-team", Some("team-3"))];
    }),
    ("requests with a header nobody sent", false, |query| {
        query.marks = vec![header("x-no", None)];
    }),
];

const SESSIONS: &[Page] = &[
    ("sessions", false, |_| {}),
    ("sessions, own", true, |_| {}),
    ("sessions, middle page", false, |query| {
        query.before = Some(middle());
    }),
    ("sessions with a model", false, |query| {
        query.model = Some("model-4".into());
    }),
    ("sessions with a tool", false, |query| {
        query.tool = Some("tool-1".into());
    }),
    ("sessions with a rare tool", false, |query| {
        query.tool = Some("rare".into());
    }),
];

/// A name, whether it is about the caller's own data, the groups, and what else is asked of thirty days.
type Asked = (&'static str, bool, &'static [Group], fn(&mut Report));

const REPORTS: &[Asked] = &[
    ("30 days", false, &[], |_| {}),
    ("30 days by day", false, &[Group::Day], |_| {}),
    ("30 days by user", false, &[Group::Login], |_| {}),
    ("30 days by model", false, &[Group::Model], |_| {}),
    ("30 days by provider", false, &[Group::Provider], |_| {}),
    ("30 days by agent", false, &[Group::Agent], |_| {}),
    ("30 days by outcome", false, &[Group::Outcome], |_| {}),
    ("30 days by status", false, &[Group::Status], |_| {}),
    (
        "30 days by day and model",
        false,
        &[Group::Day, Group::Model],
        |_| {},
    ),
    (
        "30 days by day and user",
        false,
        &[Group::Day, Group::Login],
        |_| {},
    ),
    (
        "30 days by user and model",
        false,
        &[Group::Login, Group::Model],
        |_| {},
    ),
    (
        "30 days by provider and model",
        false,
        &[Group::Provider, Group::Model],
        |_| {},
    ),
    (
        "30 days by agent and model",
        false,
        &[Group::Agent, Group::Model],
        |_| {},
    ),
    (
        "30 days of a model by user",
        false,
        &[Group::Login],
        |report| {
            report.models = vec!["model-4".into()];
        },
    ),
    (
        "30 days of an agent and a provider by day",
        false,
        &[Group::Day],
        |report| {
            report.agents = vec!["agent-2".into()];
            report.providers = vec!["provider-1".into()];
        },
    ),
    ("30 days by team", false, &[Group::Header], |report| {
        report.mark = Some("x-team".into());
    }),
    (
        "30 days by team and model",
        false,
        &[Group::Header, Group::Model],
        |report| {
            report.mark = Some("x-team".into());
        },
    ),
    (
        "30 days, own, by day and model",
        true,
        &[Group::Day, Group::Model],
        |_| {},
    ),
    (
        "30 days, own, by agent and model",
        true,
        &[Group::Agent, Group::Model],
        |_| {},
    ),
    (
        "7 days by agent, api and model",
        false,
        &[Group::Agent, Group::Api, Group::Model],
        |report| {
            report.from = END_MS - 7 * DAY_MS;
        },
    ),
    ("24 hours by hour", false, &[Group::Hour], |report| {
        report.from = END_MS - DAY_MS;
    }),
    ("48 hours by hour", false, &[Group::Hour], |report| {
        report.from = END_MS - 2 * DAY_MS;
    }),
    ("48 hours, own, by hour", true, &[Group::Hour], |report| {
        report.from = END_MS - 2 * DAY_MS;
    }),
];
