//! Translates what passes to a caller of another format.

use bytes::Bytes;

use crate::formats::translate::{Failure, ResponseTranslator};
use crate::wire::decode::Decoding;

/// What translates a response as it passes.
pub(in crate::exchange) struct Translating {
    translator: ResponseTranslator,
    /// Decompresses it before, if it is compressed.
    decoding: Option<Decoding>,
}

impl Translating {
    pub(in crate::exchange) fn new(
        translator: ResponseTranslator,
        decoding: Option<Decoding>,
    ) -> Self {
        Self {
            translator,
            decoding,
        }
    }

    /// What the caller gets of a piece, and why nothing follows, if that is so. The last piece ends the
    /// response.
    pub(super) fn pass(&mut self, piece: &[u8], is_last: bool) -> (Bytes, Option<Failure>) {
        let mut out = Vec::new();
        let mut result = match &mut self.decoding {
            Some(decoding) => self.translator.feed(&decoding.feed(piece), &mut out),
            None => self.translator.feed(piece, &mut out),
        };
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
