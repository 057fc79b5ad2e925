//! What is read one way, and where a fault is found.

use super::*;

fn read(text: &str) -> Result<(), Fault> {
    // In one piece, and byte by byte.
    let whole = Reader::default().read(text.as_bytes());
    let mut reader = Reader::default();
    let single = text
        .bytes()
        .try_for_each(|byte| reader.read(&[byte]).map_err(|(_, fault)| fault));
    let whole = whole.map_err(|(_, fault)| fault);
    assert_eq!(whole, single, "{text:?}");
    whole
}

#[test]
fn requests_one_after_the_other() {
    for text in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\nGET http://a/ HTTP/1.0\r\nHost:a\t \r\nX:\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc\r\nGET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n\
         3;a=\"b\"\r\nabc\r\n00A\r\n0123456789\r\n0\r\nX-T: y\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        "PRI /x HTTP/1.1\r\n\r\n",
        "PUT /caf%C3%A9?a=\\b HTTP/1.1\r\nX: caf\u{e9}\r\n\r\n",
    ] {
        assert_eq!(read(text), Ok(()), "{text:?}");
    }
}

#[test]
fn another_protocol_is_not_looked_at() {
    let mut reader = Reader::default();
    assert!(!reader.is_open());
    reader.read(b"PRI * HTTP/2.0\r\n").unwrap();
    reader.read(b"\r\nSM\r\n\r\n\0\0\n").unwrap();
    assert!(reader.is_open());
    assert!(read("PRI * HTTP/2.0\r\n\r\nXX").is_err());
    let mut reader = Reader::default();
    reader.read(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    reader.open();
    reader.read(b"\x81\x00").unwrap();
}

#[test]
fn a_fault_is_found_where_it_stands() {
    let text = "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (at, fault) = Reader::default().read(text.as_bytes()).unwrap_err();
    // The head is not whole without its last byte.
    assert_eq!(
        (at, fault),
        (text.len() - 1, Fault("a length and a coding"))
    );
    assert_eq!(fault.to_string(), "a length and a coding");
}

/// Where the fault of a text is, and which.
fn fault(text: &str) -> Option<(usize, &'static str)> {
    read(text).ok();
    let found = Reader::default().read(text.as_bytes()).err();
    found.map(|(at, fault)| (at, fault.0))
}

#[test]
fn faults_of_a_request_line_are_found() {
    let form = "the target is of no form that the method has";
    let url = "the target holds a character that no URL has";
    let version = "the version is not HTTP/1.1";
    let line = "a carriage return that ends no line";
    for (text, at, what) in [
        ("GE\0T / HTTP/1.1", 2, "the method is no token"),
        (" / HTTP/1.1", 0, "the method is no token"),
        ("\r\n\r\nGET / HTTP/1.1", 2, "the method is no token"),
        ("\rGET / HTTP/1.1", 1, line),
        ("GET /a#b HTTP/1.1", 6, "the target has a fragment"),
        ("GET /a?b#c HTTP/1.1", 8, "the target has a fragment"),
        ("GET /a\\b HTTP/1.1", 6, "the path holds a backslash"),
        ("GET /\tb HTTP/1.1", 5, url),
        ("GET /\x7f HTTP/1.1", 5, url),
        ("GET /\u{e9} HTTP/1.1", 5, url),
        ("GET * HTTP/1.1", 5, form),
        ("OPTIONS ** HTTP/1.1", 10, form),
        ("CONNECT / HTTP/1.1", 9, form),
        ("CONNECT  HTTP/1.1", 8, form),
        ("GET  HTTP/1.1", 4, form),
        ("GET a:1 HTTP/1.1", 7, form),
        ("GET http:/a HTTP/1.1", 11, form),
        ("GET / HTTP/2.0", 11, version),
        ("GET / HTTP/1.2", 13, version),
        ("GET / HTTP/1.\r", 13, version),
        ("GET / HTTP/1.10", 14, version),
        ("GET / HTTP/1.1 ", 14, version),
        ("GET / http/1.1", 6, version),
        ("GET / HTTP/1.1\rX: y", 15, line),
    ] {
        assert_eq!(fault(text), Some((at, what)), "{text:?}");
    }
    for sound in [
        "CONNECT a:1 HTTP/1.1\r\n\r\n",
        "GET https://a/ HTTP/1.1\r\n\r\n",
        "GET /a?b\\c HTTP/1.1\r\n\r\n",
        "OPTIONS /a HTTP/1.1\r\n\r\n",
    ] {
        assert_eq!(fault(sound), None, "{sound:?}");
    }
}

#[test]
fn faults_of_fields_are_found() {
    let folded = "a header is folded over two lines";
    let name = "a header's name is no token";
    let value = "a header's value holds a control character";
    let line = "a carriage return that ends no line";
    let disguise = "a header's name in disguise";
    let length = "the length is no number";
    let coding = "a coding other than chunked";
    for (fields, at, what) in [
        (" X: y", 0, folded),
        ("\tX: y", 0, folded),
        ("A: b\r\n c", 6, folded),
        (": y", 0, name),
        ("X y: z", 1, name),
        ("X\r\n", 1, name),
        ("X: a\0b", 4, value),
        ("X: a\x7fb", 4, value),
        ("X: a\nb", 4, value),
        ("X: a\rb", 5, line),
        ("X: a\r\n\rb", 7, line),
        ("Content_Length: 1\r\n", 17, disguise),
        ("transfer_encoding: 1\r\n", 20, disguise),
        ("Content-Length: +1\r\n", 18, length),
        ("Content-Length: \r\n", 16, length),
        ("Content-Length: 01\r\n", 18, length),
        ("Content-Length: 1, 1\r\n", 20, length),
        ("Content-Length: 1234567890123456\r\n", 32, length),
        (
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            36,
            "two lengths",
        ),
        ("Transfer-Encoding: gzip, chunked\r\n", 32, coding),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            54,
            "two codings",
        ),
    ] {
        let start = "POST / HTTP/1.1\r\n";
        let found = fault(&format!("{start}{fields}")).map(|(at, what)| (at - start.len(), what));
        assert_eq!(found, Some((at, what)), "{fields:?}");
    }
    // A name that is longer than what is kept matches none of these.
    let long = format!(
        "POST / HTTP/1.1\r\nContent-Length{}: x\r\n\r\n",
        "h".repeat(40)
    );
    assert_eq!(fault(&long), None);
    let most = "POST / HTTP/1.1\r\nContent-Length: 123456789012345\r\n\r\n";
    assert_eq!(fault(most), None);
}

