//! Objects in a bucket of S3, or of a server that speaks it.

use std::io::Write as _;
use std::time::Duration;

use futures_util::FutureExt as _;
use http::{Uri, header};

use super::record::Exported;
use super::{Outlet, Outlets, PATIENCE};
use crate::base::clock;
use crate::base::secret::Secret;
use crate::config::{
    Certificates, Exporter, Holds, Item, Kind, Table, Way, check_tls, http_problem, section, words,
};
use crate::net::client::Errand;
use crate::records::Scope;

section! {
    /// The S3 exporter.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct S3 {
        /// Bucket; turns the exporter on.
        #[key(required, holds = Holds::Destination)]
        bucket_name: String => Way::TRIMMED,
        /// Certificates, as PEM, that the server is trusted by instead of this machine's store: of its authority, or exactly its own. The file is read again when it changes.
        #[key(holds = Holds::Destination, example = r#""${file:/etc/iris/ca.pem}""#)]
        ca: Option<Certificates>,
        /// Server; empty for AWS.
        #[key(holds = Holds::Webhook)]
        endpoint: String => Way::TRIMMED,
        /// Region.
        #[key(holds = Holds::Destination)]
        region: String = "us-east-1".to_owned(),
        /// In front of the objects' names, without a slash at its end.
        prefix: String,
        /// Key id.
        access_key_id: Secret,
        /// Key.
        access_secret: Secret,
        /// Seconds between two exports.
        every: Duration = Duration::from_hours(1) => SECONDS,
        /// Records an export.
        limit: u32 = 1_000 => LIMIT,
        /// How records are written.
        format: Format,
    }
    check: check
}

words! {
    /// How records are written.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub(crate) enum Format {
        /// A sequence of CBOR, as Aperture writes them.
        #[default]
        Cbor = "cbor",
        /// JSON, one record a line.
        JsonLines = "jsonl",
    }
}

/// The exporter.
pub(super) const OUTLET: Outlet = Outlet {
    exporter: Exporter::of::<S3>(NAME, "Records as objects in a bucket.").archive(),
    takes_records: |exporters| exporters.get::<S3>().is_some(),
    run: |outlets, exporters| {
        let config = exporters.get::<S3>()?;
        let export = move || export(outlets, config);
        Some(outlets.pump(NAME, config.every, export).boxed())
    },
};

/// Its key in the section, and its name in the queue.
const NAME: &str = "s3";
/// Records an export of Aperture's at most.
const MOST_RECORDS: u32 = 10_000;
/// zstd's own default.
const LEVEL: i32 = 3;
/// Bytes of an object, beyond which it takes no further record: it is made in memory.
const LARGEST: usize = 32 << 20;
/// Longest answer, which tells what went wrong.
const LONGEST: usize = 64 << 10;

