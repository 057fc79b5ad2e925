//! `iris explain`.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{Places, exit_code, print, print_json};
use crate::base::labels::Labels;
use crate::client::ask::{self, sentences};
use crate::formats;
use crate::policy::identity::Caller;
use crate::web::api::models::whatif;

/// Say why a caller gets a model from a provider, or why not. The answer comes from the
/// configuration. Only a running gateway (`--url`) knows what the tailnet policy grants as well, and
/// why a past request (`--request`) went as it did.
#[derive(Args)]
#[command(
    override_usage = "iris explain --as <LOGIN|TAG> <MODEL> [--url <URL>]\n       iris explain --request <ID> [--url <URL>]"
)]
pub(super) struct Explain {
    /// The model, as a caller would name it, or a path such as /direct/openai/v1/files.
    #[arg(value_name = "MODEL", required_unless_present = "request")]
    model: Option<String>,
    /// A login, a tag or several joined by commas, or (loopback).
    #[arg(
        long = "as",
        value_name = "LOGIN|TAG",
        required_unless_present = "request"
    )]
    caller: Option<String>,
    /// A request that a running gateway has had, by the `x-iris-request-id` of its answer.
    #[arg(long, value_name = "ID", conflicts_with_all = ["model", "caller", "from"])]
    request: Option<String>,
    // Not by the variable: what is in the configuration can be asked while a gateway runs.
    #[arg(
        long,
        value_name = "URL",
        help = "Ask this running gateway, as an admin of it. For --request the default is IRIS_URL, else http://127.0.0.1:8088"
    )]
    url: Option<String>,
    /// The node that the request would come from.
    #[arg(long, value_name = "NODE")]
    from: Option<String>,
    /// The person for whom the caller speaks.
    #[arg(long = "for", value_name = "LOGIN")]
    person: Option<String>,
    /// The labels of the request, as `project=web,run=42`.
    #[arg(long, value_name = "LABELS")]
    labels: Option<String>,
    /// The API format of the request.
    #[arg(long, value_name = "FORMAT", default_value = formats::DEFAULT.name)]
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
            let url = self.url.clone().or_else(|| std::env::var("IRIS_URL").ok());
            return ask::timeline(id, url, self.json);
        }
        // Without --request, the parser asks for both.
        let caller = self.caller.as_deref().unwrap_or_default();
        let model = self.model.as_deref().unwrap_or_default();
        if self.url.is_some() {
            let mut question = vec![("login", caller), ("model", model), ("api", &self.api)];
            question.extend(self.from.as_deref().map(|node| ("node", node)));
            question.extend(self.person.as_deref().map(|login| ("for", login)));
            question.extend(self.labels.as_deref().map(|labels| ("labels", labels)));
            return ask::verdict(&question, self.url.clone(), self.json);
        }
        let rules = self.places.rules()?;
        let Some(api) = formats::named(&self.api) else {
            anyhow::bail!("{}", whatif::no_format(&self.api));
        };
        let asking = Caller::hypothetical(caller, self.from.as_deref());
        let labels = Labels::parse([self.labels.as_deref().unwrap_or_default().as_bytes()])?;
        let person = self.person.as_deref();
        let asking = whatif::Asking {
            caller: &asking,
            person: person.map(|login| rules.access.unseen(login)),
            labels: &labels,
        };
        let verdict = whatif::verdict(&rules, &asking, api, model);
        if self.json {
            let report = json!({
                "caller": caller,
                "model": model,
                "allowed": verdict.allowed,
                "answer": verdict.answer,
                "reasons": verdict.reasons.iter().map(ToString::to_string).collect::<Vec<_>>(),
            });
            print_json(&report);
        } else {
            print(&sentences(&verdict.answer, &verdict.reasons));
        }
        Ok(exit_code(verdict.allowed))
    }
}
