//! Objects that are kept for callers: each has their own, two processes never work on one, and what has
//! expired goes.

use std::time::Duration;

use iris::records::objects::{
    Claimant, Inserted, Kind, MOST_DETAIL, MOST_OBJECTS, Object, State, Wanted,
};
use iris::records::{Ledger, owner_key};

use crate::store::Place;
use support::harness::Test;
use support::tests;

pub(crate) const EVERY: &[Test<Place>] = tests![
    Place;
    each_finds_their_own_objects,
    lists_go_on_behind_an_object,
    of_two_changes_from_the_same_state_one_is_made,
    an_open_object_has_one_worker_at_a_time,
    objects_that_have_expired_are_purged,
    a_long_owner_has_objects_too,
    what_has_no_room_is_refused,
    several_are_added_at_once,
    responses_that_have_ended_take_no_room_of_open_ones,
    what_has_expired_is_not_found_before_it_is_purged,
    each_owner_of_what_is_due_is_found,
    another_callers_object_is_known_as_that,
    of_many_ids_the_known_ones_are_found,
];

fn object(owner: &str, id: &str) -> Object {
    Object {
        kind: Kind::Batch,
        id: id.to_owned(),
        owner: owner.to_owned(),
        provider: "vendor".to_owned(),
        model: "gpt-5".to_owned(),
        node: String::new(),
        made: 1_000,
        ends: None,
        state: State::Open,
        detail: b"{}".to_vec(),
    }
}

fn claimant(node: &str, process: &str) -> Claimant {
    let [node, process] = [node, process].map(str::to_owned);
    Claimant { node, process }
}

const LEASE: Duration = Duration::from_hours(1);

fn page(prefix: &'static str, after: Option<&str>, limit: usize) -> Wanted {
    Wanted {
        kind: Kind::Batch,
        prefix,
        after: after.map(str::to_owned),
        limit,
    }
}

async fn add(ledger: &Ledger, object: &Object) {
    let inserted = ledger.insert_object(object.clone()).await;
    assert_eq!(inserted.unwrap(), Inserted::Done);
}

async fn find(ledger: &Ledger, owner: &str, id: &str) -> Option<Object> {
    ledger.find_object(Kind::Batch, owner, id).await.unwrap()
}

async fn claim(ledger: &Ledger, by: &Claimant, lease: Duration) -> Vec<String> {
    let claimed = ledger.claim_objects(Kind::Batch, None, by, lease, 10).await;
    claimed.unwrap().into_iter().map(|one| one.id).collect()
}

async fn each_finds_their_own_objects(place: &Place) {
    let ledger = place.open();
    let mut anns = object("ann", "batch_1");
    anns.ends = Some(9_000_000_000_000);
    add(&ledger, &anns).await;
    let bobs = Object {
        provider: String::new(),
        detail: b"{\"b\":1}".to_vec(),
        ..object("bob", "batch_1")
    };
    add(&ledger, &bobs).await;
    assert_eq!(find(&ledger, "ann", "batch_1").await, Some(anns.clone()));
    assert_eq!(find(&ledger, "bob", "batch_1").await, Some(bobs));
    assert_eq!(find(&ledger, "eve", "batch_1").await, None);
    let file = ledger.find_object(Kind::File, "ann", "batch_1").await;
    assert_eq!(file.unwrap(), None);

    let remove = async |owner: &str| {
        let removed = ledger.remove_object(Kind::Batch, owner, "batch_1").await;
        removed.unwrap()
    };
    assert!(!remove("eve").await);
    assert!(remove("bob").await);
    assert!(!remove("bob").await);
    assert_eq!(find(&ledger, "ann", "batch_1").await, Some(anns));
}

