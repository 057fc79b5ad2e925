//! Images of a message or of a completion.

use crate::formats::translate::{Content, Fields, Media, MediaKind, Part, Source, Untranslatable};

type Read<T> = Result<T, Untranslatable>;

/// How the Base64 of each type of image begins: Ollama's images have no type.
const IMAGES: [(&str, &str); 5] = [
    ("iVBORw", "image/png"),
    ("/9j/", "image/jpeg"),
    ("R0lGOD", "image/gif"),
    ("UklGR", "image/webp"),
    ("Qk", "image/bmp"),
];

/// Takes the images of a message or of a completion.
pub(super) fn images(of: &mut Fields) -> Read<Vec<Part>> {
    let images = of.list("images")?.into_iter().map(|item| {
        let path = item.path().to_owned();
        image(&path, &item.text()?)
    });
    images.collect()
}

fn image(path: &str, data: &str) -> Read<Part> {
    if data.starts_with("data:") || data.contains("://") {
        let why = "is a URL: Ollama's images are Base64 alone";
        return Err(Untranslatable::new(path, why));
    }
    let mut known = IMAGES.iter();
    let known = known.find(|(start, _)| data.starts_with(start));
    let mime = known.map(|(_, mime)| (*mime).to_owned());
    let media = Media::new(MediaKind::Image, mime, Source::Inline(data.to_owned()));
    Ok(Part::new(Content::Media(media)))
}
