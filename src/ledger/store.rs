//! Where the ledger lives: its URL, its file, its connections and its schema.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::Error;

/// The scripts that bring a database from version N to N + 1. Only ever appended to.
const MIGRATIONS: &[&str] = &[include_str!("schema.sql")];
/// The version that these lead to.
const VERSION: i64 = 1;
const _: () = assert!(MIGRATIONS.len() == 1, "VERSION counts the migrations");

/// The first `SQLite` without the race that can corrupt a database when one connection resets the
/// write-ahead log while another checkpoints.
const SQLITE_MINIMUM: i32 = 3_051_003;

/// Opening and reading wait this long for another process's lock.
const BUSY: Duration = Duration::from_secs(5);

/// The writer waits less: it retries by itself, and a lock held this long should show as
/// unhealthy.
const WRITER_BUSY: Duration = Duration::from_millis(500);

pub(super) enum Store {
    File(PathBuf),
    /// A database in memory that the process's connections share by this name.
    Memory(String),
}

impl Store {
    pub(super) fn parse(url: &str, dir: &Path) -> Result<Store, Error> {
        if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            return Err(Error::Postgres);
        }
        let rest = url
            .strip_prefix("sqlite:")
            .ok_or_else(|| Error::Url(url.into()))?;
        if rest == ":memory:" {
            let name = getrandom::u64().expect("the operating system gave no random bytes");
            return Ok(Store::Memory(format!(
                "file:/iris-ledger-{name:016x}?vfs=memdb"
            )));
        }
        let path = rest.strip_prefix("//").unwrap_or(rest);
        if path.is_empty() || path.starts_with(':') || path.contains('?') {
            return Err(Error::Url(url.into()));
        }
        Ok(Store::File(dir.join(path)))
    }

    /// The file, or the name that stands for it in messages.
    pub(super) fn path(&self) -> PathBuf {
        match self {
            Store::File(path) => path.clone(),
            Store::Memory(_) => PathBuf::from(":memory:"),
        }
    }

    /// The one connection that writes, with the schema brought up to date.
    pub(super) fn open_writer(&self) -> Result<Connection, Error> {
        if rusqlite::version_number() < SQLITE_MINIMUM {
            return Err(Error::SqliteVersion(rusqlite::version()));
        }
        if let Store::File(path) = self {
            create(path)?;
        }
        let mut connection = self.connect(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        // The version comes first: a database from a newer build must not be touched.
        self.check_version(&connection)?;
        let sqlite = |action| move |source| self.error(action, source);
        let mode: String = connection
            .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
            .map_err(sqlite("turn on the write-ahead log"))?;
        if matches!(self, Store::File(_)) && !mode.eq_ignore_ascii_case("wal") {
            return Err(Error::NoWal {
                path: self.path(),
                mode,
            });
        }
        // NORMAL loses committed records at a power cut. On macOS only a full fsync reaches the
        // disk.
        for (name, value) in [
            ("synchronous", "FULL"),
            ("fullfsync", "ON"),
            ("checkpoint_fullfsync", "ON"),
        ] {
            connection
                .pragma_update(None, name, value)
                .map_err(sqlite("set its durability pragmas"))?;
        }
        self.migrate(&mut connection)?;
        connection
            .busy_timeout(WRITER_BUSY)
            .map_err(sqlite("set its busy timeout"))?;
        Ok(connection)
    }

    /// A connection that cannot write.
    pub(super) fn open_reader(&self) -> Result<Connection, Error> {
        let connection = match self {
            Store::File(_) => self.connect(OpenFlags::SQLITE_OPEN_READ_ONLY)?,
            Store::Memory(_) => self.connect(OpenFlags::SQLITE_OPEN_READ_WRITE)?,
        };
        connection
            .pragma_update(None, "query_only", "ON")
            .map_err(|source| self.error("make a connection read-only", source))?;
        Ok(connection)
    }

    pub(super) fn error(&self, action: &'static str, source: rusqlite::Error) -> Error {
        Error::Sqlite {
            action,
            path: self.path(),
            source,
        }
    }

    fn connect(&self, access: OpenFlags) -> Result<Connection, Error> {
        // A connection is used by one thread at a time, so SQLite's own mutex is not needed.
        let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = match self {
            Store::File(path) => Connection::open_with_flags(path, flags),
            Store::Memory(name) => Connection::open_with_flags(
                name,
                flags | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_CREATE,
            ),
        }
        .map_err(|source| self.error("open it", source))?;
        connection
            .busy_timeout(BUSY)
            .map_err(|source| self.error("open it", source))?;
        Ok(connection)
    }

    fn check_version(&self, connection: &Connection) -> Result<usize, Error> {
        let found: i64 = connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(|source| self.error("read its schema version", source))?;
        match usize::try_from(found) {
            Ok(version) if version <= MIGRATIONS.len() => Ok(version),
            _ => Err(Error::Newer {
                path: self.path(),
                found,
                known: VERSION,
            }),
        }
    }

    fn migrate(&self, connection: &mut Connection) -> Result<(), Error> {
        let sqlite = |source| self.error("migrate its schema", source);
        // The version is read under the write lock, so that two processes cannot both migrate.
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(sqlite)?;
        let version = self.check_version(&transaction)?;
        for script in &MIGRATIONS[version..] {
            transaction.execute_batch(script).map_err(sqlite)?;
        }
        transaction
            .pragma_update(None, "user_version", VERSION)
            .map_err(sqlite)?;
        transaction.commit().map_err(sqlite)
    }
}

/// Creates the file readable by its owner alone; `SQLite` gives its -wal and -shm the same mode.
fn create(path: &Path) -> Result<(), Error> {
    let error = |action| {
        move |source| Error::File {
            action,
            path: path.into(),
            source,
        }
    };
    match OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
    {
        Ok(file) => {
            file.sync_all().map_err(error("create"))?;
            // Without this a power cut can forget the file's name along with its records.
            let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
            let dir = File::open(dir.unwrap_or(Path::new(".")));
            dir.and_then(|dir| dir.sync_all())
                .map_err(error("sync the directory of"))
        }
        Err(exists) if exists.kind() == ErrorKind::AlreadyExists => {
            let mode = std::fs::metadata(path)
                .map_err(error("read"))?
                .permissions()
                .mode();
            if mode & 0o077 != 0 {
                tracing::warn!(
                    path = %path.display(),
                    mode = format!("{:o}", mode & 0o777),
                    "ledger: the database can be read by others; chmod 600 it"
                );
            }
            Ok(())
        }
        Err(source) => Err(error("create")(source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Ledger;

    #[tokio::test]
    async fn the_files_belong_to_their_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open("sqlite:ledger.db", dir.path()).unwrap();
        ledger.flush().await.unwrap();
        for name in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
            let mode = std::fs::metadata(dir.path().join(name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_newer_schema_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.db");
        drop(Ledger::open("sqlite:ledger.db", dir.path()).unwrap());
        Connection::open(&path)
            .unwrap()
            .pragma_update(None, "user_version", 99)
            .unwrap();
        let error = Ledger::open("sqlite:ledger.db", dir.path())
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("schema is version 99"), "{error}");
    }

    #[test]
    fn only_sqlite_urls_open() {
        let open = |url| Ledger::open(url, Path::new(".")).err().unwrap().to_string();
        assert_eq!(
            open("postgres://u:p@h/d"),
            "postgres:// is not supported yet by this build"
        );
        assert!(open("sqlite:").contains("use \"sqlite:path\""));
        assert!(open("mysql://h").contains("use \"sqlite:path\""));
    }
}
