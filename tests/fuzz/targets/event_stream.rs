#![no_main]
//! Messages are the same, whatever the pieces in which they come.
use iris::wire::event_stream::Decoder;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let events = |size: usize| {
        let (mut decoder, mut events) = (Decoder::default(), Vec::new());
        for piece in data.chunks(size) {
            decoder.feed(piece, |event| events.push((event.name.to_vec(), event.data.to_vec())));
        }
        (events, decoder.lost)
    };
    let whole = events(data.len().max(1));
    assert_eq!(events(1), whole);
    assert_eq!(events(5), whole);
});
