//! Translates one exchange: the caller's request for a provider of another format, and the provider's
//! response back, as it comes.

use super::freeform::Unwrap;
use super::{
    Codec, Collector, Delivery, Event, EventReader, EventWriter, Failure, Feature, Inbound, Json,
    Need, Object, Open, Outbound, Request, Response, Untranslatable, new_id, note, now,
};
use crate::wire::{Framing, event_stream, ndjson, sse};

/// The longest response that is held as a whole, the longest event of a stream, and the longest part of a
/// streamed response, which some writers hold, in bytes.
pub const LONGEST: usize = 32 << 20;

/// A request that was translated.
#[derive(Clone, Debug)]
pub struct Translated {
    /// What the provider gets.
    pub outbound: Outbound,
    /// What the caller asked for, which shapes the response: without the conversation.
    pub request: Request,
    /// Fields of the caller's request that the provider doesn't get, each once: `messages.name` for any
    /// number of messages.
    pub dropped: Vec<String>,
}

/// Translates a request of `caller` for a provider of `served`, which names the model `model`.
///
/// # Errors
/// If the request has something that the provider's format can't express, and that the caller's API
/// doesn't call a hint, or a name of a tool that is too long.
pub fn request(
    caller: &Codec,
    served: &Codec,
    inbound: &Inbound<'_>,
    model: &str,
) -> Result<Translated, Untranslatable> {
    fit(caller, served, (caller.read_request)(inbound)?, model)
}

/// The same for a request that was read.
pub(super) fn fit(
    caller: &Codec,
    served: &Codec,
    mut asked: Request,
    model: &str,
) -> Result<Translated, Untranslatable> {
    asked.check_names()?;
    let mut dropped = Vec::new();
    for path in std::mem::take(&mut asked.dropped) {
        note(&mut dropped, &path);
    }
    // The response may take long, and the conversation may be large: it isn't kept.
    let turns = std::mem::take(&mut asked.turns);
    let mut request = Request {
        model: model.to_owned(),
        turns,
        ..asked.clone()
    };
    request.name_results();
    let lacks = (served.lacks)(&request);
    for feature in request.features(served.name) {
        if served.expresses.contains(&feature) && !lacks.contains(&feature) {
            continue;
        }
        match feature {
            Feature::AllowedTools => request.keep_allowed_tools(),
            Feature::FreeformTools => request.wrap_freeform_tools(),
            // Formats with one system prompt gather all of them in it.
            Feature::LaterSystem => {}
            _ => {
                name(feature, caller, served, &mut dropped)?;
                request.leave_out(feature, served.name);
            }
        }
    }
    let outbound = (served.write_request)(&request)?;
    for feature in &outbound.left_out {
        name(*feature, caller, served, &mut dropped)?;
    }
    Ok(Translated {
        outbound,
        request: asked,
        dropped,
    })
}

/// Notes what the caller calls a feature that is left out, or refuses the request.
fn name(
    feature: Feature,
    caller: &Codec,
    served: &Codec,
    dropped: &mut Vec<String>,
) -> Result<(), Untranslatable> {
    let field = caller.field(feature);
    let name = field.map_or(feature.title(), |field| field.name);
    match field.map_or(Need::Must, |field| field.need) {
        Need::Must => {
            let why = format!("can't be translated to {}", served.name);
            return Err(Untranslatable::new(name, why));
        }
        Need::Hint => note(dropped, name),
        Need::Default => {}
    }
    Ok(())
}

/// Translates a response, piece by piece.
pub trait Translator: Send {
    /// Takes a piece of the provider's body, and adds what the caller gets of it.
    ///
    /// # Errors
    /// If the provider reports an error, or sends what can't be translated. Nothing follows then.
    fn feed(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), Failure>;

    /// The provider's body has ended: adds the rest of what the caller gets.
    ///
    /// # Errors
    /// If the body ended too early, or isn't a response of the format.
    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Failure>;

    /// The response, as far as it came, as the caller would have got it in one piece.
    fn response(&self) -> Object;

    /// Whether the caller gets the response in one piece.
    fn is_whole(&self) -> bool;

    /// Whether an event can stand behind what the caller has: not in an array.
    fn takes_events(&self) -> bool;

