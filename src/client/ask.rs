//! The commands that ask a running gateway: `iris models`, `iris status` and parts of `iris explain`.

use std::fmt::Display;
use std::process::ExitCode;

use clap::Args;
use http::StatusCode;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::exit_code;
use super::gateway::{Gateway, each, read, reason, shown, text, words};
use super::terminal::{print, row, table};
use crate::wire::harmless;

/// List the models that a running gateway offers you.
#[derive(Args)]
pub struct Models {
    #[command(flatten)]
    gateway: Gateway,
}

/// Show the state of a running gateway: yours, or everyone's for an admin.
#[derive(Args)]
pub struct Status {
    /// List sessions.
    #[arg(long)]
    sessions: bool,
    /// List requests, the newest first.
    #[arg(long, conflicts_with = "sessions")]
    requests: bool,
    #[command(flatten)]
    gateway: Gateway,
}

/// Prints the timeline of a request that a running gateway has had.
pub fn timeline(id: &str, url: Option<String>, json: bool) -> anyhow::Result<ExitCode> {
    let gateway = Gateway { url, json };
    let is_id = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    anyhow::ensure!(
        id.bytes().all(is_id),
        "invalid request id {id:?}; it looks like req_01m88q5vhcnbzcxb7tbrhhx8vn"
    );
    let timeline = gateway.get(&format!("/api/requests/{id}/explain"))?;
    gateway.show(&timeline, || {
        let asked = [
            ("at", "asked.started_at"),
            ("from", "caller.login"),
            ("on node", "caller.node_name"),
            ("for model", "asked.model"),
            ("as", "asked.api"),
        ];
        let mut lines = vec![text(&timeline, "answer")];
        lines.extend(asked.map(|(what, key)| format!("  {what} {}", text(&timeline, key))));
        let decisions = each(&timeline, "decisions").iter();
        lines.extend(decisions.map(|one| format!("  - {}", shown(one))));
        lines.join("\n") + "\n"
    });
    Ok(ExitCode::SUCCESS)
}

/// Asks a running gateway whether a caller would get a model, and why. `question` has the parameters
/// of its API.
pub fn verdict(
    question: &[(&str, &str)],
    url: Option<String>,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let gateway = Gateway { url, json };
    let encoded = |(name, value): &(&str, &str)| {
        format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC))
    };
    let query: Vec<String> = question.iter().map(encoded).collect();
    let verdict = gateway.get(&format!("/api/explain?{}", query.join("&")))?;
    gateway.show(&verdict, || {
        let reasons: Vec<String> = each(&verdict, "reasons").iter().map(shown).collect();
        sentences(&text(&verdict, "answer"), &reasons)
    });
    Ok(exit_code(verdict["allowed"] == Value::Bool(true)))
}

impl Models {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let list = self.gateway.get("/v1/models")?;
        if each(&list, "data").is_empty() && !self.gateway.json {
            let whoami = self.gateway.get("/api/whoami")?;
            print(&format!(
                "You don't have access to a model yet. Ask an admin of this gateway for a grant with \
                 \"models\" for {}.\n",
                text(&whoami, "login")
            ));
            return Ok(ExitCode::SUCCESS);
        }
        let mut rows = vec![["MODEL", "PROVIDER", "ENDPOINTS"].map(str::to_owned)];
        for row in each(&list, "data") {
            let endpoints = words(row, "supported_endpoints");
            rows.push([text(row, "id"), text(row, "owned_by"), endpoints]);
        }
        self.gateway.show(&list, || table(&rows));
        Ok(ExitCode::SUCCESS)
    }
}

