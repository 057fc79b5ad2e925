//! OpenTelemetry over OTLP with JSON (<https://opentelemetry.io/docs/specs/otlp/>): a span for
//! each request, and what is counted of them, named by the conventions for generative AI
//! (<https://opentelemetry.io/docs/specs/semconv/gen-ai/>). Nothing that was said is in them.

use std::ops::Range;
use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Outlet, Outlets, PATIENCE};
use crate::base::clock;
use crate::base::secret::Secret;
use crate::config::{
    Certificates, Exporter, Holds, Item, Kind, Table, Way, check_tls, header_value, http_problem,
    section, words,
};
use crate::formats;
use crate::net::client::Errand;
use crate::records::metrics::{Key, Series, Spread};
use crate::records::{Batch, Entry, Outcome};

section! {
    /// The exporter for OpenTelemetry.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct Otlp {
        /// Base URL of a receiver of OTLP over HTTP, such as `http://collector:4318`.
        #[key(required, holds = Holds::Webhook, example = r#""http://collector:4318""#)]
        endpoint: String => Way::new(Kind::Text, base),
        /// Headers of each request.
        // They often hold a credential.
        #[key(holds = Holds::Headers)]
        headers: Vec<(String, Secret)> => Way::new(Kind::Map("header", &Kind::Text), headers),
        /// Whether spans are sent.
        traces: bool = true,
        /// Whether metrics are sent.
        metrics: bool = true,
        /// Between two exports.
        every: Duration = Duration::from_secs(30),
        /// Certificates, as PEM, that the server is trusted by instead of this machine's store: of its authority, or exactly its own. The file is read again when it changes.
        #[key(holds = Holds::Destination, example = r#""${file:/etc/iris/ca.pem}""#)]
        ca: Option<Certificates>,
        /// The one that is spoken.
        protocol: Protocol,
    }
    check: check
}

words! {
    /// What a receiver is spoken to in; another one is an error.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub(crate) enum Protocol {
        /// OTLP over HTTP, as JSON.
        #[default]
        HttpJson = "http/json",
    }
}

/// The exporter.
pub(super) const OUTLET: Outlet = Outlet {
    exporter: Exporter::of::<Otlp>(NAME, "Spans and metrics of OpenTelemetry."),
    takes_records: |exporters| exporters.get::<Otlp>().is_some_and(|config| config.traces),
    run: |outlets, exporters| {
        let config = exporters.get::<Otlp>()?;
        let traces = async move {
            if config.traces {
                let export = move || spans(outlets, config);
                outlets.pump(NAME, config.every, export).await;
            }
        };
        let metrics = async move {
            if config.metrics {
                metrics(outlets, config).await;
            }
        };
        Some(
            async move {
                tokio::join!(traces, metrics);
            }
            .boxed(),
        )
    },
};

/// Its key in the section, and its name in the queue.
const NAME: &str = "otlp";
/// Spans of a request to the receiver.
const SPANS: usize = 500;
/// Longest answer.
const LONGEST: usize = 64 << 10;

/// Sends a batch of spans. Answers with their number.
async fn spans(outlets: &Outlets<'_>, config: &Otlp) -> Result<u64, String> {
    let name = crate::records::EntryId::new(clock::unix_ms());
    let Some(batch) = outlets.take(NAME, name.as_str(), SPANS).await? else {
        return Ok(0);
    };
    if let Err(why) = send(outlets, config, &batch).await {
        return Err(outlets.failed(NAME, &batch, why).await);
    }
    outlets.done(NAME, batch).await
}

async fn send(outlets: &Outlets<'_>, config: &Otlp, batch: &Batch) -> Result<(), String> {
    let mut spans = Vec::with_capacity(batch.entries.len());
    for id in &batch.entries {
        spans.extend(outlets.entry(id).await?.as_ref().map(span));
    }
    let document = json!({ "resourceSpans": [{
        "resource": resource(),
        "scopeSpans": [{ "scope": scope(), "spans": spans }],
    }] });
    post(outlets, config, "/v1/traces", &document).await
}

/// Sends what was counted, again and again; never returns.
async fn metrics(outlets: &Outlets<'_>, config: &Otlp) {
    let began = clock::unix_ms();
    loop {
        tokio::time::sleep(config.every).await;
        let document = counted(outlets, began);
        // What is counted is counted on: the next one has it.
        if let Err(why) = post(outlets, config, "/v1/metrics", &document).await {
            tracing::warn!(why, "metrics could not be sent");
            outlets.board.change("otlp_metrics", |status| {
                status.last_failure = Some(clock::unix_ms());
                status.last_error = Some(why);
                status.failures += 1;
            });
        } else {
            outlets.board.change("otlp_metrics", |status| {
                status.last_success = Some(clock::unix_ms());
                status.failures = 0;
            });
        }
    }
}

