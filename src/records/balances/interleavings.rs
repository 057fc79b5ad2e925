//! Every order in which requests side by side can reserve and end, against the rules of
//! `docs/BUDGETS.md`. In memory each of these is one hold of one lock, so that whatever threads
//! do, it is one of these orders: a model of the threads themselves would add nothing but a copy
//! of the code, since their lock would have to be another one.

use super::books::{Books, ESTIMATE, endings, orders};
use super::*;
use crate::base::labels::Labels;
use crate::config;
use crate::policy::access::{Access, Permit, Subject};
use crate::policy::identity::Caller;

const TOKENS: i64 = 25;
const REQUESTS: i64 = 3;

/// How a request ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// It has cost so many tokens.
    Settled(i64),
    /// Nobody asked a provider, or the gateway failed on the way.
    Dropped,
}

impl End {
    fn tokens(self) -> Option<i64> {
        match self {
            Self::Settled(tokens) => Some(tokens),
            Self::Dropped => None,
        }
    }
}

struct World {
    ledger: Ledger,
    definitions: Definitions,
    permit: Permit,
    caller: Caller,
}

impl World {
    /// Budgets that nobody has used.
    fn quotas(&self) -> Quotas {
        Quotas {
            inner: Arc::new(Inner {
                ledger: self.ledger.clone(),
                local: Some(Mutex::new(local::Local::new(Vec::new()))),
                holds: Mutex::default(),
                low: Mutex::default(),
            }),
        }
    }

    async fn reserve(&self, quotas: &Quotas) -> Result<Reservation, Denied> {
        let plan = self.definitions.plan(
            &self.permit,
            &self.caller,
            &Labels::default(),
            Subject::model("p", "m"),
        )?;
        let estimate = Amounts {
            tokens: ESTIMATE,
            cost: None,
        };
        quotas.reserve(&plan, estimate, String::new).await
    }
}

fn books(quotas: &Quotas) -> Books {
    let local = quotas.inner.local.as_ref().unwrap().lock().unwrap();
    let stored = local.stored();
    let of = |name: &str| {
        let one = stored.iter().find(|one| one.bucket == name);
        one.map(|one| (one.level.balance, one.held))
    };
    let tokens = of("tokens").unwrap_or((TOKENS, 0));
    let requests = of("requests").unwrap_or((REQUESTS, 0));
    Books {
        balance: [tokens.0, requests.0],
        held: [tokens.1, requests.1],
    }
}

async fn all(world: &World, count: usize, ends: &[End]) -> usize {
    // Each request comes twice: to begin, and to end.
    let (orders, endings) = (orders(&vec![2; count]), endings(count, ends));
    for order in &orders {
        for endings in &endings {
            let what = || format!("{order:?} {endings:?}");
            let quotas = world.quotas();
            let mut expected = books(&quotas);
            let mut running: Vec<Option<Reservation>> = (0..count).map(|_| None).collect();
            let mut begun = vec![false; count];
            for &nth in order {
                if !std::mem::replace(&mut begun[nth], true) {
                    let reserved = world.reserve(&quotas).await;
                    assert_eq!(reserved.is_ok(), expected.admits(), "{}", what());
                    if let Ok(reservation) = reserved {
                        expected.hold();
                        running[nth] = Some(reservation);
                    }
                } else if let Some(reservation) = running[nth].take() {
                    expected.end(endings[nth].tokens());
                    match endings[nth] {
                        End::Settled(tokens) => {
                            let spent = Amounts { tokens, cost: None };
                            assert!(reservation.settle(spent).is_some());
                        }
                        End::Dropped => drop(reservation),
                    }
                }
                assert_eq!(books(&quotas), expected, "{}", what());
            }
            assert_eq!(books(&quotas).held, [0, 0], "{}", what());
            let tokens = endings.iter().map(|end| end.tokens());
            assert!(books(&quotas).owe_little(tokens), "{}", what());
        }
    }
    orders.len() * endings.len()
}

#[tokio::test]
async fn every_order_of_reservations_and_ends_keeps_the_books() {
    let text = r#"{"quotas":{"tokens":{"capacity":"25 tokens"},"requests":{"capacity":"3 requests"}},
        "grants":[{"src":["a@x.org"],"app":{"tailscale.com/cap/aperture":[{"role":"user"},
        {"models":"**","quotas":[{"bucket":"tokens"},{"bucket":"requests"}]}]}}]}"#;
    let file = config::parse(text, &|_| None).unwrap().file;
    let caller = Caller::hypothetical("a@x.org", None);
    let dir = tempfile::tempdir().unwrap();
    let world = World {
        ledger: Ledger::open("sqlite:iris.db", dir.path()).unwrap(),
        definitions: Definitions::compile(&file),
        permit: Access::compile(&file).permit(&caller).unwrap(),
        caller,
    };
    let three = [
        End::Settled(ESTIMATE),
        End::Settled(4),
        End::Settled(17),
        End::Dropped,
    ];
    let four = [End::Settled(ESTIMATE), End::Dropped];
    let count = all(&world, 3, &three).await + all(&world, 4, &four).await;
    println!("{count} orders");
    assert_eq!(count, 90 * 64 + 2_520 * 16);
}