impl Status {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        if self.sessions {
            self.list(
                "/api/sessions",
                "sessions",
                [
                    ("SESSION", "id"),
                    ("LOGIN", "login"),
                    ("MODEL", "model"),
                    ("REQUESTS", "requests"),
                    ("INPUT", "input_tokens"),
                    ("OUTPUT", "output_tokens"),
                    ("LAST", "last_at"),
                ],
            )
        } else if self.requests {
            self.list(
                "/api/requests",
                "requests",
                [
                    ("ID", "id"),
                    ("LOGIN", "login"),
                    ("NODE", "node_name"),
                    ("MODEL", "model_requested"),
                    ("PROVIDER", "provider"),
                    ("STATUS", "status"),
                    ("OUTCOME", "outcome"),
                    ("INPUT", "usage.input_tokens"),
                    ("OUTPUT", "usage.output_tokens"),
                    ("COST", "cost"),
                    ("WHY", "error"),
                ],
            )
        } else {
            let (base, status, body) = self.gateway.ask("/api/status")?;
            if status == StatusCode::FORBIDDEN {
                return self.without_role(&reason(&body));
            }
            let status = read(&base, status, &body)?;
            let whoami = self.gateway.get("/api/whoami")?;
            self.gateway.show(&status, || summary(&status, &whoami));
            Ok(ExitCode::SUCCESS)
        }
    }

    /// What everyone may know: whether the gateway can serve requests. On its own machine that is
    /// all, unless a grant names "(loopback)".
    fn without_role(&self, denied: &str) -> anyhow::Result<ExitCode> {
        let (_, status, body) = self.gateway.ask("/readyz")?;
        let why = (!status.is_success()).then(|| reason(&body));
        let state = json!({ "ready": why.is_none(), "why": why, "denied": denied });
        self.gateway.show(&state, || {
            let state = why.as_ref().map_or_else(
                || "ready".to_owned(),
                |why| format!("not ready: {}", harmless(why)),
            );
            let more = format!(
                "{}; to see more, grant \"(loopback)\" a role, or name the gateway's address on \
                 the tailnet with --url",
                harmless(denied)
            );
            table(&[row("state", state), row("details", more)])
        });
        Ok(ExitCode::SUCCESS)
    }

    fn list<const COLUMNS: usize>(
        &self,
        path: &str,
        key: &str,
        columns: [(&str, &str); COLUMNS],
    ) -> anyhow::Result<ExitCode> {
        let list = self.gateway.get(path)?;
        if each(&list, key).is_empty() && !self.gateway.json {
            print(&format!("No {key} are on record.\n"));
            return Ok(ExitCode::SUCCESS);
        }
        let mut rows = vec![columns.map(|(name, _)| name.to_owned())];
        let listed = each(&list, key).iter();
        rows.extend(listed.map(|row| columns.map(|(_, field)| text(row, field))));
        self.gateway.show(&list, || table(&rows));
        Ok(ExitCode::SUCCESS)
    }
}

fn summary(status: &Value, whoami: &Value) -> String {
    let you = format!("{} ({})", text(whoami, "login"), text(whoami, "role"));
    let records = match status["ledger_healthy"].as_bool() {
        Some(true) => "are written",
        _ => "CANNOT BE WRITTEN",
    };
    let mut rows = vec![
        row("version", text(status, "version")),
        row("you are", you),
        row("records", records),
    ];
    let node = &status["node"];
    if node.is_object() {
        rows.push(row("node", text(node, "state")));
        rows.push(row("name", text(node, "dns_name")));
        rows.push(row("addresses", words(node, "addresses")));
        if let Some(url) = node["auth_url"].as_str() {
            rows.push(row("sign in at", harmless(url)));
        }
        rows.push(row("last heard", text(node, "heard_at")));
        if node["trouble"].is_object() {
            rows.push(row("control server", text(node, "trouble.message")));
        }
    }
    for warning in each(status, "warnings") {
        let message = format!("{}; {}", text(warning, "message"), text(warning, "hint"));
        rows.push([text(warning, "severity").to_uppercase(), message]);
    }
    for finding in each(status, "findings") {
        let (severity, line) = (text(finding, "severity"), text(finding, "line"));
        rows.push([
            format!("{severity} in line {line}"),
            text(finding, "message"),
        ]);
    }
    table(&rows)
}

/// An answer and what led to it, for people.
#[must_use]
pub fn sentences(answer: &str, reasons: &[impl Display]) -> String {
    let reasons = reasons.iter().map(|reason| format!("  - {reason}\n"));
    format!("{answer}\n{}", reasons.collect::<String>())
}
