//! Files of the gateway's as the source of a document or an image: `{"type": "file", "file_id": …}`.

use serde_json::json;

use crate::formats::attached::{Attaching, unfit};

pub(in crate::formats) const ATTACHING: Attaching = Attaching {
    named: |part| {
        let is_file = part.get("type").is_some_and(|kind| kind.is("file"));
        part.get("file_id").filter(|_| is_file)?.text()
    },
    inline: |_, file| {
        if let Some(text) = file.text() {
            // The API has one type for text.
            return Ok(json!({ "type": "text", "media_type": "text/plain", "data": text }));
        }
        if !file.is_image() && file.kind != "application/pdf" {
            return Err(unfit(file, "a picture, a PDF or text"));
        }
        Ok(json!({ "type": "base64", "media_type": file.kind, "data": file.base64() }))
    },
};
