//! Guards and hooks in front of a provider: what they say of a request, and what becomes of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{StatusCode, header};
use tokio_util::sync::CancellationToken;

use super::{Gateway, Verified, asked, entry, lists, refusal};
use crate::base::reasons::Reason;
use crate::exchange::guardrails::{self, Found, Limits};
use crate::exchange::hooks::{self, After, Answer, Story};
use crate::exchange::relay::Recording;
use crate::exchange::rules::Rules;
use crate::formats::{Call, Format, Frame};
use crate::policy::access::{HookEvent, Permit};
use crate::policy::budget::State;
use crate::policy::route::{Choice, Evidence, Route};
use crate::records::Entry;
use crate::wire::Rejection;

/// Looking at a body takes long enough from here on, in bytes.
const LONG: usize = 64 << 10;

/// A request on its way past the guards.
pub(super) struct Passing<'a> {
    pub(super) api: &'static Format,
    pub(super) rules: &'a Rules,
    pub(super) permit: &'a Permit,
    pub(super) who: &'a Verified,
    pub(super) head: &'a Parts,
    /// It is a frame of a WebSocket.
    pub(super) is_socket: bool,
    /// The providers that could answer, by the caller's model.
    pub(super) fits: &'a (dyn Fn(&crate::policy::route::Provider) -> bool + Sync),
}

/// Who has looked at a request so far.
#[derive(Default)]
struct Seen {
    guards: BTreeSet<String>,
    hooks: BTreeSet<String>,
}

impl Gateway {
    /// Has guards look and hooks judge, in this order, and decides again where the request goes
    /// if one of them has changed its model.
    pub(super) async fn guarded(
        &self,
        passing: &Passing<'_>,
        mut call: Call,
        mut choice: Choice,
        recording: &mut Recording,
    ) -> Result<(Call, Choice), Rejection> {
        let mut seen = Seen::default();
        let way = (&mut call, &mut choice);
        if let Err(rejection) = self.judged(passing, way, &mut seen, recording).await {
            let route = &choice.first;
            recording.note(|entry| {
                entry.provider.clone_from(&route.provider.id);
                entry.model.clone_from(&route.model);
            });
            return Err(rejection);
        }
        choice
            .others
            .retain(|route| lists::choices(passing.permit, route, &call).is_ok());
        only_seen(passing, &mut choice, &seen, recording);
        Ok((call, choice))
    }

