//! A provider's stream of events.

use super::items::{Items, Kind, State};
use super::read_response::{call, failure, parts, reported, said, thought};
use super::{NAME, PLAIN, citation_of, logprobs, stop_of, usage_of};
use crate::formats::translate::{
    Content, Delta, Event, EventReader, Failure, Json, Open, Response, Seal, SealKind, Sequence,
    Text, object,
};
use crate::wire::sse;

/// Reads a stream. Items mostly come one after the other. One that begins while a call is open waits, and
/// is taken whole from the event that ends it. The last event has all items once more, for servers that
/// end none of them.
#[derive(Debug, Default)]
pub(super) struct Reader {
    sequence: Sequence,
    items: Items,
    open: Option<OpenItem>,
    has_calls: bool,
}

/// The item that is open, and what it has said so far.
#[derive(Clone, Copy, Debug)]
struct OpenItem {
    nth: usize,
    kind: Kind,
    /// How many parts of a message have ended.
    ended_parts: usize,
    /// A thought comes as it is, and not as a summary.
    is_plain: bool,
    part: OpenPart,
}

/// The part of an item that is open.
#[derive(Clone, Copy, Debug, Default)]
struct OpenPart {
    /// Its index; `None` if none is open.
    index: Option<u64>,
    has_text: bool,
    has_citations: bool,
    has_logprobs: bool,
}

