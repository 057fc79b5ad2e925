//! Bytes of bodies that the process holds at once, and the bound on them.
//!
//! A process that takes more memory than its container allows is killed, and every request in it
//! with it. So each body is counted as it grows, not by the length that it declares, and where
//! there is no room a request waits for others to end, for a bounded time. What could be had without
//! (the copy of a response for a capture) doesn't wait: it is left out.
//!
//! Short bodies have a share of their own, so that they never wait behind long ones. Among those
//! that wait, the oldest is first. Where none could ever go on, because each holds a part of its
//! body and waits for room for the rest, the youngest is refused.

mod machine;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::base::clock::within;

/// What a request takes while it runs, as a multiple of its body: the body, the copy that goes to
/// a hook or to a provider, and what is read or compressed of it.
pub const WEIGHT: usize = 3;
/// Up to here a body is short: of this many bytes, weighed.
const SHORT: usize = 768 << 10;
/// The part of the bound that only short bodies may take.
const SHARE: usize = 8;
/// How long a request waits for room.
const PATIENCE: Duration = Duration::from_secs(30);
/// For how long a refusal is worth an alert.
const RECENT: Duration = Duration::from_mins(5);
/// After which a request that was refused may come again.
pub const RETRY: Duration = Duration::from_secs(5);
/// Where neither a container nor the machine says how much memory there is.
const UNKNOWN: usize = 4 << 30;
/// The smallest bound.
pub const LEAST: usize = 16 << 20;

static ALL: LazyLock<Memory> = LazyLock::new(|| Memory::new(default_bound()));

/// The memory of the process.
#[must_use]
pub fn all() -> &'static Memory {
    &ALL
}

/// The bytes of memory that the process may take: the tightest limit of its control groups, or what
/// the machine has.
#[must_use]
pub fn limit() -> usize {
    static LIMIT: LazyLock<usize> = LazyLock::new(|| machine::limit().unwrap_or(UNKNOWN));
    *LIMIT
}

/// The bound where none is configured. The rest is for connections, records that wait for the
/// database, and the tailnet node.
#[must_use]
pub fn default_bound() -> usize {
    (limit() / 2).max(LEAST)
}

/// Bytes that a request of `length` bytes is counted as.
#[must_use]
pub fn weighed(length: usize) -> usize {
    length.saturating_mul(WEIGHT)
}

/// No room came free in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the gateway holds as many bytes of other requests as limits.memory allows; try again in a few seconds"
)]
pub struct Full;

/// What is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes that are counted.
    pub held: usize,
    /// The most that may be.
    pub bound: usize,
    /// Requests that wait for room.
    pub waiting: usize,
    /// Requests that were refused since the start.
    pub refused: u64,
    /// Whether the last of them was refused a short time ago.
    pub is_short: bool,
}

/// A bound, and those who share it. Clones share it too.
#[derive(Clone, Debug)]
pub struct Memory(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    bound: usize,
    /// Bytes of holds that are short, and of those that are long.
    short: usize,
    long: usize,
    /// By age.
    holds: BTreeMap<u64, Counted>,
    waiting: BTreeSet<u64>,
    next: u64,
    refused: u64,
    refused_at: Option<Instant>,
}

#[derive(Debug, Default)]
struct Counted {
    bytes: usize,
    /// What it waits to have.
    wanted: usize,
    waiter: Option<oneshot::Sender<bool>>,
}

/// Bytes that are counted for one body, for as long as this is there.
#[derive(Debug)]
pub struct Hold {
    memory: Memory,
    /// None as long as nothing is counted.
    id: Option<u64>,
    bytes: usize,
}

