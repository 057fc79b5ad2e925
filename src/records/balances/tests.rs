//! What a reservation reports, and what it takes from each kind of bucket.

use super::*;
use crate::base::labels::Labels;
use crate::base::money::Money;
use crate::config;
use crate::policy::access::{Access, Permit, Subject};
use crate::policy::identity::Caller;

struct World {
    quotas: Quotas,
    definitions: Definitions,
    permit: Permit,
    caller: Caller,
    _dir: tempfile::TempDir,
}

impl World {
    async fn new(quotas: &str, references: &str) -> World {
        let text = format!(
            r#"{{"quotas":{{{quotas}}},"grants":[{{"src":["a@x.org"],"app":{{"tailscale.com/cap/aperture":
                [{{"role":"user","models":"**","quotas":[{references}]}}]}}}}]}}"#
        );
        let file = config::parse(&text, &|_| None).unwrap().file;
        let caller = Caller::hypothetical("a@x.org", None);
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open("sqlite:iris.db", dir.path()).unwrap();
        World {
            quotas: Quotas::open(ledger).await.unwrap(),
            definitions: Definitions::compile(&file),
            permit: Access::compile(&file).permit(&caller).unwrap(),
            caller,
            _dir: dir,
        }
    }

    async fn reserve(&self, tokens: i64, cost: Option<i64>) -> Result<Reservation, Denied> {
        let plan = self.definitions.plan(
            &self.permit,
            &self.caller,
            &Labels::default(),
            Subject::model("p", "m"),
        )?;
        let estimate = amounts(tokens, cost);
        self.quotas.reserve(&plan, estimate, String::new).await
    }

    /// What each bucket has, and what of it is held.
    async fn levels(&self) -> Vec<(String, i64, i64)> {
        let states = self.quotas.states(&self.definitions, Vec::new()).await;
        let level = |state: State| (state.bucket, state.current, state.held);
        states.unwrap().into_iter().map(level).collect()
    }
}

fn amounts(tokens: i64, cost: Option<i64>) -> Amounts {
    Amounts {
        tokens,
        cost: cost.map(Money::from_nanodollars),
    }
}

#[tokio::test]
async fn each_kind_of_bucket_takes_what_it_counts() {
    let world = World::new(
        r#""all":{"capacity":"$9.00"},"open":{"capacity":"2 parallel"},
            "rpm":{"capacity":"5 requests"},"tokens":{"capacity":"100 tokens"}"#,
        r#"{"bucket":"all"},{"bucket":"open"},{"bucket":"rpm"},{"bucket":"tokens"}"#,
    )
    .await;
    let reservation = world.reserve(30, Some(1_000_000_000)).await.unwrap();
    let level = |name: &str, current, held| (name.to_owned(), current, held);
    let (full, cent) = (9_000_000_000, 10_000_000);
    let held = [
        level("all", full, 1_000_000_000),
        level("open", 2, 1),
        level("rpm", 5, 1),
        level("tokens", 100, 30),
    ];
    assert_eq!(world.levels().await, held);
    let settled = reservation.settle(amounts(70, Some(cent))).unwrap();
    // A request that has ended takes nothing of what counts those that run.
    let chains = settled.chains.iter().map(|chain| chain.amount);
    assert_eq!(chains.collect::<Vec<_>>(), [cent, 1, 70]);
    assert_eq!(settled.hold, "");
    let taken = [
        level("all", full - cent, 0),
        level("open", 2, 0),
        level("rpm", 4, 0),
        level("tokens", 30, 0),
    ];
    assert_eq!(world.levels().await, taken);
    // What has no price is held and goes for nothing.
    let reservation = world.reserve(1, None).await.unwrap();
    assert_eq!(world.levels().await[0], level("all", full - cent, 0));
    assert!(reservation.settle(amounts(0, None)).is_some());
    assert_eq!(world.levels().await[0], level("all", full - cent, 0));
    drop(world.reserve(1, None).await.unwrap());
    assert_eq!(world.levels().await[2], level("rpm", 3, 0));
}

