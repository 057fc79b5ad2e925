//! Budgets on both databases: what is held, what is spent, and what is left after an end.

use std::time::Duration;

use iris::base::labels::Labels;
use iris::base::money::Money;
use iris::config;
use iris::policy::access::{Access, Permit, Subject};
use iris::policy::budget::{Amounts, Definitions, Denied, State};
use iris::policy::identity::Caller;
use iris::records::balances::{Quotas, Reservation};
use iris::records::{EntryId, Ledger, Record};

use crate::store::{Place, entry};
use support::harness::Test;
use support::tests;

pub(crate) const EVERY: &[Test<Place>] = tests![
    Place;
    overdrafts_help_out_in_order,
    a_look_holds_nothing,
    a_bucket_that_counts_something_else_is_another,
];
pub(crate) const LASTING: &[Test<Place>] = tests![
    Place;
    two_hundred_at_once_spend_what_there_is,
    balances_outlive_the_process,
];
pub(crate) const FILES: &[Test<Place>] = tests![
    Place;
    a_refill_comes_after_what_was_taken_before_it,
];
pub(crate) const POSTGRES: &[Test<Place>] = tests![
    Place;
    two_nodes_spend_one_budget,
    two_nodes_spend_one_budget_whatever_the_isolation,
    a_node_that_dies_frees_what_it_held,
    a_hold_that_is_renewed_outlives_its_lease,
];

const CENT: i64 = 10_000_000;

/// Budgets, and a caller with a grant for them.
pub(crate) struct Rules {
    pub(crate) definitions: Definitions,
    permit: Permit,
    caller: Caller,
}

pub(crate) fn rules(quotas: &str, references: &str) -> Rules {
    let text = format!(
        r#"{{"quotas":{{{quotas}}},"grants":[{{"src":["*"],"app":{{"tailscale.com/cap/aperture":[
            {{"role":"user"}},{{"models":"**","quotas":[{references}]}}]}}}}]}}"#
    );
    let file = config::parse(&text, &|_| None).unwrap().file;
    let caller = Caller::hypothetical("ann@example.com", None);
    Rules {
        definitions: Definitions::compile(&file),
        permit: Access::compile(&file).permit(&caller).unwrap(),
        caller,
    }
}

impl Rules {
    async fn reserve(&self, quotas: &Quotas, cost: i64) -> Result<Reservation, Denied> {
        let name = EntryId::new(1).to_string();
        self.hold(quotas, amounts(100, cost), name).await
    }

    pub(crate) async fn hold(
        &self,
        quotas: &Quotas,
        estimate: Amounts,
        name: String,
    ) -> Result<Reservation, Denied> {
        let plan = self.definitions.plan(
            &self.permit,
            &self.caller,
            &Labels::default(),
            Subject::model("p", "m"),
        )?;
        quotas.reserve(&plan, estimate, || name).await
    }

    async fn look(&self, quotas: &Quotas, cost: i64) -> Result<Vec<State>, Denied> {
        let plan = self.definitions.plan(
            &self.permit,
            &self.caller,
            &Labels::default(),
            Subject::model("p", "m"),
        )?;
        quotas.look(&plan, amounts(100, cost)).await
    }

    /// What each bucket holds, and what of it is held.
    async fn levels(&self, quotas: &Quotas) -> Vec<(String, i64, i64)> {
        let states = quotas.states(&self.definitions, Vec::new()).await.unwrap();
        let level = |state: State| (state.bucket, state.current, state.held);
        states.into_iter().map(level).collect()
    }
}

pub(crate) fn amounts(tokens: i64, cost: i64) -> Amounts {
    Amounts {
        tokens,
        cost: Some(Money::from_nanodollars(cost)),
    }
}

/// Ends a request that has cost so much.
fn end(ledger: &Ledger, reservation: Reservation, cost: i64) {
    settle(ledger, reservation, (100, cost));
}

/// Ends a request with so many tokens, and what they cost.
pub(crate) fn settle(ledger: &Ledger, reservation: Reservation, (tokens, cost): (i64, i64)) {
    let mut record: Record = entry(1_000, "ann@example.com", "s").into();
    record.entry.tokens.input = Some(tokens.unsigned_abs());
    record.entry.cost = Some(cost);
    record.settlement = reservation.settle(amounts(tokens, cost));
    ledger.admit().unwrap().record(record);
}

