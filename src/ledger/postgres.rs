//! `PostgreSQL`, which several nodes may share. Blocks like the other store: each connection has
//! a runtime of its own, which runs while somebody waits for an answer.

use std::collections::HashMap;
use std::error::Error as _;
use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use bytes::BytesMut;
use futures_util::{TryStreamExt, future};
use tokio::runtime::Runtime;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Config, NoTls, Statement};
use tokio_postgres_rustls_improved::MakeRustlsConnect;

use super::database::{Connection, Failure, Row, Store, VERSION, Value, announce, missing};
use super::{Error, dialect};
use crate::upstream;

/// Waits for a connection, name resolution and TLS included.
const CONNECT: Duration = Duration::from_secs(10);

/// Waits for an answer. A server that is silent for longer is taken for gone.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for a change of the schema.
const MIGRATION: Duration = Duration::from_hours(1);

/// Statements that a connection keeps prepared; one more and it forgets them all.
const STATEMENTS: usize = 128;

/// Taken while the schema is looked at and changed, so that only one process migrates.
const MIGRATION_LOCK: i64 = 0x6972_6973_0001;

/// What each connection is told first. Compiled plans cost more than our queries do; and a commit
/// that a crash of the server can take back is none, whatever the server's default.
const SESSION: &str = "SET jit = off; SET statement_timeout = '25s'; \
    SET idle_in_transaction_session_timeout = '60s'; \
    SELECT set_config('synchronous_commit', 'on', false) \
    WHERE current_setting('synchronous_commit') = 'off'";

/// Where the server is.
pub(super) struct Server {
    /// Replaced where the password is another one.
    config: RwLock<Config>,
    name: String,
    tls: Option<MakeRustlsConnect>,
    /// The file with the certificates that the server is trusted by, in place of the machine's.
    root: Option<PathBuf>,
}

impl Server {
    pub(super) fn parse(url: &str) -> Result<Server, Error> {
        let mut config = crate::config::postgres(url).map_err(Error::Url)?;
        let (_, root) = crate::config::postgres_root(url).map_err(Error::Url)?;
        config.connect_timeout(CONNECT).tcp_user_timeout(PATIENCE);
        if config.get_application_name().is_none() {
            config.application_name("iris");
        }
        let tls = config.get_ssl_mode() == SslMode::Require;
        if !tls {
            // A server may offer a certificate that nobody can verify; TLS is used where asked for.
            config.ssl_mode(SslMode::Disable);
            if config.get_hosts().iter().any(is_remote) {
                tracing::warn!("ledger: records go over the network in clear; add sslmode=require");
            }
        }
        Ok(Server {
            name: name(&config),
            config: RwLock::new(config),
            tls: tls.then(|| MakeRustlsConnect::new(without_protocols(upstream::tls()))),
            root,
        })
    }

