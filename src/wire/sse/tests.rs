//! Events, however their stream is cut.

use super::*;

fn events(pieces: &[&[u8]]) -> Vec<(String, String)> {
    let mut decoder = Decoder::default();
    let mut seen = Vec::new();
    for piece in pieces {
        decoder.feed(piece, |event| {
            seen.push((
                String::from_utf8_lossy(event.name).into_owned(),
                String::from_utf8_lossy(event.data).into_owned(),
            ));
        });
    }
    seen
}

#[test]
fn every_split_gives_the_same_events() {
    let stream: &[u8] = b"\xef\xbb\xbfdata: one\n\n: comment\r\nevent: e\r\ndata:two\r\n\
        data: three\r\n\r\nid: 1\rdata: four\r\rdata\n\ndata: unfinished\n";
    let whole = events(&[stream]);
    let expected = [("", "one"), ("e", "two\nthree"), ("", "four"), ("", "")];
    assert_eq!(whole.len(), expected.len());
    for ((name, data), (wanted_name, wanted_data)) in whole.iter().zip(expected) {
        assert_eq!((name.as_str(), data.as_str()), (wanted_name, wanted_data));
    }
    for first in 0..stream.len() {
        for second in first..stream.len() {
            let parts = [&stream[..first], &stream[first..second], &stream[second..]];
            assert_eq!(events(&parts), whole, "split at {first} and {second}");
        }
    }
}

#[test]
fn a_field_named_error_is_an_event() {
    let stream: &[u8] = b"error: {\"code\":500}\n\ndata: one\nerror: two\n\n";
    let expected = [("error", "{\"code\":500}"), ("", "one")];
    assert_eq!(
        events(&[stream]),
        expected.map(|(name, data)| (name.to_owned(), data.to_owned()))
    );
}

#[test]
fn a_giant_event_that_is_no_json_is_skipped_and_the_next_one_is_read() {
    let giant = vec![b'x'; 3 * MAX_EVENT];
    let mut decoder = Decoder::default();
    let mut seen = Vec::new();
    for piece in [b"data: ".as_slice(), &giant, b"\n\ndata: next\n\n"] {
        decoder.feed(piece, |event| seen.push(event.data.to_vec()));
        assert!(decoder.line.capacity() + decoder.data.capacity() <= 3 * MAX_EVENT);
    }
    assert_eq!(seen, [b"next".to_vec()]);
    assert_eq!(decoder.skipped, 1);
}

