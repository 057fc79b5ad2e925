//! A batch that is made, in any API: its lines are read, and each of its models is one that its owner may
//! use and a budget could pay for now.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use serde_json::{Map, Value};

use super::detail::{BatchDetail, Device, Status, stored};
use super::disk::{Disk, DiskError};
use super::family::Family;
use super::files::keep;
use super::input::{Input, Scanned, line_format};
use super::patience::FailingFor;
use super::relayed::{LocalFile, Relayed, RunBy, Stage};
use super::{Asked, Gateway, KEPT_MS, new_id, on_disk};
use crate::base::clock;
use crate::base::labels;
use crate::exchange::batched::fits_batches;
use crate::exchange::context::Context;
use crate::exchange::entry;
use crate::exchange::rules::{Asker, Rules};
use crate::formats::openai_batches::Counts;
use crate::formats::{Format, anthropic_batches};
use crate::policy::access::Permit;
use crate::policy::budget::Amounts;
use crate::policy::route::{Evidence, Fit, Provider, Route, Traffic};
use crate::records::objects::{Kind, Object, State};
use crate::wire::Rejection;

/// The time that providers give their batches.
const REMOTE_WINDOW: Duration = Duration::from_hours(24);

/// A batch whose lines were read.
pub(super) struct New {
    pub(super) family: Family,
    pub(super) endpoint: String,
    /// The file with its lines.
    pub(super) input: String,
    /// How long it may take, and in the caller's words.
    pub(super) lasts: Duration,
    pub(super) window: String,
    pub(super) metadata: Value,
    pub(super) scanned: Scanned,
}

impl Gateway {
    /// Reads all lines of a file on this node's disk, and sees that the caller may ask them.
    pub(super) async fn checked(
        &self,
        asked: &Asked<'_>,
        family: Family,
        file: &str,
        endpoint: &str,
    ) -> Result<Scanned, Rejection> {
        let labels = entry::labels(&asked.head.headers)?;
        let format = line_format(endpoint).ok_or_else(Rejection::panicked)?;
        let disk = Arc::clone(&self.jobs.disk);
        let longest = asked.context.rules.request_body;
        let [owner, file, path] = [asked.owner(), file, endpoint].map(str::to_owned);
        let scanned = on_disk(move || {
            let mut input = Input::open(disk.read(&owner, &file)?, 0, longest)?;
            Scanned::of(&mut input, family, format, &path)
        });
        let scanned = scanned.await?.map_err(DiskError::from)?;
        let Context { rules, asker, .. } = asked.context;
        for (model, line) in &scanned.models {
            let route = route(rules, &asker.permit, format, endpoint, model);
            let route = route.ok_or_else(|| {
                let caller = asker.owner().name();
                let why = format!(
                    "line {line}: no route found for model \"{model}\" for user \"{caller}\""
                );
                Rejection::new(http::StatusCode::NOT_FOUND, "model_not_found", why)
            })?;
            self.may_ask(asked, &route, &labels).await?;
        }
        Ok(scanned)
    }

    /// Keeps the lines of a batch that came with it. Returns the id of their file.
    pub(super) async fn keep_lines(
        &self,
        asked: &Asked<'_>,
        lines: Vec<u8>,
    ) -> Result<String, Rejection> {
        let input = new_id("file-iris-")?;
        let most = asked.context.rules.file.limits.files;
        let (owner, file) = (asked.owner().to_owned(), input.clone());
        let put = move |disk: &Disk| disk.put(&owner, &file, &lines, most);
        self.written(asked.owner(), put).await??;
        Ok(input)
    }

    /// Sees that the caller may label requests for a route so, and that a budget could pay for them now.
    async fn may_ask(
        &self,
        asked: &Asked<'_>,
        route: &Route,
        labels: &labels::Labels,
    ) -> Result<(), Rejection> {
        let Context { rules, asker, .. } = asked.context;
        asker.permit.check_labels(route.subject(), labels)?;
        let Asker { caller, permit } = asker;
        let plan = rules.quotas.plan(permit, caller, labels, route.subject());
        let plan = plan.map_err(|denied| denied.rejection())?;
        let looked = self.quotas.look(&plan, Amounts::FREE).await;
        looked.map(drop).map_err(|denied| denied.rejection())
    }