    fn connect(&self) -> Result<Open, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let config = self.current();
        let tls = self.tls()?;
        let connecting = async {
            let client = if let Some(tls) = tls {
                let (client, connection) = config.connect(tls).await?;
                tokio::spawn(connection);
                client
            } else {
                let (client, connection) = config.connect(NoTls).await?;
                tokio::spawn(connection);
                client
            };
            client.batch_execute(SESSION).await?;
            Ok::<_, tokio_postgres::Error>(client)
        };
        let client = runtime
            .block_on(async { tokio::time::timeout(CONNECT, connecting).await })
            .map_err(|_| Failure::Timeout(CONNECT))??;
        Ok(Open {
            runtime: Some(runtime),
            session: Session {
                client,
                statements: HashMap::new(),
            },
            in_transaction: false,
            is_broken: false,
            patience: PATIENCE,
        })
    }

    /// The file is read for each connection, so that another certificate in it is taken up.
    fn tls(&self) -> std::io::Result<Option<MakeRustlsConnect>> {
        let Some(path) = &self.root else {
            return Ok(self.tls.clone());
        };
        let wrong = |why: String| {
            let why = format!("sslrootcert {:?} {why}", path.display().to_string());
            std::io::Error::other(why)
        };
        let text = std::fs::read_to_string(path)
            .map_err(|error| wrong(format!("cannot be read: {error}")))?;
        let certificates = crate::config::Certificates::parse(&text).map_err(wrong)?;
        let tls = without_protocols(upstream::tls_of(&certificates));
        Ok(Some(MakeRustlsConnect::new(tls)))
    }

    fn current(&self) -> Config {
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner);
        config.clone()
    }

    fn migrate(&self, open: &mut Open) -> Result<(), Error> {
        // Records are rewritten; and other nodes wait for the one that does it.
        open.patience = MIGRATION;
        let migrated = self.migrate_slowly(open);
        open.patience = PATIENCE;
        migrated
    }

    fn migrate_slowly(&self, open: &mut Open) -> Result<(), Error> {
        let failed = |source| self.error("migrate its schema", source);
        open.begin().map_err(failed)?;
        open.batch("SET LOCAL statement_timeout = 0")
            .map_err(failed)?;
        let lock = format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})");
        open.batch(&lock).map_err(failed)?;
        // Looked for first: once it is there, nobody needs the right to create it.
        let has_version = "SELECT CASE WHEN to_regclass('iris_schema') IS NULL THEN 0 ELSE 1 END";
        if open.integer(has_version).map_err(failed)? == Some(0) {
            open.batch("CREATE TABLE iris_schema (version BIGINT NOT NULL)")
                .map_err(failed)?;
        }
        let found = open.integer("SELECT max(version) FROM iris_schema");
        let found = found.map_err(failed)?.unwrap_or(0);
        let scripts = missing(&self.name, found)?;
        announce(&self.name, scripts);
        for script in scripts {
            open.batch(&dialect::schema(script)).map_err(failed)?;
        }
        if !scripts.is_empty() {
            let note = format!(
                "DELETE FROM iris_schema; INSERT INTO iris_schema (version) VALUES ({VERSION})"
            );
            open.batch(&note).map_err(failed)?;
        }
        open.commit().map_err(failed)
    }
}

impl Store for Server {
    fn name(&self) -> &str {
        &self.name
    }

    fn take_url(&self, url: &str) -> bool {
        let Ok(other) = Server::parse(url) else {
            return false;
        };
        if other.root != self.root {
            return false;
        }
        let new = other
            .config
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let mut config = self.config.write().unwrap_or_else(PoisonError::into_inner);
        let mut same = config.clone();
        same.password(new.get_password().unwrap_or_default());
        let mut wanted = new.clone();
        wanted.password(new.get_password().unwrap_or_default());
        if same != wanted {
            return false;
        }
        *config = new;
        true
    }

    fn open_writer(&self) -> Result<Box<dyn Connection>, Error> {
        let mut open = self
            .connect()
            .map_err(|source| self.error("connect", source))?;
        self.migrate(&mut open)?;
        Ok(Box::new(open))
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn open_reader(&self) -> Result<Box<dyn Connection>, Error> {
        let failed = |source| self.error("connect", source);
        let mut open = self.connect().map_err(failed)?;
        open.batch("SET default_transaction_read_only = on")
            .map_err(failed)?;
        Ok(Box::new(open))
    }
}

fn is_remote(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            let address = name.parse::<std::net::IpAddr>();
            name != "localhost" && !address.is_ok_and(|address| address.is_loopback())
        }
        Host::Unix(_) => false,
    }
}

fn name(config: &Config) -> String {
    let hosts: Vec<_> = config
        .get_hosts()
        .iter()
        .map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        })
        .collect();
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let database = config
        .get_dbname()
        .or(config.get_user())
        .unwrap_or_default();
    format!("postgres {}:{port}/{database}", hosts.join(","))
}

