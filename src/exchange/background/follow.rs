//! Following responses that are made in the background: their providers are asked until they have ended, and then
//! they are paid for and recorded. One process follows a response at a time, under a lease; if it stops, another
//! one does.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::base::money::Mode;
use crate::base::{clock, panics};
use crate::exchange::Gateway;
use crate::exchange::ending::Ending;
use crate::exchange::facts::Kept;
use crate::exchange::followed::Followed;
use crate::exchange::stored::{Detail, Running, name};
use crate::formats::{self, BackgroundEnd, Format};
use crate::net::client::Errand;
use crate::policy::route::Provider;
use crate::records::Scope;
use crate::records::objects::{Kind, Object, State};

/// Between two questions: at first, and at most.
const SOONEST: Duration = Duration::from_secs(2);
const LATEST: Duration = Duration::from_mins(1);
/// For an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a response is this process's without a sign of life.
const LEASE: Duration = Duration::from_mins(2);
/// Bytes of a response, unless a request may have more.
const LONGEST: usize = 64 << 20;
/// Responses that a process follows at a time.
const MOST: usize = 512;
/// Between two looks for responses that no process follows.
const LOOK: Duration = Duration::from_secs(15);
/// How often a provider may say that it has no such response before that is believed.
const MOST_GONE: u32 = 3;
/// After so long nothing more is expected of a response.
const GIVEN_UP: Duration = Duration::from_hours(24);

/// What a provider says of a response.
enum Answer {
    /// It is being made.
    Running,
    /// It has ended, with this body.
    Ended(BackgroundEnd, Bytes),
    /// The provider has no such response any more.
    Gone,
    /// It can't be asked.
    Failed(String),
}

impl Gateway {
    /// Follows responses; never returns.
    pub async fn follow_responses(&self) {
        let mut followed = FuturesUnordered::new();
        loop {
            panics::point("followed");
            if self.ledger.is_shared() {
                self.give_back_elsewhere().await;
            }
            let room = MOST.saturating_sub(followed.len());
            if room > 0 {
                let claimant = self.stored.claimant();
                let claimed =
                    self.ledger
                        .claim_objects(Kind::Response, None, claimant, LEASE, room);
                match claimed.await {
                    Ok(objects) => {
                        let new = objects.into_iter().filter(|one| !self.stored.follows(one));
                        followed.extend(new.map(|one| self.follow(one)));
                    }
                    Err(error) => tracing::debug!(%error, "no responses are followed"),
                }
            }
            tokio::select! {
                () = self.stored.begun() => {}
                () = tokio::time::sleep(LOOK) => {}
                Some(()) = followed.next(), if !followed.is_empty() => {}
            }
        }
    }

    /// Gives back what is held for responses that another process has followed to their end.
    async fn give_back_elsewhere(&self) {
        for (owner, id) in self.stored.held_elsewhere() {
            let found = self.ledger.find_object(Kind::Response, &owner, &id).await;
            let has_ended = |object: Object| object.state == State::Ended;
            if found.is_ok_and(|found| found.is_none_or(has_ended)) {
                self.stored.give_back(&(owner, id));
            }
        }
    }

    /// Follows one response to its end.
    async fn follow(&self, object: Object) {
        self.stored.follow(&object);
        let asked = self.ask_until_ended(&object);
        if panics::caught("a response in the background", asked)
            .await
            .is_none()
        {
            tracing::error!(
                id = object.id,
                "a response in the background is not paid for"
            );
            self.end(&object).await;
        }
        self.stored.leave(&object);
    }

