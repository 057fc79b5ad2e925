//! Streams, from a provider and for a caller.

use super::*;
use crate::formats::translate::checks::{collected, in_order, streaming};
use crate::formats::translate::{
    Citation, Delta, Event, Failure, Json, Open, ResponseTranslator, Seal, SealKind, Stop,
    Translator, Usage,
};
use crate::wire::{Framing, event_stream};

/// A recorded stream, and the response that came unstreamed.
macro_rules! recorded {
    ($name:literal) => {
        (
            $name,
            include_str!(concat!("../../fixtures/", $name, ".stream.bin.json")),
            include_str!(concat!("../../fixtures/", $name, ".response.json")),
        )
    };
}

/// All that have both.
const RECORDED: [(&str, &str, &str); 6] = [
    recorded!("text"),
    recorded!("tools"),
    recorded!("thinking"),
    recorded!("cached"),
    recorded!("cited"),
    recorded!("blocked"),
];

type Events = Vec<(String, Value)>;

fn parsed(events: &str) -> Events {
    serde_json::from_str(events).unwrap()
}

/// The bytes of a stream.
fn encoded(events: &Events) -> Vec<u8> {
    let message = |(name, data): &(String, Value)| {
        let kind = if name.ends_with("Exception") {
            "exception"
        } else {
            "event"
        };
        let key = if kind == "event" {
            ":event-type"
        } else {
            ":exception-type"
        };
        event_stream::encode(&[(key, name), (":message-type", kind)], data.to_string())
    };
    events.iter().flat_map(message).collect()
}

fn decoded(bytes: &[u8]) -> Events {
    let mut events = Vec::new();
    let mut decoder = event_stream::Decoder::default();
    decoder.feed(bytes, |event| {
        let name = String::from_utf8(event.name.to_vec()).unwrap();
        events.push((name, serde_json::from_slice(event.data).unwrap()));
    });
    assert!(!decoder.lost && decoder.unread == 0);
    events
}

fn translator() -> ResponseTranslator {
    let framing = Some(Framing::Amazon);
    ResponseTranslator::new(&CODEC, &CODEC, streaming(), framing, 1 << 20)
}

/// What the caller gets of a stream in these pieces, and the response that it was.
fn translated(pieces: &[&[u8]]) -> Result<(Vec<u8>, Value), (Vec<u8>, Failure)> {
    let mut translator = translator();
    let mut out = Vec::new();
    for piece in pieces {
        if let Err(failure) = translator.feed(piece, &mut out) {
            return Err((out, failure));
        }
    }
    match translator.finish(&mut out) {
        Ok(()) => Ok((out, value(&translator.response()))),
        Err(failure) => Err((out, failure)),
    }
}

/// The events that a reader gives for a stream.
fn read_stream(events: &Events) -> Result<Vec<Event>, Failure> {
    let mut reader = (CODEC.reader)();
    let mut out = Vec::new();
    for (name, data) in events {
        let data = data.to_string();
        let event = crate::wire::sse::Event {
            name: name.as_bytes(),
            data: data.as_bytes(),
        };
        reader.read(&event, &mut out)?;
    }
    reader.finish(&mut out)?;
    in_order(&out);
    Ok(out)
}

fn written(events: Vec<Event>) -> Events {
    let mut writer = (CODEC.writer)(&Request::default());
    let mut out = Vec::new();
    for event in events {
        writer.write(event, &mut out);
    }
    writer.finish(&mut out);
    decoded(&out)
}

#[test]
fn a_stream_says_what_the_whole_response_says() {
    for (name, stream, whole) in RECORDED {
        let events = read_stream(&parsed(stream)).unwrap();
        let whole = (CODEC.read_response)(&Json::read(whole.as_bytes()).unwrap()).unwrap();
        // Inputs of calls are spaced as the model wrote them, until they are read.
        let shown = |response| value(&(CODEC.write_response)(&Request::default(), response));
        assert_eq!(shown(collected(&events)), shown(whole.clone()), "{name}");
        // And so does what is written of it.
        let again = read_stream(&written(whole.clone().into_events())).unwrap();
        assert_eq!(collected(&again), whole, "{name}");
    }
}

#[test]
fn every_split_gives_the_same_bytes() {
    for (name, stream, _) in RECORDED {
        let bytes = encoded(&parsed(stream));
        let whole = translated(&[&bytes]).unwrap();
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert!(translated(&single).unwrap() == whole, "{name}");
        if name != "thinking" {
            continue;
        }
        for at in 0..bytes.len() {
            let (first, second) = bytes.split_at(at);
            assert!(
                translated(&[first, second]).unwrap() == whole,
                "{name} at {at}"
            );
        }
    }
}