/// TLS as towards providers, without the versions of HTTP that are offered to them.
fn without_protocols(mut tls: rustls::ClientConfig) -> rustls::ClientConfig {
    tls.alpn_protocols.clear();
    tls
}

/// An error with all its causes: the first says only what kind it is.
pub(super) fn explain(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    if text.contains("UnknownIssuer") || text.contains("CaUsedAsEndEntity") {
        text.push_str(
            "; to trust it, add sslrootcert=/path to the URL: the file must hold the server's own \
             certificate, or that of its authority, as PEM",
        );
    }
    text
}

/// An open connection.
struct Open {
    /// There until the connection is dropped.
    runtime: Option<Runtime>,
    session: Session,
    in_transaction: bool,
    is_broken: bool,
    /// How long an answer may take.
    patience: Duration,
}

struct Session {
    client: Client,
    statements: HashMap<String, Statement>,
}

impl Session {
    async fn prepare(&mut self, sql: &str) -> Result<Statement, tokio_postgres::Error> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        if self.statements.len() >= STATEMENTS {
            self.statements.clear();
        }
        let statement = self.client.prepare(&dialect::statement(sql)).await?;
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}

impl Open {
    /// Runs `work` to its end, and learns from its failure whether the connection is of use still.
    fn wait<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Session) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let (session, patience) = (&mut self.session, self.patience);
        let runtime = self.runtime.as_ref().expect("there until the drop");
        let done = runtime
            .block_on(async { tokio::time::timeout(patience, work(session)).await })
            .unwrap_or(Err(Failure::Timeout(patience)));
        if let Err(failure) = &done {
            self.is_broken |= match failure {
                Failure::Postgres(error) => error
                    .as_db_error()
                    // Class 57 is a server that is going away.
                    .is_none_or(|error| error.code().code().starts_with("57P")),
                Failure::Timeout(_) => true,
                _ => false,
            };
        }
        self.is_broken |= self.session.client.is_closed();
        done
    }

    /// The integer that a query answers with.
    fn integer(&mut self, sql: &str) -> Result<Option<i64>, Failure> {
        let mut found = None;
        self.query(sql, Vec::new(), &mut |mut row| {
            found = row.maybe_integer()?;
            Ok(())
        })?;
        Ok(found)
    }

    fn batch(&mut self, sql: &str) -> Result<(), Failure> {
        self.wait(async |session| Ok(session.client.batch_execute(sql).await?))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // A plain drop would block, which a thread of the outer runtime may not.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Connection for Open {
    fn begin(&mut self) -> Result<(), Failure> {
        self.rollback();
        self.in_transaction = true;
        self.batch("BEGIN")
    }

    fn commit(&mut self) -> Result<(), Failure> {
        self.batch("COMMIT")?;
        self.in_transaction = false;
        Ok(())
    }

    fn rollback(&mut self) {
        if std::mem::take(&mut self.in_transaction)
            && !self.is_broken
            && let Err(error) = self.batch("ROLLBACK")
        {
            tracing::warn!(%error, "ledger: a transaction could not be undone");
            self.is_broken = true;
        }
    }

    fn execute(&mut self, sql: &str, rows: Vec<Vec<Value<'_>>>) -> Result<Vec<u64>, Failure> {
        self.wait(async |session| {
            let statement = session.prepare(sql).await?;
            // All are sent before the first answer is waited for.
            let sent = rows
                .into_iter()
                .map(|values| session.client.execute_raw(&statement, values));
            Ok(future::try_join_all(sent).await?)
        })
    }

    fn query(
        &mut self,
        sql: &str,
        values: Vec<Value<'_>>,
        each: &mut dyn FnMut(Row) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.wait(async |session| {
            let statement = session.prepare(sql).await?;
            let rows = session.client.query_raw(&statement, values).await?;
            let mut rows = std::pin::pin!(rows);
            while let Some(row) = rows.try_next().await? {
                let values = (0..row.len()).map(|nth| value(&row, nth));
                each(Row::new(values.collect::<Result<_, _>>()?))?;
            }
            Ok(())
        })
    }

    fn lock(&self) -> &'static str {
        " FOR UPDATE"
    }

    /// The server's vacuum frees what was deleted, when it thinks fit.
    fn scrub(&mut self) -> Result<bool, Failure> {
        Ok(true)
    }

    fn is_broken(&self) -> bool {
        self.is_broken
    }
}

