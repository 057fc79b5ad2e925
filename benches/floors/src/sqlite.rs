//! What `SQLite` alone takes for a record. It inserts the rows that records of the bench `ledger` are folded into, in
//! the same schema, with the same pragmas, in batches of the same size. The journal isn't part of it, nor is any
//! other work of the ledger.
#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::ops::Range;
use std::time::Duration;

use rusqlite::{Connection, Result, Transaction, params};
use rustix::time::{ClockId, clock_gettime};

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SCHEMA: &str = include_str!("../../../src/records/stores/sqlite/schema.sql");

/// As the ledger's writer sets them.
const PRAGMAS: [&str; 5] = [
    "journal_mode = WAL",
    "synchronous = FULL",
    "wal_autocheckpoint = 8000",
    "cache_size = -16384",
    "secure_delete = ON",
];

/// Records of a batch, as many as the ledger folds together at most.
const BATCH: i64 = 8_000;
const BATCHES: i64 = 20;

/// What a batch of the bench `ledger` adds to: callers, kinds, and headers.
const CALLERS: i64 = 100;
const KINDS: i64 = 250;
const HEADERS: i64 = 9;

const ID: &str = "req_01hf7yat3v04hmasw9nf6yy093";
const SESSION: &str = "session-17-691230";
const REST: &str = r#"["laptop",[],"model-7","POST","/v1/chat/completions",1,[20731,1034,5120,null,null,null,null,null,null,null],0,1000000,"main/model","stop",0,100.0,650.0,15500.0,0.2,20000,9000,"client/1.0 (linux)",["caller user on node laptop, role User by grant 3","caller user on node laptop, role User by grant 3"],null]"#;

/// Inserts what the records of a batch become in some tables.
type Insert = fn(&Transaction<'_>, Range<i64>) -> Result<()>;

const PARTS: [(&str, Insert); 5] = [
    ("requests", requests),
    ("headers", headers),
    ("tools", tools),
    ("sessions", sessions),
    ("sums", sums),
];

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    println!("{:>9}: {:.1} µs of CPU a record", "all", measure(&PARTS)?);
    for part in PARTS {
        println!("{:>9}: {:.1}", part.0, measure(&[part])?);
    }
    Ok(())
}

/// Microseconds of CPU for a record, in a new database.
fn measure(parts: &[(&str, Insert)]) -> std::result::Result<f64, Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let mut open = Connection::open(dir.path().join("ledger.db"))?;
    for pragma in PRAGMAS {
        let mut pragma = open.prepare(&format!("PRAGMA {pragma}"))?;
        // Some answer with a row.
        pragma.query([])?.next()?;
    }
    open.execute_batch(SCHEMA)?;
    let before = cpu()?;
    for batch in 0..BATCHES {
        let transaction = open.transaction()?;
        for (_, insert) in parts {
            insert(&transaction, batch * BATCH..(batch + 1) * BATCH)?;
        }
        transaction.commit()?;
    }
    let spent = cpu()?.saturating_sub(before);
    let count = u32::try_from(BATCH * BATCHES)?;
    Ok(spent.as_secs_f64() * 1e6 / f64::from(count))
}

/// The CPU time of this process.
fn cpu() -> std::result::Result<Duration, std::num::TryFromIntError> {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Ok(Duration::new(
        now.tv_sec.try_into()?,
        now.tv_nsec.try_into()?,
    ))
}

/// Numbers that look random and are the same each time.
fn dice(nth: i64, below: i64) -> i64 {
    (nth.wrapping_mul(0x5851_f42d_4c95_7f2d) >> 33).rem_euclid(below)
}

/// Where a record stands: 40 start in a millisecond, in the order of the random part of their ids.
fn place(nth: i64) -> i64 {
    let ms = 1_790_000_000_000 + nth / 40;
    ms << 20 | (nth % 40 * 26_000 + dice(nth, 26_000))
}

fn requests(to: &Transaction<'_>, batch: Range<i64>) -> Result<()> {
    let mut insert = to.prepare_cached(
        "INSERT INTO requests (place, id, session, caller, node, kind, rest) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (place) DO NOTHING",
    )?;
    for nth in batch {
        let (caller, kind) = (dice(nth, CALLERS), dice(nth, KINDS));
        insert.execute(params![place(nth), ID, SESSION, caller, caller, kind, REST])?;
    }
    Ok(())
}

