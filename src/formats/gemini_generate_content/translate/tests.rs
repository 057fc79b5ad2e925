//! Tests of the codec, by what it reads and writes.

mod grounding;
mod requests;
mod responses;
mod sent;
mod written;

use crate::formats::codecs;
use crate::formats::translate::Codec;

/// The codec of chat completions.
fn chat() -> &'static Codec {
    of("openai_chat")
}

/// The codec of messages.
fn messages() -> &'static Codec {
    of("anthropic_messages")
}

fn of(name: &str) -> &'static Codec {
    let mut all = codecs().into_iter();
    all.find(|codec| codec.name == name).unwrap()
}