impl ToSql for Value<'_> {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match (self, kind) {
            (Value::Null, _) => Ok(IsNull::Yes),
            (Value::Integer(value), &Type::INT8) => value.to_sql(kind, out),
            (Value::Real(value), &Type::FLOAT8) => value.to_sql(kind, out),
            (Value::Text(text), &Type::TEXT) => text.to_sql(kind, out),
            (Value::Bytes(bytes), &Type::BYTEA) => bytes.to_sql(kind, out),
            _ => Err(format!("a value of another type where {kind} is bound").into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

fn value(row: &tokio_postgres::Row, nth: usize) -> Result<Value<'static>, Failure> {
    Ok(match *row.columns()[nth].type_() {
        Type::INT8 => row.try_get::<_, Option<i64>>(nth)?.into(),
        Type::INT4 => row.try_get::<_, Option<i32>>(nth)?.map(i64::from).into(),
        Type::FLOAT8 => row.try_get::<_, Option<f64>>(nth)?.into(),
        Type::TEXT => row
            .try_get::<_, Option<String>>(nth)?
            .map_or(Value::Null, |text| Value::Text(text.into())),
        Type::BYTEA => row
            .try_get::<_, Option<Vec<u8>>>(nth)?
            .map_or(Value::Null, |bytes| Value::Bytes(bytes.into())),
        ref other => return Err(Failure::Value(format!("a column of type {other}"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Server, String> {
        Server::parse(url).map_err(|error| error.to_string())
    }

    #[test]
    fn urls_say_whether_there_is_tls_and_names_hide_the_password() {
        let server = parse("postgres://iris:hush@db.test:5433/records?sslmode=verify-full");
        let server = server.unwrap();
        assert_eq!(server.name, "postgres db.test:5433/records");
        assert!(server.tls.is_some());
        assert!(parse("postgresql://iris@localhost").unwrap().tls.is_none());
        for wrong in [
            "postgres://iris:hush@db.test/x?sslmode=some",
            "postgres://iris:hush@db.test:port/x",
            "postgres:///records",
        ] {
            let error = parse(wrong).err().unwrap();
            assert!(!error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn another_password_is_taken_and_another_database_is_not() {
        let server = parse("postgres://iris:old@db.test/records").unwrap();
        for (url, taken) in [
            ("postgres://iris:new@db.test/records", true),
            ("postgres://iris@db.test/records", true),
            ("postgres://iris:new@evil.test/records", false),
            ("postgres://other:new@db.test/records", false),
            ("postgres://iris:new@db.test/other", false),
            ("postgres://iris:new@db.test:1/records", false),
            ("postgres://iris:new@db.test/records?sslmode=require", false),
            (
                "postgres://iris:new@db.test/records?sslmode=require&sslrootcert=/ca.pem",
                false,
            ),
            ("sqlite:iris.db", false),
            ("postgres://iris:last@db.test/records", true),
        ] {
            assert_eq!(server.take_url(url), taken, "{url}");
        }
        let config = server.config.into_inner().unwrap();
        assert_eq!(config.get_password(), Some(&b"last"[..]));
    }

    #[test]
    fn a_server_of_this_machine_is_not_far() {
        for (name, expected) in [
            ("localhost", false),
            ("127.0.0.1", false),
            ("::1", false),
            ("db.test", true),
            ("192.0.2.1", true),
            ("localhost.test", true),
        ] {
            assert_eq!(is_remote(&Host::Tcp(name.to_owned())), expected, "{name}");
        }
        assert!(!is_remote(&Host::Unix("/run/postgresql".into())));
    }
}
