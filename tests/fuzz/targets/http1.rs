#![no_main]
//! A request has the same fault, or none, whatever the pieces in which it comes.
use iris::net::listen::Strict;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let read = |size: usize| {
        let mut strict = Strict::default();
        for (nth, piece) in data.chunks(size).enumerate() {
            if let Err((at, fault)) = strict.read(piece) {
                return Err((nth * size + at, fault));
            }
        }
        Ok(strict.is_open())
    };
    let whole = read(data.len().max(1));
    assert_eq!(read(1), whole);
    assert_eq!(read(7), whole);
});
