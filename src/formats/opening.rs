//! How a conversation began. APIs without a session send the whole conversation each time, so
//! what its turns have in common is its beginning: the instructions and the first thing that
//! the user said. Clients write the same text in several ways (as a string or as one block, with
//! a mark for the cache that moves on from turn to turn), so it is compared as what it says.
//! `docs/SESSIONS.md` describes what follows from that.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserializer;
use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::wire::json;

/// Parts of one message that are looked at.
const PARTS: usize = 10_000;
/// Marks of a cache: where they stand changes from turn to turn.
const CACHE_MARKS: [&str; 3] = ["cache_control", "cachePoint", "cache_point"];
/// Claude Code's first instruction has a checksum that changes from turn to turn.
const BILLING: &str = "x-anthropic-billing-header:";
/// Levels of a part that are compared.
const DEEPEST: usize = 8;
/// Keys under which the text of a part, or its parts, stand.
const TEXT: [&str; 3] = ["text", "content", "parts"];

/// Stands for the beginning of a conversation: `instructions`, where a format keeps them apart,
/// and `messages`, an array of objects with a `role`, up to the first that is the user's. A plain
/// string counts as one message. `None` if the user says nothing.
pub(super) fn of(instructions: Option<&[u8]>, messages: &[u8]) -> Option<String> {
    let mut opening = Opening::default();
    if let Some(instructions) = instructions {
        opening.say("system", instructions);
    }
    match messages.first() {
        Some(b'"') => opening.say("user", messages),
        Some(b'{') => opening.add(&serde_json::from_slice(messages).ok()?),
        _ => {
            let mut from = serde_json::Deserializer::from_slice(messages);
            // Ends with an error once the user has spoken, so that the rest is not read.
            let _ = from.deserialize_seq(Messages(&mut opening));
        }
    }
    opening.found.then(|| {
        let digest = opening.digest.finalize();
        let first = digest.first_chunk().copied().unwrap_or_default();
        format!("{:016x}", u64::from_be_bytes(first))
    })
}

#[derive(Default)]
struct Opening {
    digest: Sha256,
    /// Who spoke last.
    role: String,
    /// Who speaks now. It counts once they say something.
    speaker: String,
    /// The user has spoken.
    found: bool,
}

impl Opening {
    fn add(&mut self, message: &Message<'_>) {
        let role = match message.role.as_deref() {
            Some("developer" | "system") => "system",
            // An item that is no message, such as the result of a tool.
            None if message
                .kind
                .as_deref()
                .is_some_and(|kind| kind != "message") =>
            {
                return;
            }
            Some(other) => other,
            None => "user",
        };
        let said = message.said.map_or("\"\"", RawValue::get);
        self.say(role, said.as_bytes());
    }

    /// Adds what a role said. Instructions in two messages are the same as in one of two parts.
    fn say(&mut self, role: &str, said: &[u8]) {
        role.clone_into(&mut self.speaker);
        self.content(said, role == "system", 0);
        self.found |= role == "user";
    }

    /// Adds a text, a part, or a list of parts.
    fn content(&mut self, said: &[u8], is_instruction: bool, depth: usize) {
        match said.first() {
            // As if it were left out.
            Some(b'n') => {}
            Some(b'"') => {
                let text = json::string(said).unwrap_or_default();
                self.text(&text, is_instruction);
            }
            Some(b'[') if depth < 4 => {
                let Some(parts) = json::elements(said, PARTS) else {
                    return self.piece(said);
                };
                for part in parts {
                    self.content(&said[part], is_instruction, depth + 1);
                }
            }
            Some(b'{') if depth < 4 => self.part(said, is_instruction, depth),
            _ => self.piece(said),
        }
    }

    fn part(&mut self, part: &[u8], is_instruction: bool, depth: usize) {
        let Ok(fields) = serde_json::from_slice::<BTreeMap<Cow<'_, str>, &RawValue>>(part) else {
            return self.piece(part);
        };
        let kind = fields.get("type").map(|kind| kind.get());
        let is_text = matches!(
            kind,
            None | Some(r#""text""# | r#""input_text""# | r#""output_text""#)
        );
        let said = TEXT.iter().find_map(|key| fields.get(*key));
        if let Some(said) = said.filter(|_| is_text) {
            return self.content(said.get().as_bytes(), is_instruction, depth + 1);
        }
        self.value(part, 0);
    }

