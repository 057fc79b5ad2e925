//! The second stage: what is asked (400), and who could answer it (404).

use std::fmt::Display;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{StatusCode, header};

use super::admit::Admitted;
use super::context::{Asked, Context, head_of};
use super::draft::Draft;
use super::ending::Stage;
use super::refusal::{self, Refused};
use super::{Gateway, entry, lists};
use crate::base::panics;
use crate::base::reasons::Reason;
use crate::formats::lenient_path::Deployment;
use crate::formats::{Call, NO_MODEL, known};
use crate::policy::route::{Choice, Evidence, Route, Standing};
use crate::wire::{Rejection, body, hops, unpack};

/// A request that was understood, and for which there are providers that the caller may use.
pub struct Routed {
    pub(super) draft: Draft,
    /// Boxed, because each stage takes it from the one before.
    asked: Box<Asked>,
    pub(super) choice: Choice,
}

impl Routed {
    pub(super) fn asked(&self) -> &Asked {
        &self.asked
    }

    /// Goes on with the next provider. Answers whether there was one.
    pub(super) fn skip(&mut self) -> bool {
        if self.choice.others.is_empty() {
            return false;
        }
        self.choice.first = self.choice.others.remove(0);
        true
    }

    /// Takes what a guard has left of the request, and returns what it was.
    pub(super) fn replace(&mut self, call: Call) -> Call {
        std::mem::replace(&mut self.asked.call, call)
    }

    pub(super) fn into_parts(self) -> (Draft, Box<Asked>, Choice) {
        (self.draft, self.asked, self.choice)
    }
}

/// The body of a request over HTTP. It is plain afterwards, for all that look at it and for the
/// provider.
pub(super) async fn body<B>(
    context: &Context,
    head: &mut Parts,
    incoming: B,
) -> Result<Bytes, Rejection>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Display,
{
    hops::check(&head.headers)?;
    refusal::unreadable_type(context.format, &head.headers)?;
    let coding = unpack::coding(&head.headers)?;
    head.headers.remove(header::CONTENT_ENCODING);
    let limit = context.rules.request_body;
    let idle = context.rules.body_idle;
    if let Some(coding) = coding {
        let packed = body::read_packed(incoming, limit, idle).await;
        let (packed, hold) = packed.map_err(|error| refusal::unreadable(&error))?;
        Box::pin(unpack::open(coding, packed, hold, limit)).await
    } else {
        let read = body::read(incoming, limit, idle).await;
        read.map_err(|error| refusal::unreadable(&error))
    }
}

impl Gateway {
    /// Reads what is asked, and looks for providers.
    pub(super) fn route(
        &self,
        admitted: Admitted,
        head: Arc<Parts>,
        body: Bytes,
    ) -> Result<Routed, Refused> {
        panics::point("api");
        let admitted = admitted.labelled(&head.headers)?;
        match understood(admitted.context(), &head, body) {
            Ok(call) => self.route_call(admitted, head, call),
            Err(rejection) => {
                let (draft, _) = admitted.into_parts();
                Err(Refused::new(draft, Stage::Route, rejection))
            }
        }
    }

    /// Looks for providers for what was read already: a message of a session.
    pub(super) fn route_call(
        &self,
        admitted: Admitted,
        head: Arc<Parts>,
        call: Call,
    ) -> Result<Routed, Refused> {
        let (mut draft, context) = admitted.into_parts();
        let earlier = call.previous_response.as_deref();
        let earlier =
            earlier.and_then(|id| self.responses.session(context.asker.owner().key(), id));
        entry::describe(&mut draft.entry, &call, earlier);
        panics::point("route");
        let asked = Box::new(Asked {
            context,
            head,
            call,
        });
        match self.chosen(&asked, &mut draft) {
            Ok(choice) => Ok(Routed {
                draft,
                asked,
                choice,
            }),
            Err(rejection) => Err(Refused::new(draft, Stage::Route, rejection)),
        }
    }

    /// Goes on with a request for what stands at one provider.
    pub(super) fn route_to(
        admitted: Admitted,
        head: Arc<Parts>,
        call: Call,
        first: Route,
    ) -> Routed {
        let (mut draft, context) = admitted.into_parts();
        entry::describe(&mut draft.entry, &call, None);
        Routed {
            draft,
            asked: Box::new(Asked {
                context,
                head,
                call,
            }),
            choice: Choice {
                first,
                others: Vec::new(),
                is_only: true,
            },
        }
    }

