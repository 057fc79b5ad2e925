//! What is read one way, and where a fault is found.

use super::*;

fn read(text: &str) -> Result<(), Fault> {
    // In one piece, and byte by byte.
    let whole = Strict::default().read(text.as_bytes());
    let mut strict = Strict::default();
    let single = text
        .bytes()
        .try_for_each(|byte| strict.read(&[byte]).map_err(|(_, fault)| fault));
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
    let mut strict = Strict::default();
    strict.read(b"PRI * HTTP/2.0\r\n").unwrap();
    strict.read(b"\r\nSM\r\n\r\n\0\0\n").unwrap();
    assert!(strict.is_open());
    assert!(read("PRI * HTTP/2.0\r\n\r\nXX").is_err());
    let mut strict = Strict::default();
    strict.read(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    strict.open();
    strict.read(b"\x81\x00").unwrap();
}

#[test]
fn a_fault_is_found_where_it_stands() {
    let text = "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (at, fault) = Strict::default().read(text.as_bytes()).unwrap_err();
    // The head is not whole without its last byte.
    assert_eq!(
        (at, fault),
        (text.len() - 1, Fault("a length and a coding"))
    );
}
