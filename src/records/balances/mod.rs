//! Budgets and limits: what a request may take of its buckets while it runs, and what it has
//! taken when it ends.
//!
//! A request holds an estimate before it is sent ([`Quotas::reserve`]) and takes what it has cost
//! when it ends ([`Reservation::settle`]), in the transaction of its record. Between the two
//! others see the estimate as gone, so that requests side by side can't spend the same money. A
//! reservation that is dropped gives back what it held. [`Quotas::look`] holds nothing: it says
//! whether a request could be paid for, before anything is done for it that has a price of its own.
//!
//! A node alone holds in memory (`local`); nodes that share a database hold in it (`holds`).

mod holds;
mod local;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::base::bucket::{Account, ByKey, Chain, Level, Link, Settlement, Terms};
use crate::base::clock;
use crate::base::lock::lock;
use crate::base::panics;
use crate::base::reasons::Reason;
use crate::base::text::Text;
use crate::policy::budget::{Amounts, Definitions, Denied, Low, Plan, State};
use crate::records::{self, Failure, Ledger};
pub use holds::{Admission, StoredBucket};
pub(crate) use holds::{Holds, Wanted};

/// What a store of balances is for: they are exact, follow the records after a crash, and are shared by
/// the nodes that share the store. What a request has cost is taken with its record ([`Journal`]). A node
/// alone holds in memory, and uses no more of this than to read and change balances.
///
/// [`Journal`]: crate::records::journal::Journal
pub(crate) trait Balances {
    /// Holds what is wanted, for each all or nothing, as if one had come after the other, or looks whether
    /// it could be held; and gives up the holds that are `released`. In a transaction of its own.
    fn hold(&mut self, wanted: &[Wanted], released: &[String]) -> Result<Vec<Admission>, Failure>;
    /// Puts off when holds expire by so many milliseconds, and drops those of nodes that are gone.
    fn renew(&mut self, holds: &[String], lease: i64) -> Result<(), Failure>;
    /// Adds to a bucket, at most up to its capacity; in a transaction of its own.
    fn refill(&mut self, link: &Link, amount: i64) -> Result<Level, Failure>;
    /// Forgets the buckets whose definition is not among `templates`.
    fn retain_buckets(&mut self, templates: &[String]) -> Result<(), Failure>;
    /// All buckets that were ever used, by name, and the time by the clock of all.
    fn buckets(&mut self) -> Result<(Vec<StoredBucket>, i64), Failure>;
}

/// How long a hold in a shared database outlives its node.
const LEASE: Duration = Duration::from_mins(2);

/// Balances and holds. Lives as long as the process; clones share them.
#[derive(Clone)]
pub struct Quotas {
    inner: Arc<Inner>,
}

struct Inner {
    ledger: Ledger,
    /// What this node holds: in memory, where it is alone.
    local: Option<Mutex<local::Local>>,
    /// Names of its holds in a shared database.
    holds: Mutex<HashSet<String>>,
    /// Those of which hooks were told that they run low.
    low: Mutex<Low>,
}

/// What is held for a request that runs.
#[must_use = "a dropped reservation holds nothing"]
pub struct Reservation {
    inner: Arc<Inner>,
    hold: String,
    chains: Vec<Chain>,
    /// What of which bucket.
    parts: ByKey<i64>,
    open: bool,
    /// What is held of which buckets, for the record.
    pub reasons: Vec<Reason>,
    /// Of each bucket that is below its threshold: what the caller is told.
    pub warnings: Vec<String>,
    /// The buckets as they stood before.
    before: ByKey<Account>,
    /// Of each bucket that began to run low with this request: what its hooks are told.
    pub crossed: Vec<String>,
}

impl Quotas {
    /// Takes balances up from the ledger.
    ///
    /// # Errors
    /// When they can't be read.
    pub async fn open(ledger: Ledger) -> Result<Self, records::Error> {
        let local = if ledger.is_shared() {
            None
        } else {
            Some(Mutex::new(local::Local::new(ledger.buckets().await?.0)))
        };
        Ok(Self {
            inner: Arc::new(Inner {
                ledger,
                local,
                holds: Mutex::default(),
                low: Mutex::default(),
            }),
        })
    }

