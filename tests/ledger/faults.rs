//! Failures of databases, and several nodes on one.

use std::collections::HashSet;
use std::time::Duration;

use iris::records::{EntryId, Ledger, Query, Record, Scope};

use crate::store::{Place, all, entry, full, write};
use support::harness::Test;
use support::tests;

pub(crate) const LASTING: &[Test<Place>] = tests![
    Place;
    opening_again_migrates_nothing,
    two_ledgers_share_a_database,
];
pub(crate) const POSTGRES: &[Test<Place>] = tests![
    Place;
    many_that_start_at_once_migrate_once,
    a_killed_server_loses_and_doubles_nothing,
    connections_are_kept,
    a_newer_schema_is_refused,
    a_user_without_the_right_to_create_can_write,
    tls_is_used_and_verified_where_asked_for,
    a_server_is_trusted_by_the_file_that_its_url_names,
];

/// Whether the sums by day and by session are those over the entries.
async fn assert_sums_agree(place: &Place) {
    let sums = "CAST(COALESCE(SUM(requests), 0) AS BIGINT), \
        CAST(COALESCE(SUM(input_tokens), 0) AS BIGINT), CAST(COALESCE(SUM(cost), 0) AS BIGINT)";
    let entries = place
        .integers(
            "SELECT COUNT(*), CAST(COALESCE(SUM(input_tokens), 0) AS BIGINT), \
             CAST(COALESCE(SUM(cost), 0) AS BIGINT) FROM entries",
        )
        .await;
    let sessions = place
        .integers(&format!("SELECT {sums} FROM sessions"))
        .await;
    assert_eq!(sessions, entries);
    // Without a header, every table holds every entry.
    for table in ["usage_days", "usage_hours", "usage_callers"] {
        let sql = format!("SELECT {sums} FROM {table} WHERE header = 0");
        assert_eq!(place.integers(&sql).await, entries, "{table}");
    }
}

async fn opening_again_migrates_nothing(place: &Place) {
    let ledger = place.open();
    let record: Record = entry(1_000, "ann@example.com", "s").into();
    write(&ledger, [record.clone()]).await;
    drop(ledger);
    for _ in 0..2 {
        let ledger = place.open();
        assert_eq!(all(&ledger).await[0], record.entry);
        assert_eq!(all(&ledger).await.len(), 1);
    }
    assert_sums_agree(place).await;
}

