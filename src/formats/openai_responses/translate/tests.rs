//! Tests of the codec, by what it reads and writes.

mod provider;
mod reader;
mod request;
mod tools;
mod writer;

use super::CODEC;
use crate::formats::codecs;
use crate::formats::translate::checks::streamed;
use crate::formats::translate::{Codec, Content, Failure, Part, Response, ToolCall};
use crate::wire::Framing;

/// The codec of another format.
fn codec(name: &str) -> &'static Codec {
    let mut all = codecs().into_iter();
    all.find(|codec| codec.name == name).unwrap()
}

fn chat() -> &'static Codec {
    codec("openai_chat")
}

fn messages() -> &'static Codec {
    codec("anthropic_messages")
}

fn read_stream(stream: &[u8]) -> Result<Response, Failure> {
    streamed(&CODEC, Framing::Text, stream)
}

fn call(id: &str, name: &str, arguments: &str, is_freeform: bool) -> Part {
    Part::new(Content::ToolCall(ToolCall {
        id: id.to_owned(),
        name: name.to_owned(),
        arguments: arguments.to_owned(),
        is_freeform,
    }))
}
