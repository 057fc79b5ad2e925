//! A provider's response. Of several choices the first counts: only one is asked for.

use super::content::{self, Piece};
use super::{CONTENT, REASONING, citation_of, logprobs, stop_of, usage_of};
use crate::formats::translate::{
    Content, Delta, Event, EventReader, Failure, Json, LogProb, Open, Part, Response, Sequence,
    Stop, ToolCall,
};
use crate::wire::sse;

/// Bytes of calls that are held because another is still open.
const MAX_HELD: usize = 4 << 20;
/// Calls that are held.
const MOST_CALLS: usize = 1_024;

pub(super) fn whole(body: &Json) -> Result<Response, Failure> {
    if let Some(failure) = error(body) {
        return Err(failure);
    }
    let Some(choice) = body.at("choices").list().first() else {
        return Err(Failure::new(
            "the provider's response isn't a chat completion",
        ));
    };
    let message = choice.at("message");
    let mut parts = Vec::new();
    if let Some((key, text)) = reasoning(message) {
        parts.push(Content::Reasoning(content::thought(key, text)));
    }
    parts.extend(content::parts(message.at(CONTENT)));
    let last_text = parts.iter_mut().rev().find_map(|part| match part {
        Content::Text(text) => Some(text),
        _ => None,
    });
    if let Some(text) = last_text {
        let annotations = message.at("annotations").list().iter();
        text.citations = annotations.filter_map(citation_of).collect();
        text.logprobs = logprobs::read(choice.at("logprobs").at("content"));
    }
    if let Some(refusal) = message.at("refusal").words() {
        parts.push(Content::Refusal(refusal.to_owned()));
    }
    let calls = message.at("tool_calls").list();
    parts.extend(calls.iter().filter_map(call).map(Content::ToolCall));
    let reason = choice.at("finish_reason").text().unwrap_or_default();
    Ok(Response {
        id: body.at("id").words().map(str::to_owned),
        model: body.at("model").words().map(str::to_owned),
        parts: parts.into_iter().map(Part::new).collect(),
        stop: stop_of(reason, !calls.is_empty()),
        usage: usage_of(body.at("usage")),
    })
}

/// An error in place of a response, as several servers report it with a status of success.
fn error(body: &Json) -> Option<Failure> {
    let error = body.at("error");
    if error.is_null() {
        return None;
    }
    let words = error.at("message").words().or(error.words());
    let status = error
        .at("code")
        .whole()
        .and_then(|code| u16::try_from(code).ok());
    Some(Failure::reported(
        status,
        words.unwrap_or("the provider reports an error"),
    ))
}

/// Text of reasoning, and the key that it stands under.
fn reasoning(of: &Json) -> Option<(&'static str, &str)> {
    REASONING
        .into_iter()
        .find_map(|key| Some((key, of.at(key).words()?)))
}

fn call(call: &Json) -> Option<ToolCall> {
    let is_freeform = call.at("type").text() == Some("custom");
    let (inner, arguments) = if is_freeform {
        (call.at("custom"), "input")
    } else {
        (call.at("function"), "arguments")
    };
    Some(ToolCall {
        id: call.at("id").text().unwrap_or_default().to_owned(),
        name: inner.at("name").text()?.to_owned(),
        arguments: inner.at(arguments).text().unwrap_or_default().to_owned(),
        is_freeform,
    })
}

/// Reads a stream.
#[derive(Debug, Default)]
pub(super) struct Reader {
    sequence: Sequence,
    state: State,
    /// The key under which the open thought comes.
    key: &'static str,
    /// The call that is open.
    open: CallKey,
    /// Later calls, which wait until the open one is whole: nothing tells earlier when that is.
    waiting: Vec<(CallKey, ToolCall)>,
    held: usize,
    stop: Option<Stop>,
    has_calls: bool,
    is_done: bool,
}

/// By what the deltas of a call are known. The index alone doesn't do: some servers, Ollama among them,
/// send each call with index 0 or without one.
#[derive(Debug, Default)]
struct CallKey {
    index: Option<u64>,
    /// Empty if the server sends none.
    id: String,
}

impl CallKey {
    fn of(delta: &Json) -> Self {
        Self {
            index: delta.at("index").whole(),
            id: delta.at("id").text().unwrap_or_default().to_owned(),
        }
    }