    /// An image, a file, a call of a tool: as what it says, however that is written.
    fn value(&mut self, value: &[u8], depth: usize) {
        let value = value.trim_ascii();
        match value.first() {
            Some(b'{') if depth < DEEPEST => self.object(value, depth),
            Some(b'[') if depth < DEEPEST => {
                self.digest.update([1]);
                for element in json::elements(value, PARTS).unwrap_or_default() {
                    self.value(&value[element], depth + 1);
                }
                self.digest.update([2]);
            }
            Some(b'"') => {
                let text = json::string(value).unwrap_or_default();
                let is_json = text.starts_with(['{', '[']) && depth < DEEPEST;
                if is_json && serde_json::from_str::<IgnoredAny>(&text).is_ok() {
                    self.value(text.as_bytes(), depth + 1);
                } else {
                    self.piece(text.as_bytes());
                }
            }
            _ => self.piece(value),
        }
    }

    /// The keys in one order and one spelling, without what changes or is the same as nothing.
    fn object(&mut self, object: &[u8], depth: usize) {
        let members = json::members(object).unwrap_or_default().into_iter();
        let named = members.filter_map(|(key, value)| {
            let key = json::string(&object[key])?;
            let value = &object[value];
            let is_default = matches!((&*key, value), (_, b"null") | ("detail", br#""auto""#));
            let lasts = !is_default && !CACHE_MARKS.contains(&&*key);
            // `inlineData` is `inline_data`.
            let spelled = key.to_ascii_lowercase().replace('_', "");
            lasts.then_some((spelled, value))
        });
        let mut named: Vec<(String, &[u8])> = named.collect();
        named.sort_by(|(one, _), (other, _)| one.cmp(other));
        // An image by its URL is one, in an object or not.
        if let [(key, url)] = &named[..]
            && key == "url"
        {
            return self.value(url, depth + 1);
        }
        if named.is_empty() {
            return;
        }
        self.digest.update([3]);
        for (key, value) in named {
            self.piece(key.as_bytes());
            self.value(value, depth + 1);
        }
        self.digest.update([4]);
    }

    /// Instructions often tell the time: numbers in them don't count.
    fn text(&mut self, text: &str, is_instruction: bool) {
        if is_instruction && text.starts_with(BILLING) {
            return;
        }
        if is_instruction {
            let words: String = text.chars().filter(|char| !char.is_ascii_digit()).collect();
            self.piece(words.as_bytes());
        } else {
            self.piece(text.as_bytes());
        }
    }

    fn piece(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            if self.role != self.speaker {
                self.role.clone_from(&self.speaker);
                self.digest.update(&self.role);
                self.digest.update([0]);
            }
            self.digest.update(bytes);
            self.digest.update([0]);
        }
    }
}

struct Messages<'o>(&'o mut Opening);

impl<'de> Visitor<'de> for Messages<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an array of messages")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(next) = seq.next_element::<&'de RawValue>()? {
            let text = next.get();
            if text.starts_with('"') {
                self.0.say("user", text.as_bytes());
            } else {
                self.0
                    .add(&serde_json::from_str(text).map_err(A::Error::custom)?);
            }
            if self.0.found {
                return Err(A::Error::custom("enough"));
            }
        }
        Ok(())
    }
}

/// A message's role, and what it says: `content` or `parts`.
#[derive(Default)]
struct Message<'a> {
    role: Option<Cow<'a, str>>,
    kind: Option<Cow<'a, str>>,
    said: Option<&'a RawValue>,
}

