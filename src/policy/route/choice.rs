//! The order in which providers are tried that could all serve a request.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::traffic::Traffic;
use super::{Provider, Standing};
use crate::base::reasons::{Limited, Reason, Tie};
use crate::base::text::Text;
use crate::config::{Share, Strategy};

/// Open requests by which a conversation's own server may be busier than the least busy one
/// before the conversation moves: its cached prompt is worth some waiting.
const PATIENCE: usize = 4;

/// The provider that holds what the request names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its id.
    pub provider: Arc<str>,
    /// No other provider could serve the request; else another one probably can.
    pub is_needed: bool,
}

/// A provider that could answer, with the model as it names it.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) provider: Arc<Provider>,
    pub(super) model: Text,
    /// The pattern and the grant that cover it.
    pub(super) granted: Reason,
    /// It comes last while a budget that pays for it runs low.
    pub(super) spares: bool,
}

/// What the choice looks at besides the configuration.
#[derive(Clone, Copy)]
pub struct Evidence<'a> {
    /// What is known of providers.
    pub traffic: &'a Traffic,
    /// The id of the conversation that the request continues.
    pub conversation: Option<&'a str>,
    /// The provider that holds what the request names.
    pub holder: Option<&'a Holder>,
}

/// The candidates of an alias's destinations, in the order in which they are to be tried.
pub(super) fn among_destinations(
    alias: &str,
    strategy: Strategy,
    mut destinations: Vec<(u32, Vec<Candidate>)>,
    evidence: Evidence<'_>,
) -> Vec<Candidate> {
    let open = |(_, candidates): &(u32, Vec<Candidate>)| {
        let open = candidates
            .iter()
            .map(|one| evidence.traffic.open_at(&one.provider));
        open.min().unwrap_or(usize::MAX)
    };
    match strategy {
        Strategy::First => destinations.truncate(1),
        Strategy::Failover => {}
        Strategy::Budget => {
            if let Some((_, dearer)) = destinations.split_last_mut() {
                let all = dearer.iter_mut().flat_map(|(_, candidates)| candidates);
                all.for_each(|one| one.spares = true);
            }
        }
        Strategy::RoundRobin => {
            let count = destinations.len().max(1);
            destinations.rotate_left(evidence.traffic.turn(alias) % count);
        }
        Strategy::LeastBusy => destinations.sort_by_cached_key(open),
        Strategy::Weighted => {
            let drawn = drawn(&destinations);
            let first = destinations.remove(drawn);
            destinations.insert(0, first);
        }
    }
    let all = destinations.into_iter();
    all.flat_map(|(_, candidates)| candidates).collect()
}

/// One of several, by weight; one without weight is never drawn while others have some.
fn drawn(destinations: &[(u32, Vec<Candidate>)]) -> usize {
    let mut weights = destinations.iter().map(|(weight, _)| u64::from(*weight));
    let sum: u64 = weights.clone().sum();
    let mut random = [0; 8];
    // Without random bytes the first is drawn.
    let _ = getrandom::fill(&mut random);
    let mut rest = u64::from_ne_bytes(random) % sum.max(1);
    let is_drawn = |weight: u64| {
        let is_drawn = rest < weight;
        rest = rest.saturating_sub(weight);
        is_drawn
    };
    weights.position(is_drawn).unwrap_or(0)
}

/// Orders providers of one model: by preference, and those of equal preference as `share` says.
/// Returns why the first of them is the first, if it is one of several equals.
pub(super) fn among_equals(
    model: &str,
    share: Share,
    mut candidates: Vec<Candidate>,
    evidence: Evidence<'_>,
) -> (Vec<Candidate>, Option<Tie>) {
    candidates.sort_by(|a, b| {
        let (a, b) = (&a.provider, &b.provider);
        b.preference.cmp(&a.preference).then(a.id.cmp(&b.id))
    });
    let mut ordered = Vec::with_capacity(candidates.len());
    let mut tie = None;
    let mut rest = candidates.into_iter().peekable();
    while let Some(first) = rest.next() {
        let preference = first.provider.preference;
        let mut equals = vec![first];
        while let Some(next) = rest.next_if(|next| next.provider.preference == preference) {
            equals.push(next);
        }
        if equals.len() > 1 {
            // The choice is among those that answer. Each is asked once, because other requests change
            // it meanwhile.
            let (available, out): (Vec<_>, Vec<_>) = std::mem::take(&mut equals)
                .into_iter()
                .partition(|one| is_available(one, evidence.traffic));
            let well = available.len();
            equals.extend(available);
            equals.extend(out);
            let reason = shared(model, share, &mut equals[..well], evidence);
            if ordered.is_empty() {
                tie = reason;
            }
        }
        ordered.append(&mut equals);
    }
    (ordered, tie)
}

