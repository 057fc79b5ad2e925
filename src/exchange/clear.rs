//! The third stage: what guardrails and hooks say of a request, and what becomes of it (403, 503).
//!
//! The one loop of the pipeline: what a hook has changed is looked at again, and with another model
//! it goes back to the stage before. Buckets are looked at before the first hook is asked, so that
//! nobody judges what no budget pays for; nothing of them is held.

use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use http::{StatusCode, header};
use tokio_util::sync::CancellationToken;

use super::context::{Asked, Candidate, head_of};
use super::draft::Draft;
use super::ending::Stage;
use super::facts::Kept;
use super::refusal::Refused;
use super::route::Routed;
use super::{Gateway, lists};
use crate::base::panics;
use crate::base::reasons::Reason;
use crate::base::text::Text;
use crate::exchange::guardrails::{self, Limits};
use crate::exchange::hooks::{self, HookContext, Verdict, Wired};
use crate::exchange::rules::{Asker, Terms};
use crate::formats::realtime::{Names, Realtime};
use crate::formats::{Call, Frame};
use crate::policy::access::HookEvent;
use crate::policy::budget::{Amounts, Denied, Plan, State};
use crate::policy::route::{Choice, Route};
use crate::wire::Rejection;

/// Looking at a body takes long enough from here on, in bytes.
const LONG: usize = 64 << 10;

/// A request that all guardrails and hooks have let pass, and the providers for which they did.
pub struct Cleared {
    pub(super) draft: Draft,
    asked: Box<Asked>,
    /// The providers that have not been asked yet.
    pub(super) choices: VecDeque<Candidate>,
}

impl Cleared {
    pub(super) fn asked(&self) -> &Asked {
        &self.asked
    }

    /// What is asked, and the record of it.
    pub(super) fn split(&mut self) -> (&Asked, &mut Draft) {
        (&self.asked, &mut self.draft)
    }

    /// Lets go of what is needed only to ask once more, which may be large.
    pub(super) fn forget_body(&mut self) {
        self.asked.call.body = Bytes::new();
    }
}

/// Who has looked at a request so far.
#[derive(Default)]
struct Seen {
    guards: BTreeSet<String>,
    hooks: BTreeSet<String>,
}

impl Seen {
    /// Whether a hook judges requests, and has not judged this one.
    fn lacks(&self, wired: &Wired<'_>) -> bool {
        wired.wants.events.contains(&HookEvent::PreRequest) && !self.hooks.contains(wired.name)
    }
}

impl Gateway {
    /// Has guards look and hooks judge, in this order.
    pub(super) async fn clear(&self, mut routed: Routed) -> Result<Cleared, Refused> {
        panics::point("hooks");
        let mut seen = Seen::default();
        if routed.asked().call.previous_response.is_some() {
            // Boxed, because few requests name a response, and it may ask the database.
            let checked = Box::pin(self.check_previous(routed.asked())).await;
            if let Err(rejection) = checked {
                let (draft, ..) = routed.into_parts();
                return Err(Refused::new(draft, Stage::Route, rejection));
            }
        }
        let judged = self.judged(&mut routed, &mut seen).await;
        let (mut draft, asked, Choice { first, others, .. }) = routed.into_parts();
        let terms = match judged {
            Ok(terms) => terms,
            Err(rejection) => {
                draft.name(&first);
                return Err(Refused::new(draft, Stage::Clear, rejection));
            }
        };
        let mut gets_own = lists::gets_own_credential(&asked, &first.provider, &terms)
            .then(|| Arc::clone(&first.provider));
        let mut choices = VecDeque::with_capacity(1 + others.len());
        choices.push_back(Candidate {
            route: first,
            terms,
        });
        choices.extend(others.into_iter().filter_map(|route| {
            may_go(&asked, &route).ok()?;
            let terms = asked.terms(&route);
            if !is_seen(&asked, &route, &terms, &seen, &mut draft) {
                return None;
            }
            if lists::gets_own_credential(&asked, &route.provider, &terms) {
                // It is for one server.
                let home = gets_own.get_or_insert_with(|| Arc::clone(&route.provider));
                if !route.provider.is_at_server_of(home) {
                    let provider = route.provider.id.clone();
                    draft.reason(Reason::OtherServer { provider });
                    return None;
                }
            }
            Some(Candidate { route, terms })
        }));
        if !asked.call.kept_elsewhere.is_empty() {
            // Boxed, because few requests name any, and it asks the database.
            let checked = Box::pin(self.check_kept_elsewhere(&asked, &choices)).await;
            if let Err(rejection) = checked {
                if let Some(first) = choices.front() {
                    draft.name(&first.route);
                }
                return Err(Refused::new(draft, Stage::Clear, rejection));
            }
        }
        draft.kept = Kept::of(&asked, self.ledger.policy().captures);
        Ok(Cleared {
            draft,
            asked,
            choices,
        })
    }

