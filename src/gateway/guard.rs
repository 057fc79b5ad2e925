//! Guards and hooks in front of a provider: what they say of a request, and what becomes of it.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::request::Parts;

use super::{Gateway, Verified, asked, refusal};
use crate::access::{HookEvent, Permit};
use crate::api::{Api, Call};
use crate::hooks::{self, After, Answer, Found, Story};
use crate::ledger::Entry;
use crate::quota::State;
use crate::relay::Recording;
use crate::route::{Choice, Now, Route};
use crate::rules::Rules;
use crate::wire::Rejection;

/// A request on its way past the guards.
pub(super) struct Passing<'a> {
    pub(super) api: &'static dyn Api,
    pub(super) rules: &'a Rules,
    pub(super) permit: &'a Permit,
    pub(super) who: &'a Verified,
    pub(super) head: &'a Parts,
    /// The providers that could answer, by the caller's model.
    pub(super) fits: &'a (dyn Fn(&crate::route::Provider) -> bool + Sync),
}

impl Gateway {
    /// Has guards look and hooks judge, in this order, and decides anew where the request goes
    /// if one of them has changed its model.
    pub(super) async fn guarded(
        &self,
        passing: &Passing<'_>,
        mut call: Call,
        mut choice: Choice,
        recording: &mut Recording,
    ) -> Result<(Call, Choice), Rejection> {
        let mut done: BTreeSet<String> = BTreeSet::new();
        loop {
            let route = choice.first.clone();
            let model = call.model.clone();
            look(passing, &route, &mut call, &mut done, recording)?;
            self.hooks(passing, &route, &mut call, &mut done, recording)
                .await?;
            if call.model == model {
                return Ok((call, choice));
            }
            // Whoever asks for another model needs a grant for that one, and its guards.
            choice = self.chosen(passing, &call, recording)?;
        }
    }

    /// The providers for a call.
    pub(super) fn chosen(
        &self,
        passing: &Passing<'_>,
        call: &Call,
        recording: &mut Recording,
    ) -> Result<Choice, Rejection> {
        let now = Now {
            traffic: &self.traffic,
            conversation: call.session.as_deref().or(call.opening.as_deref()),
        };
        passing
            .rules
            .routes
            .select_where(passing.permit, &call.model, passing.fits, now)
            .map_err(|none| {
                refusal::no_route(&none, call, &passing.who.caller, recording, passing.api)
            })
    }

    async fn hooks(
        &self,
        passing: &Passing<'_>,
        route: &Route,
        call: &mut Call,
        done: &mut BTreeSet<String>,
        recording: &mut Recording,
    ) -> Result<(), Rejection> {
        let rules = passing.rules;
        let place = (route.provider.id.as_str(), route.model.as_str());
        let wired = hooks::wired(&rules.file.hooks, passing.permit, place);
        if wired.is_empty() {
            return Ok(());
        }
        let Some(entry) = recording.entry() else {
            return Ok(());
        };
        let mut story = story(entry, passing, route);
        let is_asked = |wired: &hooks::Wired<'_>| wired.events.contains(&HookEvent::PreRequest);
        if wired.iter().any(is_asked) {
            // A bucket that can't pay refuses before anybody is bothered.
            let payer = (rules, passing.permit, &*passing.who.caller);
            story.quotas = self.reserve(payer, route, call, recording).await?.states;
        }
        for wired in wired.iter().filter(|wired| is_asked(wired)) {
            if !done.insert(format!("hook {}", wired.name)) {
                continue;
            }
            let said = hooks::ask(&self.upstream, wired, &story, &call.body).await;
            let (answer, sentence) = match said {
                Ok(said) => said,
                Err((rejection, sentence)) => {
                    recording.note(|entry| entry.reasons.push(sentence));
                    return Err(rejection);
                }
            };
            recording.note(|entry| entry.reasons.push(sentence));
            match answer {
                Answer::Allow => {}
                Answer::Modify(body) => *call = reread(passing, wired.name, call, body)?,
                Answer::Block(rejection) => return Err(rejection),
            }
        }
        let keeps_tools = self.ledger.policy().tools;
        if let Some(after) = After::new(&wired, &story, &call.body, keeps_tools) {
            recording.wants_raw(after.wants_raw());
            recording.tell(Box::new(move |entry, tools, answer, raw| {
                after.deliveries(entry, tools, answer, raw)
            }));
        }
        Ok(())
    }
}

/// Has the guards look that have not looked yet.
fn look(
    passing: &Passing<'_>,
    route: &Route,
    call: &mut Call,
    done: &mut BTreeSet<String>,
    recording: &mut Recording,
) -> Result<(), Rejection> {
    for name in passing.permit.guards(&route.provider.id, &route.model) {
        if !done.insert(format!("guard {name}")) {
            continue;
        }
        let mut note = |sentence| recording.note(|entry| entry.reasons.push(sentence));
        match passing.rules.guards.look(name, &call.body)? {
            Found::Nothing => {}
            Found::Reported(sentence) => note(sentence),
            Found::Removed(body, sentence) => {
                note(sentence);
                *call = reread(passing, name, call, body)?;
            }
            Found::Blocked(rejection, sentence) => {
                note(sentence);
                return Err(rejection);
            }
        }
    }
    Ok(())
}

/// The call of a body that was changed: read as strictly as the caller's own.
fn reread(passing: &Passing<'_>, by: &str, before: &Call, body: Bytes) -> Result<Call, Rejection> {
    let call = passing.api.read(&asked(passing.head), body);
    let mut call = call.map_err(|rejection| {
        tracing::warn!(by, why = %rejection.message, "a guardrail made no valid request");
        Rejection::new(
            http::StatusCode::SERVICE_UNAVAILABLE,
            "guardrail_unavailable",
            format!(
                "the guardrail {by:?} made no valid request: {}",
                rejection.message
            ),
        )
    })?;
    // Over a WebSocket every answer comes as events.
    call.stream |= before.stream;
    Ok(call)
}

fn story(entry: &Entry, passing: &Passing<'_>, route: &Route) -> Story {
    let status = passing.who.changes.as_ref().map(|status| status.borrow());
    let domain = status.and_then(|status| {
        let (_, domain) = status.dns_name.as_deref()?.split_once('.')?;
        Some(domain.to_owned())
    });
    Story {
        login: entry.login.clone(),
        user_agent: entry.user_agent.clone(),
        url: entry.path.clone(),
        model: route.model.clone(),
        provider: route.provider.id.clone(),
        tailnet: domain.unwrap_or_default(),
        node_id: entry.node_id.clone(),
        request: entry.id.to_string(),
        session: entry.session.clone(),
        quotas: Vec::<State>::new(),
        grants: passing.permit.foreign().to_vec(),
    }
}
