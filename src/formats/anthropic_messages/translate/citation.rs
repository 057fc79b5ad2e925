//! Citations, which have a type for each kind of source.

use crate::formats::translate::{Citation, InDocument, Json, Object, Unit, object};

/// Each unit with its type, and the keys of its start and end.
const PLACES: [(Unit, &str, &str, &str); 3] = [
    (
        Unit::Block,
        "content_block_location",
        "start_block_index",
        "end_block_index",
    ),
    (
        Unit::Char,
        "char_location",
        "start_char_index",
        "end_char_index",
    ),
    (
        Unit::Page,
        "page_location",
        "start_page_number",
        "end_page_number",
    ),
];

/// A citation.
pub(super) fn read(json: &Json) -> Citation {
    let text = |key| json.at(key).text().map(str::to_owned);
    let kind = json.at("type").text().unwrap_or_default();
    let place = PLACES.into_iter().find(|(_, known, ..)| *known == kind);
    let document = place.and_then(|(unit, _, start, end)| {
        Some(InDocument {
            index: json.at("document_index").whole()?,
            unit,
            start: json.at(start).whole()?,
            end: json.at(end).whole()?,
        })
    });
    Citation {
        url: text("url"),
        title: text("document_title").or_else(|| text("title")),
        quote: text("cited_text"),
        span: None,
        document,
    }
}

/// The same in the API's words; `None` for one that names no source.
pub(super) fn write(citation: &Citation) -> Option<Object> {
    let quote = citation.quote.as_deref().unwrap_or_default();
    if let Some(document) = &citation.document {
        let mut places = PLACES.into_iter();
        let (_, kind, start, end) = places.find(|(unit, ..)| *unit == document.unit)?;
        let mut out = object! {
            "type": kind,
            "cited_text": quote,
            "document_index": document.index,
            "document_title": citation.title.as_ref(),
        };
        out.put(start, document.start);
        out.put(end, document.end);
        return Some(out);
    }
    let url = citation.url.as_deref()?;
    Some(object! {
        "type": "web_search_result_location",
        "url": url,
        "title": citation.title.as_ref(),
        "encrypted_index": "",
        "cited_text": quote,
    })
}
