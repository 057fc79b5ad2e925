//! Reports: sums, filters and percentiles over any number of records.

pub(super) mod histogram;
mod query;
pub(super) mod report;
pub(super) mod sums;

use std::ops::Range;

use futures_util::future::BoxFuture;

use super::{Entry, Error, Ledger};
pub use histogram::Percentiles;
pub use query::{Query, Scope};
pub use report::{Group, Report, ToolUse, Usage, UsageGroup};
pub use sums::{Counts, Totals};

/// What a store says in its own time.
pub(super) type Answered<'a, T> = BoxFuture<'a, Result<T, Error>>;

/// What a store of reports is for. It may be another one than that of the other roles, whose records it
/// gets by an exporter: nothing here needs a transaction, or a record of this instant.
pub(super) trait Reports: Send + Sync {
    /// The matching requests, newest first.
    fn requests(&self, scope: Scope, query: Query) -> Answered<'_, Vec<Entry>>;
    /// How many sessions of a login, or of all, have a request in a time: from its start, in Unix
    /// milliseconds, and before its end.
    fn session_count(
        &self,
        scope: Scope,
        login: Option<String>,
        time: Range<i64>,
    ) -> Answered<'_, u64>;
    /// Sums over the calls of tools, by tool and day.
    fn tool_use(&self, scope: Scope, query: Query) -> Answered<'_, Vec<ToolUse>>;
    /// Sums over requests, as a report that was checked says.
    fn usage(&self, scope: Scope, report: Report) -> Answered<'_, Usage>;
}

impl Ledger {
    /// The matching requests within `scope`, newest first.
    pub async fn requests(&self, scope: Scope, query: Query) -> Result<Vec<Entry>, Error> {
        self.inner.reports.requests(scope, query).await
    }

    /// How many sessions of a login within `scope` have a request in a time: from its start, in
    /// Unix milliseconds, and before its end. Without a login, how many of the scope.
    pub async fn session_count(
        &self,
        scope: Scope,
        login: Option<&str>,
        time: Range<i64>,
    ) -> Result<u64, Error> {
        let login = login.map(str::to_owned);
        self.inner.reports.session_count(scope, login, time).await
    }

    /// Sums over the calls of tools within `scope`, by tool and day. The query's time is what
    /// bounds the work.
    pub async fn tool_use(&self, scope: Scope, query: Query) -> Result<Vec<ToolUse>, Error> {
        self.inner.reports.tool_use(scope, query).await
    }

    /// Sums over the requests within `scope`.
    pub async fn usage(&self, scope: Scope, report: Report) -> Result<Usage, Error> {
        report.check()?;
        self.inner.reports.usage(scope, report).await
    }
}