async fn post(
    outlets: &Outlets<'_>,
    config: &Otlp,
    path: &str,
    document: &Value,
) -> Result<(), String> {
    let uri = format!("{}{path}", config.endpoint).parse();
    let uri = uri.map_err(|_| "its endpoint is not a URL".to_owned())?;
    let body = document.to_string().into_bytes();
    let mut errand = Errand::json(uri, body, PATIENCE, LONGEST).trusting(config.ca.as_ref());
    for (name, value) in &config.headers {
        errand.secret(name, value);
    }
    let answer = outlets.upstream.errand(errand).await?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let said: String = String::from_utf8_lossy(answer.body())
        .chars()
        .take(200)
        .collect();
    Err(format!("{path} was answered with {status}: {said}"))
}

fn resource() -> Value {
    json!({ "attributes": [text("service.name", "iris"), text("service.version", env!("CARGO_PKG_VERSION"))] })
}

fn scope() -> Value {
    json!({ "name": "iris", "version": env!("CARGO_PKG_VERSION") })
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

fn whole(key: &str, value: u64) -> Value {
    // 64-bit integers are strings in JSON's form of Protocol Buffers.
    json!({ "key": key, "value": { "intValue": value.to_string() } })
}

/// The operation that a format stands for.
fn operation(format: &str) -> &'static str {
    formats::named(format).map_or("chat", |format| format.operation)
}

fn span(entry: &Entry) -> Value {
    // The same each time it is sent: a receiver can tell that it has it already.
    let digest = Sha256::digest(entry.id.as_str().as_bytes());
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
    };
    let nanos = |ms: f64| {
        #[expect(clippy::cast_possible_truncation, reason = "whole nanoseconds")]
        let nanos = (ms * 1e6) as i64;
        (entry
            .started_at
            .saturating_mul(1_000_000)
            .saturating_add(nanos))
        .to_string()
    };
    let operation = operation(&entry.api);
    let mut attributes = vec![
        text("gen_ai.operation.name", operation),
        text("gen_ai.provider.name", &entry.provider),
        text("gen_ai.request.model", &entry.model_requested),
        text("gen_ai.response.model", &entry.model),
        text("gen_ai.conversation.id", &entry.session),
        text("user.id", &entry.caller),
        text("user.name", &entry.login),
        text("user_agent.original", &entry.user_agent),
        text("http.request.method", &entry.method),
        text("url.path", &entry.path),
        whole("http.response.status_code", entry.status.into()),
        text("iris.request.id", entry.id.as_str()),
        text("iris.api", &entry.api),
        text("iris.outcome", entry.outcome.as_str()),
        text("iris.node", &entry.node_name),
    ];
    for (key, count) in [
        ("gen_ai.usage.input_tokens", entry.tokens.input),
        ("gen_ai.usage.output_tokens", entry.tokens.output),
        ("gen_ai.usage.cache_read.input_tokens", entry.tokens.cached),
        (
            "gen_ai.usage.cache_creation.input_tokens",
            entry.tokens.cache_write,
        ),
    ] {
        attributes.extend(count.map(|count| whole(key, count)));
    }
    if let Some(reason) = &entry.finish_reason {
        let value = json!({ "arrayValue": { "values": [{ "stringValue": reason }] } });
        attributes.push(json!({ "key": "gen_ai.response.finish_reasons", "value": value }));
    }
    if let Some(cost) = entry.cost.and_then(|cost| u64::try_from(cost).ok()) {
        attributes.push(whole("iris.cost.nanodollars", cost));
    }
    if entry.own_credential {
        let value = json!({ "boolValue": true });
        attributes.push(json!({ "key": "iris.own_credential", "value": value }));
    }
    let mut events = Vec::new();
    if let Some(first) = entry.first_token_ms {
        events.push(json!({ "name": "first_token", "timeUnixNano": nanos(first) }));
    }
    let status = if entry.outcome.is_error() || entry.status >= 400 {
        attributes.push(text("error.type", &error_type(entry)));
        json!({ "code": 2, "message": why(entry) })
    } else {
        json!({})
    };
    json!({
        "traceId": hex(&digest[..16]),
        "spanId": hex(&digest[16..24]),
        "name": format!("{operation} {}", entry.model_requested),
        "kind": 3,
        "startTimeUnixNano": nanos(0.0),
        "endTimeUnixNano": nanos(entry.duration_ms),
        "attributes": attributes,
        "events": events,
        "status": status,
    })
}

/// Why a request failed. A provider's own words may quote what was asked, which spans don't hold.
fn why(entry: &Entry) -> String {
    match entry.outcome {
        Outcome::UpstreamError if entry.status >= 400 => {
            format!("the provider answered {}", entry.status)
        }
        Outcome::UpstreamError => "the provider's response failed".to_owned(),
        _ => entry.error.clone().unwrap_or_default(),
    }
}