#[tokio::test]
async fn who_runs_low_is_told_and_hooks_once() {
    let world = World::new(
        r#""day":{"capacity":"100 tokens","warn_below":"50%"},"more":{"capacity":"20 tokens"}"#,
        r#"{"bucket":"day","overdraft":["more"]}"#,
    )
    .await;
    let first = world.reserve(30, None).await.unwrap();
    let told =
        "bucket day, then more has 120 tokens; 30 tokens held for this request (grants[0], line 1)";
    assert_eq!(first.reasons[0].to_string(), told);
    assert!(first.warnings.is_empty() && first.crossed.is_empty());
    let before: Vec<_> = first
        .states()
        .iter()
        .map(|one| (one.current, one.held))
        .collect();
    assert_eq!(before, [(100, 0), (20, 0)]);
    // Fifty left is not below the threshold.
    let second = world.reserve(40, None).await.unwrap();
    assert!(second.warnings.is_empty());
    assert!(
        second.reasons[0].to_string().contains("has 90 tokens"),
        "{:?}",
        second.reasons
    );
    let third = world.reserve(1, None).await.unwrap();
    let low = "day, then more: 49 tokens left of 100 tokens";
    assert_eq!(
        (&*third.warnings, &*third.crossed),
        (&[low.to_owned()][..], &[low.to_owned()][..])
    );
    let fourth = world.reserve(1, None).await.unwrap();
    assert_eq!((fourth.warnings.len(), fourth.crossed.len()), (1, 0));
    let denied = world.reserve(49, None).await.err().unwrap();
    let details =
        "rate limit exceeded: day has 100 tokens, of which 72 tokens is held, more has 20 tokens";
    assert!(denied.to_string().starts_with(details), "{denied}");
}

#[tokio::test]
async fn what_has_no_price_is_refused_where_the_budget_says_so() {
    let world = World::new(
        r#""all":{"capacity":"$9.00","unpriced":"reject"},"open":{"capacity":"2 parallel","unpriced":"reject"}"#,
        r#"{"bucket":"open"},{"bucket":"all"}"#,
    )
    .await;
    let bucket = "all".to_owned();
    let denied = world.reserve(1, None).await.err();
    assert_eq!(denied, Some(Denied::Unpriced { bucket }));
    assert!(world.reserve(1, Some(1)).await.is_ok());
}

#[tokio::test]
async fn without_buckets_nothing_is_held_or_taken() {
    let world = World::new("", "").await;
    let reservation = world.reserve(1, Some(1)).await.unwrap();
    assert!(reservation.reasons.is_empty());
    assert_eq!(reservation.settle(amounts(1, Some(1))), None);
}

#[tokio::test]
async fn buckets_that_may_pay_are_listed_with_those_that_have() {
    let world = World::new(
        r#""daily:<user>":{"capacity":"100 tokens"},"team":{"capacity":"50 tokens"}"#,
        r#"{"bucket":"daily:<user>"}"#,
    )
    .await;
    drop(world.reserve(10, None).await.unwrap());
    let team = world.definitions.named("team").unwrap();
    let daily = world.definitions.named("daily:b@x.org").unwrap();
    let states = world
        .quotas
        .states(&world.definitions, vec![team, daily])
        .await;
    let names: Vec<_> = states
        .unwrap()
        .into_iter()
        .map(|one| (one.bucket, one.current))
        .collect();
    let one = |name: &str, current| (name.to_owned(), current);
    assert_eq!(
        names,
        [
            one("daily:a@x.org", 100),
            one("daily:b@x.org", 100),
            one("team", 50)
        ]
    );
    // Those of definitions that are gone are not shown, and then forgotten.
    let gone = Definitions::default();
    assert!(
        world
            .quotas
            .states(&gone, Vec::new())
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(world.levels().await.len(), 1);
    world.quotas.retain(&world.definitions).await;
    assert_eq!(world.levels().await.len(), 1);
    world.quotas.retain(&gone).await;
    assert!(world.levels().await.is_empty());
}
