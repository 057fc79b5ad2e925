//! Reading the ledger: requests and sessions, newest first, a page at a time.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};
use serde::Serialize;
use tokio::sync::Semaphore;

use super::store::Store;
use super::{Entry, EntryId, Error, row};

/// Rows in one page at most.
const LIMIT: usize = 1000;

/// Queries running at once: a dashboard must not take every blocking thread.
const READERS: usize = 4;

/// Which requests to read; what is `None` does not filter.
#[derive(Clone, Debug)]
pub struct Query {
    pub login: Option<String>,
    /// A node's stable id.
    pub node: Option<String>,
    pub session: Option<String>,
    /// Only what is older than this request: the last [`Entry::id`] or
    /// [`Session::last_request`] of the page before.
    pub before: Option<String>,
    /// Rows to return, at most 1,000.
    pub limit: usize,
}

impl Default for Query {
    fn default() -> Query {
        Query {
            login: None,
            node: None,
            session: None,
            before: None,
            limit: 100,
        }
    }
}

/// The requests of one login that carry one session id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Session {
    pub id: String,
    pub login: String,
    /// Of the last request, as are the model and the provider.
    pub node_name: String,
    pub model: String,
    pub provider: String,
    pub requests: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
    /// When its first and its last request started, in unix milliseconds.
    pub started_at: i64,
    pub last_at: i64,
    /// The cursor of this row for [`Query::before`].
    pub last_request: EntryId,
}

/// The read-only connections, opened when first needed and kept.
pub(super) struct Readers {
    pool: Arc<Pool>,
    turns: Arc<Semaphore>,
}

struct Pool {
    store: Store,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(super) fn new(store: Store) -> Readers {
        let pool = Arc::new(Pool {
            store,
            idle: Mutex::new(Vec::new()),
        });
        Readers {
            pool,
            turns: Arc::new(Semaphore::new(READERS)),
        }
    }

    pub(super) async fn requests(&self, query: Query) -> Result<Vec<Entry>, Error> {
        let (filter, mut values) = filter(&query, query.before.as_deref());
        values.push(limit(&query));
        let sql = format!("SELECT * FROM entries {filter} ORDER BY id DESC LIMIT ?");
        self.read(sql, values, row::read).await
    }

    pub(super) async fn sessions(&self, query: Query) -> Result<Vec<Session>, Error> {
        let (filter, mut values) = filter(&query, None);
        let having = match &query.before {
            Some(before) => {
                values.push(Value::Text(before.clone()));
                "HAVING max(id) < ?"
            }
            None => "",
        };
        values.push(limit(&query));
        // total() rather than sum(): a sum beyond 64 bits would fail the whole query.
        let sql = format!(
            "SELECT page.*, last.node_name, last.model, last.provider
             FROM (
                SELECT login, session, count(*) AS requests, max(id) AS last_request,
                    CAST(total(input_tokens) AS INTEGER) AS input_tokens,
                    CAST(total(output_tokens) AS INTEGER) AS output_tokens,
                    min(started_at) AS started_at, max(started_at) AS last_at
                FROM entries {filter} GROUP BY login, session {having}
                ORDER BY last_request DESC LIMIT ?
             ) AS page JOIN entries AS last ON last.id = page.last_request
             ORDER BY page.last_request DESC"
        );
        self.read(sql, values, read_session).await
    }

    async fn read<T: Send + 'static>(
        &self,
        sql: String,
        values: Vec<Value>,
        map: fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Error> {
        // The turn travels with the work: a caller that goes away does not end the query.
        let turn = self
            .turns
            .clone()
            .acquire_owned()
            .await
            .expect("never closed");
        let pool = self.pool.clone();
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            pool.read(&sql, values, map)
        })
        .await
        .map_err(Error::Query)?
    }
}

impl Pool {
    fn read<T>(
        &self,
        sql: &str,
        values: Vec<Value>,
        map: fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Error> {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.store.open_reader()?,
        };
        let rows = connection
            .prepare_cached(sql)
            .and_then(|mut select| select.query_map(params_from_iter(values), map)?.collect())
            .map_err(|source| self.store.error("read it", source))?;
        // A connection that failed is not kept.
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(connection);
        Ok(rows)
    }
}

