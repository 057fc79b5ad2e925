//! `PostgreSQL`, which several nodes may share. Blocks like the other store: a thread that waits for an
//! answer runs its connection meanwhile, on the one runtime of all connections.
//!
//! The pool is ours (`records::pool`), because `SQLite` has the same one. One of a library would have to
//! be taught what is particular here: that connections which are open do the work when a server takes no
//! more, that those from before a failover are not used any more, and what may be done twice.

mod bulk;
mod connect;
mod open;
mod session;
mod value;

use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls_improved::MakeRustlsConnect;

use crate::net::client;
use crate::records::stores::{Connection, Schema, Store, VERSION};
use crate::records::{Error, Failure};
use open::{PATIENCE, ServerConnection};

/// A peer that acknowledges nothing for this long is gone; a server that is only slow acknowledges.
const SILENCE: Duration = Duration::from_secs(10);

/// Connections that are idle are kept alive at these times: firewalls forget sooner than the two
/// hours of the driver.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;
/// The driver's own time, which stands for none in the URL.
const KEEPALIVE_UNSET: Duration = Duration::from_hours(2);

/// Waits for a change of the schema.
const MIGRATION: Duration = Duration::from_hours(1);

/// Taken while the schema is looked at and changed, so that only one process migrates.
const MIGRATION_LOCK: i64 = 0x6972_6973_0001;

/// The schema in this database's dialect.
const SCHEMA: Schema = Schema {
    new: [include_str!("schema.sql")],
    migrations: [
        include_str!("migrations/2_buckets.sql"),
        include_str!("migrations/3_outbox.sql"),
        include_str!("migrations/4_audit.sql"),
        include_str!("migrations/5_exports.sql"),
        include_str!("migrations/6_chats.sql"),
        include_str!("migrations/7_identity.sql"),
        include_str!("migrations/8_audit_caller.sql"),
        include_str!("migrations/9_reasons.sql"),
        include_str!("migrations/10_numbers.sql"),
        include_str!("migrations/11_journal.sql"),
        include_str!("migrations/12_own_credentials.sql"),
        include_str!("migrations/13_labels.sql"),
        include_str!("migrations/14_objects.sql"),
        include_str!("migrations/15_object_ids.sql"),
    ],
};

/// Where the server is.
pub(super) struct Server {
    /// Replaced where the password is another one.
    config: RwLock<Config>,
    name: String,
    tls: Option<MakeRustlsConnect>,
    /// The file with the certificates that the server is trusted by, in place of the machine's.
    root: Option<PathBuf>,
    /// Grows when a server turns out to be none that takes writes: connections from before are not
    /// used any more.
    generation: Arc<AtomicU64>,
}

impl Server {
    pub(super) fn parse(url: &str) -> Result<Server, Error> {
        let mut config = crate::config::postgres(url).map_err(Error::Url)?;
        let (_, root) = crate::config::postgres_root(url).map_err(Error::Url)?;
        keep_alive(&mut config);
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
            tls: tls.then(|| MakeRustlsConnect::new(without_protocols(client::tls()))),
            root,
            generation: Arc::default(),
        })
    }

    fn connect(&self, writes: bool) -> Result<ServerConnection, Failure> {
        let tls = self.tls()?;
        ServerConnection::connect(&self.current(), tls.as_ref(), writes, &self.generation)
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
        let tls = without_protocols(client::tls_of(&certificates));
        Ok(Some(MakeRustlsConnect::new(tls)))
    }

    fn current(&self) -> Config {
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner);
        config.clone()
    }

    fn migrate(&self, open: &mut ServerConnection) -> Result<(), Error> {
        // Records are rewritten; and other nodes wait for the one that does it.
        open.patience = MIGRATION;
        let migrated = self.migrate_slowly(open);
        open.patience = PATIENCE;
        migrated
    }

    fn migrate_slowly(&self, open: &mut ServerConnection) -> Result<(), Error> {
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
        let scripts = SCHEMA.begin(&self.name, found)?;
        for script in scripts {
            open.batch(script).map_err(failed)?;
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
            .connect(true)
            .map_err(|source| self.error("connect", source))?;
        self.migrate(&mut open)?;
        Ok(Box::new(open))
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn open_reader(&self) -> Result<Box<dyn Connection>, Error> {
        let open = self.connect(false);
        Ok(Box::new(
            open.map_err(|source| self.error("connect", source))?,
        ))
    }
}

/// Sets what the URL leaves open of how a connection is known to be gone.
fn keep_alive(config: &mut Config) {
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(SILENCE);
    }
    if config.get_keepalives_idle() == KEEPALIVE_UNSET {
        config.keepalives_idle(KEEPALIVE);
    }
    if config.get_keepalives_interval().is_none() {
        config.keepalives_interval(KEEPALIVE_INTERVAL);
    }
    if config.get_keepalives_retries().is_none() {
        config.keepalives_retries(KEEPALIVE_RETRIES);
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

/// An error of the driver, with all that it says.
#[derive(Debug, thiserror::Error)]
#[error("{}", explain(.0))]
struct DriverError(tokio_postgres::Error);

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Failure {
        Failure::Driver(Box::new(DriverError(error)))
    }
}

/// An error with all its causes: the first says only what kind it is.
fn explain(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
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
    fn a_url_decides_how_a_connection_is_known_to_be_gone() {
        let config = |url: &str| parse(url).unwrap().current();
        let ours = config("postgres://iris@db.test/x");
        assert_eq!(ours.get_keepalives_idle(), KEEPALIVE);
        assert_eq!(ours.get_keepalives_interval(), Some(KEEPALIVE_INTERVAL));
        assert_eq!(ours.get_keepalives_retries(), Some(KEEPALIVE_RETRIES));
        assert_eq!(ours.get_tcp_user_timeout(), Some(&SILENCE));
        assert_eq!(ours.get_connect_timeout(), None);
        let theirs = config(
            "postgres://iris@db.test/x?keepalives_idle=60&keepalives_interval=9\
             &keepalives_retries=8&tcp_user_timeout=7&connect_timeout=2",
        );
        let second = Duration::from_secs;
        assert_eq!(theirs.get_keepalives_idle(), second(60));
        assert_eq!(theirs.get_keepalives_interval(), Some(second(9)));
        assert_eq!(theirs.get_keepalives_retries(), Some(8));
        assert_eq!(theirs.get_tcp_user_timeout(), Some(&second(7)));
        assert_eq!(theirs.get_connect_timeout(), Some(&second(2)));
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
