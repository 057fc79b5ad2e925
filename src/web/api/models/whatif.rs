//! Whether a caller would get a model, from which provider, and why: for the command line, the API
//! and the pages.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use crate::base::labels::Labels;
use crate::base::reasons::{self, Reason};
use crate::base::text::Text;
use crate::exchange::rules::Rules;
use crate::formats::{self, Format, direct};
use crate::policy::access::{Permit, Person, Subject};
use crate::policy::identity::Caller;
use crate::policy::route::{Choice, Evidence, NoRoute, Traffic};
use crate::web::api::endpoint::{Call, Endpoint, Handler, Reply, json_of};
use crate::web::api::parameters::{FromQuery, bad, parameter, undeclared};
use crate::web::reader::Reader;
use crate::wire::Rejection;

pub(in crate::web) const ENDPOINT: Endpoint = Endpoint {
    path: "/api/explain",
    name: "WhatIf",
    about: "Whether a caller would get a model, from which provider, and why. The tailnet policy counts for those who have called.",
    parameters: &[
        parameter(
            "login",
            "A login, a tag or several joined by commas, or `(loopback)`.",
        )
        .required(),
        parameter("node", "The node that the request would come from."),
        parameter(
            "model",
            "The model, as the caller would name it, or a path of direct access, such as `/direct/openai/v1/files`.",
        )
        .required(),
        parameter(
            "api",
            "The API format of the request; `openai_chat` unless given.",
        ),
        parameter(
            "for",
            "The person for whom the caller speaks, by their login.",
        ),
        parameter("labels", "Its labels, as `x-iris-labels` would have them."),
    ],
    answer: json_of::<Verdict>(),
    handler: Handler::Admin(|call| Box::pin(answer(call))),
    ..Endpoint::GET
};

/// Whose request is imagined, and for what.
#[derive(Default)]
pub(in crate::web) struct Question {
    login: Option<String>,
    node: Option<String>,
    model: Option<String>,
    api: Option<String>,
    labels: Option<String>,
    person: Option<String>,
}

impl FromQuery for Question {
    fn set(&mut self, name: &str, value: &str) -> Result<(), Rejection> {
        let text = match name {
            "api" => &mut self.api,
            "for" => &mut self.person,
            "labels" => &mut self.labels,
            "login" => &mut self.login,
            "model" => &mut self.model,
            "node" => &mut self.node,
            _ => return Err(undeclared(name)),
        };
        *text = Some(value.to_owned());
        Ok(())
    }
}

/// The answer, and what led to it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Verdict {
    /// Whether the request would go to a provider.
    pub allowed: bool,
    /// One sentence.
    pub answer: String,
    /// Every decision, in order.
    #[serde(serialize_with = "reasons::as_sentences")]
    #[schemars(with = "Vec<String>")]
    pub reasons: Vec<Reason>,
}

/// Says that the format is unknown, and lists the known ones.
#[must_use]
pub fn no_format(name: &str) -> String {
    let known: Vec<_> = formats::ALL.iter().map(|api| api.name).collect();
    format!("unknown format {name:?}; known are {}", known.join(", "))
}

/// Who would ask, and for what.
pub struct Asking<'a> {
    /// The caller.
    pub caller: &'a Caller,
    /// The person for whom the caller speaks.
    pub person: Option<Arc<Caller>>,
    /// What the caller says that the request is for.
    pub labels: &'a Labels,
}

/// The permit of a caller who speaks for a person.
fn speaking(
    rules: &Rules,
    own: &Permit,
    caller: &Caller,
    person: Arc<Caller>,
) -> Result<Permit, String> {
    let login = person.name();
    let may = own.check_speaking(caller, None, login);
    may.map_err(|rejection| rejection.message.to_string())?;
    let theirs = rules.access.permit(&person);
    let theirs = theirs.map_err(|none| format!("{none} to {login}"))?;
    Ok(own.speaking_for(Person {
        permit: Arc::new(theirs),
        caller: person,
    }))
}

/// What would become of a request. Providers are taken for healthy.
#[must_use]
pub fn verdict(rules: &Rules, asking: &Asking<'_>, api: &Format, model: &str) -> Verdict {
    let caller = asking.caller;
    let mut reasons = vec![Reason::AssumedCaller {
        caller: caller.name().into(),
        node: caller.node_name().into(),
    }];
    let permit = match rules.access.permit(caller) {
        Ok(permit) => permit,
        Err(none) => {
            reasons.push(Reason::NoRole);
            return refused(format!("no: 403 {none}"), reasons);
        }
    };
    reasons.push(Reason::Role {
        role: Text::fixed(permit.role().word()),
        grant: permit.role_source().into(),
    });
    let permit = match asking.person.clone() {
        None => permit,
        Some(person) => match speaking(rules, &permit, caller, person) {
            Ok(both) => both,
            Err(why) => return refused(format!("no: 403 {why}"), reasons),
        },
    };
    reasons.extend(permit.person().map(|person| Reason::SpeaksFor {
        login: person.caller.name().into(),
        grants: person.permit.sources().map(Text::from).collect(),
    }));
    if model.starts_with(direct::ROOT) {
        return directly(rules, &permit, model, reasons);
    }
    let evidence = Evidence {
        traffic: &Traffic::default(),
        conversation: None,
        holder: None,
    };
    let none = match rules
        .routes
        .select(&permit, model, &|one| one.fit(api), evidence)
    {
        Ok(choice) => return sent(rules, &permit, asking, (api, model), choice, reasons),
        Err(none) => none,
    };
    reasons.push(match none {
        NoRoute::Unknown => Reason::NotListed {
            model: model.into(),
        },
        NoRoute::NotGranted { candidates } => Reason::NotGrantedToCaller { models: candidates },
        NoRoute::OtherApi { through } => Reason::SpeaksOther {
            through: through.into_iter().map(Text::fixed).collect(),
            format: Text::fixed(api.name),
        },
    });
    refused(
        format!("no: 404 no route found for model {model:?}"),
        reasons,
    )
}

