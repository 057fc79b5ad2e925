//! `SQLite`: one file, or memory.

mod failure;
mod files;

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, OpenFlags, ToSql, TransactionBehavior, params_from_iter};

use crate::records::stores::{Connection, Names, Row, Rows, Schema, Store, VERSION, Value};
use crate::records::{Error, Failure};
use files::Files;

/// The first `SQLite` without the race that can corrupt a database when one connection resets the
/// write-ahead log while another checkpoints.
const SQLITE_MINIMUM: i32 = 3_051_003;

/// Opening and reading wait this long for another process's lock.
const BUSY: Duration = Duration::from_secs(5);

/// The writer waits less: it retries by itself, and a lock held this long should show as
/// unhealthy.
const WRITER_BUSY: Duration = Duration::from_millis(500);

/// Pages of the write-ahead log, of 4 KiB, at which they are moved to the file. The sums of a busy
/// day are spread over more pages than the default of 1,000, and would be moved with every group.
const CHECKPOINT_PAGES: i64 = 8_000;

/// Memory for pages, in KiB below zero as `SQLite` wants it. Folding is as fast with 4 MiB as with 64.
const WRITER_CACHE: i64 = -16 * 1024;
const READER_CACHE: i64 = -16 * 1024;

/// Statements that a connection keeps compiled.
const STATEMENTS: usize = 64;

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

/// The database, by where it is.
pub(crate) struct SqliteStore {
    at: At,
    name: String,
    /// Those that are open.
    files: Files,
}

enum At {
    File(PathBuf),
    /// A database in memory that the process's connections share by this name.
    Memory(String),
}

impl SqliteStore {
    pub(crate) fn parse(url: &str, dir: &Path) -> Result<SqliteStore, Error> {
        if let Some(problem) = crate::config::database_problem(url) {
            return Err(Error::Url(problem));
        }
        let rest = url.strip_prefix("sqlite:").unwrap_or_default();
        if rest == ":memory:" {
            let name = getrandom::u64().expect("the operating system gave no random bytes");
            return Ok(SqliteStore {
                at: At::Memory(format!("file:/iris-ledger-{name:016x}?vfs=memdb")),
                name: ":memory:".to_owned(),
                files: Files::default(),
            });
        }
        let path = rest.strip_prefix("//").unwrap_or(rest);
        let path = dir.join(path);
        Ok(SqliteStore {
            name: path.display().to_string(),
            at: At::File(path),
            files: Files::default(),
        })
    }

    fn connect(&self, access: OpenFlags) -> Result<rusqlite::Connection, Error> {
        // A connection is used by one thread at a time, so SQLite's own mutex is not needed.
        let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = match &self.at {
            At::File(path) => rusqlite::Connection::open_with_flags(path, flags),
            At::Memory(name) => rusqlite::Connection::open_with_flags(
                name,
                flags | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_CREATE,
            ),
        };
        let connection = connection.map_err(|source| self.sqlite("open it", source))?;
        connection
            .busy_timeout(BUSY)
            .map_err(|source| self.sqlite("open it", source))?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(connection)
    }

    fn sqlite(&self, action: &'static str, source: rusqlite::Error) -> Error {
        self.error(action, source.into())
    }

    fn version(&self, connection: &rusqlite::Connection) -> Result<i64, Error> {
        connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(|source| self.sqlite("read its schema version", source))
    }

    /// Whether this build knows the version of the database.
    fn check(&self, connection: &rusqlite::Connection) -> Result<(), Error> {
        let found = self.version(connection)?;
        SCHEMA.missing(&self.name, found).map(drop)
    }

    fn migrate(&self, connection: &mut rusqlite::Connection) -> Result<(), Error> {
        let sqlite = |source| self.sqlite("migrate its schema", source);
        // The version is read under the write lock, so that two processes cannot both migrate.
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(sqlite)?;
        let found = self.version(&transaction)?;
        for script in SCHEMA.begin(&self.name, found)? {
            transaction.execute_batch(script).map_err(sqlite)?;
        }
        transaction
            .pragma_update(None, "user_version", VERSION)
            .map_err(sqlite)?;
        transaction.commit().map_err(sqlite)
    }
}

impl Store for SqliteStore {
    fn name(&self) -> &str {
        &self.name
    }

