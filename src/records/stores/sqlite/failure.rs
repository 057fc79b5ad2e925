//! What `SQLite` says of a failure, as it is shown.

use rusqlite::ErrorCode;

use crate::records::Failure;

/// `SQLite`'s words on one line: of a damaged file they quote whole statements, and bytes that a
/// terminal obeys.
fn in_a_line(error: &rusqlite::Error) -> String {
    const SHOWN: usize = 200;
    let mut words = crate::wire::text::harmless(&error.to_string());
    if words.len() > SHOWN {
        words.truncate(words.floor_char_boundary(SHOWN));
        words.push('…');
    }
    words
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Failure {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Failure::Damaged(in_a_line(&error))
            }
            _ => Failure::Driver(in_a_line(&error).into()),
        }
    }
}