    /// Looks whether every bucket of a plan could pay for a request, and what each has; holds
    /// nothing.
    ///
    /// # Errors
    /// [`Denied`] when a bucket can't pay, or it can't be known whether it can.
    pub async fn look(&self, plan: &Plan, estimate: Amounts) -> Result<Vec<State>, Denied> {
        let (chains, accounts) = self.accounts(plan, estimate).await?;
        let links = chains.iter().flat_map(|chain| chain.links.iter());
        let states = links.filter_map(|link| Some(State::new(link, *accounts.get(&link.key)?)));
        Ok(states.collect())
    }

    /// A warning for each chain of a plan that is below its threshold; holds nothing.
    ///
    /// # Errors
    /// As for [`Quotas::look`].
    pub async fn low(&self, plan: &Plan) -> Result<Vec<String>, Denied> {
        let (chains, accounts) = self.accounts(plan, Amounts::FREE).await?;
        let low = chains.iter().filter_map(|chain| {
            let (names, left) = standing(chain, &accounts);
            warning(&chain.links[0].terms, &names, left)
        });
        Ok(low.collect())
    }

    /// The buckets of a plan that could pay for a request.
    async fn accounts(
        &self,
        plan: &Plan,
        estimate: Amounts,
    ) -> Result<(Vec<Chain>, ByKey<Account>), Denied> {
        let chains = plan.chains(estimate)?;
        if chains.is_empty() {
            return Ok((chains, ByKey::default()));
        }
        let held = if let Some(mut local) = self.inner.local() {
            local.look(&chains, clock::unix_ms())
        } else {
            let held = self.inner.ledger.look(chains.clone()).await;
            held.map_err(unavailable)?
        };
        if let Err(short) = &held.outcome {
            return Err(Denied::exhausted(&chains, &held.accounts, short));
        }
        Ok((chains, held.accounts))
    }

    /// Holds what a request is expected to take of each of its buckets, under a name of its own.
    ///
    /// # Errors
    /// [`Denied`] when a bucket can't pay, or it can't be known whether it can.
    pub async fn reserve(
        &self,
        plan: &Plan,
        estimate: Amounts,
        hold: impl FnOnce() -> String,
    ) -> Result<Reservation, Denied> {
        let chains = plan.chains(estimate)?;
        // In memory a hold needs no name.
        let hold = match &self.inner.local {
            Some(_) => String::new(),
            None => hold(),
        };
        let mut reservation = Reservation {
            inner: Arc::clone(&self.inner),
            hold,
            chains,
            parts: ByKey::default(),
            open: false,
            reasons: Vec::new(),
            warnings: Vec::new(),
            before: ByKey::default(),
            crossed: Vec::new(),
        };
        if reservation.chains.is_empty() {
            return Ok(reservation);
        }
        let held = self.hold(&mut reservation).await?;
        reservation.open = held.outcome.is_ok();
        match held.outcome {
            Ok(parts) => reservation.parts = parts,
            Err(short) => {
                let chains = &reservation.chains;
                return Err(Denied::exhausted(chains, &held.accounts, &short));
            }
        }
        reservation.before = held.accounts;
        reservation.describe(plan);
        Ok(reservation)
    }

    async fn hold(&self, wanted: &mut Reservation) -> Result<Admission, Denied> {
        if let Some(mut local) = self.inner.local() {
            return Ok(local.hold(&wanted.chains, clock::unix_ms()));
        }
        // If the caller stops waiting for the answer, it isn't known whether something is held: the
        // reservation then gives it up.
        wanted.open = true;
        lock(&self.inner.holds).insert(wanted.hold.clone());
        let held = self
            .inner
            .ledger
            .hold(&wanted.hold, wanted.chains.clone(), LEASE)
            .await;
        if matches!(&held, Ok(held) if held.outcome.is_err()) {
            lock(&self.inner.holds).remove(&wanted.hold);
        }
        held.map_err(unavailable)
    }

    /// Keeps the holds of this node in a shared database from expiring; never returns.
    pub async fn keep(&self) {
        if self.inner.local.is_some() {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(LEASE / 4).await;
            panics::point("budgets");
            let holds = lock(&self.inner.holds).iter().cloned().collect();
            if let Err(error) = self.inner.ledger.renew(holds, LEASE).await {
                tracing::warn!(%error, "the holds on budgets could not be renewed");
            }
        }
    }