    /// Takes what a hook has made of the request. Another model needs providers of its own, and a
    /// grant for them. Answers whether there are others now.
    pub(super) fn reroute(&self, routed: &mut Routed, call: Call) -> Result<bool, Rejection> {
        let before = routed.replace(call);
        if routed.asked.call.model == before.model {
            return Ok(false);
        }
        routed.choice = self.chosen(&routed.asked, &mut routed.draft)?;
        Ok(true)
    }

    /// The providers for a call.
    fn chosen(&self, asked: &Asked, draft: &mut Draft) -> Result<Choice, Rejection> {
        let (call, rules) = (&asked.call, &asked.rules);
        let format = asked.format.name;
        let has_choice = rules.routes.providers().len() > 1;
        let holder = has_choice
            .then(|| self.held.holder(format, &call.body))
            .flatten();
        let question = asked.question(&call.model);
        if holder.is_none()
            && let Some(first) = rules.only_route(&asked.asker, question)
            && self.traffic.standing(&first.provider, &first.model) == Standing::Well
        {
            return Ok(Choice {
                first,
                others: Vec::new(),
                is_only: true,
            });
        }
        let evidence = Evidence {
            traffic: &self.traffic,
            conversation: entry::conversation(&draft.entry),
            holder: holder.as_ref(),
        };
        let fits = |provider: &_| asked.fit(asked.head.uri.path(), provider);
        let routes = &rules.routes;
        let chosen = routes.select(asked.permit(), &call.model, &fits, evidence);
        let chosen = chosen.map_err(|none| refusal::no_route(&none, asked, draft))?;
        if chosen.is_only {
            rules.keep_route(&asked.asker, question, &chosen.first);
        }
        Ok(with_credentials(asked, chosen, draft))
    }
}

/// Without the providers that take only a credential of the caller's own and get none, if others are left.
fn with_credentials(asked: &Asked, chosen: Choice, draft: &mut Draft) -> Choice {
    let lacks = |route: &Route| {
        route.provider.needs_own_credential() && {
            let terms = asked.terms(route);
            !terms.adds_credential && !lists::gets_own_credential(asked, &route.provider, &terms)
        }
    };
    let Choice { first, others, .. } = &chosen;
    if !lacks(first) && !others.iter().any(lacks) || lacks(first) && others.iter().all(lacks) {
        return chosen;
    }
    let all = std::iter::once(chosen.first).chain(chosen.others);
    let (passed_over, mut left): (Vec<_>, Vec<_>) = all.partition(lacks);
    for route in passed_over {
        let provider = route.provider.id.clone();
        draft.reason(Reason::NoCredential { provider });
    }
    Choice {
        first: left.remove(0),
        others: left,
        is_only: false,
    }
}

/// Reads a request. One without a model gets that of the configuration for its endpoint, and one to a
/// deployment of Azure is for that model.
fn understood(context: &Context, head: &Parts, mut body: Bytes) -> Result<Call, Rejection> {
    let (format, read) = (context.format, head_of(head));
    if let Some(Deployment(model)) = head.extensions.get() {
        let is_named = format.read(&read, body.clone());
        if !is_named.is_ok_and(|call| call.model == *model)
            && let Some(named) = (format.with_model)(&read, &body, model)
        {
            body = named;
        }
    }
    let defaults = &context.rules.file.default_models;
    let default = format
        .default_model(read.path)
        .and_then(|endpoint| defaults.get(endpoint));
    let call = match default {
        None => format.read(&read, body),
        Some(default) => match format.read(&read, body.clone()) {
            Err(rejection) if rejection.code.0 == NO_MODEL => {
                match (format.with_model)(&read, &body, default) {
                    Some(body) => format.read(&read, body),
                    None => Err(rejection),
                }
            }
            call => call,
        },
    };
    let mut call = call.map_err(|rejection| refusal::with_models(rejection, context, head))?;
    if context.is_socket() {
        if call.background {
            let why = "`background` isn't taken over a WebSocket: send the request over HTTP";
            return Err(Rejection::new(
                StatusCode::BAD_REQUEST,
                "invalid_request",
                why,
            ));
        }
        // There every answer comes as events, and the query is that of the WebSocket.
        call.stream = true;
    } else {
        known::check_query(format.known, &call.model, head.uri.query())?;
    }
    Ok(call)
}
