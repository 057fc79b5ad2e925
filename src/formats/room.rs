//! How much of a response a meter may hold.

use crate::base::memory::Hold;

/// Bytes that a response may hold without being counted.
const UNCOUNTED: usize = 16 << 10;
/// Bytes that are counted at a time.
const STEP: usize = 64 << 10;

/// How many bytes of an answer may still be held.
#[derive(Debug)]
pub(super) struct Room {
    left: usize,
    taken: usize,
    hold: Hold,
    /// Something had to be left out.
    pub short: bool,
}

impl Room {
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            left: bytes,
            taken: 0,
            hold: Hold::default(),
            short: false,
        }
    }

    /// Takes room for `bytes`, if there is any.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        if let Some(left) = self.left.checked_sub(bytes)
            && self.is_counted(self.taken + bytes)
        {
            self.left = left;
            self.taken += bytes;
            return true;
        }
        self.short = true;
        false
    }

    fn is_counted(&mut self, bytes: usize) -> bool {
        bytes <= UNCOUNTED || self.hold.try_reserve(bytes.next_multiple_of(STEP))
    }

    /// Appends text as far as there is room for it, never part of a piece.
    pub(super) fn push(&mut self, into: &mut String, text: &str) {
        if self.take(text.len()) {
            into.push_str(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::memory::{LEAST, Memory};

    #[test]
    fn without_memory_there_is_no_room() {
        let memory = Memory::new(LEAST);
        let mut room = Room::new(LEAST * 2);
        room.hold = memory.hold();
        let mut taken = 0;
        while room.take(100_000) {
            taken += 100_000;
        }
        assert!(room.short && taken <= LEAST, "{taken}");
        assert!(memory.usage().held >= taken);
        // A little is always there.
        let mut small = Room::new(LEAST);
        small.hold = memory.hold();
        assert!(small.take(UNCOUNTED));
    }
}