    /// Takes what a request has cost of buckets that were chosen when it began, whatever they have left, and for
    /// which nothing is held any more: at once in memory, and in the database with the record that carries the
    /// settlement.
    #[must_use]
    pub fn charge(&self, buckets: Vec<Arc<[Link]>>, spent: Amounts) -> Settlement {
        let chains: Vec<Chain> = buckets
            .into_iter()
            .filter_map(|links| {
                let amount = spent.spent(links.first()?.terms.unit);
                Some(Chain { links, amount })
            })
            .filter(|chain| chain.amount > 0)
            .collect();
        let at = clock::unix_ms();
        if let Some(mut local) = self.inner.local() {
            local.spend(&chains, at);
        }
        Settlement {
            hold: String::new(),
            chains,
            at,
        }
    }

    /// Forgets the buckets of definitions that were removed. Returns whether they are also gone from the
    /// database; else it has to be tried again.
    pub async fn retain(&self, definitions: &Definitions) -> bool {
        let templates: Vec<String> = definitions.names().map(str::to_owned).collect();
        if let Some(mut local) = self.inner.local() {
            local.retain(|template| templates.iter().any(|known| known == template));
        }
        let forgotten = self.inner.ledger.retain_buckets(templates).await;
        if let Err(error) = &forgotten {
            tracing::warn!(%error, "buckets of removed budgets are still stored");
        }
        forgotten.is_ok()
    }

    /// All buckets that were ever used, and those of `links`, by name.
    ///
    /// # Errors
    /// When a shared database can't be asked.
    pub async fn states(
        &self,
        definitions: &Definitions,
        links: Vec<Link>,
    ) -> Result<Vec<State>, records::Error> {
        let (stored, now) = if let Some(local) = self.inner.local() {
            (local.stored(), clock::unix_ms())
        } else {
            self.inner.ledger.buckets().await?
        };
        let names = links
            .iter()
            .map(|link| (link.key.clone(), link.bucket.clone()));
        let names: HashMap<Text, Text> = names.collect();
        let (mut known, mut owners) = (BTreeMap::new(), HashMap::new());
        for link in links {
            let full = link.terms.full(now).into();
            known.insert(link.key.clone(), State::new(&link, full));
            owners.insert(link.before.clone().unwrap_or_default(), link);
        }
        let current: HashSet<String> = stored.iter().map(|one| one.key.clone()).collect();
        for stored in stored {
            let Some(terms) = definitions.terms(&stored.template) else {
                continue;
            };
            let account = Account {
                level: terms.at(stored.level, now),
                held: stored.held,
            };
            // As its owner is called now.
            let name = names.get(stored.key.as_str()).cloned();
            let link = Link {
                key: stored.key.into(),
                bucket: name.unwrap_or_else(|| stored.bucket.into()),
                template: stored.template,
                terms,
                before: None,
            };
            if stored.is_earlier {
                // It is taken over when it is first used.
                let owner = owners.get(&link.key);
                let owner = owner.filter(|owner| owner.template == link.template);
                let is_known = owner.is_some_and(|owner| current.contains(owner.key.as_str()));
                let link = owner.unwrap_or(&link);
                if !is_known {
                    known.insert(link.key.clone(), State::new(link, account));
                }
                continue;
            }
            let prefix = Link::prefix(terms.unit, &link.template);
            if link.key.starts_with(&prefix) {
                known.insert(link.key.clone(), State::new(&link, account));
            }
        }
        let mut states: Vec<State> = known.into_values().collect();
        states.sort_by(|one, other| (&one.bucket, &one.key).cmp(&(&other.bucket, &other.key)));
        Ok(states)
    }

    /// A bucket that nobody has used.
    #[must_use]
    pub fn unused(link: &Link) -> State {
        State::new(link, link.terms.full(clock::unix_ms()).into())
    }

    /// Adds to a bucket, at most up to its capacity. Durable when it returns.
    ///
    /// # Errors
    /// When it can't be written.
    pub async fn refill(&self, link: Link, amount: i64) -> Result<State, records::Error> {
        let inner = Arc::clone(&self.inner);
        let then = move |link: &Link, level: Level| {
            let account = match inner.local() {
                Some(mut local) => local.refill(link, amount, clock::unix_ms()),
                None => level.into(),
            };
            State::new(link, account)
        };
        self.inner.ledger.refill(link, amount, then).await
    }
}

