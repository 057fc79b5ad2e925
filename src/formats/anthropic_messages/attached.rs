//! Files of the gateway's in documents and images: `{"source": {"type": "file", "file_id": …}}`.

use serde_json::json;

use crate::formats::attached::{Attaching, unfit};

/// Kinds of pictures that the API takes.
const IMAGES: [&str; 4] = ["image/jpeg", "image/png", "image/gif", "image/webp"];

pub(in crate::formats) const ATTACHING: Attaching = Attaching {
    inside: &["messages", "system", "content"],
    named: |part| {
        let kind = part.get("type")?;
        let takes_one = kind.is("document") || kind.is("image");
        let source = part.get("source").filter(|_| takes_one)?;
        let is_file = source.get("type").is_some_and(|kind| kind.is("file"));
        source.get("file_id").filter(|_| is_file)?.text()
    },
    inline: |part, file| {
        let is_image = part.get("type").is_some_and(|kind| kind.is("image"));
        let source = match file.text() {
            // The API has one type for text.
            Some(text) if !is_image => {
                json!({ "type": "text", "media_type": "text/plain", "data": text })
            }
            _ if is_image && !IMAGES.contains(&file.kind.as_str()) => {
                return Err(unfit(
                    file,
                    "a picture in the format JPEG, PNG, GIF or WebP",
                ));
            }
            _ if !is_image && file.kind != "application/pdf" => {
                return Err(unfit(file, "a PDF or text"));
            }
            _ => json!({ "type": "base64", "media_type": file.kind, "data": file.base64() }),
        };
        let mut inline = part.value();
        inline["source"] = source;
        Ok(inline)
    },
};
