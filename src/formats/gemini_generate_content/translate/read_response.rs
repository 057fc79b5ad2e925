//! A provider's response. Of several candidates the first counts: only one is asked for. A whole response
//! is read as a stream of one event, because each event of a stream has its form.

use super::places::Places;
use super::{NAME, grounding, kind_of, logprobs, stop_of, usage};
use crate::formats::translate::{
    Citation, Collector, Delta, Event, EventReader, Failure, Json, Media, MediaKind, Object, Open,
    Response, Seal, SealKind, Sequence, Source, Stop, new_id,
};
use crate::wire::sse;

/// Bytes of text that are held, in which places of citations are counted.
const MAX_TEXT: usize = 1 << 20;

/// Keys of which a response has at least one.
const OWN: [&str; 3] = ["candidates", "promptFeedback", "usageMetadata"];

pub(super) fn whole(body: &Json) -> Result<Response, Failure> {
    let (mut reader, mut events) = (Reader::default(), Vec::new());
    let is_own = OWN.into_iter().any(|key| !body.at(key).is_null());
    if !is_own && body.at("error").is_null() {
        return Err(Failure::new(
            "the provider's response isn't generated content",
        ));
    }
    reader.response(body, &mut events)?;
    // A whole response has ended, whether or not it says why.
    reader.stop.get_or_insert(Stop::End);
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
    /// The text so far.
    text: Places,
    /// The latest report of what the response rests on: each has all of those before.
    grounding: Json,
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
            Ok(response) => self.response(&response, out),
            Err(_) => Err(Failure::new("an event of the provider's stream isn't JSON")),
        }
    }

    fn finish(&mut self, out: &mut Vec<Event>) -> Result<(), Failure> {
        let Some(stop) = self.stop.take() else {
            return Err(Failure::new("the provider's stream ended before its end"));
        };
        let grounding = std::mem::take(&mut self.grounding);
        self.cite(grounding::of_supports(&grounding, &self.text), out);
        let stop = match stop {
            Stop::End if self.has_calls => Stop::ToolUse,
            stop => stop,
        };
        self.sequence.stop(stop, out);
        Ok(())
    }
}

impl Reader {
    fn response(&mut self, response: &Json, out: &mut Vec<Event>) -> Result<(), Failure> {
        if !response.at("error").is_null() {
            return Err(error(response.at("error")));
        }
        let (id, model) = (response.at("responseId"), response.at("modelVersion"));
        self.sequence.start(id.words(), model.words(), out);
        let mut candidates = response.at("candidates").list().iter();
        let first = candidates.find(|one| one.at("index").whole().unwrap_or(0) == 0);
        let read = first.map_or(Ok(()), |candidate| self.candidate(candidate, out));
        let feedback = response.at("promptFeedback");
        if feedback.at("blockReason").words().is_some() {
            if let Some(words) = feedback.at("blockReasonMessage").words() {
                self.to(State::Between, out);
                self.sequence.open(Open::Refusal, out);
                push(words, out);
                self.sequence.close(out);
            }
            self.stop = Some(Stop::Refused);
        }
        let usage = usage::read(response.at("usageMetadata"));
        if !usage.is_empty() {
            out.push(Event::Usage(usage));
        }
        read
    }

    fn candidate(&mut self, candidate: &Json, out: &mut Vec<Event>) -> Result<(), Failure> {
        for part in candidate.at("content").at("parts").list() {
            self.part(part, out);
        }
        let tokens = logprobs::read(candidate.at("logprobsResult"));
        if self.state == State::Text && !tokens.is_empty() {
            out.push(Event::Delta(Delta::LogProbs(tokens)));
        }
        let sources = candidate.at("citationMetadata");
        self.cite(grounding::of_sources(sources, &self.text), out);
        if candidate.at("groundingMetadata").is_object() {
            self.grounding = candidate.at("groundingMetadata").clone();
        }
        let Some(reason) = candidate.at("finishReason").words() else {
            return Ok(());
        };
        let Some(stop) = stop_of(reason, self.has_calls) else {
            let words = candidate.at("finishMessage").words().unwrap_or_default();
            let words = format!("the model wrote no response: {reason} {words}");
            return Err(Failure::reported(Some(502), words.trim_end()));
        };
        self.stop = Some(stop);
        Ok(())
    }