fn shared(
    model: &str,
    share: Share,
    equals: &mut [Candidate],
    evidence: Evidence<'_>,
) -> Option<Tie> {
    if equals.len() < 2 {
        return None;
    }
    let open = |one: &Candidate| evidence.traffic.open_at(&one.provider);
    match share {
        Share::First => Some(Tie::Id),
        Share::RoundRobin => {
            let turn = evidence.traffic.turn(model) % equals.len();
            equals.rotate_left(turn);
            Some(Tie::Turn)
        }
        Share::LeastBusy => {
            equals.sort_by_cached_key(open);
            let open = open(&equals[0]);
            Some(Tie::LeastBusy { open })
        }
        Share::Affinity => {
            let Some(conversation) = evidence.conversation else {
                return shared(model, Share::LeastBusy, equals, evidence);
            };
            let least = equals.iter().map(open).min().unwrap_or(0);
            // The highest of the hashes of both names: when a server comes or goes, only its
            // own conversations move.
            equals.sort_by_cached_key(|one| {
                std::cmp::Reverse(weight(conversation, &one.provider.id))
            });
            let home = equals
                .iter()
                .position(|one| open(one) <= least.saturating_mul(2) + PATIENCE)
                .unwrap_or(0);
            equals[..=home].rotate_right(1);
            Some(if home == 0 { Tie::Home } else { Tie::HomeBusy })
        }
    }
}

fn weight(conversation: &str, provider: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (conversation, provider).hash(&mut hasher);
    hasher.finish()
}

fn is_available(one: &Candidate, traffic: &Traffic) -> bool {
    traffic.standing(&one.provider, &one.model).is_available()
}

/// Moves those that are paused or limited to the end, the one that is limited for the longest time last.
/// Returns why, one reason for each kind.
pub(super) fn put_off(candidates: &mut [Candidate], traffic: &Traffic) -> Vec<Reason> {
    let standing = |one: &Candidate| traffic.standing(&one.provider, &one.model);
    let (mut providers, mut limited) = (Vec::new(), Vec::new());
    for one in candidates.iter() {
        match standing(one) {
            Standing::Paused => providers.push(one.provider.id.clone()),
            Standing::Limited(left) => {
                limited.push(Limited {
                    provider: one.provider.id.clone(),
                    seconds: left.as_secs() + 1,
                });
            }
            Standing::Well | Standing::OnTrial => {}
        }
    }
    candidates.sort_by_cached_key(|one| standing(one).rank());
    let mut why = Vec::new();
    if !providers.is_empty() {
        why.push(Reason::FailingLast { providers });
    }
    if !limited.is_empty() {
        why.push(Reason::LimitedLast { providers: limited });
    }
    why
}

/// Puts the provider first that holds what the request names, and leaves out the others if they
/// can't do without it: "this provider is paused" is a better error than "unknown file".
pub(super) fn held(candidates: &mut Vec<Candidate>, evidence: Evidence<'_>) -> Option<Reason> {
    let holder = evidence.holder?;
    let at = candidates
        .iter()
        .position(|one| *one.provider.id == *holder.provider)?;
    let provider = Text::from(Arc::clone(&holder.provider));
    if holder.is_needed {
        let candidate = candidates.swap_remove(at);
        *candidates = vec![candidate];
        return Some(Reason::OnlyHolder { provider });
    }
    if !is_available(&candidates[at], evidence.traffic) {
        return None;
    }
    candidates[..=at].rotate_right(1);
    Some(Reason::Holder { provider })
}
