//! Records from before callers were told apart by user numbers: they have only a login. The user of this
//! tailnet with that login takes them, once, and only from a device that they name: a later user of the
//! same login has other devices, and so have users of that login in other tailnets.

use std::collections::{HashMap, HashSet};

use crate::base::lock::lock;
use crate::records::{Error, Failure, Ledger};

/// Devices that are remembered to have asked; all are forgotten beyond that.
const MOST: usize = 10_000;

/// What is known of earlier records.
#[derive(Default)]
pub(crate) struct Taken {
    /// By the key of the caller who took them.
    keys: HashMap<String, Vec<String>>,
    /// Keys, with the devices that they were looked up for.
    asked: HashSet<(String, String)>,
}

/// The key in the earlier records of a login.
pub(crate) fn earlier(login: &str) -> String {
    format!("login:{login}")
}

/// Where it is kept who has taken earlier records.
pub(crate) trait Earlier {
    /// Whether earlier records of a login name a device.
    fn is_named(&mut self, login: &str, node: &str) -> Result<bool, Failure>;
    /// The logins whose earlier records a caller has taken, and `login` if they are still free; each with
    /// the key of who took it.
    fn earlier(&mut self, key: &str, login: &str) -> Result<Vec<(String, String)>, Failure>;
    /// Takes the earlier records of a login for a caller, if they are free and name the device.
    fn take_earlier(&mut self, key: &str, login: &str, node: &str) -> Result<(), Failure>;
}

impl Ledger {
    /// Takes the earlier records of a person: `key` is theirs, `login` what they are called, and `node`
    /// the device that they call from.
    ///
    /// # Errors
    /// When the database can't be asked; it is tried again with the next call.
    pub async fn take_earlier(&self, key: &str, login: &str, node: &str) -> Result<(), Error> {
        let device = (key.to_owned(), node.to_owned());
        let taken = || lock(&self.inner.shared.earlier);
        if key == earlier(login) || taken().asked.contains(&device) {
            return Ok(());
        }
        let (mut keys, mut is_free) = self.earlier_of(key, login).await?;
        // Looked for by a reader first: it may take a walk over all records of the login, for which
        // the writer has no time, and most devices are not named.
        let [by, of, from] = [key, login, node].map(str::to_owned);
        if is_free
            && self
                .read_records(move |connection| connection.is_named(&of, &from))
                .await?
        {
            let [of, from] = [login, node].map(str::to_owned);
            self.write(move |connection| connection.take_earlier(&by, &of, &from))
                .await?;
            (keys, is_free) = self.earlier_of(key, login).await?;
        }
        let mut taken = taken();
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

    /// The keys of all records that are a caller's.
    #[must_use]
    pub fn keys_of(&self, key: &str) -> Vec<String> {
        let taken = lock(&self.inner.shared.earlier);
        let earlier = taken.keys.get(key).into_iter().flatten();
        std::iter::once(key.to_owned())
            .chain(earlier.cloned())
            .collect()
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
