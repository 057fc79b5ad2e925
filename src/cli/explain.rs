//! `iris explain`.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{Places, ask, print};
use crate::admin::whatif;
use crate::identity::Caller;

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

impl Explain {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        if let Some(id) = &self.request {
            return ask::story(id, self.url.clone(), self.json);
        }
        let rules = self.places.rules()?;
        let Some(api) = whatif::format(&self.api) else {
            anyhow::bail!("{}", whatif::no_format(&self.api));
        };
        let caller = Caller::hypothetical(&self.caller, self.from.as_deref());
        let verdict = whatif::verdict(&rules, &caller, api, &self.model);
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
}