    fn misplaced(&self) -> Option<String> {
        self.files.changed()
    }

    fn is_file(&self) -> bool {
        matches!(self.at, At::File(_))
    }

    fn probe(&self) -> Result<(), Error> {
        let At::File(path) = &self.at else {
            return Ok(());
        };
        let error = |cause: std::io::Error| Error::File {
            action: "use",
            path: path.clone(),
            cause,
        };
        if path.is_dir() {
            return Err(error(ErrorKind::IsADirectory.into()));
        }
        if path.exists() {
            let connection = self.connect(OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            return self.check(&connection);
        }
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        rustix::fs::access(folder, rustix::fs::Access::WRITE_OK)
            .map_err(|source| error(source.into()))
    }

    fn open_writer(&self) -> Result<Box<dyn Connection>, Error> {
        if rusqlite::version_number() < SQLITE_MINIMUM {
            return Err(Error::SqliteVersion(rusqlite::version()));
        }
        if let At::File(path) = &self.at {
            create(path)?;
        }
        let mut connection = self.connect(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        // The version comes first: a database from a newer build must not be touched.
        self.check(&connection)?;
        let sqlite = |action| move |source| self.sqlite(action, source);
        let mode: String = connection
            .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
            .map_err(sqlite("turn on the write-ahead log"))?;
        if matches!(self.at, At::File(_)) && !mode.eq_ignore_ascii_case("wal") {
            return Err(Error::NoWal {
                name: self.name.clone(),
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
        for (name, value) in [
            ("wal_autocheckpoint", CHECKPOINT_PAGES),
            ("cache_size", WRITER_CACHE),
        ] {
            connection
                .pragma_update(None, name, value)
                .map_err(sqlite("set its pragmas"))?;
        }
        // What is deleted is written over.
        connection
            .pragma_update_and_check(None, "secure_delete", "ON", |_| Ok(()))
            .map_err(sqlite("turn on secure deletion"))?;
        self.migrate(&mut connection)?;
        if let At::File(path) = &self.at {
            let beside = ["", "-wal", "-shm"].map(|ending| {
                let mut name = path.as_os_str().to_owned();
                name.push(ending);
                PathBuf::from(name)
            });
            self.files.open(beside);
        }
        connection
            .busy_timeout(WRITER_BUSY)
            .map_err(sqlite("set its busy timeout"))?;
        Ok(Box::new(FileConnection {
            open: connection,
            names: Names::default(),
        }))
    }

    fn open_reader(&self) -> Result<Box<dyn Connection>, Error> {
        let connection = match self.at {
            At::File(_) => self.connect(OpenFlags::SQLITE_OPEN_READ_ONLY)?,
            At::Memory(_) => self.connect(OpenFlags::SQLITE_OPEN_READ_WRITE)?,
        };
        connection
            .pragma_update(None, "query_only", "ON")
            .and_then(|()| connection.pragma_update(None, "cache_size", READER_CACHE))
            .map_err(|source| self.sqlite("make a connection read-only", source))?;
        Ok(Box::new(FileConnection {
            open: connection,
            names: Names::default(),
        }))
    }
}

/// Creates the file readable by its owner alone; `SQLite` gives its -wal and -shm the same mode.
fn create(path: &Path) -> Result<(), Error> {
    let error = |action| {
        move |cause| Error::File {
            action,
            path: path.into(),
            cause,
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

/// An open connection.
struct FileConnection {
    open: rusqlite::Connection,
    names: Names,
}

impl FileConnection {
    /// `SQLite` numbers the values of a statement as they come, whatever number stands behind the `$`.
    fn prepare(&self, sql: &str) -> Result<CachedStatement<'_>, Failure> {
        let statement = self.open.prepare_cached(sql)?;
        debug_assert!(
            (1..=statement.parameter_count())
                .all(|nth| statement.parameter_name(nth) == Some(&*format!("${nth}"))),
            "values out of order in {sql}"
        );
        Ok(statement)
    }
}

impl Connection for FileConnection {
    fn begin(&mut self) -> Result<(), Failure> {
        self.rollback();
        Ok(self.open.execute_batch("BEGIN IMMEDIATE")?)
    }

    fn commit(&mut self) -> Result<(), Failure> {
        Ok(self.open.execute_batch("COMMIT")?)
    }

    fn rollback(&mut self) {
        if !self.open.is_autocommit()
            && let Err(error) = self.open.execute_batch("ROLLBACK")
        {
            tracing::warn!(%error, "ledger: a transaction could not be undone");
        }
    }

    fn execute(&mut self, sql: &str, rows: Rows<'_>) -> Result<Vec<u64>, Failure> {
        let mut statement = self.prepare(sql)?;
        rows.iter()
            .map(|values| Ok(statement.execute(params_from_iter(values))? as u64))
            .collect()
    }

    fn query(
        &mut self,
        sql: &str,
        values: Vec<Value<'_>>,
        each: &mut dyn FnMut(Row) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut statement = self.prepare(sql)?;
        let columns = statement.column_count();
        let mut rows = statement.query(params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            let values = (0..columns).map(|nth| Ok(value(row.get_ref(nth)?)));
            each(Row::new(values.collect::<rusqlite::Result<_>>()?))?;
        }
        Ok(())
    }

    fn names(&mut self) -> &mut Names {
        &mut self.names
    }

    /// Pages that were written over are in the write-ahead log first, and the old ones too.
    fn scrub(&mut self) -> Result<bool, Failure> {
        let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
        let busy: i64 = self.open.query_row(sql, [], |row| row.get(0))?;
        Ok(busy == 0)
    }

    fn is_broken(&self) -> bool {
        false
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Null => ValueRef::Null,
            Value::Integer(value) => ValueRef::Integer(*value),
            Value::Real(value) => ValueRef::Real(*value),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

fn value(read: ValueRef<'_>) -> Value<'static> {
    match read {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(value) => Value::Integer(value),
        ValueRef::Real(value) => Value::Real(value),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned().into()),
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::Ledger;
    use crate::records::tests::said;

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
    fn a_file_that_others_can_read_is_told_of() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.db");
        for (mode, is_told) in [(0o600, false), (0o640, true), (0o604, true), (0o700, false)] {
            File::create(&path).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            let log = said(|| create(&path).unwrap());
            assert_eq!(log.contains("chmod 600"), is_told, "{mode:o}: {log}");
        }
        let error = create(&dir.path().join("none/ledger.db")).unwrap_err();
        assert!(error.to_string().contains("cannot create"), "{error}");
    }

    #[test]
    fn a_file_that_is_no_database_is_called_damaged() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ledger.db"), [b'x'; 8_192]).unwrap();
        let error = Ledger::open("sqlite:ledger.db", dir.path()).err().unwrap();
        assert!(error.to_string().contains("damaged"), "{error}");
    }

    #[test]
    fn a_transaction_that_is_undone_leaves_nothing() {
        let place = SqliteStore::parse("sqlite::memory:", Path::new(".")).unwrap();
        assert_eq!(place.name(), ":memory:");
        let mut open = place.open_writer().unwrap();
        assert!(!open.is_broken());
        open.begin().unwrap();
        let insert = "INSERT INTO export_cursor (name, last_entry) VALUES ('s3', '')";
        open.execute(insert, Rows::one([])).unwrap();
        open.rollback();
        let mut count = None;
        open.query(
            "SELECT COUNT(*) FROM export_cursor",
            vec![],
            &mut |mut row| {
                count = row.maybe_integer()?;
                Ok(())
            },
        )
        .unwrap();
        assert_eq!(count, Some(0));
        assert_eq!(said(|| open.rollback()), "", "there is nothing to undo");
    }

    #[test]
    fn a_newer_schema_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.db");
        drop(Ledger::open("sqlite:ledger.db", dir.path()).unwrap());
        rusqlite::Connection::open(&path)
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
    fn urls_that_name_no_database_are_refused() {
        let open = |url| Ledger::open(url, Path::new(".")).err().unwrap().to_string();
        for url in [
            "sqlite:",
            "sqlite::other:",
            "sqlite:ledger.db?mode=ro",
            "mysql://h",
        ] {
            assert!(open(url).contains("invalid database URL"), "{url}");
        }
        #[cfg(not(feature = "postgres"))]
        assert!(open("postgres://u:p@h/d").contains("without PostgreSQL"));
    }
}
