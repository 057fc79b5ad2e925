//! A provider's response: one object, or one for each line of a stream.

use super::seal;
use crate::formats::openai::logprobs;
use crate::formats::translate::{
    Collector, Delta, Event, EventReader, Failure, Json, Open, Response, Sequence, Stop, Usage,
};
use crate::wire::sse;

pub(super) fn whole(body: &Json) -> Result<Response, Failure> {
    let (mut reader, mut events) = (Reader::default(), Vec::new());
    reader.line(body, &mut events)?;
    reader.finish(&mut events)?;
    let mut collector = Collector::new(usize::MAX);
    for event in &events {
        collector.add(event);
    }
    Ok(collector.response().clone())
}

/// Reads a stream.
#[derive(Debug, Default)]
pub(super) struct Reader {
    sequence: Sequence,
    state: State,
    has_calls: bool,
    stop: Option<Stop>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Between,
    Text,
    Thought,
}

impl EventReader for Reader {
    fn read(&mut self, event: &sse::Event<'_>, out: &mut Vec<Event>) -> Result<(), Failure> {
        match Json::read(event.data) {
            Ok(line) => self.line(&line, out),
            Err(_) => Err(Failure::new("a line of the provider's stream isn't JSON")),
        }
    }

    fn finish(&mut self, out: &mut Vec<Event>) -> Result<(), Failure> {
        let Some(stop) = self.stop.take() else {
            return Err(Failure::new("the provider's stream ended before its end"));
        };
        self.to(State::Between, out);
        self.sequence.stop(stop, out);
        Ok(())
    }
}

impl Reader {
    fn line(&mut self, line: &Json, out: &mut Vec<Event>) -> Result<(), Failure> {
        if let Some(words) = line.at("error").text() {
            let status = line.at("status").whole();
            let status = status.and_then(|status| u16::try_from(status).ok());
            return Err(Failure::reported(status, words));
        }
        // A completion, which is read where it was kept for a caller, has no message.
        let (message, key) = match line.at("message") {
            message if message.is_object() => (message, "content"),
            _ => (line, "response"),
        };
        if line.at("done").flag().is_none() {
            return Err(Failure::new("the provider's response isn't Ollama's"));
        }
        self.sequence.start(None, line.at("model").words(), out);
        if let Some(text) = message.at("thinking").words() {
            self.to(State::Thought, out);
            push(text, out);
        }
        if let Some(text) = message.at(key).words() {
            self.to(State::Text, out);
            push(text, out);
        }
        let tokens = logprobs::read(line.at("logprobs"));
        // They are of a text, and of nothing else that the form in the middle has.
        if !tokens.is_empty() && self.state == State::Text {
            out.push(Event::Delta(Delta::LogProbs(tokens)));
        }
        for call in message.at("tool_calls").list() {
            self.call(call, out);
        }
        if line.at("done").flag() == Some(true) {
            self.end(line, out);
        }
        Ok(())
    }

    /// A call, which comes whole.
    fn call(&mut self, call: &Json, out: &mut Vec<Event>) {
        let function = call.at("function");
        let Some(name) = function.at("name").words() else {
            return;
        };
        self.to(State::Between, out);
        self.has_calls = true;
        let open = Open::ToolCall {
            id: call.at("id").text().unwrap_or_default().to_owned(),
            name: name.to_owned(),
            is_freeform: false,
        };
        self.sequence.open(open, out);
        let arguments = function.at("arguments");
        if !arguments.is_null() {
            push(&arguments.to_string(), out);
        }
        self.sequence.close(out);
    }

    fn end(&mut self, line: &Json, out: &mut Vec<Event>) {
        let usage = Usage {
            input: line.at("prompt_eval_count").whole(),
            output: line.at("eval_count").whole(),
            ..Usage::default()
        };
        if !usage.is_empty() {
            out.push(Event::Usage(usage));
        }
        self.stop = Some(match line.at("done_reason").text() {
            Some("length") => Stop::MaxTokens,
            _ if self.has_calls => Stop::ToolUse,
            _ => Stop::End,
        });
    }

    /// Goes on with a part of this kind.
    fn to(&mut self, state: State, out: &mut Vec<Event>) {
        if self.state == state {
            return;
        }
        if self.state == State::Thought {
            out.push(Event::Delta(Delta::Seal(seal())));
        }
        self.state = state;
        match state {
            State::Text => self.sequence.open(Open::Text, out),
            State::Thought => self.sequence.open(Open::Reasoning, out),
            State::Between => self.sequence.close(out),
        }
    }
}

fn push(text: &str, out: &mut Vec<Event>) {
    out.push(Event::Delta(Delta::Text(text.to_owned())));
}
