//! The section `exporters`: where records go besides.

use std::time::Duration;

use super::table::{Item, Table};
use crate::secret::Secret;

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
    let secret = |key| Secret::new(table.string(key).unwrap_or_default());
    let positive = |key, default: u32| {
        table
            .integer(key)
            .and_then(|value| u32::try_from(value).ok())
            .filter(|value| *value > 0)
            .unwrap_or(default)
    };
    let formats = [("cbor", Format::Cbor), ("jsonl", Format::JsonLines)];
    let s3 = S3 {
        endpoint: table.string("endpoint").unwrap_or_default(),
        bucket_name: table.string("bucket_name").unwrap_or_default(),
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
    if !s3.endpoint.is_empty() && s3.endpoint.parse::<http::Uri>().is_err() {
        warn("endpoint", "exporters.s3.endpoint is not a URL");
    }
    table.finish();
    (!s3.bucket_name.is_empty()).then_some(s3)
}

fn otlp(table: Table<'_>) -> Option<Otlp> {
    let endpoint = table.string("endpoint").unwrap_or_default();
    let headers = table.table("headers").map(|headers| {
        let named = headers.named().filter_map(|(name, item)| {
            Some((name.to_owned(), Secret::new(item.string()?.to_owned())))
        });
        named.collect()
    });
    let otlp = Otlp {
        headers: headers.unwrap_or_default(),
        traces: table.boolean("traces").unwrap_or(true),
        metrics: table.boolean("metrics").unwrap_or(true),
        every: table.duration("every").unwrap_or(Duration::from_secs(30)),
        endpoint: endpoint.trim_end_matches('/').to_owned(),
    };
    // The one that is spoken; whoever asks for another must know.
    table.choice("protocol", &[("http/json", ())]);
    let is_url = otlp
        .endpoint
        .parse::<http::Uri>()
        .is_ok_and(|uri| uri.scheme().is_some());
    if !is_url {
        let message = "exporters.otlp needs an endpoint such as http://collector:4318";
        table
            .findings
            .warn(table.position("endpoint"), &table.path, message);
    }
    table.finish();
    is_url.then_some(otlp)
}
