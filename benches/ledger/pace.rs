//! A steady load: what a record costs the request that makes it, and how long until it is durable.

use std::path::Path;
use std::time::{Duration, Instant};

use iris::records::Ledger;

use super::records::{Dice, record};

const LENGTH: Duration = Duration::from_secs(20);
const TICK: Duration = Duration::from_millis(1);
/// Ten in each tick are 10,000 a second.
const IN_TICK: usize = 10;
/// Goal, for the 99th percentile of what a request waits for.
const GOAL: Duration = Duration::from_millis(5);

pub(super) async fn hold(url: &str, dir: &Path, start_ms: i64) {
    let ledger = Ledger::open(url, dir).expect("a ledger");
    let flushes = tokio::spawn(durable(ledger.clone()));
    let (mut waits, mut most, mut refused) = (Vec::new(), 0, 0);
    let (mut dice, mut nth) = (Dice(7), 0);
    let began = Instant::now();
    let mut ticks = tokio::time::interval(TICK);
    while began.elapsed() < LENGTH {
        // What a tick missed is made up for at once.
        ticks.tick().await;
        for _ in 0..IN_TICK {
            nth += 1;
            // A tenth of a millisecond apart.
            let record = record(nth, start_ms + i64::from(nth / 10), &mut dice);
            let asked = Instant::now();
            match ledger.admit() {
                Ok(slot) => slot.record(record),
                Err(_) => refused += 1,
            }
            waits.push(asked.elapsed());
        }
        most = most.max(ledger.backlog().promised);
    }
    let rate = waits.len() as f64 / began.elapsed().as_secs_f64();
    let until_durable = flushes.await.expect("a task");
    ledger.close().await.expect("a working disk");
    println!(
        "  {rate:.0} records a second for {LENGTH:?}: {refused} refused, at most {most} queued"
    );
    let p99 = print("    a request waits", waits);
    print("    until durable", until_durable);
    if p99 > GOAL {
        println!("    beyond {GOAL:?}");
    }
}

/// How long it takes until what was said before is durable, asked again and again.
async fn durable(ledger: Ledger) -> Vec<Duration> {
    let began = Instant::now();
    let mut times = Vec::new();
    while began.elapsed() < LENGTH {
        let asked = Instant::now();
        ledger.durable().await.expect("a working disk");
        times.push(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    times
}

fn print(what: &str, mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    println!(
        "{what}: p50 {:.3} ms, p99 {:.3} ms, most {:.1} ms",
        ms(at(50)),
        ms(at(99)),
        ms(at(100))
    );
    at(99)
}
