//! A stream of events for a caller, in the order that the API's SDKs follow: each list of a response grows
//! by an event before anything is said in it, and the last event has the whole response once more.

use super::write_request::{arguments, call_kind, put_name};
use super::write_response::{Head, said};
use super::{annotation, incomplete_reason, logprobs};
use crate::formats::translate::{
    Collector, Content, Delta, Event, EventWriter, Failure, Object, Open, Part, Request, Thought,
    ToolCall, object, write_sse,
};

/// Bytes of a response that are held, because its last event has them all.
const ROOM: usize = 32 << 20;

/// Writes a stream.
#[derive(Debug)]
pub(super) struct Writer {
    /// What the response repeats of the request.
    request: Request,
    head: Option<Head>,
    sequence: u64,
    collector: Collector,
    /// How many items have begun.
    items: usize,
    item: Item,
    /// The number of its first part.
    first: usize,
    /// A part is open.
    is_open: bool,
    /// The characters of the open part's text, and its citations. Counting them again at each citation
    /// would take time that grows with their product.
    length: usize,
    citations: usize,
}

/// The item that is open. It ends when the next one begins or the model stops, because only then it is
/// known whether it is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    None,
    /// A thought of which nothing has come yet.
    Thought,
    Reasoning {
        has_summary: bool,
    },
    Message,
    Call {
        is_freeform: bool,
    },
}

impl Writer {
    pub(super) fn new(request: &Request) -> Self {
        Self {
            request: Request {
                turns: Vec::new(),
                ..request.clone()
            },
            head: None,
            sequence: 0,
            collector: Collector::new(ROOM),
            items: 0,
            item: Item::None,
            first: 0,
            is_open: false,
            length: 0,
            citations: 0,
        }
    }

    fn emit(&mut self, kind: &str, mut event: Object, out: &mut Vec<u8>) {
        event.put("type", kind);
        event.put("sequence_number", self.sequence);
        self.sequence += 1;
        write_sse(out, kind, &event);
    }

    fn start(&mut self, id: Option<String>, model: Option<String>, out: &mut Vec<u8>) {
        if self.head.is_some() {
            return;
        }
        let head = Head::new(&self.request, id, model);
        for kind in ["response.created", "response.in_progress"] {
            let response = head.response(&self.request, None);
            self.emit(kind, object! { "response": response }, out);
        }
        self.head = Some(head);
    }

    /// The number of the open item.
    fn nth(&self) -> usize {
        self.items.saturating_sub(1)
    }

    fn parts(&self) -> &[Part] {
        &self.collector.response().parts
    }

    fn begin(&mut self, item: Item, begun: Option<Object>, out: &mut Vec<u8>) {
        self.item = item;
        self.first = self.parts().len().saturating_sub(1);
        self.items += 1;
        let event = object! { "output_index": self.nth(), "item": begun };
        self.emit("response.output_item.added", event, out);
    }

    /// Adds an event of the open item.
    fn tell(&mut self, kind: &str, mut event: Object, out: &mut Vec<u8>) {
        let prefix = match self.item {
            Item::None | Item::Thought => return,
            Item::Reasoning { .. } => {
                event.put("summary_index", 0_u64);
                "rs"
            }
            Item::Message => {
                let content_index = self.parts().len().saturating_sub(self.first + 1);
                event.put("content_index", content_index);
                "msg"
            }
            Item::Call { is_freeform: false } => "fc",
            Item::Call { is_freeform: true } => "ctc",
        };
        let nth = self.nth();
        let id = self.head.as_ref().map(|head| head.item_id(prefix, nth));
        event.put("item_id", id);
        event.put("output_index", nth);
        self.emit(&format!("response.{kind}"), event, out);
    }

    fn open(&mut self, open: &Open, out: &mut Vec<u8>) {
        self.is_open = true;
        (self.length, self.citations) = (0, 0);
        let head = self.head.as_ref();
        let (nth, part) = match open {
            Open::Text => (self.items, Part::text("")),
            Open::Refusal => (self.items, Part::new(Content::Refusal(String::new()))),
            Open::Reasoning => {
                self.item = Item::Thought;
                return;
            }
            Open::ToolCall {
                id,
                name,
                is_freeform,
            } => {
                let call = ToolCall {
                    id: id.clone(),
                    name: name.clone(),
                    arguments: String::new(),
                    is_freeform: *is_freeform,
                };
                let begun = head.map(|head| head.call(self.items, "in_progress", &call, ""));
                let is_freeform = *is_freeform;
                self.begin(Item::Call { is_freeform }, begun, out);
                return;
            }
            Open::Media(_) => return,
        };
        if self.item == Item::None {
            let begun = head.map(|head| head.message(nth, "in_progress", Vec::new()));
            self.begin(Item::Message, begun, out);
        }
        self.tell("content_part.added", object! { "part": said(&part) }, out);
    }