#[test]
fn faults_of_bodies_are_found() {
    let chunked = "Transfer-Encoding: chunked\r\n\r\n";
    let size = "the size of a chunk is no number";
    let none = "a body that the method does not have";
    let trailer = "a trailer that belongs into the head";
    let get = "GET / HTTP/1.1";
    let post = "POST / HTTP/1.1";
    let connect = "CONNECT a:1 HTTP/1.1";
    let follows = "something follows a request to connect";
    let method = "the method is no token";
    let extension = "a chunk's extension holds a control character";
    let longer = "a chunk is longer than its size";
    let of_chunks = |rest: &str| format!("{chunked}{rest}");
    for (line, rest, at, what) in [
        ("POST / HTTP/1.0", chunked, 29, "HTTP/1.0 has no codings"),
        (get, chunked, 29, none),
        ("HEAD / HTTP/1.1", "Content-Length: 1\r\n\r\n", 20, none),
        ("TRACE / HTTP/1.1", "Content-Length: 1\r\n\r\n", 20, none),
        (connect, "Content-Length: 1\r\n\r\n", 20, none),
        (connect, "Content-Length: 0\r\n\r\nx", 21, follows),
        (post, "Content-Length: 2\r\n\r\nab\0", 23, method),
        (post, &of_chunks("\r\n"), 30, size),
        (post, &of_chunks(";a\r\n"), 30, size),
        (post, &of_chunks("g\r\n"), 30, size),
        (post, &of_chunks("0000000000000001\r\n"), 45, size),
        (post, &of_chunks("1;a\0\r\n"), 33, extension),
        (post, &of_chunks("3\r\nabcd"), 36, longer),
        (post, &of_chunks("0\r\nContent-Length: 1\r\n"), 50, trailer),
        (
            post,
            &of_chunks("0\r\ntransfer-encoding: x\r\n"),
            53,
            trailer,
        ),
        (post, &of_chunks("0\r\nHOST: x\r\n"), 40, trailer),
    ] {
        let start = format!("{line}\r\n");
        let found = fault(&format!("{start}{rest}")).map(|(at, what)| (at - start.len(), what));
        assert_eq!(found, Some((at, what)), "{line:?} {rest:?}");
    }
    for sound in [
        "GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1F;a=b\r\n0123456789012345678901234567890\r\n\
         000000000000001\r\nx\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 300\r\n\r\n",
    ] {
        assert_eq!(fault(sound), None, "{sound:?}");
    }
}
