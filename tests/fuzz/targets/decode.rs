#![no_main]
//! Compressed rubbish is opened as far as it goes, within bounds.
use http::{HeaderMap, HeaderValue, header};
use iris::wire::decode::Decoding;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    for coding in ["gzip", "deflate", "br", "zstd"] {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
        let mut decoding = Decoding::of(&headers).expect("a coding");
        let mut left = 64_usize << 20;
        for piece in data.chunks(64) {
            let grown = decoding.feed(piece).len();
            assert!(grown <= 8 << 20);
            // Bombs are found often, and more of the same finds nothing.
            let Some(less) = left.checked_sub(grown) else {
                break;
            };
            left = less;
        }
    }
});