/// What would become of a direct request.
fn directly(rules: &Rules, permit: &Permit, path: &str, mut reasons: Vec<Reason>) -> Verdict {
    let place = match direct::place(path) {
        Ok(place) => place,
        Err(odd) => return refused(format!("no: 400 {}", odd.message), reasons),
    };
    let subject = Subject::Path {
        provider: place.provider,
        path: place.path,
    };
    let Some(grant) = permit.direct(subject) else {
        let path = format!("/{subject}").into();
        reasons.push(Reason::NotDirect { path });
        let answer = format!("no: 403 no grant gives direct access to /{subject}");
        return refused(answer, reasons);
    };
    reasons.push(Reason::Direct {
        pattern: grant.pattern,
        grant: grant.source,
    });
    let mut providers = rules.routes.providers().iter();
    let provider = providers.find(|one| one.id == place.provider && !one.disabled);
    let url = provider.and_then(|provider| provider.root_url(place.path, None).ok());
    match url {
        Some(url) => Verdict {
            allowed: true,
            answer: format!("yes: {path} goes to {url}"),
            reasons,
        },
        None => refused(
            format!("no: 404 there is no provider {:?}", place.provider),
            reasons,
        ),
    }
}

/// What would become of a request for which there is a provider.
fn sent(
    rules: &Rules,
    permit: &Permit,
    asking: &Asking<'_>,
    (api, model): (&Format, &str),
    Choice { first, others, .. }: Choice,
    mut reasons: Vec<Reason>,
) -> Verdict {
    let (provider, labels) = (&first.provider, asking.labels);
    reasons.extend(first.reasons.iter().cloned());
    reasons.extend(provider.translation(api).map(|to| Reason::Translated {
        provider: provider.id.clone(),
        from: Text::fixed(formats::short_name(api)),
        to: Text::fixed(formats::short_name(to)),
        dropped: Vec::new(),
    }));
    if let Err(missing) = permit.check_labels(first.subject(), labels) {
        return refused(format!("no: 403 {}", missing.message), reasons);
    }
    let subject = first.subject();
    reasons.extend(buckets(rules, permit, asking.caller, labels, subject));
    reasons.extend(others.iter().map(|other| Reason::Alternative {
        provider: other.provider.id.clone(),
        model: other.model.clone(),
    }));
    Verdict {
        allowed: true,
        answer: format!(
            "yes: {model} goes to provider {} as {:?}",
            provider.id, first.model
        ),
        reasons,
    }
}

fn refused(answer: String, reasons: Vec<Reason>) -> Verdict {
    Verdict {
        allowed: false,
        answer,
        reasons,
    }
}

/// The budgets and limits that would pay.
fn buckets(
    rules: &Rules,
    permit: &Permit,
    caller: &Caller,
    labels: &Labels,
    subject: Subject<'_>,
) -> Vec<Reason> {
    match rules.quotas.plan(permit, caller, labels, subject) {
        Ok(plan) => plan.describe(),
        Err(denied) => vec![Reason::NeverPaid {
            why: denied.to_string().into(),
        }],
    }
}

/// The verdict that was asked for. The tailnet tells what its policy grants only for a device's
/// address, so that this counts for those who have called; the reasons say where it couldn't.
pub(in crate::web) async fn asked_for(
    reader: &Reader<'_>,
    question: &Question,
) -> Result<Verdict, Rejection> {
    let (Some(login), Some(model)) = (&question.login, &question.model) else {
        return Err(bad("`login` and `model` must be given".to_owned()));
    };
    let name = question.api.as_deref().unwrap_or(formats::DEFAULT.name);
    let api = formats::named(name).ok_or_else(|| bad(no_format(name)))?;
    let labels = question.labels.as_deref().unwrap_or_default();
    let labels = Labels::parse([labels.as_bytes()]).map_err(|error| bad(error.to_string()))?;
    let (node, rules) = (question.node.as_deref(), &reader.rules);
    let known = match reader.engines.resolver {
        Some(resolver) => resolver.named(login, node).await,
        None => None,
    };
    let person = match (&question.person, reader.engines.resolver) {
        (Some(login), Some(resolver)) => resolver.named(login, None).await,
        _ => None,
    };
    let person = person.or_else(|| Some(rules.access.unseen(question.person.as_deref()?)));
    let caller = known.clone();
    let caller = caller.unwrap_or_else(|| Arc::new(Caller::hypothetical(login, node)));
    let asking = Asking {
        caller: &caller,
        person,
        labels: &labels,
    };
    let mut verdict = verdict(rules, &asking, api, model);
    if known.is_none() && reader.engines.resolver.is_some() && login != "(loopback)" {
        let login = login.into();
        verdict.reasons.push(Reason::PolicyUnknown { login });
    }
    Ok(verdict)
}

async fn answer(call: Call<'_>) -> Reply {
    let question = call.given.read()?;
    let verdict = asked_for(call.reader, &question).await?;
    Ok(crate::web::api::json(&verdict))
}
