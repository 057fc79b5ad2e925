//! The content of a provider's message: a text, or a list of thoughts and texts, as Mistral's models that
//! think send it.

use super::{CONTENT, NAME};
use crate::formats::translate::{Content, Json, Object, Seal, SealKind, Text, Thought, object};

/// A piece of content, which isn't empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Text(&'a str),
    Thought(&'a str),
}

/// The pieces in their order. Others than texts and thoughts are skipped.
pub(super) fn pieces(content: &Json) -> Vec<Piece<'_>> {
    if let Some(text) = content.words() {
        return vec![Piece::Text(text)];
    }
    let mut pieces = Vec::new();
    for item in content.list() {
        match item.at("type").text() {
            Some("text") => pieces.extend(item.at("text").words().map(Piece::Text)),
            Some("thinking") => {
                let texts = item.at("thinking").list().iter();
                let texts = texts.filter_map(|inner| inner.at("text").words());
                pieces.extend(texts.map(Piece::Thought));
            }
            _ => {}
        }
    }
    pieces
}

/// The content of a whole message. Pieces of one kind that follow each other are one part, as in a stream.
pub(super) fn parts(content: &Json) -> Vec<Content> {
    let mut parts: Vec<Content> = Vec::new();
    for piece in pieces(content) {
        match (piece, parts.last_mut()) {
            (Piece::Text(more), Some(Content::Text(text))) => text.text.push_str(more),
            (Piece::Thought(more), Some(Content::Reasoning(thought))) => {
                thought.text.push_str(more);
            }
            (Piece::Text(text), _) => parts.push(Content::Text(Text::new(text))),
            (Piece::Thought(text), _) => parts.push(Content::Reasoning(thought(CONTENT, text))),
        }
    }
    parts
}

/// A thought that came under this key.
pub(super) fn thought(key: &str, text: &str) -> Thought {
    Thought {
        text: text.to_owned(),
        seal: Some(seal(key)),
    }
}

/// The seal of a thought that came under this key.
pub(super) fn seal(key: &str) -> Seal {
    Seal::new(NAME, SealKind::Signature, key)
}

/// A thought as its provider takes it back in a list.
pub(super) fn thinking(text: &str) -> Object {
    let inner = object! { "type": "text", "text": text };
    object! { "type": "thinking", "thinking": vec![inner] }
}
