//! From a source address to a [`Caller`]. A cached caller holds for one epoch of the network map:
//! when the map changes, every caller is looked up again, so none outlives a revocation.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OnceCell, watch};

use super::{Node, Status};
use crate::base::clock;
use crate::config::StaleRefuses;
use crate::policy::identity::{Caller, Refused, is_tailnet};

/// Addresses remembered at once; a tailnet that is larger is asked for more often.
const MAX_CACHED: usize = 100_000;
/// Devices whose address is remembered beyond an epoch.
const MAX_SEEN: usize = 10_000;

type CachedCaller = Arc<OnceCell<Result<Arc<Caller>, Refused>>>;

#[derive(Default)]
struct Cache {
    epoch: u64,
    answers: HashMap<IpAddr, CachedCaller>,
}

impl Cache {
    /// The answer for `source`, which may have to be asked for, among `most` of them.
    fn answer(&mut self, epoch: u64, source: IpAddr, most: usize) -> CachedCaller {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.answers = HashMap::new();
        }
        if self.answers.len() >= most && !self.answers.contains_key(&source) {
            // A crowd of strangers does not have those who are known be asked for again.
            let is_known = |answer: &CachedCaller| matches!(answer.get(), Some(Ok(_)));
            self.answers.retain(|_, answer| is_known(answer));
            // Looking through them for little would be slow.
            if self.answers.len() > most / 2 {
                self.answers = HashMap::new();
            }
        }
        Arc::clone(self.answers.entry(source).or_default())
    }
}

/// Where people and services called from, by name and device, each with the number of its note.
#[derive(Default)]
struct Seen {
    notes: HashMap<(Box<str>, Box<str>), (u64, IpAddr)>,
    last: u64,
}

impl Seen {
    /// Notes that `name` called from its device. Once there are more than `most`, the older half
    /// is forgotten.
    fn note(&mut self, name: &str, device: &str, source: IpAddr, most: usize) {
        self.last += 1;
        let key = (Box::from(name), Box::from(device));
        self.notes.insert(key, (self.last, source));
        if self.notes.len() > most {
            let mut numbers: Vec<u64> = self.notes.values().map(|(number, _)| *number).collect();
            let middle = numbers.len() / 2;
            let (_, oldest_kept, _) = numbers.select_nth_unstable(middle);
            let oldest_kept = *oldest_kept;
            self.notes.retain(|_, (number, _)| *number >= oldest_kept);
        }
    }

    /// The latest address of `name`, on one device or on any.
    fn address(&self, name: &str, device: Option<&str>) -> Option<IpAddr> {
        let theirs = self.notes.iter().filter(|((known, on), _)| {
            **known == *name && device.is_none_or(|device| **on == *device)
        });
        let (_, (_, address)) = theirs.max_by_key(|(_, (number, _))| *number)?;
        Some(*address)
    }
}

/// Who was found under a user's number, by key: their name, and an address of theirs.
#[derive(Default)]
struct Numbers(HashMap<Box<str>, (Box<str>, IpAddr)>);

impl Numbers {
    /// The address of another caller with the same number as `caller`, who calls from `source`, and
    /// another name.
    fn other(&self, caller: &Caller, source: IpAddr) -> Option<IpAddr> {
        let (name, address) = self.0.get(caller.key())?;
        (**name != *caller.name() && *address != source).then_some(*address)
    }

    fn note(&mut self, caller: &Caller, source: IpAddr, most: usize) {
        if self.0.len() >= most && !self.0.contains_key(caller.key()) {
            self.0.clear();
        }
        let who = (Box::from(caller.name()), source);
        self.0.insert(Box::from(caller.key()), who);
    }
}

/// Resolves addresses, each at most once in an epoch.
pub struct Resolver {
    node: Node,
    status: watch::Receiver<Status>,
    cache: Mutex<Cache>,
    seen: Mutex<Seen>,
    numbers: Mutex<Numbers>,
    /// Whether a stale network map takes only what the tailnet policy grants.
    policy_only: AtomicBool,
    /// Counts the changes of that: an answer from before holds no more.
    settings: AtomicU64,
}