impl Memory {
    /// Memory with a bound.
    #[must_use]
    pub fn new(bound: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            bound: bound.max(LEAST),
            short: 0,
            long: 0,
            holds: BTreeMap::new(),
            waiting: BTreeSet::new(),
            next: 0,
            refused: 0,
            refused_at: None,
        })))
    }

    /// Sets another bound. Those who hold more than it allows go on.
    pub fn set_bound(&self, bound: usize) {
        let mut state = self.lock();
        state.bound = bound.max(LEAST);
        state.serve();
    }

    /// A hold of nothing, which may grow.
    #[must_use]
    pub fn hold(&self) -> Hold {
        Hold {
            memory: self.clone(),
            id: None,
            bytes: 0,
        }
    }

    /// The longest body that can ever be held.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.most() / WEIGHT
    }

    /// The most that one hold can ever be.
    #[must_use]
    pub fn most(&self) -> usize {
        let bound = self.lock().bound;
        bound - bound / SHARE
    }

    /// The bound.
    #[must_use]
    pub fn bound(&self) -> usize {
        self.lock().bound
    }

    /// What is held.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let state = self.lock();
        Usage {
            held: state.short + state.long,
            bound: state.bound,
            waiting: state.waiting.len(),
            refused: state.refused,
            is_short: state.refused_at.is_some_and(|at| at.elapsed() < RECENT),
        }
    }

    /// A copy of bytes that is counted, if there is room for it at once.
    #[must_use]
    pub fn copy(&self, bytes: &[u8]) -> Option<Bytes> {
        let mut hold = self.hold();
        let fits = hold.try_reserve(bytes.len());
        fits.then(|| hold.keep(Bytes::copy_from_slice(bytes)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The bytes of others, short and long.
    fn others(&self, bytes: usize) -> (usize, usize) {
        if bytes > SHORT {
            (self.short, self.long - bytes)
        } else {
            (self.short - bytes, self.long)
        }
    }

    /// Whether a hold of `bytes` may become one of `wanted`.
    fn fits(&self, bytes: usize, wanted: usize) -> bool {
        let share = self.bound / SHARE;
        let (short, long) = self.others(bytes);
        if wanted > SHORT {
            return long + wanted <= self.bound - share && short + long + wanted <= self.bound;
        }
        let is_awaited = || self.waiting.iter().any(|id| self.is_long_wait(*id));
        short + wanted <= share || (short + long + wanted <= self.bound && !is_awaited())
    }

    fn is_long_wait(&self, id: u64) -> bool {
        self.holds.get(&id).is_some_and(|one| one.wanted > SHORT)
    }

    /// Whether an older hold of the same kind waits.
    fn is_preceded(&self, id: u64, wanted: usize) -> bool {
        let older = self.waiting.range(..id);
        older
            .into_iter()
            .any(|one| self.is_long_wait(*one) == (wanted > SHORT))
    }

    fn set(&mut self, id: u64, bytes: usize) {
        let counted = self.holds.entry(id).or_default();
        let before = std::mem::replace(&mut counted.bytes, bytes);
        *self.total_of(before) -= before;
        *self.total_of(bytes) += bytes;
    }

    /// The bytes of all holds that are as short or as long as this one.
    fn total_of(&mut self, bytes: usize) -> &mut usize {
        if bytes > SHORT {
            &mut self.long
        } else {
            &mut self.short
        }
    }

    /// Ends the wait of a hold.
    fn tell(&mut self, id: u64, granted: bool) {
        self.waiting.remove(&id);
        if let Some(counted) = self.holds.get_mut(&id) {
            let wanted = std::mem::take(&mut counted.wanted);
            let waiter = counted.waiter.take();
            if granted {
                self.set(id, wanted);
            }
            // One that has gone meanwhile gives everything back as it goes.
            let _gone = waiter.map(|waiter| waiter.send(granted));
        }
    }

    /// Gives room to those who wait, the oldest first.
    fn serve(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let (mut short_waits, mut long_waits) = (false, false);
        for id in self.waiting.clone() {
            let Some(counted) = self.holds.get(&id) else {
                continue;
            };
            let (bytes, wanted) = (counted.bytes, counted.wanted);
            let waits = if wanted > SHORT {
                &mut long_waits
            } else {
                &mut short_waits
            };
            if *waits {
                continue;
            }
            if self.fits(bytes, wanted) {
                self.tell(id, true);
            } else {
                *waits = true;
            }
        }
        self.unstick();
    }

    /// Where all that hold long bodies wait for each other, one of them gets what it wants out of its
    /// turn, or the youngest is refused.
    fn unstick(&mut self) {
        if !self.waiting.iter().any(|id| self.is_long_wait(*id)) {
            return;
        }
        let holders = self.holds.iter().filter(|(_, one)| one.bytes > SHORT);
        let holders: Vec<_> = holders
            .map(|(id, one)| (*id, one.bytes, one.wanted))
            .collect();
        // One that doesn't wait ends, or grows further, some time.
        if holders.iter().any(|(_, _, wanted)| *wanted == 0) {
            return;
        }
        let mut fitting = holders.iter();
        let fitting = fitting.find(|(_, bytes, wanted)| self.fits(*bytes, *wanted));
        match (fitting, holders.as_slice()) {
            (Some((id, ..)), _) => self.tell(*id, true),
            (None, [_, .., (id, ..)]) => self.tell(*id, false),
            // Short bodies end by themselves.
            (None, _) => {}
        }
    }
}

impl Hold {
    /// How many bytes are counted.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The longest body that can ever be held, and the most that one hold can be.
    #[must_use]
    pub fn bounds(&self) -> (usize, usize) {
        (self.memory.longest(), self.memory.most())
    }

    /// Counts `bytes` in all, unless they are counted already. Waits for room for a bounded time.
    ///
    /// # Errors
    /// When none came free.
    pub async fn reserve(&mut self, bytes: usize) -> Result<(), Full> {
        if bytes <= self.bytes {
            return Ok(());
        }
        let waits = {
            let mut state = self.memory.lock();
            let id = *self.id.get_or_insert_with(|| {
                state.next += 1;
                state.next
            });
            if state.fits(self.bytes, bytes) && !state.is_preceded(id, bytes) {
                state.set(id, bytes);
                self.bytes = bytes;
                return Ok(());
            }
            let (waiter, waits) = oneshot::channel();
            let counted = state.holds.entry(id).or_default();
            counted.wanted = bytes;
            counted.waiter = Some(waiter);
            state.waiting.insert(id);
            state.unstick();
            waits
        };
        let waiting = Waiting(self);
        // What came of it stands in the state.
        let _told = within(PATIENCE, waits).await;
        drop(waiting);
        if self.bytes >= bytes {
            return Ok(());
        }
        let mut state = self.memory.lock();
        state.refused += 1;
        state.refused_at = Some(Instant::now());
        drop(state);
        Err(Full)
    }

    /// Counts `bytes` in all if there is room for them at once.
    pub fn try_reserve(&mut self, bytes: usize) -> bool {
        if bytes <= self.bytes {
            return true;
        }
        let mut state = self.memory.lock();
        if !state.fits(self.bytes, bytes) {
            return false;
        }
        let id = *self.id.get_or_insert_with(|| {
            state.next += 1;
            state.next
        });
        state.set(id, bytes);
        self.bytes = bytes;
        true
    }

    /// Counts no more than `bytes`.
    pub fn shrink(&mut self, bytes: usize) {
        if bytes >= self.bytes {
            return;
        }
        self.bytes = bytes;
        if let Some(id) = self.id {
            let mut state = self.memory.lock();
            state.set(id, bytes);
            state.serve();
        }
    }

    /// The bytes, which are counted for as long as any part of them is held.
    #[must_use]
    pub fn keep(self, bytes: Bytes) -> Bytes {
        if self.bytes == 0 {
            return bytes;
        }
        Bytes::from_owner(Kept { bytes, _hold: self })
    }
}

impl Default for Hold {
    fn default() -> Self {
        all().hold()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let mut state = self.memory.lock();
            state.set(id, 0);
            state.holds.remove(&id);
            state.waiting.remove(&id);
            state.serve();
        }
    }
}

/// A hold that waits, until it is granted, refused or gives up.
struct Waiting<'h>(&'h mut Hold);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Some(id) = self.0.id else { return };
        let mut state = self.0.memory.lock();
        state.waiting.remove(&id);
        if let Some(counted) = state.holds.get_mut(&id) {
            counted.wanted = 0;
            counted.waiter = None;
            self.0.bytes = counted.bytes;
        }
        // One that stood in front may have held up others.
        state.serve();
    }
}

/// Bytes with what counts them.
struct Kept {
    bytes: Bytes,
    _hold: Hold,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests;
