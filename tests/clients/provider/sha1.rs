//! SHA-1, for the one thing that still needs it: the answer to a WebSocket's handshake.

/// The digest of a message.
pub fn digest(message: &[u8]) -> [u8; 20] {
    let mut padded = message.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend((message.len() as u64 * 8).to_be_bytes());
    let mut state: [u32; 5] = [
        0x6745_2301,
        0xefcd_ab89,
        0x98ba_dcfe,
        0x1032_5476,
        0xc3d2_e1f0,
    ];
    for block in padded.chunks_exact(64) {
        let mut words: Vec<u32> = block
            .chunks_exact(4)
            .map(|word| word.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
            .collect();
        for at in 16..80 {
            let mixed = words[at - 3] ^ words[at - 8] ^ words[at - 14] ^ words[at - 16];
            words.push(mixed.rotate_left(1));
        }
        let [mut first, mut second, mut third, mut fourth, mut fifth] = state;
        for (round, word) in words.iter().enumerate() {
            let (mixed, constant) = match round / 20 {
                0 => (second & third | !second & fourth, 0x5a82_7999),
                1 => (second ^ third ^ fourth, 0x6ed9_eba1),
                2 => (
                    second & third | second & fourth | third & fourth,
                    0x8f1b_bcdc,
                ),
                _ => (second ^ third ^ fourth, 0xca62_c1d6_u32),
            };
            let next = first
                .rotate_left(5)
                .wrapping_add(mixed)
                .wrapping_add(fifth)
                .wrapping_add(constant)
                .wrapping_add(*word);
            (fifth, fourth, third, second, first) =
                (fourth, third, second.rotate_left(30), first, next);
        }
        for (sum, part) in state.iter_mut().zip([first, second, third, fourth, fifth]) {
            *sum = sum.wrapping_add(part);
        }
    }
    let mut out = [0; 20];
    for (bytes, word) in out.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    out
}

/// Base 64 of a digest.
pub fn base64(digest: [u8; 20]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    // Twenty bytes and an empty one are seven groups; the last letter stands for nothing.
    for group in [&digest[..], &[0]].concat().chunks_exact(3) {
        let bits = group
            .iter()
            .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        for place in (0..4).rev() {
            text.push(char::from(ALPHABET[bits >> (place * 6) & 63]));
        }
    }
    text.pop();
    text + "="
}
