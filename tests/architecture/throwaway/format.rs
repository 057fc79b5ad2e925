//! A format that only a test has: lines that come back. `tests/architecture/throwaway.rs` adds it to
//! a copy of the sources.

use bytes::Bytes;

use super::{Call, Flag, Format, Head, Meter, Pass, Reading, Tokens, known, tree};
use crate::wire::{Rejection, sse};

const ENDPOINT: &str = "/v1/throwaway";

static FLAG: Flag = Flag {
    name: "throwaway_lines",
    text: "Lines that come back.",
    is_default: false,
    vendor: None,
};

pub(super) static FORMAT: Format = Format {
    flags: &[&FLAG],
    endpoint: Some(ENDPOINT),
    paths: &[ENDPOINT],
    operation: "echo",
    ..Format::new("throwaway", &known::COMPANIONS, read, |_| {
        Box::new(Counted::default())
    })
};

fn read(_: &Head<'_>, body: Bytes) -> Result<Call, Rejection> {
    let (call, _) = Call::of_json(ENDPOINT, body, &["model", "stream"])?;
    Ok(call)
}

#[derive(Default)]
struct Counted(Reading);

impl Meter for Counted {
    fn event(&mut self, _: &sse::Event<'_>) -> Pass {
        Pass::Through
    }

    fn body(&mut self, body: &[u8]) {
        let tokens = tree::read(body, |response| {
            let count = |path| response.at(path).and_then(tree::counted);
            Tokens {
                input: count("lines/taken"),
                output: count("lines/given"),
                ..Tokens::default()
            }
        });
        self.0.tokens = tokens.unwrap_or_default();
    }

    fn has_output(&self) -> bool {
        self.0.tokens.output.is_some()
    }

    fn is_complete(&self) -> bool {
        self.has_output()
    }

    fn finish(&mut self) -> Reading {
        std::mem::take(&mut self.0)
    }
}