    fn part(&mut self, part: &Json, out: &mut Vec<Event>) {
        let signature = part.at("thoughtSignature").words();
        let text = part.at("text").text();
        if part.at("thought").flag() == Some(true) {
            self.to(State::Thought, out);
            push(text.unwrap_or_default(), out);
            if let Some(signature) = signature {
                let seal = Seal::new(NAME, SealKind::Signature, signature);
                out.push(Event::Delta(Delta::Seal(seal)));
                self.to(State::Between, out);
            }
            return;
        }
        let call = part.at("functionCall");
        let media = media(part);
        if let Some(signature) = signature {
            self.to(State::Between, out);
            self.sequence.open(Open::Reasoning, out);
            let seal = Seal::new(NAME, SealKind::Next, signature);
            out.push(Event::Delta(Delta::Seal(seal)));
            self.sequence.close(out);
        }
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            self.to(State::Text, out);
            if self.text.len() + text.len() <= MAX_TEXT {
                self.text.push(text);
            }
            push(text, out);
        } else if let Some(name) = call.at("name").words() {
            self.call(name, call, out);
        } else if let Some(media) = media {
            self.to(State::Between, out);
            self.sequence.open(Open::Media(media), out);
            self.sequence.close(out);
        }
    }

    fn call(&mut self, name: &str, call: &Json, out: &mut Vec<Event>) {
        self.has_calls = true;
        self.to(State::Between, out);
        // Other formats find a result by its call's id.
        let id = call.at("id").words();
        let open = Open::ToolCall {
            id: id.map_or_else(|| new_id("call_"), str::to_owned),
            name: name.to_owned(),
            is_freeform: false,
        };
        self.sequence.open(open, out);
        let arguments = match call.at("args") {
            Json::Object(arguments) => arguments.to_string(),
            _ => Object::default().to_string(),
        };
        push(&arguments, out);
        self.sequence.close(out);
    }

    fn cite(&self, citations: Vec<Citation>, out: &mut Vec<Event>) {
        if self.state == State::Text {
            let citations = citations.into_iter().map(Delta::Citation);
            out.extend(citations.map(Event::Delta));
        }
    }

    /// Goes on with a part of this kind.
    fn to(&mut self, state: State, out: &mut Vec<Event>) {
        if std::mem::replace(&mut self.state, state) == state {
            return;
        }
        match state {
            State::Text => self.sequence.open(Open::Text, out),
            State::Thought => self.sequence.open(Open::Reasoning, out),
            State::Between => self.sequence.close(out),
        }
    }
}

fn error(error: &Json) -> Failure {
    let status = error.at("code").whole();
    let status = status.and_then(|status| u16::try_from(status).ok());
    let words = error.at("message").words();
    Failure::reported(status, words.unwrap_or("the provider reports an error"))
}

fn media(part: &Json) -> Option<Media> {
    let (data, file) = (part.at("inlineData"), part.at("fileData"));
    let (of, source) = match (data.at("data").words(), file.at("fileUri").words()) {
        (Some(bytes), _) => (data, Source::Inline(bytes.to_owned())),
        (None, url) => (file, Source::Url(url?.to_owned())),
    };
    let mime = of.at("mimeType").words();
    let kind = mime.map_or(MediaKind::Document, kind_of);
    Some(Media::new(kind, mime.map(str::to_owned), source))
}

fn push(text: &str, out: &mut Vec<Event>) {
    if !text.is_empty() {
        out.push(Event::Delta(Delta::Text(text.to_owned())));
    }
}
