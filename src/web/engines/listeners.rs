//! Who listens for what is new: room for event streams, a few for each device.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::exchange::rules::Rules;

/// Streams of one device: a few pages that are open side by side.
const MOST_EACH: usize = 8;
/// Streams of all.
const MOST: usize = 1_024;

/// Those who listen. Lives as long as the process.
pub struct Listeners {
    pub(in crate::web) rules: watch::Receiver<Arc<Rules>>,
    pub(in crate::web) stop: CancellationToken,
    open: Mutex<HashMap<String, usize>>,
}

impl Listeners {
    /// Streams end when the rules change, and when `stop` is cancelled.
    #[must_use]
    pub fn new(rules: watch::Receiver<Arc<Rules>>, stop: CancellationToken) -> Self {
        Self {
            rules,
            stop,
            open: Mutex::default(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::web) fn admit(self: &Arc<Self>, device: &str) -> Option<Room> {
        let mut open = self.lock();
        let own = open.get(device).copied().unwrap_or_default();
        if own >= MOST_EACH || open.values().sum::<usize>() >= MOST {
            return None;
        }
        open.insert(device.to_owned(), own + 1);
        Some(Room {
            listeners: Arc::clone(self),
            device: device.to_owned(),
        })
    }
}

/// Room for one stream, until it is dropped.
pub(in crate::web) struct Room {
    listeners: Arc<Listeners>,
    device: String,
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut open = self.listeners.lock();
        if let Some(own) = open.get_mut(&self.device) {
            *own -= 1;
            if *own == 0 {
                open.remove(&self.device);
            }
        }
    }
}
