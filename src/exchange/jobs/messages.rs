//! Anthropic's message batches. Their requests come with them, and are kept as the lines of a file until the
//! batch has ended.

use std::time::Duration;

use http::{HeaderValue, Response, StatusCode};
use serde_json::Value;

use super::detail::{BatchDetail, read};
use super::family::Family;
use super::new::New;
use super::page::Page;
use super::{Asked, Gateway, bad, not_found};
use crate::formats::anthropic_batches::{ENDPOINT, deleted, lines, list};
use crate::records::objects::Kind;
use crate::wire::{Body, Rejection};

/// How long a batch may take.
const WINDOW: Duration = Duration::from_hours(24);

impl Gateway {
    pub(super) async fn create_messages(&self, asked: &Asked<'_>) -> Result<Value, Rejection> {
        let lines = lines(asked.body)?;
        let input = self.keep_lines(asked, lines).await?;
        let made = self.create_of(asked, &input).await;
        if made.is_err() {
            self.discard(asked.owner(), &input).await;
        }
        made
    }

    async fn create_of(&self, asked: &Asked<'_>, input: &str) -> Result<Value, Rejection> {
        let scanned = self.checked(asked, Family::Anthropic, input, ENDPOINT);
        let scanned = scanned.await?.flawless("request")?;
        let new = New {
            family: Family::Anthropic,
            endpoint: ENDPOINT.to_owned(),
            input: input.to_owned(),
            lasts: WINDOW,
            window: String::new(),
            metadata: Value::Null,
            scanned,
        };
        let (id, detail) = self.begin(asked, new).await?;
        Ok(shape(asked, &id, &detail))
    }

    pub(super) async fn list_messages(&self, asked: &Asked<'_>) -> Result<Value, Rejection> {
        let page = Page::read(asked.head.uri.query())?;
        let (shapes, has_more) = self
            .listed(
                Kind::Batch,
                Family::Anthropic.prefix(),
                asked,
                &page,
                |object| {
                    let detail: BatchDetail = read(object)?;
                    Ok(Some(shape(asked, &object.id, &detail)))
                },
            )
            .await?;
        Ok(list(&shapes, has_more))
    }

    pub(super) async fn messages(&self, asked: &Asked<'_>, id: &str) -> Result<Value, Rejection> {
        let (_, detail) = self.own_batch(Family::Anthropic, asked, id).await?;
        Ok(shape(asked, id, &detail))
    }

    pub(super) async fn cancel_messages(
        &self,
        asked: &Asked<'_>,
        id: &str,
    ) -> Result<Value, Rejection> {
        let detail = self.cancel(Family::Anthropic, asked, id).await?;
        Ok(shape(asked, id, &detail))
    }

    pub(super) async fn results(
        &self,
        asked: &Asked<'_>,
        id: &str,
    ) -> Result<Response<Body>, Rejection> {
        let (object, detail) = self.own_batch(Family::Anthropic, asked, id).await?;
        if !detail.has_ended() {
            let why = format!("the batch {id} has no results yet: it has not ended");
            return Err(bad("batch_runs", why));
        }
        self.is_here(&object)?;
        let kind = HeaderValue::from_static("application/x-jsonl");
        self.stream(object.owner, detail.output, detail.output_bytes, kind)
            .await
    }

    pub(super) async fn delete_messages(
        &self,
        asked: &Asked<'_>,
        id: &str,
    ) -> Result<Value, Rejection> {
        let (object, detail) = self.own_batch(Family::Anthropic, asked, id).await?;
        if !detail.has_ended() {
            let why = format!("the batch {id} has not ended: cancel it first");
            return Err(Rejection::new(StatusCode::CONFLICT, "batch_runs", why));
        }
        self.is_here(&object)?;
        let owner = asked.owner();
        if !self.ledger.remove_object(Kind::Batch, owner, id).await? {
            return Err(not_found("batch", id));
        }
        self.discard(owner, &detail.output).await;
        Ok(deleted(id))
    }
}

/// As clients see it, who ask for the results at the gateway that they know.
fn shape(asked: &Asked<'_>, id: &str, detail: &BatchDetail) -> Value {
    let origin = asked.origin();
    detail.message_batch(id, &format!("{origin}{ENDPOINT}/batches/{id}/results"))
}