    /// Who is to run a batch: the provider that each of its lines would go to, if it has batches itself.
    fn run_by(&self, asked: &Asked<'_>, new: &New) -> Result<RunBy, Rejection> {
        let (rules, asker) = (&asked.context.rules, &asked.context.asker);
        let Some(remote) = new.family.remote() else {
            return Ok(RunBy::Gateway);
        };
        let has_own_headers = |(name, value): &(String, String)| {
            let mut known = remote.headers.iter();
            let is_known =
                known.any(|(one, values)| one == name && values.contains(&value.as_str()));
            name != labels::HEADER && !is_known
        };
        let has_own_headers = headers(new.family, asked).iter().any(has_own_headers);
        let format = line_format(&new.endpoint).filter(|_| !has_own_headers);
        let Some(format) = format else {
            return Ok(RunBy::Gateway);
        };
        let mut provider: Option<Arc<Provider>> = None;
        for model in new.scanned.models.keys() {
            let first = route(rules, &asker.permit, format, &new.endpoint, model);
            let Some(first) = first else {
                return Ok(RunBy::Gateway);
            };
            let is_same = provider
                .as_ref()
                .is_none_or(|one| one.id == first.provider.id);
            let has_batches = first.provider.speaks(remote.format);
            if !is_same || !has_batches || !fits_batches(rules, asker, &first, format) {
                return Ok(RunBy::Gateway);
            }
            provider = Some(first.provider);
        }
        let Some(provider) = provider.filter(|_| new.lasts == REMOTE_WINDOW) else {
            return Ok(RunBy::Gateway);
        };
        let file = || {
            Ok::<_, Rejection>(LocalFile {
                id: new_id("file-iris-")?,
                bytes: 0,
            })
        };
        Ok(RunBy::Provider(Box::new(Relayed {
            key: self.traffic.key(&provider, None),
            provider: provider.id.to_string(),
            tag: new_id("iris")?,
            lines: file()?,
            notes: file()?,
            results: file()?,
            sent: 0,
            expected: BTreeMap::new(),
            stage: Stage::Preparing,
            since: 0,
            gone: FailingFor::default(),
            stuck: FailingFor::default(),
        })))
    }

    /// Makes a batch. Returns its id.
    pub(super) async fn begin(
        &self,
        asked: &Asked<'_>,
        new: New,
    ) -> Result<(String, BatchDetail), Rejection> {
        let now = clock::unix_ms();
        let mut detail = detail(asked, &new, now)?;
        let is_open = detail.flaws.is_empty();
        if is_open {
            detail.run_by = self.run_by(asked, &new)?;
            detail.come_to(Status::InProgress, now);
        } else {
            detail.counts = Counts::default();
            detail.come_to(Status::Failed, now);
        }
        let id = new_id(new.family.prefix())?;
        let object = Object {
            kind: Kind::Batch,
            id: id.clone(),
            owner: asked.owner().to_owned(),
            provider: String::new(),
            model: new.scanned.models.into_keys().next().unwrap_or_default(),
            node: self.jobs.disk.node().to_owned(),
            made: now,
            // One that no node can run goes too.
            ends: Some(if is_open { detail.deadline } else { now }.saturating_add(KEPT_MS)),
            state: if is_open { State::Open } else { State::Ended },
            detail: stored(&detail),
        };
        keep(&self.ledger, object).await?;
        self.jobs.made.notify_one();
        Ok((id, detail))
    }
}

fn detail(asked: &Asked<'_>, new: &New, now: i64) -> Result<BatchDetail, Rejection> {
    let lasts = i64::try_from(new.lasts.as_millis()).unwrap_or(i64::MAX);
    let deadline = now.saturating_add(lasts);
    let mut times = Map::new();
    times.insert("created_at".to_owned(), (now / 1_000).into());
    times.insert("expires_at".to_owned(), (deadline / 1_000).into());
    let who = &asked.context.who;
    Ok(BatchDetail {
        family: new.family,
        status: Status::InProgress,
        endpoint: new.endpoint.clone(),
        input: new.input.clone(),
        window: new.window.clone(),
        metadata: new.metadata.clone(),
        times,
        deadline,
        counts: Counts {
            total: new.scanned.total,
            ..Counts::default()
        },
        given_up: 0,
        flaws: new.scanned.flaws.clone(),
        device: Device {
            address: who.resolver.as_ref().map(|(_, address)| *address),
            node_id: who.caller.node_id().to_owned(),
        },
        headers: headers(new.family, asked),
        output: new_id("file-iris-")?,
        output_bytes: 0,
        errors: new_id("file-iris-")?,
        errors_bytes: 0,
        next: 0,
        tries: 0,
        run_by: RunBy::Gateway,
    })
}

/// Headers of the request that makes a batch which its lines have too.
fn headers(family: Family, asked: &Asked<'_>) -> Vec<(String, String)> {
    let value = |name: &str| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let values = asked.head.headers.get_all(name).iter();
        let values: Vec<_> = values.filter_map(|value| value.to_str().ok()).collect();
        (!values.is_empty()).then(|| values.join(","))
    };
    let named = |name: &str| Some((name.to_owned(), value(name)?));
    let mut headers: Vec<_> = named(labels::HEADER).into_iter().collect();
    if family == Family::Anthropic {
        let [version, beta] = anthropic_batches::HEADERS;
        let stated = value(version);
        let stated = anthropic_batches::version(stated.as_deref());
        headers.push((version.to_owned(), stated.to_owned()));
        headers.extend(named(beta));
    }
    headers
}

/// Where a request for a path would go first.
pub(super) fn route(
    rules: &Rules,
    permit: &Permit,
    format: &Format,
    path: &str,
    model: &str,
) -> Option<Route> {
    // A look must not take a request's turn among equals.
    let apart = Traffic::default();
    let evidence = Evidence {
        traffic: &apart,
        conversation: None,
        holder: None,
    };
    let fits = |provider: &Provider| -> Option<Fit> { provider.fit_at(format, path) };
    let choice = rules.routes.select(permit, model, &fits, evidence);
    choice.ok().map(|choice| choice.first)
}
