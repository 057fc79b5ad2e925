//! Prometheus's text format (<https://prometheus.io/docs/instrumenting/exposition_formats/>).

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Histogram, Key, Metrics, Series, Spread};

/// A value that is known at the time it is asked for.
#[derive(Clone, Debug)]
pub struct Gauge {
    /// Its name.
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// `gauge` or `counter`.
    pub kind: &'static str,
    /// Labels and value.
    pub values: Vec<(Vec<(&'static str, String)>, f64)>,
}

/// The content type.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics as text.
#[must_use]
pub fn render(metrics: &Metrics, gauges: &[Gauge]) -> String {
    let all = metrics.all();
    let mut out = String::new();
    for (name, help, of) in COUNTERS {
        head(&mut out, name, help, "counter");
        for (key, series) in &all {
            for (kind, value) in of(series) {
                let mut labels = labels(key);
                labels.extend(kind.map(|kind| ("kind", kind.to_owned())));
                line(&mut out, name, &labels, value);
            }
        }
    }
    for (name, help, of) in HISTOGRAMS {
        head(&mut out, name, help, "histogram");
        for (key, series) in &all {
            histogram(&mut out, name, &labels(key), &of(series).spread());
        }
    }
    for gauge in gauges {
        head(&mut out, gauge.name, gauge.help, gauge.kind);
        for (labels, value) in &gauge.values {
            line(&mut out, gauge.name, labels, *value);
        }
    }
    out
}

/// What is counted of a series, each with its kind where there are several.
type Counted = fn(&Series) -> Vec<(Option<&'static str>, f64)>;

const COUNTERS: [(&str, &str, Counted); 4] = [
    (
        "iris_requests_total",
        "Requests that have ended.",
        |series| vec![(None, number(&series.requests))],
    ),
    (
        "iris_cost_dollars_total",
        "What requests with a known price have cost.",
        |series| vec![(None, number(&series.cost) / 1e9)],
    ),
    (
        "iris_own_credential_cost_dollars_total",
        "Of that, what requests with callers' own credentials would have cost at list price.",
        |series| vec![(None, number(&series.own_credential_cost) / 1e9)],
    ),
    (
        "iris_tokens_total",
        "Tokens by kind; cached ones are read, reasoning is written.",
        |series| {
            vec![
                (Some("input"), series.input.spread().sum),
                (Some("output"), series.output.spread().sum),
                (Some("cached"), number(&series.cached)),
                (Some("reasoning"), number(&series.reasoning)),
            ]
        },
    ),
];

type Pick = fn(&Series) -> &Histogram;

const HISTOGRAMS: [(&str, &str, Pick); 3] = [
    (
        "iris_request_duration_seconds",
        "Seconds from a request to the end of its answer.",
        |series| &series.duration,
    ),
    (
        "iris_time_to_first_token_seconds",
        "Seconds from a request to the first token of its answer.",
        |series| &series.first_token,
    ),
    (
        "iris_overhead_seconds",
        "Seconds that the gateway took before it asked the provider.",
        |series| &series.overhead,
    ),
];

#[expect(clippy::cast_precision_loss, reason = "a figure for a chart")]
fn number(counter: &AtomicU64) -> f64 {
    counter.load(Ordering::Relaxed) as f64
}

type Labels = Vec<(&'static str, String)>;

fn labels(key: &Key) -> Labels {
    vec![
        ("api", key.api.to_string()),
        ("provider", key.provider.to_string()),
        ("model", key.model.to_string()),
        ("outcome", key.outcome.to_owned()),
        ("status_class", format!("{}xx", key.class)),
    ]
}

fn head(out: &mut String, name: &str, help: &str, kind: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(out: &mut String, name: &str, labels: &Labels, value: f64) {
    out.push_str(name);
    if !labels.is_empty() {
        out.push('{');
        for (nth, (label, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"");
            let text = text.replace('\n', "\\n");
            let comma = if nth > 0 { "," } else { "" };
            let _ = write!(out, "{comma}{label}=\"{text}\"");
        }
        out.push('}');
    }
    let _ = writeln!(out, " {value}");
}

fn histogram(out: &mut String, name: &str, labels: &Labels, spread: &Spread) {
    let bucket = format!("{name}_bucket");
    let mut sum = 0;
    #[expect(clippy::cast_precision_loss, reason = "a figure for a chart")]
    for (nth, count) in spread.counts.iter().enumerate() {
        sum += count;
        let bound = spread
            .bounds
            .get(nth)
            .map_or("+Inf".to_owned(), f64::to_string);
        let mut labels = labels.clone();
        labels.push(("le", bound));
        line(out, &bucket, &labels, sum as f64);
    }
    line(out, &format!("{name}_sum"), labels, spread.sum);
    #[expect(clippy::cast_precision_loss, reason = "a figure for a chart")]
    line(out, &format!("{name}_count"), labels, spread.count() as f64);
}

#[cfg(test)]
mod tests {
    use super::super::Ended;
    use super::*;
    use crate::formats::Tokens;

    #[test]
    fn what_was_counted_is_shown_with_escapes_and_sums() {
        let metrics = Metrics::default();
        let key = Key {
            api: "openai_chat".into(),
            provider: "p".into(),
            model: "a\"b\\".into(),
            outcome: "complete",
            class: 2,
        };
        let ended = Ended {
            tokens: Tokens {
                input: Some(7),
                output: Some(3),
                ..Tokens::default()
            },
            cost: Some(1_500_000_000),
            own_credential: true,
            duration: 0.5,
            first_token: Some(0.25),
            overhead: Some(0.000_3),
        };
        metrics.count(key.clone(), &ended);
        metrics.count(key, &ended);
        let gauges = [Gauge {
            name: "iris_up",
            help: "Up.",
            kind: "gauge",
            values: vec![(Vec::new(), 1.0)],
        }];
        let text = render(&metrics, &gauges);
        let labels = r#"api="openai_chat",provider="p",model="a\"b\\",outcome="complete",status_class="2xx""#;
        for line in [
            format!("iris_requests_total{{{labels}}} 2"),
            format!("iris_cost_dollars_total{{{labels}}} 3"),
            format!("iris_own_credential_cost_dollars_total{{{labels}}} 3"),
            format!("iris_tokens_total{{{labels},kind=\"input\"}} 14"),
            format!("iris_request_duration_seconds_bucket{{{labels},le=\"0.32\"}} 0"),
            format!("iris_request_duration_seconds_bucket{{{labels},le=\"0.64\"}} 2"),
            format!("iris_request_duration_seconds_bucket{{{labels},le=\"+Inf\"}} 2"),
            format!("iris_request_duration_seconds_sum{{{labels}}} 1"),
            format!("iris_request_duration_seconds_count{{{labels}}} 2"),
            "iris_up 1".to_owned(),
        ] {
            assert!(text.lines().any(|one| one == line), "{line}\n{text}");
        }
    }
}
