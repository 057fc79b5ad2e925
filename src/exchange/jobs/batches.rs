//! OpenAI's batches: made of a file, looked at and cancelled.

use http::StatusCode;
use serde_json::Value;

use super::detail::{BatchDetail, FileDetail, Status, read, stored};
use super::family::Family;
use super::new::New;
use super::page::Page;
use super::{Asked, Gateway, bad, not_found};
use crate::base::clock;
use crate::formats::openai_batches::{CreateBatch, PURPOSE, list};
use crate::records::objects::{Kind, Object};
use crate::wire::Rejection;

/// How often a change is tried again that another one came before.
const TRIES: usize = 5;

impl Gateway {
    pub(super) async fn create_batch(&self, asked: &Asked<'_>) -> Result<Value, Rejection> {
        let create = CreateBatch::read(asked.body)?;
        let lasts = create.window()?;
        let file = self.file_here(asked, &create.input_file_id).await?;
        if read::<FileDetail>(&file)?.purpose != PURPOSE {
            let why = format!("the file {} has no lines of a batch", file.id);
            return Err(bad("invalid_request", why));
        }
        let scanned = self.checked(asked, Family::OpenAi, &file.id, &create.endpoint);
        let scanned = scanned.await?;
        let new = New {
            family: Family::OpenAi,
            endpoint: create.endpoint,
            input: file.id,
            lasts,
            window: create.completion_window,
            metadata: create.metadata.map_or(Value::Null, |pairs| {
                let pairs = pairs.into_iter();
                pairs
                    .map(|(key, value)| (key, Value::from(value)))
                    .collect()
            }),
            scanned,
        };
        let (id, detail) = self.begin(asked, new).await?;
        Ok(detail.shape(&id))
    }

    pub(super) async fn list_batches(&self, asked: &Asked<'_>) -> Result<Value, Rejection> {
        let page = Page::read(asked.head.uri.query())?;
        let (shapes, has_more) = self
            .listed(
                Kind::Batch,
                Family::OpenAi.prefix(),
                asked,
                &page,
                |object| {
                    let detail: BatchDetail = read(object)?;
                    Ok(Some(detail.shape(&object.id)))
                },
            )
            .await?;
        Ok(list(&shapes, has_more))
    }

    pub(super) async fn batch(&self, asked: &Asked<'_>, id: &str) -> Result<Value, Rejection> {
        let (_, detail) = self.own_batch(Family::OpenAi, asked, id).await?;
        Ok(detail.shape(id))
    }

    pub(super) async fn cancel_batch(
        &self,
        asked: &Asked<'_>,
        id: &str,
    ) -> Result<Value, Rejection> {
        let detail = self.cancel(Family::OpenAi, asked, id).await?;
        Ok(detail.shape(id))
    }

    /// Has a batch run no further lines. The line that runs is finished.
    pub(super) async fn cancel(
        &self,
        family: Family,
        asked: &Asked<'_>,
        id: &str,
    ) -> Result<BatchDetail, Rejection> {
        for _ in 0..TRIES {
            let (object, mut detail) = self.own_batch(family, asked, id).await?;
            if detail.status == Status::Cancelling {
                return Ok(detail);
            }
            if detail.has_ended() {
                let why = format!("the batch {id} has ended, and can't be cancelled");
                return Err(Rejection::new(StatusCode::CONFLICT, "batch_ended", why));
            }
            detail.come_to(Status::Cancelling, clock::unix_ms());
            let after = Object {
                detail: stored(&detail),
                ..object.clone()
            };
            if self.ledger.update_object(object, after).await? {
                return Ok(detail);
            }
        }
        let why = format!("the batch {id} changes all the time: try again");
        Err(Rejection::new(StatusCode::CONFLICT, "batch_busy", why))
    }

    /// A batch of the caller's that was made with an API.
    pub(super) async fn own_batch(
        &self,
        family: Family,
        asked: &Asked<'_>,
        id: &str,
    ) -> Result<(Object, BatchDetail), Rejection> {
        let found = self.ledger.find_object(Kind::Batch, asked.owner(), id);
        let object = found.await?.ok_or_else(|| not_found("batch", id))?;
        let detail: BatchDetail = read(&object)?;
        if !detail.family.is_of_api(family) {
            return Err(not_found("batch", id));
        }
        Ok((object, detail))
    }
}
