//! Translates what passes to a caller of another format.

use bytes::Bytes;

use super::whole::Pieces;
use crate::base::memory::{self, Hold, Memory};
use crate::exchange::translation::{Translated, no_memory};
use crate::formats::translate::{Failure, Translator};
use crate::wire::decode::Decoding;

/// What translates a response as it passes.
pub(in crate::exchange) struct Translating {
    state: State,
    /// What the caller gets, if that is kept, up to `room` bytes.
    raw: Option<Pieces>,
    room: usize,
}

enum State {
    Running(Box<Running>),
    Whole(Translated),
}

struct Running {
    translator: Box<dyn Translator>,
    /// Decompresses it before, if it is compressed.
    decoding: Option<Decoding>,
    /// Counts what is held of a response that isn't a stream.
    held: Hold,
    length: usize,
}

impl Translating {
    /// Translates a response as it comes.
    pub(in crate::exchange) fn new(
        translator: Box<dyn Translator>,
        decoding: Option<Decoding>,
        memory: &Memory,
    ) -> Self {
        Self::of(State::Running(Box::new(Running {
            translator,
            decoding,
            held: memory.hold(),
            length: 0,
        })))
    }

    /// Gives the caller what was translated.
    pub(in crate::exchange) fn whole(translated: Translated) -> Self {
        Self::of(State::Whole(translated))
    }

    fn of(state: State) -> Self {
        Self {
            state,
            raw: None,
            room: 0,
        }
    }

    /// Keeps up to `room` bytes of what the caller gets.
    pub(in crate::exchange) fn keep_raw(&mut self, room: usize) {
        (self.raw, self.room) = (Some(Pieces::default()), room);
    }

    /// What the caller gets of a piece, and why nothing follows, if that is so. The last piece ends the
    /// response.
    pub(super) fn pass(&mut self, piece: &[u8], is_last: bool) -> (Bytes, Option<Failure>) {
        let (out, failure) = match &mut self.state {
            State::Running(running) => running.pass(piece, is_last),
            State::Whole(translated) if is_last => {
                (translated.body.clone(), translated.failure.clone())
            }
            State::Whole(_) => (Bytes::new(), None),
        };
        if let Some(raw) = &mut self.raw {
            raw.hold(out.clone(), self.room);
        }
        (out, failure)
    }

    /// What the caller got, if that was kept.
    pub(super) fn take_raw(&mut self) -> Option<Bytes> {
        self.raw.take().map(Pieces::joined)
    }

    /// Whether an event can stand behind what the caller has.
    pub(super) fn takes_events(&self) -> bool {
        match &self.state {
            State::Running(running) => running.translator.takes_events(),
            State::Whole(_) => false,
        }
    }

    /// Whether all of the response was translated before it passes.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self.state, State::Whole(_))
    }

    /// Whether the caller's head says already that the provider has failed.
    pub(super) fn has_told(&self) -> bool {
        matches!(&self.state, State::Whole(translated) if translated.failure.is_some())
    }

    /// Whether anything of the response has been read.
    pub(super) fn has_begun(&self) -> bool {
        match &self.state {
            State::Running(running) => running.translator.has_begun(),
            State::Whole(_) => true,
        }
    }

    /// The response as the caller would have got it in one piece, as far as it came, and whether a part
    /// of it is missing.
    pub(super) fn response(&self) -> (Bytes, bool) {
        match &self.state {
            State::Running(running) => {
                let translator = &running.translator;
                (
                    translator.response().to_string().into(),
                    translator.is_cut(),
                )
            }
            State::Whole(translated) => (translated.response.clone(), false),
        }
    }
}

impl Running {
    fn pass(&mut self, piece: &[u8], is_last: bool) -> (Bytes, Option<Failure>) {
        let mut out = Vec::new();
        let decoded = self.decoding.as_mut().map(|decoding| decoding.feed(piece));
        let plain = decoded.as_deref().unwrap_or(piece);
        self.length = self.length.saturating_add(plain.len());
        if self.translator.is_held() && !self.held.try_reserve(memory::weighed(self.length)) {
            return (Bytes::new(), Some(no_memory()));
        }
        let mut result = self.translator.feed(plain, &mut out);
        if is_last && result.is_ok() {
            result = self.translator.finish(&mut out);
        }
        (out.into(), result.err())
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
