//! What must hold of a translation, whatever a caller or a provider sends. `tests/fuzz.rs` has it too.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use iris::formats::translate::{
    self, Codec, Delivery, Inbound, Request, ResponseTranslator, Translator as _,
};
use iris::formats::{ALL, Destination, Format, Head};
use iris::wire::{Framing, event_stream, sse};
use serde_json::Value;

/// How many times longer than what came a translation may be. The worst of a request are many results of one
/// tool with a long name, and of a response many short parts, of which each has several events.
const TIMES: usize = 400;
/// What a translation may have beside that: the frame of a response, with what it repeats of its request.
const BESIDE: usize = 64 << 10;
/// Room for the response as a capture has it. It is small, so that running out of it is tried too.
const ROOM: usize = 4096;

/// The formats that are translated.
pub fn formats() -> impl Iterator<Item = (&'static Format, &'static Codec)> {
    ALL.into_iter()
        .filter_map(|format| Some((format, format.codec?)))
}

/// A caller's request for a provider of each other format: it is refused by the name of a field, or the
/// provider's format reads it, and it isn't much longer than what the caller sent. Returns how many formats
/// it was translated to.
pub fn request(caller: &str, path: &str, body: &[u8]) -> usize {
    let mut count = 0;
    let (_, codec) = named(caller);
    let inbound = Inbound {
        path,
        query: Some("alt=sse"),
        model: "m",
        is_streamed: path.contains("tream"),
        body,
    };
    for (format, served) in formats().filter(|(format, _)| format.name != caller) {
        let translated = match translate::request(codec, served, &inbound, "m") {
            Ok(translated) => translated,
            Err(refused) => {
                assert!(!refused.field.is_empty(), "{refused}");
                continue;
            }
        };
        let sent = translated.outbound.body.to_string();
        let most = TIMES * body.len() + BESIDE;
        assert!(sent.len() <= most, "{} bytes", sent.len());
        assert!(translated.dropped.len() <= 64, "{:?}", translated.dropped);
        let mut headers = HeaderMap::new();
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
        let head = Head {
            path: &translated.outbound.path,
            query: translated.outbound.query,
            headers: &headers,
        };
        let call = format.read(&head, Bytes::from(sent.clone()));
        let call = call.unwrap_or_else(|why| panic!("{caller}: {}: {sent}", why.message));
        let to = Destination {
            model: "other-model",
            project: None,
            region: None,
            flags: &[],
        };
        if let Ok(out) = format.prepare(&call, &to) {
            serde_json::from_slice::<Value>(&out.body).expect("JSON stays JSON");
        }
        count += 1;
    }
    count
}

/// A provider's response, whole and as a stream, for callers of each other format. Returns how often it was
/// whole.
pub fn response(served: &str, data: &[u8]) -> usize {
    let mut count = 0;
    let (_, served) = named(served);
    // A mutated message of Amazon's has no right checksums: its payloads are given as lines of text too.
    let framings = [
        None,
        Some(Framing::Text),
        Some(Framing::Amazon),
        Some(Framing::Ndjson),
    ];
    for (format, caller) in formats().filter(|(format, _)| format.name != served.name) {
        for framing in framings {
            let delivery = if framing.is_some() {
                Delivery::Events { usage: true }
            } else {
                Delivery::Whole
            };
            let is_whole = one_response(served, (format, caller), data, framing, delivery);
            count += usize::from(is_whole);
        }
    }
    let gemini = named("gemini_generate_content");
    one_response(served, gemini, data, Some(Framing::Text), Delivery::Array);
    count
}

