//! What belongs to one record, and the rest of the archive.

use super::query::Filter;
use super::row::{self, IS_ONE, JOINED, NAMED, SELECTED};
use super::value::Value;
use super::{Connection, Failure, capture, rows, session};
use crate::formats::ToolCall;
use crate::records::archive::Archive;
use crate::records::{Capture, Entry, Query, Scope, Session, marks};

impl Archive for dyn Connection + '_ {
    fn request(&mut self, scope: &Scope, id: &str) -> Result<Option<Entry>, Failure> {
        let (condition, values) = one(scope, id);
        let sql = format!("SELECT {SELECTED} FROM requests {NAMED} {condition}");
        Ok(rows(self, &sql, values, row::read)?.pop())
    }

    fn tools(&mut self, scope: &Scope, id: &str) -> Result<Vec<ToolCall>, Failure> {
        let (condition, values) = one(scope, id);
        let sql = format!(
            "SELECT entry_tools.name, entry_tools.params FROM requests {NAMED} \
             JOIN entry_tools ON entry_tools.entry = requests.place {condition} \
             ORDER BY entry_tools.position"
        );
        rows(self, &sql, values, |row| {
            Ok(ToolCall {
                name: row.text()?,
                params: row.text()?,
            })
        })
    }

    fn headers(&mut self, scope: &Scope, id: &str) -> Result<Vec<(String, String)>, Failure> {
        let (condition, values) = one(scope, id);
        let sql = format!(
            "SELECT entry_headers.name, entry_headers.value FROM requests {NAMED} \
             JOIN entry_headers ON entry_headers.entry = requests.place {condition} \
             ORDER BY entry_headers.name, entry_headers.value"
        );
        let mut all: Vec<(String, String)> =
            rows(self, &sql, values, |row| Ok((row.text()?, row.text()?)))?;
        all.retain(|(name, _)| marks::is_header(name));
        Ok(all)
    }

    fn capture(&mut self, scope: &Scope, id: &str) -> Result<Option<Capture>, Failure> {
        let (condition, values) = one(scope, id);
        let sql = format!(
            "SELECT {} FROM requests {NAMED} \
             JOIN captures ON captures.entry_id = requests.id {condition}",
            capture::SELECTED
        );
        Ok(rows(self, &sql, values, capture::read)?.pop())
    }

    fn sessions(&mut self, scope: &Scope, query: &Query) -> Result<Vec<Session>, Failure> {
        session::page(self, scope, query)
    }
}

/// The condition that a statement finds one record with.
fn one<'q>(scope: &'q Scope, id: &'q str) -> (String, Vec<Value<'q>>) {
    let mut filter = Filter::default();
    for value in row::found_by(id) {
        filter.bind(value);
    }
    filter.conditions.push(IS_ONE.to_owned());
    filter.conditions.push(JOINED.to_owned());
    filter.within("callers.caller", scope);
    filter.into_parts()
}
