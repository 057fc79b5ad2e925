//! Files that the gateway keeps: the lines of a batch or its results, and content of messages.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderValue, Response, StatusCode, header};
use serde_json::Value;

use super::detail::{BatchDetail, FileApi, FileDetail, RESULTS, read, stored};
use super::disk::{Disk, DiskError};
use super::page::Page;
use super::relayed::RunBy;
use super::{Asked, Gateway, KEPT_MS, bad, new_id, not_found, on_disk};
use crate::base::clock;
use crate::formats::attached::FILE_PREFIX;
use crate::formats::openai_batches::{PURPOSES, Upload, deleted_file, list};
use crate::formats::{anthropic_batches, anthropic_files, gemini_files};
use crate::records::Ledger;
use crate::records::objects::{Inserted, Kind, MOST_OBJECTS, Object, State, Wanted};
use crate::wire::{Body, Rejection};

/// Files that are looked at together for those of a purpose.
const STEP: usize = 1_000;
/// Objects of a caller that are looked at to make room.
const ALL: usize = 100_000;
/// A file that was just written may not have its row yet.
const YOUNG: Duration = Duration::from_mins(10);

impl Gateway {
    /// Keeps a file that is sent; `usual` is its purpose where the form has none.
    pub(super) async fn upload(
        &self,
        asked: &Asked<'_>,
        api: FileApi<'_>,
    ) -> Result<Value, Rejection> {
        let usual = match api {
            FileApi::OpenAi => None,
            FileApi::Anthropic | FileApi::Gemini { .. } => Some("user_data"),
        };
        let kind = asked.head.headers.get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let upload = Upload::read(asked.body, kind)?;
        let purpose = upload.purpose.or(usual);
        let purpose = purpose.ok_or_else(|| {
            bad(
                "invalid_request",
                "the form has no field `purpose`, such as \"user_data\"",
            )
        })?;
        if !PURPOSES.contains(&purpose) {
            let shown: String = purpose.chars().take(40).collect();
            let known = PURPOSES.join(", ");
            let why = format!("invalid purpose {shown:?}: this gateway keeps files for {known}");
            return Err(bad("unsupported", why));
        }
        let owner = asked.owner();
        let detail = FileDetail {
            name: upload.name.to_owned(),
            purpose: purpose.to_owned(),
            kind: upload.kind,
            bytes: upload.content.len() as u64,
        };
        let id = new_id(FILE_PREFIX)?;
        let lasts = i64::try_from(upload.lasts.as_millis()).unwrap_or(KEPT_MS);
        let most = asked.context.rules.file.limits.files;
        let (to, at) = (owner.to_owned(), id.clone());
        let content = asked.body[upload.content].to_vec();
        let put = move |disk: &Disk| disk.put(&to, &at, &content, most);
        self.written(owner, put).await??;
        self.keep_file(asked, &id, &detail, lasts, api).await
    }

    /// Keeps a file that is on the disk, which is deleted if that fails.
    pub(super) async fn keep_file(
        &self,
        asked: &Asked<'_>,
        id: &str,
        detail: &FileDetail,
        lasts: i64,
        api: FileApi<'_>,
    ) -> Result<Value, Rejection> {
        let object = self.new_file(asked.owner(), id, detail, lasts);
        let shape = detail.shape(&object, api);
        let kept = keep(&self.ledger, object).await;
        if kept.is_err() {
            self.discard(asked.owner(), id).await;
        }
        kept.map(|()| shape)
    }

    /// The object of a file on this node's disk that is kept for `lasts` milliseconds.
    pub(super) fn new_file(
        &self,
        owner: &str,
        id: &str,
        detail: &FileDetail,
        lasts: i64,
    ) -> Object {
        let made = clock::unix_ms();
        Object {
            kind: Kind::File,
            id: id.to_owned(),
            owner: owner.to_owned(),
            provider: String::new(),
            model: String::new(),
            node: self.jobs.disk.node().to_owned(),
            made,
            ends: Some(made.saturating_add(lasts.min(KEPT_MS))),
            state: State::Ended,
            detail: stored(detail),
        }
    }

