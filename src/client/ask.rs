//! The commands that ask a running gateway: `iris models`, `iris status` and parts of `iris explain`.

use std::fmt::Display;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::terminal::{print, print_json, row, table};
use super::{exit_code, place, runtime};
use crate::base::money::Money;
use crate::config::LOOPBACK;
use crate::net::client::{Connector, Pool, RequestError, Timeouts};
use crate::wire::harmless;

const PATIENCE: Duration = Duration::from_secs(10);
const MAX_ANSWER: usize = 64 << 20;

/// A running gateway.
#[derive(Args)]
struct Gateway {
    #[arg(
        long,
        value_name = "URL",
        env = "IRIS_URL",
        help = "Its URL, such as http://ai [default: http://127.0.0.1:8088]"
    )]
    url: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

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

/// The values of a list for people.
fn words(value: &Value, key: &str) -> String {
    let words: Vec<String> = each(value, key).iter().map(shown).collect();
    words.join(" ")
}

fn each<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// A field for people; `a.b` goes down.
fn text(value: &Value, key: &str) -> String {
    match key.split('.').fold(value, |value, key| &value[key]) {
        Value::Number(ms) if key.ends_with("_at") => {
            let time = ms.as_i64().map(jiff::Timestamp::from_millisecond);
            time.and_then(Result::ok)
                .map_or_else(|| ms.to_string(), |time| time.to_string())
        }
        Value::Number(cost) if key == "cost" => {
            let money = cost.as_i64().map(Money::from_nanodollars);
            money.map_or_else(|| cost.to_string(), |money| money.to_string())
        }
        other => shown(other),
    }
}

/// A value for people. What a provider, a model or a user agent wrote must not steer the
/// terminal.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => harmless(text),
        Value::Null => "-".to_owned(),
        other => harmless(&other.to_string()),
    }
}

/// The models that a gateway offers, and where it is: the one at `url`, or the first of those that need
/// not be named ([`place`]).
pub(super) fn offered(url: Option<&str>) -> anyhow::Result<(String, Value)> {
    let (places, mut tried) = match url {
        Some(url) => (vec![url.to_owned()], Vec::new()),
        None => place::usual()?,
    };
    for url in places.into_iter().map(Some) {
        let gateway = Gateway { url, json: false };
        match gateway.get("/v1/models") {
            Ok(list) => return Ok((gateway.base(), list)),
            Err(error) => tried.push(format!("{error:#}")),
        }
    }
    anyhow::bail!(
        "no gateway was found:\n  {}\nname one with --url, or in IRIS_URL",
        tried.join("\n  ")
    )
}

impl Gateway {
    fn show(&self, value: &Value, human: impl FnOnce() -> String) {
        if self.json {
            print_json(value);
        } else {
            print(&human());
        }
    }

    fn get(&self, path: &str) -> anyhow::Result<Value> {
        let (base, status, body) = self.ask(path)?;
        read(&base, status, &body)
    }

    /// Its URL, without a slash or the path of OpenAI's clients at the end.
    fn base(&self) -> String {
        let own = || format!("http://{LOOPBACK}");
        let url = self.url.clone().unwrap_or_else(own);
        let base = url.trim_end_matches('/').trim_end_matches("/v1");
        base.to_owned()
    }

    /// The response at a path, and the gateway that was asked.
    fn ask(&self, path: &str) -> anyhow::Result<(String, StatusCode, Bytes)> {
        let base = self.base();
        let uri: Uri = format!("{base}{path}")
            .parse()
            .with_context(|| format!("invalid URL {base:?}"))?;
        let has_scheme = uri.scheme().is_some();
        anyhow::ensure!(
            has_scheme,
            "invalid URL {base:?}: it must start with http:// or https://"
        );
        let (status, body) = runtime()?
            .block_on(async { tokio::time::timeout(PATIENCE, fetch(uri)).await })
            .with_context(|| format!("{base} gave no answer within {PATIENCE:?}"))?
            .with_context(|| format!(
                    "can't reach a gateway at {base}; start one with \"iris serve\", or pass --url http://ai"
                ))?;
        Ok((base, status, body))
    }
}

fn read(base: &str, status: StatusCode, body: &[u8]) -> anyhow::Result<Value> {
    anyhow::ensure!(
        !status.is_redirection(),
        "{base} answered {status}, which leads elsewhere and is not followed; pass the gateway's own URL"
    );
    let value = serde_json::from_slice(body)
        .with_context(|| format!("{base} is not an Iris gateway (HTTP {status})"))?;
    anyhow::ensure!(
        status.is_success(),
        "{base} answered {status}: {}",
        reason(body)
    );
    Ok(value)
}

/// Why a gateway refuses.
fn reason(body: &[u8]) -> String {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let places = [&value["error"]["message"], &value["error"]];
    let reason = places.into_iter().find_map(Value::as_str);
    harmless(reason.unwrap_or("no reason given"))
}

/// Gets what is at a URL, over this machine's own network.
async fn fetch(uri: Uri) -> anyhow::Result<(StatusCode, Bytes)> {
    let pool = Pool::new(Connector::of_host(Timeouts::all(PATIENCE)));
    let request = Request::get(uri).body(Bytes::new())?;
    let response = pool
        .request_again(&request)
        .await
        .map_err(|error| match error {
            RequestError::Connect(error) => {
                anyhow::Error::new(error).context("client error (Connect)")
            }
            RequestError::Exchange(error) => {
                anyhow::Error::new(error).context("client error (SendRequest)")
            }
            other => other.into(),
        })?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAX_ANSWER).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!(error))?;
    Ok((head.status, body.to_bytes()))
}