    async fn ask_until_ended(&self, object: &Object) {
        let detail = Detail::of(object);
        let running = detail.as_ref().and_then(|detail| detail.running.as_ref());
        let format = running.and_then(|running| formats::named(&running.format));
        let (Some(detail), Some(running), Some(format)) = (&detail, running, format) else {
            tracing::error!(
                id = object.id,
                "what is stored of a response can't be read: it isn't charged"
            );
            self.end(object).await;
            return;
        };
        // A process that stopped may have made the record.
        let id = running.entry.id.as_str();
        match self.ledger.request(Scope::Everyone, id).await {
            Ok(Some(_)) => return self.end(object).await,
            Ok(None) => {}
            // It is claimed again once its lease is over.
            Err(_) => return,
        }
        let (mut pause, mut gone) = (SOONEST, 0);
        loop {
            tokio::time::sleep(pause).await;
            match self.is_ours(object).await {
                Some(true) => {}
                Some(false) => return,
                // What is held stays held.
                None => continue,
            }
            let answer = self.ask_for(object, detail, format).await;
            let age = clock::unix_ms().saturating_sub(object.made);
            let is_late = age > i64::try_from(GIVEN_UP.as_millis()).unwrap_or(i64::MAX);
            let (ending, body) = match answer {
                Answer::Ended(end, body) => (ending(end), body),
                // One of several servers may not know it yet.
                Answer::Gone if gone < MOST_GONE => {
                    gone += 1;
                    pause = LATEST.min(pause * 2);
                    continue;
                }
                Answer::Gone => {
                    let why = "the provider no longer has the response";
                    (Ending::ProviderCut(why.to_owned()), Bytes::new())
                }
                Answer::Running | Answer::Failed(_) if is_late => {
                    let why = "the response has not ended within a day";
                    (Ending::TooLong(why.to_owned()), Bytes::new())
                }
                Answer::Failed(why) => {
                    tracing::debug!(id = object.id, why, "a response can't be asked for");
                    pause = LATEST.min(pause * 2);
                    continue;
                }
                Answer::Running => {
                    pause = LATEST.min(pause + pause / 2);
                    continue;
                }
            };
            while !self
                .pay(object, detail, running, format, &ending, &body)
                .await
            {
                tokio::time::sleep(SOONEST).await;
                // Another process may have taken it up, and even have paid.
                while self.is_ours(object).await.is_none() {
                    tokio::time::sleep(SOONEST).await;
                }
                if self.is_ours(object).await != Some(true) {
                    return;
                }
            }
            return self.end(object).await;
        }
    }

    /// Holds a response for longer. Whether it is this process's; `None` if the database doesn't say.
    async fn is_ours(&self, object: &Object) -> Option<bool> {
        let claimant = self.stored.claimant();
        let renewed = self.ledger.renew_object(object, claimant, LEASE).await;
        renewed.ok()
    }

    /// Asks the provider for a response.
    async fn ask_for(&self, object: &Object, detail: &Detail, format: &Format) -> Answer {
        let rules = self.rules.borrow().clone();
        let mut providers = rules.routes.providers().iter();
        let provider = providers.find(|one| one.id == object.provider.as_str());
        let (Some(provider), Some(background)) = (provider, format.background) else {
            return Answer::Failed("its provider is not configured".to_owned());
        };
        let provider: &Provider = provider;
        let uri = match provider.url(&(background.path)(&object.id), &detail.model, None) {
            Ok(uri) => uri,
            Err(error) => return Answer::Failed(error.to_string()),
        };
        let longest = rules.request_body.max(LONGEST);
        let errand = Errand::get(uri, PATIENCE, longest).counted();
        let errand = errand.to(provider).with_key(detail.key);
        let response = match self.upstream.client.errand(errand).await {
            Ok(response) => response,
            Err(why) => return Answer::Failed(why),
        };
        match response.status().as_u16() {
            200 => match (background.ended)(response.body()) {
                Some(end) => Answer::Ended(end, response.into_body()),
                None => Answer::Running,
            },
            404 | 410 => Answer::Gone,
            status => Answer::Failed(format!("it answered {status}")),
        }
    }

    /// Charges for a response and records it. Returns false if the ledger can't take the record now.
    async fn pay(
        &self,
        object: &Object,
        detail: &Detail,
        running: &Running,
        format: &'static Format,
        ending: &Ending,
        body: &Bytes,
    ) -> bool {
        let followed = Followed {
            running,
            provider: &object.provider,
            model: &detail.model,
            format,
            path: None,
            mode: Mode::Standard,
            ending: ending.clone(),
            status: 200,
            body,
            kept: Kept::default(),
        };
        let give_back = || self.stored.give_back(&name(object));
        let is_paid = self.pay_followed(followed, give_back).await;
        if is_paid {
            self.recorded().await;
        }
        is_paid
    }

    /// Notes that a response has ended.
    async fn end(&self, object: &Object) {
        let detail = Detail::of(object).map(|detail| Detail {
            running: None,
            ..detail
        });
        let ended = Object {
            state: State::Ended,
            detail: detail.map(|detail| detail.written()).unwrap_or_default(),
            ..object.clone()
        };
        if let Err(error) = self.ledger.update_object(object.clone(), ended).await {
            // It is claimed again, and found to be recorded.
            tracing::warn!(%error, id = object.id, "a response that has ended is still noted as running");
        }
    }
}

fn ending(end: BackgroundEnd) -> Ending {
    match end {
        BackgroundEnd::Complete => Ending::Complete,
        BackgroundEnd::Cancelled => Ending::ClientLeft,
        BackgroundEnd::Failed(why) => Ending::ProviderFailed(why),
    }
}
