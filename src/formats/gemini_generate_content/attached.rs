//! Files of the gateway's in parts: `{"fileData": {"fileUri": "…/v1beta/files/ID"}}`.

use std::borrow::Cow;

use serde_json::json;

use crate::formats::attached::Attaching;

/// What stands in front of the id in a file's URI.
const FILES: &str = "/files/";
/// Names of the same in the spellings that the API takes.
const DATA: [&str; 2] = ["fileData", "file_data"];
const URI: [&str; 2] = ["fileUri", "file_uri"];

pub(in crate::formats) const ATTACHING: Attaching = Attaching {
    inside: &[
        "contents",
        "parts",
        "systemInstruction",
        "system_instruction",
        "functionResponse",
        "function_response",
    ],
    named: |part| {
        let data = DATA.iter().find_map(|key| part.get(key))?;
        let uri = URI.iter().find_map(|key| data.get(key))?;
        Some(match uri.text()? {
            Cow::Borrowed(uri) => Cow::Borrowed(uri.rsplit_once(FILES)?.1),
            Cow::Owned(uri) => Cow::Owned(uri.rsplit_once(FILES)?.1.to_owned()),
        })
    },
    inline: |part, file| {
        let mut inline = part.value();
        if let Some(members) = inline.as_object_mut() {
            members.retain(|key, _| !DATA.contains(&key.as_str()));
        }
        inline["inlineData"] = json!({ "mimeType": file.kind, "data": file.base64() });
        Ok(inline)
    },
};