impl EventReader for Reader {
    fn read(&mut self, event: &sse::Event<'_>, out: &mut Vec<Event>) -> Result<(), Failure> {
        if event.data.trim_ascii() == b"[DONE]" || self.sequence.is_stopped() {
            return Ok(());
        }
        let Ok(data) = Json::read(event.data) else {
            return Err(Failure::new("an event of the provider's stream isn't JSON"));
        };
        let kind = data.at("type").text().unwrap_or_default();
        match kind.strip_prefix("response.").unwrap_or(kind) {
            "created" | "in_progress" | "queued" => self.start(data.at("response"), out),
            "output_item.added" => {
                self.begin(&data, data.at("item"), out)?;
            }
            "output_item.done" => self.done(&data, event.data.len(), out)?,
            "content_part.added" => self.begin_part(&data, out)?,
            "content_part.done" => self.end_part(&data, out)?,
            "output_text.delta" => self.say(&data, Open::Text, out)?,
            "refusal.delta" => self.say(&data, Open::Refusal, out)?,
            "output_text.annotation.added" => self.cite(&data, out)?,
            "reasoning_summary_text.delta" => self.think(&data, "summary_index", out)?,
            "reasoning_text.delta" => self.think(&data, "content_index", out)?,
            "function_call_arguments.delta" | "custom_tool_call_input.delta" => {
                if let Some(open) = self.target(&data, Kind::Call, out)? {
                    open.part.has_text |= push(data.at("delta"), out);
                }
            }
            "completed" | "incomplete" => self.end(data.at("response"), out)?,
            "failed" | "cancelled" => {
                let response = data.at("response");
                return Err(failure(response).unwrap_or_else(|| reported(response.at("error"))));
            }
            "error" => {
                let error = data.at("error");
                return Err(reported(if error.is_null() { &data } else { error }));
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(&mut self, _: &mut Vec<Event>) -> Result<(), Failure> {
        if self.sequence.is_stopped() {
            return Ok(());
        }
        Err(Failure::new("the provider's stream ended before its end"))
    }
}

impl Reader {
    fn start(&mut self, response: &Json, out: &mut Vec<Event>) {
        let (id, model) = (response.at("id").words(), response.at("model").words());
        self.sequence.start(id, model, out);
    }

    fn find(&self, event: &Json) -> Option<usize> {
        self.items.find(event, self.open.map(|open| open.nth))
    }

    /// An item begins. The one before it ends, unless it is a call: calls may come at once.
    fn begin(&mut self, event: &Json, item: &Json, out: &mut Vec<Event>) -> Result<usize, Failure> {
        let nth = self.items.add(event, item)?;
        let Some(kind) = Kind::of(item) else {
            // The provider runs this tool itself.
            self.items.set(nth, State::Ended);
            return Ok(nth);
        };
        if self.open.is_some_and(|open| open.kind == Kind::Call) {
            return Ok(nth);
        }
        self.close(&Json::Null, out);
        self.items.set(nth, State::Open);
        let mut part = OpenPart::default();
        match kind {
            Kind::Message => self.sequence.close(out),
            Kind::Reasoning => self.sequence.open(Open::Reasoning, out),
            Kind::Call => {
                let call = call(item).unwrap_or_default();
                let open = Open::ToolCall {
                    id: call.id,
                    name: call.name,
                    is_freeform: call.is_freeform,
                };
                self.has_calls = true;
                self.sequence.open(open, out);
                part.has_text = push(&call.arguments.into(), out);
            }
        }
        self.open = Some(OpenItem {
            nth,
            kind,
            ended_parts: 0,
            is_plain: false,
            part,
        });
        Ok(nth)
    }

    /// The open item, if the event is about that and it is of this kind. What is said of one that waits
    /// comes later, as a whole.
    fn target(
        &mut self,
        event: &Json,
        kind: Kind,
        out: &mut Vec<Event>,
    ) -> Result<Option<&mut OpenItem>, Failure> {
        let nth = match (self.find(event), kind) {
            (Some(nth), _) => nth,
            // Nothing tells the name of such a call yet.
            (None, Kind::Call) => return Ok(None),
            (None, Kind::Message | Kind::Reasoning) => {
                let is_message = kind == Kind::Message;
                let item = object! {
                    "type": if is_message { "message" } else { "reasoning" },
                    "id": event.at("item_id").text(),
                };
                self.begin(event, &item.into(), out)?
            }
        };
        let is_ended = self.items.state(nth) == Some(&State::Ended);
        if is_ended && !event.at("delta").is_null() {
            let why = "the provider's stream goes on with an item that has ended";
            return Err(Failure::new(why));
        }
        let open = self.open.as_mut();
        Ok(open.filter(|open| open.nth == nth && open.kind == kind))
    }

    fn begin_part(&mut self, event: &Json, out: &mut Vec<Event>) -> Result<(), Failure> {
        let open = match said(event.at("part")) {
            Some(Content::Text(_)) => Open::Text,
            Some(Content::Refusal(_)) => Open::Refusal,
            _ => return Ok(()),
        };
        self.part(event, open, out)?;
        Ok(())
    }

    /// Goes on with the part of an event.
    fn part(
        &mut self,
        event: &Json,
        begin: Open,
        out: &mut Vec<Event>,
    ) -> Result<Option<&mut OpenPart>, Failure> {
        let index = event.at("content_index").whole().unwrap_or(0);
        let Some(open) = self.target(event, Kind::Message, out)? else {
            return Ok(None);
        };
        if open.part.index != Some(index) {
            open.ended_parts += usize::from(open.part.index.is_some());
            open.part = OpenPart {
                index: Some(index),
                ..OpenPart::default()
            };
            self.sequence.open(begin, out);
        }
        Ok(self.open.as_mut().map(|open| &mut open.part))
    }

    fn say(&mut self, event: &Json, begin: Open, out: &mut Vec<Event>) -> Result<(), Failure> {
        if let Some(part) = self.part(event, begin, out)? {
            part.has_text |= push(event.at("delta"), out);
            let tokens = logprobs::read(event.at("logprobs"));
            if !tokens.is_empty() {
                part.has_logprobs = true;
                out.push(Event::Delta(Delta::LogProbs(tokens)));
            }
        }
        Ok(())
    }

    fn cite(&mut self, event: &Json, out: &mut Vec<Event>) -> Result<(), Failure> {
        if let Some(citation) = citation_of(event.at("annotation"))
            && let Some(part) = self.part(event, Open::Text, out)?
        {
            part.has_citations = true;
            out.push(Event::Delta(Delta::Citation(citation)));
        }
        Ok(())
    }

    /// More of a thought. Of a summary and the thought itself, the one that comes first counts.
    fn think(&mut self, event: &Json, key: &str, out: &mut Vec<Event>) -> Result<(), Failure> {
        let Some(open) = self.target(event, Kind::Reasoning, out)? else {
            return Ok(());
        };
        let (part, is_plain) = (&mut open.part, key == "content_index");
        if part.has_text && open.is_plain != is_plain {
            return Ok(());
        }
        let index = Some(event.at(key).whole().unwrap_or(0));
        if part.has_text && part.index != index {
            push(&"\n\n".into(), out);
        }
        part.has_text |= push(event.at("delta"), out);
        part.index = index;
        open.is_plain = is_plain;
        Ok(())
    }

    fn end_part(&mut self, event: &Json, out: &mut Vec<Event>) -> Result<(), Failure> {
        let index = event.at("content_index").whole().unwrap_or(0);
        if let Some(open) = self.target(event, Kind::Message, out)?
            && open.part.index == Some(index)
        {
            complete(open.part, event.at("part"), out);
            open.part = OpenPart::default();
            open.ended_parts += 1;
            self.sequence.close(out);
        }
        Ok(())
    }

    fn done(&mut self, event: &Json, size: usize, out: &mut Vec<Event>) -> Result<(), Failure> {
        let item = event.at("item");
        let nth = match self.find(event) {
            Some(nth) => nth,
            None => self.begin(event, item, out)?,
        };
        match self.items.state(nth) {
            Some(State::Open) => self.close(item, out),
            Some(State::Waiting(_)) if self.open.is_some() => self.items.hold(nth, item, size)?,
            Some(State::Waiting(_)) => {
                self.items.set(nth, State::Ended);
                self.whole(item, out);
            }
            Some(State::Ended) | None => {}
        }
        Ok(())
    }

    /// The open item ends. Its whole has what no event has brought; it may be missing.
    fn close(&mut self, whole: &Json, out: &mut Vec<Event>) {
        let Some(open) = self.open.take() else {
            return;
        };
        self.items.set(open.nth, State::Ended);
        let whole = if Kind::of(whole) == Some(open.kind) {
            whole
        } else {
            &Json::Null
        };
        match open.kind {
            Kind::Message => {
                let mut parts = whole.at("content").list().iter().skip(open.ended_parts);
                if open.part.index.is_some() {
                    complete(open.part, parts.next().unwrap_or(&Json::Null), out);
                }
                self.sequence.close(out);
                let rest = parts.cloned().collect::<Vec<_>>();
                let rest = object! { "type": "message", "content": rest };
                self.whole(&rest.into(), out);
            }
            Kind::Reasoning => {
                let thought = thought(whole);
                if !open.part.has_text {
                    push(&thought.text.into(), out);
                }
                let plain = || Seal::new(NAME, SealKind::Signature, PLAIN);
                let seal = thought.seal.or_else(|| open.is_plain.then(plain));
                out.extend(seal.map(|seal| Event::Delta(Delta::Seal(seal))));
            }
            Kind::Call => {
                if !open.part.has_text
                    && let Some(call) = call(whole)
                {
                    push(&call.arguments.into(), out);
                }
            }
        }
        self.sequence.close(out);
        for item in self.items.release() {
            self.whole(&item, out);
        }
    }

    /// An item that comes as a whole.
    fn whole(&mut self, item: &Json, out: &mut Vec<Event>) {
        let parts = parts(item);
        if parts.is_empty() {
            return;
        }
        self.sequence.start(None, None, out);
        self.sequence.close(out);
        let response = Response {
            parts,
            ..Response::default()
        };
        self.has_calls |= response.has_tool_calls();
        let events = response.into_events().into_iter();
        out.extend(
            events.filter(|event| matches!(event, Event::Open(_) | Event::Delta(_) | Event::Close)),
        );
    }

    fn end(&mut self, response: &Json, out: &mut Vec<Event>) -> Result<(), Failure> {
        if let Some(failure) = failure(response) {
            return Err(failure);
        }
        self.start(response, out);
        let output = response.at("output").list();
        if let Some(open) = self.open {
            self.close(output.get(open.nth).unwrap_or(&Json::Null), out);
        }
        for (nth, item) in output.iter().enumerate() {
            if matches!(self.items.state(nth), None | Some(State::Waiting(_))) {
                self.whole(item, out);
            }
        }
        let usage = usage_of(response.at("usage"));
        if !usage.is_empty() {
            out.push(Event::Usage(usage));
        }
        self.sequence.stop(stop_of(response, self.has_calls), out);
        Ok(())
    }
}

/// Adds what a part has as a whole and events have not brought.
fn complete(open: OpenPart, whole: &Json, out: &mut Vec<Event>) {
    let (text, citations, tokens) = match said(whole) {
        Some(Content::Text(Text {
            text,
            citations,
            logprobs,
        })) => (text, citations, logprobs),
        Some(Content::Refusal(text)) => (text, Vec::new(), Vec::new()),
        _ => return,
    };
    if !open.has_text {
        push(&text.into(), out);
    }
    if !open.has_logprobs && !tokens.is_empty() {
        out.push(Event::Delta(Delta::LogProbs(tokens)));
    }
    if !open.has_citations {
        let citations = citations.into_iter().map(Delta::Citation);
        out.extend(citations.map(Event::Delta));
    }
}

/// Adds more of a text, if there is more; whether there is.
fn push(text: &Json, out: &mut Vec<Event>) -> bool {
    let Some(text) = text.words() else {
        return false;
    };
    out.push(Event::Delta(Delta::Text(text.to_owned())));
    true
}