/// A third of the records has one header, one in twenty another one.
fn headers(to: &Transaction<'_>, batch: Range<i64>) -> Result<()> {
    let mut insert = to.prepare_cached(
        "INSERT INTO entry_headers (name, value, entry, nth) VALUES (?1, ?2, ?3, 0) \
         ON CONFLICT (name, value, entry) DO NOTHING",
    )?;
    for nth in batch {
        if dice(nth, 3) == 0 {
            let team = format!("team-{}", dice(nth, 8));
            insert.execute(params!["x-team", team, place(nth)])?;
        }
        if dice(nth, 20) == 0 {
            insert.execute(params!["x-trace", "", place(nth)])?;
        }
    }
    Ok(())
}

/// One record in five calls a tool.
fn tools(to: &Transaction<'_>, batch: Range<i64>) -> Result<()> {
    let mut insert = to.prepare_cached(
        "INSERT INTO entry_tools (entry, position, name, nth, params) VALUES (?1, 0, ?2, 0, ?3)",
    )?;
    for nth in batch.filter(|nth| dice(*nth, 5) == 0) {
        let tool = format!("tool-{}", dice(nth, 6));
        insert.execute(params![place(nth), tool, r#"{"path":"src/main.rs"}"#])?;
    }
    Ok(())
}

/// Every caller has one.
fn sessions(to: &Transaction<'_>, batch: Range<i64>) -> Result<()> {
    let mut insert = to.prepare_cached(
        "INSERT INTO sessions VALUES (?1, ?1, ?2, ?3, ?3, ?4, 'laptop', 'agent-1', 'model-1', 'main', \
         80, 1, ?3, ?3, ?3, 0, 0, 0, 0, 0, 0, 0, ?3, 80, 0) ON CONFLICT (caller, session) DO UPDATE SET \
         last_at = excluded.last_at, last_request = excluded.last_request, \
         requests = sessions.requests + excluded.requests, \
         input_tokens = sessions.input_tokens + excluded.input_tokens, \
         output_tokens = sessions.output_tokens + excluded.output_tokens, cost = sessions.cost + excluded.cost",
    )?;
    for caller in 0..CALLERS {
        insert.execute(params![
            format!("user{caller}@example.com"),
            SESSION,
            batch.start,
            ID
        ])?;
    }
    Ok(())
}

/// Each sum is read, and written again.
fn sums(to: &Transaction<'_>, batch: Range<i64>) -> Result<()> {
    let by_kind = (0..=HEADERS).flat_map(|header| {
        let kinds = if header == 0 { KINDS } else { KINDS / 2 };
        (0..kinds).map(move |kind| (header, kind))
    });
    let by_caller = (0..3).flat_map(|header| (0..CALLERS).map(move |caller| (header, caller)));
    for (table, time, last) in [
        ("usage_days", "day", "kind"),
        ("usage_hours", "hour", "kind"),
        ("usage_callers", "day", "caller"),
    ] {
        let keys: Vec<(i64, i64)> = match last {
            "kind" => by_kind.clone().collect(),
            _ => by_caller.clone().collect(),
        };
        let mut select = to.prepare_cached(&format!(
            "SELECT requests, rest FROM {table} WHERE header = ?1 AND {time} = 0 AND {last} = ?2"
        ))?;
        let mut insert = to.prepare_cached(&format!(
            "INSERT INTO {table} (header, {time}, {last}, requests, input_tokens, output_tokens, cost, rest) \
             VALUES (?1, 0, ?2, ?3, ?3, ?3, ?3, ?4) ON CONFLICT (header, {time}, {last}) DO UPDATE SET \
             requests = excluded.requests, input_tokens = excluded.input_tokens, \
             output_tokens = excluded.output_tokens, cost = excluded.cost, rest = excluded.rest"
        ))?;
        for (header, last) in keys {
            select.query([header, last])?.next()?;
            insert.execute(params![header, last, batch.start, [7_u8; 60]])?;
        }
    }
    let mut select =
        to.prepare_cached("SELECT kinds FROM usage_kinds WHERE header = ?1 AND caller = ?2")?;
    let mut insert = to.prepare_cached(
        "INSERT INTO usage_kinds (header, day, caller, kinds) VALUES (?1, 0, ?2, ?3) \
         ON CONFLICT (header, day, caller) DO UPDATE SET kinds = excluded.kinds",
    )?;
    for (header, caller) in by_caller {
        let kinds = [7_u8; 2_000];
        let kinds = if header == 0 {
            &kinds[..]
        } else {
            &kinds[..700]
        };
        select.query([header, caller])?.next()?;
        insert.execute(params![header, caller, kinds])?;
    }
    Ok(())
}
