//! Write errors: the n-th write or sync fails, for many n, once or until there is space again. The gateway
//! stays up, never reports something as saved that isn't, and recovers by itself.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::client::chat;
use crate::disk::{Disk, Fault};
use crate::iris::{Iris, Place};
use crate::kills::{Seen, config, kept, refill};
use crate::provider::{Plan, Provider};
use crate::{records, times};

pub const TESTS: &[support::harness::Test<()>] = support::tests![the_nth_write_fails,];

const AT_ONCE: usize = 6;
/// The last n of the long form is this one, and the short form takes some of them.
const LAST: usize = 500;
/// How long a full disk stays full: shortly, and every now and then until the gateway tries seldom.
const FULL_FOR: [Duration; 2] = [Duration::from_millis(60), Duration::from_millis(1_500)];
/// How soon requests must be taken again.
const SOON: Duration = Duration::from_secs(5);

/// The responses that callers got.
#[derive(Default)]
struct Told {
    answered: Mutex<Vec<String>>,
    refused: AtomicU64,
    /// Anything else, which there must not be.
    other: Mutex<Vec<String>>,
}

impl Told {
    fn note(&self, mark: String, outcome: anyhow::Result<crate::client::Reply>) {
        let lock = |list: &Mutex<Vec<String>>, text| {
            list.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(text);
        };
        match outcome {
            Ok(reply) if reply.status == 200 => lock(&self.answered, mark),
            Ok(reply) if reply.status == 503 && reply.headers.contains_key("retry-after") => {
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
            Ok(reply) => lock(&self.other, format!("{}: {}", reply.status, reply.text())),
            Err(error) => lock(&self.other, format!("{error:#}")),
        }
    }
}

fn load(
    iris: &Iris,
    (told, seen): (&Arc<Told>, &Arc<Seen>),
    stop: &Arc<AtomicBool>,
) -> Vec<tokio::task::JoinHandle<()>> {
    let mut tasks: Vec<_> = (0..AT_ONCE)
        .map(|worker| {
            let (told, stop, mut client) = (Arc::clone(told), Arc::clone(stop), iris.client());
            tokio::spawn(async move {
                let mut nth = 0;
                while !stop.load(Ordering::Relaxed) {
                    let mark = format!("e{worker}-{nth}");
                    nth += 1;
                    let request = chat("m", &mark, nth % 2 == 0).expect("a request");
                    told.note(mark, client.send(request).await);
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            })
        })
        .collect();
    let (seen, stop, mut client) = (Arc::clone(seen), Arc::clone(stop), iris.client());
    tasks.push(tokio::spawn(async move {
        while !stop.load(Ordering::Relaxed) {
            // Whether it was confirmed is what counts.
            let _ = refill(&mut client, &seen).await;
        }
    }));
    tasks
}

/// Waits until something is true; how long that took.
async fn until(
    what: &str,
    within: Duration,
    mut is_so: impl AsyncFnMut() -> bool,
) -> anyhow::Result<Duration> {
    let started = Instant::now();
    while !is_so().await {
        if started.elapsed() > within {
            bail!("not within {within:?}: {what}");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(started.elapsed())
}

/// One error, and the way back.
async fn one(iris: &mut Iris, disk: &Disk, nth: u64, fault: Fault) -> anyhow::Result<Duration> {
    disk.fail(nth, fault);
    until("the error", Duration::from_secs(20), async || {
        disk.failed() > 0
    })
    .await?;
    if fault == Fault::Full {
        let long = usize::from(nth.is_multiple_of(9));
        tokio::time::sleep(FULL_FOR[long]).await;
    }
    let health = iris.client().get("/healthz").await?;
    ensure!(health.status == 200, "/healthz: {}", health.text());
    disk.heal();
    let (mut client, mut probe) = (iris.client(), 0);
    let back = until("requests are taken again", SOON, async || {
        probe += 1;
        let mark = format!("probe-{fault:?}-{nth}-{probe}");
        let asked = chat("m", &mark, false).expect("a request");
        client
            .send(asked)
            .await
            .is_ok_and(|reply| reply.status == 200)
    })
    .await?;
    ensure!(iris.is_alive(), "the program has ended");
    Ok(back)
}

async fn the_nth_write_fails() -> anyhow::Result<()> {
    if let Some(why) = Disk::missing() {
        support::harness::skip(why);
        return Ok(());
    }
    let count = times("IRIS_CRASH_ERRORS", 14).clamp(1, LAST);
    let dir = tempfile::tempdir()?;
    let provider = Provider::start(&dir.path().join("account"), |_| {
        Plan::Whole(Duration::from_millis(1))
    })
    .await?;
    let place = Place::new(&config(&provider))?;
    let disk = Disk::mount(&place.state)?;
    let mut iris = place.start().await?;
    let (told, seen) = (Arc::new(Told::default()), Arc::new(Seen::default()));
    let stop = Arc::new(AtomicBool::new(false));
    let tasks = load(&iris, (&told, &seen), &stop);
    let mut longest = Duration::ZERO;
    for nth in 1..=count {
        // All of them, or some with growing steps up to the last.
        let at = if count == LAST {
            nth
        } else {
            nth * nth * LAST / (count * count)
        };
        for fault in [Fault::Full, Fault::Broken] {
            let back = one(&mut iris, &disk, at as u64, fault).await;
            longest = longest.max(back.with_context(|| format!("{fault:?} at {at}"))?);
        }
    }
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await?;
    }
    let all = accepted(&place, &provider, &told).await?;
    // And they are on the disk.
    iris.kill()?;
    drop(iris);
    let iris = place.start().await?;
    kept(&place, &iris, &seen, "").await?;
    let again = records::entries(&records::open(&place.database())?, "")?.len();
    ensure!(
        again == all,
        "{all} records before a kill, {again} after it"
    );
    drop(iris);
    println!(
        "  {} errors (ENOSPC and EIO in turn, at up to the {}th write): {all} requests accepted and on \
         record, {} refused with 503, {} refills; taken again within {longest:.0?}",
        2 * count,
        if count == LAST { count } else { LAST },
        told.refused.load(Ordering::Relaxed),
        seen.refills.load(Ordering::Relaxed),
    );
    Ok(())
}

/// That what was accepted, and nothing else, is on record once; how many records there are.
async fn accepted(place: &Place, provider: &Provider, told: &Told) -> anyhow::Result<usize> {
    let other = told
        .other
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    ensure!(
        other.is_empty(),
        "{} answers are neither 200 nor 503 with a time to wait: {:?}",
        other.len(),
        &other[..other.len().min(3)]
    );
    let answered = told
        .answered
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let served = provider.account()?;
    let written = async || {
        let database = records::open(&place.database());
        let all = database.and_then(|database| records::entries(&database, ""));
        all.is_ok_and(|all| all.len() >= served.len())
    };
    until("all records are written", SOON, written).await?;
    let database = records::open(&place.database())?;
    records::check(&database)?;
    let entries = records::entries(&database, "")?;
    let marks: HashSet<&str> = entries.iter().map(|entry| entry.mark.as_str()).collect();
    let lost = answered.iter().find(|mark| !marks.contains(mark.as_str()));
    ensure!(lost.is_none(), "{lost:?} was answered and is not on record");
    ensure!(
        entries.len() == served.len(),
        "the provider served {}, on record are {}",
        served.len(),
        entries.len()
    );
    Ok(entries.len())
}
