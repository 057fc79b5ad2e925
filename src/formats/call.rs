//! A request as its format understands it, and what becomes of it for a provider.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;

use super::known::{self, Choice, Why};
use super::session_names::Names;
use super::{Splice, body, tokens};
use crate::base::text::Text;
use crate::wire::{Rejection, json};

/// The part of a request in front of its body.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Path, as it came.
    pub path: &'a str,
    /// Query, as it came.
    pub query: Option<&'a str>,
    /// Headers.
    pub headers: &'a HeaderMap,
}

/// A request as its format understands it; the bytes are kept as they came.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// The model as the caller named it.
    pub model: Text,
    /// Whether the caller wants the response as a stream.
    pub stream: bool,
    /// Whether the response is made after the request has ended, and asked for by its id.
    pub background: bool,
    /// Whether the provider charges for it: counting tokens, for one, is free.
    pub billed: bool,
    /// The most tokens that the response may have, where the caller sets a bound.
    pub answer_limit: Option<u64>,
    /// Keys of the body that choose more than the model does.
    pub choices: Vec<Choice>,
    /// The session that the body names, for formats that have a place for it.
    pub session: Option<String>,
    /// The response that it goes on with, by its id.
    pub previous_response: Option<String>,
    /// What else the provider keeps that it names instead of sending it.
    pub kept_elsewhere: KeptElsewhere,
    /// Stands for how the conversation began: the same for each of its turns.
    pub opening: Option<u64>,
    /// Tokens of the conversation that the provider holds already, and reads again.
    pub held_tokens: u64,
    /// What of a conversation is sound, which can cost more than text.
    pub sound: Sound,
    /// How the caller's session names its model, for a message of one.
    pub session_model: Option<Arc<Names>>,
    /// Where it goes below a provider's base URL.
    pub path: Path,
    /// The whole body.
    pub body: Bytes,
    /// Where the body may have to be changed.
    pub splice: Splice,
}

/// What of a conversation is sound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sound {
    /// How many of the tokens that the provider holds stand for it.
    pub held_tokens: u64,
    /// Whether the response may be spoken.
    pub may_answer: bool,
}

/// What a provider keeps and a request names, besides the response that it goes on with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptElsewhere {
    /// Items of a conversation.
    pub items: Vec<NamedItem>,
    /// A conversation, by its id.
    pub conversation: Option<String>,
}

impl KeptElsewhere {
    /// Whether nothing is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.conversation.is_none()
    }
}

/// An item of a conversation that a request names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedItem {
    /// Its id.
    pub id: String,
    /// The request has only its id. Otherwise a server that keeps nothing can use what is there, such as a summary of
    /// reasoning.
    pub is_bare: bool,
}

/// Path of a request below a provider's base URL, its version segment included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Path {
    /// The body names the model.
    Fixed(Cow<'static, str>),
    /// The path names the model: what stands before it, and after.
    Around {
        /// Up to the model.
        before: String,
        /// From the model on.
        after: String,
    },
}

/// Where a call goes.
#[derive(Clone, Copy, Debug)]
pub struct Destination<'a> {
    /// The model as the provider names it.
    pub model: &'a str,
    /// The cloud project that the provider's credential belongs to.
    pub project: Option<&'a str>,
    /// The cloud region of the provider's base URL.
    pub region: Option<&'a str>,
    /// Compatibility flags of the provider.
    pub flags: &'a [&'static str],
}

/// What goes to the provider.
#[derive(Debug)]
pub struct Outbound {
    /// Path below the provider's base URL, with its version segment.
    pub path: Cow<'static, str>,
    /// The body, the caller's own unless something had to change.
    pub body: Bytes,
}

/// The request whose response is metered, as it was sent to the provider.
#[derive(Clone, Copy, Debug)]
pub struct MeteredRequest<'a> {
    /// Where it went.
    pub path: &'a Path,
    /// Whether the provider charges for it. A count of tokens is a forecast, not usage.
    pub billed: bool,
    /// The usage of a stream was asked for by the gateway alone.
    pub hide_usage: bool,
    /// Bytes of it that count as text.
    pub text_bytes: u64,
    /// Bytes that may be held of what a stream says.
    pub room: usize,
}

impl Default for Path {
    fn default() -> Self {
        Self::Fixed(Cow::Borrowed(""))
    }
}

impl Call {
    /// A call whose model stands in the JSON body, at the range that `splice` tells.
    pub(super) fn new(model: impl Into<Text>, body: Bytes) -> Self {
        Self {
            model: model.into(),
            billed: true,
            body,
            ..Self::default()
        }
    }