    /// Whether a delta with this key goes on with the call, rather than being of another. `is_named` if the
    /// delta has a tool's name: without an index and an id, only that tells where a call begins.
    fn goes_on(&self, delta: &Self, is_named: bool) -> bool {
        if delta.id.is_empty() && delta.index.is_none() && is_named {
            return false;
        }
        let own = self.index.unwrap_or(0);
        let has_same_index = delta.index.is_none_or(|index| index == own);
        has_same_index && (delta.id.is_empty() || delta.id == self.id)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Between,
    Text,
    Refusal,
    Thought,
    Call,
}

impl EventReader for Reader {
    fn read(&mut self, event: &sse::Event<'_>, out: &mut Vec<Event>) -> Result<(), Failure> {
        if event.data.trim_ascii() == b"[DONE]" {
            self.is_done = true;
            return Ok(());
        }
        let Ok(chunk) = Json::read(event.data) else {
            return Err(Failure::new("an event of the provider's stream isn't JSON"));
        };
        if let Some(failure) = error(&chunk) {
            return Err(failure);
        }
        self.sequence
            .start(chunk.at("id").words(), chunk.at("model").words(), out);
        if let Some(choice) = chunk.at("choices").list().first()
            && choice.at("index").whole().unwrap_or(0) == 0
        {
            self.choice(choice, out)?;
        }
        let usage = usage_of(chunk.at("usage"));
        if !usage.is_empty() {
            out.push(Event::Usage(usage));
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<Event>) -> Result<(), Failure> {
        if self.stop.is_none() && !self.is_done {
            return Err(Failure::new("the provider's stream ended before its end"));
        }
        self.to(State::Between, out);
        for (_, call) in std::mem::take(&mut self.waiting) {
            open_call(&mut self.sequence, &call, out);
            push(call.arguments, out);
        }
        let stop = self.stop.take().unwrap_or(Stop::End);
        let stop = match stop {
            Stop::End if self.has_calls => Stop::ToolUse,
            stop => stop,
        };
        self.sequence.stop(stop, out);
        Ok(())
    }
}

impl Reader {
    fn choice(&mut self, choice: &Json, out: &mut Vec<Event>) -> Result<(), Failure> {
        let delta = choice.at("delta");
        if let Some((key, text)) = reasoning(delta) {
            self.key = key;
            self.to(State::Thought, out);
            push(text.to_owned(), out);
        }
        for piece in content::pieces(delta.at(CONTENT)) {
            let text = match piece {
                Piece::Text(text) => {
                    self.to(State::Text, out);
                    text
                }
                Piece::Thought(text) => {
                    self.key = CONTENT;
                    self.to(State::Thought, out);
                    text
                }
            };
            push(text.to_owned(), out);
        }
        self.beside(choice, out);
        if let Some(text) = delta.at("refusal").words() {
            self.to(State::Refusal, out);
            push(text.to_owned(), out);
        }
        for call in delta.at("tool_calls").list() {
            self.call(call, out)?;
        }
        if let Some(reason) = choice.at("finish_reason").words() {
            self.stop = Some(stop_of(reason, self.has_calls));
        }
        Ok(())
    }

    /// What comes beside a text.
    fn beside(&mut self, choice: &Json, out: &mut Vec<Event>) {
        let tokens: Vec<LogProb> = logprobs::read(choice.at("logprobs").at("content"));
        let annotations = choice.at("delta").at("annotations").list().iter();
        let citations: Vec<_> = annotations.filter_map(citation_of).collect();
        if tokens.is_empty() && citations.is_empty() {
            return;
        }
        self.to(State::Text, out);
        if !tokens.is_empty() {
            out.push(Event::Delta(Delta::LogProbs(tokens)));
        }
        out.extend(
            citations
                .into_iter()
                .map(|one| Event::Delta(Delta::Citation(one))),
        );
    }

    /// Goes on with a part of this kind.
    fn to(&mut self, state: State, out: &mut Vec<Event>) {
        if self.state == state {
            return;
        }
        if self.state == State::Thought {
            out.push(Event::Delta(Delta::Seal(content::seal(self.key))));
        }
        self.state = state;
        match state {
            State::Text => self.sequence.open(Open::Text, out),
            State::Refusal => self.sequence.open(Open::Refusal, out),
            State::Thought => self.sequence.open(Open::Reasoning, out),
            State::Between | State::Call => self.sequence.close(out),
        }
    }

    fn call(&mut self, delta: &Json, out: &mut Vec<Event>) -> Result<(), Failure> {
        let key = CallKey::of(delta);
        let more = call(delta);
        let is_freeform = !delta.at("custom").is_null();
        let (inner, arguments) = if is_freeform {
            (delta.at("custom"), "input")
        } else {
            (delta.at("function"), "arguments")
        };
        let text = inner.at(arguments).text().unwrap_or_default();
        let is_named = inner.at("name").words().is_some();
        let too_many = || Failure::new("the provider's response calls too many tools");
        // The latest first: a delta without an id goes on with the last call of its index.
        let mut waiting = self.waiting.iter_mut().rev();
        if let Some((_, waiting)) = waiting.find(|(held, _)| held.goes_on(&key, is_named)) {
            waiting.arguments.push_str(text);
            self.held += text.len();
            return if self.held > MAX_HELD {
                Err(too_many())
            } else {
                Ok(())
            };
        }
        if self.state == State::Call && self.open.goes_on(&key, is_named) {
            push(text.to_owned(), out);
            return Ok(());
        }
        let Some(call) = more else {
            return Err(Failure::new(
                "a call of the provider's response names no tool",
            ));
        };
        self.has_calls = true;
        if self.state == State::Call {
            let names = [&key.id, &call.id, &call.name, &call.arguments];
            self.held += names.into_iter().map(String::len).sum::<usize>();
            if self.held > MAX_HELD || self.waiting.len() >= MOST_CALLS {
                return Err(too_many());
            }
            self.waiting.push((key, call));
            return Ok(());
        }
        self.to(State::Call, out);
        self.open = key;
        open_call(&mut self.sequence, &call, out);
        push(call.arguments, out);
        Ok(())
    }
}

fn open_call(sequence: &mut Sequence, call: &ToolCall, out: &mut Vec<Event>) {
    let open = Open::ToolCall {
        id: call.id.clone(),
        name: call.name.clone(),
        is_freeform: call.is_freeform,
    };
    sequence.open(open, out);
}

fn push(text: String, out: &mut Vec<Event>) {
    if !text.is_empty() {
        out.push(Event::Delta(Delta::Text(text)));
    }
}
