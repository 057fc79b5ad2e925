//! What is packed comes back, also what an earlier version packed.

use std::time::Duration;

use bytes::Bytes;

use super::fields::{Get, Rest};
use super::unpacked::{Journaled, Unpacked};
use super::*;
use crate::base::labels::Labels;
use crate::base::text::Text;
use crate::config::{Database, Purge, Retention};
use crate::records::Entry;
use crate::records::entry::tests::entry;
use crate::wire::HeaderList;

/// How what was compressed begins.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

fn full() -> Record {
    let mut record = Record::from(entry(1_700_000_000_000, "ann@example.com", "s"));
    record.entry.error = Some("not\0 that".to_owned());
    record.entry.cost = Some(-3);
    record.entry.own_credential = true;
    record.entry.request_bytes = u64::MAX;
    record.entry.duration_ms = f64::INFINITY;
    record.entry.via = Some("tag:app".into());
    record.entry.labels = Labels::parse([&b"run=1,project=web"[..]]).unwrap();
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

pub(in crate::records) fn unpacked(records: &[&Record], policy: &Policy) -> Unpacked {
    let packed = Packed::new(EntryId::new(5), records, policy).unwrap();
    assert_eq!(packed.count, records.len());
    Unpacked::read(&packed.content).unwrap()
}

/// Those who were to get the records of a row, and the records.
fn contents(row: &Unpacked) -> (Vec<&str>, Vec<Journaled<'_>>) {
    let mut records = Vec::new();
    let exporters = row.read_into(&mut Texts::default(), &mut records);
    (exporters.unwrap(), records)
}

/// A record as it was before it was packed.
fn record(read: Journaled<'_>) -> Record {
    let (labels, via) = (read.labels(), read.via().map(Text::from));
    let one = read.entry;
    let text = |text: Shared<'_>| Text::from(text.text);
    let entry = Entry {
        id: EntryId(one.id.into()),
        session: text(one.session),
        started_at: one.started_at,
        caller: text(one.caller),
        login: text(one.login),
        node_id: text(one.node_id),
        node_name: text(one.node_name),
        tags: one.tags.into_iter().map(str::to_owned).collect(),
        agent: text(one.agent),
        api: text(one.api),
        model_requested: text(one.model_requested),
        model: text(one.model),
        provider: text(one.provider),
        method: text(one.method),
        path: text(one.path),
        status: one.status,
        outcome: one.outcome,
        stream: one.stream,
        tokens: one.tokens,
        cost: one.cost,
        cost_basis: one.cost_basis.map(text),
        finish_reason: one.finish_reason.map(str::to_owned),
        tool_calls: one.tool_calls,
        first_byte_ms: one.first_byte_ms,
        first_token_ms: one.first_token_ms,
        duration_ms: one.duration_ms,
        overhead_ms: one.overhead_ms,
        request_bytes: one.request_bytes,
        response_bytes: one.response_bytes,
        user_agent: text(one.user_agent),
        via,
        labels,
        reasons: serde_json::from_str(&read.reasons).unwrap(),
        error: one.error.map(str::to_owned),
        own_credential: one.own_credential.0,
        captured: false,
    };
    let tools = read.tools.iter().map(|tool| ToolCall {
        name: tool.name.to_owned(),
        params: tool.params.to_owned(),
    });
    let headers = read.marks.iter();
    let headers = headers.filter(|(name, _)| marks::is_header(name));
    let deliveries = read.deliveries.iter().map(|delivery| Delivery {
        hook: delivery.hook.to_owned(),
        event: delivery.event.to_owned(),
        payload: delivery.payload.to_owned(),
    });
    Record {
        entry,
        tools: tools.collect(),
        headers: headers
            .map(|(name, value)| (name.text.to_owned(), value.text.to_owned()))
            .collect(),
        capture: read.capture.map(plain),
        settlement: None,
        deliveries: deliveries.collect(),
    }
}

#[test]
fn records_come_back_with_all_that_is_kept() {
    let records = [Record::from(entry(1, "bob@example.com", "s")), full()];
    let row = unpacked(&[&records[0], &records[1]], &policy(None, true));
    let (exporters, read) = contents(&row);
    assert_eq!(exporters, ["s3"]);
    let read: Vec<Record> = read.into_iter().map(record).collect();
    assert_eq!(read, records);
}

#[test]
fn texts_have_the_same_number_where_they_are_equal() {
    let one = Record::from(entry(1, "ann@example.com", "s"));
    let other = Record::from(entry(2, "ann@example.com", "t"));
    let policy = policy(None, true);
    let rows = [
        unpacked(&[&one, &other], &policy),
        unpacked(&[&one], &policy),
    ];
    let mut texts = Texts::default();
    let mut read = Vec::new();
    for row in &rows {
        row.read_into(&mut texts, &mut read).unwrap();
    }
    let [first, second, third] = [0, 1, 2].map(|nth| &read[nth].entry);
    for other in [second, third] {
        assert_eq!(other.caller.number, first.caller.number);
        assert_eq!(other.login.number, first.caller.number);
    }
    assert_eq!(first.session.number, third.session.number);
    assert_ne!(first.session.number, second.session.number);
    assert_ne!(first.session.number, first.caller.number);
}

#[test]
fn what_may_not_be_kept_is_not_packed() {
    let record = full();
    let row = unpacked(&[&record], &policy(Some(Duration::ZERO), true));
    let kept = &contents(&row).1[0];
    assert!(kept.capture.is_none() && kept.tools.is_empty());
    assert_eq!(kept.deliveries.len(), record.deliveries.len());
    let row = unpacked(&[&record], &policy(None, false));
    let read = contents(&row).1;
    let kept = read[0].capture.as_ref().unwrap();
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
    assert!(error.contains("of version 3"), "{error}");
    // A length that isn't there reserves no memory.
    let mut plain = Plain::default();
    u64::MAX.put(&mut plain);
    assert!(got::<Vec<Journaled<'_>>>(&plain.bytes.into()).is_none());
    // Nor does a text that isn't there exist.
    assert!(got::<Shared<'_>>(&Bytes::from_static(&[1])).is_none());
}

#[test]
fn of_a_row_whose_end_is_missing_no_record_is_taken() {
    let (first, other) = (full(), Record::from(entry(7, "bea@example.com", "t")));
    let packed = Packed::new(EntryId::new(5), &[&first, &other], &policy(None, true)).unwrap();
    let whole = Unpacked::read(&packed.content).unwrap();
    let (mut texts, mut records) = (Texts::default(), Vec::new());
    whole.read_into(&mut texts, &mut records).unwrap();
    assert_eq!(records.len(), 2);
    let mut fours = packed.content.windows(4);
    let frame = fours.position(|four| four == ZSTD).unwrap();
    let plain = zstd::decode_all(&packed.content[frame..]).unwrap();
    let cut: Vec<Unpacked> = (0..plain.len())
        .map(|length| {
            let mut head = Plain::default();
            VERSION.put(&mut head);
            (length as u64).put(&mut head);
            let mut content = head.bytes;
            content.extend(zstd::encode_all(&plain[..length], 1).unwrap());
            Unpacked::read(&content).unwrap()
        })
        .collect();
    for (length, row) in cut.iter().enumerate() {
        assert!(row.read_into(&mut texts, &mut records).is_err(), "{length}");
        assert_eq!(records.len(), 2, "{length}");
    }
}

fn got<'b, T: Get<'b>>(bytes: &'b Bytes) -> Option<T> {
    T::get(&mut Rest::new(bytes, VERSION, &mut Texts::default()))
}

#[test]
fn a_row_of_version_1_is_read() {
    let content = include_bytes!("version_1");
    let row = Unpacked::read(content).unwrap();
    let (exporters, read) = contents(&row);
    assert_eq!(exporters, ["s3"]);
    let Ok([one]) = <[_; 1]>::try_from(read) else {
        panic!("one record");
    };
    let (record, written) = (record(one), full());
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
    assert!(!record.entry.own_credential);
    assert_eq!(record.entry.request_bytes, u64::MAX);
    assert_eq!(record.tools, written.tools);
    assert_eq!(record.headers, written.headers);
    assert_eq!(record.deliveries, written.deliveries);
    assert_eq!(record.entry.reasons, written.entry.reasons);
    assert_eq!(record.capture, written.capture);
}

#[test]
fn numbers_come_back_from_end_to_end() {
    for number in [i64::MIN, -65, -64, -1, 0, 1, 63, 64, 300, i64::MAX] {
        let mut plain = Plain::default();
        number.put(&mut plain);
        let bytes = Bytes::from(plain.bytes);
        assert_eq!(got(&bytes), Some(number));
        assert!(bytes.len() == 1 || !(-64..64).contains(&number), "{number}");
    }
}