fn error_type(entry: &Entry) -> String {
    match entry.outcome {
        Outcome::Complete | Outcome::Refused => entry.status.to_string(),
        Outcome::UpstreamError if entry.status >= 400 => entry.status.to_string(),
        other => other.as_str().to_owned(),
    }
}

/// A kind of token, where it is tokens that are spread, and how.
type Counted = (Option<&'static str>, Spread);

/// What was counted since the start of the process.
fn counted(outlets: &Outlets<'_>, began: i64) -> Value {
    let now = clock::unix_ms();
    let nanoseconds = |ms: i64| ms.saturating_mul(1_000_000).to_string();
    let time = nanoseconds(began)..nanoseconds(now);
    let all = outlets.metrics.all();
    let points = |of: fn(&Series) -> Vec<Counted>| -> Vec<Value> {
        all.iter()
            .flat_map(|(key, series)| {
                of(series)
                    .into_iter()
                    .filter(|(_, spread)| spread.count() > 0)
                    .map(|(kind, spread)| point(key, kind, &spread, &time))
                    .collect::<Vec<_>>()
            })
            .collect()
    };
    let tokens = points(|series| {
        vec![
            (Some("input"), series.input.spread()),
            (Some("output"), series.output.spread()),
        ]
    });
    let durations = points(|series| vec![(None, series.duration.spread())]);
    let first = points(|series| vec![(None, series.first_token.spread())]);
    let histogram = |name: &str, unit: &str, points: Vec<Value>| {
        json!({ "name": name, "unit": unit, "histogram": {
            "aggregationTemporality": 2, "dataPoints": points } })
    };
    json!({ "resourceMetrics": [{
        "resource": resource(),
        "scopeMetrics": [{ "scope": scope(), "metrics": [
            histogram("gen_ai.client.token.usage", "{token}", tokens),
            histogram("gen_ai.client.operation.duration", "s", durations),
            histogram("gen_ai.server.time_to_first_token", "s", first),
        ] }],
    }] })
}

fn point(key: &Key, kind: Option<&'static str>, spread: &Spread, time: &Range<String>) -> Value {
    let mut attributes = vec![
        text("gen_ai.operation.name", operation(&key.api)),
        text("gen_ai.provider.name", &key.provider),
        text("gen_ai.request.model", &key.model),
        text("iris.outcome", key.outcome),
    ];
    attributes.extend(kind.map(|kind| text("gen_ai.token.type", kind)));
    let counts: Vec<String> = spread.counts.iter().map(u64::to_string).collect();
    json!({
        "attributes": attributes,
        "startTimeUnixNano": time.start,
        "timeUnixNano": time.end,
        "count": spread.count().to_string(),
        "sum": spread.sum,
        "bucketCounts": counts,
        "explicitBounds": spread.bounds,
    })
}

/// A URL that paths are put behind.
fn base(item: &Item<'_>) -> Option<String> {
    let text = item.string()?.trim();
    Some(text.trim_end_matches('/').to_owned())
}

/// Headers by their names.
fn headers(item: &Item<'_>) -> Option<Vec<(String, Secret)>> {
    let table = item.table()?;
    let named = table.named().filter_map(|(name, item)| {
        if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            item.warn(format!("{name:?} is not the name of a header"));
        }
        Some((name.to_owned(), header_value(&item)?))
    });
    Some(named.collect())
}

fn check(otlp: Otlp, table: &Table<'_>) -> Option<Otlp> {
    check_tls(otlp.ca.as_ref(), &otlp.endpoint, table);
    let problem = if otlp.endpoint.is_empty() {
        Some("exporters.otlp needs an endpoint such as http://collector:4318".to_owned())
    } else if otlp.endpoint.contains('?') {
        Some("exporters.otlp.endpoint has a query, behind which no path can stand".to_owned())
    } else {
        http_problem(&otlp.endpoint).map(|problem| format!("exporters.otlp.endpoint {problem}"))
    };
    if let Some(message) = &problem {
        let at = table.position("endpoint");
        table.findings.warn(at, &table.path, message.as_str());
    }
    problem.is_none().then_some(otlp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_sent_without_what_surrounds_them() {
        let lookup = |name: &str| (name == "K").then(|| "sk-1\r\n".to_owned());
        let text =
            r#"{"exporters":{"otlp":{"endpoint":" http://o/ ","headers":{"a":"Bearer ${K}"}}}}"#;
        let file = crate::config::parse(text, &lookup).unwrap().file;
        let otlp = file.exporters.get::<Otlp>().unwrap();
        assert_eq!(otlp.endpoint, "http://o");
        assert_eq!(otlp.headers[0].1.expose(), "Bearer sk-1");
    }
}
