//! Translates what passes to a caller of another format.

use bytes::Bytes;

use crate::base::memory::{self, Hold, Memory};
use crate::formats::translate::{Failure, Translator};
use crate::wire::decode::Decoding;

/// What translates a response as it passes.
pub(in crate::exchange) struct Translating {
    translator: Box<dyn Translator>,
    /// Decompresses it before, if it is compressed.
    decoding: Option<Decoding>,
    /// Counts what is held of a response that isn't a stream.
    held: Hold,
    length: usize,
}

impl Translating {
    pub(in crate::exchange) fn new(
        translator: Box<dyn Translator>,
        decoding: Option<Decoding>,
        memory: &Memory,
    ) -> Self {
        Self {
            translator,
            decoding,
            held: memory.hold(),
            length: 0,
        }
    }

    /// What the caller gets of a piece, and why nothing follows, if that is so. The last piece ends the
    /// response.
    pub(super) fn pass(&mut self, piece: &[u8], is_last: bool) -> (Bytes, Option<Failure>) {
        let mut out = Vec::new();
        let decoded = self.decoding.as_mut().map(|decoding| decoding.feed(piece));
        let plain = decoded.as_deref().unwrap_or(piece);
        self.length = self.length.saturating_add(plain.len());
        if self.translator.is_held() && !self.held.try_reserve(memory::weighed(self.length)) {
            let why = "the response can't be held for its translation: other requests hold all of limits.memory";
            return (Bytes::new(), Some(Failure::new(why)));
        }
        let mut result = self.translator.feed(plain, &mut out);
        if is_last && result.is_ok() {
            result = self.translator.finish(&mut out);
        }
        (out.into(), result.err())
    }

    /// Whether an event can stand behind what the caller has.
    pub(super) fn takes_events(&self) -> bool {
        self.translator.takes_events()
    }

    /// Whether anything of the response has been read.
    pub(super) fn has_begun(&self) -> bool {
        self.translator.has_begun()
    }

    /// The response as the caller would have got it in one piece, as far as it came, and whether a part
    /// of it is missing.
    pub(super) fn response(&self) -> (Bytes, bool) {
        let response = self.translator.response().to_string();
        (response.into(), self.translator.is_cut())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats;
    use crate::formats::translate::{Request, ResponseTranslator};

    #[test]
    fn a_response_that_is_held_counts_for_the_bound_on_memory() {
        let codec = |name| formats::named(name).unwrap().codec.unwrap();
        let (served, caller) = (codec("openai_chat"), codec("anthropic_messages"));
        let memory = Memory::new(1 << 20);
        let translating = || {
            let whole = ResponseTranslator::new(served, caller, Request::default(), None, 0);
            Translating::new(Box::new(whole), None, &memory)
        };
        let (mut first, mut second) = (translating(), translating());
        let piece = vec![b' '; 64 << 10];
        let mut passed = 0;
        while first.pass(&piece, false).1.is_none() {
            passed += 1;
        }
        assert!(passed > 0);
        drop(first);
        assert!(second.pass(&piece, false).1.is_none(), "room came free");
    }
}
