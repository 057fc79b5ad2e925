//! A hash for keys that callers don't choose, such as addresses in memory, and for what is compared after
//! it is found. The usual one resists those who look for names with one hash, and takes five times as long.

use std::hash::{BuildHasherDefault, Hasher};

/// Makes such hashers.
pub type QuickHash = BuildHasherDefault<Quick>;

/// Folds words into one, as the compiler's own hasher does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quick(u64);

const FACTOR: u64 = 0xf135_7aea_2e62_a9c5;

impl Hasher for Quick {
    fn finish(&self) -> u64 {
        // The highest bits are the best, and tables look at the lowest.
        self.0.rotate_left(26)
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.write_u64(u64::from_ne_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.write_u64(u64::from_ne_bytes(last));
    }

    fn write_u8(&mut self, word: u8) {
        self.write_u64(word.into());
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(word.into());
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(FACTOR);
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::BuildHasher;

    use super::*;

    #[test]
    fn addresses_and_names_are_spread() {
        let hash = QuickHash::default();
        let lowest = |hash: u64| hash % 1024;
        let of_addresses: HashSet<u64> = (0..1024_usize)
            .map(|nth| lowest(hash.hash_one(0x7f00_dead_0000 + nth * 64)))
            .collect();
        let of_names: HashSet<u64> = (0..1024)
            .map(|nth| lowest(hash.hash_one(format!("model-{nth}"))))
            .collect();
        // So many different ones are expected of 1,024 random numbers: 647.
        assert!(of_addresses.len() > 550, "{}", of_addresses.len());
        assert!(of_names.len() > 550, "{}", of_names.len());
        assert_ne!(hash.hash_one("ab"), hash.hash_one("ba"));
        assert_ne!(hash.hash_one(("a", "b")), hash.hash_one(("ab", "")));
    }
}
