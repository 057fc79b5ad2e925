//! What a text rests on. The API counts places in bytes of the text, the form in characters.

use std::collections::{HashMap, HashSet};

use super::places::Places;
use crate::formats::translate::{Citation, Json, Object, object};

/// Bytes of the citations of a response. Each support repeats the chunks that it names.
const MAX_CITATIONS: usize = 4 << 20;
/// Bytes of text that the segments of a response repeat.
const MAX_SEGMENTS: usize = 1 << 20;

/// Citations of a `groundingMetadata`: chunks of the sources, and what of the text each supports. Those
/// past [`MAX_CITATIONS`] are left out.
pub(super) fn of_supports(grounding: &Json, text: &Places) -> Vec<Citation> {
    let chunks = grounding.at("groundingChunks").list();
    let supports = grounding.at("groundingSupports").list();
    if supports.is_empty() {
        return chunks.iter().filter_map(chunk).collect();
    }
    let (mut citations, mut room) = (Vec::new(), MAX_CITATIONS);
    for support in supports {
        let span = span(support.at("segment"), text);
        let mut named = HashSet::new();
        for index in support.at("groundingChunkIndices").list() {
            let index = index.whole().and_then(|index| usize::try_from(index).ok());
            let index = index.filter(|index| named.insert(*index));
            let Some(citation) = index.and_then(|index| chunk(chunks.get(index)?)) else {
                continue;
            };
            let Some(rest) = room.checked_sub(size(&citation)) else {
                return citations;
            };
            room = rest;
            citations.push(Citation { span, ..citation });
        }
    }
    citations
}

/// Bytes that a citation takes.
fn size(citation: &Citation) -> usize {
    let texts = [&citation.url, &citation.title, &citation.quote];
    let texts = texts.into_iter().flatten().map(String::len);
    texts.fold(size_of::<Citation>(), usize::saturating_add)
}

/// Citations of a `citationMetadata`: what the text repeats.
pub(super) fn of_sources(sources: &Json, text: &Places) -> Vec<Citation> {
    let source = |source: &Json| {
        Some(Citation {
            url: Some(source.at("uri").words()?.to_owned()),
            title: source.at("title").words().map(str::to_owned),
            span: span(source, text),
            ..Citation::default()
        })
    };
    let sources = sources.at("citationSources").list().iter();
    sources.filter_map(source).collect()
}

fn chunk(chunk: &Json) -> Option<Citation> {
    let kinds = ["web", "retrievedContext", "maps"];
    let source = kinds.into_iter().map(|kind| chunk.at(kind));
    let source = source.into_iter().find(|source| source.is_object())?;
    let text = |key| source.at(key).words().map(str::to_owned);
    Some(Citation {
        url: text("uri"),
        title: text("title"),
        quote: text("text"),
        ..Citation::default()
    })
}

fn span(place: &Json, text: &Places) -> Option<(u64, u64)> {
    let end = place.at("endIndex").whole()?;
    let start = place.at("startIndex").whole().unwrap_or(0);
    let is_later = place.at("partIndex").whole().unwrap_or(0) > 0;
    (!is_later).then_some(())?;
    Some((text.characters(start)?, text.characters(end)?))
}

/// Gathers what a response rests on.
#[derive(Debug)]
pub(super) struct Grounding {
    chunks: Vec<Object>,
    numbers: HashMap<String, usize>,
    supports: Vec<Object>,
    /// Bytes of text that segments may still repeat.
    room: usize,
}

impl Default for Grounding {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            numbers: HashMap::new(),
            supports: Vec::new(),
            room: MAX_SEGMENTS,
        }
    }
}

impl Grounding {
    /// Adds a citation of a part with this text, which begins after `before` bytes of others.
    pub(super) fn add(&mut self, citation: &Citation, text: &Places, before: u64) {
        let Some(chunk) = source(citation) else {
            return;
        };
        let next = self.numbers.len();
        let number = *self.numbers.entry(chunk.to_string()).or_insert(next);
        if number == next {
            self.chunks.push(chunk);
        }
        let (start, end) = match citation.span {
            Some((start, end)) => (text.bytes(start), text.bytes(end)),
            None => (0, text.len()),
        };
        let mut segment = object! {
            "startIndex": before.saturating_add(start as u64),
            "endIndex": before.saturating_add(end as u64),
        };
        let text = text.text().get(start..end).unwrap_or_default();
        if let Some(rest) = self.room.checked_sub(text.len()) {
            self.room = rest;
            segment.put("text", text);
        }
        self.supports.push(object! {
            "segment": segment,
            "groundingChunkIndices": vec![Json::from(number)],
        });
    }

    /// What was gathered, as the API has it.
    pub(super) fn put(self, candidate: &mut Object) {
        if !self.chunks.is_empty() {
            let grounding = object! {
                "groundingChunks": self.chunks,
                "groundingSupports": self.supports,
            };
            candidate.put("groundingMetadata", grounding);
        }
    }
}

fn source(citation: &Citation) -> Option<Object> {
    let mut source = Object::default();
    source.put_some("uri", citation.url.as_ref());
    source.put_some("title", citation.title.as_ref());
    if citation.document.is_some() {
        source.put_some("text", citation.quote.as_ref());
        return Some(object! { "retrievedContext": source });
    }
    citation.url.as_ref()?;
    Some(object! { "web": source })
}
