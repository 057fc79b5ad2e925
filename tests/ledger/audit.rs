//! The audit log and the versions of the configuration, on both databases.

use iris::records::{AuditQuery, Audited, EntryId, Version};
use serde_json::json;

use crate::store::Place;
use support::harness::Test;
use support::tests;

pub(crate) const EVERY: &[Test<Place>] = tests![
    Place;
    what_was_done_is_found_and_paged,
    versions_have_parents_and_a_bound,
];
pub(crate) const LASTING: &[Test<Place>] = tests![
    Place;
    what_was_done_outlives_the_process,
];

/// Versions that are kept.
const KEPT: usize = 500;

fn done(at: i64, actor: &str, kind: &str) -> Audited {
    Audited {
        id: EntryId::new(at),
        at,
        actor: actor.to_owned(),
        node: "laptop".to_owned(),
        kind: kind.to_owned(),
        subject: "configuration".to_owned(),
        detail: json!({ "before": "a", "after": "\u{e9}" }),
        count: 1,
        caller: "user:7".to_owned(),
    }
}

fn version(at: i64, hash: &str) -> Version {
    Version {
        id: EntryId::new(at),
        at,
        actor: "ann@example.com".to_owned(),
        node: "laptop".to_owned(),
        how: "saved".to_owned(),
        hash: hash.to_owned(),
        parent: None,
        text: format!("{{ /* {hash} */ }}"),
    }
}

async fn what_was_done_is_found_and_paged(place: &Place) {
    let ledger = place.open();
    let rows = [
        done(1_000, "ann@example.com", "config_saved"),
        done(2_000, "bob@example.com", "capture_read"),
        done(3_000, "ann@example.com", "capture_read"),
    ];
    for row in &rows {
        ledger.audit(row.clone()).await.unwrap();
    }
    let found = async |query: AuditQuery| {
        let query = AuditQuery { limit: 10, ..query };
        let rows = ledger.audited(query).await.unwrap();
        rows.into_iter().map(|row| row.at).collect::<Vec<_>>()
    };
    let all = ledger.audited(AuditQuery {
        limit: 10,
        ..AuditQuery::default()
    });
    let [first, second, third] = &rows;
    assert_eq!(
        all.await.unwrap(),
        [third.clone(), second.clone(), first.clone()]
    );
    let actor = Some("ann@example.com".to_owned());
    let kind = Some("capture_read".to_owned());
    let by = |query| found(query);
    assert_eq!(
        by(AuditQuery {
            actor: actor.clone(),
            ..AuditQuery::default()
        })
        .await,
        [3_000, 1_000]
    );
    assert_eq!(
        by(AuditQuery {
            kind: kind.clone(),
            ..AuditQuery::default()
        })
        .await,
        [3_000, 2_000]
    );
    assert_eq!(
        by(AuditQuery {
            actor,
            kind,
            ..AuditQuery::default()
        })
        .await,
        [3_000]
    );
    let between = AuditQuery {
        from: Some(2_000),
        to: Some(3_000),
        ..AuditQuery::default()
    };
    assert_eq!(by(between).await, [2_000]);
    let before = Some(second.id.to_string());
    assert_eq!(
        by(AuditQuery {
            before,
            ..AuditQuery::default()
        })
        .await,
        [1_000]
    );
    // The same row twice is one: a sender that isn't sure that it arrived may send it again.
    ledger.audit(rows[0].clone()).await.unwrap();
    assert_eq!(by(AuditQuery::default()).await.len(), 3);
    // Longer than any index takes, and with what PostgreSQL cannot hold.
    let mut odd = done(4_000, &"x".repeat(10_000), "refused");
    "a\0b".clone_into(&mut odd.subject);
    ledger.audit(odd).await.unwrap();
    assert_eq!(by(AuditQuery::default()).await.len(), 4);
}

async fn what_was_done_outlives_the_process(place: &Place) {
    let ledger = place.open();
    // Durable when it is answered: nothing is flushed or closed.
    ledger
        .audit(done(1_000, "ann@example.com", "config_saved"))
        .await
        .unwrap();
    ledger.add_version(version(1_000, "one")).await.unwrap();
    std::mem::forget(ledger);
    let ledger = place.open();
    let query = AuditQuery {
        limit: 10,
        ..AuditQuery::default()
    };
    assert_eq!(ledger.audited(query).await.unwrap().len(), 1);
    assert_eq!(ledger.versions().await.unwrap()[0].hash, "one");
    assert!(!ledger.add_version(version(2_000, "one")).await.unwrap());
}

async fn versions_have_parents_and_a_bound(place: &Place) {
    let ledger = place.open();
    for nth in 0..KEPT + 3 {
        let at = i64::try_from(nth).unwrap() * 1_000;
        let version = version(at, &format!("hash {nth}"));
        assert!(ledger.add_version(version).await.unwrap());
    }
    let versions = ledger.versions().await.unwrap();
    assert_eq!(versions.len(), KEPT);
    let newest = &versions[0];
    assert_eq!(newest.hash, format!("hash {}", KEPT + 2));
    assert_eq!(newest.parent.as_deref(), Some(versions[1].id.as_str()));
    assert!(newest.text.is_empty(), "lists hold no texts");
    let found = ledger.version(newest.id.as_str()).await.unwrap().unwrap();
    assert_eq!(found.text, format!("{{ /* hash {} */ }}", KEPT + 2));
    assert_eq!(ledger.version("none").await.unwrap(), None);
    // The same text again makes no new version; one from before the newest does.
    assert!(
        !ledger
            .add_version(version(9_000_000, &newest.hash))
            .await
            .unwrap()
    );
    assert!(
        ledger
            .add_version(version(9_001_000, "hash 5"))
            .await
            .unwrap()
    );
}
