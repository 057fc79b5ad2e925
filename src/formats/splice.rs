//! Changes to a body, as ranges: whatever they don't name travels on byte for byte.

use std::borrow::Cow;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

/// Ranges of a body that may be replaced on its way to a provider.
#[derive(Clone, Debug, Default)]
pub struct Splice {
    /// The model's name, where the body holds it.
    pub model: Option<Range<usize>>,
    /// The name stands in a JSON string, quotes included; else it is plain text.
    pub json: bool,
    /// Text to put in place of other ranges; an empty range inserts. Apart from each other.
    pub edits: Vec<(Range<usize>, Cow<'static, str>)>,
    /// The caller did not ask for the usage event that the edits ask for.
    pub hide_usage: bool,
}

impl Splice {
    /// For a JSON body that has the model's name at `model`.
    pub(super) fn at(model: Option<Range<usize>>) -> Self {
        Self {
            model,
            json: true,
            ..Self::default()
        }
    }

    /// The body with the edits, and with another model's name if `model` is given. Without any
    /// the bytes are the caller's own.
    pub(super) fn apply(&self, body: &Bytes, model: Option<&str>) -> Bytes {
        let mut edits: Vec<(Range<usize>, Cow<'_, str>)> = self.edits.clone();
        if let (Some(at), Some(model)) = (&self.model, model) {
            let name = if self.json {
                Cow::Owned(serde_json::Value::from(model).to_string())
            } else {
                Cow::Borrowed(model)
            };
            edits.push((at.clone(), name));
        }
        if edits.is_empty() {
            return body.clone();
        }
        edits.sort_by_key(|(at, _)| at.start);
        let grown: usize = edits.iter().map(|(_, text)| text.len()).sum();
        let mut out = BytesMut::with_capacity(body.len() + grown);
        let mut copied = 0;
        for (at, text) in edits {
            out.extend_from_slice(&body[copied..at.start]);
            out.extend_from_slice(text.as_bytes());
            copied = at.end;
        }
        out.extend_from_slice(&body[copied..]);
        out.freeze()
    }
}
