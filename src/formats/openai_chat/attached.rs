//! Files of the gateway's in messages: `{"type": "file", "file": {"file_id": …}}`.

use serde_json::json;

use crate::formats::attached::Attaching;

pub(super) const ATTACHING: Attaching = Attaching {
    inside: &["messages", "content"],
    named: |part| {
        let is_file = part.get("type").is_some_and(|kind| kind.is("file"));
        let id = part.get("file").filter(|_| is_file)?.get("file_id")?;
        id.text()
    },
    inline: |_, file| {
        // Servers that take no documents take text and pictures.
        if let Some(text) = file.text() {
            return Ok(json!({ "type": "text", "text": text }));
        }
        Ok(if file.is_image() {
            json!({ "type": "image_url", "image_url": { "url": file.data_url() } })
        } else {
            let inner = json!({ "filename": file.name, "file_data": file.data_url() });
            json!({ "type": "file", "file": inner })
        })
    },
};