    /// Each hook is asked once. Guards look again at what it has written: nothing leaves unseen,
    /// not even to the next hook. Returns the terms of the first provider.
    async fn judged(&self, routed: &mut Routed, seen: &mut Seen) -> Result<Arc<Terms>, Rejection> {
        let mut is_new = true;
        let mut states: Option<Vec<State>> = None;
        loop {
            let terms = routed.asked().terms(&routed.choice.first);
            if std::mem::take(&mut is_new) {
                let asked = routed.asked();
                may_go(asked, &routed.choice.first)?;
                look(routed, &terms, seen).await?;
            }
            if !terms.has_hooks {
                return Ok(terms);
            }
            let asked = routed.asked();
            let (rules, permit) = (Arc::clone(&asked.rules), Arc::clone(&asked.asker.permit));
            let wired = hooks::wired(&rules.file.hooks, &permit, routed.choice.first.subject());
            let Some(wired) = wired.iter().find(|wired| seen.lacks(wired)) else {
                return Ok(terms);
            };
            let standing = match &states {
                Some(states) => states.clone(),
                // A bucket that can't pay refuses before any hook is called.
                None => match Box::pin(self.look_at_buckets(routed, &terms)).await {
                    Ok(found) => states.insert(found).clone(),
                    Err(rejection) if rejection.status == StatusCode::TOO_MANY_REQUESTS => {
                        let provider = routed.choice.first.provider.id.clone();
                        if !routed.skip() {
                            return Err(rejection);
                        }
                        routed.draft.reason(Reason::Unpaid { provider });
                        is_new = true;
                        continue;
                    }
                    Err(rejection) => return Err(rejection),
                },
            };
            seen.hooks.insert(wired.name.to_owned());
            let (asked, route) = (routed.asked(), &routed.choice.first);
            let request = hooks::Request {
                context: &context(asked, standing),
                entry: &routed.draft.entry,
                provider: &route.provider.id,
                model: &route.model,
                body: &asked.call.body,
            };
            let client = &self.upstream.client;
            let asked = hooks::ask(client, wired, &request, &self.tally);
            // Boxed, because few requests have hooks, and all would have room for one.
            let (verdict, reason) = Box::pin(asked).await;
            routed.draft.reason(reason);
            match verdict {
                Verdict::Allow => {}
                Verdict::Modify(body) => {
                    let changed = reread(routed.asked(), wired.name, body)?;
                    is_new = true;
                    if self.reroute(routed, changed)? {
                        states = None;
                    }
                }
                Verdict::Block(rejection) => return Err(rejection),
            }
        }
    }

    /// Whether the buckets of the first provider could pay for a request, and how they stand.
    async fn look_at_buckets(
        &self,
        routed: &Routed,
        terms: &Terms,
    ) -> Result<Vec<State>, Rejection> {
        let (asked, route) = (routed.asked(), &routed.choice.first);
        let plan = plan(asked, terms, route)?;
        let looked = self.quotas.look(&plan, Amounts::FREE).await;
        looked.map_err(|why| denied(&why, asked, route))
    }
}

/// The buckets that pay for a request to `route`.
pub(super) fn plan<'t>(
    asked: &Asked,
    terms: &'t Terms,
    route: &Route,
) -> Result<Cow<'t, Plan>, Rejection> {
    paying(asked, terms, route).map_err(|why| denied(&why, asked, route))
}

/// The same, or why they don't pay.
pub(super) fn paying<'t>(
    asked: &Asked,
    terms: &'t Terms,
    route: &Route,
) -> Result<Cow<'t, Plan>, Denied> {
    let provider = &route.provider;
    let own_pays =
        lists::gets_own_credential(asked, provider, terms) && !provider.charge_passthrough;
    let Some(plan) = &terms.plan else {
        let Asker { caller, permit } = &asked.asker;
        let quotas = &asked.rules.quotas;
        let plan = quotas.plan(permit, caller, &asked.labels, route.subject())?;
        return Ok(Cow::Owned(if own_pays {
            plan.without_money()
        } else {
            plan
        }));
    };
    let plan = plan.as_ref().map_err(Clone::clone)?;
    let own = terms.own_credential_plan.as_ref().filter(|_| own_pays);
    Ok(Cow::Borrowed(own.unwrap_or(plan)))
}

/// Refuses a request that grants don't let go to `route` as it is: for what it chooses beside its model, or
/// for want of a label.
fn may_go(asked: &Asked, route: &Route) -> Result<(), Rejection> {
    lists::choices(asked.permit(), route, &asked.call)?;
    asked.permit().check_labels(route.subject(), &asked.labels)
}

/// The refusal of a request that no budget pays for.
pub(super) fn denied(denied: &Denied, asked: &Asked, route: &Route) -> Rejection {
    tracing::warn!(
        login_name = asked.asker.owner().name(),
        model = %route.subject(),
        detail = %denied,
        "refused by a budget"
    );
    denied.rejection()
}