async fn lists_go_on_behind_an_object(place: &Place) {
    let ledger = place.open();
    // Two of them were made in the same millisecond.
    for (id, made) in [("a", 1), ("b", 2), ("c", 2), ("d", 3)] {
        let made = Object {
            made,
            ..object("ann", id)
        };
        add(&ledger, &made).await;
    }
    add(&ledger, &object("bob", "e")).await;
    let list = async |after: Option<&str>| {
        let listed = ledger.list_objects("ann", page("", after, 2)).await;
        let ids = listed.unwrap().into_iter().map(|one| one.id);
        ids.collect::<Vec<_>>()
    };
    assert_eq!(list(None).await, ["d", "c"]);
    assert_eq!(list(Some("c")).await, ["b", "a"]);
    assert!(list(Some("a")).await.is_empty());
    assert!(list(Some("e")).await.is_empty(), "it is another caller's");
}

async fn of_two_changes_from_the_same_state_one_is_made(place: &Place) {
    let ledger = place.open();
    let before = object("ann", "batch_1");
    add(&ledger, &before).await;
    let update = async |to: &Object| {
        let updated = ledger.update_object(before.clone(), to.clone()).await;
        updated.unwrap()
    };
    let one = Object {
        detail: b"{\"a\":1}".to_vec(),
        ..before.clone()
    };
    let other = Object {
        state: State::Ended,
        ends: Some(9_000_000_000_000),
        ..before.clone()
    };
    let both = tokio::join!(update(&one), update(&other));
    assert!(both.0 != both.1, "{both:?}");
    let kept = if both.0 { &one } else { &other };
    assert_eq!(find(&ledger, "ann", "batch_1").await.as_ref(), Some(kept));
    assert!(update(kept).await, "a write may be sent twice");
    let gone = object("ann", "batch_2");
    assert!(!ledger.update_object(gone.clone(), gone).await.unwrap());
}

async fn an_open_object_has_one_worker_at_a_time(place: &Place) {
    let ledger = place.open();
    let anywhere = object("ann", "anywhere");
    add(&ledger, &anywhere).await;
    let bound = Object {
        node: "one".to_owned(),
        ..object("ann", "bound")
    };
    add(&ledger, &bound).await;
    let ended = Object {
        state: State::Ended,
        ..object("ann", "ended")
    };
    add(&ledger, &ended).await;

    let (one, other) = (claimant("one", "p1"), claimant("two", "p2"));
    assert_eq!(claim(&ledger, &other, LEASE).await, ["anywhere"]);
    assert_eq!(claim(&ledger, &one, LEASE).await, ["bound"]);
    assert!(claim(&ledger, &one, LEASE).await.is_empty());

    // A lease that is over is another's to take, and its holder hears of it.
    let renew = async |by: &Claimant, lease| {
        let renewed = ledger.renew_object(&anywhere, by, lease).await;
        renewed.unwrap()
    };
    assert!(renew(&other, Duration::ZERO).await);
    assert!(!renew(&one, LEASE).await, "it holds nothing yet");
    assert_eq!(claim(&ledger, &one, LEASE).await, ["anywhere"]);
    assert!(!renew(&other, LEASE).await);
    assert!(renew(&one, Duration::ZERO).await);
    let both = tokio::join!(claim(&ledger, &one, LEASE), claim(&ledger, &other, LEASE));
    assert_eq!(both.0.len() + both.1.len(), 1, "{both:?}");

    // The next process of a node waits for what another node could take over, and for nothing else.
    let again = claimant("one", "p3");
    assert_eq!(claim(&ledger, &again, LEASE).await, ["bound"]);
    assert!(claim(&ledger, &again, LEASE).await.is_empty());
    assert!(!ledger.renew_object(&bound, &one, LEASE).await.unwrap());
}

async fn objects_that_have_expired_are_purged(place: &Place) {
    let ledger = place.open();
    for (id, ends) in [
        ("old", Some(1)),
        ("young", Some(9_000_000_000_000)),
        ("lasting", None),
    ] {
        let ends = Object {
            ends,
            ..object("ann", id)
        };
        add(&ledger, &ends).await;
    }
    ledger.purge().await.unwrap();
    let left = ledger.list_objects("ann", page("", None, 10)).await;
    let mut left: Vec<_> = left.unwrap().into_iter().map(|one| one.id).collect();
    left.sort();
    assert_eq!(left, ["lasting", "young"]);
}