    /// The same message as one of the session that `other` is of.
    #[must_use]
    pub fn of_session(self, other: &Self) -> Self {
        Self {
            session: other.session.clone(),
            held_tokens: other.held_tokens,
            sound: other.sound,
            session_model: other.session_model.clone(),
            ..self
        }
    }

    /// A call for a path whose body is JSON, with the values of `keys`: the first two are those of the
    /// model and of whether the response is to be a stream.
    ///
    /// # Errors
    /// A 400 if the body isn't a JSON object, names no model, or could be read in two ways.
    pub(super) fn of_json(
        path: &'static str,
        body: Bytes,
        keys: &[&str],
    ) -> Result<(Self, json::Fields), Rejection> {
        let fields = body::scan(&body, keys)?;
        let model = body::model(&body, fields.get(0))?;
        let call = Self {
            stream: body::flag(&body, fields.get(1), "stream")?,
            choices: known::choices(&body, &fields.members),
            path: Path::Fixed(Cow::Borrowed(path)),
            splice: Splice::at(fields.get(0)),
            ..Self::new(model, body)
        };
        Ok((call, fields))
    }

    /// The value of one of the keys that its body was scanned for.
    pub(super) fn value(&self, fields: &json::Fields, nth: usize) -> Option<&[u8]> {
        fields.get(nth).map(|at| &self.body[at])
    }

    /// Adds the models that tools and plugins of the request name.
    pub(super) fn add_models_of_tools(&mut self, fields: &json::Fields) {
        let models = known::models_of_tools(&self.body, &fields.members);
        self.choices.extend(models);
    }

    /// The same call without what the gateway has added to be told the usage of a stream.
    #[must_use]
    pub fn without_usage_asked(&self) -> Self {
        let mut plain = self.clone();
        if plain.splice.hide_usage {
            plain.splice.edits.clear();
        }
        plain
    }

    /// What the meter of its response needs to know, which may hold `room` bytes.
    #[must_use]
    pub fn metered(&self, room: usize) -> MeteredRequest<'_> {
        MeteredRequest {
            path: &self.path,
            billed: self.billed,
            hide_usage: self.splice.hide_usage,
            text_bytes: self.text_bytes(),
            room,
        }
    }

    /// Bytes that count as text: those of the body, where a picture or a file counts as what a model sees of
    /// it, and those that the provider holds already.
    #[must_use]
    pub fn text_bytes(&self) -> u64 {
        let held = self.held_tokens.saturating_mul(tokens::BYTES_PER_TOKEN);
        held.saturating_add(self.body_text_bytes())
    }

    fn body_text_bytes(&self) -> u64 {
        if self.body.trim_ascii_start().starts_with(b"{") {
            tokens::text_bytes(&self.body)
        } else {
            self.body.len() as u64
        }
    }

    /// The request for a provider, when nothing but the model's name may have to change.
    pub(super) fn outbound(&self, model: &str) -> Outbound {
        let path = match &self.path {
            Path::Fixed(path) => path.clone(),
            Path::Around { before, after } => {
                Cow::Owned(format!("{before}{}{after}", body::path_segment(model)))
            }
        };
        let renamed = (self.model != model).then_some(model);
        let mut splice = Cow::Borrowed(&self.splice);
        if let Some(model) = renamed {
            let again = self.named_again();
            if !again.is_empty() {
                let literal = serde_json::Value::from(model).to_string();
                let edits = again.into_iter().map(|at| (at, literal.clone().into()));
                splice.to_mut().edits.extend(edits);
            }
        }
        Outbound {
            path,
            body: splice.apply(&self.body, renamed),
        }
    }

    /// Whether a list of models beside `model` can name it as the caller does: the name is replaced
    /// there too.
    #[must_use]
    pub fn replaces_lists(&self) -> bool {
        self.splice.json && self.splice.model.is_some()
    }

    /// Where the model stands once more, in lists of models.
    fn named_again(&self) -> Vec<Range<usize>> {
        let lists = self.choices.iter().filter(|one| one.why == Why::Model);
        if !self.replaces_lists() || lists.clone().next().is_none() {
            return Vec::new();
        }
        let mut found = Vec::new();
        for (key, value) in json::members(&self.body).unwrap_or_default() {
            let key = json::string(&self.body[key]).unwrap_or_default();
            if !lists.clone().any(|one| one.key == key) {
                continue;
            }
            let names = json::strings(&self.body[value.clone()]).into_iter();
            let places = names.map(|name| body::inside(&value, name.at));
            let is_model = |at: &Range<usize>| {
                json::string(&self.body[at.clone()]).is_some_and(|name| *name == *self.model)
            };
            found.extend(places.filter(is_model));
        }
        found
    }
}
