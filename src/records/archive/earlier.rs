//! Records from before callers were told apart by user numbers: they carry nothing but a login. The
//! user of this tailnet who has that login takes them, once, and only from a device that they name:
//! whoever gets a login later has other devices, and so have its namesakes in other tailnets.

use std::collections::{HashMap, HashSet};
use std::sync::PoisonError;

use super::Archive;
use crate::records::{Error, Ledger};

/// Devices that are remembered to have asked.
const MOST: usize = 10_000;

/// What is known of earlier records.
#[derive(Default)]
pub(crate) struct Taken {
    /// By the key of the caller who took them.
    keys: HashMap<String, Vec<String>>,
    /// Keys with devices from which they were looked for.
    asked: HashSet<(String, String)>,
}

/// What the records of a login from before have for a key.
pub(crate) fn earlier(login: &str) -> String {
    format!("login:{login}")
}

impl Ledger {
    /// Takes the records from before that are a person's: `key` is theirs, `login` what they are
    /// called, and `node` the device that they call from.
    ///
    /// # Errors
    /// When the database can't be asked; it is tried again with the next call.
    pub async fn take_earlier(&self, key: &str, login: &str, node: &str) -> Result<(), Error> {
        let device = (key.to_owned(), node.to_owned());
        if key == earlier(login) || self.taken().asked.contains(&device) {
            return Ok(());
        }
        let (found, mut is_free) = self.earlier_of(key, login).await?;
        let mut keys = found;
        // Looked for by a reader first: it may take a walk over all records of the login, for which
        // the writer has no time, and most devices are not named.
        if is_free && self.is_named(login, node).await? {
            let names = [key, login, node].map(str::to_owned);
            self.write(move |connection| {
                let [key, login, node] = &names;
                connection.take_earlier(key, login, node)
            })
            .await?;
            (keys, is_free) = self.earlier_of(key, login).await?;
        }
        let mut taken = self.taken();
        if taken.asked.len() >= MOST {
            taken.asked.clear();
        }
        taken.asked.insert(device);
        if !keys.is_empty() {
            taken.keys.insert(key.to_owned(), keys);
        }
        if is_free {
            tracing::debug!(login, node, "earlier records do not name this device");
        }
        Ok(())
    }

    /// Whether earlier records of a login name a device.
    async fn is_named(&self, login: &str, node: &str) -> Result<bool, Error> {
        let [login, node] = [login, node].map(str::to_owned);
        self.read(move |connection| connection.is_named(&login, &node))
            .await
    }

    /// The keys of all records that are a caller's.
    #[must_use]
    pub fn keys_of(&self, key: &str) -> Vec<String> {
        let mut keys = vec![key.to_owned()];
        keys.extend(self.taken().keys.get(key).into_iter().flatten().cloned());
        keys
    }

    fn taken(&self) -> std::sync::MutexGuard<'_, Taken> {
        let taken = self.inner.shared.earlier.lock();
        taken.unwrap_or_else(PoisonError::into_inner)
    }

    /// What a caller has taken, and whether something of their login is still nobody's.
    async fn earlier_of(&self, key: &str, login: &str) -> Result<(Vec<String>, bool), Error> {
        let [key, login] = [key, login].map(str::to_owned);
        let logins = self
            .read(move |connection| connection.earlier(&key, &login))
            .await?;
        let is_free = logins.iter().any(|(_, caller)| caller.is_empty());
        let taken = logins.iter().filter(|(_, caller)| !caller.is_empty());
        Ok((taken.map(|(login, _)| earlier(login)).collect(), is_free))
    }
}