/// Exports one batch as one object. Its name comes with the batch, so that one that was begun
/// and not ended takes the place of its beginning. Answers with the number of records.
async fn export(outlets: &Outlets<'_>, config: &S3) -> Result<u64, String> {
    // Two batches of one second would be one object: a node waits, and nodes that share a queue
    // add what no other does.
    let seconds = clock::unix_ms() / 1_000;
    let name = if outlets.ledger.is_shared() {
        let random = getrandom::u32().map_err(|error| error.to_string())?;
        format!("ts-aperture-export-{seconds}-{random:08x}")
    } else {
        format!("ts-aperture-export-{seconds}")
    };
    let Some(mut batch) = outlets.take(NAME, &name, config.limit as usize).await? else {
        return Ok(0);
    };
    let (object, taken) = match object(outlets, config, &batch.entries).await {
        Ok(made) => made,
        Err(why) => return Err(outlets.failed(NAME, &batch, why).await),
    };
    let rest = batch.entries.split_off(taken);
    if !rest.is_empty() {
        let back = outlets.ledger.put_back(NAME, rest).await;
        back.map_err(|error| error.to_string())?;
    }
    let ending = match config.format {
        Format::Cbor => "cbor.zstd",
        Format::JsonLines => "jsonl.zstd",
    };
    let name_there = format!("{}.{ending}", batch.name);
    if let Err(why) = put(outlets, config, &name_there, object).await {
        return Err(outlets.failed(NAME, &batch, why).await);
    }
    let written = batch.name == name;
    let count = outlets.done(NAME, batch).await?;
    if written && clock::unix_ms() / 1_000 == seconds {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(count)
}

/// The object of as many of the entries as fit, and how many these are.
async fn object(
    outlets: &Outlets<'_>,
    config: &S3,
    entries: &[crate::records::EntryId],
) -> Result<(Vec<u8>, usize), String> {
    let text = |error: std::io::Error| error.to_string();
    let mut encoder = zstd::Encoder::new(Vec::new(), LEVEL).map_err(text)?;
    let mut taken = 0;
    for id in entries {
        taken += 1;
        let Some(entry) = outlets.entry(id).await? else {
            continue;
        };
        let failed = |error: crate::records::Error| error.to_string();
        let ledger = outlets.ledger;
        let tools = ledger
            .tools(Scope::Everyone, id.as_str())
            .await
            .map_err(failed)?;
        let capture = ledger
            .capture(Scope::Everyone, id.as_str())
            .await
            .map_err(failed)?;
        let record = Exported::new(&entry, &tools, capture.as_ref());
        match config.format {
            Format::Cbor => {
                ciborium::into_writer(&record, &mut encoder).map_err(|error| error.to_string())?;
            }
            Format::JsonLines => {
                serde_json::to_writer(&mut encoder, &record).map_err(|error| error.to_string())?;
                encoder.write_all(b"\n").map_err(text)?;
            }
        }
        if encoder.get_ref().len() > LARGEST {
            break;
        }
    }
    Ok((encoder.finish().map_err(text)?, taken))
}

async fn put(
    outlets: &Outlets<'_>,
    config: &S3,
    name: &str,
    object: Vec<u8>,
) -> Result<(), String> {
    let uri = address(config, name)?;
    let errand = Errand::put(uri, object, PATIENCE, LONGEST)
        .trusting(config.ca.as_ref())
        .says(header::CONTENT_TYPE, "application/zstd")
        .signed_s3(&config.access_key_id, &config.access_secret, &config.region)?;
    let answer = outlets.upstream.errand(errand).await?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(answer.body());
    let part = |tag: &str| {
        let (_, rest) = said.split_once(&format!("<{tag}>"))?;
        rest.split_once("</").map(|(text, _)| text.to_owned())
    };
    let code = part("Code").unwrap_or_default();
    let message = part("Message").unwrap_or_default();
    Err(format!(
        "{name} was answered with {status} {code} {message}"
    ))
}

/// Where an object is: below the bucket's own name at AWS, and in the path elsewhere.
fn address(config: &S3, name: &str) -> Result<Uri, String> {
    let name = if config.prefix.is_empty() {
        name.to_owned()
    } else {
        format!("{}/{name}", config.prefix)
    };
    let name: Vec<String> = name
        .split('/')
        .map(|part| percent_encoding::utf8_percent_encode(part, UNRESERVED).to_string())
        .collect();
    let (bucket, name) = (&config.bucket_name, name.join("/"));
    let text = if config.endpoint.is_empty() {
        format!("https://{bucket}.s3.{}.amazonaws.com/{name}", config.region)
    } else {
        format!("{}/{bucket}/{name}", config.endpoint.trim_end_matches('/'))
    };
    text.parse()
        .map_err(|error| format!("invalid URL {text:?}: {error}"))
}

/// What S3 signs as it is (RFC 3986, section 2.3).
const UNRESERVED: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A number from 1 on. A larger one counts as the bound; anything else as absent.
fn positive(item: &Item<'_>, most: u32) -> Option<u32> {
    let count = u32::try_from(item.integer()?).ok();
    let count = count.filter(|count| *count > 0)?;
    Some(count.min(most))
}

const LIMIT: Way<u32> = Way::new(Kind::Integer(1, MOST_RECORDS as i64), |item| {
    positive(item, MOST_RECORDS)
})
.json(|count| Some((*count).into()));

/// A time in whole seconds.
const SECONDS: Way<Duration> = Way::new(Kind::Integer(1, u32::MAX as i64), |item| {
    let seconds = positive(item, u32::MAX)?;
    Some(Duration::from_secs(seconds.into()))
})
.json(|time| Some(time.as_secs().into()));

/// A bucket's name turns it on.
fn check(s3: S3, table: &Table<'_>) -> Option<S3> {
    let warn = |key: &str, message: &str| {
        table.warn_at(key, message);
    };
    if s3.prefix.ends_with('/') {
        warn("prefix", "exporters.s3.prefix must not end with a slash");
    }
    check_tls(s3.ca.as_ref(), &s3.endpoint, table);
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
        && let Some(problem) = http_problem(&s3.endpoint)
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
