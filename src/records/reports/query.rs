//! Which records are asked for, and by whom.

use crate::records::Outcome;

/// Whose records a reader may see. Every query takes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everyone's.
    Everyone,
    /// Those of one caller, by their keys: their own, and those of records from before.
    Own(Vec<String>),
}

/// Which requests to read; what is `None` does not filter.
#[derive(Clone, Debug)]
pub struct Query {
    pub login: Option<String>,
    /// A node's stable id.
    pub node: Option<String>,
    pub session: Option<String>,
    /// The model that answered.
    pub model: Option<String>,
    pub provider: Option<String>,
    pub agent: Option<String>,
    pub api: Option<String>,
    pub status: Option<u16>,
    pub outcome: Option<Outcome>,
    /// A tool that the answer calls.
    pub tool: Option<String>,
    /// Headers by their names in lower case, and labels by theirs ([`marks`](crate::records::marks)), each with
    /// its value if that matters too. All have to be there.
    pub marks: Vec<(String, Option<String>)>,
    /// Started at this time or later, in unix milliseconds.
    pub from: Option<i64>,
    /// Started before this time.
    pub to: Option<i64>,
    /// Only what is older than this request: the last [`Entry::id`](crate::records::Entry::id) or
    /// [`Session::last_request`](crate::records::Session::last_request) of the page before.
    pub before: Option<String>,
    /// Only what is newer than this request.
    pub after: Option<String>,
    /// The oldest first, for a reader that works through all records by [`after`](Self::after).
    /// Sessions are always read newest first.
    pub oldest_first: bool,
    /// Rows to return, at most 1,000.
    pub limit: usize,
}

impl Default for Query {
    fn default() -> Query {
        Query {
            login: None,
            node: None,
            session: None,
            model: None,
            provider: None,
            agent: None,
            api: None,
            status: None,
            outcome: None,
            tool: None,
            marks: Vec::new(),
            from: None,
            to: None,
            before: None,
            after: None,
            oldest_first: false,
            limit: 100,
        }
    }
}
