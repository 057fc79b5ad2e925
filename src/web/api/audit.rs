//! `GET /api/audit`: what admins did, what they looked at, and who was refused.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::csv::{self, Column, Csv};
use super::endpoint::{Call, Endpoint, Handler, Reply, json_of};
use super::ledger::{Page, unavailable};
use super::parameters::{Listing, Parameters, before, format, from, limit, text, to};
use crate::policy::identity::Caller;
use crate::records::{AuditQuery, Audited, EntryId, Ledger};
use crate::web::engines::{Actor, Engines, row};
use crate::wire::Rejection;

pub(in crate::web) const PARAMETERS: Parameters<Question> = Parameters(&[
    text("actor", "Only this caller's.", |to: &mut Question| {
        &mut to.actor
    }),
    text("kind", "Only of this kind.", |to: &mut Question| {
        &mut to.kind
    }),
    from(),
    to(),
    limit(),
    before(),
    format(),
]);

pub(super) const ENDPOINT: Endpoint = Endpoint {
    path: "/api/audit",
    name: "Audit",
    about: "What admins did and looked at, and who was refused, newest first.",
    parameters: &PARAMETERS,
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

impl AsMut<Listing> for Question {
    fn as_mut(&mut self) -> &mut Listing {
        &mut self.listing
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
    ledger: &Ledger,
    caller: &Caller,
    kind: &str,
    subject: &str,
    detail: Value,
) -> Result<(), Rejection> {
    let actor = Actor::from(caller);
    tracing::info!(
        actor = actor.login,
        node = actor.node,
        kind,
        subject,
        "audit"
    );
    let noted = ledger.audit(row(&actor, kind, subject, detail, 1)).await;
    noted.map_err(|error| unavailable(&error))
}

/// A page of the audit log, for admins.
pub(in crate::web) async fn page(
    engines: &Engines<'_>,
    question: Question,
) -> Result<Page<Audited>, Rejection> {
    let query = question.listing.query;
    let limit = query.limit;
    let rows = engines.gateway.ledger.audited(AuditQuery {
        actor: question.actor,
        kind: question.kind,
        from: query.from,
        to: query.to,
        before: query.before,
        limit,
    });
    let rows = rows.await.map_err(|error| unavailable(&error))?;
    Ok(Page::new(rows, limit, |last| &last.id))
}

async fn answer(call: Call<'_>) -> Reply {
    let question = call.query(&PARAMETERS)?;
    let as_csv = question.listing.csv;
    let Page { rows, next } = page(call.engines, question).await?;
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
