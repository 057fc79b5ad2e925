//! Chains: a bucket and those that help out when it is empty. A sum is taken from the first,
//! what that cannot cover from the next, and what none can cover from the last, which may then
//! be below zero. A bucket without helpers is a chain of one.

use std::sync::Arc;

use super::{ByKey, Level, Terms, Unit, clamp};
use crate::base::text::Text;

/// A bucket of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// What identifies it, such as `money|daily:<user>|user:7`: what it counts, its
    /// definition, and whose it is.
    pub key: Text,
    /// Its name for people, such as `daily:pat@example.org`. Others may have the same.
    pub bucket: Text,
    /// The name of its definition, such as `daily:<user>`.
    pub template: String,
    /// What it may hold.
    pub terms: Terms,
    /// The name under which it was stored before buckets had keys.
    pub before: Option<Text>,
}

impl Link {
    /// A bucket of the definition `template`; `whose` is empty where all share it.
    #[must_use]
    pub fn new(template: &str, whose: &str, bucket: Text, terms: Terms) -> Self {
        Self {
            key: format!("{}{whose}", Self::prefix(terms.unit, template)).into(),
            before: Some(bucket.clone()),
            bucket,
            template: template.to_owned(),
            terms,
        }
    }

    /// What the keys of a definition's buckets begin with, as long as it counts that.
    #[must_use]
    pub fn prefix(unit: Unit, template: &str) -> String {
        format!("{}|{template}|", unit.as_str())
    }
}

/// Buckets that pay for a request together, all of one unit; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// In the order in which they are asked.
    pub links: Arc<[Link]>,
    /// What they pay: an estimate when it is held, the true sum when it is taken.
    pub amount: i64,
}

/// The state of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// What it holds.
    pub level: Level,
    /// What of it is held for requests that run.
    pub held: i64,
}

/// Nothing of it is held.
impl From<Level> for Account {
    fn from(level: Level) -> Self {
        Self { level, held: 0 }
    }
}

/// What a request takes from its buckets when it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// Under which its estimate is held.
    pub hold: String,
    /// What each chain pays.
    pub chains: Vec<Chain>,
    /// Unix milliseconds.
    pub at: i64,
}

/// A chain cannot pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short {
    /// Milliseconds until it can; `None` if that never happens by itself.
    pub wait: Option<i64>,
}

/// Whether a chain can pay its estimate, and what of it is to be held of each link.
///
/// It can if what no running request holds covers the estimate. A request that runs alone needs
/// no more than that something is left: it is the one that may end below zero, by what it cost
/// beyond the rest. So requests that run side by side never overspend by more than the error of
/// their estimates, and an estimate above the capacity does not lock a bucket for ever.
///
/// `accounts` stand for the links in their order, brought up to now.
///
/// # Errors
/// [`Short`], with the time until it is worth another try.
fn admit(chain: &Chain, accounts: &[Account]) -> Result<impl Iterator<Item = i64>, Short> {
    let free = |account: &Account| account.level.balance.saturating_sub(account.held);
    let total = accounts
        .iter()
        .fold(0_i64, |sum, account| sum.saturating_add(free(account)));
    let held = accounts.iter().any(|account| account.held > 0);
    if total > 0 && (total >= chain.amount || !held) {
        return Ok(split(chain.amount, accounts.iter().map(free)));
    }
    let balances = accounts.iter().fold(0_i64, |sum, account| {
        sum.saturating_add(account.level.balance)
    });
    // Once nothing runs, the first unit opens it.
    if balances > 0 {
        return Err(Short { wait: Some(1_000) });
    }
    Err(Short {
        wait: wait(chain, accounts, 1_i64.saturating_sub(balances)),
    })
}