/// Whether a provider can help out: no other guard and no other hook would have had to look.
fn is_seen(asked: &Asked, route: &Route, terms: &Terms, seen: &Seen, draft: &mut Draft) -> bool {
    let mut guards = terms.guards.iter().map(Text::as_str);
    let guard = guards.find(|name| !seen.guards.contains(*name));
    let wired = hooks::wired(&asked.rules.file.hooks, asked.permit(), route.subject());
    let hook = wired.into_iter().find(|wired| seen.lacks(wired));
    let Some(unseen) = guard.or(hook.map(|wired| wired.name)) else {
        return true;
    };
    draft.reason(Reason::Unchecked {
        provider: route.provider.id.clone(),
        guardrail: unseen.into(),
    });
    false
}

/// Has the guards look.
async fn look(routed: &mut Routed, terms: &Terms, seen: &mut Seen) -> Result<(), Rejection> {
    let provider = Arc::clone(&routed.choice.first.provider);
    for name in &terms.guards {
        seen.guards.insert(name.to_string());
        let guard = name.clone();
        match Box::pin(looked(routed.asked(), name, &provider.pass_keys)).await? {
            guardrails::Verdict::Passed => {}
            guardrails::Verdict::Reported(found) => {
                routed.draft.reason(Reason::GuardReports {
                    guard,
                    found: found.into_iter().map(Text::from).collect(),
                });
            }
            guardrails::Verdict::Redacted(body, what) => {
                routed.draft.reason(Reason::GuardRemoves {
                    guard,
                    what: what.into(),
                });
                let left = reread(routed.asked(), name, body)?;
                routed.replace(left);
            }
            guardrails::Verdict::Blocked(rejection, what) => {
                routed.draft.reason(Reason::GuardBlocks {
                    guard,
                    what: what.into(),
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
    asked: &Asked,
    name: &str,
    pass_keys: &[String],
) -> Result<guardrails::Verdict, Rejection> {
    let (format, call) = (asked.format, &asked.call);
    let kind = asked.head.headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if call.body.len() < LONG {
        let request = guardrails::Request {
            api: format,
            call,
            kind,
            pass_keys,
        };
        return asked
            .rules
            .guards
            .inspect(name, request, &Limits::default());
    }
    let guards = Arc::clone(&asked.rules.guards);
    let room = guards.room(name).await?;
    let cancelled = CancellationToken::new();
    let limits = Limits::new(cancelled.clone());
    let _stops_it = cancelled.drop_guard();
    let (call, kind, named) = (call.clone(), kind.to_owned(), name.to_owned());
    let pass_keys = pass_keys.to_vec();
    let look = move || {
        let _room = room;
        let request = guardrails::Request {
            api: format,
            call: &call,
            kind: &kind,
            pass_keys: &pass_keys,
        };
        guards.inspect(&named, request, &limits)
    };
    tokio::task::spawn_blocking(look)
        .await
        .unwrap_or_else(|_| Err(hooks::unavailable(name)))
}

/// The call of a body that was changed: read as strictly as the caller's own.
fn reread(asked: &Asked, by: &str, body: Bytes) -> Result<Call, Rejection> {
    let format = asked.format;
    let call = match (&asked.call.session_model, format.realtime) {
        (Some(names), Some(realtime)) => message(asked, &realtime, names, body),
        _ => format.read(&head_of(&asked.head), body).and_then(|call| {
            // A frame must go on asking for an answer.
            if format.socket.is_some()
                && asked.is_socket()
                && format.frame(&call.body)? != Frame::Request
            {
                return Err(for_something_else());
            }
            Ok(call)
        }),
    };
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
    call.stream |= asked.is_socket();
    Ok(call)
}

/// A message of a session that was changed. It must go on being for the same.
fn message(
    asked: &Asked,
    realtime: &Realtime,
    names: &Arc<Names>,
    body: Bytes,
) -> Result<Call, Rejection> {
    let (before, _) = (realtime.understand)(asked.call.body.clone(), names)?;
    let (sent, call) = (realtime.understand)(body, names)?;
    if sent != before {
        return Err(for_something_else());
    }
    Ok(call.of_session(&asked.call))
}

fn for_something_else() -> Rejection {
    Rejection::new(
        StatusCode::BAD_REQUEST,
        "invalid_request",
        "the message asks for something else than before",
    )
}

/// What hooks get of a request besides its entry.
pub(super) fn context(asked: &Asked, quotas: Vec<State>) -> HookContext {
    let status = asked.who.changes.as_ref().map(|status| status.borrow());
    let tailnet = status.and_then(|status| status.tailnet.clone());
    HookContext {
        url: asked.who.url.whole(&asked.head),
        tailnet: tailnet.unwrap_or_default(),
        quotas,
        warnings: Vec::new(),
        grants: asked.permit().foreign().to_vec(),
    }
}
