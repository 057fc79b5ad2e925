//! Citations, whose `location` has a member for each kind of source.

use crate::formats::translate::{Citation, InDocument, Json, Object, Unit, object};

/// The members of a location that stand for a place in a document of the request.
const PLACES: [(Unit, &str); 3] = [
    (Unit::Block, "documentChunk"),
    (Unit::Char, "documentChar"),
    (Unit::Page, "documentPage"),
];

/// A citation.
pub(super) fn read(json: &Json) -> Citation {
    let words = |json: &Json| json.words().map(str::to_owned);
    let location = json.at("location");
    let mut places = PLACES.into_iter();
    let document = places.find_map(|(unit, key)| {
        let place = location.at(key);
        Some(InDocument {
            index: place.at("documentIndex").whole()?,
            unit,
            start: place.at("start").whole()?,
            end: place.at("end").whole()?,
        })
    });
    let quotes = json.at("sourceContent").list().iter();
    let quote: String = quotes.filter_map(|one| one.at("text").text()).collect();
    Citation {
        url: words(location.at("web").at("url")).or_else(|| words(json.at("source"))),
        title: words(json.at("title")),
        quote: (!quote.is_empty()).then_some(quote),
        span: None,
        document,
    }
}

/// The same in the API's words.
pub(super) fn write(citation: &Citation) -> Object {
    let mut out = Object::default();
    out.put_some("title", citation.title.as_ref());
    if let Some(quote) = &citation.quote {
        out.put("sourceContent", vec![object! { "text": quote }]);
    }
    let mut location = Object::default();
    if let Some(document) = &citation.document {
        let place = object! {
            "documentIndex": document.index,
            "start": document.start,
            "end": document.end,
        };
        let mut places = PLACES.into_iter();
        let key = places.find(|(unit, _)| *unit == document.unit);
        location.put(key.map_or("documentChunk", |(_, key)| key), place);
    } else if let Some(url) = &citation.url {
        location.put("web", object! { "url": url });
    }
    if !location.is_empty() {
        out.put("location", location);
    }
    out
}
