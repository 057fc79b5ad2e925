#![no_main]
//! Compressed rubbish is opened as far as it goes, within bounds.
use http::{HeaderMap, HeaderValue, header};
use iris::wire::decode::Decoding;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    for coding in ["gzip", "deflate", "br", "zstd"] {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
        let mut decoding = Decoding::of(&headers).expect("a coding");
        for piece in data.chunks(64) {
            assert!(decoding.feed(piece).len() <= 8 << 20);
        }
    }
});
