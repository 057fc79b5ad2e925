//! A request whose response is made in the background: it is over before its response is, so it leaves no
//! record. What the record needs is stored before the caller hears of the response, for those who follow it.
//!
//! The provider makes such a response also for a caller who has left. So it is asked apart from the caller, until
//! the id of the response is known.

use std::sync::{Arc, Weak};
use std::time::Duration;

use http::{Response, StatusCode};
use memchr::memchr;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::base::clock::within;
use crate::base::memory::Hold;
use crate::exchange::clear::Cleared;
use crate::exchange::context::Candidate;
use crate::exchange::relay::{Begun, framing};
use crate::exchange::stored::{Bucket, Detail, Note, Running};
use crate::exchange::{Gateway, lists};
use crate::formats::{Background, Begins};
use crate::net::client::Errand;
use crate::policy::route::Provider;
use crate::records::balances::Reservation;
use crate::records::objects::{Inserted, State};
use crate::wire::Rejection;

/// Bytes of a response that has only begun, besides those of its request.
const MORE: usize = 1 << 20;
/// Bytes of it that are held without being counted.
const UNCOUNTED: usize = 64 << 10;
/// Bytes of the answer when one is cancelled.
const LONGEST: usize = 4 << 20;
/// For a response that isn't followed to be cancelled.
const CANCELLING: Duration = Duration::from_secs(10);

/// Requests that are asked apart from their callers.
pub struct Beginnings {
    gateway: Weak<Gateway>,
    tasks: TaskTracker,
}

impl Beginnings {
    /// Those of a gateway.
    #[must_use]
    pub fn new(gateway: Weak<Gateway>) -> Self {
        let tasks = TaskTracker::new();
        tasks.close();
        Self { gateway, tasks }
    }

    /// Waits until none is left.
    pub async fn ended(&self) {
        self.tasks.wait().await;
    }
}

impl Gateway {
    /// Asks for a response in the background; `None` if that has failed. A caller who leaves ends that only after as
    /// long as a provider may take to begin.
    pub(in crate::exchange) async fn begin_apart(
        &self,
        mut cleared: Cleared,
    ) -> Option<(Cleared, Result<Response<Begun>, Rejection>)> {
        let gateway = self.beginnings.gateway.upgrade()?;
        let limit = self.upstream.timeouts().first_byte;
        let left = CancellationToken::new();
        let leaves = left.clone().drop_guard();
        let begun = self.beginnings.tasks.spawn(async move {
            let too_late = async {
                left.cancelled().await;
                tokio::time::sleep(limit).await;
            };
            let response = tokio::select! {
                response = gateway.response(&mut cleared) => response,
                () = too_late => return None,
            };
            // What the provider has begun is followed, whether or not its caller is there. That takes a bounded time.
            let begun = match response {
                Ok(response) => gateway.followed(&mut cleared, response).await,
                refused => refused,
            };
            Some((cleared, begun))
        });
        let begun = begun.await;
        drop(leaves);
        begun.ok().flatten()
    }

    /// Refuses a background request that would go with another credential than the provider's: it could not be
    /// followed.
    pub(in crate::exchange) fn check_background(cleared: &Cleared) -> Result<(), Rejection> {
        let asked = cleared.asked();
        let is_own = |one: &Candidate| {
            one.terms.adds_credential
                || lists::gets_own_credential(asked, &one.route.provider, &one.terms)
        };
        if asked.call.background && cleared.choices.iter().any(is_own) {
            let why = "`background` isn't taken with another credential than the provider's: the response could not be followed";
            return Err(Rejection::new(
                StatusCode::BAD_REQUEST,
                "invalid_request",
                why,
            ));
        }
        Ok(())
    }

    /// Has a response followed that is made in the background. Any other is counted as it passes.
    async fn followed(
        &self,
        cleared: &mut Cleared,
        mut response: Response<Begun>,
    ) -> Result<Response<Begun>, Rejection> {
        let Some(background) = cleared.asked().format.background else {
            return Ok(response);
        };
        if !response.status().is_success() {
            return Ok(response);
        }
        let limit = self.upstream.timeouts().first_byte;
        let asked = cleared.asked();
        // It repeats what its request asked.
        let most = asked.rules.request_body.saturating_add(MORE);
        let is_stream = framing(response.headers(), asked.format).is_some();
        let mut memory = Hold::default();
        let begins = begins(
            response.body_mut(),
            background,
            is_stream,
            most,
            &mut memory,
        );
        let begins = within(limit, begins).await;
        let id = match begins.unwrap_or(Err("no id arrived in time")) {
            Ok(Some(id)) => id,
            Ok(None) => return Ok(response),
            Err(why) => {
                tracing::error!(
                    why,
                    "a response that may be made in the background can't be followed"
                );
                let why = format!(
                    "the id of the response is not known: {why}. It can't be followed, and is charged as an estimate"
                );
                // As for any provider that is given up although it may go on.
                let status = StatusCode::GATEWAY_TIMEOUT;
                return Err(Rejection::new(status, "provider_timeout", why));
            }
        };
        response.body_mut().count_seen(memory);
        let noted = self.begin_background(cleared, &id).await;
        if let Err(rejection) = noted {
            if let Some(attempt) = cleared.draft.attempt() {
                let (provider, key) = (Arc::clone(&attempt.route.provider), attempt.key);
                self.cancel_background(background, &provider, key, &id)
                    .await;
            }
            return Err(rejection);
        }
        Ok(response)
    }