#[test]
fn of_a_giant_event_a_reduced_copy_is_read() {
    let big = "A".repeat(3 * MAX_EVENT);
    let giant = format!(r#"{{"data":"{big}",{}"usage":{{"n":7}}}}"#, "\n");
    let lines = giant.replace('\n', "\ndata: ");
    for stream in [
        format!("event: e\ndata: {lines}\n\ndata: next\n\n"),
        format!("event: e\r\ndata:{lines}\r\n\r\n: {big}\r\ndata: next\r\n\r\n"),
        format!("\u{feff}data: {lines}\nevent: e\nid: {big}\n\ndata: next\n\n"),
    ] {
        for size in [1 << 10, 5000, 1 << 24] {
            let mut decoder = Decoder::default();
            let mut seen = Vec::new();
            for piece in stream.as_bytes().chunks(size) {
                decoder.feed(piece, |event| {
                    seen.push((event.name.to_vec(), event.data.to_vec()));
                });
                assert!(decoder.line.capacity() + decoder.data.capacity() <= 4 * MAX_EVENT);
            }
            assert_eq!((decoder.reduced, decoder.skipped, seen.len()), (1, 0, 2));
            let copy: serde_json::Value = serde_json::from_slice(&seen[0].1).unwrap();
            assert_eq!(
                (&seen[0].0[..], &copy["usage"]["n"]),
                (&b"e"[..], &7.into())
            );
            assert_eq!(seen[1].1, b"next");
        }
    }
}

#[test]
fn a_last_event_counts_without_its_blank_line() {
    for (stream, last) in [
        ("data: {\"a\":1}\n", Some("{\"a\":1}")),
        ("data: {\"a\":1}", Some("{\"a\":1}")),
        ("data: {\"a\":1}\r", Some("{\"a\":1}")),
        ("data: {\"a\":1}\r\n", Some("{\"a\":1}")),
        (
            "event: e\ndata: {\"a\":\ndata: 1}\nid: 1",
            Some("{\"a\":\n1}"),
        ),
        ("data: [DONE]", Some("[DONE]")),
        ("data: [DONE]\n", Some("[DONE]")),
        ("event: error\ndata: it broke", Some("it broke")),
        ("event: error\ndata: {\"error\":{\"mess", None),
        ("data: {\"a\":1", None),
        ("data: {\"a\":1}\ndata: {\"b\"", None),
        ("data: [DON", None),
        ("data: half a word", None),
        ("event: e\n", None),
        (": comment", None),
        ("data: {\"a\":1}\n\n", None),
        ("", None),
    ] {
        let mut decoder = Decoder::default();
        decoder.feed(b"data: first\n\n", |_| {});
        decoder.feed(stream.as_bytes(), |_| {});
        let mut seen = None;
        let is_whole = decoder.end(|event| {
            seen = Some(String::from_utf8(event.data.to_vec()).unwrap());
        });
        assert_eq!(seen.as_deref(), last, "{stream:?}");
        assert_eq!(is_whole, last.is_some());
    }
    let mut decoder = Decoder::new(32);
    let giant = format!("data: {{\"a\":\"{}\"}}", "b".repeat(40));
    decoder.feed(giant.as_bytes(), |_| {});
    assert!(decoder.end(|event| assert!(event.data.starts_with(b"{\"a\":\"bbb"))));
}

#[test]
fn fields_are_read_as_the_standard_says() {
    for (stream, name, data) in [
        (&b"data:a\n\n"[..], "", "a"),
        (b"data: a\n\n", "", "a"),
        (b"data:  a \n\n", "", " a "),
        (b"data: a: b\n\n", "", "a: b"),
        (b"data\ndata\n\n", "", "\n"),
        (b"data: a\ndata:\ndata: b\n\n", "", "a\n\nb"),
        (b"event: x\nevent: yy\ndata: a\n\n", "yy", "a"),
        (
            b"Data: b\n data: b\ndatas: b\nid: 1\nretry: 2\n: data: b\ndata: a\n\n",
            "",
            "a",
        ),
        // An event without data doesn't count, and leaves nothing behind.
        (b"event: x\n\ndata: a\n\n", "", "a"),
        (b"\n\n\r\n\rdata: a\r\r", "", "a"),
        // The mark is one at the very beginning alone.
        (b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n", "", "a"),
    ] {
        assert_eq!(
            events(&[stream]),
            [(name.to_owned(), data.to_owned())],
            "{}",
            stream.escape_ascii()
        );
    }
    let long = [b"event: ".as_slice(), &[b'n'; 300], b"\ndata: a\n\n"].concat();
    assert_eq!(events(&[&long])[0].0.len(), 256);
    let two = events(&[b"event: x\ndata: a\n\ndata: b\n\n"]);
    assert_eq!(
        two,
        [
            ("x".to_owned(), "a".to_owned()),
            (String::new(), "b".to_owned())
        ]
    );
}

#[test]
fn an_event_has_begun_with_its_first_byte_and_is_over_with_its_end() {
    for (pieces, is_between) in [
        (&["data: a\n\n", ": comment\n", "id: 1\n"][..], true),
        (&["data\n"], false),
        (&["event: e\n"], false),
        (&["d"], false),
        (&["data: 0123456789"], false),
        (&["data: 0123456789\n"], false),
        (&["data: 0123456789\n\n"], true),
        (&["data: a\n", "\n"], true),
        (&["data: a\r", "\r"], true),
    ] {
        let mut decoder = Decoder::new(12);
        assert!(decoder.is_between());
        for piece in pieces {
            decoder.feed(piece.as_bytes(), |_| {});
        }
        assert_eq!(decoder.is_between(), is_between, "{pieces:?}");
    }
}

#[test]
fn an_event_of_the_limit_is_read_and_one_beyond_is_not() {
    let read = |pieces: &[&str]| {
        let mut decoder = Decoder::new(16);
        let mut seen = Vec::new();
        for piece in pieces {
            decoder.feed(piece.as_bytes(), |event| {
                seen.push(String::from_utf8(event.data.to_vec()).unwrap());
            });
        }
        (seen.join("|"), decoder.skipped)
    };
    let next = "data: next\n\n";
    for (stream, seen, skipped) in [
        ("data: 0123456789\n\n", "0123456789|next", 0),
        ("data: 01234567890\n\n", "next", 1),
        // Lines that were read count with the one that is.
        ("data: 0123\ndata: 567890\n\n", "0123\n567890|next", 0),
        ("data: 01234\ndata: 567890\n\n", "next", 1),
        // What follows in an event that is given up is not the start of another.
        ("data: 01234567890\ndata: x\n\n", "next", 1),
        ("data: 01234567890\n\ndata: 01234567890\n\n", "next", 2),
        ("data: 01234567890\n\ndata: a\n\n", "a|next", 1),
    ] {
        assert_eq!(
            read(&[stream, next]),
            (seen.to_owned(), skipped),
            "{stream}"
        );
        for cut in 1..stream.len() {
            let parts = [&stream[..cut], &stream[cut..], next];
            assert_eq!(
                read(&parts),
                (seen.to_owned(), skipped),
                "{stream} at {cut}"
            );
        }
    }
}
