//! Records from before callers were told apart by user numbers: they carry nothing but a login. The
//! user of this tailnet who has that login takes them, once, and only from a device that they name:
//! whoever gets a login later has other devices, and so have its namesakes in other tailnets.

use std::collections::{HashMap, HashSet};
use std::sync::PoisonError;

use crate::records::stores::sql::row::limit;
use crate::records::stores::{Connection, Failure, Value, rows};
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
fn earlier(login: &str) -> String {
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
            self.write(move |connection| take(connection, &names))
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
        let (before, node) = (earlier(login), node.to_owned());
        let read = move |connection: &mut dyn Connection| {
            let sql = "SELECT 1 FROM entries WHERE caller = $1 AND node_id = $2 LIMIT 1";
            let values = vec![
                Value::key(&before, limit::CALLER),
                Value::key(&node, limit::NODE),
            ];
            rows(connection, sql, values, |_| Ok(()))
        };
        Ok(!self.inner.readers.run(read).await?.is_empty())
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
        let names = [key, login].map(str::to_owned);
        let read = move |connection: &mut dyn Connection| {
            let [key, login] = &names;
            let sql = "SELECT login, caller FROM earlier_logins WHERE caller = $1 \
                OR (login = $2 AND caller = '')";
            let values = vec![
                Value::key(key, limit::CALLER),
                Value::key(login, limit::LOGIN),
            ];
            rows(connection, sql, values, |row| {
                Ok((row.text()?, row.text()?))
            })
        };
        let found = self.inner.readers.run(read).await?;
        let is_free = found.iter().any(|(_, caller)| caller.is_empty());
        let taken = found.iter().filter(|(_, caller)| !caller.is_empty());
        Ok((taken.map(|(login, _)| earlier(login)).collect(), is_free))
    }
}

fn take(connection: &mut dyn Connection, names: &[String; 3]) -> Result<(), Failure> {
    connection.begin()?;
    let taken = try_take(connection, names).and_then(|()| connection.commit());
    if taken.is_err() {
        connection.rollback();
    }
    taken
}

fn try_take(
    connection: &mut dyn Connection,
    [key, login, node]: &[String; 3],
) -> Result<(), Failure> {
    let (key, before) = (Value::key(key, limit::CALLER), earlier(login));
    let sql = "UPDATE earlier_logins SET caller = $1 WHERE login = $2 AND caller = '' \
        AND EXISTS (SELECT 1 FROM entries WHERE entries.caller = $3 AND entries.node_id = $4)";
    let row = vec![
        key.clone(),
        Value::key(login, limit::LOGIN),
        Value::key(&before, limit::CALLER),
        Value::key(node, limit::NODE),
    ];
    let changed = connection.execute(sql, vec![row])?;
    if changed.into_iter().sum::<u64>() > 0 {
        // Conversations go on, and there are few of them.
        let sql = "UPDATE chats SET caller = $1 WHERE caller = $2 \
            AND id NOT IN (SELECT id FROM chats WHERE caller = $1)";
        let row = vec![key, Value::key(&before, limit::CALLER)];
        connection.execute(sql, vec![row])?;
    }
    Ok(())
}
