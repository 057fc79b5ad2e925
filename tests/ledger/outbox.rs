//! Notices that wait for hooks, on both databases.

use std::time::Duration;

use iris::records::{Delivery, Record};

use crate::store::{Place, entry, write};
use support::harness::Test;
use support::tests;

pub(crate) const EVERY: &[Test<Place>] = tests![
    Place;
    each_delivery_is_taken_by_one_and_comes_back_until_it_is_done,
    what_is_too_much_or_for_nobody_is_forgotten,
];
pub(crate) const LASTING: &[Test<Place>] = tests![
    Place;
    two_nodes_never_take_the_same,
];
pub(crate) const FILES: &[Test<Place>] = tests![
    Place;
    what_was_told_is_not_in_the_files,
];

const LEASE: Duration = Duration::from_mins(1);

fn telling(at: i64, hook: &str, said: &str) -> Record {
    let mut record: Record = entry(at, "ann@example.com", "s").into();
    record.deliveries.push(Delivery {
        hook: hook.to_owned(),
        event: "entire_request".to_owned(),
        payload: said.as_bytes().to_vec(),
    });
    record
}

async fn each_delivery_is_taken_by_one_and_comes_back_until_it_is_done(place: &Place) {
    let ledger = place.open();
    let records = (0..40).map(|nth| telling(nth, "log", &format!("{nth}")));
    write(&ledger, records).await;
    let mut takers = Vec::new();
    for _ in 0..8 {
        let ledger = ledger.clone();
        takers.push(tokio::spawn(async move {
            let mut taken = Vec::new();
            loop {
                let due = ledger.due("log", 3, LEASE).await.unwrap();
                if due.is_empty() {
                    return taken;
                }
                taken.extend(due.into_iter().map(|one| (one.id, one.payload)));
            }
        }));
    }
    let mut taken = Vec::new();
    for taker in takers {
        taken.extend(taker.await.unwrap());
    }
    taken.sort();
    taken.dedup();
    assert_eq!(taken.len(), 40);
    let (done, again) = taken.split_at(30);
    for (id, _) in done {
        ledger.delivered(id).await.unwrap();
    }
    // Those that are taken and not done wait as well.
    let waiting = ledger.deliveries_waiting().await.unwrap();
    assert_eq!(
        (waiting.len(), &*waiting[0].hook, waiting[0].count),
        (1, "log", 10)
    );
    let now = iris::base::clock::unix_ms();
    assert!((now - 60_000..=now).contains(&waiting[0].oldest));
    assert!(
        ledger.due("log", 3, LEASE).await.unwrap().is_empty(),
        "before the lease ends"
    );
    for (id, _) in again {
        ledger.put_off(id, Duration::ZERO).await.unwrap();
    }
    let due = ledger.due("log", 100, LEASE).await.unwrap();
    assert_eq!((due.len(), due[0].tries), (10, 1));
    ledger.hasten().await.unwrap();
    assert_eq!(ledger.due("log", 100, LEASE).await.unwrap().len(), 10);
}

async fn what_is_too_much_or_for_nobody_is_forgotten(place: &Place) {
    let ledger = place.open();
    let records = (0..10).flat_map(|nth| [telling(nth, "log", "x"), telling(nth, "gone", "y")]);
    write(&ledger, records).await;
    let log = vec!["log".to_owned()];
    let forgotten = ledger.retain_deliveries(log.clone(), 4, 1 << 20);
    assert_eq!(
        forgotten.await.unwrap(),
        [("gone".to_owned(), 10), ("log".to_owned(), 6)]
    );
    let left = ledger.due("log", 100, LEASE).await.unwrap();
    assert_eq!(left.len(), 4);
    assert!(ledger.due("gone", 100, LEASE).await.unwrap().is_empty());
    let size = i64::try_from(left[0].payload.len()).unwrap();
    let forgotten = ledger.retain_deliveries(log.clone(), 4, 2 * size);
    assert_eq!(forgotten.await.unwrap(), [("log".to_owned(), 2)]);
    let forgotten = ledger.retain_deliveries(log, 4, 2 * size);
    assert_eq!(forgotten.await.unwrap(), []);
    let forgotten = ledger.retain_deliveries(Vec::new(), 4, 1 << 20);
    assert_eq!(forgotten.await.unwrap(), [("log".to_owned(), 2)]);
}

async fn two_nodes_never_take_the_same(place: &Place) {
    let nodes = [place.open(), place.open()];
    write(&nodes[0], (0..200).map(|nth| telling(nth, "log", "x"))).await;
    let tasks = (0..8).map(|nth| {
        let node = nodes[nth % 2].clone();
        tokio::spawn(async move {
            let (mut mine, mut misses) = (Vec::new(), 0);
            while misses < 5 {
                match node.due("log", 7, LEASE).await {
                    Ok(taken) if taken.is_empty() => misses += 1,
                    Ok(taken) => mine.extend(taken.into_iter().map(|one| one.id)),
                    // Another process may hold the lock of a file.
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
            mine
        })
    });
    let mut all = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        all.extend(task.await.unwrap());
    }
    let distinct: std::collections::HashSet<&String> = all.iter().collect();
    assert_eq!((all.len(), distinct.len()), (200, 200));
}

async fn what_was_told_is_not_in_the_files(place: &Place) {
    let planted = "a-word-nobody-else-says";
    let is_there = || {
        std::fs::read_dir(place.file()).unwrap().any(|file| {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            let mut windows = bytes.windows(planted.len());
            windows.any(|window| window == planted.as_bytes())
        })
    };
    let ledger = place.open();
    // The first purge of a process wipes whatever was left behind.
    ledger.purge().await.unwrap();
    write(&ledger, [telling(1, "log", planted)]).await;
    assert!(is_there());
    let taken = ledger.due("log", 1, LEASE).await.unwrap();
    ledger.delivered(&taken[0].id).await.unwrap();
    ledger.purge().await.unwrap();
    assert!(!is_there());
    // Nor what is for nobody any more.
    write(&ledger, [telling(2, "gone", planted)]).await;
    assert!(is_there());
    let gone = ledger.retain_deliveries(vec!["log".to_owned()], 10, 1 << 20);
    assert_eq!(gone.await.unwrap(), [("gone".to_owned(), 1)]);
    ledger.purge().await.unwrap();
    assert!(!is_there());
}
