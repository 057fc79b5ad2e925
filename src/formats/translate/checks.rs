//! What tests of codecs share.

use serde_json::Value;

use super::{
    Codec, Collector, Delivery, Event, Failure, Inbound, Json, Request, Response,
    ResponseTranslator, Translator, Untranslatable,
};
use crate::wire::{Framing, event_stream, ndjson, sse};

/// Reads a caller's request.
pub(in crate::formats) fn read(codec: &Codec, body: &Value) -> Result<Request, Untranslatable> {
    let text = body.to_string();
    (codec.read_request)(&Inbound {
        path: "",
        query: None,
        model: body["model"].as_str().unwrap_or("m"),
        is_streamed: body["stream"] == true,
        body: text.as_bytes(),
    })
}

/// The body that a provider of `to` gets for a request of `from`, and what was left out.
pub(in crate::formats) fn translated(
    from: &Codec,
    to: &Codec,
    body: &Value,
) -> Result<(Value, Vec<String>), Untranslatable> {
    let text = body.to_string();
    let inbound = Inbound {
        path: "",
        query: None,
        model: "m",
        is_streamed: body["stream"] == true,
        body: text.as_bytes(),
    };
    let translated = super::request(from, to, &inbound, "m")?;
    Ok((value(&translated.outbound.body), translated.dropped))
}

/// How a stream of the format is cut into events.
pub(in crate::formats) fn framing(codec: &Codec) -> Framing {
    match (codec.stream_type)(&streaming()) {
        "application/x-ndjson" => Framing::Ndjson,
        kind if kind.starts_with("text/") => Framing::Text,
        _ => Framing::Amazon,
    }
}

/// A value for comparison, whatever the order of its keys.
pub(in crate::formats) fn value(json: &impl ToString) -> Value {
    serde_json::from_str(&json.to_string()).unwrap()
}

/// The response that a body stands for.
pub(in crate::formats) fn whole(codec: &Codec, body: &[u8]) -> Response {
    (codec.read_response)(&Json::read(body).unwrap()).unwrap()
}

/// The response that a stream stands for, whose events are in order.
pub(in crate::formats) fn streamed(
    codec: &Codec,
    framing: Framing,
    stream: &[u8],
) -> Result<Response, Failure> {
    let (mut reader, mut events) = ((codec.reader)(), Vec::new());
    let mut result = Ok(());
    let mut each = |event: sse::Event<'_>| {
        if result.is_ok() {
            result = reader.read(&event, &mut events);
        }
    };
    match framing {
        Framing::Text => sse::Decoder::default().feed(stream, &mut each),
        Framing::Amazon => event_stream::Decoder::default().feed(stream, &mut each),
        Framing::Ndjson => ndjson::Decoder::new(1 << 20).feed(stream, &mut each),
    };
    result?;
    reader.finish(&mut events)?;
    in_order(&events);
    Ok(collected(&events))
}

/// The response that events stand for.
pub(in crate::formats) fn collected(events: &[Event]) -> Response {
    let mut collector = Collector::new(1 << 20);
    for event in events {
        collector.add(event);
    }
    collector.response().clone()
}

/// Checks the order of events.
#[track_caller]
pub(in crate::formats) fn in_order(events: &[Event]) {
    let (mut is_open, mut is_stopped) = (false, false);
    assert!(
        matches!(events.first(), Some(Event::Start { .. })),
        "{events:?}"
    );
    for event in &events[1..] {
        match event {
            Event::Start { .. } => panic!("a second start: {events:?}"),
            Event::Open(_) => {
                assert!(!is_open && !is_stopped, "{events:?}");
                is_open = true;
            }
            Event::Delta(_) => assert!(is_open, "{events:?}"),
            Event::Close => {
                assert!(is_open, "{events:?}");
                is_open = false;
            }
            Event::Usage(_) => {}
            Event::Stop(_) => {
                assert!(!is_open && !is_stopped, "{events:?}");
                is_stopped = true;
            }
        }
    }
    assert!(is_stopped, "{events:?}");
}

/// The stream that a caller gets of a response.
pub(in crate::formats) fn written(codec: &Codec, request: &Request, response: Response) -> Vec<u8> {
    let (mut writer, mut out) = ((codec.writer)(request), Vec::new());
    for event in response.into_events() {
        writer.write(event, &mut out);
    }
    writer.finish(&mut out);
    out
}

/// A request for a stream with its usage.
pub(in crate::formats) fn streaming() -> Request {
    Request {
        model: "m".to_owned(),
        delivery: Delivery::Events { usage: true },
        ..Request::default()
    }
}

/// What a caller gets of a provider's stream that comes in pieces that end at these bytes.
pub(in crate::formats) fn through(
    (served, framing): (&'static Codec, Framing),
    caller: &'static Codec,
    request: &Request,
    pieces: &[&[u8]],
) -> Vec<u8> {
    let framing = Some(framing);
    let mut translator = ResponseTranslator::new(served, caller, request.clone(), framing, 1 << 20);
    let mut out = Vec::new();
    for piece in pieces {
        translator.feed(piece, &mut out).unwrap();
    }
    translator.finish(&mut out).unwrap();
    out
}

/// However a stream is cut, the caller gets the same.
#[track_caller]
pub(in crate::formats) fn survives_every_split(
    served: (&'static Codec, Framing),
    caller: &'static Codec,
    request: &Request,
    stream: &[u8],
) {
    // Two that are made at different times differ in the time and in ids that the provider didn't give.
    let made = [
        "\"created\":",
        "\"created_at\":",
        "\"id\":",
        "\"item_id\":",
        "\"responseId\":",
    ];
    let plain = |bytes: Vec<u8>| {
        let mut text = String::from_utf8_lossy(&bytes).into_owned();
        for key in made {
            let mut parts = text.split(key);
            let mut left = parts.next().unwrap_or_default().to_owned();
            for part in parts {
                left.push_str(part.find([',', '}']).map_or("", |end| &part[end..]));
            }
            text = left;
        }
        text
    };
    let expected = plain(through(served, caller, request, &[stream]));
    for at in 0..=stream.len() {
        let (first, second) = stream.split_at(at);
        let out = plain(through(served, caller, request, &[first, second]));
        assert_eq!(out, expected, "split at {at}");
    }
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(plain(through(served, caller, request, &bytes)), expected);
}
