//! What comes bit by bit: streams, lines, requests and responses in any pieces, and the messages of sessions.

use bytes::Bytes;
use iris::formats::realtime::{Names, Sent, Told};
use iris::formats::{ALL, Call, Destination, Head, Reading};
use iris::wire::{ndjson, sse};
use serde_json::Value;

use super::{PIECES, REQUESTS, elsewhere, fuzz, read};

const STREAMS: [&str; 3] = [
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\ndata: [DONE]\n\n",
    "\u{feff}event: x\r\ndata:1\r\ndata: 2\r\n\r\n: comment\rdata\r\rdata: end",
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":5}}\n\n\n\ndata:\n\n",
];

#[test]
fn a_stream_means_the_same_in_whatever_pieces_it_comes() {
    let pieces = [
        "\n",
        "\r",
        "\r\n",
        "\n\n",
        "data:",
        "event:",
        ":",
        "data: [DONE]\n\n",
        "{",
        "\u{feff}",
    ];
    fuzz(3, &STREAMS, &pieces, |bytes, random| {
        let decode = |cuts: &mut dyn FnMut() -> usize| {
            let (mut decoder, mut events) = (sse::Decoder::default(), Vec::new());
            let call = read(REQUESTS[0].as_bytes()).unwrap();
            let mut meter = ALL[0].meter(&call.metered(10_000));
            let mut rest = bytes;
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(cuts().clamp(1, rest.len()));
                rest = after;
                decoder.feed(piece, |event| {
                    meter.event(&event);
                    events.push((event.name.to_vec(), event.data.to_vec()));
                });
            }
            let reading: Reading = meter.finish();
            (events, reading)
        };
        let whole = decode(&mut || usize::MAX);
        assert_eq!(decode(&mut || 1), whole);
        assert_eq!(decode(&mut || random.below(7)), whole);
    });
}

const LINES: [&str; 3] = [
    "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"h\u{e9}\"},\"done\":false}\n{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\"eval_count\":2}\n",
    "{\"model\":\"m\",\"response\":\"a\",\"done\":false}\r\n\n{\"error\":\"it broke\"}",
    "{\"message\":{\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":{}}}]},\"done\":true}\n",
];

#[test]
fn lines_mean_the_same_in_whatever_pieces_they_come() {
    let format = ALL.into_iter().find(|format| format.has_lines).unwrap();
    let head = Head {
        path: format.paths[0],
        query: None,
        headers: &http::HeaderMap::new(),
    };
    let body = Bytes::from_static(br#"{"model":"m","messages":[]}"#);
    let call = format.read(&head, body).unwrap();
    fuzz(
        11,
        &LINES,
        &[&PIECES[..], &["\n", "\r\n"]].concat(),
        |bytes, random| {
            let decode = |limit: usize, size: &mut dyn FnMut() -> usize| {
                let (mut decoder, mut meter) = (
                    ndjson::Decoder::new(limit),
                    format.meter(&call.metered(10_000)),
                );
                let (mut lines, mut rest) = (Vec::new(), bytes);
                let mut each = |line: sse::Event<'_>| {
                    meter.event(&line);
                    lines.push(line.data.to_vec());
                };
                while !rest.is_empty() {
                    let (piece, after) = rest.split_at(size().clamp(1, rest.len()));
                    assert!(decoder.feed(piece, &mut each) <= piece.len());
                    rest = after;
                }
                let is_whole = decoder.end(&mut each);
                (lines, is_whole, decoder.skipped, meter.finish())
            };
            for limit in [sse::MAX_EVENT, 40] {
                let whole = decode(limit, &mut || usize::MAX);
                assert_eq!(decode(limit, &mut || 1), whole);
                assert_eq!(decode(limit, &mut || random.below(7)), whole);
            }
        },
    );
}

#[test]
fn a_request_has_the_same_fault_in_whatever_pieces_it_comes() {
    let documents = [
        "POST /v1/x?a=b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\r\nGET / HTTP/1.0\r\n\r\n",
        "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
    ];
    let pieces = [
        "\r\n",
        "\n",
        "\r",
        " ",
        ":",
        "0",
        "Content-Length: 3\r\n",
        "Content-Length:\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: ",
        ";",
        "\0",
    ];
    fuzz(13, &documents, &pieces, |bytes, random| {
        let read = |cut: &mut dyn FnMut(usize) -> usize| {
            let (mut reader, mut at) = (iris::net::http1::Reader::default(), 0);
            while at < bytes.len() {
                let end = at + cut(bytes.len() - at);
                if let Err((within, fault)) = reader.read(&bytes[at..end]) {
                    return Err((at + within, fault));
                }
                at = end;
            }
            Ok(reader.is_open())
        };
        let whole = read(&mut |left| left);
        assert_eq!(read(&mut |_| 1), whole);
        assert_eq!(read(&mut |left| 1 + random.below(left)), whole);
    });
}