async fn a_long_owner_has_objects_too(place: &Place) {
    let ledger = place.open();
    let owner = "tag:a,".repeat(200);
    add(&ledger, &object(&owner, "batch_1")).await;
    let claimed = ledger
        .claim_objects(Kind::Batch, None, &claimant("one", "p1"), LEASE, 10)
        .await
        .unwrap();
    assert_eq!(claimed.len(), 1);
    let claimed = &claimed[0];
    assert_eq!(
        claimed.owner,
        owner_key(&owner),
        "it is found by this again"
    );
    let ended = Object {
        state: State::Ended,
        ..claimed.clone()
    };
    assert!(ledger.update_object(claimed.clone(), ended).await.unwrap());
    let found = find(&ledger, &owner, "batch_1").await.unwrap();
    assert_eq!(found.state, State::Ended);
}

async fn what_has_no_room_is_refused(place: &Place) {
    let ledger = place.open();
    let long = Object {
        detail: vec![b' '; MOST_DETAIL + 1],
        ..object("ann", "batch_1")
    };
    assert!(ledger.insert_object(long.clone()).await.is_err());
    let first = object("ann", "batch_1");
    add(&ledger, &first).await;
    assert!(ledger.update_object(first, long).await.is_err());
    for id in ["", &"x".repeat(257)] {
        assert!(ledger.insert_object(object("ann", id)).await.is_err());
    }
}

async fn several_are_added_at_once(place: &Place) {
    let ledger = place.open();
    add(&ledger, &object("ann", "a")).await;
    let again = Object {
        detail: b"[]".to_vec(),
        ..object("ann", "a")
    };
    let several = vec![again.clone(), object("ann", "b"), object("bob", "a")];
    ledger.insert_objects(several).await.unwrap();
    assert_eq!(find(&ledger, "ann", "a").await, Some(again));
    assert!(find(&ledger, "ann", "b").await.is_some());
    // All or none.
    let bad = vec![object("ann", "c"), object("ann", &"x".repeat(300))];
    assert!(ledger.insert_objects(bad).await.is_err());
    assert_eq!(find(&ledger, "ann", "c").await, None);
}

async fn responses_that_have_ended_take_no_room_of_open_ones(place: &Place) {
    let ledger = place.open();
    let response = |nth: u64, state| Object {
        kind: Kind::Response,
        made: 1_000 + i64::try_from(nth).unwrap(),
        state,
        ..object("ann", &format!("resp_{nth}"))
    };
    let ended = (0..MOST_OBJECTS + 3).map(|nth| response(nth, State::Ended));
    let ended: Vec<_> = ended.collect();
    for group in ended.chunks(1_000) {
        ledger.insert_objects(group.to_vec()).await.unwrap();
    }
    let open = response(0, State::Open);
    add(
        &ledger,
        &Object {
            id: "open".to_owned(),
            ..open
        },
    )
    .await;
    ledger.trim_objects(Kind::Response, "ann").await.unwrap();
    let found = async |id: &str| {
        let found = ledger.find_object(Kind::Response, "ann", id).await;
        found.unwrap().is_some()
    };
    // The oldest have gone, but not one that is open.
    assert!(!found("resp_2").await && found("resp_3").await && found("open").await);
    // Files are bounded, and the results of a batch are kept all the same.
    let file = |nth: u64| Object {
        kind: Kind::File,
        ..object("ann", &format!("file_{nth}"))
    };
    let files: Vec<_> = (0..MOST_OBJECTS).map(file).collect();
    for group in files.chunks(1_000) {
        ledger.insert_objects(group.to_vec()).await.unwrap();
    }
    let full = ledger.insert_object(file(MOST_OBJECTS)).await;
    assert_eq!(full.unwrap(), Inserted::Full);
    ledger
        .insert_objects(vec![file(MOST_OBJECTS)])
        .await
        .unwrap();
    let kept = ledger.find_object(Kind::File, "ann", "file_10000").await;
    assert!(kept.unwrap().is_some());
}

