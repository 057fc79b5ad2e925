//! `GET /api/events`: tells pages that there is something new, as server-sent events. An event holds
//! nothing: what is new, its reader asks for, and is asked for their grants then.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::exchange::rules::Rules;
use crate::records::{Scope, Written};
use crate::web::api::endpoint::{Call, Content, Endpoint, Handler, Reply};
use crate::web::engines::Room;
use crate::wire::Rejection;

pub(in crate::web::api) const ENDPOINT: Endpoint = Endpoint {
    path: "/api/events",
    name: "Events",
    about: "Server-sent events: `records` whenever there are new ones that you may see. A stream ends after ten minutes, and when the configuration changes.",
    answer: Content::Events,
    handler: Handler::Role(|call| Box::pin(async move { events(&call) })),
    ..Endpoint::GET
};

/// Between two events.
const PAUSE: Duration = Duration::from_secs(1);
/// Proxies close a stream that is silent for longer.
const ALIVE: Duration = Duration::from_secs(25);
/// After this, a listener has to ask again, and may have lost their role.
const LONGEST: Duration = Duration::from_mins(10);

/// One stream.
struct Stream {
    _room: Room,
    rules: watch::Receiver<Arc<Rules>>,
    stop: CancellationToken,
    written: Written,
    scope: Scope,
    until: Instant,
    has_begun: bool,
}

impl Stream {
    /// What is said next; nothing once the stream ends.
    async fn next(&mut self) -> Option<&'static str> {
        if !std::mem::replace(&mut self.has_begun, true) {
            return Some("retry: 5000\n\n");
        }
        tokio::select! {
            () = self.stop.cancelled() => None,
            () = sleep_until(self.until) => None,
            _ = self.rules.changed() => None,
            is_new = self.written.of(&self.scope) => {
                if !is_new {
                    return None;
                }
                // Many at once are one event.
                tokio::select! {
                    () = self.stop.cancelled() => return None,
                    () = sleep(PAUSE) => {}
                }
                self.written.meanwhile(&self.scope);
                Some("event: records\ndata: {}\n\n")
            }
            () = sleep(ALIVE) => Some(":\n\n"),
        }
    }
}

fn events(call: &Call<'_>) -> Reply {
    let listeners = &call.reader.engines.management.listeners;
    let Some(room) = listeners.admit(call.reader.caller.node_id()) else {
        return Err(Rejection::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_listeners",
            "too many pages listen for what is new; close some",
        )
        .retry_after(Duration::from_mins(1)));
    };
    let mut rules = listeners.rules.clone();
    // Those that this request was permitted by.
    rules.mark_unchanged();
    let stream = Stream {
        _room: room,
        rules,
        stop: listeners.stop.clone(),
        written: call.reader.ledger().written(),
        scope: call.reader.scope(),
        until: Instant::now() + LONGEST,
        has_begun: false,
    };
    let said = stream::unfold(stream, |mut stream| async move {
        let said = stream.next().await?;
        Some((Ok(Frame::data(Bytes::from_static(said.as_bytes()))), stream))
    });
    let mut response = Response::new(StreamBody::new(said).boxed_unsync());
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("text/event-stream");
    headers.insert(header::CONTENT_TYPE, kind);
    let control = HeaderValue::from_static("no-store");
    headers.insert(header::CACHE_CONTROL, control);
    Ok(response)
}
