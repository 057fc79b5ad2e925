//! A response in the form that all formats are translated from and to: as events, and as a whole.

use super::{Citation, Content, LogProb, Media, Part, Seal, Text, Thought, ToolCall, Usage};

/// An event of a response. A reader gives them in this order, whatever its provider does:
///
/// ```text
/// Start (Open Delta* Close)* Stop, with Usage anywhere after Start
/// ```
///
/// At most one part is open at a time.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The response begins.
    Start {
        /// Its id.
        id: Option<String>,
        /// The model, as the provider names it.
        model: Option<String>,
    },
    /// A part begins.
    Open(Open),
    /// More of the part that is open.
    Delta(Delta),
    /// The part is whole.
    Close,
    /// What has been used so far. It counts the whole response up to here.
    Usage(Usage),
    /// The model has stopped.
    Stop(Stop),
}

/// What begins.
#[derive(Clone, Debug, PartialEq)]
pub enum Open {
    /// A text.
    Text,
    /// A thought.
    Reasoning,
    /// The model declines.
    Refusal,
    /// A call of a tool.
    ToolCall {
        /// Its id; empty if the format has none.
        id: String,
        /// The tool.
        name: String,
        /// It takes a text instead of parameters.
        is_freeform: bool,
    },
    /// A medium, which comes whole.
    Media(Media),
}

/// More of a part.
#[derive(Clone, Debug, PartialEq)]
pub enum Delta {
    /// More of a text, a thought, a refusal, or the JSON text of a call's parameters.
    Text(String),
    /// What a text quotes.
    Citation(Citation),
    /// Log probabilities of a text's tokens.
    LogProbs(Vec<LogProb>),
    /// The seal of a thought.
    Seal(Seal),
}

/// Why a model stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stop {
    /// It has said all.
    #[default]
    End,
    /// The response is as long as the caller allows.
    MaxTokens,
    /// The prompt and the response are as long as the model allows.
    ContextFull,
    /// One of the caller's stop sequences; which, where the provider says so.
    Sequence(Option<String>),
    /// It calls tools.
    ToolUse,
    /// The model or a filter of the provider declines.
    Refused,
    /// A long turn of the provider's own tools was interrupted, and can be gone on with.
    Paused,
}

/// A whole response.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Response {
    /// Its id.
    pub id: Option<String>,
    /// The model, as the provider names it.
    pub model: Option<String>,
    /// What it says.
    pub parts: Vec<Part>,
    /// Why the model stopped.
    pub stop: Stop,
    /// What it has used.
    pub usage: Usage,
}

impl Response {
    /// The events that it would have come as.
    #[must_use]
    pub fn into_events(self) -> Vec<Event> {
        let mut events = vec![Event::Start {
            id: self.id,
            model: self.model,
        }];
        for part in self.parts {
            let (open, deltas) = match part.content {
                Content::Text(text) => (Open::Text, of_text(text)),
                Content::Refusal(text) => (Open::Refusal, vec![Delta::Text(text)]),
                Content::Reasoning(thought) => {
                    let seal = thought.seal.map(Delta::Seal);
                    let deltas = text_delta(thought.text).into_iter().chain(seal);
                    (Open::Reasoning, deltas.collect())
                }
                Content::ToolCall(call) => {
                    let deltas = text_delta(call.arguments).into_iter().collect();
                    let open = Open::ToolCall {
                        id: call.id,
                        name: call.name,
                        is_freeform: call.is_freeform,
                    };
                    (open, deltas)
                }
                Content::Media(media) => (Open::Media(media), Vec::new()),
                // A response has none.
                Content::ToolResult(_) => continue,
            };
            events.push(Event::Open(open));
            events.extend(deltas.into_iter().map(Event::Delta));
            events.push(Event::Close);
        }
        if !self.usage.is_empty() {
            events.push(Event::Usage(self.usage));
        }
        events.push(Event::Stop(self.stop));
        events
    }

