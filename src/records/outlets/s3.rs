//! Objects in a bucket of S3, or of a server that speaks it.

use std::io::Write as _;

use http::{Uri, header};

use super::record::Exported;
use super::{Outlets, PATIENCE};
use crate::base::clock;
use crate::config::{Format, S3};
use crate::net::client::Errand;
use crate::records::Scope;

/// Its name in the queue.
pub(super) const NAME: &str = "s3";
/// zstd's own default.
const LEVEL: i32 = 3;
/// Bytes of an object, beyond which it takes no further record: it is made in memory.
const LARGEST: usize = 32 << 20;
/// Longest answer, which tells what went wrong.
const LONGEST: usize = 64 << 10;

/// Exports one batch as one object. Its name comes with the batch, so that one that was begun
/// and not ended takes the place of its beginning. Answers with the number of records.
pub(super) async fn export(outlets: &Outlets<'_>, config: &S3) -> Result<u64, String> {
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
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
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
