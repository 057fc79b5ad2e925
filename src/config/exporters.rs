//! The section `exporters`: where records go besides.

use std::time::Duration;

use super::certificates::{self, Certificates};
use super::table::{Item, Table};
use super::{address, credential};
use crate::base::secret::Secret;

/// Records an export of Aperture's at most.
const MOST_RECORDS: u32 = 10_000;

/// What is exported, and where to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exporters {
    /// Records as objects in a bucket.
    pub s3: Option<S3>,
    /// Spans and metrics of OpenTelemetry.
    pub otlp: Option<Otlp>,
}

/// The S3 exporter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3 {
    /// Empty for AWS.
    pub endpoint: String,
    /// Bucket.
    pub bucket_name: String,
    /// Region.
    pub region: String,
    /// In front of object names.
    pub prefix: String,
    /// Key id.
    pub access_key_id: Secret,
    /// Key.
    pub access_secret: Secret,
    /// Between two exports.
    pub every: Duration,
    /// Records an export.
    pub limit: u32,
    /// How records are written.
    pub format: Format,
    /// The certificates that it is trusted by, where it isn't those of this machine's store.
    pub ca: Option<Certificates>,
}

/// How records are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// A sequence of CBOR, as Aperture writes them.
    #[default]
    Cbor,
    /// JSON, one record a line.
    JsonLines,
}

/// The exporter for OpenTelemetry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Otlp {
    /// Base URL of a receiver of OTLP over HTTP, such as `http://collector:4318`.
    pub endpoint: String,
    /// Headers of each request, which often hold a credential.
    pub headers: Vec<(String, Secret)>,
    /// Whether spans are sent.
    pub traces: bool,
    /// Whether metrics are sent.
    pub metrics: bool,
    /// Between two exports.
    pub every: Duration,
    /// The certificates that it is trusted by, where it isn't those of this machine's store.
    pub ca: Option<Certificates>,
}

pub(super) fn read(item: &Item<'_>) -> Exporters {
    let Some(all) = item.table() else {
        return Exporters::default();
    };
    let read = Exporters {
        s3: all.table("s3").and_then(s3),
        otlp: all.table("otlp").and_then(otlp),
    };
    all.finish();
    read
}

/// A bucket's name turns it on.
fn s3(table: Table<'_>) -> Option<S3> {
    let warn = |key: &str, message: &str| {
        table
            .findings
            .warn(table.position(key), &table.path, message);
    };
    let prefix = table.string("prefix").unwrap_or_default();
    if prefix.ends_with('/') {
        warn("prefix", "exporters.s3.prefix must not end with a slash");
    }
    let secret = |key| credential::read(&table, key);
    let positive = |key, default: u32| {
        table
            .integer(key)
            .and_then(|value| u32::try_from(value).ok())
            .filter(|value| *value > 0)
            .unwrap_or(default)
    };
    let formats = [("cbor", Format::Cbor), ("jsonl", Format::JsonLines)];
    let endpoint = table.string("endpoint").unwrap_or_default();
    let s3 = S3 {
        ca: certificates::read_for(&table, &endpoint),
        endpoint: endpoint.trim().to_owned(),
        bucket_name: table
            .string("bucket_name")
            .unwrap_or_default()
            .trim()
            .to_owned(),
        region: table
            .string("region")
            .unwrap_or_else(|| "us-east-1".to_owned()),
        prefix,
        access_key_id: secret("access_key_id"),
        access_secret: secret("access_secret"),
        every: Duration::from_secs(positive("every", 3_600).into()),
        limit: positive("limit", 1_000).min(MOST_RECORDS),
        format: table.choice("format", &formats).unwrap_or_default(),
    };
    if s3.bucket_name.is_empty() {
        warn(
            "bucket_name",
            "exporters.s3 has no bucket_name and exports nothing",
        );
    } else if s3.access_key_id.is_empty() || s3.access_secret.is_empty() {
        warn(
            "access_key_id",
            "exporters.s3 needs access_key_id and access_secret",
        );
    }
    let mut is_usable = !s3.bucket_name.is_empty();
    let mut refuse = |key: &str, what: &str| {
        is_usable = false;
        warn(
            key,
            &format!("exporters.s3.{key} {what}; nothing is exported"),
        );
    };
    if !s3.endpoint.is_empty()
        && let Some(problem) = address::http_problem(&s3.endpoint)
    {
        refuse("endpoint", problem);
    }
    // Both become part of a host.
    if !is_label(&s3.region) {
        refuse("region", "is not the name of a region");
    }
    if !s3.bucket_name.is_empty() && !is_label(&s3.bucket_name) {
        refuse("bucket_name", "is not the name of a bucket");
    }
    table.finish();
    is_usable.then_some(s3)
}

fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !text.is_empty() && text.bytes().all(inner)
}

fn otlp(table: Table<'_>) -> Option<Otlp> {
    let endpoint = table.string("endpoint").unwrap_or_default();
    let headers = table.table("headers").map(|headers| {
        let named = headers.named().filter_map(|(name, item)| {
            if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
                let message = format!("{name:?} is not the name of a header");
                item.findings.warn(item.node.at, &item.path, message);
            }
            Some((name.to_owned(), credential::header_value(&item)?))
        });
        named.collect()
    });
    let otlp = Otlp {
        ca: certificates::read_for(&table, &endpoint),
        headers: headers.unwrap_or_default(),
        traces: table.boolean("traces").unwrap_or(true),
        metrics: table.boolean("metrics").unwrap_or(true),
        every: table.duration("every").unwrap_or(Duration::from_secs(30)),
        endpoint: endpoint.trim().trim_end_matches('/').to_owned(),
    };
    // Only this one is spoken; another one is an error.
    table.choice("protocol", &[("http/json", ())]);
    let problem = if otlp.endpoint.is_empty() {
        Some("exporters.otlp needs an endpoint such as http://collector:4318".to_owned())
    } else if otlp.endpoint.contains('?') {
        Some("exporters.otlp.endpoint has a query, behind which no path can stand".to_owned())
    } else {
        address::http_problem(&otlp.endpoint)
            .map(|problem| format!("exporters.otlp.endpoint {problem}"))
    };
    if let Some(message) = &problem {
        let at = table.position("endpoint");
        table.findings.warn(at, &table.path, message.as_str());
    }
    table.finish();
    problem.is_none().then_some(otlp)
}