/// What of which bucket is held for a request whose chains can all pay.
///
/// `accounts` has every bucket that the chains name, brought up to now; what is held for one chain counts
/// for the next.
///
/// # Errors
/// Each chain that cannot pay, by its place, and for how long.
pub fn admit_all(
    chains: &[Chain],
    accounts: &ByKey<Account>,
) -> Result<ByKey<i64>, Vec<(usize, Short)>> {
    let mut parts: ByKey<i64> = ByKey::default();
    let mut short = Vec::new();
    for (nth, chain) in chains.iter().enumerate() {
        let standing: Vec<Account> = chain
            .links
            .iter()
            .map(|link| {
                let known = accounts.get(&link.key).copied();
                let account = known.unwrap_or_else(|| link.terms.full(0).into());
                let held = parts.get(&link.key).copied().unwrap_or_default();
                Account {
                    held: account.held.saturating_add(held),
                    ..account
                }
            })
            .collect();
        match admit(chain, &standing) {
            Ok(held) => {
                for (link, part) in chain.links.iter().zip(held) {
                    *parts.get_or_insert(&link.key, 0) += part;
                }
            }
            Err(why) => short.push((nth, why)),
        }
    }
    short.is_empty().then_some(parts).ok_or(short)
}

/// Takes what a chain pays: what each link holds afterwards.
pub fn spend(chain: &Chain, levels: &[Level]) -> impl Iterator<Item = Level> {
    let parts = split(chain.amount, levels.iter().map(|level| level.balance));
    levels.iter().zip(parts).map(|(level, part)| Level {
        balance: level.balance.saturating_sub(part),
        ..*level
    })
}

/// Shares an amount out: to each what it has, and to the last what is left over.
fn split(amount: i64, free: impl ExactSizeIterator<Item = i64>) -> impl Iterator<Item = i64> {
    let last = free.len().saturating_sub(1);
    let mut rest = amount.max(0);
    free.enumerate().map(move |(nth, free)| {
        let part = if nth == last {
            rest
        } else {
            rest.min(free.max(0))
        };
        rest -= part;
        part
    })
}

