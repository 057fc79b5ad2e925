//! Every order of the steps of two nodes that share budgets, against the rules of `docs/BUDGETS.md`. Each
//! step is a transaction that locks the buckets' rows, and is awaited before the next: whatever two nodes
//! do at once is one of these orders.

use iris::policy::budget::Definitions;
use iris::records::balances::{Quotas, Reservation};
use iris::records::{Ledger, StoredBucket};

use crate::books::{Books, ESTIMATE, endings, orders};
use crate::budgets::{Rules, amounts, rules, settle};
use crate::store::Place;
use support::harness::Test;
use support::tests;

pub(crate) const POSTGRES: &[Test<Place>] = tests![
    Place;
    every_order_of_two_nodes_keeps_the_books,
];

const CAPACITY: [i64; 2] = [25, 3];
const REFILL: i64 = 12;

/// How a request ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// It has taken so many tokens.
    Settled(i64),
    /// No provider was asked.
    Dropped,
    /// Its node died, and the lease of its hold is over.
    Lost,
}

impl End {
    fn tokens(self) -> Option<i64> {
        match self {
            Self::Settled(tokens) => Some(tokens),
            Self::Dropped | Self::Lost => None,
        }
    }
}

/// Two nodes on one database.
struct World {
    rules: Rules,
    nodes: [(Quotas, Ledger); 2],
    database: tokio_postgres::Client,
    /// Tokens of all records so far.
    spent: i64,
}

impl World {
    async fn new(place: &Place) -> World {
        let node = async || {
            let ledger = place.open();
            (Quotas::open(ledger.clone()).await.unwrap(), ledger)
        };
        World {
            rules: rules(
                r#""tokens":{"capacity":"25 tokens"},"requests":{"capacity":"3 requests"}"#,
                r#"{"bucket":"tokens"},{"bucket":"requests"}"#,
            ),
            nodes: [node().await, node().await],
            database: place.client().await,
            spent: 0,
        }
    }

    /// As the database has them.
    async fn books(&self, node: usize) -> Books {
        let (stored, _) = self.nodes[node].1.buckets().await.unwrap();
        let of = |name: &str| stored.iter().find(|one| one.bucket == name);
        let [tokens, requests] = ["tokens", "requests"].map(of);
        let balance = |nth: usize, one: Option<&StoredBucket>| {
            one.map_or(CAPACITY[nth], |one| one.level.balance)
        };
        let held = |one: Option<&StoredBucket>| one.map_or(0, |one| one.held);
        Books {
            balance: [balance(0, tokens), balance(1, requests)],
            held: [held(tokens), held(requests)],
        }
    }

    async fn end(&mut self, nth: usize, reservation: Reservation, end: End) {
        let ledger = &self.nodes[nth % 2].1;
        match end {
            End::Settled(tokens) => {
                settle(ledger, reservation, (tokens, 0));
                self.spent += tokens;
            }
            End::Dropped => drop(reservation),
            End::Lost => {
                std::mem::forget(reservation);
                let sql = format!("UPDATE bucket_holds SET expires_at = 1 WHERE hold = '{nth}'");
                self.database.batch_execute(&sql).await.unwrap();
            }
        }
        ledger.flush().await.unwrap();
    }

    /// Requests come twice, to begin and to end, the first and the third on one node; what is no
    /// request is a refill, by the other.
    async fn run(&mut self, order: &[usize], ends: &[End]) {
        let what = format!("{order:?} {ends:?}");
        self.nodes[0].0.retain(&Definitions::default()).await;
        let mut expected = Books {
            balance: CAPACITY,
            held: [0, 0],
        };
        let mut running: Vec<Option<Reservation>> = ends.iter().map(|_| None).collect();
        let mut begun = vec![false; ends.len()];
        for &nth in order {
            let node = nth % 2;
            if nth == ends.len() {
                let link = self.rules.definitions.named("tokens").unwrap();
                self.nodes[1].0.refill(link, REFILL).await.unwrap();
                expected.balance[0] = (expected.balance[0] + REFILL).min(CAPACITY[0]);
            } else if !std::mem::replace(&mut begun[nth], true) {
                let (quotas, estimate) = (&self.nodes[node].0, amounts(ESTIMATE, 0));
                let reserved = self.rules.hold(quotas, estimate, nth.to_string()).await;
                assert_eq!(reserved.is_ok(), expected.admits(), "{what}");
                if let Ok(reservation) = reserved {
                    expected.hold();
                    running[nth] = Some(reservation);
                }
            } else if let Some(reservation) = running[nth].take() {
                expected.end(ends[nth].tokens());
                self.end(nth, reservation, ends[nth]).await;
            }
            // The other sees the same.
            assert_eq!(self.books(1 - node).await, expected, "{what}");
        }
        assert_eq!(expected.held, [0, 0], "{what}");
        let tokens = ends.iter().map(|end| end.tokens());
        assert!(expected.owe_little(tokens), "{what}");
    }
}

async fn every_order_of_two_nodes_keeps_the_books(place: &Place) {
    let mut world = World::new(place).await;
    let two = [End::Settled(17), End::Lost];
    let four = [
        End::Settled(ESTIMATE),
        End::Settled(17),
        End::Dropped,
        End::Lost,
    ];
    // Three requests; two of them and a refill.
    let mut all = Vec::new();
    for (often, ends) in [
        (&[2, 2, 2][..], endings(3, &two)),
        (&[2, 2, 1], endings(2, &four)),
    ] {
        for order in orders(often) {
            all.extend(ends.iter().map(|ends| (order.clone(), ends.clone())));
        }
    }
    assert_eq!(all.len(), 90 * 8 + 30 * 16);
    // Every fifth of them, where nobody asks for more.
    let step = std::env::var("IRIS_LEDGER_ORDERS").map_or(5, |step| step.parse().unwrap());
    for (order, ends) in all.iter().step_by(step) {
        world.run(order, ends).await;
    }
    let sum = "SELECT CAST(SUM(input_tokens) AS BIGINT) FROM entries";
    assert_eq!(place.integers(sum).await, [world.spent]);
    // Renewing drops the holds of nodes that are gone.
    let ledger = &world.nodes[0].1;
    let lease = std::time::Duration::from_mins(1);
    ledger.renew(Vec::new(), lease).await.unwrap();
    let left = place.integers("SELECT COUNT(*) FROM bucket_holds").await;
    assert_eq!(left, [0]);
}
