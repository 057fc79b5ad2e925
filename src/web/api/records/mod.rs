//! Records: one's own, or everyone's for an admin.

pub(in crate::web) mod capture;
pub(in crate::web) mod explanation;
pub(in crate::web) mod request;
pub(in crate::web) mod requests;
pub(in crate::web) mod sessions;
pub(in crate::web) mod tools;
pub(in crate::web) mod usage;

use http::StatusCode;

use crate::records::Entry;
use crate::web::reader::Reader;
use crate::wire::Rejection;

/// The entry of a request that the reader may see.
async fn entry(reader: &Reader<'_>, id: &str) -> Result<Entry, Rejection> {
    let entry = reader.ledger().request(reader.scope(), id).await?;
    entry.ok_or_else(|| no_such(id))
}

/// Refuses what others said to admins who may not read it.
fn readable(reader: &Reader<'_>) -> Result<(), Rejection> {
    if reader.permit.may_read_captures() {
        return Ok(());
    }
    let why = "access denied: what others said takes a grant with read_captures";
    Err(Rejection::new(StatusCode::FORBIDDEN, "no_captures", why))
}

/// The same for a record that is not there and for another's: ids can't be tried out.
fn no_such(id: &str) -> Rejection {
    let shown: String = id.chars().take(64).collect();
    let why = format!("there is no record {shown:?} that you may see, or it was not kept");
    Rejection::new(StatusCode::NOT_FOUND, "no_such_record", why)
}