    fn add(&mut self, delta: &Delta, out: &mut Vec<u8>) {
        let is_refusal = matches!(
            self.parts().last().map(|part| &part.content),
            Some(Content::Refusal(_))
        );
        match (self.item, delta) {
            (Item::Message, Delta::Text(text)) if is_refusal => {
                self.tell("refusal.delta", object! { "delta": text }, out);
            }
            (Item::Message, Delta::Text(text)) => {
                self.length += text.chars().count();
                self.say(text, Vec::new(), out);
            }
            (Item::Message, Delta::LogProbs(tokens)) => {
                self.say("", logprobs::write(tokens), out);
            }
            (Item::Message, Delta::Citation(citation)) => {
                if let Some(annotation) = annotation(citation, self.length).filter(|_| !is_refusal)
                {
                    let nth = self.citations;
                    self.citations += 1;
                    let event = object! { "annotation": annotation, "annotation_index": nth };
                    self.tell("output_text.annotation.added", event, out);
                }
            }
            (Item::Thought, Delta::Text(_) | Delta::Seal(_)) => {
                let begun = self
                    .head
                    .as_ref()
                    .map(|head| head.reasoning(self.items, &Thought::default()));
                let item = Item::Reasoning { has_summary: false };
                self.begin(item, begun, out);
                self.add(delta, out);
            }
            (Item::Reasoning { has_summary }, Delta::Text(text)) => {
                if !has_summary {
                    self.item = Item::Reasoning { has_summary: true };
                    let event = object! { "part": summary("") };
                    self.tell("reasoning_summary_part.added", event, out);
                }
                let event = object! { "delta": text };
                self.tell("reasoning_summary_text.delta", event, out);
            }
            (Item::Call { is_freeform }, Delta::Text(text)) => {
                let kind = format!("{}.delta", call_event(is_freeform));
                self.tell(&kind, object! { "delta": text }, out);
            }
            _ => {}
        }
    }

    fn say(&mut self, text: &str, tokens: Vec<Object>, out: &mut Vec<u8>) {
        let event = object! { "delta": text, "logprobs": tokens };
        self.tell("output_text.delta", event, out);
    }

    /// The part is whole.
    fn close(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.is_open, false) {
            return;
        }
        let Some(part) = self.parts().last().cloned() else {
            return;
        };
        match &part.content {
            Content::Text(text) => {
                let tokens = logprobs::write(&text.logprobs);
                let event = object! { "text": &text.text, "logprobs": tokens };
                self.tell("output_text.done", event, out);
                self.tell("content_part.done", object! { "part": said(&part) }, out);
            }
            Content::Refusal(text) => {
                self.tell("refusal.done", object! { "refusal": text }, out);
                self.tell("content_part.done", object! { "part": said(&part) }, out);
            }
            Content::Reasoning(thought) if self.item == Item::Reasoning { has_summary: true } => {
                let event = object! { "text": &thought.text };
                self.tell("reasoning_summary_text.done", event, out);
                let event = object! { "part": summary(&thought.text) };
                self.tell("reasoning_summary_part.done", event, out);
            }
            Content::ToolCall(call) => {
                let arguments = arguments(call);
                if call.arguments.is_empty() && !arguments.is_empty() {
                    self.add(&Delta::Text(arguments.to_owned()), out);
                }
                let kind = call_event(call.is_freeform);
                let mut event = Object::default();
                let mut tools = self.request.tools.iter();
                let tool = tools.find(|tool| tool.name == call.name);
                put_name(&mut event, &call.name, tool);
                event.put(call_kind(call.is_freeform).1, arguments);
                self.tell(&format!("{kind}.done"), event, out);
            }
            _ => {}
        }
    }

    /// The open item is whole, or cut off.
    fn end(&mut self, is_cut: bool, out: &mut Vec<u8>) {
        if matches!(
            std::mem::replace(&mut self.item, Item::None),
            Item::None | Item::Thought
        ) {
            return;
        }
        let nth = self.nth();
        let parts = self.parts().get(self.first..).unwrap_or_default();
        let head = self.head.as_ref();
        if let Some(item) = head.and_then(|head| head.item(nth, parts, is_cut)) {
            let event = object! { "output_index": nth, "item": item };
            self.emit("response.output_item.done", event, out);
        }
    }
}

impl EventWriter for Writer {
    fn write(&mut self, event: Event, out: &mut Vec<u8>) {
        if let Event::Open(open) = &event {
            self.start(None, None, out);
            self.close(out);
            let goes_on = matches!(open, Open::Text | Open::Refusal) && self.item == Item::Message;
            if !goes_on {
                self.end(false, out);
            }
        }
        if let Event::Stop(_) = event {
            self.close(out);
        }
        self.collector.add(&event);
        match event {
            Event::Start { id, model } => self.start(id, model, out),
            Event::Open(open) => self.open(&open, out),
            Event::Delta(delta) => self.add(&delta, out),
            Event::Close => self.close(out),
            Event::Usage(_) => {}
            Event::Stop(stop) => self.end(incomplete_reason(&stop).is_some(), out),
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        self.start(None, None, out);
        self.close(out);
        self.end(false, out);
        let response = self.collector.response();
        let kind = match incomplete_reason(&response.stop) {
            None => "response.completed",
            Some(_) => "response.incomplete",
        };
        let head = self.head.as_ref();
        let response = head.map(|head| head.response(&self.request, Some(response)));
        self.emit(kind, object! { "response": response }, out);
    }

    fn ping(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b": ping\n\n");
    }

    fn check(&self) -> Result<(), Failure> {
        if self.collector.is_full() {
            return Err(Failure::too_long());
        }
        Ok(())
    }
}

/// The part of a thought's item that shows it.
fn summary(text: &str) -> Object {
    object! { "type": "summary_text", "text": text }
}

fn call_event(is_freeform: bool) -> &'static str {
    if is_freeform {
        "custom_tool_call_input"
    } else {
        "function_call_arguments"
    }
}