    /// Each hook is asked once. Guards look again at what it has written: nothing leaves unseen,
    /// not even to the next hook.
    async fn judged(
        &self,
        passing: &Passing<'_>,
        (call, choice): (&mut Call, &mut Choice),
        seen: &mut Seen,
        recording: &mut Recording,
    ) -> Result<(), Rejection> {
        let mut is_new = true;
        let mut quotas: Option<Vec<State>> = None;
        loop {
            if std::mem::take(&mut is_new) {
                lists::choices(passing.permit, &choice.first, call)?;
                look(passing, &choice.first, call, seen, recording).await?;
            }
            let wired = wired(passing, &choice.first);
            let is_next = |wired: &&hooks::Wired<'_>| {
                wired.events.contains(&HookEvent::PreRequest) && !seen.hooks.contains(wired.name)
            };
            let Some(wired) = wired.iter().find(is_next) else {
                return Ok(());
            };
            if quotas.is_none() {
                // A bucket that can't pay refuses before any hook is called.
                let payer = (passing.rules, passing.permit, &*passing.who.caller);
                let held = self.reserve(payer, &choice.first, call, recording).await;
                match held {
                    Ok(held) => quotas = Some(held.states),
                    Err(rejection)
                        if rejection.status == StatusCode::TOO_MANY_REQUESTS
                            && !choice.others.is_empty() =>
                    {
                        let next = choice.others.remove(0);
                        let provider = choice.first.provider.id.clone();
                        recording.note(|entry| entry.reasons.push(Reason::Unpaid { provider }));
                        choice.first = next;
                        is_new = true;
                        continue;
                    }
                    Err(rejection) => return Err(rejection),
                }
            }
            seen.hooks.insert(wired.name.to_owned());
            let Some(entry) = recording.entry() else {
                return Ok(());
            };
            let states = quotas.clone().unwrap_or_default();
            let story = story(entry, passing.permit, passing.who, &choice.first, states);
            let said = hooks::ask(
                &self.upstream.client,
                wired,
                &story,
                &call.body,
                &self.tally,
            )
            .await;
            let (answer, reason) = match said {
                Ok(said) => said,
                Err((rejection, reason)) => {
                    recording.note(|entry| entry.reasons.push(reason));
                    return Err(rejection);
                }
            };
            recording.note(|entry| entry.reasons.push(reason));
            match answer {
                Answer::Allow => {}
                Answer::Modify(body) => {
                    let changed = reread(passing, wired.name, call, body)?;
                    let before = std::mem::replace(call, changed);
                    is_new = true;
                    if call.model != before.model {
                        // Another model needs a grant of its own.
                        *choice = self.chosen(passing, call, recording)?;
                        quotas = None;
                    }
                }
                Answer::Block(rejection) => return Err(rejection),
            }
        }
    }

    /// Queues the hooks that `route` calls once a request has ended.
    pub(super) fn tell(
        &self,
        (rules, permit, who): (&Rules, &Permit, &Verified),
        route: &Route,
        (call, (quotas, warnings)): (&Call, (Vec<State>, Vec<String>)),
        recording: &mut Recording,
    ) {
        let wired = hooks::wired(&rules.file.hooks, permit, route.subject());
        let after = recording
            .entry()
            .filter(|_| !wired.is_empty())
            .and_then(|entry| {
                let mut story = story(entry, permit, who, route, quotas);
                story.warnings = warnings;
                After::new(&wired, &story, &call.body, self.ledger.policy().tools)
            });
        recording.tell(after);
    }

    /// The providers for a call.
    pub(super) fn chosen(
        &self,
        passing: &Passing<'_>,
        call: &Call,
        recording: &mut Recording,
    ) -> Result<Choice, Rejection> {
        let format = passing.api.name;
        let has_choice = passing.rules.routes.providers().len() > 1;
        let holder = has_choice
            .then(|| self.held.holder(format, &call.body))
            .flatten();
        let session = recording.entry().and_then(entry::conversation);
        let session = session.map(str::to_owned);
        let evidence = Evidence {
            traffic: &self.traffic,
            conversation: session.as_deref(),
            holder: holder.as_ref(),
        };
        passing
            .rules
            .routes
            .select_where(passing.permit, &call.model, passing.fits, evidence)
            .map_err(|none| {
                refusal::no_route(&none, call, &passing.who.caller, recording, passing.api)
            })
    }
}

/// The hooks for a route.
fn wired<'a>(passing: &Passing<'a>, route: &Route) -> Vec<hooks::Wired<'a>> {
    hooks::wired(&passing.rules.file.hooks, passing.permit, route.subject())
}

/// Leaves those providers to help out for which no other guard and no other hook would have had
/// to look.
fn only_seen(passing: &Passing<'_>, choice: &mut Choice, seen: &Seen, recording: &mut Recording) {
    choice.others.retain(|route| {
        let guards = passing.permit.guards(route.subject());
        let mut guards = guards.into_iter();
        let guard = guards.find(|name| !seen.guards.contains(*name));
        let hook = wired(passing, route).into_iter().find(|wired| {
            wired.events.contains(&HookEvent::PreRequest) && !seen.hooks.contains(wired.name)
        });
        let Some(unseen) = guard.or(hook.map(|wired| wired.name)) else {
            return true;
        };
        let unchecked = Reason::Unchecked {
            provider: route.provider.id.clone(),
            guardrail: unseen.to_owned(),
        };
        recording.note(|entry| entry.reasons.push(unchecked));
        false
    });
}