    /// Whether the provider's response is held until it has come.
    fn is_held(&self) -> bool;

    /// Whether anything of the response has been read.
    fn has_begun(&self) -> bool;

    /// Whether [`response`](Self::response) lacks something for which there was no room.
    fn is_cut(&self) -> bool;
}

/// Translates the response of a model.
pub struct ResponseTranslator {
    input: Input,
    output: Output,
    served: &'static Codec,
    caller: &'static Codec,
    request: Request,
    collector: Collector,
    unwrap: Unwrap,
    /// Bytes of the part that is open.
    part: usize,
    /// The stream was broken, or the provider has reported an error: nothing follows.
    is_over: bool,
}

enum Input {
    Sse(Box<sse::Decoder>, Box<dyn EventReader>),
    Amazon(event_stream::Decoder, Box<dyn EventReader>),
    Ndjson(ndjson::Decoder, Box<dyn EventReader>),
    Whole(Vec<u8>),
}

enum Output {
    Events(Box<dyn EventWriter>),
    Whole,
}

impl ResponseTranslator {
    /// For the response of a provider of `served` to a caller of `caller`. `framing` is how the
    /// provider's body is cut into events, if it is; up to `room` bytes of a stream are kept for
    /// [`response`](Self::response).
    #[must_use]
    pub fn new(
        served: &'static Codec,
        caller: &'static Codec,
        mut request: Request,
        framing: Option<Framing>,
        room: usize,
    ) -> Self {
        request.created = now();
        let input = match framing {
            Some(Framing::Text) => Input::sse(served),
            Some(Framing::Amazon) => {
                Input::Amazon(event_stream::Decoder::default(), (served.reader)())
            }
            Some(Framing::Ndjson) => {
                Input::Ndjson(ndjson::Decoder::new(LONGEST), (served.reader)())
            }
            None => Input::Whole(Vec::new()),
        };
        let mut unwrap = Unwrap::of(&request);
        if served.expresses.contains(&Feature::FreeformTools) {
            unwrap = Unwrap::default();
        }
        let (output, room) = match request.delivery {
            Delivery::Whole => (Output::Whole, LONGEST),
            Delivery::Events { .. } | Delivery::Array => {
                (Output::Events((caller.writer)(&request)), room)
            }
        };
        Self {
            input,
            output,
            served,
            caller,
            request,
            collector: Collector::new(room),
            unwrap,
            part: 0,
            is_over: false,
        }
    }

    fn pass(&mut self, events: Vec<Event>, out: &mut Vec<u8>) -> Result<(), Failure> {
        for mut event in events {
            self.identify(&mut event);
            self.measure(&event)?;
            for event in self.unwrap.event(event) {
                self.collector.add(&event);
                if let Output::Events(writer) = &mut self.output {
                    writer.write(event, out);
                    writer.check()?;
                }
            }
        }
        Ok(())
    }

    /// Gives ids where the provider gives none, so that the stream and the response that is kept have the
    /// same.
    fn identify(&self, event: &mut Event) {
        match event {
            Event::Start { id, .. } if id.as_deref().unwrap_or_default().is_empty() => {
                *id = Some(new_id(self.caller.response_ids));
            }
            Event::Open(Open::ToolCall { id, .. }) if id.is_empty() => {
                *id = self.caller.call_ids.map(new_id).unwrap_or_default();
            }
            _ => {}
        }
    }

    fn measure(&mut self, event: &Event) -> Result<(), Failure> {
        match event {
            Event::Open(open) => self.part = open.size(),
            Event::Delta(delta) => self.part = self.part.saturating_add(delta.size()),
            _ => {}
        }
        if self.part > LONGEST {
            return Err(Failure::too_long());
        }
        Ok(())
    }
}

