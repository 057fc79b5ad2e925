//! `iris doctor`: what stands between this machine and an answer of a model, one check after the other.

mod environment;
mod files;
mod network;
mod tailscale;

use std::process::ExitCode;

use clap::Args;
use http::StatusCode;
use serde_json::{Value, json};

use super::agents::Speaks;
use super::exit_code;
use super::gateway::{Gateway, read, text};
use super::offer::{Offered, cheapest};
use super::terminal::{first, print, print_json, table};
use crate::config::LOOPBACK;

/// Models that a line lists.
const LISTED: usize = 8;
/// Tokens that the model may write for the check.
const ANSWER: u32 = 16;
/// Tokens that the check's request has, roughly.
const QUESTION: u32 = 20;

/// Check what stands between this machine and an answer of a model: the name, the tailnet, who you are, your
/// models, and settings in the way. Exits with 1 if something is wrong.
#[derive(Args)]
pub struct Doctor {
    #[arg(
        long,
        value_name = "URL",
        env = "IRIS_URL",
        help = "The gateway [default: http://ai, then http://127.0.0.1:8088]"
    )]
    url: Option<String>,
    /// Ask a model too, which may cost a fraction of a cent.
    #[arg(long)]
    ask: bool,
    /// The model to ask [default: the cheapest that you may use].
    #[arg(long, short, requires = "ask")]
    model: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// How a check has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    /// It was not made.
    Skipped,
    /// It may be what you want.
    Odd,
    Wrong,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Skipped => "skipped",
            Self::Odd => "note",
            Self::Wrong => "wrong",
        }
    }
}

/// What a check has found.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    check: &'static str,
    verdict: Verdict,
    /// What was found, and why it matters.
    what: String,
    /// What to do.
    fix: Option<String>,
}

impl Finding {
    fn good(check: &'static str, what: impl Into<String>) -> Self {
        Self::new(check, Verdict::Good, what)
    }

    fn odd(check: &'static str, what: impl Into<String>) -> Self {
        Self::new(check, Verdict::Odd, what)
    }

    fn wrong(check: &'static str, what: impl Into<String>) -> Self {
        Self::new(check, Verdict::Wrong, what)
    }

    fn skipped(check: &'static str, what: impl Into<String>) -> Self {
        Self::new(check, Verdict::Skipped, what)
    }

    fn new(check: &'static str, verdict: Verdict, what: impl Into<String>) -> Self {
        Self {
            check,
            verdict,
            what: what.into(),
            fix: None,
        }
    }

    /// With what to do.
    fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

impl Doctor {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let found = network::find(self.url.as_deref())?;
        let mut findings = found.findings;
        if let Some(base) = &found.base {
            self.at(base, &mut findings);
        }
        let usual = || format!("http://{LOOPBACK}");
        let base = found.base.or_else(|| self.url.clone());
        let base = base.unwrap_or_else(usual);
        findings.extend(environment::check(&base, |name| std::env::var(name).ok()));
        let (here, home) = (std::env::current_dir().ok(), std::env::home_dir());
        findings.extend(files::check(&base, here.as_deref(), home.as_deref()));
        let is_well = findings.iter().all(|one| one.verdict != Verdict::Wrong);
        if self.json {
            print_json(&as_json(&findings, is_well));
        } else {
            print(&for_people(&findings));
        }
        Ok(exit_code(is_well))
    }

    /// What a gateway says of the caller.
    fn at(&self, base: &str, findings: &mut Vec<Finding>) {
        let gateway = Gateway {
            url: Some(base.to_owned()),
            json: false,
        };
        let is_known = match gateway.get("/api/whoami") {
            Ok(whoami) => {
                let (login, node) = (text(&whoami, "login"), text(&whoami, "node_name"));
                let role = text(&whoami, "role");
                let what = format!("the gateway takes you for {login} on {node}, role {role}");
                findings.push(Finding::good("you", what));
                true
            }
            Err(error) => {
                let finding = Finding::wrong("you", format!("{error:#}"));
                findings.push(finding.fix(
                    "ask an admin of this gateway for a grant; if it isn't who you are, sign this device \
                     in to Tailscale as yourself",
                ));
                false
            }
        };
        if !is_known {
            return;
        }
        let list = match gateway.get("/v1/models") {
            Ok(list) => list,
            Err(error) => return findings.push(Finding::wrong("models", format!("{error:#}"))),
        };
        let all = Offered::all(&list);
        findings.push(models(&all));
        findings.push(self.answer(&gateway, &all));
    }