/// The WHERE clause of `query`. Only the conditions it has are named, so that their indexes
/// serve; the values are bound.
fn filter(query: &Query, before: Option<&str>) -> (String, Vec<Value>) {
    let conditions = [
        ("login = ?", query.login.as_deref()),
        ("node_id = ?", query.node.as_deref()),
        ("session = ?", query.session.as_deref()),
        ("id < ?", before),
    ];
    let mut filter = String::new();
    let mut values = Vec::new();
    for (condition, value) in conditions {
        if let Some(value) = value {
            filter.push_str(if values.is_empty() { "WHERE " } else { " AND " });
            filter.push_str(condition);
            values.push(Value::Text(value.to_owned()));
        }
    }
    (filter, values)
}

fn limit(query: &Query) -> Value {
    Value::Integer(i64::try_from(query.limit.min(LIMIT)).unwrap_or(i64::MAX))
}

fn read_session(session: &Row<'_>) -> rusqlite::Result<Session> {
    Ok(Session {
        id: session.get("session")?,
        login: session.get("login")?,
        node_name: session.get("node_name")?,
        model: session.get("model")?,
        provider: session.get("provider")?,
        requests: row::count(session, "requests")?.unwrap_or(0),
        input_tokens: row::count(session, "input_tokens")?.unwrap_or(0),
        output_tokens: row::count(session, "output_tokens")?.unwrap_or(0),
        started_at: session.get("started_at")?,
        last_at: session.get("last_at")?,
        last_request: EntryId(session.get("last_request")?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Ledger;
    use crate::ledger::row::tests::entry;
    use std::path::Path;

    async fn ledger(entries: &[Entry]) -> Ledger {
        let ledger = Ledger::open("sqlite::memory:", Path::new(".")).unwrap();
        for entry in entries {
            ledger.admit().unwrap().record(entry.clone());
        }
        ledger.flush().await.unwrap();
        ledger
    }

    #[tokio::test]
    async fn requests_round_trip_filter_and_page() {
        let mut entries: Vec<_> = (0..5).map(|n| entry(n, "ann@example.com", "s1")).collect();
        entries.push(entry(9, "bob@example.com", "s2"));
        let ledger = ledger(&entries).await;
        let ann = Query {
            login: Some("ann@example.com".into()),
            limit: 2,
            ..Query::default()
        };
        let first = ledger.requests(ann.clone()).await.unwrap();
        assert_eq!(first, [entries[4].clone(), entries[3].clone()]);
        let before = Some(first[1].id.to_string());
        let second = ledger
            .requests(Query {
                before,
                limit: 9,
                ..ann
            })
            .await
            .unwrap();
        assert_eq!(
            second,
            [entries[2].clone(), entries[1].clone(), entries[0].clone()]
        );
        let session = Query {
            session: Some("s2".into()),
            ..Query::default()
        };
        assert_eq!(ledger.requests(session).await.unwrap(), entries[5..]);
        let node = Query {
            node: Some("n2' OR 1=1".into()),
            ..Query::default()
        };
        assert!(ledger.requests(node).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn sessions_of_different_logins_stay_apart() {
        let ledger = ledger(&[
            entry(1, "ann@example.com", "s"),
            entry(2, "bob@example.com", "s"),
            entry(3, "ann@example.com", "s"),
        ])
        .await;
        let sessions = ledger.sessions(Query::default()).await.unwrap();
        assert_eq!(sessions.len(), 2);
        let ann = &sessions[0];
        assert_eq!(
            (ann.login.as_str(), ann.model.as_str()),
            ("ann@example.com", "model-3")
        );
        assert_eq!(
            (ann.requests, ann.input_tokens, ann.output_tokens),
            (2, 14, 6)
        );
        assert_eq!((ann.started_at, ann.last_at), (1, 3));
        let before = Some(ann.last_request.to_string());
        let older = ledger
            .sessions(Query {
                before,
                ..Query::default()
            })
            .await
            .unwrap();
        assert_eq!(older, sessions[1..]);
    }
}
