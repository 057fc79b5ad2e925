//! A stream for a caller.

use super::write_response::{detail, detail_of_next};
use super::{annotation, finish_reason, logprobs, usage};
use crate::formats::translate::{
    Delta, Event, EventWriter, Failure, Object, Open, Request, Seal, SealKind, Stop, Thought,
    Usage, hold, id_or_new, object, write_sse,
};

/// Writes a stream.
#[derive(Debug)]
pub(super) struct Writer {
    /// The id, once the stream has begun.
    id: Option<String>,
    model: String,
    created: u64,
    wants_usage: bool,
    open: State,
    /// Characters of the text so far.
    length: u64,
    /// The thought that is open, to be repeated with its seal; `None` if it is too long.
    thought: Option<Thought>,
    /// There was a seal of a thought that is too long.
    has_lost: bool,
    /// A seal that belongs to the next part.
    next: Option<Seal>,
    /// How many calls have begun.
    calls: u64,
    /// The open call has parameters.
    has_arguments: bool,
    stop: Stop,
    usage: Usage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Between,
    Text,
    Refusal,
    Thought,
    Call { is_freeform: bool },
}

impl Writer {
    pub(super) fn new(request: &Request) -> Self {
        Self {
            id: None,
            model: request.model.clone(),
            created: request.created,
            wants_usage: request.wants_usage(),
            open: State::Between,
            length: 0,
            thought: Some(Thought::default()),
            has_lost: false,
            next: None,
            calls: 0,
            has_arguments: false,
            stop: Stop::End,
            usage: Usage::default(),
        }
    }

    fn start(&mut self, id: Option<String>, model: Option<String>, out: &mut Vec<u8>) {
        if self.id.is_some() {
            return;
        }
        self.id = Some(id_or_new(id, "chatcmpl-"));
        if let Some(model) = model {
            self.model = model;
        }
        self.delta(object! { "role": "assistant", "content": "" }, out);
    }

    fn chunk(&self, choices: Vec<Object>) -> Object {
        let mut chunk = object! {
            "id": self.id.as_deref().unwrap_or_default(),
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": &self.model,
            "choices": choices,
        };
        // Of a stream that ends with the usage, every other chunk says that it has none.
        if self.wants_usage {
            chunk.put("usage", None::<Object>);
        }
        chunk
    }

    fn choice(
        &self,
        delta: Object,
        tokens: Option<Object>,
        reason: Option<&str>,
        out: &mut Vec<u8>,
    ) {
        let choice = object! {
            "index": 0_u64,
            "delta": delta,
            "logprobs": tokens,
            "finish_reason": reason,
        };
        write_sse(out, "", &self.chunk(vec![choice]));
    }

    fn delta(&self, delta: Object, out: &mut Vec<u8>) {
        self.choice(delta, None, None, out);
    }

    fn call(&self, mut call: Object, out: &mut Vec<u8>) {
        let mut indexed = object! { "index": self.calls.saturating_sub(1) };
        for key in ["id", "type", "function", "custom"] {
            indexed.put_some(key, call.take(key));
        }
        self.delta(object! { "tool_calls": vec![indexed] }, out);
    }

    fn details(&self, detail: Option<Object>, out: &mut Vec<u8>) {
        if let Some(detail) = detail {
            self.delta(object! { "reasoning_details": vec![detail] }, out);
        }
    }

    fn open(&mut self, open: Open, out: &mut Vec<u8>) {
        self.start(None, None, out);
        self.close(out);
        self.open = match open {
            Open::Text => State::Text,
            Open::Refusal => State::Refusal,
            Open::Reasoning => State::Thought,
            Open::ToolCall {
                id,
                name,
                is_freeform,
            } => {
                let id = id_or_new(Some(id), "call_");
                let next = self.next.take();
                self.details(next.and_then(|seal| detail_of_next(&seal, &id)), out);
                self.calls += 1;
                self.has_arguments = false;
                let (kind, key) = kind(is_freeform);
                let mut inner = object! { "name": name };
                inner.put(key, "");
                let mut call = object! { "id": id, "type": kind };
                call.put(kind, inner);
                self.call(call, out);
                State::Call { is_freeform }
            }
            Open::Media(_) => State::Between,
        };
    }

    fn add(&mut self, delta: Delta, out: &mut Vec<u8>) {
        match (self.open, delta) {
            (State::Text, Delta::Text(text)) => {
                self.length += text.chars().count() as u64;
                self.delta(object! { "content": text }, out);
            }
            (State::Text, Delta::LogProbs(tokens)) => {
                self.choice(Object::default(), Some(logprobs::write(&tokens)), None, out);
            }
            (State::Text, Delta::Citation(citation)) => {
                if let Some(annotation) = annotation(&citation, self.length) {
                    self.delta(object! { "annotations": vec![annotation] }, out);
                }
            }
            (State::Refusal, Delta::Text(text)) => self.delta(object! { "refusal": text }, out),
            (State::Thought, Delta::Text(text)) => {
                let held = self.thought.as_mut();
                if held.is_some_and(|thought| hold(&mut thought.text, &text).is_err()) {
                    self.thought = None;
                }
                self.delta(object! { "reasoning_content": text }, out);
            }
            (State::Thought, Delta::Seal(seal)) if seal.kind == SealKind::Next => {
                self.next = Some(seal);
            }
            (State::Thought, Delta::Seal(seal)) => match &mut self.thought {
                Some(thought) => thought.seal = Some(seal),
                None => self.has_lost = true,
            },
            (State::Call { is_freeform }, Delta::Text(text)) => {
                self.has_arguments = true;
                self.arguments(is_freeform, &text, out);
            }
            _ => {}
        }
    }

    fn arguments(&self, is_freeform: bool, text: &str, out: &mut Vec<u8>) {
        let (kind, key) = kind(is_freeform);
        let (mut inner, mut call) = (Object::default(), Object::default());
        inner.put(key, text);
        call.put(kind, inner);
        self.call(call, out);
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        match std::mem::replace(&mut self.open, State::Between) {
            State::Thought => {
                let thought = self.thought.replace(Thought::default());
                self.details(thought.as_ref().and_then(detail), out);
            }
            State::Call { is_freeform: false } if !self.has_arguments => {
                self.arguments(false, "{}", out);
            }
            _ => {}
        }
    }
}

fn kind(is_freeform: bool) -> (&'static str, &'static str) {
    if is_freeform {
        ("custom", "input")
    } else {
        ("function", "arguments")
    }
}

impl EventWriter for Writer {
    fn write(&mut self, event: Event, out: &mut Vec<u8>) {
        match event {
            Event::Start { id, model } => self.start(id, model, out),
            Event::Open(open) => self.open(open, out),
            Event::Delta(delta) => self.add(delta, out),
            Event::Close => self.close(out),
            Event::Usage(usage) => self.usage.add(usage),
            Event::Stop(stop) => {
                self.close(out);
                self.stop = stop;
            }
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.start(None, None, out);
        self.close(out);
        let next = self.next.take();
        self.details(next.and_then(|seal| detail_of_next(&seal, "")), out);
        self.choice(
            Object::default(),
            None,
            Some(finish_reason(&self.stop)),
            out,
        );
        if self.wants_usage {
            let mut chunk = self.chunk(Vec::new());
            chunk.put("usage", usage(&self.usage));
            write_sse(out, "", &chunk);
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    fn ping(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b": ping\n\n");
    }

    fn check(&self) -> Result<(), Failure> {
        if self.has_lost {
            let why = "a thought of the provider's stream is too long to repeat it with its seal";
            return Err(Failure::new(why));
        }
        Ok(())
    }
}