    /// An answer of a model, if one is wanted.
    fn answer(&self, gateway: &Gateway, all: &[Offered]) -> Finding {
        const CHECK: &str = "answer";
        const FORMAT: Speaks = Speaks::Chat;
        let chats = all.iter().filter(|one| one.speaks(FORMAT));
        // A credential of the caller's own is the agent's, which isn't looked for here.
        let keyed = chats.filter(|one| !one.needs_own(&one.id, FORMAT));
        let wanted = match &self.model {
            Some(wanted) => all
                .iter()
                .find(|one| one.chats && one.can_be_asked(wanted, FORMAT)),
            None => cheapest(keyed),
        };
        let Some(model) = wanted else {
            let what = match &self.model {
                Some(model) if self.ask => {
                    let what = format!("you have no model {model:?} for chat completions");
                    return Finding::wrong(CHECK, what).fix("`iris models` lists what you have");
                }
                _ => "you have no model for chat completions that needs no credential of yours",
            };
            return Finding::skipped(CHECK, what);
        };
        let name = self.model.as_deref().unwrap_or(&model.id);
        let cost = cost(model);
        if !self.ask {
            let what =
                format!("no model was asked; --ask asks {name} for one answer, which costs {cost}");
            return Finding::skipped(CHECK, what);
        }
        match ask(gateway, name) {
            Ok(answer) if answer["choices"][0].is_object() => {
                let used = text(&answer["usage"], "total_tokens");
                let what = format!("{name} answered, with {used} tokens ({cost})");
                Finding::good(CHECK, what)
            }
            Ok(_) => Finding::wrong(CHECK, format!("{name} gave an answer without a message"))
                .fix("look at the request on the gateway's page Requests"),
            Err(error) => Finding::wrong(CHECK, format!("{name}: {error:#}"))
                .fix("`iris status --requests` shows the request, `iris explain --request ID` why it went so"),
        }
    }
}

/// An answer of a model to a short question.
fn ask(gateway: &Gateway, model: &str) -> anyhow::Result<Value> {
    // OpenAI's newer models refuse `max_tokens`, and some other servers know nothing else.
    const LIMIT: &str = "max_completion_tokens";
    let post = |limit: &str| {
        let body = json!({
            "model": model,
            limit: ANSWER,
            "messages": [{ "role": "user", "content": "Answer with the word: ready" }],
        });
        gateway.post(Speaks::Chat.endpoint(), &body)
    };
    let (mut base, mut status, mut body) = post(LIMIT)?;
    let is_refused = [StatusCode::BAD_REQUEST, StatusCode::UNPROCESSABLE_ENTITY].contains(&status);
    if is_refused && String::from_utf8_lossy(&body).contains(LIMIT) {
        (base, status, body) = post("max_tokens")?;
    }
    read(&base, status, &body)
}

/// What one answer costs at most.
fn cost(model: &Offered) -> String {
    let most =
        |(read, written): (f64, f64)| read * f64::from(QUESTION) + written * f64::from(ANSWER);
    match model.price.map(most) {
        Some(0.0) => "nothing".to_owned(),
        Some(dollars) => format!("about ${dollars:.6} at most"),
        None => "an unknown amount".to_owned(),
    }
}

fn models(all: &[Offered]) -> Finding {
    const CHECK: &str = "models";
    if all.is_empty() {
        return Finding::wrong(CHECK, "you don't have access to a model yet")
            .fix("ask an admin of this gateway for a grant with \"models\"");
    }
    let chats: Vec<String> = all
        .iter()
        .filter(|one| one.chats)
        .map(|one| one.id.clone())
        .collect();
    if chats.is_empty() {
        let what = format!("none of your {} models holds conversations", all.len());
        return Finding::odd(CHECK, what);
    }
    let needs_own = |one: &&Offered| one.providers.iter().all(|one| one.takes_own);
    let own = all.iter().filter(needs_own).count();
    let own = match own {
        0 => String::new(),
        own => format!("; {own} of them with your own login at the provider"),
    };
    Finding::good(CHECK, format!("{}{own}", first(LISTED, &chats)))
}

fn as_json(findings: &[Finding], is_well: bool) -> Value {
    let checks = findings.iter().map(|one| {
        json!({
            "check": one.check,
            "result": one.verdict.word(),
            "what": one.what,
            "fix": one.fix,
        })
    });
    json!({ "ok": is_well, "checks": checks.collect::<Vec<_>>() })
}

fn for_people(findings: &[Finding]) -> String {
    let mut rows = Vec::new();
    for one in findings {
        let word = match one.verdict {
            Verdict::Wrong => one.verdict.word().to_uppercase(),
            _ => one.verdict.word().to_owned(),
        };
        rows.push([word, one.check.to_owned(), one.what.clone()]);
        if let Some(fix) = &one.fix {
            rows.push([String::new(), String::new(), format!("→ {fix}")]);
        }
    }
    table(&rows)
}
