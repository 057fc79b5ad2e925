//! Whether a body is a stream of events where its head doesn't say so.

/// The start of a text that may be a stream is held back up to here.
const MAX_START: usize = 64 * 1024;
/// How an event of a stream can start.
const FIELDS: [&[u8]; 5] = [b"data:", b"event:", b"id:", b"retry:", b":"];

/// Whether a text is a stream of events, by how it starts; `None` while that is not told. Speech may
/// begin with the words of a stream: only data that is an object, or the mark of the end, tells.
pub(super) fn has_events(start: &[u8], streamed: bool) -> Option<bool> {
    const END: &[u8] = b"[DONE]";
    // Comments keep a connection alive: its caller gets them at once.
    if streamed && start.starts_with(b":") {
        return Some(true);
    }
    // Most responses are JSON: their first byte tells.
    let may_begin = |byte: u8| {
        let mut fields = FIELDS.iter();
        matches!(byte, b'\r' | b'\n') || fields.any(|field| field.first() == Some(&byte))
    };
    if start.first().is_some_and(|first| !may_begin(*first)) {
        return Some(false);
    }
    let mut rest = start;
    while start.len() <= MAX_START {
        let end = memchr::memchr2(b'\r', b'\n', rest);
        let (line, is_whole) = (&rest[..end.unwrap_or(rest.len())], end.is_some());
        let field = FIELDS.iter().find(|field| line.starts_with(field));
        match field {
            Some(&b"data:") => {
                let data = line[b"data:".len()..].trim_ascii();
                if data.starts_with(b"{") || data.starts_with(END) {
                    return Some(true);
                }
                if !data.is_empty() && (is_whole || !END.starts_with(data)) {
                    return Some(false);
                }
            }
            None if !is_whole && FIELDS.iter().any(|field| field.starts_with(line)) => {}
            None if !line.is_empty() => return Some(false),
            _ => {}
        }
        rest = &rest[end? + 1..];
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_begins_like_a_stream_is_a_text() {
        for (start, expected) in [
            ("data: {", Some(true)),
            ("data:{\"a\":1}\n", Some(true)),
            ("data: [DONE]", Some(true)),
            ("event: x\r\nid: 1\r\ndata: {", Some(true)),
            (": waiting\n\n: waiting\n\ndata: {", Some(true)),
            ("data:\ndata: {", Some(true)),
            ("dat", None),
            ("data:", None),
            ("data: [DO", None),
            ("event: x\nda", None),
            (": waiting\n\n", None),
            ("data: my words", Some(false)),
            ("data: [music]", Some(false)),
            ("data: [DO\n", Some(false)),
            ("event: the party\nis at nine", Some(false)),
            (": words\nand more", Some(false)),
            ("datum", Some(false)),
        ] {
            assert_eq!(has_events(start.as_bytes(), false), expected, "{start:?}");
        }
        assert_eq!(has_events(b": waiting", true), Some(true));
        let long = "event: x\n".repeat(MAX_START / 8);
        assert_eq!(has_events(long.as_bytes(), false), Some(false));
    }
}