/// The events of a response with each kind of part, whose first thought has this seal.
fn each_kind_of_part(seal: &Seal) -> Vec<Event> {
    let hidden = Seal::new("bedrock_converse", SealKind::Encrypted, "aGlkZGVu");
    let citation = Citation {
        title: Some("Chart".to_owned()),
        ..Citation::default()
    };
    let text = |text: &str| Event::Delta(Delta::Text(text.to_owned()));
    let call = |id: &str| {
        Event::Open(Open::ToolCall {
            id: id.to_owned(),
            name: "tide".to_owned(),
            is_freeform: false,
        })
    };
    let Content::Media(media) = medium(MediaKind::Image, "image/png", None).content else {
        unreachable!();
    };
    vec![
        Event::Start {
            id: Some("x".to_owned()),
            model: None,
        },
        Event::Usage(Usage {
            input: Some(4),
            ..Usage::default()
        }),
        Event::Open(Open::Reasoning),
        text("Hm"),
        Event::Delta(Delta::Seal(seal.clone())),
        Event::Close,
        Event::Open(Open::Reasoning),
        Event::Delta(Delta::Seal(hidden)),
        Event::Close,
        // Nothing was said.
        Event::Open(Open::Text),
        Event::Close,
        Event::Open(Open::Text),
        text("By the charts"),
        Event::Delta(Delta::Citation(citation)),
        Event::Close,
        Event::Open(Open::Media(media)),
        Event::Close,
        call("t1"),
        text("{\"at\":"),
        text("1}"),
        Event::Close,
        call("t2"),
        Event::Close,
        Event::Usage(Usage {
            output: Some(9),
            ..Usage::default()
        }),
        Event::Stop(Stop::ToolUse),
    ]
}

#[test]
fn what_was_read_is_written_in_the_order_of_the_api() {
    let seal = Seal::new("anthropic_messages", SealKind::Signature, "v");
    let events = written(each_kind_of_part(&seal));
    let delta = |index: u64, delta: Value| {
        (
            "contentBlockDelta",
            json!({ "delta": delta, "contentBlockIndex": index }),
        )
    };
    let start = |index: u64, start: Value| {
        (
            "contentBlockStart",
            json!({ "start": start, "contentBlockIndex": index }),
        )
    };
    let stop = |index: u64| ("contentBlockStop", json!({ "contentBlockIndex": index }));
    let expected = [
        ("messageStart", json!({ "role": "assistant" })),
        delta(0, json!({ "reasoningContent": { "text": "Hm" } })),
        delta(
            0,
            json!({ "reasoningContent": { "signature": seal.closed() } }),
        ),
        stop(0),
        delta(
            1,
            json!({ "reasoningContent": { "redactedContent": "aGlkZGVu" } }),
        ),
        stop(1),
        delta(2, json!({ "text": "By the charts" })),
        delta(2, json!({ "citation": { "title": "Chart" } })),
        stop(2),
        start(3, json!({ "image": { "format": "png" } })),
        delta(3, json!({ "image": { "source": { "bytes": "AAAA" } } })),
        stop(3),
        start(
            4,
            json!({ "toolUse": { "toolUseId": "t1", "name": "tide" } }),
        ),
        delta(4, json!({ "toolUse": { "input": "{\"at\":" } })),
        delta(4, json!({ "toolUse": { "input": "1}" } })),
        stop(4),
        start(
            5,
            json!({ "toolUse": { "toolUseId": "t2", "name": "tide" } }),
        ),
        delta(5, json!({ "toolUse": { "input": "{}" } })),
        stop(5),
        ("messageStop", json!({ "stopReason": "tool_use" })),
        (
            "metadata",
            json!({
                "usage": { "inputTokens": 4, "outputTokens": 9, "totalTokens": 13 },
                "metrics": { "latencyMs": 0 },
            }),
        ),
    ];
    let expected = expected.map(|(name, data)| (name.to_owned(), data));
    assert_eq!(events, expected);
}