    /// Whether it calls tools.
    #[must_use]
    pub fn has_tool_calls(&self) -> bool {
        let mut parts = self.parts.iter();
        parts.any(|part| matches!(part.content, Content::ToolCall(_)))
    }
}

fn text_delta(text: String) -> Option<Delta> {
    (!text.is_empty()).then_some(Delta::Text(text))
}

fn of_text(text: Text) -> Vec<Delta> {
    let logprobs = (!text.logprobs.is_empty()).then_some(Delta::LogProbs(text.logprobs));
    let citations = text.citations.into_iter().map(Delta::Citation);
    let words = text_delta(text.text).into_iter();
    words.chain(logprobs).chain(citations).collect()
}

/// Collects events into the response that they stand for.
#[derive(Debug)]
pub struct Collector {
    response: Response,
    /// Bytes that may still be held.
    room: usize,
    is_full: bool,
}

impl Collector {
    /// A collector that holds about `room` bytes.
    #[must_use]
    pub fn new(room: usize) -> Self {
        Self {
            response: Response::default(),
            room,
            is_full: false,
        }
    }

    /// Takes an event. Of an event that doesn't fit, only the end is kept.
    pub fn add(&mut self, event: &Event) {
        match event {
            Event::Start { id, model } => {
                self.response.id.clone_from(id);
                self.response.model.clone_from(model);
            }
            Event::Open(open) => {
                let size = 64 + open.size();
                if self.has_room(size) {
                    self.response.parts.push(Part::new(open.clone().begun()));
                }
            }
            Event::Delta(delta) => {
                if self.has_room(delta.size())
                    && let Some(part) = self.response.parts.last_mut()
                {
                    append(&mut part.content, delta);
                }
            }
            Event::Close => {}
            Event::Usage(usage) => self.response.usage.add(*usage),
            Event::Stop(stop) => self.response.stop = stop.clone(),
        }
    }

    /// Whether there was not room for all.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// The response, as far as it came.
    #[must_use]
    pub fn response(&self) -> &Response {
        &self.response
    }

    fn has_room(&mut self, size: usize) -> bool {
        if self.is_full || size > self.room {
            self.is_full = true;
            return false;
        }
        self.room -= size;
        true
    }
}

impl Open {
    fn begun(self) -> Content {
        match self {
            Self::Text => Content::Text(Text::default()),
            Self::Reasoning => Content::Reasoning(Thought::default()),
            Self::Refusal => Content::Refusal(String::new()),
            Self::ToolCall {
                id,
                name,
                is_freeform,
            } => Content::ToolCall(ToolCall {
                id,
                name,
                arguments: String::new(),
                is_freeform,
            }),
            Self::Media(media) => Content::Media(media),
        }
    }

    /// About how many bytes it takes.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::ToolCall { id, name, .. } => id.len() + name.len(),
            Self::Media(media) => media.url().map_or(0, |url| url.len()),
            _ => 0,
        }
    }
}

impl Delta {
    /// About how many bytes it takes.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Seal(seal) => seal.value.len(),
            Self::Citation(citation) => {
                let texts = [&citation.url, &citation.title, &citation.quote];
                64 + texts.into_iter().flatten().map(String::len).sum::<usize>()
            }
            Self::LogProbs(all) => all.iter().map(|one| 64 * (1 + one.top.len())).sum(),
        }
    }
}

fn append(content: &mut Content, delta: &Delta) {
    match (content, delta) {
        (Content::Text(text), Delta::Text(more)) => text.text.push_str(more),
        (Content::Text(text), Delta::Citation(citation)) => text.citations.push(citation.clone()),
        (Content::Text(text), Delta::LogProbs(more)) => text.logprobs.extend_from_slice(more),
        (Content::Refusal(text), Delta::Text(more)) => text.push_str(more),
        (Content::Reasoning(thought), Delta::Text(more)) => thought.text.push_str(more),
        (Content::Reasoning(thought), Delta::Seal(seal)) => thought.seal = Some(seal.clone()),
        (Content::ToolCall(call), Delta::Text(more)) => call.arguments.push_str(more),
        _ => {}
    }
}
