//! The commands that ask a running gateway: `iris models`, `iris status` and parts of `iris explain`.

use std::fmt::Display;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::place;
use super::terminal::{print, print_json, table};
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

/// What `iris explain --url` asks.
pub struct Question<'a> {
    pub caller: &'a str,
    pub node: Option<&'a str>,
    pub model: &'a str,
    pub api: &'a str,
}

/// Asks a running gateway whether a caller would get a model, and why.
pub fn verdict(question: &Question<'_>, url: String, json: bool) -> anyhow::Result<ExitCode> {
    let gateway = Gateway {
        url: Some(url),
        json,
    };
    let mut query = vec![
        ("login", question.caller),
        ("model", question.model),
        ("api", question.api),
    ];
    query.extend(question.node.map(|node| ("node", node)));
    let query: Vec<String> = query
        .into_iter()
        .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)))
        .collect();
    let verdict = gateway.get(&format!("/api/explain?{}", query.join("&")))?;
    gateway.show(&verdict, || {
        let reasons: Vec<String> = each(&verdict, "reasons").iter().map(shown).collect();
        sentences(&text(&verdict, "answer"), &reasons)
    });
    Ok(if verdict["allowed"] == Value::Bool(true) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
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
        let mut rows = vec![headings(&["MODEL", "PROVIDER", "ENDPOINTS"])];
        for row in each(&list, "data") {
            let endpoints: Vec<String> =
                each(row, "supported_endpoints").iter().map(shown).collect();
            rows.push(vec![
                text(row, "id"),
                text(row, "owned_by"),
                endpoints.join(" "),
            ]);
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
                &[
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
                &[
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
            table(&[
                vec!["state".to_owned(), state],
                vec!["details".to_owned(), more],
            ])
        });
        Ok(ExitCode::SUCCESS)
    }

    fn list(&self, path: &str, key: &str, columns: &[(&str, &str)]) -> anyhow::Result<ExitCode> {
        let list = self.gateway.get(path)?;
        if each(&list, key).is_empty() && !self.gateway.json {
            print(&format!("No {key} are on record.\n"));
            return Ok(ExitCode::SUCCESS);
        }
        let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        let mut rows = vec![headings(&names)];
        for row in each(&list, key) {
            rows.push(columns.iter().map(|(_, field)| text(row, field)).collect());
        }
        self.gateway.show(&list, || table(&rows));
        Ok(ExitCode::SUCCESS)
    }
}

fn summary(status: &Value, whoami: &Value) -> String {
    let mut rows = vec![
        vec!["version".to_owned(), text(status, "version")],
        vec![
            "you are".to_owned(),
            format!("{} ({})", text(whoami, "login"), text(whoami, "role")),
        ],
        vec![
            "records".to_owned(),
            match status["ledger_healthy"].as_bool() {
                Some(true) => "are written".to_owned(),
                _ => "CANNOT BE WRITTEN".to_owned(),
            },
        ],
    ];
    let node = &status["node"];
    if node.is_object() {
        rows.push(vec!["node".to_owned(), text(node, "state")]);
        rows.push(vec!["name".to_owned(), text(node, "dns_name")]);
        let addresses: Vec<String> = each(node, "addresses").iter().map(shown).collect();
        rows.push(vec!["addresses".to_owned(), addresses.join(" ")]);
        if let Some(url) = node["auth_url"].as_str() {
            rows.push(vec!["sign in at".to_owned(), harmless(url)]);
        }
        rows.push(vec!["last heard".to_owned(), text(node, "heard_at")]);
        if node["trouble"].is_object() {
            let words = text(node, "trouble.message");
            rows.push(vec!["control server".to_owned(), words]);
        }
    }
    for warning in each(status, "warnings") {
        let message = format!("{}; {}", text(warning, "message"), text(warning, "hint"));
        rows.push(vec![text(warning, "severity").to_uppercase(), message]);
    }
    for finding in each(status, "findings") {
        let at = format!(
            "{} in line {}",
            text(finding, "severity"),
            text(finding, "line")
        );
        rows.push(vec![at, text(finding, "message")]);
    }
    table(&rows)
}

/// An answer and what led to it, for people.
#[must_use]
pub fn sentences(answer: &str, reasons: &[impl Display]) -> String {
    let reasons = reasons.iter().map(|reason| format!("  - {reason}\n"));
    format!("{answer}\n{}", reasons.collect::<String>())
}

fn headings(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn each<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// A field for people; `a.b` goes down.
fn text(value: &Value, key: &str) -> String {
    match key.split('.').fold(value, |value, key| &value[key]) {
        Value::Number(ms) if key.ends_with("_at") => ms
            .as_i64()
            .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
            .map_or_else(|| ms.to_string(), |time| time.to_string()),
        Value::Number(nanodollars) if key == "cost" => nanodollars.as_i64().map_or_else(
            || nanodollars.to_string(),
            |nanodollars| Money::from_nanodollars(nanodollars).to_string(),
        ),
        other => shown(other),
    }
}

/// A value for people. What a provider, a model or a user agent wrote must not steer the
/// terminal.
fn shown(value: &Value) -> String {
    let shown = match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    };
    harmless(&shown)
}

/// The models that a gateway offers, and where it is: the one at `url`, or the first of those that need
/// not be named ([`place`]).
pub(super) fn offered(url: Option<&str>) -> anyhow::Result<(String, Value)> {
    let (places, mut tried) = match url {
        Some(url) => (vec![url.to_owned()], Vec::new()),
        None => place::usual()?,
    };
    for place in places {
        let base = place
            .trim_end_matches('/')
            .trim_end_matches("/v1")
            .to_owned();
        let gateway = Gateway {
            url: Some(base.clone()),
            json: false,
        };
        match gateway.get("/v1/models") {
            Ok(list) => return Ok((base, list)),
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

    /// What is answered at a path, and the gateway that was asked.
    fn ask(&self, path: &str) -> anyhow::Result<(String, StatusCode, Bytes)> {
        let base = self
            .url
            .clone()
            .unwrap_or_else(|| format!("http://{LOOPBACK}"));
        let base = base.trim_end_matches('/').trim_end_matches("/v1");
        let uri: Uri = format!("{base}{path}")
            .parse()
            .with_context(|| format!("invalid URL {base:?}"))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (status, body) = runtime
            .block_on(async { tokio::time::timeout(PATIENCE, fetch(uri)).await })
            .with_context(|| format!("{base} gave no answer within {PATIENCE:?}"))?
            .with_context(|| format!(
                    "can't reach a gateway at {base}; start one with \"iris serve\", or pass --url http://ai"
                ))?;
        Ok((base.to_owned(), status, body))
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
    let response = pool.request_again(Request::get(uri).body(Full::default())?);
    let response = response.await.map_err(|error| match error {
        RequestError::Connect(error) => anyhow::Error::new(error).context("client error (Connect)"),
        RequestError::Exchange(error) => {
            anyhow::Error::new(error).context("client error (SendRequest)")
        }
        other => other.into(),
    })?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER)
        .collect()
        .await;
    Ok((
        status,
        body.map_err(|error| anyhow::anyhow!(error))?.to_bytes(),
    ))
}