#[test]
fn a_failure_in_a_stream_is_reported() {
    let error = parsed(include_str!("../../fixtures/error.stream.bin.json"));
    let (out, failure) = translated(&[&encoded(&error)]).unwrap_err();
    assert_eq!(failure, Failure::reported(Some(500), "the model failed"));
    let names: Vec<String> = decoded(&out).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["messageStart", "contentBlockDelta"]);
    for (name, status) in [
        ("throttlingException", Some(429)),
        ("validationException", Some(400)),
        ("serviceUnavailableException", Some(503)),
        ("internalServerException", Some(500)),
        ("modelStreamErrorException", Some(502)),
        ("newException", None),
    ] {
        let events = vec![(name.to_owned(), json!({ "message": "why" }))];
        assert_eq!(
            read_stream(&events).unwrap_err(),
            Failure::reported(status, "why"),
            "{name}"
        );
    }
    // What the framing itself reports.
    let headers = [
        (":message-type", "error"),
        (":error-code", "InternalError"),
        (":error-message", "broke"),
    ];
    let message = event_stream::encode(&headers, String::new());
    assert_eq!(translated(&[&message]).unwrap_err().1.message, "broke");
}

#[test]
fn a_stream_that_is_cut_off_fails() {
    let cut = parsed(include_str!("../../fixtures/cut.stream.bin.json"));
    let (out, failure) = translated(&[&encoded(&cut)]).unwrap_err();
    assert_eq!(
        failure.message,
        "the provider's stream ended before its end"
    );
    assert!(!decoded(&out).iter().any(|(name, _)| name == "messageStop"));
    assert!(translated(&[]).is_err());
    assert!(translated(&[b"rubbish, and more of it"]).is_err());
}

#[test]
fn odd_events_are_skipped() {
    let events = read_stream(&parsed(include_str!("../../fixtures/odd.stream.bin.json"))).unwrap();
    assert_eq!(
        collected(&events).parts,
        [Part::text("a"), call("t", "f", "not json")]
    );
}

#[test]
fn calls_with_one_number_are_told_apart() {
    let start = |id: &str| {
        let start = json!({ "toolUse": { "toolUseId": id, "name": "f" } });
        (
            "contentBlockStart".to_owned(),
            json!({ "contentBlockIndex": 0, "start": start }),
        )
    };
    let input = |index: u64, input: &str| {
        let delta = json!({ "toolUse": { "input": input } });
        (
            "contentBlockDelta".to_owned(),
            json!({ "contentBlockIndex": index, "delta": delta }),
        )
    };
    let stop = (
        "messageStop".to_owned(),
        json!({ "stopReason": "tool_use" }),
    );
    let events = vec![
        start("a"),
        input(0, "{}"),
        start("b"),
        input(0, "[]"),
        stop.clone(),
    ];
    let parts = collected(&read_stream(&events).unwrap()).parts;
    assert_eq!(parts, [call("a", "f", "{}"), call("b", "f", "[]")]);
    let mixed = vec![start("a"), input(1, "{}"), stop];
    assert!(read_stream(&mixed).is_err());
}

#[test]
fn any_order_of_events_gives_a_stream() {
    let kinds: [fn() -> Event; 9] = [
        || Event::Start {
            id: None,
            model: None,
        },
        || Event::Open(Open::Text),
        || Event::Open(Open::Reasoning),
        || {
            Event::Open(Open::ToolCall {
                id: "t".to_owned(),
                name: "f".to_owned(),
                is_freeform: true,
            })
        },
        || Event::Delta(Delta::Text("é".to_owned())),
        || Event::Delta(Delta::Seal(Seal::new("x", SealKind::Next, "v"))),
        || Event::Delta(Delta::LogProbs(Vec::new())),
        || Event::Close,
        || Event::Stop(Stop::End),
    ];
    let mut seed: u32 = 7;
    for _ in 0..500 {
        let events = (0..12).map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            kinds[seed as usize / 64 % kinds.len()]()
        });
        let written = written(events.collect());
        // A caller can read it: starts and stops match, numbers go up.
        let mut next = 0;
        for (name, data) in &written {
            if let Some(index) = data["contentBlockIndex"].as_u64() {
                assert_eq!(index, next, "{written:?}");
                next += u64::from(name == "contentBlockStop");
            }
        }
        assert_eq!(written[0].0, "messageStart");
        let [.., (stop, _), (metadata, _)] = &written[..] else {
            panic!("{written:?}");
        };
        assert_eq!([stop, metadata], ["messageStop", "metadata"]);
        read_stream(&written).unwrap();
    }
}

#[test]
fn long_texts_come_in_several_events() {
    let long = "é".repeat(1 << 20);
    let events = written(vec![
        Event::Open(Open::Text),
        Event::Delta(Delta::Text(long.clone())),
    ]);
    let pieces = events
        .iter()
        .filter_map(|(_, data)| data["delta"]["text"].as_str());
    let pieces: Vec<&str> = pieces.collect();
    assert!(pieces.len() > 1 && pieces.concat() == long);
}
