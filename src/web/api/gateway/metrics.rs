//! `GET /metrics`: counters for Prometheus.

use http::StatusCode;

use crate::base::memory;
use crate::base::output;
use crate::base::panics;
use crate::net::tailnet::{State, Status};
use crate::policy::route::Health;
use crate::records::metrics::{self, Gauge};
use crate::web::alerts;
use crate::web::api::endpoint::{Call, Endpoint, Handler, Reply};
use crate::web::api::respond;
use crate::wire::Rejection;

pub(in crate::web::api) const ENDPOINT: Endpoint = Endpoint {
    path: "/metrics",
    name: "Metrics",
    about: "Counters for Prometheus; takes a grant with `read_metrics`.",
    handler: Handler::Role(|call| Box::pin(async move { answer(&call) })),
    ..Endpoint::GET
};

fn answer(call: &Call<'_>) -> Reply {
    // They name every provider and model, so that being an admin is not asking for enough.
    if !call.reader.permit.may_read_metrics() {
        let why = "access denied: no grant has read_metrics";
        return Err(Rejection::new(StatusCode::FORBIDDEN, "no_metrics", why));
    }
    let text = metrics::render(&call.reader.engines.gateway.metrics, &gauges(call));
    Ok(respond(metrics::CONTENT_TYPE, text))
}

fn gauge(name: &'static str, help: &'static str, value: f64) -> Gauge {
    let values = vec![(Vec::new(), value)];
    Gauge {
        name,
        help,
        kind: "gauge",
        values,
    }
}

fn counter(name: &'static str, help: &'static str, value: u64) -> Gauge {
    Gauge {
        kind: "counter",
        ..gauge(name, help, as_float(value))
    }
}

fn flag(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}

/// What a node knows of itself.
fn of_node(node: &Status) -> Vec<Gauge> {
    let seconds = |ms: i64| as_float(u64::try_from(ms / 1_000).unwrap_or_default());
    let mut gauges = vec![gauge(
        "iris_node_map_stale",
        "Whether the network map is older than tailnet.stale_after.",
        flag(node.is_stale),
    )];
    if let Some(at) = alerts::key_expires_at(node) {
        gauges.push(gauge(
            "iris_node_key_expiry_timestamp_seconds",
            "When the node's key expires, in Unix time; not there where it does not.",
            seconds(at),
        ));
    }
    if let Some(at) = node.heard_at {
        gauges.push(gauge(
            "iris_node_control_heard_timestamp_seconds",
            "When the control server was last heard, in Unix time; it is heard once a minute.",
            seconds(at),
        ));
    }
    gauges
}

fn gauges(call: &Call<'_>) -> Vec<Gauge> {
    let gateway = call.reader.engines.gateway;
    let node = call.reader.engines.node_status();
    let node = node.as_ref();
    let is_up = node.is_none_or(|node| node.state == State::Running);
    let mut gauges = vec![
        Gauge {
            name: "iris_build_info",
            help: "The version that runs.",
            kind: "gauge",
            values: vec![(vec![("version", env!("CARGO_PKG_VERSION").to_owned())], 1.0)],
        },
        gauge(
            "iris_ledger_healthy",
            "Whether requests can be recorded.",
            flag(gateway.ledger.healthy()),
        ),
        gauge(
            "iris_ledger_folding",
            "Whether new records reach the tables that are queried; 0 while adding them fails.",
            flag(gateway.ledger.folding_problems().failing.is_none()),
        ),
        gauge(
            "iris_node_running",
            "Whether the node is on its tailnet; 1 without a tailnet.",
            flag(is_up),
        ),
    ];
    gauges.extend(node.into_iter().flat_map(of_node));
    gauges.push(counter(
        "iris_panics_total",
        "Panics of the program: each is a fault of it, of which the log says where.",
        panics::count(),
    ));
    gauges.push(counter(
        "iris_log_lines_dropped_total",
        "Lines of the log that were lost, because standard error could not be written to.",
        output::log().map_or(0, |log| log.loss().dropped),
    ));
    gauges.extend(held());
    gauges.extend(upstream(call));
    gauges.push(Gauge {
        name: "iris_hook_calls_total",
        help: "Calls of hooks, by what came of them.",
        kind: "counter",
        values: gateway
            .tally
            .counts()
            .into_iter()
            .map(|((hook, what), count)| {
                let labels = vec![("hook", hook), ("result", what.as_str().to_owned())];
                (labels, as_float(count))
            })
            .collect(),
    });
    let exporters = call.reader.engines.management.board.all().into_iter();
    gauges.push(Gauge {
        name: "iris_exporter_failures",
        help: "Failures of an exporter in a row.",
        kind: "gauge",
        values: exporters
            .map(|(name, status)| {
                let labels = vec![("exporter", name.to_owned())];
                (labels, f64::from(status.failures))
            })
            .collect(),
    });
    gauges
}

/// What bodies hold of memory.
fn held() -> [Gauge; 4] {
    let usage = memory::all().usage();
    [
        gauge(
            "iris_memory_held_bytes",
            "Bytes that the bodies of requests and responses count as.",
            as_float(usage.held as u64),
        ),
        gauge(
            "iris_memory_bound_bytes",
            "The most that they may, by limits.memory or the memory that there is.",
            as_float(usage.bound as u64),
        ),
        gauge(
            "iris_memory_waiting",
            "Requests that wait until others hold less.",
            as_float(usage.waiting as u64),
        ),
        counter(
            "iris_memory_refused_total",
            "Requests that waited for too long and were refused.",
            usage.refused,
        ),
    ]
}

/// What is known of providers from their traffic.
fn upstream(call: &Call<'_>) -> [Gauge; 4] {
    let of = |name, help, kind, value: fn(&Health) -> f64| Gauge {
        name,
        help,
        kind,
        values: call
            .reader
            .rules
            .routes
            .providers()
            .iter()
            .filter_map(|provider| {
                let health = call.reader.engines.gateway.traffic.health(provider)?;
                Some((vec![("provider", provider.id.to_string())], value(&health)))
            })
            .collect(),
    };
    [
        of(
            "iris_upstream_open",
            "Requests that are open at a provider.",
            "gauge",
            |health| as_float(health.open as u64),
        ),
        of(
            "iris_upstream_attempts_total",
            "Requests sent to a provider.",
            "counter",
            |health| as_float(health.requests),
        ),
        of(
            "iris_upstream_failures_total",
            "Those of them that failed.",
            "counter",
            |health| as_float(health.failed),
        ),
        of(
            "iris_upstream_ejected",
            "Whether a provider is paused for its failures.",
            "gauge",
            |health| flag(health.ejected),
        ),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "a figure for a chart")]
fn as_float(count: u64) -> f64 {
    count as f64
}
