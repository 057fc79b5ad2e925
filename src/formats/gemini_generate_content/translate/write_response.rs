//! A response for a caller.

use super::grounding::Grounding;
use super::places::Places;
use super::{finish_reason, logprobs, signature, usage};
use crate::formats::translate::{
    Citation, Delivery, Delta, Event, EventWriter, Failure, Json, LONGEST, LogProb, Media, Object,
    Open, Request, Response, Seal, SealKind, Source, Stop, ToolCall, Usage, id_or_new, object,
    write_sse,
};

pub(super) fn whole(request: &Request, response: Response) -> Object {
    let (mut pieces, mut parts) = (Pieces::new(request), Vec::new());
    for event in response.clone().into_events() {
        for part in pieces.take(event) {
            join(part, &mut parts);
        }
    }
    parts.extend(pieces.rest());
    let mut candidate = pieces.candidate(parts);
    candidate.put("finishReason", finish_reason(&response.stop));
    std::mem::take(&mut pieces.grounding).put(&mut candidate);
    let mut out = object! { "candidates": vec![candidate] };
    out.put("usageMetadata", usage::write(&response.usage));
    let model = response.model.unwrap_or_else(|| request.model.clone());
    out.put("modelVersion", model);
    out.put("responseId", id_or_new(response.id, ""));
    out
}

/// Adds a part. In a whole response, pieces of one text are one, and so are a thought and its signature.
fn join(mut part: Object, parts: &mut Vec<Object>) {
    let keys =
        |part: &Object| -> Vec<String> { part.members().map(|(key, _)| key.to_owned()).collect() };
    let is_text = |part: &Object| keys(part) == ["text"];
    let is_thought = |part: &Object| keys(part) == ["text", "thought"];
    match parts.last_mut() {
        Some(last) if is_text(last) && is_text(&part) => {
            if let (Some(Json::Text(text)), Some(Json::Text(more))) =
                (last.at_mut("text"), part.take("text"))
            {
                text.push_str(&more);
            }
        }
        Some(last)
            if is_thought(last) && keys(&part) == ["text", "thought", "thoughtSignature"] =>
        {
            last.put_some("thoughtSignature", part.take("thoughtSignature"));
        }
        _ => parts.push(part),
    }
}

/// Turns events into parts of content. A part is held as far as it has come; what gives the events bounds its
/// length.
#[derive(Debug)]
struct Pieces {
    /// Whether the caller reads thoughts. Others take the first part for the response.
    shows_thoughts: bool,
    open: State,
    /// The open text, and how many bytes of others came before.
    text: Places,
    before: u64,
    citations: Vec<Citation>,
    grounding: Grounding,
    /// Bytes of citations and seals so far.
    held: usize,
    tokens: Vec<LogProb>,
    /// Bytes of these.
    of_tokens: usize,
    /// The open call.
    call: ToolCall,
    /// The seal of the open thought.
    seal: Option<Seal>,
    /// Seals that go with the next part.
    next: Vec<Seal>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Between,
    Call,
    Text,
    Thought { has_text: bool },
}

impl Pieces {
    fn new(request: &Request) -> Self {
        Self {
            shows_thoughts: request.shows_thoughts == Some(true),
            open: State::Between,
            text: Places::default(),
            before: 0,
            citations: Vec::new(),
            grounding: Grounding::default(),
            held: 0,
            tokens: Vec::new(),
            of_tokens: 0,
            call: ToolCall::default(),
            seal: None,
            next: Vec::new(),
        }
    }

    /// The parts that an event completes.
    fn take(&mut self, event: Event) -> Vec<Object> {
        let mut out = Vec::new();
        match event {
            Event::Open(open) => {
                self.close(&mut out);
                self.open(open, &mut out);
            }
            Event::Delta(delta) => self.delta(delta, &mut out),
            Event::Close | Event::Stop(_) => self.close(&mut out),
            Event::Start { .. } | Event::Usage(_) => {}
        }
        out
    }

    fn open(&mut self, open: Open, out: &mut Vec<Object>) {
        self.open = match open {
            Open::Text | Open::Refusal => State::Text,
            Open::Reasoning => State::Thought { has_text: false },
            Open::ToolCall {
                id,
                name,
                is_freeform,
            } => {
                self.call = ToolCall {
                    id,
                    name,
                    arguments: String::new(),
                    is_freeform,
                };
                State::Call
            }
            Open::Media(media) => {
                self.push(self::media(&media), out);
                State::Between
            }
        };
    }

    fn delta(&mut self, delta: Delta, out: &mut Vec<Object>) {
        self.count(&delta);
        match (self.open, delta) {
            (State::Text, Delta::Text(text)) => {
                self.text.push(&text);
                self.push(object! { "text": text }, out);
            }
            (State::Text, Delta::Citation(citation)) => self.citations.push(citation),
            (State::Text, Delta::LogProbs(tokens)) => self.tokens.extend(tokens),
            (State::Thought { .. }, Delta::Text(text)) => {
                self.open = State::Thought { has_text: true };
                if self.shows_thoughts {
                    out.push(object! { "text": text, "thought": true });
                }
            }
            (State::Thought { .. }, Delta::Seal(seal)) => self.seal = Some(seal),
            (State::Call, Delta::Text(text)) => self.call.arguments.push_str(&text),
            _ => {}
        }
    }

    /// Counts what is held of a delta beyond its part.
    fn count(&mut self, delta: &Delta) {
        let held = match delta {
            Delta::Text(_) => return,
            Delta::LogProbs(_) => &mut self.of_tokens,
            Delta::Citation(_) | Delta::Seal(_) => &mut self.held,
        };
        *held = held.saturating_add(delta.size());
    }

