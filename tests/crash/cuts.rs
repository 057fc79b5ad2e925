//! Power cuts: the state directory is on a disk on which only synced data survives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::ensure;

use crate::disk::Disk;
use crate::iris::Place;
use crate::kills::{Seen, config, decide, kept, load};
use crate::provider::Provider;
use crate::{records, times};
use support::random::random;

pub const TESTS: &[support::harness::Test<()>] =
    support::tests![only_what_was_synced_is_acknowledged,];

async fn only_what_was_synced_is_acknowledged() -> anyhow::Result<()> {
    if let Some(why) = Disk::missing() {
        support::harness::skip(why);
        return Ok(());
    }
    let cuts = times("IRIS_CRASH_CUTS", 5);
    let dir = tempfile::tempdir()?;
    let provider = Provider::start(&dir.path().join("account"), decide).await?;
    let place = Place::new(&config(&provider))?;
    let mut disk = Disk::mount(&place.state)?;
    let seen = Arc::new(Seen::default());
    let (mut before, mut after) = (String::new(), String::new());
    for round in 0..cuts {
        let mut iris = place.start().await?;
        let last = kept(&place, &iris, &seen, &before).await?;
        before = std::mem::replace(&mut after, last);
        let stop = Arc::new(AtomicBool::new(false));
        let tasks = load(&iris, &seen, &stop);
        let seed = random(round as u64);
        tokio::time::sleep(Duration::from_millis(50 + seed % 500)).await;
        disk.cut();
        iris.kill()?;
        stop.store(true, Ordering::Relaxed);
        for task in tasks {
            task.await?;
        }
        // Every other time some of what was not synced has reached the disk, torn and unordered.
        disk.power_on((round % 2 == 1).then_some(seed))?;
    }
    let iris = place.start().await?;
    kept(&place, &iris, &seen, "").await?;
    let database = records::open(&place.database())?;
    let all = records::entries(&database, "")?.len();
    drop((database, iris));
    println!(
        "  {cuts} power cuts, half of them with torn sectors: {all} records, of which {} were seen, \
         {} answers, {} refills; 0 lost, 0 double",
        seen.records().len(),
        seen.answers.load(Ordering::Relaxed),
        seen.refills.load(Ordering::Relaxed),
    );
    ensure!(seen.records().len() > cuts, "too little was seen");
    Ok(())
}
