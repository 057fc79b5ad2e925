//! A response for a caller: in one piece, or line by line. How long the model took isn't known here, so
//! that a response has no durations.

use super::created_at;
use super::write_request::call;
use crate::formats::translate::{
    Content, Delta, Event, EventWriter, Json, LogProb, Object, Open, Request, Response, Stop,
    ToolCall, Usage, object,
};

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Chat,
    Generate,
}

/// What a response or a line of it says.
#[derive(Debug, Default)]
struct Said {
    text: String,
    thinking: String,
    calls: Vec<Object>,
    logprobs: Vec<LogProb>,
}

impl Shape {
    /// A response or a line of it, as far as it says something.
    fn line(self, model: &str, said: Said) -> Object {
        let mut line = object! { "model": model, "created_at": created_at() };
        let (key, mut texts) = match self {
            Self::Chat => ("content", object! { "role": "assistant" }),
            Self::Generate => ("response", std::mem::take(&mut line)),
        };
        texts.put(key, said.text);
        if !said.thinking.is_empty() {
            texts.put("thinking", said.thinking);
        }
        if !said.calls.is_empty() {
            texts.put("tool_calls", said.calls);
        }
        match self {
            Self::Chat => line.put("message", texts),
            Self::Generate => line = texts,
        }
        if !said.logprobs.is_empty() {
            let logprobs: Vec<Object> = said.logprobs.iter().map(with_top).collect();
            line.put("logprobs", logprobs);
        }
        line
    }
}

/// Adds why the response ended, and what it used.
fn end(line: &mut Object, stop: &Stop, usage: &Usage) {
    line.put("done", true);
    line.put(
        "done_reason",
        match stop {
            Stop::MaxTokens | Stop::ContextFull => "length",
            _ => "stop",
        },
    );
    line.put_some("prompt_eval_count", usage.input);
    line.put_some("eval_count", usage.output);
}

pub(super) fn whole(shape: Shape, request: &Request, response: Response) -> Object {
    let mut said = Said::default();
    for part in response.parts {
        match part.content {
            Content::Text(text) => {
                said.text.push_str(&text.text);
                said.logprobs.extend(text.logprobs);
            }
            Content::Refusal(text) => said.text.push_str(&text),
            Content::Reasoning(thought) => said.thinking.push_str(&thought.text),
            Content::ToolCall(call) => said.calls.push(numbered(&call.with_id(), said.calls.len())),
            // The API has no media in a response.
            Content::Media(_) | Content::ToolResult(_) => {}
        }
    }
    let mut line = shape.line(&request.model, said);
    end(&mut line, &response.stop, &response.usage);
    line
}

/// A call with its place among those of the response.
fn numbered(call: &ToolCall, index: usize) -> Object {
    let mut out = self::call(call);
    if let Some(Json::Object(function)) = out.at_mut("function") {
        function.put("index", index);
    }
    out
}

fn with_top(one: &LogProb) -> Object {
    let mut out = token(one);
    let top: Vec<Object> = one.top.iter().map(token).collect();
    if !top.is_empty() {
        out.put("top_logprobs", top);
    }
    out
}

fn token(one: &LogProb) -> Object {
    let mut out = object! { "token": &one.token, "logprob": one.logprob };
    out.put_some("bytes", one.bytes.as_deref());
    out
}

/// Writes a stream.
#[derive(Debug)]
pub(super) struct Writer {
    shape: Shape,
    model: String,
    /// The part that is open.
    open: Option<Open>,
    /// The parameters of the open call: clients get a call whole.
    arguments: String,
    calls: usize,
    stop: Stop,
    usage: Usage,
}

impl Writer {
    pub(super) fn new(shape: Shape, request: &Request) -> Self {
        Self {
            shape,
            model: request.model.clone(),
            open: None,
            arguments: String::new(),
            calls: 0,
            stop: Stop::End,
            usage: Usage::default(),
        }
    }

    fn line(&self, said: Said, out: &mut Vec<u8>) {
        let mut line = self.shape.line(&self.model, said);
        line.put("done", false);
        write(&line, out);
    }

    fn text(&mut self, text: String, out: &mut Vec<u8>) {
        let mut said = Said::default();
        match self.open {
            Some(Open::ToolCall { .. }) => {
                self.arguments.push_str(&text);
                return;
            }
            Some(Open::Reasoning) => said.thinking = text,
            _ => said.text = text,
        }
        self.line(said, out);
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        let Some(Open::ToolCall {
            id,
            name,
            is_freeform,
        }) = self.open.take()
        else {
            return;
        };
        let arguments = std::mem::take(&mut self.arguments);
        let call = ToolCall {
            id,
            name,
            arguments,
            is_freeform,
        };
        let said = Said {
            calls: vec![numbered(&call.with_id(), self.calls)],
            ..Said::default()
        };
        self.calls += 1;
        self.line(said, out);
    }
}

impl EventWriter for Writer {
    fn write(&mut self, event: Event, out: &mut Vec<u8>) {
        match event {
            Event::Open(open) => self.open = Some(open),
            Event::Delta(Delta::Text(text)) => self.text(text, out),
            Event::Delta(Delta::LogProbs(logprobs)) => {
                let said = Said {
                    logprobs,
                    ..Said::default()
                };
                self.line(said, out);
            }
            Event::Close => self.close(out),
            Event::Usage(usage) => self.usage.add(usage),
            Event::Stop(stop) => self.stop = stop,
            // The API has neither citations nor seals.
            Event::Start { .. } | Event::Delta(Delta::Citation(_) | Delta::Seal(_)) => {}
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        let mut line = self.shape.line(&self.model, Said::default());
        end(&mut line, &self.stop, &self.usage);
        write(&line, out);
    }
}

fn write(line: &Object, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{line}\n").as_bytes());
}
