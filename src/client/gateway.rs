//! A running gateway, and how it is asked.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Limited};
use serde_json::Value;

use super::terminal::{print, print_json};
use super::{place, runtime};
use crate::base::money::Money;
use crate::config::LOOPBACK;
use crate::net::client::{Connector, Pool, RequestError, Timeouts};
use crate::wire::harmless;

const PATIENCE: Duration = Duration::from_secs(10);
/// A model may have to be loaded before it answers.
const MODELS_PATIENCE: Duration = Duration::from_mins(2);
const MAX_ANSWER: usize = 64 << 20;

/// A running gateway.
#[derive(Args)]
pub(super) struct Gateway {
    #[arg(
        long,
        value_name = "URL",
        env = "IRIS_URL",
        help = "Its URL, such as http://ai [default: http://127.0.0.1:8088]"
    )]
    pub(super) url: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
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
    pub(super) fn show(&self, value: &Value, human: impl FnOnce() -> String) {
        if self.json {
            print_json(value);
        } else {
            print(&human());
        }
    }

    pub(super) fn get(&self, path: &str) -> anyhow::Result<Value> {
        let (base, status, body) = self.ask(path)?;
        read(&base, status, &body)
    }

    /// Its URL, without a slash or the path of OpenAI's clients at the end.
    pub(super) fn base(&self) -> String {
        let own = || format!("http://{LOOPBACK}");
        let url = self.url.clone().unwrap_or_else(own);
        let base = url.trim_end_matches('/').trim_end_matches("/v1");
        base.to_owned()
    }

    /// The response of a model to a request in JSON, and the gateway that was asked.
    pub(super) fn post(
        &self,
        path: &str,
        body: &Value,
    ) -> anyhow::Result<(String, StatusCode, Bytes)> {
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        let request = request.body(body.to_string().into())?;
        self.send(path, request, MODELS_PATIENCE)
    }

    /// The response at a path, and the gateway that was asked.
    pub(super) fn ask(&self, path: &str) -> anyhow::Result<(String, StatusCode, Bytes)> {
        self.send(path, Request::new(Bytes::new()), PATIENCE)
    }

    fn send(
        &self,
        path: &str,
        mut request: Request<Bytes>,
        patience: Duration,
    ) -> anyhow::Result<(String, StatusCode, Bytes)> {
        let base = self.base();
        let uri: Uri = format!("{base}{path}")
            .parse()
            .with_context(|| format!("invalid URL {base:?}"))?;
        let has_scheme = uri.scheme().is_some();
        anyhow::ensure!(
            has_scheme,
            "invalid URL {base:?}: it must start with http:// or https://"
        );
        let shown = origin(&base);
        *request.uri_mut() = uri;
        let (status, body) = runtime()?
            .block_on(async { tokio::time::timeout(patience, fetch(request, patience)).await })
            .with_context(|| format!("{shown} gave no answer within {patience:?}"))?
            .with_context(|| format!(
                    "can't reach a gateway at {shown}; start one with \"iris serve\", or pass --url http://ai"
                ))?;
        Ok((base, status, body))
    }
}

/// A URL for people, without what may be a secret in it: its scheme, host and port.
pub(super) fn origin(url: &str) -> String {
    let shown = || {
        let uri: Uri = url.trim().parse().ok()?;
        let port = uri.port_u16().map(|port| format!(":{port}"));
        let (scheme, host) = (uri.scheme_str()?, uri.host()?);
        Some(format!("{scheme}://{host}{}", port.unwrap_or_default()))
    };
    shown().map_or_else(|| "an invalid URL".to_owned(), |shown| harmless(&shown))
}

pub(super) fn read(base: &str, status: StatusCode, body: &[u8]) -> anyhow::Result<Value> {
    let base = origin(base);
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
pub(super) fn reason(body: &[u8]) -> String {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let places = [&value["error"]["message"], &value["error"]];
    let reason = places.into_iter().find_map(Value::as_str);
    harmless(reason.unwrap_or("no reason given"))
}

/// Sends a request over this machine's own network.
async fn fetch(request: Request<Bytes>, patience: Duration) -> anyhow::Result<(StatusCode, Bytes)> {
    let pool = Pool::new(Connector::of_host(Timeouts::all(patience)));
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

/// The values of a list for people.
pub(super) fn words(value: &Value, key: &str) -> String {
    let words: Vec<String> = each(value, key).iter().map(shown).collect();
    words.join(" ")
}

pub(super) fn each<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// A field for people; `a.b` goes down.
pub(super) fn text(value: &Value, key: &str) -> String {
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
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => harmless(text),
        Value::Null => "-".to_owned(),
        other => harmless(&other.to_string()),
    }
}
