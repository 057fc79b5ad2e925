//! Reports from the database that has the records, on its connections for readers.

use std::ops::Range;

use super::Connections;
use crate::records::reports::{Answered, Reports};
use crate::records::stores::sql::{page, report, session, tools};
use crate::records::{Entry, Query, Report, Scope, ToolUse, Usage};

impl Reports for Connections {
    fn requests(&self, scope: Scope, query: Query) -> Answered<'_, Vec<Entry>> {
        Box::pin(self.run_folded(move |connection| page::requests(connection, &scope, &query)))
    }

    fn session_count(
        &self,
        scope: Scope,
        login: Option<String>,
        time: Range<i64>,
    ) -> Answered<'_, u64> {
        Box::pin(self.run_folded(move |connection| {
            session::count(connection, &scope, login.as_deref(), &time)
        }))
    }

    fn tool_use(&self, scope: Scope, query: Query) -> Answered<'_, Vec<ToolUse>> {
        Box::pin(self.run_folded(move |connection| tools::used(connection, &scope, &query)))
    }

    fn usage(&self, scope: Scope, report: Report) -> Answered<'_, Usage> {
        Box::pin(async move {
            let read = self.run_folded(move |connection| {
                let groups = report::groups(connection, &scope, &report)?;
                Ok(report.usage(groups))
            });
            read.await?
        })
    }
}
