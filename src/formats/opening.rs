//! How a conversation began. APIs without a session send the whole conversation each time, so
//! what its turns have in common is its beginning: the instructions and the first thing that
//! the user said. Clients write the same text in several ways (as a string or as one block, with
//! a mark for the cache that moves on from turn to turn), so it is compared as what it says.
//! `docs/SESSIONS.md` describes what follows from that.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::de::IgnoredAny;
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
pub(super) fn of(instructions: Option<&[u8]>, messages: Option<&[u8]>) -> Option<u64> {
    let messages = messages?;
    let mut opening = Opening::default();
    if let Some(instructions) = instructions {
        opening.say(Cow::Borrowed("system"), instructions);
    }
    match messages.first() {
        Some(b'"') => opening.say(Cow::Borrowed("user"), messages),
        Some(b'{') => opening.add(Message::of(messages)?),
        _ => json::each_element(messages, |message| opening.message(message)),
    }
    opening.found.then(|| {
        let digest = opening.digest.finalize();
        let first = digest.first_chunk().copied().unwrap_or_default();
        u64::from_be_bytes(first)
    })
}

#[derive(Default)]
struct Opening<'a> {
    digest: Sha256,
    /// Who spoke last.
    role: Cow<'a, str>,
    /// Who speaks now. It counts once they say something.
    speaker: Cow<'a, str>,
    /// The user has spoken.
    found: bool,
}

impl<'a> Opening<'a> {
    /// Adds a message of a list. Answers whether the next is looked at too: not once the user has spoken.
    fn message(&mut self, message: &'a [u8]) -> bool {
        if message.first() == Some(&b'"') {
            self.say(Cow::Borrowed("user"), message);
        } else if let Some(message) = Message::of(message) {
            self.add(message);
        } else {
            return false;
        }
        !self.found
    }

    fn add(&mut self, message: Message<'a>) {
        let role = match message.role {
            Some(role) if matches!(&*role, "developer" | "system") => Cow::Borrowed("system"),
            // An item that isn't a message, such as the result of a tool.
            None if message
                .kind
                .as_deref()
                .is_some_and(|kind| kind != "message") =>
            {
                return;
            }
            Some(other) => other,
            None => Cow::Borrowed("user"),
        };
        self.say(role, message.said.unwrap_or(b"\"\""));
    }

    /// Adds what a role said. Instructions in two messages are the same as in one of two parts.
    fn say(&mut self, role: Cow<'a, str>, said: &[u8]) {
        let (is_instruction, is_user) = (role == "system", role == "user");
        self.speaker = role;
        self.content(said, is_instruction, 0);
        self.found |= is_user;
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
                self.digest.update(&*self.role);
                self.digest.update([0]);
            }
            self.digest.update(bytes);
            self.digest.update([0]);
        }
    }
}

/// A message's role, and what it says: `content` or `parts`.
#[derive(Default)]
struct Message<'a> {
    role: Option<Cow<'a, str>>,
    kind: Option<Cow<'a, str>>,
    said: Option<&'a [u8]>,
}

impl<'a> Message<'a> {
    /// Reads an object. `None` if it isn't one, or if its role or its type isn't a string.
    fn of(message: &'a [u8]) -> Option<Self> {
        let mut read = Self::default();
        let mut is_odd = false;
        json::each_member(message, |key, value| {
            let word = match &*key {
                "role" => &mut read.role,
                "type" => &mut read.kind,
                "content" | "parts" => {
                    read.said = Some(value);
                    return true;
                }
                _ => return true,
            };
            *word = json::string(value);
            is_odd |= word.is_none() && value != b"null";
            !is_odd
        })?;
        (!is_odd).then_some(read)
    }
}

#[cfg(test)]
mod tests;
