//! What is packed comes back, also what an earlier version packed.

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::config::{Database, Purge, Retention};
use crate::records::entry::tests::entry;
use crate::wire::HeaderList;

fn full() -> Record {
    let mut record = Record::from(entry(1_700_000_000_000, "ann@example.com", "s"));
    record.entry.error = Some("not\0 that".to_owned());
    record.entry.cost = Some(-3);
    record.entry.request_bytes = u64::MAX;
    record.entry.duration_ms = f64::INFINITY;
    record.tools = vec![ToolCall {
        name: "read".to_owned(),
        params: "{}".to_owned(),
    }];
    record.headers = vec![("x-team".to_owned(), String::new())];
    record.capture = Some(Capture {
        request_headers: [("accept", "*/*"), ("x-none", "")].into_iter().collect(),
        request_body: Bytes::from(vec![0xff; 10_000]),
        response_headers: HeaderList::default(),
        response_body: Bytes::new(),
        raw: Some(Bytes::from_static(b"data: raw")),
        truncated: true,
    });
    record.deliveries = vec![Delivery {
        hook: "log".to_owned(),
        event: "request".to_owned(),
        payload: b"{}".to_vec(),
    }];
    record
}

fn plain(stored: StoredCapture) -> Capture {
    Capture {
        request_headers: stored.request_headers,
        request_body: stored.request_body.plain().unwrap(),
        response_headers: stored.response_headers,
        response_body: stored.response_body.plain().unwrap(),
        raw: stored.raw.map(|raw| raw.plain().unwrap()),
        truncated: stored.truncated,
    }
}

fn policy(duration: Option<Duration>, raws: bool) -> Policy {
    let database = Database {
        retention: Retention {
            duration,
            purge: Purge {
                captures: true,
                tools: true,
            },
            ..Retention::default()
        },
        save_raws: raws,
        ..Database::default()
    };
    Policy::new(&database, &["s3"])
}

fn unpacked(records: &[&Record], policy: &Policy) -> Unpacked {
    let packed = Packed::new(EntryId::new(5), records, policy).unwrap();
    assert_eq!(packed.count, records.len());
    Unpacked::read(&packed.content).unwrap()
}

#[test]
fn records_come_back_with_all_that_is_kept() {
    let records = [Record::from(entry(1, "bob@example.com", "s")), full()];
    let read = unpacked(&[&records[0], &records[1]], &policy(None, true));
    assert_eq!(read.exporters, ["s3"]);
    for (read, written) in read.records.into_iter().zip(records) {
        let reasons: Vec<_> = serde_json::from_str(&read.reasons).unwrap();
        let mut record = read.record;
        record.entry.reasons = reasons;
        record.capture = read.capture.map(plain);
        assert_eq!(record, written);
    }
}

#[test]
fn what_may_not_be_kept_is_not_packed() {
    let record = full();
    let read = unpacked(&[&record], &policy(Some(Duration::ZERO), true));
    let kept = &read.records[0];
    assert!(kept.capture.is_none() && kept.record.tools.is_empty());
    assert_eq!(kept.record.deliveries, record.deliveries);
    let read = unpacked(&[&record], &policy(None, false));
    let kept = read.records[0].capture.as_ref().unwrap();
    assert_eq!((&kept.raw, kept.request_body.size), (&None, 10_000));
}

#[test]
fn what_is_damaged_or_of_a_later_version_is_refused() {
    let packed = Packed::new(EntryId::new(5), &[&full()], &policy(None, true)).unwrap();
    let content = packed.content;
    for length in 0..content.len() {
        assert!(Unpacked::read(&content[..length]).is_err(), "{length}");
    }
    let mut later = content;
    later[0] = VERSION + 1;
    let error = Unpacked::read(&later).unwrap_err().to_string();
    assert!(error.contains("of version 2"), "{error}");
    // A length that isn't there reserves no memory.
    let mut plain = Plain::default();
    u64::MAX.put(&mut plain);
    assert_eq!(Unpacked::get(&mut Rest::new(&plain.bytes)), None);
    // Nor does a text that isn't there exist.
    assert_eq!(Text::get(&mut Rest::new(&[1])), None);
}

#[test]
fn a_row_of_version_1_is_read() {
    let content = include_bytes!("version_1");
    let read = Unpacked::read(content).unwrap();
    assert_eq!(read.exporters, ["s3"]);
    let Ok([one]) = <[_; 1]>::try_from(read.records) else {
        panic!("one record");
    };
    let (record, written) = (&one.record, full());
    assert_eq!(record.entry.id.started_at(), written.entry.id.started_at());
    let text = |entry: &Entry| {
        (
            entry.login.clone(),
            entry.session.clone(),
            entry.error.clone(),
        )
    };
    assert_eq!(text(&record.entry), text(&written.entry));
    assert_eq!(record.entry.tokens, written.entry.tokens);
    assert_eq!(record.entry.cost, Some(-3));
    assert_eq!(record.entry.request_bytes, u64::MAX);
    assert_eq!(record.tools, written.tools);
    assert_eq!(record.headers, written.headers);
    assert_eq!(record.deliveries, written.deliveries);
    assert_eq!(
        *one.reasons,
        serde_json::to_string(&written.entry.reasons).unwrap()
    );
    assert_eq!(one.capture.map(plain), written.capture);
}

#[test]
fn numbers_come_back_from_end_to_end() {
    for number in [i64::MIN, -65, -64, -1, 0, 1, 63, 64, 300, i64::MAX] {
        let mut plain = Plain::default();
        number.put(&mut plain);
        assert_eq!(i64::get(&mut Rest::new(&plain.bytes)), Some(number));
        assert!(
            plain.bytes.len() == 1 || !(-64..64).contains(&number),
            "{number}"
        );
    }
}