/// The caller gets the same in whatever pieces it comes, in the caller's own framing, and not much more than
/// came. What is whole can be read as the caller's format.
fn one_response(
    served: &'static Codec,
    (format, caller): (&'static Format, &'static Codec),
    data: &[u8],
    framing: Option<Framing>,
    delivery: Delivery,
) -> bool {
    let asked = Request {
        model: "m".to_owned(),
        delivery,
        shows_thoughts: Some(data.len().is_multiple_of(2)),
        ..Request::default()
    };
    let translate = |size: usize| {
        let request = asked.clone();
        let mut translator = ResponseTranslator::new(served, caller, request, framing, ROOM);
        let mut out = Vec::new();
        let mut pieces = data.chunks(size.max(1));
        let fed = pieces.try_for_each(|piece| translator.feed(piece, &mut out));
        let ended = fed.and_then(|()| translator.finish(&mut out));
        let kept = translator.response().to_string().len();
        (out, ended, kept)
    };
    let (out, ended, kept) = translate(data.len());
    let most = TIMES * data.len() + BESIDE;
    assert!(out.len().max(kept) <= most, "{} bytes", out.len());
    let (pieces, ended_in_pieces, _) = translate(7);
    // Ids are different, and of one length.
    assert_eq!(
        without_pings(&pieces).len(),
        without_pings(&out).len(),
        "{framing:?}, {:?}:\n{}\nin pieces:\n{}",
        String::from_utf8_lossy(data),
        String::from_utf8_lossy(&out),
        String::from_utf8_lossy(&pieces)
    );
    assert_eq!(ended_in_pieces, ended);
    if ended.is_ok() {
        reads_back(format, caller, &out, delivery);
    }
    ended.is_ok()
}

/// A stream without pings: a piece that brings nothing else of one becomes a ping.
fn without_pings(stream: &[u8]) -> Vec<u8> {
    // Amazon's framing isn't text, and has no pings.
    let Ok(text) = std::str::from_utf8(stream) else {
        return stream.to_vec();
    };
    let text = text.replace(": ping\n\n", "");
    let text = text.replace("event: ping\ndata: {\"type\":\"ping\"}\n\n", "");
    text.into_bytes()
}

/// A response that was written for a caller is one that the format itself reads.
fn reads_back(format: &Format, caller: &'static Codec, out: &[u8], delivery: Delivery) {
    let is_amazon = format.name.starts_with("bedrock");
    let framing = match delivery {
        Delivery::Events { .. } if is_amazon => Some(Framing::Amazon),
        Delivery::Events { .. } if format.name.starts_with("ollama") => Some(Framing::Ndjson),
        Delivery::Events { .. } => Some(Framing::Text),
        Delivery::Whole | Delivery::Array => None,
    };
    match framing {
        None => {
            serde_json::from_slice::<Value>(out).expect("JSON");
        }
        Some(Framing::Amazon) => {
            let mut decoder = event_stream::Decoder::default();
            decoder.feed(out, |event| is_json(event.data));
            assert!(!decoder.lost && decoder.unread == 0, "broken frames");
        }
        Some(Framing::Ndjson) => {
            let lines = out.split(|byte| *byte == b'\n');
            lines.filter(|line| !line.is_empty()).for_each(is_json);
        }
        Some(Framing::Text) => {
            sse::Decoder::default().feed(out, |event| {
                if event.data != b"[DONE]" {
                    is_json(event.data);
                }
            });
        }
    }
    if delivery != Delivery::Array {
        let request = Request::default();
        let mut again = ResponseTranslator::new(caller, caller, request, framing, ROOM);
        let mut whole = Vec::new();
        let read = again.feed(out, &mut whole);
        let read = read.and_then(|()| again.finish(&mut whole));
        let text = String::from_utf8_lossy(out);
        read.unwrap_or_else(|why| panic!("{}: {why}: {text}", caller.name));
    }
}

fn is_json(data: &[u8]) {
    serde_json::from_slice::<Value>(data).expect("JSON");
}

fn named(name: &str) -> (&'static Format, &'static Codec) {
    formats()
        .find(|(format, _)| format.name == name)
        .unwrap_or_else(|| panic!("{name} isn't translated"))
}