    pub(super) async fn list_files(
        &self,
        asked: &Asked<'_>,
        api: FileApi<'_>,
    ) -> Result<Value, Rejection> {
        let page = Page::read(asked.head.uri.query())?;
        if page
            .purpose
            .as_deref()
            .is_some_and(|purpose| purpose != RESULTS && !PURPOSES.contains(&purpose))
        {
            return Ok(list(&[], false));
        }
        let (shapes, has_more) = self
            .listed(Kind::File, "", asked, &page, |object| {
                let detail: FileDetail = read(object)?;
                let is_wanted = |purpose: &String| *purpose == detail.purpose;
                let is_wanted = page.purpose.as_ref().is_none_or(is_wanted);
                Ok(is_wanted.then(|| detail.shape(object, api)))
            })
            .await?;
        Ok(match api {
            FileApi::OpenAi => list(&shapes, has_more),
            FileApi::Anthropic => anthropic_batches::list(&shapes, has_more),
            FileApi::Gemini { .. } => gemini_files::list(&shapes, has_more),
        })
    }

    /// The caller's objects on a page whose ids begin with `prefix`, as `shape` shows those that belong to the list;
    /// and whether there are more.
    pub(super) async fn listed(
        &self,
        kind: Kind,
        prefix: &'static str,
        asked: &Asked<'_>,
        page: &Page,
        shape: impl Fn(&Object) -> Result<Option<Value>, Rejection>,
    ) -> Result<(Vec<Value>, bool), Rejection> {
        let (mut after, mut shapes) = (page.after.clone(), Vec::new());
        // All on the first page are of the list, unless they have to be looked at one by one.
        let step = if page.purpose.is_some() {
            STEP
        } else {
            page.limit + 1
        };
        loop {
            let wanted = Wanted {
                kind,
                prefix,
                after,
                limit: step,
            };
            let found = self.ledger.list_objects(asked.owner(), wanted).await?;
            let is_last = found.len() < step;
            after = found.last().map(|last| last.id.clone());
            for object in &found {
                shapes.extend(shape(object)?);
            }
            if is_last || shapes.len() > page.limit {
                let has_more = shapes.len() > page.limit;
                shapes.truncate(page.limit);
                return Ok((shapes, has_more));
            }
        }
    }

    pub(super) async fn file(
        &self,
        asked: &Asked<'_>,
        id: &str,
        api: FileApi<'_>,
    ) -> Result<Value, Rejection> {
        let object = self.own_file(asked, id).await?;
        Ok(read::<FileDetail>(&object)?.shape(&object, api))
    }

    pub(super) async fn delete_file(
        &self,
        asked: &Asked<'_>,
        id: &str,
        api: FileApi<'_>,
    ) -> Result<Value, Rejection> {
        let object = self.file_here(asked, id).await?;
        // The row first: what has no row can't be found, and is swept.
        let is_gone = self
            .ledger
            .remove_object(Kind::File, asked.owner(), id)
            .await?;
        if !is_gone {
            return Err(not_found("file", id));
        }
        self.discard(&object.owner, &object.id).await;
        Ok(match api {
            FileApi::OpenAi => deleted_file(id),
            FileApi::Anthropic => anthropic_files::deleted(id),
            FileApi::Gemini { .. } => gemini_files::deleted(),
        })
    }

    pub(super) async fn content(
        &self,
        asked: &Asked<'_>,
        id: &str,
    ) -> Result<Response<Body>, Rejection> {
        let object = self.file_here(asked, id).await?;
        let detail: FileDetail = read(&object)?;
        // Never one that a browser would show.
        let kind = HeaderValue::from_static("application/octet-stream");
        self.stream(object.owner, object.id, detail.bytes, kind)
            .await
    }

