//! A response whose provider speaks another format: it comes over HTTP, and its events are frames for the
//! caller.

use std::collections::VecDeque;

use http::Response;
use http_body_util::{BodyExt, Collected};
use serde::Deserialize;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::continued::Turn;
use crate::formats::{self, translate};
use crate::wire::{Body, Rejection, sse};

/// A response that is relayed, and recorded at its end.
pub(super) struct Relayed {
    body: Body,
    decoder: sse::Decoder,
    ready: VecDeque<Utf8Bytes>,
    /// The elements of the request's input, for requests that go on with this response.
    input: Option<Vec<u8>>,
    most: usize,
    /// The id that its first event has told its caller.
    pub(super) id: Option<String>,
    pub(super) turn: Option<Turn>,
}

impl Relayed {
    /// The response to a frame with this input, of which up to `most` bytes are kept.
    ///
    /// # Errors
    /// If it is an error, which is recorded then.
    pub(super) async fn new(
        response: Response<Body>,
        input: Option<Vec<u8>>,
        most: usize,
    ) -> Result<Self, Rejection> {
        let (head, body) = response.into_parts();
        if !head.status.is_success() {
            let body = body.collect().await.map(Collected::to_bytes);
            let words = formats::error_words(&body.unwrap_or_default());
            let words = words.unwrap_or_else(|| format!("the provider answered {}", head.status));
            return Err(Rejection::new(head.status, "provider_error", words));
        }
        Ok(Self {
            body,
            decoder: sse::Decoder::new(translate::LONGEST),
            ready: VecDeque::new(),
            input,
            most,
            id: None,
            turn: None,
        })
    }

    /// The next event; `None` at the end, of which the caller was told if something failed. Nothing is lost
    /// if the future is dropped before it is ready.
    pub(super) async fn next(&mut self) -> Option<Utf8Bytes> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                let input = self.input.as_deref();
                let turn = input.and_then(|input| Turn::of(input, event.as_bytes(), self.most));
                self.turn = turn.or(self.turn.take());
                return Some(event);
            }
            let Ok(piece) = self.body.frame().await?.ok()?.into_data() else {
                continue;
            };
            let ready = &mut self.ready;
            self.decoder.feed(&piece, |event| {
                let text = std::str::from_utf8(event.data).ok();
                ready.extend(text.map(Utf8Bytes::from));
            });
            if self.id.is_none() {
                self.id = self.ready.front().and_then(|event| id(event));
            }
        }
    }
}

/// The id of the response that an event is of.
fn id(event: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Event {
        response: Named,
    }
    #[derive(Deserialize)]
    struct Named {
        id: String,
    }
    let event: Event = serde_json::from_str(event).ok()?;
    Some(event.response.id)
}