/// How long until `missing` has flowed into a chain, all links together.
fn wait(chain: &Chain, accounts: &[Account], missing: i64) -> Option<i64> {
    let mut best: Option<i64> = None;
    let mut inflow = 0_f64;
    for (link, account) in chain.links.iter().zip(accounts) {
        let terms = &link.terms;
        if terms.rate > 0 && account.level.balance < terms.capacity {
            let alone = terms.wait(missing)?;
            best = Some(best.map_or(alone, |known| known.min(alone)));
            #[expect(clippy::cast_precision_loss, reason = "a time for people to wait")]
            let rate = terms.rate as f64 / terms.per as f64;
            inflow += rate;
        }
    }
    let alone = best?;
    if chain.links.len() == 1 {
        return Some(alone);
    }
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "a time for people to wait"
    )]
    let together = (missing as f64 / inflow).ceil() as i128;
    Some(clamp(together).min(alone))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::bucket::tests::{level, terms};

    fn chain(amount: i64, capacities: &[i64]) -> Chain {
        let link = |(nth, capacity): (usize, &i64)| Link {
            key: nth.to_string().into(),
            bucket: nth.to_string().into(),
            before: None,
            template: nth.to_string(),
            terms: terms(*capacity, 10, 1_000),
        };
        Chain {
            links: capacities.iter().enumerate().map(link).collect(),
            amount,
        }
    }

    fn accounts(states: &[(i64, i64)]) -> Vec<Account> {
        let account = |&(balance, held): &_| Account {
            level: level(balance, 0),
            held,
        };
        states.iter().map(account).collect()
    }

    /// What is held of each link.
    fn admit(chain: &Chain, accounts: &[Account]) -> Result<Vec<i64>, Short> {
        super::admit(chain, accounts).map(Iterator::collect)
    }

    #[test]
    fn estimates_of_running_requests_count() {
        let one = chain(30, &[100]);
        assert_eq!(admit(&one, &accounts(&[(100, 70)])), Ok(vec![30]));
        let short = admit(&one, &accounts(&[(100, 71)]));
        assert_eq!(short, Err(Short { wait: Some(1_000) }));
    }

    #[test]
    fn alone_a_request_needs_no_more_than_something() {
        let one = chain(1_000, &[100]);
        assert_eq!(admit(&one, &accounts(&[(1, 0)])), Ok(vec![1_000]));
        let empty = admit(&one, &accounts(&[(0, 0)]));
        assert_eq!(empty, Err(Short { wait: Some(100) }));
        let owing = admit(&one, &accounts(&[(-49, 0)]));
        assert_eq!(owing, Err(Short { wait: Some(5_000) }));
        let closed = admit(&chain(0, &[0]), &accounts(&[(0, 0)]));
        assert_eq!(closed, Err(Short { wait: None }));
    }

    #[test]
    fn a_chain_pays_in_order_and_its_last_link_may_owe() {
        let three = chain(100, &[50, 50, 50]);
        let levels: Vec<_> = accounts(&[(30, 0), (-5, 0), (20, 0)])
            .iter()
            .map(|account| account.level)
            .collect();
        let after: Vec<_> = spend(&three, &levels).map(|level| level.balance).collect();
        assert_eq!(after, [0, -5, -50]);
    }

    #[test]
    fn a_chain_is_open_while_its_sum_is_above_zero() {
        let two = chain(10, &[50, 50]);
        assert_eq!(admit(&two, &accounts(&[(4, 0), (6, 0)])), Ok(vec![4, 6]));
        assert!(admit(&two, &accounts(&[(20, 0), (-19, 0)])).is_ok());
        let short = admit(&two, &accounts(&[(20, 0), (-20, 0)])).unwrap_err();
        assert_eq!(short.wait, Some(50), "both are refilled");
        let mut links = two.links.to_vec();
        links[0].terms.rate = 0;
        let half = Chain {
            links: links.into(),
            amount: two.amount,
        };
        let short = admit(&half, &accounts(&[(20, 0), (-20, 0)])).unwrap_err();
        assert_eq!(short.wait, Some(100), "one is refilled");
    }

    #[test]
    fn what_is_held_for_one_chain_counts_for_the_next() {
        let key = |nth: usize| Text::from(nth.to_string());
        let by_key = |values: &[i64]| -> ByKey<i64> {
            let values = values.iter().enumerate();
            values.map(|(nth, value)| (key(nth), *value)).collect()
        };
        let of = |balances: &[i64]| -> ByKey<Account> {
            let balances = balances.iter().enumerate();
            let account = |balance| Account::from(level(balance, 0));
            balances
                .map(|(nth, balance)| (key(nth), account(*balance)))
                .collect()
        };
        let both = [chain(30, &[50, 50]), chain(25, &[50])];
        // Of the first bucket all is promised by then, and the second is not in the second chain.
        let none = Short { wait: Some(1_000) };
        assert_eq!(admit_all(&both, &of(&[20, 50])), Err(vec![(1, none)]));
        let outcome = admit_all(&both[..1], &of(&[20, 50]));
        assert_eq!(outcome, Ok(by_key(&[20, 10])));
        let twice = [chain(20, &[50]), chain(25, &[50]), chain(1, &[50])];
        let outcome = admit_all(&twice, &of(&[45]));
        assert_eq!(outcome, Err(vec![(2, none)]), "45 are held");
        let outcome = admit_all(&twice[..2], &of(&[45]));
        assert_eq!(outcome, Ok(by_key(&[45])));
        let other = chain(10, &[0, 50]);
        let other = Chain {
            links: other.links[1..].into(),
            ..other
        };
        let outcome = admit_all(&[chain(45, &[50]), other], &of(&[50, 50]));
        assert_eq!(outcome, Ok(by_key(&[45, 10])));
        // An unused bucket is full.
        let unused = admit_all(&[chain(60, &[50])], &ByKey::default());
        assert_eq!(unused, Ok(by_key(&[60])));
    }

    #[test]
    fn parallel_admissions_never_promise_more_than_there_is() {
        // Whatever the order of estimates, what is held never passes the balance, but for the
        // one that began alone.
        let mut state = 12_345_u64;
        for _ in 0..2_000 {
            let mut account = accounts(&[(1_000, 0)]).remove(0);
            let mut first = true;
            for _ in 0..50 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let amount = i64::try_from(state >> 33).unwrap() % 200;
                if let Ok(parts) = admit(&chain(amount, &[1_000]), &[account]) {
                    account.held += parts[0];
                    assert!(first || account.held <= 1_000);
                    first = account.held == 0;
                }
            }
        }
    }
}
