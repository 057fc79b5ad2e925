//! Conversations that are kept: each login's own, bounded, and purged with what else was said.

use std::time::Duration;

use iris::config::{Database, Retention};
use iris::ledger::{Ledger, MOST_CHATS};

use crate::store::Place;

async fn ids(ledger: &Ledger, login: &str) -> Vec<String> {
    let chats = ledger.chats(login).await.unwrap();
    chats.into_iter().map(|chat| chat.id).collect()
}

pub(crate) async fn each_has_their_own_and_what_is_old_goes(place: Place) {
    let ledger = place.open();
    let keep = async |login: &str, id: &str, body: &str| {
        let kept = ledger.keep_chat(login, (id, "a title"), body.into()).await;
        kept.unwrap();
    };
    keep("ann", "one", "{\"a\":1}").await;
    keep("bob", "one", "{\"b\":1}").await;
    keep("ann", "one", "{\"a\":2}").await;
    assert_eq!(ids(&ledger, "ann").await, ["one"]);
    assert_eq!(ledger.chats("ann").await.unwrap()[0].title, "a title");
    let body = async |login: &str| ledger.chat(login, "one").await.unwrap();
    assert_eq!(body("ann").await.as_deref(), Some(&b"{\"a\":2}"[..]));
    assert_eq!(body("bob").await.as_deref(), Some(&b"{\"b\":1}"[..]));
    assert_eq!(body("eve").await, None);
    assert!(!ledger.delete_chat("eve", "one").await.unwrap());
    assert!(ledger.delete_chat("ann", "one").await.unwrap());
    assert_eq!(body("ann").await, None);
    assert!(body("bob").await.is_some());

    let retain = |duration, captures| {
        let retention = Retention {
            duration: Some(duration),
            captures,
            ..Retention::default()
        };
        let database = Database {
            retention,
            ..Database::default()
        };
        ledger.set_retention(&database, &[]);
    };
    retain(Duration::from_hours(1), true);
    assert_eq!(ledger.purge().await.unwrap(), 0, "it is young");
    retain(Duration::ZERO, false);
    assert_eq!(ledger.purge().await.unwrap(), 0, "what is said is kept");
    assert!(body("bob").await.is_some());
    retain(Duration::ZERO, true);
    ledger.purge().await.unwrap();
    assert_eq!(body("bob").await, None);
}

pub(crate) async fn beyond_the_bound_the_oldest_go(place: Place) {
    let ledger = place.open();
    for nth in 0..MOST_CHATS + 3 {
        let id = format!("chat-{nth:04}");
        let named = (id.as_str(), "t");
        ledger
            .keep_chat("ann", named, b"{}".to_vec())
            .await
            .unwrap();
        // The time tells which is the oldest.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let left = ids(&ledger, "ann").await;
    assert_eq!(left.len(), MOST_CHATS);
    assert_eq!(left.last().unwrap(), "chat-0003");
    let long = vec![b'x'; 30 << 20];
    for id in ["long-1", "long-2", "long-3"] {
        ledger
            .keep_chat("ann", (id, "t"), long.clone())
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(ids(&ledger, "ann").await, ["long-3", "long-2"]);
}
