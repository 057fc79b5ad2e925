//! `GET /api/audit`: what admins did, what they looked at, and who was refused.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::csv::{self, Column, Csv};
use super::endpoint::{Call, Endpoint, Handler, Reply, json_of};
use super::ledger::Page;
use super::parameters::{BEFORE, FORMAT, FROM, FromQuery, LIMIT, Listing, TO, parameter};
use crate::records::{AuditQuery, Audited, EntryId};
use crate::web::engines::{Actor, row};
use crate::web::reader::Reader;
use crate::wire::Rejection;

pub(in crate::web) const ENDPOINT: Endpoint = Endpoint {
    path: "/api/audit",
    name: "Audit",
    about: "What admins did and looked at, and who was refused, newest first.",
    parameters: &[
        parameter("actor", "Only this caller's."),
        parameter("kind", "Only of this kind."),
        FROM,
        TO,
        LIMIT,
        BEFORE,
        FORMAT,
    ],
    answer: json_of::<AuditPage>(),
    csv: true,
    handler: Handler::Admin(|call| Box::pin(answer(call))),
    ..Endpoint::GET
};

/// Which rows are wanted.
#[derive(Default)]
pub(in crate::web) struct Question {
    actor: Option<String>,
    kind: Option<String>,
    listing: Listing,
}

impl FromQuery for Question {
    fn set(&mut self, name: &str, value: &str) -> Result<(), Rejection> {
        match name {
            "actor" => self.actor = Some(value.to_owned()),
            "kind" => self.kind = Some(value.to_owned()),
            _ => return self.listing.set(name, value),
        }
        Ok(())
    }
}

#[derive(Serialize, JsonSchema)]
struct AuditPage {
    audit: Vec<Audited>,
    /// Cursor of the next page.
    next: Option<EntryId>,
}

/// Notes what an admin is about to do.
///
/// # Errors
/// A 503 when it can't be noted: it must not be done then.
pub(super) async fn note(
    reader: &Reader<'_>,
    kind: &str,
    subject: &str,
    detail: Value,
) -> Result<(), Rejection> {
    let actor = Actor::from(reader.caller);
    tracing::info!(
        actor = actor.login,
        node = actor.node,
        kind,
        subject,
        "audit"
    );
    let row = row(&actor, kind, subject, detail, 1);
    Ok(reader.ledger().audit(row).await?)
}

/// A page of the audit log, for admins.
pub(in crate::web) async fn page(
    reader: &Reader<'_>,
    question: Question,
) -> Result<Page<Audited>, Rejection> {
    let query = question.listing.query;
    let limit = query.limit;
    let rows = reader.ledger().audited(AuditQuery {
        actor: question.actor,
        kind: question.kind,
        from: query.from,
        to: query.to,
        before: query.before,
        limit,
    });
    let rows = rows.await?;
    Ok(Page::new(rows, limit, |last| &last.id))
}

async fn answer(call: Call<'_>) -> Reply {
    let question: Question = call.given.read()?;
    let as_csv = question.listing.csv;
    let Page { rows, next } = page(call.reader, question).await?;
    if as_csv {
        return Ok(Csv::of(&COLUMNS, &rows).respond("audit"));
    }
    Ok(super::json(&AuditPage { audit: rows, next }))
}

const COLUMNS: [Column<Audited>; 9] = [
    ("id", |row| row.id.to_string()),
    ("at", |row| csv::time(row.at)),
    ("actor", |row| row.actor.clone()),
    ("node", |row| row.node.clone()),
    ("kind", |row| row.kind.clone()),
    ("subject", |row| row.subject.clone()),
    ("detail", |row| row.detail.to_string()),
    ("count", |row| row.count.to_string()),
    ("caller", |row| row.caller.clone()),
];
