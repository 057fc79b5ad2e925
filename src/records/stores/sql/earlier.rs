//! Who has taken records from before callers had numbers.

use super::row::limit;
use super::value::Value;
use super::{Connection, Failure, rows, transaction};
use crate::records::archive::earlier::{Earlier, earlier};

impl Earlier for dyn Connection + '_ {
    fn is_named(&mut self, login: &str, node: &str) -> Result<bool, Failure> {
        let sql = "SELECT 1 FROM node_days WHERE node = (SELECT n FROM nodes WHERE node_id = $1) \
            AND caller IN (SELECT n FROM callers WHERE caller = $2) LIMIT 1";
        let before = earlier(login);
        let caller = Value::key(&before, limit::CALLER);
        let named = rows(
            self,
            sql,
            vec![Value::key(node, limit::NODE), caller],
            |_| Ok(()),
        )?;
        Ok(!named.is_empty())
    }

    fn earlier(&mut self, key: &str, login: &str) -> Result<Vec<(String, String)>, Failure> {
        let sql = "SELECT login, caller FROM earlier_logins WHERE caller = $1 \
            OR (login = $2 AND caller = '')";
        let caller = Value::key(key, limit::CALLER);
        let values = vec![caller, Value::key(login, limit::LOGIN)];
        rows(self, sql, values, |row| Ok((row.text()?, row.text()?)))
    }

    fn take_earlier(&mut self, key: &str, login: &str, node: &str) -> Result<(), Failure> {
        let (key, before) = (Value::key(key, limit::CALLER), earlier(login));
        let before = Value::key(&before, limit::CALLER);
        transaction(self, |connection| {
            let sql = "UPDATE earlier_logins SET caller = $1 WHERE login = $2 AND caller = '' \
                AND EXISTS (SELECT 1 FROM node_days \
                    WHERE caller IN (SELECT n FROM callers WHERE callers.caller = $3) \
                    AND node = (SELECT n FROM nodes WHERE node_id = $4))";
            let row = vec![
                key.clone(),
                Value::key(login, limit::LOGIN),
                before.clone(),
                Value::key(node, limit::NODE),
            ];
            if connection.change(sql, row)? > 0 {
                // Conversations go on, and there are few of them.
                let sql = "UPDATE chats SET caller = $1 WHERE caller = $2 \
                    AND id NOT IN (SELECT id FROM chats WHERE caller = $1)";
                connection.change(sql, vec![key, before])?;
            }
            Ok(())
        })
    }
}
