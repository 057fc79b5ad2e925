//! Files of the caller's that a request names: their content stands in the body from here on, for guardrails
//! and for every provider, in each format and translated.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;

use super::detail::{FileDetail, read};
use super::disk::{Disk, DiskError};
use super::{Gateway, bad, not_found, on_disk};
use crate::base::memory::{self, weighed};
use crate::exchange::context::Context;
use crate::exchange::refusal;
use crate::formats::attached::{Attaching, Attachment, NamedFile, inlined, named, too_long};
use crate::records::objects::Kind;
use crate::records::owner_key;
use crate::wire::Rejection;
use crate::wire::body::ReadError;

/// What stands around a file's content, in bytes: its type and its name.
const AROUND: u64 = 2_048;

impl Gateway {
    /// The body of a request with the content of the files that it names.
    ///
    /// # Errors
    /// 404 for a file that the caller doesn't have, 409 for one on another node's disk, 413 for a body that
    /// would be longer than a request may be, and 400 for a file that can't stand where it is named.
    pub(in crate::exchange) async fn attached(
        &self,
        context: &Context,
        body: Bytes,
    ) -> Result<Bytes, Rejection> {
        let Some(attaching) = context.format.attaching else {
            return Ok(body);
        };
        let named = named(&body, &attaching)?;
        if named.is_empty() {
            return Ok(body);
        }
        // Boxed, because few requests name files.
        Box::pin(self.with_files(context, body, attaching, named)).await
    }

    async fn with_files(
        &self,
        context: &Context,
        body: Bytes,
        attaching: Attaching,
        named: Vec<NamedFile>,
    ) -> Result<Bytes, Rejection> {
        if context.named.is_some() {
            let why =
                "files are a caller's own: they can't be named in a request for another person";
            return Err(bad("unsupported", why));
        }
        let owner = owner_key(context.asker.owner().key());
        let most = context.rules.request_body;
        let mut found = BTreeMap::new();
        let (mut least, mut longest) = (body.len() as u64, body.len() as u64);
        for one in &named {
            if !found.contains_key(&one.id) {
                let object = self.ledger.find_object(Kind::File, &owner, &one.id);
                let object = object.await?.ok_or_else(|| not_found("file", &one.id))?;
                self.is_here(&object)?;
                let detail: FileDetail = read(&object)?;
                found.insert(one.id.clone(), detail);
            }
            let detail = &found[&one.id];
            least = least.saturating_add(detail.bytes);
            // JSON writes some characters of a text as six; base64 has four for three bytes.
            let grows = if detail.kind.starts_with("text/") {
                6
            } else {
                2
            };
            longest = longest.saturating_add(detail.bytes.saturating_mul(grows) + AROUND);
        }
        if least > most as u64 {
            return Err(too_long(most));
        }
        let longest = usize::try_from(longest).map_or(most, |longest| longest.min(most));
        let mut hold = memory::all().hold();
        let reserved = hold.reserve(weighed(longest)).await;
        reserved.map_err(|full| refusal::unreadable(&ReadError::from(full)))?;
        let (disk, owner) = (Arc::clone(&self.jobs.disk), owner.into_owned());
        let whole = on_disk(move || {
            let file = |id: &str| attachment(&disk, &owner, id, &found[id]);
            inlined(&body, &attaching, &named, file, longest)
        });
        let whole = whole.await??;
        hold.shrink(weighed(whole.len()));
        Ok(hold.keep(whole.into()))
    }
}

/// Reads a file.
fn attachment(
    disk: &Disk,
    owner: &str,
    id: &str,
    detail: &FileDetail,
) -> Result<Attachment, Rejection> {
    let mut content = Vec::new();
    let opened = disk.read(owner, id).map_err(DiskError::from)?;
    let read = opened.take(detail.bytes).read_to_end(&mut content);
    read.map_err(DiskError::from)?;
    Ok(Attachment {
        name: detail.name.clone(),
        kind: detail.kind.clone(),
        content,
    })
}
