#![no_main]
//! Lines are the same, whatever the pieces in which they come.
use iris::wire::ndjson::Decoder;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let lines = |size: usize| {
        // Most lines are longer than this one holds.
        let (mut decoder, mut lines) = (Decoder::new(64), Vec::new());
        for piece in data.chunks(size) {
            let open = decoder.feed(piece, |line| lines.push(line.data.to_vec()));
            assert!(open <= piece.len());
        }
        let is_whole = decoder.end(|line| lines.push(line.data.to_vec()));
        (lines, is_whole, decoder.reduced, decoder.skipped)
    };
    let whole = lines(data.len().max(1));
    assert_eq!(lines(1), whole);
    assert_eq!(lines(5), whole);
});
