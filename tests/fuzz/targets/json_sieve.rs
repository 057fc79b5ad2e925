#![no_main]
//! A reduced copy is JSON, the same in whatever pieces its document comes, and bounded.
use iris::wire::json::Sieve;
use serde_json::Value;

fn sieve(data: &[u8], size: usize) -> (Vec<Vec<u8>>, Vec<u8>) {
    let (mut sieve, mut elements) = (Sieve::default(), Vec::new());
    for piece in data.chunks(size) {
        sieve.feed(piece, &mut |element| elements.push(element.to_vec()));
    }
    (elements, sieve.finish())
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (elements, copy) = sieve(data, usize::MAX);
    assert_eq!(sieve(data, 3), (elements.clone(), copy.clone()));
    for element in elements.iter().chain((!copy.is_empty()).then_some(&copy)) {
        assert!(element.len() <= 1 << 20);
        serde_json::from_slice::<Value>(element).expect("JSON");
    }
});