impl Resolver {
    /// A resolver that asks `node`.
    #[must_use]
    pub fn new(node: Node) -> Self {
        Self {
            status: node.watch(),
            node,
            cache: Mutex::default(),
            seen: Mutex::default(),
            numbers: Mutex::default(),
            policy_only: AtomicBool::default(),
            settings: AtomicU64::default(),
        }
    }

    /// Sets how old the network map may get, and who is refused from then on.
    pub fn set_stale(&self, after: Duration, refuses: StaleRefuses) {
        let policy_only = refuses == StaleRefuses::Policy;
        if self.policy_only.swap(policy_only, Ordering::AcqRel) != policy_only {
            self.settings.fetch_add(1, Ordering::AcqRel);
        }
        self.node.set_stale_after(after);
    }

    /// The epoch of the network map: an answer holds while it doesn't change.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.status.borrow().epoch + self.settings.load(Ordering::Acquire)
    }

    /// Who calls from `source`.
    ///
    /// # Errors
    /// [`Refused`]; only [`Refused::Unavailable`] may be different a moment later.
    pub async fn caller(&self, source: IpAddr) -> Result<Arc<Caller>, Refused> {
        let source = source.to_canonical();
        // Not asked for, and not remembered either: there are more of them than of devices.
        if !is_tailnet(source) {
            return Err(Refused::NotANode);
        }
        let is_stale = self.status.borrow().is_stale;
        let policy_only = self.policy_only.load(Ordering::Acquire);
        if is_stale && !policy_only {
            let age = self.status.borrow().map_age(clock::unix_ms());
            return Err(Refused::Stale(age.map_or_else(
                || "since the gateway started".to_owned(),
                |age| format!("for {} seconds", age.as_secs()),
            )));
        }
        let answer = {
            let epoch = self.epoch();
            let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
            cache.answer(epoch, source, MAX_CACHED)
        };
        let ask = || self.ask(source);
        answer.get_or_try_init(ask).await?.clone()
    }

    /// Up to `most` of the callers who are known in this epoch, with all that is granted them.
    #[must_use]
    pub fn known(&self, most: usize) -> Vec<Arc<Caller>> {
        let epoch = self.epoch();
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.epoch != epoch {
            return Vec::new();
        }
        let answers = cache.answers.values().filter_map(|answer| answer.get());
        let callers = answers.filter_map(|answer| answer.as_ref().ok());
        // A caller has an address of either kind on each node.
        let mut known: Vec<Arc<Caller>> = callers.cloned().collect();
        known.sort_by(|one, other| {
            (one.name(), one.node_id()).cmp(&(other.name(), other.node_id()))
        });
        known.dedup_by(|one, other| (one.name(), one.node_id()) == (other.name(), other.node_id()));
        known.truncate(most);
        known
    }

    /// A caller by name, with everything that the tailnet grants them now: the device that they
    /// called from last, or the one named `device`. Only those who have called are known.
    pub async fn named(&self, name: &str, device: Option<&str>) -> Option<Arc<Caller>> {
        let address = {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.address(name, device)?
        };
        let caller = self.caller(address).await.ok()?;
        // The address may be another device's by now.
        let is_it =
            caller.name() == name && device.is_none_or(|device| caller.node_name() == device);
        is_it.then_some(caller)
    }

    /// A number with another name than before is a person who was renamed, or a control server that
    /// gives two people one number: then their names tell them apart as well.
    async fn told_apart(&self, caller: Caller, source: IpAddr) -> Caller {
        let lock = || self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        let other = lock().other(&caller, source);
        if let Some(address) = other
            && let Ok(Some(whois)) = self.node.whois(address).await
            && let Ok(other) = Caller::from_whois(whois)
            && other.key() == caller.key()
            && other.name() != caller.name()
        {
            return caller.by_login();
        }
        lock().note(&caller, source, MAX_SEEN);
        caller
    }

    /// Who calls from `source`: without what the tailnet policy grants, where the map is stale.
    async fn ask(&self, source: IpAddr) -> Result<Result<Arc<Caller>, Refused>, Refused> {
        // Read after the epoch that the answer is kept for, so that no answer of a fresh map is
        // kept for a stale one.
        let is_stale = self.status.borrow().is_stale;
        if self.status.borrow().addresses.contains(&source) {
            return Ok(Err(Refused::Oneself));
        }
        match self.node.whois(source).await {
            Ok(Some(mut whois)) => {
                if is_stale {
                    whois.capabilities.clear();
                }
                let caller = match Caller::from_whois(whois) {
                    Ok(caller) => self.told_apart(caller, source).await,
                    Err(refused) => return Ok(Err(refused)),
                };
                let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.note(caller.name(), caller.node_name(), source, MAX_SEEN);
                Ok(Ok(Arc::new(caller)))
            }
            Ok(None) => Ok(Err(Refused::NotANode)),
            // Not kept: the next request asks again.
            Err(error) => Err(Refused::Unavailable(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::policy::identity::tests_support::whois;

    fn fill(cache: &mut Cache, addresses: std::ops::Range<u32>, known: bool) {
        for address in addresses {
            let answer = cache.answer(1, Ipv4Addr::from_bits(address).into(), 100);
            let caller = Caller::from_whois(whois(Some("ada@example.com"), &[])).map(Arc::new);
            let caller = if known {
                caller
            } else {
                Err(Refused::NotANode)
            };
            let _ = answer.set(caller);
        }
    }

    fn known(cache: &Cache) -> usize {
        let answers = cache.answers.values();
        answers
            .filter(|answer| matches!(answer.get(), Some(Ok(_))))
            .count()
    }

    #[test]
    fn strangers_push_out_nobody_who_is_known() {
        let mut cache = Cache::default();
        fill(&mut cache, 0..10, true);
        fill(&mut cache, 1_000..2_000, false);
        assert_eq!(known(&cache), 10);
        assert!(cache.answers.len() <= 100);
        // An epoch ends what all of them were.
        cache.answer(2, Ipv4Addr::LOCALHOST.into(), 100);
        assert_eq!(cache.answers.len(), 1);
    }

    #[test]
    fn a_number_with_another_name_leads_to_who_had_it() {
        let address = |last| IpAddr::from([100, 64, 0, last]);
        let caller = |login| Caller::from_whois(whois(Some(login), &[])).unwrap();
        let mut numbers = Numbers::default();
        let ada = caller("ada@example.com");
        assert_eq!(numbers.other(&ada, address(1)), None);
        numbers.note(&ada, address(1), 2);
        assert_eq!(numbers.other(&ada, address(2)), None, "another device");
        let bob = caller("bob@example.com");
        assert_eq!(numbers.other(&bob, address(2)), Some(address(1)));
        assert_eq!(numbers.other(&bob, address(1)), None, "she was renamed");
        for login in ["1@x.org", "2@x.org"] {
            numbers.note(&caller(login).by_login(), address(3), 2);
        }
        assert_eq!(numbers.0.len(), 1, "there is room for two");
    }

    #[test]
    fn a_name_leads_to_the_device_that_called_last() {
        let address = |last| IpAddr::from([100, 64, 0, last]);
        let mut seen = Seen::default();
        for (name, device, last) in [
            ("alice", "laptop", 1),
            ("alice", "phone", 2),
            ("bob", "laptop", 3),
            ("alice", "laptop", 4),
        ] {
            seen.note(name, device, address(last), 3);
        }
        assert_eq!(seen.address("alice", None), Some(address(4)));
        assert_eq!(seen.address("alice", Some("phone")), Some(address(2)));
        assert_eq!(seen.address("bob", Some("phone")), None);
        // There is room for three: the older half of four is forgotten.
        seen.note("carol", "laptop", address(5), 3);
        assert_eq!(seen.address("alice", Some("phone")), None);
        assert_eq!(seen.address("alice", None), Some(address(4)));
        assert_eq!(seen.address("carol", None), Some(address(5)));
    }

    #[test]
    fn a_tailnet_that_is_larger_is_asked_for_more_often() {
        let mut cache = Cache::default();
        fill(&mut cache, 0..1_000, true);
        assert!(cache.answers.len() <= 100);
    }
}