#[test]
fn a_response_is_the_same_in_whatever_pieces_it_comes() {
    let documents = [
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n1;a=b\r\n,\r\n0\r\nx: y\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 404 Not Found\nconnection: keep-alive\n\nhello",
        "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n",
    ];
    let pieces = [
        "\r\n",
        "\n",
        ":",
        ",",
        " ",
        "\t",
        ";",
        "0",
        "5",
        "a",
        "chunked",
        "gzip",
        "close",
        "\0",
        "content-length: 3\r\n",
        "transfer-encoding: chunked\r\n",
        "0\r\n\r\n",
    ];
    fuzz(13, &documents, &pieces, |bytes, random| {
        let method = [http::Method::POST, http::Method::HEAD][random.below(2)].clone();
        let read = |size: usize| {
            let replayed = iris::net::client::replay(bytes, size, method.clone());
            replayed.map_err(|error| error.to_string())
        };
        let whole = read(bytes.len());
        assert_eq!(read(1), whole);
        assert_eq!(read(2 + random.below(20)), whole);
    });
}

const MESSAGES: [&str; 8] = [
    r#"{"type":"response.create","event_id":"e","response":{"model":"voice","max_output_tokens":5}}"#,
    r#"{"type":"session.update","session":{"type":"realtime","model":"m","tools":[{"type":"function","name":"f"}]}}"#,
    r#"{"type":"input_audio_buffer.append","audio":"AAAA"}"#,
    r#"{"type":"response.done","response":{"id":"r","status":"failed","output":[{"type":"message"}],"usage":{"input_tokens":3,"input_token_details":{"audio_tokens":2,"cached_tokens_details":{"audio_tokens":1}}}}}"#,
    r#"{"clientContent":{"turns":[{"role":"user","parts":[{"text":"hi"}]}],"turnComplete":true}}"#,
    r#"{"realtimeInput":{"mediaChunks":[{"mimeType":"audio/pcm","data":"AAAA"}],"text":"hi"}}"#,
    r#"{"toolResponse":{"functionResponses":[{"id":"1","name":"f","response":{"x":1}}]}}"#,
    r#"{"serverContent":{"modelTurn":{"parts":[{"text":"a"}]},"turnComplete":true},"usageMetadata":{"responseTokenCount":3}}"#,
];

/// Messages of sessions: what goes on is what was judged, and nothing that a provider says stops a turn from
/// being metered.
#[test]
fn messages_of_sessions_go_on_as_they_were_judged() {
    let names = Names {
        asked: "voice".into(),
        served: "m".into(),
        provider: "p".into(),
    };
    let to = Destination {
        model: "m",
        ..elsewhere()
    };
    let sessions = ALL.into_iter().filter_map(|one| Some((one, one.realtime?)));
    let sessions: Vec<_> = sessions.collect();
    assert!(sessions.len() > 2);
    fuzz(12, &MESSAGES, &PIECES, |bytes, _| {
        for (format, realtime) in &sessions {
            let event = (realtime.event)(bytes);
            let call = Call::default();
            let mut meter = format.meter(&call.metered(1 << 16));
            meter.event(&sse::Event {
                name: b"",
                data: bytes,
            });
            let reading = meter.finish();
            if let Told::Heard(counts) = event.told {
                serde_json::from_slice::<Value>(&counts).unwrap();
            }
            assert!(
                reading
                    .response
                    .is_none_or(|response| response.len() <= 1 << 17)
            );
            let message = Bytes::copy_from_slice(bytes);
            let Ok((sent, call)) = (realtime.understand)(message, &names) else {
                continue;
            };
            let value: Value = serde_json::from_slice(bytes).unwrap();
            let out = format.prepare(&call, &to).unwrap().body;
            let passed: Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(
                value.as_object().unwrap().len(),
                passed.as_object().unwrap().len()
            );
            let (again, _) = (realtime.understand)(out, &names).unwrap();
            assert_eq!(again, sent);
            let asks = [
                "response.create",
                "session.update",
                "conversation.item.create",
            ];
            let kind = value["type"].as_str().unwrap_or_default();
            assert!(sent != Sent::Beside || !asks.contains(&kind), "{value}");
        }
    });
}