impl<'de> serde::Deserialize<'de> for Message<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Message<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a message")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Message<'de>, A::Error> {
                let mut message = Message::default();
                while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                    match &*key {
                        "role" => message.role = map.next_value()?,
                        "type" => message.kind = map.next_value()?,
                        "content" | "parts" => message.said = Some(map.next_value()?),
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(message)
            }
        }
        from.deserialize_map(Fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opening(instructions: &str, messages: &str) -> Option<String> {
        let instructions = Some(instructions.as_bytes()).filter(|text| !text.is_empty());
        of(instructions, messages.as_bytes())
    }

    #[test]
    fn the_turns_of_a_conversation_share_its_opening() {
        let first = br#"[{"role":"system","content":"be brief"},{"role":"user","content":"hi"}]"#;
        let second = br#"[{"content":"be brief","role":"system"}, {"role":"user","content":"hi"},
            {"role":"assistant","content":"hello"},{"role":"user","content":"more"}]"#;
        let opening = of(None, first).unwrap();
        assert_eq!(opening.len(), 16);
        assert_eq!(of(None, second).unwrap(), opening);
        let other = br#"[{"role":"system","content":"be brief"},{"role":"user","content":"ho"}]"#;
        assert_ne!(of(None, other).unwrap(), opening);
        assert_ne!(of(Some(b"\"more\""), first).unwrap(), opening);
    }

    #[test]
    fn the_same_text_in_every_form_is_one_opening() {
        let forms = [
            ("", r#""caf\u00e9?""#),
            ("", r#"["café?"]"#),
            ("", r#"[{"role":"user","content":"café?"}]"#),
            (
                "",
                r#"[{"type":"message","role":"user","content":"café?"},{"type":"reasoning"}]"#,
            ),
            (
                "",
                r#"[{"role":"user","content":[{"type":"text","text":"café?"}]}]"#,
            ),
            (
                "",
                r#"[{"role":"user","content":[{"text":"café?","cache_control":{"type":"ephemeral"},"type":"text"}]}]"#,
            ),
            (
                "",
                r#"[{"role":"user","content":[{"type":"input_text","text":"café?"}]}]"#,
            ),
            (
                "",
                r#"[{"role":"user","content":[{"text":"café?"},{"cachePoint":{"type":"default"}}]}]"#,
            ),
            ("", r#"[{"role":"user","parts":[{"text":"café?"}]}]"#),
            ("", r#"[{"parts":[{"text":"café?"}]}]"#),
            ("", r#"{"parts":[{"text":"café?"}]}"#),
            (
                "",
                r#"[{"type":"function_call_output","call_id":"c","output":"1"},{"role":"user","content":"café?"}]"#,
            ),
        ];
        let first = opening(forms[0].0, forms[0].1).unwrap();
        for (instructions, messages) in forms {
            assert_eq!(
                opening(instructions, messages).as_ref(),
                Some(&first),
                "{messages}"
            );
        }
    }

    #[test]
    fn the_same_instructions_in_every_form_are_one_opening() {
        let user = r#"{"role":"user","content":"hi"}"#;
        let list = format!("[{user}]");
        let inside = |message: &str| format!("[{message},{user}]");
        let forms = [
            (r#""be brief, it is 10:22""#, list.clone()),
            (r#""be brief, it is 11:05""#, list.clone()),
            (
                r#"[{"type":"text","text":"be brief, it is 10:22"}]"#,
                list.clone(),
            ),
            (
                r#"[{"type":"text","text":"be brief, it is 10:22","cache_control":{}}]"#,
                list.clone(),
            ),
            (
                r#"[{"text":"be brief, it is 10:22"},{"cachePoint":{"type":"default"}}]"#,
                list.clone(),
            ),
            (
                r#"{"parts":[{"text":"be brief, it is 10:22"}]}"#,
                list.clone(),
            ),
            (
                r#"{"role":"system","parts":[{"text":"be brief, it is 10:22"}]}"#,
                list,
            ),
            (
                "",
                inside(r#"{"role":"system","content":"be brief, it is 10:22"}"#),
            ),
            (
                "",
                inside(
                    r#"{"role":"developer","content":[{"type":"input_text","text":"be brief, it is 9:00"}]}"#,
                ),
            ),
        ];
        let first = opening(forms[0].0, &forms[0].1).unwrap();
        for (instructions, messages) in &forms {
            let found = opening(instructions, messages);
            assert_eq!(found.as_ref(), Some(&first), "{instructions} {messages}");
        }
        let other = opening(r#""be long, it is 10:22""#, &format!("[{user}]"));
        assert_ne!(other.unwrap(), first);
    }

    #[test]
    fn the_same_parts_in_every_form_are_one_opening() {
        let user = |part: &str| format!(r#"[{{"role":"user","content":[{part}]}}]"#);
        let parts = |part: &str| format!(r#"[{{"role":"user","parts":[{part}]}}]"#);
        for same in [
            [
                user(r#"{"type":"image_url","image_url":{"url":"https://h/a.png"}}"#),
                user(
                    r#"{"type":"image_url","image_url":{"url":"https:\/\/h/a.png","detail":"auto"}}"#,
                ),
                user(
                    r#"{"image_url":{"detail":null, "url":"https://h/a.png"},"type":"image_url"}"#,
                ),
                user(r#"{"type":"image_url","image_url":"https://h/a.png"}"#),
            ],
            [
                user(r#"{"type":"input_audio","input_audio":{"data":"AA","format":"wav"}}"#),
                user(r#"{"type":"input_audio","input_audio":{"format":"wav", "data":"AA"}}"#),
                user(
                    r#"{"type":"input_audio","input_audio":{"data":"AA","format":"wav","id":null}}"#,
                ),
                user(
                    r#"{"type":"input_audio","cache_control":{},"input_audio":{"data":"AA","format":"wav"}}"#,
                ),
            ],
            [
                parts(r#"{"inlineData":{"mimeType":"image/png","data":"AA"}}"#),
                parts(r#"{"inline_data":{"mime_type":"image/png","data":"AA"}}"#),
                parts(r#"{"inlineData":{"mime_type":"image/png","data":"AA"}}"#),
                parts(r#"{"inline_data":{"data":"AA","mimeType":"image/png"}}"#),
            ],
            [
                parts(r#"{"fileData":{"fileUri":"gs://b/f","mimeType":"text/plain"}}"#),
                parts(r#"{"file_data":{"file_uri":"gs://b/f","mime_type":"text/plain"}}"#),
                parts(r#"{"file_data":{"fileUri":"gs://b/f","mime_type":"text/plain"}}"#),
                parts(
                    r#"{"fileData":{"mimeType":"text/plain","fileUri":"gs://b/f","displayName":null}}"#,
                ),
            ],
            [
                user(r#"{"type":"tool_use","name":"f","input":{"a":1,"b":[2]}}"#),
                user(r#"{"type":"tool_use","name":"f","input":{ "b" : [ 2 ], "a" : 1 }}"#),
                user(r#"{"type":"tool_use","name":"f","input":"{\"a\":1,\"b\":[2]}"}"#),
                user(r#"{"type":"tool_use","name":"f","input":"{\"b\": [2],  \"a\": 1}"}"#),
            ],
        ] {
            let found = same.each_ref().map(|one| opening("", one).unwrap());
            assert!(
                found.iter().all(|one| *one == found[0]),
                "{same:?} {found:?}"
            );
        }
        for (one, other) in [
            (
                user(r#"{"type":"image_url","image_url":{"url":"u","detail":"high"}}"#),
                user(r#"{"type":"image_url","image_url":{"url":"u"}}"#),
            ),
            (
                user(r#"{"type":"x","a":["b","c"]}"#),
                user(r#"{"type":"x","a":["b"],"c":""}"#),
            ),
        ] {
            assert_ne!(opening("", &one), opening("", &other), "{one}");
        }
    }

    #[test]
    fn what_says_nothing_is_as_if_it_were_left_out() {
        let user = r#"[{"role":"user","content":"hi"}]"#;
        let plain = opening("", user);
        for instructions in ["null", r#""""#, "[]", r#"[{"type":"text","text":""}]"#] {
            assert_eq!(opening(instructions, user), plain, "{instructions}");
        }
        let call = |content: &str| {
            format!(
                r#"[{{"role":"assistant",{content}"tool_calls":[]}},{{"role":"user","content":"hi"}}]"#
            )
        };
        for content in [
            "",
            r#""content":null,"#,
            r#""content":"","#,
            r#""content":[],"#,
        ] {
            assert_eq!(opening("", &call(content)), plain, "{content}");
        }
        let billed = |sum: &str| {
            let header = format!("x-anthropic-billing-header: cc_version=2.1; cch={sum};");
            format!(r#"[{{"type":"text","text":"{header}"}},{{"type":"text","text":"be brief"}}]"#)
        };
        assert_eq!(
            opening(&billed("a1b2c"), user),
            opening(&billed("ffe01"), user)
        );
    }

    #[test]
    fn what_differs_is_another_opening() {
        let image = |data: &str| {
            format!(
                r#"[{{"role":"user","content":[{{"type":"image","source":{{"data":"{data}"}}}},{{"type":"text","text":"what"}}]}}]"#
            )
        };
        let all = [
            r#"[{"role":"user","content":"1"}]"#.to_owned(),
            r#"[{"role":"user","content":"2"}]"#.to_owned(),
            r#"[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]"#.to_owned(),
            r#"[{"role":"user","content":"ab"}]"#.to_owned(),
            r#"[{"role":"assistant","content":"1"},{"role":"user","content":"1"}]"#.to_owned(),
            image("AAAA"),
            image("BBBB"),
        ];
        let mut found: Vec<String> = all.iter().map(|one| opening("", one).unwrap()).collect();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), all.len());
        // The same image with its keys in another order, and a mark.
        let moved = r#"[{"role":"user","content":[{"cache_control":{},"source":{"data":"AAAA"},"type":"image"},{"type":"text","text":"what"}]}]"#;
        assert_eq!(opening("", moved), opening("", &image("AAAA")));
    }

    #[test]
    fn without_a_user_there_is_none() {
        for messages in [
            "[]",
            r#"[{"role":"system","content":"x"}]"#,
            r#"[{"type":"function_call_output","call_id":"c","output":"1"}]"#,
            "[1]",
            "",
        ] {
            assert_eq!(of(None, messages.as_bytes()), None, "{messages}");
        }
        assert!(of(None, br#""just text""#).is_some());
    }
}