async fn two_ledgers_share_a_database(place: &Place) {
    let ledgers = [place.open(), place.open()];
    let is_server = place.url.starts_with("postgres");
    assert!(ledgers.iter().all(|ledger| ledger.is_shared() == is_server));
    let tasks: Vec<_> = (0..8)
        .map(|task: i64| {
            let ledger = ledgers[usize::from(task % 2 == 0)].clone();
            tokio::spawn(async move {
                for n in 0..50 {
                    // The same days, models, logins and sessions: both write the same sums.
                    let login = format!("user{}@example.com", n % 5);
                    let one = entry(task * 1_000 + n, &login, "shared");
                    ledger.admit().unwrap().record(full(one, "x"));
                    if n % 10 == 0 {
                        ledger.flush().await.unwrap();
                    }
                }
                ledger.flush().await.unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    for ledger in &ledgers {
        assert_eq!(all(ledger).await.len(), 400);
        let page = ledger.sessions(Scope::Everyone, Query::default()).await;
        let page = page.unwrap();
        assert_eq!(page.len(), 5);
        assert!(page.iter().all(|session| session.counts.requests == 80));
    }
    assert_sums_agree(place).await;
}

async fn many_that_start_at_once_migrate_once(place: &Place) {
    let opening: Vec<_> = (0..6)
        .map(|_| {
            let (url, dir) = (place.url.clone(), place.file().to_owned());
            std::thread::spawn(move || Ledger::open(&url, &dir).map(drop))
        })
        .collect();
    for opened in opening {
        opened.join().unwrap().unwrap();
    }
    let versions = place
        .integers("SELECT COUNT(*), max(version) FROM iris_schema")
        .await;
    assert_eq!(versions[0], 1);
    assert!(versions[1] >= 3, "the last script has run");
}

async fn connections_are_kept(place: &Place) {
    let url = format!("{}?application_name=kept", place.url);
    let ledger = Ledger::open(&url, place.file()).unwrap();
    let client = place.client().await;
    let mut seen = HashSet::<i32>::new();
    for nth in 0..3 {
        write(&ledger, [full(entry(nth, "ann@example.com", "s"), "x")]).await;
        all(&ledger).await;
        let sql = "SELECT pid FROM pg_stat_activity WHERE application_name = 'kept'";
        let rows = client.query(sql, &[]).await.unwrap();
        seen.extend(rows.iter().map(|row| row.get::<_, i32>(0)));
    }
    // The writer's, a reader's, and the one that folds.
    assert_eq!(seen.len(), 3);
}

async fn a_newer_schema_is_refused(place: &Place) {
    drop(place.open());
    let client = place.client().await;
    let newer = "UPDATE iris_schema SET version = 99";
    client.batch_execute(newer).await.unwrap();
    let error = Ledger::open(&place.url, place.file()).err().unwrap();
    assert!(
        error.to_string().contains("schema is version 99"),
        "{error}"
    );
}

async fn a_killed_server_loses_and_doubles_nothing(place: &Place) {
    let ledger = place.open();
    let mut sent = HashSet::<EntryId>::new();
    let mut send = |from: i64, count: i64| {
        for n in from..from + count {
            let one = entry(
                n,
                &format!("user{}@example.com", n % 7),
                &format!("s{}", n % 11),
            );
            sent.insert(one.id.clone());
            ledger.admit().unwrap().record(full(one, "x"));
        }
    };
    // A pooled connection of a reader that the kill breaks.
    assert!(all(&ledger).await.is_empty());
    for round in 0..4 {
        send(round * 10_000, 3_000);
        // In the midst of the groups, at another moment each time.
        tokio::time::sleep(Duration::from_millis(40 + 90 * round.unsigned_abs())).await;
        let server = place.server().clone();
        tokio::task::spawn_blocking(move || server.kill())
            .await
            .unwrap();
        send(round * 10_000 + 5_000, 200);
        while ledger.healthy() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        place.server().restart().await;
        ledger.flush().await.unwrap();
        assert!(ledger.healthy());
    }
    let found = all(&ledger).await;
    assert_eq!(found.len(), sent.len());
    let found: HashSet<_> = found.into_iter().map(|entry| entry.id).collect();
    assert_eq!(found, sent);
    assert_sums_agree(place).await;
}

async fn a_user_without_the_right_to_create_can_write(place: &Place) {
    drop(place.open());
    let client = place.client().await;
    let user = format!("writer_of_{}", place.database);
    let setup = format!(
        "CREATE ROLE {user} LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {user}"
    );
    client.batch_execute(&setup).await.unwrap();
    let url = place.server().url_of(&user, "127.0.0.1", &place.database);
    let ledger = Ledger::open(&url, place.file()).unwrap();
    let record = full(entry(1_000, "ann@example.com", "s"), "x");
    write(&ledger, [record]).await;
    assert_eq!(all(&ledger).await.len(), 1);
}

async fn tls_is_used_and_verified_where_asked_for(place: &Place) {
    let client = place.client().await;
    for (mode, encrypted) in [
        ("require", true),
        ("verify-full", true),
        ("disable", false),
        ("prefer", false),
    ] {
        let url = format!("{}?sslmode={mode}&application_name={mode}", place.url);
        let ledger = Ledger::open(&url, place.file()).unwrap();
        // A reader as well as the writer, and perhaps the one that folds.
        assert!(all(&ledger).await.is_empty());
        let sql = "SELECT COUNT(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
            WHERE ssl = $2 AND application_name = $1";
        for is_ssl in [true, false] {
            let count = client.query_one(sql, &[&mode, &is_ssl]).await.unwrap();
            let count: i64 = count.get(0);
            assert_eq!(count >= 2, is_ssl == encrypted, "{mode}");
            assert!(count >= 2 || count == 0, "{mode}");
        }
    }
    let other = place
        .server()
        .url_of("postgres", "db.test", &place.database);
    let url = format!("{other}?hostaddr=127.0.0.1&sslmode=require");
    let error = Ledger::open(&url, place.file()).err().unwrap().to_string();
    assert!(error.contains("certificate not valid for name"), "{error}");
}

async fn a_server_is_trusted_by_the_file_that_its_url_names(place: &Place) {
    let fixture = |name: &str| {
        let path = format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(path).unwrap()
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("root certificate.pem");
    let escaped = path.display().to_string().replace(' ', "%20");
    let url = format!("{}?sslrootcert={escaped}&sslmode=verify-full", place.url);
    let refused = || Ledger::open(&url, place.file()).err().unwrap().to_string();
    assert!(refused().contains("cannot be read"), "{}", refused());
    // The machine trusts the server, and that doesn't count here.
    std::fs::write(&path, fixture("self-signed.crt")).unwrap();
    assert!(refused().contains("add sslrootcert=/path"), "{}", refused());
    std::fs::write(&path, fixture("self-signed.key")).unwrap();
    assert!(refused().contains("holds a private key"), "{}", refused());
    std::fs::write(&path, fixture("ai.tail.test.crt")).unwrap();
    let ledger = Ledger::open(&url, place.file()).unwrap();
    assert!(all(&ledger).await.is_empty());
}
