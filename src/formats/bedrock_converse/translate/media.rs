//! Pictures and documents: their formats, and the names that documents need.

use std::collections::HashMap;

use crate::formats::translate::{Fields, Media, MediaKind, Object, Source, Untranslatable, object};

/// The API's words for types of pictures. Where two stand for one type, the first is its usual name.
const IMAGES: [(&str, &str); 5] = [
    ("png", "image/png"),
    ("jpeg", "image/jpeg"),
    ("jpeg", "image/jpg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
];
/// The API's words for types of documents.
const DOCUMENTS: [(&str, &str); 10] = [
    ("pdf", "application/pdf"),
    ("csv", "text/csv"),
    ("doc", "application/msword"),
    (
        "docx",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ),
    ("xls", "application/vnd.ms-excel"),
    (
        "xlsx",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ),
    ("html", "text/html"),
    ("txt", "text/plain"),
    ("md", "text/markdown"),
    ("md", "text/x-markdown"),
];
/// The longest name of a document.
const LONGEST_NAME: usize = 200;

/// The content type that one of the API's words stands for.
pub(super) fn mime_of(kind: MediaKind, format: &str) -> Option<&'static str> {
    let known = table(kind).iter().find(|(word, _)| *word == format);
    known.map(|(_, mime)| *mime)
}

/// The API's word for the type of a medium.
pub(super) fn format_of(media: &Media) -> Option<&'static str> {
    let Some(mime) = &media.mime else {
        return match (&media.source, media.kind) {
            (Source::Text(_), _) => Some("txt"),
            (_, kind) => table(kind).first().map(|(word, _)| *word),
        };
    };
    let mime = mime.split(';').next().unwrap_or_default().trim();
    let mime = mime.to_ascii_lowercase();
    let known = table(media.kind).iter().find(|(_, known)| *known == mime);
    let is_text = media.kind == MediaKind::Document
        && (mime.starts_with("text/") || mime == "application/json");
    known
        .map(|(word, _)| *word)
        .or_else(|| is_text.then_some("txt"))
}

fn table(kind: MediaKind) -> &'static [(&'static str, &'static str)] {
    match kind {
        MediaKind::Image => &IMAGES,
        MediaKind::Document => &DOCUMENTS,
        MediaKind::Audio | MediaKind::Video => &[],
    }
}

/// Reads an `image` or a `document` of a caller's.
pub(super) fn read(
    mut block: Fields,
    kind: MediaKind,
    dropped: &mut Vec<String>,
) -> Result<Media, Untranslatable> {
    let format = block.text("format")?;
    let mime = match &format {
        Some(format) => Some(
            mime_of(kind, format)
                .ok_or_else(|| block.refuse("format", format!("`{format}` can't be translated")))?,
        ),
        None => None,
    };
    let mut source = block.needed_object("source")?;
    let from = match source.text("bytes")? {
        Some(bytes) => Some(Source::Inline(bytes)),
        None if kind == MediaKind::Document => source.text("text")?.map(Source::Text),
        None => None,
    };
    let missing = source.refuse("bytes", "is missing");
    source.end()?;
    let mut media = Media::new(kind, mime.map(str::to_owned), from.ok_or(missing)?);
    if kind == MediaKind::Document {
        media.name = block.text("name")?;
        if let Some(mut citations) = block.object("citations")? {
            media.citations = citations.flag("enabled")?.unwrap_or(false);
            citations.end()?;
        }
        block.drop_hints(&["context"], dropped);
    }
    block.end()?;
    Ok(media)
}

/// Writes pictures and documents of one request.
#[derive(Debug, Default)]
pub(super) struct MediaWriter {
    /// Names that documents have, in lower case, and how often each was asked for: the API takes each
    /// only once.
    names: HashMap<String, u64>,
}

impl MediaWriter {
    /// The block for a medium.
    ///
    /// # Errors
    /// If the API doesn't take its type.
    pub(super) fn block(&mut self, media: &Media) -> Result<Object, Untranslatable> {
        let Some(format) = format_of(media) else {
            let mime = media.mime.as_deref().unwrap_or("an unknown type");
            let why = format!("of type `{mime}` can't be translated to {}", super::NAME);
            return Err(Untranslatable::new(word(media.kind), why));
        };
        let source = match &media.source {
            Source::Inline(data) => object! { "bytes": data },
            Source::Text(text) => object! { "text": text },
            Source::Url(_) => {
                let why = format!("at a URL can't be translated to {}", super::NAME);
                return Err(Untranslatable::new(word(media.kind), why));
            }
        };
        if media.kind == MediaKind::Image {
            let image = object! { "format": format, "source": source };
            return Ok(object! { "image": image });
        }
        let mut document = object! {
            "format": format,
            "name": self.name(media.name.as_deref().unwrap_or_default()),
            "source": source,
        };
        if media.citations {
            document.put("citations", object! { "enabled": true });
        }
        Ok(object! { "document": document })
    }

    /// A name by the API's rules: letters, digits, single spaces, hyphens, parentheses and brackets, and
    /// one that no other document has.
    fn name(&mut self, asked: &str) -> String {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-()[]".contains(c);
        let words = asked.split(|c| !allowed(c)).filter(|word| !word.is_empty());
        let mut name = words.collect::<Vec<_>>().join(" ");
        if name.is_empty() {
            "document".clone_into(&mut name);
        }
        // All of it is ASCII, and there is room for a number behind it.
        name.truncate(LONGEST_NAME - 24);
        let base = name.clone();
        let key = base.to_ascii_lowercase();
        while self.names.contains_key(&name.to_ascii_lowercase()) {
            let asked = self.names.entry(key.clone()).or_default();
            *asked += 1;
            name = format!("{base} ({asked})");
        }
        self.names.insert(name.to_ascii_lowercase(), 1);
        name
    }
}

fn word(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Image => "image",
        MediaKind::Document => "document",
        MediaKind::Audio => "audio",
        MediaKind::Video => "video",
    }
}
