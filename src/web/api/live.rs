//! Tells pages that there is something new, as server-sent events. An event holds nothing: what is
//! new, its reader asks for, and is asked for their grants then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{Asked, View};
use crate::exchange::rules::Rules;
use crate::records::{Scope, Written};
use crate::wire::{Body, Rejection};

/// Streams of one device: a few pages that are open side by side.
const MOST_EACH: usize = 8;
/// Streams of all.
const MOST: usize = 1_024;
/// Between two events.
const PAUSE: Duration = Duration::from_secs(1);
/// Proxies close a stream that is silent for longer.
const ALIVE: Duration = Duration::from_secs(25);
/// After this, a listener has to ask again, and may have lost their role.
const LONGEST: Duration = Duration::from_mins(10);

/// Those who listen. Lives as long as the process.
pub struct Listeners {
    rules: watch::Receiver<Arc<Rules>>,
    stop: CancellationToken,
    open: Mutex<HashMap<String, usize>>,
}

impl Listeners {
    /// Streams end when the rules change, and when `stop` is cancelled.
    #[must_use]
    pub fn new(rules: watch::Receiver<Arc<Rules>>, stop: CancellationToken) -> Self {
        Self {
            rules,
            stop,
            open: Mutex::default(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admit(self: &Arc<Self>, device: &str) -> Option<Place> {
        let mut open = self.lock();
        let own = open.get(device).copied().unwrap_or_default();
        if own >= MOST_EACH || open.values().sum::<usize>() >= MOST {
            return None;
        }
        open.insert(device.to_owned(), own + 1);
        Some(Place {
            listeners: Arc::clone(self),
            device: device.to_owned(),
        })
    }
}

/// Room for one stream, until it is dropped.
struct Place {
    listeners: Arc<Listeners>,
    device: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.listeners.lock();
        if let Some(own) = open.get_mut(&self.device) {
            *own -= 1;
            if *own == 0 {
                open.remove(&self.device);
            }
        }
    }
}

/// One stream.
struct Stream {
    _place: Place,
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
        let Self {
            rules,
            stop,
            written,
            scope,
            until,
            ..
        } = self;
        tokio::select! {
            () = stop.cancelled() => None,
            () = sleep_until(*until) => None,
            _ = rules.changed() => None,
            is_new = written.of(scope) => {
                if !is_new {
                    return None;
                }
                // Many at once are one event.
                tokio::select! {
                    () = stop.cancelled() => return None,
                    () = sleep(PAUSE) => {}
                }
                written.meanwhile(scope);
                Some("event: records\ndata: {}\n\n")
            }
            () = sleep(ALIVE) => Some(":\n\n"),
        }
    }
}

/// `GET /api/events`.
pub(super) fn events(view: &View<'_>, asked: &Asked<'_>) -> Result<Response<Body>, Rejection> {
    let listeners = view.listeners;
    let Some(place) = listeners.admit(asked.caller.node_id()) else {
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
        _place: place,
        rules,
        stop: listeners.stop.clone(),
        written: view.ledger.written(),
        scope: asked.scope(),
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