async fn race(place: &Place, nodes: usize) {
    let rules = std::sync::Arc::new(rules(
        r#""daily:<user>":{"capacity":"$0.50","rate":"$0.00/day"}"#,
        r#"{"bucket":"daily:<user>"}"#,
    ));
    let mut engines = Vec::new();
    for _ in 0..nodes {
        let ledger = place.open();
        engines.push((Quotas::open(ledger.clone()).await.unwrap(), ledger));
    }
    let tasks: Vec<_> = (0..200)
        .map(|nth| {
            let (quotas, ledger) = engines[nth % nodes].clone();
            let rules = rules.clone();
            tokio::spawn(async move {
                let Ok(reservation) = rules.reserve(&quotas, CENT).await else {
                    return false;
                };
                tokio::time::sleep(Duration::from_millis(20)).await;
                // Some cost less than was expected.
                end(
                    &ledger,
                    reservation,
                    if nth % 3 == 0 { CENT / 2 } else { CENT },
                );
                true
            })
        })
        .collect();
    let mut admitted = 0;
    for task in tasks {
        admitted += i64::from(task.await.unwrap());
    }
    for (_, ledger) in &engines {
        ledger.flush().await.unwrap();
    }
    assert!((50..=100).contains(&admitted), "{admitted}");
    // One at a time, until nothing is left: the last may owe what it cost beyond the rest.
    let (quotas, ledger) = &engines[0];
    while let Ok(reservation) = rules.reserve(quotas, CENT).await {
        end(ledger, reservation, CENT);
        ledger.flush().await.unwrap();
    }
    let (bucket, left, held) = rules.levels(quotas).await.remove(0);
    assert_eq!((bucket.as_str(), held), ("daily:ann@example.com", 0));
    assert!((-CENT..=0).contains(&left), "{left}");
    let spent = place
        .integers("SELECT CAST(SUM(cost) AS BIGINT) FROM entries")
        .await[0];
    assert_eq!(
        spent,
        50 * CENT - left,
        "what was taken is what the records say"
    );
}

async fn two_hundred_at_once_spend_what_there_is(place: &Place) {
    race(place, 1).await;
}

async fn two_nodes_spend_one_budget(place: &Place) {
    race(place, 2).await;
}

