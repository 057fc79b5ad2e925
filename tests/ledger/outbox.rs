//! What hooks are to be told, on both databases.

use std::time::Duration;

use iris::ledger::{Delivery, Record};

use crate::store::{Place, entry, write};

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

pub(crate) async fn each_delivery_is_taken_by_one_and_comes_back_until_it_is_done(place: Place) {
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

pub(crate) async fn what_is_too_much_or_for_nobody_is_forgotten(place: Place) {
    let ledger = place.open();
    let records = (0..10).flat_map(|nth| [telling(nth, "log", "x"), telling(nth, "gone", "y")]);
    write(&ledger, records).await;
    let forgotten = ledger
        .retain_deliveries(vec!["log".to_owned()], 4)
        .await
        .unwrap();
    assert_eq!(forgotten, 16);
    assert_eq!(ledger.due("log", 100, LEASE).await.unwrap().len(), 4);
    assert!(ledger.due("gone", 100, LEASE).await.unwrap().is_empty());
    assert_eq!(ledger.retain_deliveries(Vec::new(), 4).await.unwrap(), 4);
}
