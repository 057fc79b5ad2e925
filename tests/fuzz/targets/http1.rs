#![no_main]
//! A request has the same fault, or none, whatever the pieces in which it comes.
use iris::net::http1::Reader;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let read = |size: usize| {
        let mut reader = Reader::default();
        for (nth, piece) in data.chunks(size).enumerate() {
            if let Err((at, fault)) = reader.read(piece) {
                return Err((nth * size + at, fault));
            }
        }
        Ok(reader.is_open())
    };
    let whole = read(data.len().max(1));
    assert_eq!(read(1), whole);
    assert_eq!(read(7), whole);
});
