//! Conversations that are kept: each login's own, limited in number, and purged with other content.

use std::time::Duration;

use iris::config::{Database, Purge, Retention};
use iris::records::{ChatWrite, Expected, Ledger, MOST_CHATS, chat_version};

use crate::store::Place;
use support::harness::Test;
use support::tests;

pub(crate) const EVERY: &[Test<Place>] = tests![
    Place;
    each_has_their_own_and_what_is_old_goes,
    beyond_the_bound_the_oldest_go,
    a_write_follows_the_version_that_it_names,
];

async fn ids(ledger: &Ledger, login: &str) -> Vec<String> {
    let chats = ledger.chats(login).await.unwrap();
    chats.into_iter().map(|chat| chat.id).collect()
}

async fn each_has_their_own_and_what_is_old_goes(place: &Place) {
    let ledger = place.open();
    let keep = async |login: &str, id: &str, body: &str| {
        let kept = ledger.keep_chat(login, id, "a title", body.into(), Expected::Anything);
        assert_eq!(kept.await.unwrap(), ChatWrite::Done);
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
    let delete = async |login: &str| {
        let deleted = ledger.delete_chat(login, "one", Expected::Anything).await;
        deleted.unwrap()
    };
    assert_eq!(delete("eve").await, ChatWrite::Missing);
    assert_eq!(delete("ann").await, ChatWrite::Done);
    assert_eq!(body("ann").await, None);
    assert!(body("bob").await.is_some());

    let retain = |duration, captures| {
        let retention = Retention {
            duration: Some(duration),
            purge: Purge {
                captures,
                tools: false,
            },
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

async fn beyond_the_bound_the_oldest_go(place: &Place) {
    let ledger = place.open();
    for nth in 0..MOST_CHATS + 3 {
        let id = format!("chat-{nth:04}");
        ledger
            .keep_chat("ann", &id, "t", b"{}".to_vec(), Expected::Anything)
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
            .keep_chat("ann", id, "t", long.clone(), Expected::Anything)
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(ids(&ledger, "ann").await, ["long-3", "long-2"]);
}

async fn a_write_follows_the_version_that_it_names(place: &Place) {
    let ledger = place.open();
    let keep = async |body: &str, expected: Expected| {
        let kept = ledger.keep_chat("ann", "one", "t", body.into(), expected);
        kept.await.unwrap()
    };
    let at = |body: &str| Expected::Version(chat_version(body.as_bytes()));
    assert_eq!(
        keep("{}", at("{}")).await,
        ChatWrite::Changed,
        "nothing is there"
    );
    assert_eq!(keep("{\"a\":1}", Expected::Absent).await, ChatWrite::Done);
    assert_eq!(
        keep("{\"a\":0}", Expected::Absent).await,
        ChatWrite::Changed
    );
    assert_eq!(keep("{\"a\":2}", at("{\"a\":1}")).await, ChatWrite::Done);
    assert_eq!(keep("{\"a\":3}", at("{\"a\":1}")).await, ChatWrite::Changed);
    let body = ledger.chat("ann", "one").await.unwrap();
    assert_eq!(
        body.as_deref(),
        Some(&b"{\"a\":2}"[..]),
        "the first of two stays"
    );
    // A write whose answer was lost is sent once more.
    assert_eq!(keep("{\"a\":2}", at("{\"a\":1}")).await, ChatWrite::Done);

    let delete = async |expected| ledger.delete_chat("ann", "one", expected).await.unwrap();
    assert_eq!(delete(at("{\"a\":1}")).await, ChatWrite::Changed);
    assert_eq!(delete(at("{\"a\":2}")).await, ChatWrite::Done);
    assert_eq!(delete(Expected::Anything).await, ChatWrite::Missing);
    // Of two writers that start from the same version, one is refused.
    keep("{}", Expected::Absent).await;
    let both = tokio::join!(keep("{\"b\":1}", at("{}")), keep("{\"b\":2}", at("{}")));
    assert!(
        matches!(
            both,
            (ChatWrite::Done, ChatWrite::Changed) | (ChatWrite::Changed, ChatWrite::Done)
        ),
        "{both:?}"
    );
}
