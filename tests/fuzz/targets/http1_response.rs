#![no_main]
//! A response of HTTP/1.1 is the same one, or has the same fault, whatever the pieces in which it comes.
use http::Method;
use iris::net::client::replay;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&kind, bytes)) = data.split_first() else {
        return;
    };
    let method = if kind == 0 { Method::HEAD } else { Method::POST };
    let read = |size: usize| {
        let replayed = replay(bytes, size, method.clone());
        replayed.map_err(|error| error.to_string())
    };
    let whole = read(bytes.len());
    assert_eq!(read(1), whole);
    assert_eq!(read(7), whole);
});