    /// What a write to the disk comes to. If there is no room for it, it is done once more without the files of its
    /// owner that have expired.
    pub(super) async fn written<T: Send + 'static>(
        &self,
        owner: &str,
        write: impl Fn(&Disk) -> Result<T, DiskError> + Send + Sync + 'static,
    ) -> Result<Result<T, DiskError>, Rejection> {
        let write = Arc::new(write);
        let (disk, first) = (Arc::clone(&self.jobs.disk), Arc::clone(&write));
        let written = on_disk(move || first(&disk)).await?;
        if !matches!(written, Err(DiskError::Full { .. })) || !self.jobs.may_make_room(owner) {
            return Ok(written);
        }
        let used = self.in_use(owner).await?;
        let (disk, owner) = (Arc::clone(&self.jobs.disk), owner.to_owned());
        on_disk(move || {
            let before = clock::now()
                .checked_sub(YOUNG)
                .unwrap_or(SystemTime::UNIX_EPOCH);
            disk.retain(&owner, &used, before)?;
            write(&disk)
        })
        .await
    }

    /// The ids of what an owner has on the disk: files, and the lines and results of batches.
    ///
    /// # Errors
    /// 503 if that can't be told.
    async fn in_use(&self, owner: &str) -> Result<HashSet<String>, Rejection> {
        let mut used = HashSet::new();
        for kind in [Kind::File, Kind::Batch] {
            // At once: what changes between two pages could hide some, which would be deleted.
            let wanted = Wanted {
                kind,
                prefix: "",
                after: None,
                limit: ALL,
            };
            let found = self.ledger.list_objects(owner, wanted).await?;
            if found.len() >= ALL {
                let why = "you have too many files and batches to make room: delete some first";
                let status = StatusCode::SERVICE_UNAVAILABLE;
                return Err(Rejection::new(status, "too_many_objects", why));
            }
            for object in &found {
                if kind == Kind::File {
                    used.insert(object.id.clone());
                    continue;
                }
                let detail: BatchDetail = read(object)?;
                used.extend([detail.output, detail.errors]);
                // What it is made of is needed until it has ended.
                if object.state == State::Open {
                    used.insert(detail.input);
                    if let RunBy::Provider(relayed) = &detail.run_by {
                        used.extend(relayed.files().map(str::to_owned));
                    }
                }
            }
        }
        Ok(used)
    }

    /// Deletes a file from the disk.
    pub(super) async fn discard(&self, owner: &str, file: &str) {
        let disk = Arc::clone(&self.jobs.disk);
        let [owner, file] = [owner, file].map(str::to_owned);
        if let Ok(Err(error)) = on_disk(move || disk.remove(&owner, &file)).await {
            tracing::warn!(%error, "a deleted file stays on the disk until it is swept");
        }
    }

    /// A file of the caller's.
    async fn own_file(&self, asked: &Asked<'_>, id: &str) -> Result<Object, Rejection> {
        let found = self
            .ledger
            .find_object(Kind::File, asked.owner(), id)
            .await?;
        found.ok_or_else(|| not_found("file", id))
    }

    /// A file of the caller's that is on this node's disk.
    pub(super) async fn file_here(&self, asked: &Asked<'_>, id: &str) -> Result<Object, Rejection> {
        let object = self.own_file(asked, id).await?;
        self.is_here(&object).map(|()| object)
    }

    /// Refuses what is on another node's disk.
    pub(super) fn is_here(&self, object: &Object) -> Result<(), Rejection> {
        if object.node == self.jobs.disk.node() {
            return Ok(());
        }
        let id = &object.id;
        let why = format!("{id} is on another node of this gateway: ask the one that took it");
        Err(Rejection::new(StatusCode::CONFLICT, "file_elsewhere", why))
    }
}

/// Keeps an object.
pub(super) async fn keep(ledger: &Ledger, object: Object) -> Result<(), Rejection> {
    let kind = object.kind.as_str();
    match ledger.insert_object(object).await? {
        Inserted::Done => Ok(()),
        Inserted::Full => {
            let why =
                format!("you have {MOST_OBJECTS} objects of the kind {kind}: delete some first");
            Err(Rejection::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_objects",
                why,
            ))
        }
    }
}
