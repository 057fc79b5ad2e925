//! Files of the caller's that a request names: their content stands in the body from here on, for guardrails
//! and for every provider, in each format and translated.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;

use super::detail::{FileDetail, read};
use super::disk::{Disk, DiskError};
use super::{Gateway, not_found, on_disk};
use crate::base::memory::{self, weighed};
use crate::exchange::context::Context;
use crate::exchange::refusal;
use crate::formats::attached::{Attaching, Attachment, NamedFile, inlined, named, too_long};
use crate::records::objects::Kind;
use crate::records::owner_key;
use crate::wire::Rejection;
use crate::wire::body::ReadError;

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
        let owner = &*owner_key(context.asker.owner().key());
        let most = context.rules.request_body;
        let mut found = BTreeMap::new();
        let mut length = body.len() as u64;
        for one in &named {
            if !found.contains_key(&one.id) {
                let object = self.ledger.find_object(Kind::File, owner, &one.id).await?;
                let object = object.ok_or_else(|| not_found("file", &one.id))?;
                self.is_here(&object)?;
                let detail: FileDetail = read(&object)?;
                found.insert(one.id.clone(), detail);
            }
            // At least: base64 has four characters for three bytes.
            length = length.saturating_add(found[&one.id].bytes);
        }
        if length > most as u64 {
            return Err(too_long(most));
        }
        let mut hold = memory::all().hold();
        // It may be anything up to the bound: JSON writes some characters of a text as six.
        let reserved = hold
            .reserve(weighed(most.min(memory::all().longest())))
            .await;
        reserved.map_err(|full| refusal::unreadable(&ReadError::from(full)))?;
        let (disk, owner) = (Arc::clone(&self.jobs.disk), owner.to_owned());
        let whole = on_disk(move || {
            let files = attachments(&disk, &owner, found)?;
            let files = named.iter().map(|one| &files[&one.id]);
            inlined(&body, &attaching, &named, &files.collect::<Vec<_>>(), most)
        });
        let whole = whole.await??;
        hold.shrink(weighed(whole.len()));
        Ok(hold.keep(whole.into()))
    }
}

/// Reads files.
fn attachments(
    disk: &Disk,
    owner: &str,
    found: BTreeMap<String, FileDetail>,
) -> Result<BTreeMap<String, Attachment>, Rejection> {
    let mut files = BTreeMap::new();
    for (id, detail) in found {
        let mut content = Vec::new();
        let opened = disk.read(owner, &id).map_err(DiskError::from)?;
        let read = opened.take(detail.bytes).read_to_end(&mut content);
        read.map_err(DiskError::from)?;
        let file = Attachment {
            name: detail.name,
            kind: detail.kind,
            content,
        };
        files.insert(id, file);
    }
    Ok(files)
}
