//! A line of a batch that a provider runs itself. It passes the stages of a request up to the one that would send
//! it: what the provider's batch has of it was routed, cleared and priced like any request. Its record is made once
//! the provider has answered it.
//!
//! What a batch may cost is held for all of its lines together, so nothing is held here.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;

use super::admit::Admitted;
use super::clear::{Cleared, plan};
use super::context::Surface;
use super::ending::Stage;
use super::entry::Ticket;
use super::fund::estimate;
use super::refusal::Refused;
use super::stored::{Bucket, Running};
use super::{Gateway, Verified, hooks};
use crate::base::money::Mode;
use crate::base::panics;
use crate::base::reasons::Reason;
use crate::exchange::rules::{Asker, Rules};
use crate::formats::Format;
use crate::policy::access::HookEvent;
use crate::policy::budget::Amounts;
use crate::policy::route::{Provider, Route};
use crate::wire::Rejection;

/// What becomes of a line that is to run in a provider's batch.
pub(super) enum Batched {
    /// The provider can be asked it.
    Line(Box<BatchLine>),
    /// It is refused. Its record has this id.
    Refused { rejection: Rejection, id: String },
    /// It can't run in a batch of this provider.
    Elsewhere,
}

/// A line that a provider's batch may have.
pub(super) struct BatchLine {
    /// What the provider is asked.
    pub(super) body: Bytes,
    /// As the provider names it.
    pub(super) model: String,
    /// What its record needs.
    pub(super) running: Running,
    /// What it may cost.
    pub(super) estimate: Amounts,
}

/// Whether requests to `route` can run in a batch of its provider's: it speaks the caller's format, nothing has to be
/// added to each request, no hook gets responses, and no budget counts requests one by one.
pub(super) fn fits_batches(rules: &Rules, asker: &Asker, route: &Route, format: &Format) -> bool {
    let provider: &Provider = &route.provider;
    let terms = rules.terms(asker, route);
    let wired = hooks::wired(&rules.file.hooks, &asker.permit, route.subject());
    let mut events = wired.iter().flat_map(|wired| &wired.wants.events);
    let counts_requests = match &terms.plan {
        Some(Ok(plan)) => plan.counts_requests(),
        _ => false,
    };
    provider.speaks(format)
        && !provider.needs_own_credential()
        && terms.headers.is_empty()
        && !terms.adds_credential
        && events.all(|event| *event == HookEvent::PreRequest)
        && !counts_requests
}

impl Gateway {
    /// Takes a line up to where a provider would be asked it; `to` is the provider's id, and the line's record has the
    /// name of `ticket`.
    pub(super) async fn batched(
        &self,
        format: &'static Format,
        who: Verified,
        request: Request<Bytes>,
        to: &str,
        ticket: Ticket,
    ) -> Batched {
        let id = ticket.id.as_str().to_owned();
        let line = self.line(ticket, format, who, request, to);
        let line = panics::caught("a line of a batch", line).await;
        let line = line.unwrap_or_else(|| Err(Rejection::panicked()));
        line.unwrap_or_else(|rejection| Batched::Refused { rejection, id })
    }

    async fn line(
        &self,
        ticket: Ticket,
        format: &'static Format,
        who: Verified,
        request: Request<Bytes>,
        to: &str,
    ) -> Result<Batched, Rejection> {
        let (head, body) = request.into_parts();
        let identified = self.identify(&who, &head.headers).await?;
        let admitted: Admitted = self
            .admit(ticket, who, identified, &head, Surface::Http, format)
            .await?;
        let routed = match self.attached(admitted.context(), body).await {
            Ok(body) => self.route(admitted, Arc::new(head), body),
            Err(rejection) => Err(Refused::new(admitted.draft, Stage::Route, rejection)),
        };
        let cleared = match routed {
            Ok(routed) => self.clear(routed).await,
            Err(refused) => Err(refused),
        };
        let mut cleared = cleared.map_err(Refused::record)?;
        let line = self.batch_line(&mut cleared, to).await;
        let Cleared { mut draft, .. } = cleared;
        match line {
            Ok(line) => {
                draft.withdraw();
                Ok(line)
            }
            Err(rejection) => {
                draft.refuse(Stage::Clear, &rejection);
                Err(rejection)
            }
        }
    }

    /// What a provider's batch gets of a request that was cleared.
    async fn batch_line(&self, cleared: &mut Cleared, to: &str) -> Result<Batched, Rejection> {
        let candidate = self.next(cleared).await;
        let candidate = candidate.ok_or_else(Rejection::panicked)?;
        let (asked, draft) = cleared.split();
        let route = &candidate.route;
        if route.provider.id != to || !fits_batches(&asked.rules, &asked.asker, route, asked.format)
        {
            return Ok(Batched::Elsewhere);
        }
        let terms = Arc::clone(&candidate.terms);
        draft.choose(asked, candidate, None);
        let attempt = draft.attempt().ok_or_else(Rejection::panicked)?;
        if let Some(price) = &mut attempt.price {
            price.mode = Mode::Batch;
        }
        let outbound = self.outbound(asked, attempt)?;
        let (format, call) = attempt.served(asked);
        let estimate = estimate(call, attempt.price.as_ref());
        let plan = plan(asked, &terms, &attempt.route)?;
        if plan.counts_requests() {
            return Ok(Batched::Elsewhere);
        }
        let chains = plan.chains(estimate).map_err(|denied| denied.rejection())?;
        let buckets = chains.iter();
        let buckets = buckets.map(|chain| chain.links.iter().map(Bucket::of).collect());
        let (buckets, asked_bytes) = (buckets.collect(), call.text_bytes());
        let model = attempt.route.model.to_string();
        let mut entry = draft.entry.clone();
        entry.reasons.push(Reason::ProviderBatch {
            provider: entry.provider.clone(),
        });
        Ok(Batched::Line(Box::new(BatchLine {
            body: outbound.body,
            model,
            running: Running {
                format: format.name.to_owned(),
                entry,
                asked_bytes,
                buckets,
            },
            estimate,
        })))
    }
}
