//! Where `PostgreSQL` says something else than `SQLite`: the only place that knows. SQL is
//! written as `SQLite` reads it.

/// A statement for `PostgreSQL`. A `?` stands for nothing but a value in ours, and a `+` before a
/// column only keeps `SQLite` from walking along that column's index.
pub(crate) fn statement(sql: &str) -> String {
    sql.replace('?', "$").replace("+entries.", "entries.")
}

/// A script that makes tables, for `PostgreSQL`. Text is compared byte by byte, as `SQLite` does:
/// a page of ids must not depend on the language of a server.
pub(crate) fn schema(script: &str) -> String {
    let words = [
        ("STRICT, WITHOUT ROWID", ""),
        ("STRICT", ""),
        (" INTEGER", " BIGINT"),
        (" REAL", " DOUBLE PRECISION"),
        (" BLOB", " BYTEA"),
        (" TEXT", " TEXT COLLATE \"C\""),
    ];
    words
        .into_iter()
        .fold(script.to_owned(), |script, (ours, theirs)| {
            script.replace(ours, theirs)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_types_are_translated() {
        assert_eq!(
            statement("SELECT a FROM entries WHERE +entries.b = ?1 LIMIT ?12"),
            "SELECT a FROM entries WHERE entries.b = $1 LIMIT $12"
        );
        assert_eq!(
            schema("CREATE TABLE t (a TEXT NOT NULL, b INTEGER, c BLOB, d REAL) STRICT;"),
            "CREATE TABLE t (a TEXT COLLATE \"C\" NOT NULL, b BIGINT, c BYTEA, \
             d DOUBLE PRECISION) ;"
        );
    }
}
