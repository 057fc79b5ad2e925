//! Uploads in the steps of Gemini's API.

use std::sync::Arc;

use http::{HeaderValue, Response};
use serde_json::json;

use super::detail::{FileApi, FileDetail};
use super::disk::{Disk, DiskError};
use super::{Asked, Gateway, KEPT_MS, bad, json, new_id, on_disk};
use crate::formats::attached::FILE_PREFIX;
use crate::formats::gemini_files::{STATUS, Started, Step, URL, location, uploaded};
use crate::records::objects::Kind;
use crate::wire::{Body, Rejection};

impl Gateway {
    /// One step of an upload.
    pub(super) async fn upload_step(&self, asked: &Asked<'_>) -> Result<Response<Body>, Rejection> {
        let head = asked.head;
        match Step::read(&head.headers, head.uri.query(), asked.body)? {
            Step::Start(started) => {
                let started = Started {
                    id: new_id(FILE_PREFIX)?,
                    ..started
                };
                let url = location(&asked.origin(), head.uri.path(), &started);
                let url = HeaderValue::try_from(url).map_err(|_| Rejection::panicked())?;
                let mut response = json(&json!({}));
                response.headers_mut().insert(URL, url);
                let status = HeaderValue::from_static("active");
                response.headers_mut().insert(STATUS, status);
                Ok(response)
            }
            Step::Piece {
                started,
                offset,
                is_last,
            } => self.piece(asked, started, offset, is_last).await,
        }
    }

    /// A piece of a file's content.
    async fn piece(
        &self,
        asked: &Asked<'_>,
        started: Started,
        offset: u64,
        is_last: bool,
    ) -> Result<Response<Body>, Rejection> {
        let (owner, id) = (asked.owner().to_owned(), started.id.clone());
        // The caller names the file: one that is there isn't written over.
        let ledger = &self.ledger;
        if ledger.find_object(Kind::File, &owner, &id).await?.is_some() {
            return Err(bad("invalid_request", "this upload has ended"));
        }
        let disk = Arc::clone(&self.jobs.disk);
        let (to, at) = (owner.clone(), id.clone());
        let has = on_disk(move || disk.length(&to, &at)).await?;
        let has = has.map_err(DiskError::from)?;
        if offset > has {
            let why = format!("the piece begins at byte {offset}, but the upload has {has} bytes");
            return Err(bad("invalid_request", why));
        }
        let most = asked.context.rules.file.limits.files;
        let (to, at, piece) = (owner.clone(), id.clone(), asked.body.to_vec());
        let append = move |disk: &Disk| disk.append(&to, &at, offset, &piece, most);
        let bytes = self.written(&owner, append).await??;
        let (answer, status) = if is_last {
            if started.bytes.is_some_and(|wanted| wanted != bytes) {
                self.discard(&owner, &id).await;
                let why = format!(
                    "the upload has {bytes} bytes, and not as many as its first step said: begin again"
                );
                return Err(bad("invalid_request", why));
            }
            let detail = FileDetail {
                name: started.name,
                purpose: "user_data".to_owned(),
                kind: started.kind,
                bytes,
            };
            let origin = asked.origin();
            let api = FileApi::Gemini { origin: &origin };
            let file = self.keep_file(asked, &id, &detail, KEPT_MS, api).await?;
            (uploaded(&file), "final")
        } else {
            (json!({}), "active")
        };
        let mut response = json(&answer);
        let status = HeaderValue::from_static(status);
        response.headers_mut().insert(STATUS, status);
        Ok(response)
    }
}