    fn close(&mut self, out: &mut Vec<Object>) {
        match std::mem::replace(&mut self.open, State::Between) {
            State::Between => {}
            State::Text => {
                let text = std::mem::take(&mut self.text);
                for citation in self.citations.drain(..) {
                    self.grounding.add(&citation, &text, self.before);
                }
                self.before = self.before.saturating_add(text.len() as u64);
            }
            State::Call => {
                let call = std::mem::take(&mut self.call);
                let mut function = Object::default();
                function.put_some("id", (!call.id.is_empty()).then_some(&call.id));
                function.put("name", &call.name);
                function.put("args", call.input());
                self.push(object! { "functionCall": function }, out);
            }
            State::Thought { has_text } => {
                if let Some(seal) = self.seal.take() {
                    self.seal(seal, has_text, out);
                }
            }
        }
    }

    /// The seal of a thought that has ended. What signs a text is of use with that text alone.
    fn seal(&mut self, seal: Seal, has_text: bool, out: &mut Vec<Object>) {
        if seal.kind == SealKind::Next {
            self.next.push(seal);
        } else if self.shows_thoughts {
            out.push(object! {
                "text": "",
                "thought": true,
                "thoughtSignature": signature::write(&seal),
            });
        } else if seal.kind == SealKind::Encrypted || !has_text {
            self.next.push(seal);
        }
    }

    /// Adds a part with the signatures that wait for it. A part takes one: the others stand before it.
    fn push(&mut self, mut part: Object, out: &mut Vec<Object>) {
        let last = self.next.pop();
        out.extend(self.rest());
        part.put_some("thoughtSignature", last.as_ref().map(signature::write));
        out.push(part);
    }

    /// Signatures behind the last part.
    fn rest(&mut self) -> Vec<Object> {
        let lone = |seal: Seal| {
            let signature = signature::write(&seal);
            object! { "text": "", "thoughtSignature": signature }
        };
        self.next.drain(..).map(lone).collect()
    }

    fn candidate(&mut self, parts: Vec<Object>) -> Object {
        let content = object! { "parts": parts, "role": "model" };
        let mut candidate = object! { "content": content, "index": 0_u64 };
        self.of_tokens = 0;
        logprobs::put(&mut candidate, &std::mem::take(&mut self.tokens));
        candidate
    }
}

fn media(media: &Media) -> Object {
    let mut out = Object::default();
    out.put_some("mimeType", media.mime.as_ref());
    match &media.source {
        Source::Inline(data) => {
            out.put("data", data);
            object! { "inlineData": out }
        }
        Source::Url(url) => {
            out.put("fileUri", url);
            object! { "fileData": out }
        }
        Source::Text(text) => object! { "text": text },
    }
}

/// Writes a stream: server-sent events, or the elements of an array.
#[derive(Debug)]
pub(super) struct Writer {
    pieces: Pieces,
    is_array: bool,
    has_begun: bool,
    id: Option<String>,
    model: String,
    stop: Stop,
    usage: Usage,
}

impl Writer {
    pub(super) fn new(request: &Request) -> Self {
        Self {
            pieces: Pieces::new(request),
            is_array: request.delivery == Delivery::Array,
            has_begun: false,
            id: None,
            model: request.model.clone(),
            stop: Stop::End,
            usage: Usage::default(),
        }
    }

    fn response(&mut self, candidate: Object, usage: Option<Object>, out: &mut Vec<u8>) {
        let id = id_or_new(self.id.take(), "");
        let mut response = object! { "candidates": vec![candidate] };
        response.put_some("usageMetadata", usage);
        response.put("modelVersion", &self.model);
        response.put("responseId", &id);
        self.id = Some(id);
        if self.is_array {
            out.extend_from_slice(if self.has_begun { b",\r\n" } else { b"[" });
            out.extend_from_slice(response.to_string().as_bytes());
        } else {
            write_sse(out, "", &response);
        }
        self.has_begun = true;
    }
}

impl EventWriter for Writer {
    fn write(&mut self, event: Event, out: &mut Vec<u8>) {
        match &event {
            Event::Start { id, model } => {
                self.id.clone_from(id);
                if let Some(model) = model {
                    self.model.clone_from(model);
                }
            }
            Event::Usage(usage) => self.usage.add(*usage),
            Event::Stop(stop) => self.stop = stop.clone(),
            Event::Open(_) | Event::Delta(_) | Event::Close => {}
        }
        let parts = self.pieces.take(event);
        if !parts.is_empty() {
            let candidate = self.pieces.candidate(parts);
            self.response(candidate, None, out);
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        let mut parts = Vec::new();
        self.pieces.close(&mut parts);
        parts.extend(self.pieces.rest());
        if parts.is_empty() {
            // Clients look at the first part of each response.
            parts.push(object! { "text": "" });
        }
        let mut candidate = self.pieces.candidate(parts);
        candidate.put("finishReason", finish_reason(&self.stop));
        std::mem::take(&mut self.pieces.grounding).put(&mut candidate);
        let usage = usage::write(&self.usage);
        self.response(candidate, Some(usage), out);
        if self.is_array {
            out.extend_from_slice(b"]\n");
        }
    }

    fn check(&self) -> Result<(), Failure> {
        if self.pieces.held.max(self.pieces.of_tokens) > LONGEST {
            return Err(Failure::too_long());
        }
        Ok(())
    }
}
