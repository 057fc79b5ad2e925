//! Whether a caller would get a model, from which provider, and why: for the command line, the API
//! and the pages.

use http::Response;
use serde::Serialize;

use super::routes::bad;
use super::{Asked, View};
use crate::base::reasons::{self, Reason};
use crate::exchange::rules::Rules;
use crate::formats::{self, Format};
use crate::policy::access::{Permit, Subject};
use crate::policy::identity::Caller;
use crate::policy::route::{NoRoute, Now, Traffic};
use crate::wire::{Body, Rejection};

/// The answer, and what led to it.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// Whether the request would go to a provider.
    pub allowed: bool,
    /// One sentence.
    pub answer: String,
    /// Every decision, in order.
    #[serde(serialize_with = "reasons::as_sentences")]
    pub reasons: Vec<Reason>,
}

/// Says that there is no such format, and which there are.
#[must_use]
pub fn no_format(name: &str) -> String {
    let known: Vec<_> = formats::ALL.iter().map(|api| api.name).collect();
    format!("unknown format {name:?}; known are {}", known.join(", "))
}

/// What would become of a request. Providers are taken for healthy.
#[must_use]
pub fn verdict(rules: &Rules, caller: &Caller, api: &Format, model: &str) -> Verdict {
    let mut reasons = vec![Reason::AssumedCaller {
        caller: caller.name().to_owned(),
        node: caller.node_name().to_owned(),
    }];
    let refused = |answer: String, reasons| Verdict {
        allowed: false,
        answer,
        reasons,
    };
    let permit = match rules.access.permit(caller) {
        Ok(permit) => permit,
        Err(none) => {
            reasons.push(Reason::NoRole);
            return refused(format!("no: 403 {none}"), reasons);
        }
    };
    reasons.push(Reason::Role {
        role: permit.role().word().to_owned(),
        grant: permit.role_source().to_owned(),
    });
    let now = Now {
        traffic: &Traffic::default(),
        conversation: None,
        holder: None,
    };
    let none = match rules.routes.select(&permit, api, model, now) {
        Ok(choice) => {
            let route = choice.first;
            reasons.extend(route.reasons.iter().cloned());
            reasons.extend(buckets(rules, &permit, caller, route.subject()));
            reasons.extend(choice.others.iter().map(|other| Reason::Alternative {
                provider: other.provider.id.clone(),
                model: other.model.clone(),
            }));
            let answer = format!(
                "yes: {model} goes to provider {} as {:?}",
                route.provider.id, route.model
            );
            return Verdict {
                allowed: true,
                answer,
                reasons,
            };
        }
        Err(none) => none,
    };
    reasons.push(match none {
        NoRoute::Unknown => Reason::NotListed {
            model: model.to_owned(),
        },
        NoRoute::NotGranted { candidates } => Reason::NotGrantedToCaller { models: candidates },
        NoRoute::OtherApi { through } => Reason::SpeaksOther {
            through: through.into_iter().map(str::to_owned).collect(),
            format: api.name.to_owned(),
        },
    });
    refused(
        format!("no: 404 no route found for model {model:?}"),
        reasons,
    )
}

/// The budgets and limits that would pay.
fn buckets(rules: &Rules, permit: &Permit, caller: &Caller, subject: Subject<'_>) -> Vec<Reason> {
    match rules.quotas.plan(permit, caller, subject) {
        Ok(plan) => plan.describe(),
        Err(denied) => vec![Reason::NeverPaid {
            why: denied.to_string(),
        }],
    }
}

/// The verdict that was asked for. The tailnet tells what its policy grants only for a device's
/// address, so that this counts for those who have called; the reasons say where it couldn't.
pub(crate) async fn asked_for(view: &View<'_>, asked: &Asked<'_>) -> Result<Verdict, Rejection> {
    let value = |name: &str| {
        let given = asked.parameters.iter().find(|(known, _)| *known == name);
        given.map(|(_, value)| value.as_str())
    };
    let (Some(login), Some(model)) = (value("login"), value("model")) else {
        return Err(bad("`login` and `model` must be given".to_owned()));
    };
    let name = value("api").unwrap_or("openai_chat");
    let api = formats::named(name).ok_or_else(|| bad(no_format(name)))?;
    let (node, resolver) = (value("node"), view.resolver);
    let known = match resolver {
        Some(resolver) => resolver.named(login, node).await,
        None => None,
    };
    if let Some(known) = &known {
        return Ok(verdict(&view.rules, known, api, model));
    }
    let caller = Caller::hypothetical(login, node);
    let mut verdict = verdict(&view.rules, &caller, api, model);
    if resolver.is_some() && login != "(loopback)" {
        let login = login.to_owned();
        verdict.reasons.push(Reason::PolicyUnknown { login });
    }
    Ok(verdict)
}

/// `GET /api/explain`.
pub(super) async fn explain(
    view: &View<'_>,
    asked: &Asked<'_>,
) -> Result<Response<Body>, Rejection> {
    let verdict = asked_for(view, asked).await?;
    Ok(super::json(
        &serde_json::to_value(&verdict).unwrap_or_default(),
    ))
}