    /// Stores what it takes to follow a response. From here on, those who follow it make its record.
    async fn begin_background(&self, cleared: &mut Cleared, id: &str) -> Result<(), Rejection> {
        let (asked, draft) = cleared.split();
        let facts = &mut **draft;
        let Some(attempt) = facts.attempts.last() else {
            return Ok(());
        };
        let buckets = attempt.hold.iter().flat_map(Reservation::buckets);
        let mut entry = facts.entry.clone();
        entry.overhead_ms = Some(attempt.before_ms);
        entry.first_byte_ms = Some(facts.elapsed_ms());
        let detail = Detail {
            running: Some(Running {
                format: asked.format.name.to_owned(),
                asked_bytes: asked.call.text_bytes(),
                buckets: buckets
                    .map(|chain| chain.iter().map(Bucket::of).collect())
                    .collect(),
                entry,
            }),
            ..Detail::new(attempt.key, &attempt.route.model)
        };
        let note = Note {
            owner: &facts.entry.caller,
            id,
            provider: &attempt.route.provider.id,
            asked: &facts.entry.model_requested,
            model: &attempt.route.model,
            key: attempt.key,
        };
        let object = note.object(State::Open, &detail);
        let refused = |status, code, why: &'static str| Err(Rejection::new(status, code, why));
        // If the caller leaves meanwhile, those who follow it make the record.
        facts.is_followed = true;
        match self.ledger.insert_object(object.clone()).await {
            Ok(Inserted::Done) => {}
            Ok(Inserted::Full) => {
                facts.is_followed = false;
                let why = "you have too many stored responses: delete some";
                return refused(StatusCode::TOO_MANY_REQUESTS, "too_many_responses", why);
            }
            Err(error) => {
                facts.is_followed = false;
                tracing::error!(%error, "a response in the background can't be followed");
                let why = "responses can't be made in the background right now: they could not be followed";
                return refused(StatusCode::SERVICE_UNAVAILABLE, "ledger_unavailable", why);
            }
        }
        let (caller, session) = (&facts.entry.caller, &facts.entry.session);
        self.responses.note(caller, id, session);
        let hold = facts.attempt().and_then(|attempt| attempt.hold.take());
        self.stored.begin(&object, hold);
        Ok(())
    }

    /// Cancels a response that isn't followed.
    async fn cancel_background(
        &self,
        background: Background,
        provider: &Provider,
        key: usize,
        id: &str,
    ) {
        let Ok(uri) = provider.url(&(background.cancel)(id), "", None) else {
            return;
        };
        let errand = Errand::json(uri, b"{}".to_vec(), CANCELLING, LONGEST);
        let cancelled = self
            .upstream
            .client
            .errand(errand.to(provider).with_key(key));
        if let Err(why) = cancelled.await {
            tracing::warn!(
                why,
                "a response that is not followed could not be cancelled"
            );
        }
    }
}

/// The id of a response that is made in the background, by how it begins; `None` for any other.
///
/// # Errors
/// Why that can't be read.
async fn begins(
    body: &mut Begun,
    background: Background,
    is_stream: bool,
    most: usize,
    memory: &mut Hold,
) -> Result<Option<String>, &'static str> {
    let (mut length, mut looked) = (0, 0);
    loop {
        let start = body.peek(length + 1).await;
        let is_all = start.len() == length;
        let has_line = is_stream && memchr(b'\n', &start[length..]).is_some();
        length = start.len();
        // A long one isn't read again with each piece of it.
        if is_all || has_line || length >= 2 * looked {
            looked = length;
            match (background.begins)(start) {
                Begins::Running(id) => return Ok(Some(id)),
                Begins::Other => return Ok(None),
                Begins::More if is_all => return Ok(None),
                Begins::More => {}
            }
        }
        if length > most {
            return Err("it doesn't stand in what the provider has sent so far");
        }
        if length > UNCOUNTED && memory.reserve(length).await.is_err() {
            return Err("not enough memory to read the response");
        }
    }
}