async fn what_has_expired_is_not_found_before_it_is_purged(place: &Place) {
    let ledger = place.open();
    for (id, ends) in [
        ("batch_old", Some(1)),
        ("batch_young", None),
        ("msgbatch_1", None),
    ] {
        let ends = Object {
            ends,
            ..object("ann", id)
        };
        add(&ledger, &ends).await;
    }
    assert_eq!(find(&ledger, "ann", "batch_old").await, None);
    let list = async |prefix: &'static str| {
        let listed = ledger.list_objects("ann", page(prefix, None, 10)).await;
        let ids = listed.unwrap().into_iter().map(|one| one.id);
        ids.collect::<Vec<_>>()
    };
    assert_eq!(list("batch_").await, ["batch_young"]);
    assert_eq!(list("msgbatch_").await, ["msgbatch_1"]);
    assert_eq!(list("").await, ["msgbatch_1", "batch_young"]);
}

async fn each_owner_of_what_is_due_is_found(place: &Place) {
    let ledger = place.open();
    for nth in 0..30 {
        add(&ledger, &object("ann", &format!("batch_{nth}"))).await;
    }
    add(&ledger, &object("zed", "batch_1")).await;
    let node = claimant("one", "p1");
    let due = async || {
        let mut due = ledger.due_owners(Kind::Batch, &node, 10).await.unwrap();
        due.sort();
        due
    };
    assert_eq!(due().await, ["ann", "zed"]);
    let claimed = ledger
        .claim_objects(Kind::Batch, Some("zed"), &node, LEASE, 5)
        .await
        .unwrap();
    assert_eq!((claimed.len(), claimed[0].owner.as_str()), (1, "zed"));
    assert_eq!(due().await, ["ann"]);
}

async fn another_callers_object_is_known_as_that(place: &Place) {
    let ledger = place.open();
    add(&ledger, &object("ann", "batch_1")).await;
    add(&ledger, &object("ann", "batch_2")).await;
    add(&ledger, &object("bob", "batch_2")).await;
    for (owner, id, expected) in [
        ("ann", "batch_1", false),
        ("bob", "batch_1", true),
        ("bob", "batch_2", false),
        ("eve", "batch_2", true),
        ("eve", "batch_3", false),
    ] {
        let is_anothers = ledger.is_anothers(Kind::Batch, owner, id).await;
        assert_eq!(is_anothers.unwrap(), expected, "{owner} {id}");
    }
}

async fn of_many_ids_the_known_ones_are_found(place: &Place) {
    let ledger = place.open();
    let item = |owner: &str, nth: usize| Object {
        kind: Kind::Item,
        state: State::Ended,
        ..object(owner, &format!("msg_{nth}"))
    };
    let several = vec![
        item("ann", 1),
        item("bob", 1),
        item("bob", 250),
        object("ann", "msg_2"),
    ];
    ledger.insert_objects(several).await.unwrap();
    let ids: Vec<_> = (0..300).map(|nth| format!("msg_{nth}")).collect();
    for (owner, expected) in [
        ("ann", [true, false]),
        ("bob", [true, true]),
        ("eve", [false; 2]),
    ] {
        let known = ledger.known_objects(Kind::Item, owner, ids.clone()).await;
        let known = known.unwrap().into_iter();
        let mut known: Vec<_> = known.map(|known| (known.id, known.is_own)).collect();
        known.sort();
        let expected = [
            ("msg_1".to_owned(), expected[0]),
            ("msg_250".to_owned(), expected[1]),
        ];
        assert_eq!(known, expected, "{owner}");
    }
}
