//! A request whose response is made in the background: it is over before its response is, so it leaves no
//! record. What the record needs is stored before the caller hears of the response, for those who follow it.

use std::sync::Arc;
use std::time::Duration;

use http::{Response, StatusCode};
use memchr::memmem;

use crate::base::clock::within;
use crate::exchange::clear::Cleared;
use crate::exchange::context::Candidate;
use crate::exchange::relay::{Begun, framing};
use crate::exchange::stored::{Bucket, Detail, Note, Running};
use crate::exchange::{Gateway, lists};
use crate::formats::Background;
use crate::net::client::Errand;
use crate::policy::route::Provider;
use crate::records::balances::Reservation;
use crate::records::objects::{Inserted, State};
use crate::wire::Rejection;

/// Bytes of a response that has only begun.
const LONGEST: usize = 4 << 20;
/// Bytes of the first event of a stream, which repeats the instructions and the tools of the request.
const LONGEST_EVENT: usize = 1 << 20;
/// For a response that isn't followed to be cancelled.
const CANCELLING: Duration = Duration::from_secs(10);

impl Gateway {
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
    pub(in crate::exchange) async fn followed(
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
        let is_stream = framing(response.headers(), cleared.asked().format).is_some();
        let begins = begins(response.body_mut(), background, is_stream);
        let Ok(Some(id)) = within(limit, begins).await else {
            return Ok(response);
        };
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

/// The id of a response that is made in the background, by how it begins.
async fn begins(body: &mut Begun, background: Background, is_stream: bool) -> Option<String> {
    let most = if is_stream { LONGEST_EVENT } else { LONGEST };
    let mut wanted = if is_stream { 1 } else { most };
    loop {
        let start = body.peek(wanted).await;
        let found = (background.running)(start);
        let is_all = start.len() < wanted || start.len() >= most || !is_stream;
        if found.is_some() || is_all || has_event(start) {
            return found;
        }
        wanted = start.len() + 1;
    }
}

/// Whether a stream has come to the end of an event: comments don't count.
fn has_event(start: &[u8]) -> bool {
    let Some(data) = memmem::find(start, b"data:") else {
        return false;
    };
    memmem::find(&start[data..], b"\n\n").is_some()
}
