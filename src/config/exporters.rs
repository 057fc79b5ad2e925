//! The section `exporters`: where records go besides.

use std::time::Duration;

use serde_json::Value;

use super::certificates::{self, Certificates};
use super::declare::{Kind, Reader, Trimmed};
use super::table::{Item, Table};
use super::{address, credential, section, words};
use crate::base::secret::Secret;

/// Records an export of Aperture's at most.
const MOST_RECORDS: u32 = 10_000;

section! {
    /// What is exported, and where to.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Exporters {
        /// Records as objects in a bucket.
        s3: Option<S3>,
        /// Spans and metrics of OpenTelemetry.
        otlp: Option<Otlp>,
    }
}

section! {
    /// The S3 exporter.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct S3 {
        /// Bucket; turns the exporter on.
        #[key(required)]
        bucket_name: String => Trimmed,
        /// Certificates, as PEM, that the server is trusted by instead of this machine's store: of its authority, or exactly its own. The file is read again when it changes.
        #[key(example = r#""${file:/etc/iris/ca.pem}""#)]
        ca: Option<Certificates>,
        /// Server; empty for AWS.
        endpoint: String => Trimmed,
        /// Region.
        region: String = "us-east-1".to_owned(),
        /// In front of the objects' names, without a slash at its end.
        prefix: String,
        /// Key id.
        access_key_id: Secret,
        /// Key.
        access_secret: Secret,
        /// Seconds between two exports.
        every: Duration = Duration::from_hours(1) => Seconds,
        /// Records an export.
        limit: u32 = 1_000 => Positive(MOST_RECORDS),
        /// How records are written.
        format: Format,
    }
    check: check_s3
}

words! {
    /// How records are written.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub enum Format {
        /// A sequence of CBOR, as Aperture writes them.
        #[default]
        Cbor = "cbor",
        /// JSON, one record a line.
        JsonLines = "jsonl",
    }
}

section! {
    /// The exporter for OpenTelemetry.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Otlp {
        /// Base URL of a receiver of OTLP over HTTP, such as `http://collector:4318`.
        #[key(required, example = r#""http://collector:4318""#)]
        endpoint: String => Base,
        /// Headers of each request.
        // They often hold a credential.
        headers: Vec<(String, Secret)> => Headers,
        /// Whether spans are sent.
        traces: bool = true,
        /// Whether metrics are sent.
        metrics: bool = true,
        /// Between two exports.
        every: Duration = Duration::from_secs(30),
        /// Certificates, as PEM, that the server is trusted by instead of this machine's store: of its authority, or exactly its own. The file is read again when it changes.
        #[key(example = r#""${file:/etc/iris/ca.pem}""#)]
        ca: Option<Certificates>,
        /// The one that is spoken.
        protocol: Protocol,
    }
    check: check_otlp
}

words! {
    /// What a receiver is spoken to in; another one is an error.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub enum Protocol {
        /// OTLP over HTTP, as JSON.
        #[default]
        HttpJson = "http/json",
    }
}

/// A number from 1 on. One that is larger than the bound counts as that; what is none, as absent.
struct Positive(u32);

impl Reader<u32> for Positive {
    fn kind(&self) -> Kind {
        Kind::Integer(1, self.0.into())
    }

    fn read(&self, item: &Item<'_>) -> Option<u32> {
        let count = u32::try_from(item.integer()?).ok();
        count
            .filter(|count| *count > 0)
            .map(|count| count.min(self.0))
    }

    fn json(&self, count: &u32) -> Option<Value> {
        Some((*count).into())
    }
}

/// A time in whole seconds.
struct Seconds;

impl Reader<Duration> for Seconds {
    fn kind(&self) -> Kind {
        Positive(u32::MAX).kind()
    }

    fn read(&self, item: &Item<'_>) -> Option<Duration> {
        let seconds = Positive(u32::MAX).read(item)?;
        Some(Duration::from_secs(seconds.into()))
    }

    fn json(&self, time: &Duration) -> Option<Value> {
        Some(time.as_secs().into())
    }
}

/// A URL that paths are put behind.
struct Base;

impl Reader<String> for Base {
    fn kind(&self) -> Kind {
        Kind::Text
    }

    fn read(&self, item: &Item<'_>) -> Option<String> {
        let text = item.string()?.trim();
        Some(text.trim_end_matches('/').to_owned())
    }
}

/// Headers by their names.
struct Headers;

impl Reader<Vec<(String, Secret)>> for Headers {
    fn kind(&self) -> Kind {
        Kind::Map("header", &Kind::Text)
    }

    fn read(&self, item: &Item<'_>) -> Option<Vec<(String, Secret)>> {
        let table = item.table()?;
        let named = table.named().filter_map(|(name, item)| {
            if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
                let message = format!("{name:?} is not the name of a header");
                item.findings.warn(item.node.at, &item.path, message);
            }
            Some((name.to_owned(), credential::header_value(&item)?))
        });
        Some(named.collect())
    }
}

/// A bucket's name turns it on.
fn check_s3(s3: S3, table: &Table<'_>) -> Option<S3> {
    let warn = |key: &str, message: &str| {
        table
            .findings
            .warn(table.position(key), &table.path, message);
    };
    if s3.prefix.ends_with('/') {
        warn("prefix", "exporters.s3.prefix must not end with a slash");
    }
    certificates::check_tls(&s3.ca, &s3.endpoint, table);
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
    is_usable.then_some(s3)
}

fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !text.is_empty() && text.bytes().all(inner)
}

fn check_otlp(otlp: Otlp, table: &Table<'_>) -> Option<Otlp> {
    certificates::check_tls(&otlp.ca, &otlp.endpoint, table);
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
    problem.is_none().then_some(otlp)
}
