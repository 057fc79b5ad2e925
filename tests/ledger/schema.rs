//! Databases of every version: a new one equals one that was migrated.

use crate::store::Place;
use support::harness::Test;
use support::tests;

pub(crate) const LASTING: &[Test<Place>] = tests![
    Place;
    a_new_database_is_like_one_of_any_version_that_was_updated,
];

/// The scripts of one database's dialect, from version 1 on.
macro_rules! scripts {
    ($store:literal) => {
        [
            include_str!(concat!("version_1/", $store, ".sql")),
            include_str!(concat!(
                "../../src/records/stores/",
                $store,
                "/migrations/2_buckets.sql"
            )),
            include_str!(concat!(
                "../../src/records/stores/",
                $store,
                "/migrations/3_outbox.sql"
            )),
            include_str!(concat!(
                "../../src/records/stores/",
                $store,
                "/migrations/4_audit.sql"
            )),
            include_str!(concat!(
                "../../src/records/stores/",
                $store,
                "/migrations/5_exports.sql"
            )),
            include_str!(concat!(
                "../../src/records/stores/",
                $store,
                "/migrations/6_chats.sql"
            )),
            include_str!(concat!(
                "../../src/records/stores/",
                $store,
                "/migrations/7_identity.sql"
            )),
            include_str!(concat!(
                "../../src/records/stores/",
                $store,
                "/migrations/8_audit_caller.sql"
            )),
            include_str!(concat!(
                "../../src/records/stores/",
                $store,
                "/migrations/9_reasons.sql"
            )),
            include_str!(concat!(
                "../../src/records/stores/",
                $store,
                "/migrations/10_numbers.sql"
            )),
            include_str!(concat!(
                "../../src/records/stores/",
                $store,
                "/migrations/11_journal.sql"
            )),
            include_str!(concat!(
                "../../src/records/stores/",
                $store,
                "/migrations/12_own_credentials.sql"
            )),
            include_str!(concat!(
                "../../src/records/stores/",
                $store,
                "/migrations/13_labels.sql"
            )),
            include_str!(concat!(
                "../../src/records/stores/",
                $store,
                "/migrations/14_objects.sql"
            )),
            include_str!(concat!(
                "../../src/records/stores/",
                $store,
                "/migrations/15_object_ids.sql"
            )),
        ]
    };
}

const SQLITE: [&str; 15] = scripts!("sqlite");
const POSTGRES: [&str; 15] = scripts!("postgres");

impl Place {
    /// Makes the database as it was in a version, with `rows` in it.
    pub(crate) async fn begin_at(&self, version: usize, rows: &str) {
        if self.url.starts_with("sqlite:") {
            let file = rusqlite::Connection::open(self.dir.path().join("ledger.db")).unwrap();
            for script in &SQLITE[..version] {
                file.execute_batch(script).unwrap();
            }
            file.execute_batch(rows).unwrap();
            let note = i64::try_from(version).unwrap();
            file.pragma_update(None, "user_version", note).unwrap();
            return;
        }
        let client = self.client().await;
        for script in &POSTGRES[..version] {
            client.batch_execute(script).await.unwrap();
        }
        client.batch_execute(rows).await.unwrap();
        let note = format!(
            "CREATE TABLE iris_schema (version BIGINT NOT NULL); INSERT INTO iris_schema VALUES ({version})"
        );
        client.batch_execute(&note).await.unwrap();
    }

    /// Forgets everything.
    async fn clear(&self) {
        if self.url.starts_with("sqlite:") {
            for file in std::fs::read_dir(self.dir.path()).unwrap() {
                std::fs::remove_file(file.unwrap().path()).unwrap();
            }
            return;
        }
        let client = self.client().await;
        let sql = "DROP SCHEMA public CASCADE; CREATE SCHEMA public";
        client.batch_execute(sql).await.unwrap();
    }

    /// Columns, defaults and indexes of all tables.
    async fn schema(&self) -> Vec<Vec<String>> {
        let queries = if self.url.starts_with("sqlite:") {
            [
                // Whether a table is strict and has no row ids, and its columns in order.
                "SELECT tables.name, tables.wr || ' ' || tables.strict, columns.cid || ' ' || columns.name,
                    columns.type || ' ' || columns.\"notnull\" || ' ' || columns.pk,
                    COALESCE(columns.dflt_value, '')
                 FROM pragma_table_list AS tables, pragma_table_xinfo(tables.name) AS columns
                 WHERE tables.schema = 'main' ORDER BY 1, columns.cid",
                "SELECT tables.name, indexes.name, indexes.\"unique\" || ' ' || indexes.origin,
                    group_concat(parts.name || ' ' || parts.desc || ' ' || parts.coll || ' ' || parts.key)
                 FROM pragma_table_list AS tables, pragma_index_list(tables.name) AS indexes,
                    pragma_index_xinfo(indexes.name) AS parts
                 WHERE tables.schema = 'main' AND parts.name IS NOT NULL
                 GROUP BY 1, 2, 3 ORDER BY 1, 2",
            ]
        } else {
            [
                "SELECT table_name::text, lpad(ordinal_position::text, 3) || ' ' || column_name,
                    data_type || ' ' || is_nullable, COALESCE(column_default, ''),
                    COALESCE(collation_name, '')
                 FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2",
                // Indexes of primary keys are called after the first table that had them.
                "SELECT tablename::text, regexp_replace(indexdef, '_pkey[0-9]*', '_pkey')
                 FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2",
            ]
        };
        let mut all = Vec::new();
        for query in queries {
            all.extend(self.texts(query).await);
        }
        all
    }
}

pub(crate) async fn a_new_database_is_like_one_of_any_version_that_was_updated(place: &Place) {
    drop(place.open());
    let new = place.schema().await;
    assert!(new.len() > 200, "{new:?}");
    for version in 1..=SQLITE.len() {
        place.clear().await;
        place.begin_at(version, "").await;
        drop(place.open());
        let updated = place.schema().await;
        for (new, updated) in new.iter().zip(&updated) {
            assert_eq!(new, updated, "from version {version}");
        }
        assert_eq!(new.len(), updated.len(), "from version {version}");
    }
}