/// Has the guards look.
async fn look(
    passing: &Passing<'_>,
    route: &Route,
    call: &mut Call,
    seen: &mut Seen,
    recording: &mut Recording,
) -> Result<(), Rejection> {
    for name in passing.permit.guards(route.subject()) {
        seen.guards.insert(name.to_owned());
        let found = looked(passing, name, call, &route.provider.pass_keys).await?;
        let mut note = |reason| recording.note(|entry| entry.reasons.push(reason));
        match found {
            Found::Nothing => {}
            Found::Reported(found) => note(Reason::GuardReports {
                guard: name.to_owned(),
                found,
            }),
            Found::Removed(body, what) => {
                note(Reason::GuardRemoves {
                    guard: name.to_owned(),
                    what,
                });
                *call = reread(passing, name, call, body)?;
            }
            Found::Blocked(rejection, what) => {
                note(Reason::GuardBlocks {
                    guard: name.to_owned(),
                    what,
                });
                return Err(rejection);
            }
        }
    }
    Ok(())
}

/// Has one guard look, at a long request beside the threads that serve others.
///
/// It stops as soon as its caller has left, which drops this future.
async fn looked(
    passing: &Passing<'_>,
    name: &str,
    call: &Call,
    pass_keys: &[String],
) -> Result<Found, Rejection> {
    let api = passing.api;
    let kind = passing.head.headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if call.body.len() < LONG {
        let request = guardrails::Request {
            api,
            call,
            kind,
            pass_keys,
        };
        return passing.rules.guards.look(name, request, &Limits::default());
    }
    let guards = Arc::clone(&passing.rules.guards);
    let room = guards.room(name).await?;
    let cancelled = CancellationToken::new();
    let limits = Limits::new(cancelled.clone());
    let _stops_it = cancelled.drop_guard();
    let (call, kind, named) = (call.clone(), kind.to_owned(), name.to_owned());
    let pass_keys = pass_keys.to_vec();
    let look = move || {
        let _room = room;
        let request = guardrails::Request {
            api,
            call: &call,
            kind: &kind,
            pass_keys: &pass_keys,
        };
        guards.look(&named, request, &limits)
    };
    tokio::task::spawn_blocking(look)
        .await
        .unwrap_or_else(|_| Err(hooks::unavailable(name)))
}

/// The call of a body that was changed: read as strictly as the caller's own.
fn reread(passing: &Passing<'_>, by: &str, before: &Call, body: Bytes) -> Result<Call, Rejection> {
    let call = passing
        .api
        .read(&asked(passing.head), body)
        .and_then(|call| {
            // A frame must go on asking for an answer.
            if passing.is_socket && passing.api.frame(&call.body)? != Frame::Request {
                return Err(Rejection::new(
                    StatusCode::BAD_REQUEST,
                    "invalid_request",
                    "the frame asks for no answer any more",
                ));
            }
            Ok(call)
        });
    let mut call = call.map_err(|rejection| {
        tracing::warn!(by, why = %rejection.message, "a guardrail made no valid request");
        Rejection::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "guardrail_unavailable",
            format!(
                "the guardrail {by:?} made no valid request: {}",
                rejection.message
            ),
        )
    })?;
    // Over a WebSocket every answer comes as events.
    call.stream |= passing.is_socket && before.stream;
    Ok(call)
}

fn story(
    entry: &Entry,
    permit: &Permit,
    who: &Verified,
    route: &Route,
    quotas: Vec<State>,
) -> Story {
    let status = who.changes.as_ref().map(|status| status.borrow());
    let tailnet = status.and_then(|status| status.tailnet.clone());
    Story {
        login: entry.login.clone(),
        user_agent: entry.user_agent.clone(),
        url: who.url.to_string(),
        model: route.model.clone(),
        provider: route.provider.id.clone(),
        tailnet: tailnet.unwrap_or_default(),
        node_id: entry.node_id.clone(),
        request: entry.id.to_string(),
        session: entry.session.clone(),
        quotas,
        warnings: Vec::new(),
        grants: permit.foreign().to_vec(),
    }
}
