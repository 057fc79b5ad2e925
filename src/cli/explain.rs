//! `iris explain`.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{Places, ask, print};
use crate::access::Permit;
use crate::api;
use crate::identity::Caller;
use crate::route::{NoRoute, Now, Traffic};
use crate::rules::Rules;

/// Tell why somebody gets a model from a provider, or why not. Asks the configuration alone:
/// what the tailnet policy grants besides is known only to a running gateway, which tells the
/// story of a request that it has had (`--request`).
#[derive(Args)]
#[command(
    override_usage = "iris explain --as <LOGIN|TAG> <MODEL>\n       iris explain --request <ID> [--url <URL>]"
)]
pub(super) struct Explain {
    /// The model, as a caller would name it.
    #[arg(
        value_name = "MODEL",
        required_unless_present = "request",
        default_value = ""
    )]
    model: String,
    /// A login, a tag or several joined by commas, or (loopback).
    #[arg(
        long = "as",
        value_name = "LOGIN|TAG",
        required_unless_present = "request",
        default_value = ""
    )]
    caller: String,
    /// A request that a running gateway has had, by the `x-iris-request-id` of its answer.
    #[arg(long, value_name = "ID", conflicts_with_all = ["model", "caller", "from"])]
    request: Option<String>,
    /// The running gateway [default: <http://127.0.0.1:8088>].
    #[arg(long, value_name = "URL", env = "IRIS_URL")]
    url: Option<String>,
    /// The node that the request would come from.
    #[arg(long, value_name = "NODE")]
    from: Option<String>,
    /// The API format of the request.
    #[arg(long, value_name = "FORMAT", default_value = "openai_chat")]
    api: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    places: Places,
}

/// The answer, and what led to it.
struct Verdict {
    allowed: bool,
    answer: String,
    reasons: Vec<String>,
}

/// The budgets and limits that would pay.
fn buckets(
    rules: &Rules,
    permit: &Permit,
    caller: &Caller,
    provider: &str,
    model: &str,
) -> Vec<String> {
    match rules.quotas.plan(permit, caller, provider, model) {
        Ok(plan) => plan.describe(),
        Err(denied) => vec![format!("every request is refused with 429: {denied}")],
    }
}

impl Explain {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        if let Some(id) = &self.request {
            return ask::story(id, self.url.clone(), self.json);
        }
        let rules = self.places.rules()?;
        let verdict = self.verdict(&rules)?;
        if self.json {
            let report = json!({
                "caller": self.caller,
                "model": self.model,
                "allowed": verdict.allowed,
                "answer": verdict.answer,
                "reasons": verdict.reasons,
            });
            print(&format!("{report:#}\n"));
        } else {
            let mut out = format!("{}\n", verdict.answer);
            for reason in &verdict.reasons {
                out.push_str("  - ");
                out.push_str(reason);
                out.push('\n');
            }
            print(&out);
        }
        Ok(if verdict.allowed {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    fn verdict(&self, rules: &Rules) -> anyhow::Result<Verdict> {
        let Some(api) = api::ALL.iter().find(|api| api.kind().0 == self.api) else {
            let known: Vec<_> = api::ALL.iter().map(|api| api.kind().0).collect();
            anyhow::bail!(
                "{:?} is no format; known are {}",
                self.api,
                known.join(", ")
            );
        };
        let caller = Caller::hypothetical(&self.caller, self.from.as_deref());
        let mut reasons = vec![format!(
            "the caller is {} on node {}",
            caller.name(),
            caller.node_name()
        )];
        let refused = |answer: String, reasons| Verdict {
            allowed: false,
            answer,
            reasons,
        };
        let permit = match rules.access.permit(&caller) {
            Ok(permit) => permit,
            Err(none) => {
                reasons.push("no grant of the configuration gives this caller a role".to_owned());
                return Ok(refused(format!("no: 403 {none}"), reasons));
            }
        };
        reasons.push(format!(
            "role {:?} by {}",
            permit.role(),
            permit.role_source()
        ));
        let now = Now {
            traffic: &Traffic::default(),
            conversation: None,
        };
        let none = match rules.routes.select(&permit, *api, &self.model, now) {
            Ok(choice) => {
                let route = choice.first;
                reasons.extend(route.reasons);
                reasons.extend(buckets(
                    rules,
                    &permit,
                    &caller,
                    &route.provider.id,
                    &route.model,
                ));
                reasons.extend(choice.others.iter().map(|other| {
                    format!(
                        "if that fails, provider {} as {:?}",
                        other.provider.id, other.model
                    )
                }));
                let answer = format!(
                    "yes: {} goes to provider {} as {:?}",
                    self.model, route.provider.id, route.model
                );
                return Ok(Verdict {
                    allowed: true,
                    answer,
                    reasons,
                });
            }
            Err(none) => none,
        };
        reasons.push(match &none {
            NoRoute::Unknown => format!("no enabled provider lists {:?}", self.model),
            NoRoute::NotGranted { candidates } => {
                format!(
                    "no grant of this caller covers any of {}",
                    candidates.join(", ")
                )
            }
            NoRoute::OtherApi { through } => format!(
                "the provider speaks {}, not {}: set its `compatibility`, or use another endpoint",
                through.join(", "),
                self.api
            ),
        });
        let answer = format!("no: 404 no route found for model {:?}", self.model);
        Ok(refused(answer, reasons))
    }
}