impl Translator for ResponseTranslator {
    fn feed(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
        if self.is_over {
            return Ok(());
        }
        // Some servers don't say that what they send is a stream.
        if matches!(&self.input, Input::Whole(body) if body.is_empty() && begins_events(piece)) {
            self.input = Input::sse(self.served);
        }
        let mut events = Vec::new();
        let read = self.input.feed(piece, &mut events);
        let passed = self.pass(events, out).and(read);
        self.is_over = passed.is_err();
        if passed? && let Output::Events(writer) = &mut self.output {
            writer.ping(out);
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Failure> {
        if std::mem::replace(&mut self.is_over, true) {
            return Ok(());
        }
        let mut events = Vec::new();
        let read = self.input.finish(self.served, &mut events);
        self.pass(events, out).and(read)?;
        match &mut self.output {
            Output::Events(writer) => writer.finish(out),
            Output::Whole if self.collector.is_full() => return Err(Failure::too_long()),
            Output::Whole => out.extend_from_slice(self.response().to_string().as_bytes()),
        }
        Ok(())
    }

    fn response(&self) -> Object {
        (self.caller.write_response)(&self.request, self.collector.response().clone())
    }

    fn is_whole(&self) -> bool {
        matches!(self.output, Output::Whole)
    }

    fn takes_events(&self) -> bool {
        matches!(self.request.delivery, Delivery::Events { .. })
    }

    fn is_held(&self) -> bool {
        matches!(self.input, Input::Whole(_))
    }

    fn has_begun(&self) -> bool {
        *self.collector.response() != Response::default()
    }

    fn is_cut(&self) -> bool {
        self.collector.is_full()
    }
}

/// Whether a body begins as a stream of events does.
fn begins_events(body: &[u8]) -> bool {
    let body = body.trim_ascii_start();
    [&b"data:"[..], b"event:", b"id:", b":"]
        .iter()
        .any(|field| body.starts_with(field))
}

impl Input {
    fn sse(served: &Codec) -> Self {
        Self::Sse(Box::new(sse::Decoder::new(LONGEST)), (served.reader)())
    }

    /// Reads a piece, and answers whether something in it only keeps the connection alive.
    fn feed(&mut self, piece: &[u8], out: &mut Vec<Event>) -> Result<bool, Failure> {
        let (mut result, mut has_ping) = (Ok(()), false);
        match self {
            Self::Whole(body) if body.len() + piece.len() > LONGEST => {
                return Err(Failure::too_long());
            }
            Self::Whole(body) => body.extend_from_slice(piece),
            Self::Sse(decoder, reader) => {
                let (before, comments) = (out.len(), decoder.comments);
                decoder.feed(piece, |event| {
                    has_ping |= event.name == b"ping";
                    if result.is_ok() {
                        result = reader.read(&event, out);
                    }
                });
                has_ping |= decoder.comments > comments;
                if decoder.reduced + decoder.skipped > 0 {
                    return too_long(before, out);
                }
            }
            Self::Ndjson(decoder, reader) => {
                let before = out.len();
                decoder.feed(piece, |event| {
                    if result.is_ok() {
                        result = reader.read(&event, out);
                    }
                });
                if decoder.reduced + decoder.skipped > 0 {
                    return too_long(before, out);
                }
            }
            Self::Amazon(decoder, reader) => {
                decoder.feed(piece, |event| {
                    if result.is_ok() {
                        result = reader.read(&event, out);
                    }
                });
                if result.is_ok() && (decoder.lost || decoder.unread > 0) {
                    return Err(Failure::new("the provider's stream can't be read"));
                }
            }
        }
        result.map(|()| has_ping)
    }

    fn finish(&mut self, served: &Codec, out: &mut Vec<Event>) -> Result<(), Failure> {
        match self {
            Self::Whole(body) => {
                let body = Json::read(body);
                let body = body.map_err(|_| Failure::new("the provider's response isn't JSON"))?;
                let response: Response = (served.read_response)(&body)?;
                out.extend(response.into_events());
                Ok(())
            }
            Self::Sse(decoder, reader) => {
                let mut result = Ok(());
                decoder.end(|event| result = reader.read(&event, out));
                result?;
                reader.finish(out)
            }
            Self::Ndjson(decoder, reader) => {
                let mut result = Ok(());
                decoder.end(|event| result = reader.read(&event, out));
                result?;
                reader.finish(out)
            }
            Self::Amazon(_, reader) => reader.finish(out),
        }
    }
}

/// Refuses a stream with an event that was too long to hold. What was read of it is a copy with cut texts.
fn too_long<T>(before: usize, out: &mut Vec<Event>) -> Result<T, Failure> {
    out.truncate(before);
    Err(Failure::new(
        "an event of the provider's stream is too long",
    ))
}
