//! From a source address to a [`Caller`]. An answer holds for one epoch of the network map:
//! when the map changes, everyone is asked for anew, so a cache never outlives a revocation.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OnceCell, watch};

use super::Caller;
use crate::tailnet::{Node, Status};

/// Addresses remembered at once; a tailnet that is larger is asked for more often.
const MAX_CACHED: usize = 100_000;

/// Why an address is nobody that may call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The address belongs to no node: a subnet router, Funnel or the host's own network.
    #[error("the source of this connection is not a tailnet device")]
    NotANode,
    /// The node has neither a user nor tags.
    #[error("this device has neither a user nor a tag")]
    Nobody,
    /// The node exists and may not act.
    #[error("this device may not be used: {0}")]
    Unusable(&'static str),
    /// The gateway's own address.
    #[error("the gateway does not call itself")]
    Oneself,
    /// The address now belongs to another node than the one that opened the connection.
    #[error("this address now belongs to another device")]
    Changed,
    /// The tailnet could not be asked.
    #[error("the tailnet cannot tell who this is: {0}")]
    Unavailable(String),
}

type Answer = Arc<OnceCell<Result<Arc<Caller>, Refused>>>;

#[derive(Default)]
struct Cache {
    epoch: u64,
    answers: HashMap<IpAddr, Answer>,
}

/// Resolves addresses, each at most once in an epoch.
pub struct Resolver {
    node: Node,
    status: watch::Receiver<Status>,
    cache: Mutex<Cache>,
}

impl Resolver {
    /// A resolver that asks `node`.
    #[must_use]
    pub fn new(node: Node) -> Self {
        Self {
            status: node.watch(),
            node,
            cache: Mutex::default(),
        }
    }

    /// The epoch of the network map: an answer is as good as new while it stands still.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.status.borrow().epoch
    }

    /// Who calls from `source`.
    ///
    /// # Errors
    /// [`Refused`]; only [`Refused::Unavailable`] may be different a moment later.
    pub async fn caller(&self, source: IpAddr) -> Result<Arc<Caller>, Refused> {
        let answer = self.answer(source.to_canonical());
        answer
            .get_or_try_init(|| self.ask(source.to_canonical()))
            .await?
            .clone()
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

    fn answer(&self, source: IpAddr) -> Answer {
        let epoch = self.epoch();
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.epoch != epoch || cache.answers.len() >= MAX_CACHED {
            cache.epoch = epoch;
            cache.answers = HashMap::new();
        }
        Arc::clone(cache.answers.entry(source).or_default())
    }

    async fn ask(&self, source: IpAddr) -> Result<Result<Arc<Caller>, Refused>, Refused> {
        if self.status.borrow().addresses.contains(&source) {
            return Ok(Err(Refused::Oneself));
        }
        match self.node.whois(source).await {
            Ok(Some(whois)) => Ok(Caller::from_whois(whois).map(Arc::new)),
            Ok(None) => Ok(Err(Refused::NotANode)),
            // Not kept: the next request asks again.
            Err(error) => Err(Refused::Unavailable(error.to_string())),
        }
    }
}
