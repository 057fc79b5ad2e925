//! The store of a test, and the records in it.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use iris::base::reasons::Reason;
use iris::records::{
    Capture, Entry, EntryId, Ledger, Outcome, Query, Record, Scope, Tokens, ToolCall,
};

use support::postgres::Server;
use tokio_postgres::{Client, NoTls};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Memory,
    File,
    Postgres,
}

/// A database for one test.
pub(crate) struct Place {
    /// `None` where no test of the run is for it.
    server: Option<Server>,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) url: String,
    /// Its name on the server.
    pub(crate) database: String,
}

impl Place {
    pub(crate) async fn new(kind: Kind, server: Option<&Server>) -> Place {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let database = format!("test_{}", MADE.fetch_add(1, Ordering::Relaxed));
        let url = match kind {
            Kind::Memory => "sqlite::memory:".to_owned(),
            Kind::File => "sqlite:ledger.db".to_owned(),
            Kind::Postgres => {
                let server = server.expect("it runs for tests of this kind");
                let client = client(server, "postgres").await;
                let create = format!("CREATE DATABASE {database}");
                client.batch_execute(&create).await.unwrap();
                server.url(&database)
            }
        };
        Place {
            server: server.cloned(),
            dir: tempfile::tempdir().unwrap(),
            url,
            database,
        }
    }

    /// Of a test on `PostgreSQL`.
    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    /// A client that may do everything in its database.
    pub(crate) async fn client(&self) -> Client {
        client(self.server(), &self.database).await
    }

    pub(crate) fn open(&self) -> Ledger {
        Ledger::open(&self.url, self.dir.path()).unwrap()
    }

    pub(crate) fn file(&self) -> &Path {
        self.dir.path()
    }

    /// Columns of integers of the first row that `sql` gives, read around the ledger.
    pub(crate) async fn integers(&self, sql: &str) -> Vec<i64> {
        if self.url.starts_with("sqlite:") {
            let file = rusqlite::Connection::open(self.dir.path().join("ledger.db")).unwrap();
            let mut statement = file.prepare(sql).unwrap();
            let columns = statement.column_count();
            return statement
                .query_row([], |row| (0..columns).map(|nth| row.get(nth)).collect())
                .unwrap();
        }
        let client = self.client().await;
        let row = client.query_one(sql, &[]).await.unwrap();
        (0..row.len()).map(|nth| row.get(nth)).collect()
    }

    /// All rows that `sql` gives, whose columns are texts, read around the ledger.
    pub(crate) async fn texts(&self, sql: &str) -> Vec<Vec<String>> {
        if self.url.starts_with("sqlite:") {
            let file = rusqlite::Connection::open(self.dir.path().join("ledger.db")).unwrap();
            let mut statement = file.prepare(sql).unwrap();
            let columns = statement.column_count();
            let rows = statement
                .query_map([], |row| (0..columns).map(|nth| row.get(nth)).collect())
                .unwrap();
            return rows.collect::<Result<_, _>>().unwrap();
        }
        let client = self.client().await;
        let rows = client.query(sql, &[]).await.unwrap();
        rows.iter()
            .map(|row| (0..row.len()).map(|nth| row.get(nth)).collect())
            .collect()
    }
}

/// A client that may do everything.
pub(crate) async fn client(server: &Server, database: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(&server.url(database), NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
}

/// Writes and waits.
pub(crate) async fn write(ledger: &Ledger, records: impl IntoIterator<Item = Record>) {
    for record in records {
        ledger.admit().unwrap().record(record);
    }
    ledger.flush().await.unwrap();
}

/// All entries, newest first.
pub(crate) async fn all(ledger: &Ledger) -> Vec<Entry> {
    let mut all: Vec<Entry> = Vec::new();
    loop {
        let query = Query {
            before: all.last().map(|entry| entry.id.to_string()),
            limit: 1000,
            ..Query::default()
        };
        let page = ledger.requests(Scope::Everyone, query).await.unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

/// An entry of the plainest kind.
pub(crate) fn entry(started_at: i64, login: &str, session: &str) -> Entry {
    Entry {
        id: EntryId::new(started_at),
        session: session.into(),
        started_at,
        caller: login.into(),
        login: login.into(),
        node_id: "n1".into(),
        node_name: "laptop".into(),
        tags: vec!["tag:dev".into()],
        agent: "claude-code".into(),
        api: "openai_chat".into(),
        model_requested: "fast".into(),
        model: format!("model-{}", started_at % 10).into(),
        provider: "main".into(),
        method: "POST".into(),
        path: "/v1/chat/completions".into(),
        status: 200,
        outcome: Outcome::Complete,
        stream: true,
        tokens: Tokens {
            input: Some(7),
            output: Some(3),
            ..Tokens::default()
        },
        cost: Some(1_500),
        own_credential: false,
        cost_basis: Some("main/fast".into()),
        finish_reason: Some("stop".into()),
        tool_calls: 0,
        first_byte_ms: Some(1.5),
        first_token_ms: None,
        duration_ms: 12.25,
        overhead_ms: Some(0.125),
        request_bytes: 100,
        response_bytes: 200,
        user_agent: "client/1".into(),
        reasons: vec![Reason::Sentence("route: \"fast\" is main".into())],
        error: None,
        captured: false,
    }
}

/// A record of everything that a record can have; `said` is in its capture and its tool.
pub(crate) fn full(entry: Entry, said: &str) -> Record {
    Record {
        entry: Entry {
            tool_calls: 2,
            ..entry
        },
        tools: vec![
            ToolCall {
                name: "read".into(),
                params: format!("{{\"path\":{said:?}}}"),
            },
            ToolCall {
                name: "read".into(),
                params: "{}".into(),
            },
        ],
        headers: vec![
            ("x-team".into(), "blue".into()),
            ("x-trace".into(), String::new()),
        ],
        settlement: None,
        deliveries: Vec::new(),
        capture: Some(Capture {
            request_headers: [("accept", "*/*")].into_iter().collect(),
            request_body: Bytes::from(format!("{{\"prompt\":{said:?}}}")),
            response_headers: [("x-id", "7")].into_iter().collect(),
            response_body: Bytes::from(format!("answer to {said}")),
            raw: Some(Bytes::from_static(b"data: raw\n\n")),
            truncated: true,
        }),
    }
}
