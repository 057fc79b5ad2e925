//! Files of the gateway's in the input: the `file_id` of an `input_file` or an `input_image`.

use serde_json::json;

use crate::formats::attached::{Attaching, unfit};

pub(super) const ATTACHING: Attaching = Attaching {
    inside: &["response", "input", "content", "output"],
    named: |part| {
        let kind = part.get("type")?;
        let takes_one = kind.is("input_file") || kind.is("input_image");
        part.get("file_id").filter(|_| takes_one)?.text()
    },
    inline: |part, file| {
        let mut inline = part.value();
        let is_image = part.get("type").is_some_and(|kind| kind.is("input_image"));
        if let Some(members) = inline.as_object_mut() {
            members.remove("file_id");
        }
        if !is_image {
            inline["filename"] = json!(file.name);
            inline["file_data"] = json!(file.data_url());
        } else if file.is_image() {
            inline["image_url"] = json!(file.data_url());
        } else {
            return Err(unfit(file, "a picture"));
        }
        Ok(inline)
    },
};