/// Balances are not known.
#[expect(clippy::needless_pass_by_value, reason = "what `map_err` hands over")]
fn unavailable(error: records::Error) -> Denied {
    tracing::error!(%error, "budgets can't be looked at");
    Denied::Unavailable
}

impl Inner {
    fn local(&self) -> Option<MutexGuard<'_, local::Local>> {
        self.local.as_ref().map(lock)
    }
}

impl Reservation {
    /// Says what is held of what, and whom to warn.
    fn describe(&mut self, plan: &Plan) {
        self.reasons.reserve_exact(self.chains.len());
        for (chain, source) in self.chains.iter().zip(plan.sources()) {
            let (names, left) = standing(chain, &self.before);
            let terms = &chain.links[0].terms;
            let keys = match &*chain.links {
                [only] => Cow::Borrowed(only.key.as_str()),
                several => {
                    let keys = several.iter().map(|link| link.key.as_str());
                    Cow::Owned(keys.collect::<Vec<_>>().join(", "))
                }
            };
            let after = left.saturating_sub(chain.amount);
            let warning = warning(terms, &names, after);
            let is_low = warning.is_some();
            self.warnings.extend(warning);
            if lock(&self.inner.low).begins(&keys, is_low, after, terms) {
                self.crossed.extend(self.warnings.last().cloned());
            }
            self.reasons.push(Reason::Held {
                buckets: names,
                left: terms.show(left),
                held: terms.show(chain.amount),
                grants: source.clone(),
            });
        }
    }

    /// The buckets of which something is held, those that pay together in one list.
    pub fn buckets(&self) -> impl Iterator<Item = &Arc<[Link]>> {
        self.chains.iter().map(|chain| &chain.links)
    }

    /// Whether the buckets had all that is held. Where nothing else runs, a request may hold more than there is.
    #[must_use]
    pub fn is_covered(&self) -> bool {
        let mut chains = self.chains.iter();
        chains.all(|chain| standing(chain, &self.before).1 >= chain.amount)
    }

    /// The buckets as they stood before.
    #[must_use]
    pub fn states(&self) -> Vec<State> {
        let links = self.chains.iter().flat_map(|chain| chain.links.iter());
        let states = links.filter_map(|link| Some(State::new(link, *self.before.get(&link.key)?)));
        states.collect()
    }

    /// Gives up what was held, and takes what the request has cost instead: at once in memory,
    /// and in the database with the record that carries the settlement.
    #[must_use]
    pub fn settle(mut self, spent: Amounts) -> Option<Settlement> {
        if !self.open {
            return None;
        }
        self.open = false;
        let chains = std::mem::take(&mut self.chains);
        let chains: Vec<Chain> = chains
            .into_iter()
            .map(|chain| Chain {
                amount: spent.spent(chain.links[0].terms.unit),
                ..chain
            })
            .filter(|chain| chain.amount > 0)
            .collect();
        let at = clock::unix_ms();
        let mut hold = String::new();
        if let Some(mut local) = self.inner.local() {
            local.release(&self.parts);
            local.spend(&chains, at);
        } else {
            hold = std::mem::take(&mut self.hold);
            lock(&self.inner.holds).remove(&hold);
        }
        Some(Settlement { hold, chains, at })
    }
}

/// The buckets of a chain, and what is free in them together.
fn standing(chain: &Chain, accounts: &ByKey<Account>) -> (Vec<Text>, i64) {
    let mut left: i64 = 0;
    let mut names = Vec::with_capacity(chain.links.len());
    for link in chain.links.iter() {
        let Some(account) = accounts.get(&link.key) else {
            continue;
        };
        let free = account.level.balance.saturating_sub(account.held);
        left = left.saturating_add(free);
        names.push(link.bucket.clone());
    }
    (names, left)
}

/// The warning about a chain with this much left, if that is below its threshold.
fn warning(terms: &Terms, names: &[Text], left: i64) -> Option<String> {
    (left < terms.warn_below).then(|| {
        format!(
            "{}: {} left of {}",
            names.join(", then "),
            terms.show(left),
            terms.show(terms.capacity)
        )
    })
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        if let Some(mut local) = self.inner.local() {
            local.release(&self.parts);
        } else {
            lock(&self.inner.holds).remove(&self.hold);
            self.inner.ledger.release(std::mem::take(&mut self.hold));
        }
    }
}

#[cfg(test)]
mod books;
#[cfg(test)]
mod interleavings;
#[cfg(test)]
mod tests;