async fn two_nodes_spend_one_budget_whatever_the_isolation(place: &Place) {
    let mut client = place.client().await;
    let all = r#""all":{"capacity":"1000 tokens"}"#;
    let rules = std::sync::Arc::new(rules(all, r#"{"bucket":"all"}"#));
    let set = "SET default_transaction_isolation = 'repeatable read'";
    let set = format!("ALTER DATABASE {} {set}", place.database);
    client.batch_execute(&set).await.unwrap();
    let nodes = [place.open(), place.open()];
    let first = Quotas::open(nodes[0].clone()).await.unwrap();
    drop(rules.hold(&first, amounts(1, 0), "first".to_owned()).await);
    nodes[0].flush().await.unwrap();
    // Both have begun before either is done.
    let locked = client.transaction().await.unwrap();
    let lock = "SELECT 1 FROM buckets FOR UPDATE";
    assert_eq!(locked.query(lock, &[]).await.unwrap().len(), 1);
    let asked = nodes.map(|ledger| {
        let rules = rules.clone();
        tokio::spawn(async move {
            let quotas = Quotas::open(ledger).await.unwrap();
            let name = EntryId::new(1).to_string();
            rules.hold(&quotas, amounts(600, 0), name).await
        })
    });
    let waiting = "SELECT COUNT(*) FROM pg_stat_activity \
        WHERE wait_event_type = 'Lock' AND datname = current_database()";
    while place.integers(waiting).await != [2] {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    locked.commit().await.unwrap();
    let mut held = Vec::new();
    for asked in asked {
        held.extend(asked.await.unwrap().ok());
    }
    assert_eq!(held.len(), 1, "there is room for one");
}

async fn balances_outlive_the_process(place: &Place) {
    let rules = rules(
        r#""daily:<user>":{"capacity":"$1.00","rate":"$0.00/day"},"rpm":{"capacity":"5 requests","rate":"1 request/month"}"#,
        r#"{"bucket":"daily:<user>"},{"bucket":"rpm"}"#,
    );
    {
        let ledger = place.open();
        let quotas = Quotas::open(ledger.clone()).await.unwrap();
        let reservation = rules.reserve(&quotas, CENT).await.unwrap();
        end(&ledger, reservation, 30 * CENT);
        let dropped = rules.reserve(&quotas, 50 * CENT).await.unwrap();
        drop(dropped);
        let running = rules.reserve(&quotas, CENT).await.unwrap();
        ledger.flush().await.unwrap();
        let expected = [
            ("daily:ann@example.com".to_owned(), 70 * CENT, CENT),
            ("rpm".to_owned(), 4, 1),
        ];
        assert_eq!(rules.levels(&quotas).await, expected);
        // As if killed: what is held isn't given back.
        std::mem::forget(running);
    }
    let ledger = place.open();
    let quotas = Quotas::open(ledger.clone()).await.unwrap();
    let levels = rules.levels(&quotas).await;
    assert_eq!((levels[0].1, levels[1].1), (70 * CENT, 4));
    quotas.retain(&Definitions::default()).await;
    assert!(rules.levels(&quotas).await.is_empty());
    let stored = place.integers("SELECT COUNT(*) FROM buckets").await;
    assert_eq!(stored, [0]);
}

async fn overdrafts_help_out_in_order(place: &Place) {
    let rules = rules(
        r#""daily:<user>":{"capacity":"$0.10"},"extra:<user>":{"capacity":"$0.20"},"team":{"capacity":"$5.00"},"all":{"capacity":"$9.00"}"#,
        r#"{"bucket":"daily:<user>","overdraft":["extra:<user>"]},{"bucket":"daily:<user>","overdraft":["team"]},{"bucket":"all"},{"bucket":"team"}"#,
    );
    let ledger = place.open();
    let quotas = Quotas::open(ledger.clone()).await.unwrap();
    let reservation = rules.reserve(&quotas, CENT).await.unwrap();
    end(&ledger, reservation, 35 * CENT);
    ledger.flush().await.unwrap();
    let expected = [
        ("all".to_owned(), 865 * CENT, 0),
        ("daily:ann@example.com".to_owned(), 0, 0),
        ("extra:ann@example.com".to_owned(), 0, 0),
        ("team".to_owned(), 495 * CENT, 0),
    ];
    assert_eq!(rules.levels(&quotas).await, expected);
    let refilled = quotas
        .refill(
            rules.definitions.named("extra:ann@example.com").unwrap(),
            90 * CENT,
        )
        .await
        .unwrap();
    assert_eq!(refilled.current, 20 * CENT, "no more than its capacity");
}

async fn a_refill_comes_after_what_was_taken_before_it(place: &Place) {
    let rules = rules(r#""all":{"capacity":"$0.10"}"#, r#"{"bucket":"all"}"#);
    let ledger = place.open();
    let quotas = Quotas::open(ledger.clone()).await.unwrap();
    let reservation = rules.reserve(&quotas, CENT).await.unwrap();
    end(&ledger, reservation, 4 * CENT);
    // Not flushed: of a bucket that still seemed full, a refill would be clipped.
    let link = rules.definitions.named("all").unwrap();
    quotas.refill(link, 4 * CENT).await.unwrap();
    let reopened = Quotas::open(ledger).await.unwrap();
    let full = [("all".to_owned(), 10 * CENT, 0)];
    assert_eq!(rules.levels(&reopened).await, full);
}

async fn a_node_that_dies_frees_what_it_held(place: &Place) {
    let rules = rules(r#""all":{"capacity":"$0.10"}"#, r#"{"bucket":"all"}"#);
    let ledger = place.open();
    let quotas = Quotas::open(ledger.clone()).await.unwrap();
    let running = rules.reserve(&quotas, 10 * CENT).await.unwrap();
    std::mem::forget(running);
    let other = Quotas::open(place.open()).await.unwrap();
    let denied = rules.reserve(&other, CENT).await.err().unwrap();
    assert_eq!(denied.rejection().status, 429, "{denied}");
    // Its lease ends.
    let client = place.client().await;
    let sql = "UPDATE bucket_holds SET expires_at = 1";
    client.batch_execute(sql).await.unwrap();
    let reservation = rules.reserve(&other, CENT).await.unwrap();
    end(&ledger, reservation, CENT);
    ledger.flush().await.unwrap();
    assert_eq!(
        rules.levels(&other).await,
        [("all".to_owned(), 9 * CENT, 0)]
    );
}

async fn a_hold_that_is_renewed_outlives_its_lease(place: &Place) {
    let rules = rules(r#""all":{"capacity":"$0.10"}"#, r#"{"bucket":"all"}"#);
    let ledger = place.open();
    assert!(ledger.is_shared());
    let quotas = Quotas::open(ledger.clone()).await.unwrap();
    for name in ["renewed", "left"] {
        let held = rules.hold(&quotas, amounts(100, 4 * CENT), name.to_owned());
        std::mem::forget(held.await.unwrap());
    }
    assert_eq!(rules.levels(&quotas).await[0].2, 8 * CENT);
    let client = place.client().await;
    let sql = "UPDATE bucket_holds SET expires_at = 1";
    client.batch_execute(sql).await.unwrap();
    let lease = Duration::from_mins(1);
    let renewed = ledger.renew(vec!["renewed".to_owned()], lease).await;
    renewed.unwrap();
    let left = place.texts("SELECT hold FROM bucket_holds").await;
    assert_eq!(left, [["renewed"]]);
    assert_eq!(rules.levels(&quotas).await[0].2, 4 * CENT);
    // Nobody has anything to renew, and time goes on.
    client.batch_execute(sql).await.unwrap();
    ledger.renew(Vec::new(), lease).await.unwrap();
    assert_eq!(rules.levels(&quotas).await[0].2, 0);
}

async fn a_bucket_that_counts_something_else_is_another(place: &Place) {
    let reference = r#"{"bucket":"b"}"#;
    let dollars = rules(r#""b":{"capacity":"$10.00"}"#, reference);
    let requests = rules(r#""b":{"capacity":"60 requests"}"#, reference);
    let tokens = rules(r#""b":{"capacity":"1000 tokens"}"#, reference);
    let ledger = place.open();
    let quotas = Quotas::open(ledger.clone()).await.unwrap();
    let spent = dollars.reserve(&quotas, CENT).await.unwrap();
    end(&ledger, spent, 4 * CENT);
    let running = dollars.hold(&quotas, amounts(100, CENT), "running".to_owned());
    let running = running.await.unwrap();
    // The definition changes while a request runs.
    for (changed, left) in [(&requests, 60), (&tokens, 1_000)] {
        let name = EntryId::new(left).to_string();
        drop(
            changed
                .hold(&quotas, amounts(100, CENT), name)
                .await
                .unwrap(),
        );
        ledger.flush().await.unwrap();
        let levels = changed.levels(&quotas).await;
        assert_eq!(levels, [("b".to_owned(), left, 0)]);
    }
    end(&ledger, running, 2 * CENT);
    let asked = requests.reserve(&quotas, CENT).await.unwrap();
    end(&ledger, asked, CENT);
    ledger.flush().await.unwrap();
    let both = async |quotas: &Quotas| {
        let levels = [&dollars, &requests].map(|rules| rules.levels(quotas));
        let [one, other] = levels;
        (one.await[0].1, other.await[0].1)
    };
    assert_eq!(both(&quotas).await, (1_000 * CENT - 6 * CENT, 59));
    if !place.url.ends_with(":memory:") {
        let again = Quotas::open(place.open()).await.unwrap();
        assert_eq!(both(&again).await, (1_000 * CENT - 6 * CENT, 59));
    }
}

async fn a_look_holds_nothing(place: &Place) {
    let ledger = place.open();
    let quotas = Quotas::open(ledger.clone()).await.unwrap();
    let rules = rules(r#""all":{"capacity":"$0.10"}"#, r#"{"bucket":"all"}"#);
    for _ in 0..3 {
        let states = rules.look(&quotas, 6 * CENT).await.unwrap();
        let seen: Vec<_> = states.iter().map(|one| (one.current, one.held)).collect();
        assert_eq!(seen, [(10 * CENT, 0)]);
    }
    let held = rules.reserve(&quotas, 6 * CENT).await.unwrap();
    let looked = rules.look(&quotas, 6 * CENT).await.unwrap_err();
    let refused = rules.reserve(&quotas, 6 * CENT).await.err().unwrap();
    assert_eq!(looked, refused);
    let states = rules.look(&quotas, 4 * CENT).await.unwrap();
    assert_eq!((states[0].current, states[0].held), (10 * CENT, 6 * CENT));
    drop(held);
    ledger.flush().await.unwrap();
    assert_eq!(rules.levels(&quotas).await, [("all".into(), 10 * CENT, 0)]);
}
