//! As many records as come: how many are durable in a second, and how long it takes to fold them.

use std::path::Path;
use std::time::{Duration, Instant};

use iris::records::Ledger;

use super::records::{Dice, record};

const TICK: Duration = Duration::from_millis(1);

/// Clock ticks in a second, as `/proc` counts them.
const HERTZ: f64 = 100.0;

/// Offers `rate` records a second for `length`.
pub(super) async fn offer(url: &str, dir: &Path, start_ms: i64, rate: u32, length: Duration) {
    let ledger = Ledger::open(url, dir).expect("a ledger");
    let (mut dice, mut nth, mut refused) = (Dice(11), 0, 0);
    // Made before, so that the figures are the ledger's.
    let kinds: Vec<_> = (0..10_000)
        .map(|nth| record(nth, start_ms + i64::from(nth) * 5, &mut dice))
        .collect();
    let before = cpu();
    let began = Instant::now();
    let mut ticks = tokio::time::interval(TICK);
    while began.elapsed() < length {
        ticks.tick().await;
        let due = began.elapsed().as_millis() * u128::from(rate) / 1_000;
        let due = usize::try_from(due).unwrap_or(usize::MAX);
        while nth < due {
            let mut record = kinds[nth % kinds.len()].clone();
            record.entry.id = iris::records::EntryId::new(record.entry.started_at);
            match ledger.admit() {
                Ok(slot) => slot.record(record),
                Err(_) => refused += 1,
            }
            nth += 1;
        }
    }
    ledger.durable().await.expect("a working disk");
    let took = began.elapsed();
    let written = nth - refused;
    println!(
        "  {rate} records a second offered for {length:?}: {:.0} durable a second, {refused} refused",
        written as f64 / took.as_secs_f64()
    );
    ledger.flush().await.expect("a working disk");
    let all = began.elapsed();
    let spent = cpu() - before;
    println!(
        "    all folded {:.1} s later: {:.0} folded a second, {:.1} µs of the ledger's threads a record",
        all.saturating_sub(took).as_secs_f64(),
        written as f64 / all.as_secs_f64(),
        spent / written as f64 * 1e6
    );
    ledger.close().await.expect("a working disk");
}

/// Seconds of CPU that the ledger's threads have taken.
fn cpu() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten();
    let ticks = tasks.flatten().filter_map(|task| {
        let stat = std::fs::read_to_string(task.path().join("stat")).ok()?;
        let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks: f64 = fields.get(11)?.parse().ok()?;
        let more: f64 = fields.get(12)?.parse().ok()?;
        name.starts_with("ledger").then_some(ticks + more)
    });
    ticks.sum::<f64>() / HERTZ
}
