//! Who has taken records from before callers had numbers.

use super::row::limit;
use super::value::Value;
use super::{Connection, Failure, rows, transaction};
use crate::records::archive::earlier::earlier;

pub(super) fn is_named(
    connection: &mut dyn Connection,
    login: &str,
    node: &str,
) -> Result<bool, Failure> {
    let sql = "SELECT 1 FROM entries WHERE caller = $1 AND node_id = $2 LIMIT 1";
    let before = earlier(login);
    let values = vec![
        Value::key(&before, limit::CALLER),
        Value::key(node, limit::NODE),
    ];
    Ok(!rows(connection, sql, values, |_| Ok(()))?.is_empty())
}

pub(super) fn taken(
    connection: &mut dyn Connection,
    key: &str,
    login: &str,
) -> Result<Vec<(String, String)>, Failure> {
    let sql = "SELECT login, caller FROM earlier_logins WHERE caller = $1 \
        OR (login = $2 AND caller = '')";
    let values = vec![
        Value::key(key, limit::CALLER),
        Value::key(login, limit::LOGIN),
    ];
    rows(connection, sql, values, |row| {
        Ok((row.text()?, row.text()?))
    })
}

pub(super) fn take(
    connection: &mut dyn Connection,
    key: &str,
    login: &str,
    node: &str,
) -> Result<(), Failure> {
    let (key, before) = (Value::key(key, limit::CALLER), earlier(login));
    transaction(connection, |connection| {
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
    })
}
