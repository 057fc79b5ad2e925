//! Places in a text.

/// Characters between two marks.
const STEP: usize = 256;

/// A text that grows. It finds places without reading from its beginning: a response has thousands of them.
#[derive(Debug, Default)]
pub(super) struct Places {
    text: String,
    characters: usize,
    /// The byte at which each `STEP`th character begins.
    marks: Vec<usize>,
}

impl Places {
    /// Adds text at the end.
    pub(super) fn push(&mut self, more: &str) {
        for (at, _) in more.char_indices() {
            if self.characters.is_multiple_of(STEP) {
                self.marks.push(self.text.len() + at);
            }
            self.characters += 1;
        }
        self.text.push_str(more);
    }

    /// Bytes of the text.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// All of the text.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Bytes before this character; all bytes if the text has fewer characters.
    pub(super) fn bytes(&self, character: u64) -> usize {
        let character = usize::try_from(character).unwrap_or(usize::MAX);
        let mark = self.marks.get(character / STEP).copied();
        let rest = mark.and_then(|mark| Some((mark, self.text.get(mark..)?)));
        let place = rest.and_then(|(mark, rest)| {
            let (at, _) = rest.char_indices().nth(character % STEP)?;
            Some(mark + at)
        });
        place.unwrap_or(self.text.len())
    }

    /// Characters before this byte; `None` behind the end of the text and inside a character.
    pub(super) fn characters(&self, byte: u64) -> Option<u64> {
        let byte = usize::try_from(byte).ok()?;
        let marks = self.marks.partition_point(|mark| *mark <= byte);
        let before = marks.saturating_sub(1);
        let mark = self.marks.get(before).copied().unwrap_or(0);
        let rest = self.text.get(mark..byte)?.chars().count();
        u64::try_from(before * STEP + rest).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::Places;

    #[test]
    fn places_are_those_that_reading_from_the_beginning_finds() {
        let text = "aä€😀".repeat(200);
        let mut places = Places::default();
        let mut rest = text.as_str();
        while let Some(first) = rest.chars().next() {
            let (piece, next) = rest.split_at(rest.floor_char_boundary(7).max(first.len_utf8()));
            places.push(piece);
            rest = next;
        }
        assert_eq!(places.text(), text);
        for byte in 0..text.len() + 2 {
            let before = text.get(..byte).map(|before| before.chars().count() as u64);
            assert_eq!(places.characters(byte as u64), before, "{byte}");
        }
        for (character, (byte, _)) in text.char_indices().enumerate() {
            assert_eq!(places.bytes(character as u64), byte, "{character}");
        }
        for behind in [800, 801, u64::MAX] {
            assert_eq!(places.bytes(behind), text.len());
        }
        assert_eq!(Places::default().characters(0), Some(0));
        assert_eq!(Places::default().bytes(0), 0);
    }
}
