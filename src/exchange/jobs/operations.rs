//! Gemini's batches, which are operations in its API. Their lines stand in a file of their owner's, or come with them,
//! and so do their results.

use std::time::Duration;

use http::Response;
use serde_json::{Value, json};

use super::detail::{BatchDetail, read};
use super::family::Family;
use super::new::New;
use super::page::Page;
use super::{Asked, Gateway, json as answered, not_found};
use crate::formats::gemini_batches::{
    About, CreateBatch, Input, MethodOfModel, around_results, list, operation,
};
use crate::records::Error;
use crate::records::objects::{Kind, Object};
use crate::wire::{Body, Rejection};

/// How long a batch may take, as Google has it.
const WINDOW: Duration = Duration::from_hours(48);

/// Marks the response to a request for a batch that has its results, which leaves a record as a download does.
#[derive(Clone, Copy)]
pub(super) struct HasResults;

impl Gateway {
    pub(super) async fn create_operation(
        &self,
        asked: &Asked<'_>,
        method: MethodOfModel<'_>,
    ) -> Result<Value, Rejection> {
        let CreateBatch { about, input } = CreateBatch::read(asked.body)?;
        let endpoint = method.endpoint();
        match input {
            Input::File(id) => {
                let file = self.file_here(asked, &id).await?;
                self.create_from(asked, about, endpoint, Family::Gemini, &file.id)
                    .await
            }
            Input::Inline(lines) => {
                let input = self.keep_lines(asked, lines).await?;
                let made = self
                    .create_from(asked, about, endpoint, Family::GeminiInline, &input)
                    .await;
                if made.is_err() {
                    self.discard(asked.owner(), &input).await;
                }
                made
            }
        }
    }

    async fn create_from(
        &self,
        asked: &Asked<'_>,
        about: About,
        endpoint: String,
        family: Family,
        input: &str,
    ) -> Result<Value, Rejection> {
        let what = if family.has_files() {
            "line"
        } else {
            "request"
        };
        let scanned = self.checked(asked, family, input, &endpoint);
        let scanned = scanned.await?.flawless(what)?;
        for model in scanned.models.keys() {
            about.is_for(model)?;
        }
        let new = New {
            family,
            endpoint,
            input: input.to_owned(),
            lasts: WINDOW,
            window: String::new(),
            metadata: about.name.into(),
            scanned,
        };
        let (id, detail) = self.begin(asked, new).await?;
        Ok(operation(&detail.operation(&id)))
    }

    /// A page of batches, without the results that stand in them.
    pub(super) async fn list_operations(&self, asked: &Asked<'_>) -> Result<Value, Rejection> {
        let page = Page::read(asked.head.uri.query())?;
        let prefix = Family::Gemini.prefix();
        let shape = |object: &Object| {
            let detail: BatchDetail = read(object)?;
            Ok(Some(operation(&detail.operation(&object.id))))
        };
        let listed = self.listed(Kind::Batch, prefix, asked, &page, shape);
        let (operations, has_more) = listed.await?;
        Ok(list(&operations, has_more))
    }

    pub(super) async fn operation(
        &self,
        asked: &Asked<'_>,
        id: &str,
    ) -> Result<Response<Body>, Rejection> {
        let (object, detail) = self.own_batch(Family::Gemini, asked, id).await?;
        let batch = detail.operation(id);
        if !detail.has_ended() || detail.family.has_files() || detail.output_bytes == 0 {
            return Ok(answered(&operation(&batch)));
        }
        self.is_here(&object)?;
        let texts = around_results(&batch);
        let (output, bytes) = (detail.output.clone(), detail.output_bytes);
        let sent = self.stream_between(object.owner, output, bytes, texts);
        let mut response = sent.await?;
        response.extensions_mut().insert(HasResults);
        Ok(response)
    }

    pub(super) async fn cancel_operation(
        &self,
        asked: &Asked<'_>,
        id: &str,
    ) -> Result<Value, Rejection> {
        self.cancel(Family::Gemini, asked, id).await?;
        Ok(json!({}))
    }

    /// Deletes a batch. One that runs asks no further lines, as Google has it, and its results go with it. Files that its
    /// owner can see stay.
    pub(super) async fn delete_operation(
        &self,
        asked: &Asked<'_>,
        id: &str,
    ) -> Result<Value, Rejection> {
        let (object, detail) = self.own_batch(Family::Gemini, asked, id).await?;
        if !detail.family.has_files() || !detail.has_ended() {
            self.is_here(&object)?;
        }
        let owner = asked.owner();
        if !self.ledger.remove_object(Kind::Batch, owner, id).await? {
            return Err(not_found("batch", id));
        }
        if !detail.family.has_files() {
            self.discard(owner, &detail.input).await;
        }
        if let Err(error) = self.discard_results(owner, &detail).await {
            tracing::warn!(%error, "results of a deleted batch stay on the disk until they are swept");
        }
        Ok(json!({}))
    }

    /// Deletes the results of a batch that is gone, unless they are a file of its owner's by now.
    pub(super) async fn discard_results(
        &self,
        owner: &str,
        detail: &BatchDetail,
    ) -> Result<(), Error> {
        let results = [&detail.output, &detail.errors];
        for id in results.into_iter().filter(|id| !id.is_empty()) {
            if self
                .ledger
                .find_object(Kind::File, owner, id)
                .await?
                .is_none()
            {
                self.discard(owner, id).await;
            }
        }
        Ok(())
    }
}
