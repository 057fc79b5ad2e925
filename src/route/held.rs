//! State that lives at a provider. A response can name what its provider keeps, such as itself, a conversation, a
//! container, a file, or reasoning that only that provider can decrypt. A later request that names it works
//! nowhere else, so it is remembered which provider made what.
//!
//! What is remembered is a hash of each name, not the name. Names are found by a scan of the JSON as it passes,
//! which needs neither the whole body nor room for it.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use memchr::memchr3;

/// Names that are remembered; the oldest are forgotten first.
const MOST: usize = 100_000;
/// Names of one response that are remembered.
const MOST_OF_ONE: usize = 512;
/// Objects and lists inside each other that are told apart.
const DEEPEST: usize = 64;
/// No key of interest is longer.
const LONGEST_KEY: usize = 24;
/// The format in which each item of a response has an id by which it can be named.
const RESPONSES: &str = "openai_responses";

/// Which provider made what.
#[derive(Clone, Default)]
pub struct Held {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    makers: HashMap<u64, Arc<str>>,
    order: VecDeque<u64>,
}

/// The provider that holds what a request names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its id.
    pub provider: Arc<str>,
    /// No other provider could answer; else another one is likely to.
    pub is_needed: bool,
}

impl Held {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What remembers the names in a response of a provider in a format.
    #[must_use]
    pub fn remember(&self, provider: &str, format: &str) -> Remember {
        Remember {
            held: self.clone(),
            provider: provider.into(),
            is_responses: format == RESPONSES,
            scan: Scan::default(),
            left: MOST_OF_ONE,
            last: None,
        }
    }

    /// The provider that made what a request in a format names. The last name counts, but what
    /// only one provider can know wins over the rest.
    #[must_use]
    pub fn holder(&self, format: &str, body: &[u8]) -> Option<Holder> {
        let inner = self.lock();
        if inner.makers.is_empty() {
            return None;
        }
        let mut found: Option<Holder> = None;
        let mut scan = Scan::default();
        scan.read(body, &mut |name| {
            let Some(is_needed) = name.is_named(format == RESPONSES) else {
                return;
            };
            let Some(provider) = inner.makers.get(&name.hash) else {
                return;
            };
            if is_needed || found.as_ref().is_none_or(|found| !found.is_needed) {
                found = Some(Holder {
                    provider: Arc::clone(provider),
                    is_needed,
                });
            }
        });
        found
    }

    fn add(&self, name: u64, provider: &Arc<str>) {
        let mut inner = self.lock();
        if inner.makers.insert(name, Arc::clone(provider)).is_none() {
            inner.order.push_back(name);
            if inner.order.len() > MOST
                && let Some(oldest) = inner.order.pop_front()
            {
                inner.makers.remove(&oldest);
            }
        }
    }
}

/// Remembers the names in a response as it passes.
pub struct Remember {
    held: Held,
    provider: Arc<str>,
    is_responses: bool,
    scan: Scan,
    left: usize,
    /// Events of a stream repeat it.
    last: Option<u64>,
}

impl Remember {
    /// Reads a piece.
    pub fn read(&mut self, piece: &[u8]) {
        let Self {
            held,
            provider,
            is_responses,
            scan,
            left,
            last,
        } = self;
        scan.read(piece, &mut |name| {
            if *left > 0 && name.is_made(*is_responses) && *last != Some(name.hash) {
                *left -= 1;
                *last = Some(name.hash);
                held.add(name.hash, provider);
            }
        });
    }
}

/// Keys by which state is named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Key {
    #[default]
    Other,
    Id,
    PreviousResponse,
    Conversation,
    Container,
    ContainerId,
    File,
    Files,
    CachedContent,
    Encrypted,
    Audio,
    Input,
    Type,
}

impl Key {
    fn of(name: &[u8]) -> Self {
        match name {
            b"id" => Self::Id,
            b"previous_response_id" => Self::PreviousResponse,
            b"conversation" => Self::Conversation,
            b"container" => Self::Container,
            b"container_id" => Self::ContainerId,
            b"file_id" | b"fileUri" | b"file_uri" => Self::File,
            b"file_ids" => Self::Files,
            b"cachedContent" | b"cached_content" => Self::CachedContent,
            b"encrypted_content" => Self::Encrypted,
            b"audio" => Self::Audio,
            b"input" => Self::Input,
            b"type" => Self::Type,
            _ => Self::Other,
        }
    }
}

/// A text in a body that may name state.
struct Name {
    key: Key,
    /// The key of the object or list that it stands in.
    parent: Key,
    hash: u64,
    /// How it begins.
    start: [u8; 3],
    /// It stands in a reference to an item, as far as that is known.
    is_reference: bool,
}

impl Name {
    /// Whether a response says with it that the provider keeps something.
    fn is_made(&self, is_responses: bool) -> bool {
        match self.key {
            Key::Id => {
                is_responses
                    || matches!(self.parent, Key::Container | Key::Conversation | Key::Audio)
            }
            Key::Encrypted | Key::ContainerId | Key::File => true,
            _ => false,
        }
    }

    /// Whether a request names with it what a provider keeps: and if so, whether no other
    /// provider could do without.
    fn is_named(&self, is_responses: bool) -> Option<bool> {
        match (self.key, self.parent) {
            (
                Key::PreviousResponse
                | Key::Conversation
                | Key::Container
                | Key::ContainerId
                | Key::File
                | Key::CachedContent
                | Key::Encrypted,
                _,
            )
            | (Key::Id, Key::Conversation | Key::Container | Key::Audio)
            | (Key::Other, Key::Files) => Some(true),
            // Reasoning without its text, or an item that is only named.
            (Key::Id, Key::Input) if is_responses => {
                Some(self.is_reference || &self.start == b"rs_")
            }
            _ => None,
        }
    }
}

/// Where a scan is in a text.
#[derive(Default)]
enum Text {
    #[default]
    Outside,
    /// In one that is or may be a key: what there is of it.
    Key,
    /// In one that is a value of interest.
    Value(std::hash::DefaultHasher),
    /// In one that is none.
    Skipped,
}

/// Finds texts by their keys in JSON that comes in pieces, alone or in the events of a stream.
#[derive(Default)]
struct Scan {
    text: Text,
    escaped: bool,
    /// The beginning of the text.
    start: [u8; LONGEST_KEY],
    length: usize,
    /// The key of which the value comes next.
    key: Option<Key>,
    /// A text has ended that a colon would make a key.
    ended: Option<Key>,
    /// The key of each object or list that is open, and whether it is a list.
    open: Vec<(Key, bool)>,
    /// Objects and lists that are too deep to be told apart.
    deeper: usize,
    /// The id of an item that has not ended, which its type may follow.
    item: Option<Name>,
    is_reference: bool,
    after_line: bool,
}

static HASH: LazyLock<RandomState> = LazyLock::new(RandomState::new);

impl Scan {
    fn read(&mut self, mut bytes: &[u8], found: &mut dyn FnMut(&Name)) {
        while let Some((first, rest)) = bytes.split_first() {
            match &mut self.text {
                Text::Outside => {
                    self.outside(*first, found);
                    bytes = rest;
                }
                Text::Skipped if !self.escaped => {
                    let Some(at) = memchr3(b'"', b'\\', b'\n', bytes) else {
                        return;
                    };
                    match bytes[at] {
                        b'\\' => self.escaped = true,
                        b'"' => self.ends(found),
                        _ => self.reset(),
                    }
                    bytes = &bytes[at + 1..];
                }
                _ => {
                    self.inside(*first, found);
                    bytes = rest;
                }
            }
        }
    }

    /// What came so far is no JSON, or has ended.
    fn reset(&mut self) {
        *self = Self::default();
    }

    fn parent(&self) -> Key {
        self.open.last().map_or(Key::Other, |(key, _)| *key)
    }

    fn outside(&mut self, byte: u8, found: &mut dyn FnMut(&Name)) {
        let is_list = self.open.last().is_some_and(|(_, is_list)| *is_list);
        let after_line = std::mem::take(&mut self.after_line);
        match byte {
            b'"' => {
                self.length = 0;
                self.start = [0; LONGEST_KEY];
                let of_interest = match self.key {
                    Some(Key::Other | Key::Input) => false,
                    Some(_) => true,
                    None => is_list && self.parent() == Key::Files,
                };
                self.text = if of_interest {
                    Text::Value(HASH.build_hasher())
                } else if self.key.is_none() && !is_list {
                    Text::Key
                } else {
                    Text::Skipped
                };
            }
            b':' => self.key = self.ended.take(),
            b'{' | b'[' => {
                let is_object = byte == b'{';
                // An object in a list stands where the list does.
                let key = self.key.take().unwrap_or_else(|| self.parent());
                if self.open.len() < DEEPEST {
                    self.open.push((key, !is_object));
                } else {
                    self.deeper += 1;
                }
            }
            b'}' | b']' => {
                if self.deeper > 0 {
                    self.deeper -= 1;
                } else {
                    if byte == b'}' && self.parent() == Key::Input {
                        self.item_ends(found);
                    }
                    self.open.pop();
                }
                self.key = None;
            }
            b',' => self.key = None,
            // A blank line ends an event, whatever became of it.
            b'\n' if after_line => self.reset(),
            b'\n' => self.after_line = true,
            b'\r' => self.after_line = after_line,
            _ => {}
        }
    }

    fn inside(&mut self, byte: u8, found: &mut dyn FnMut(&Name)) {
        if !self.escaped {
            match byte {
                b'\\' => {
                    self.escaped = true;
                    return;
                }
                b'"' => return self.ends(found),
                // No text of JSON has one.
                b'\n' => return self.reset(),
                _ => {}
            }
        } else if byte != b'/' && byte != b'"' && byte != b'\\' {
            // Escapes stay as they are; the few that only hide a letter don't.
            self.take(b'\\');
        }
        self.escaped = false;
        self.take(byte);
    }

    fn take(&mut self, byte: u8) {
        if let Some(place) = self.start.get_mut(self.length) {
            *place = byte;
        }
        self.length = self.length.saturating_add(1);
        if let Text::Value(hasher) = &mut self.text {
            hasher.write_u8(byte);
        }
    }

    fn ends(&mut self, found: &mut dyn FnMut(&Name)) {
        self.escaped = false;
        match std::mem::take(&mut self.text) {
            Text::Key => {
                let name = self.start.get(..self.length).unwrap_or_default();
                self.ended = Some(Key::of(name));
            }
            Text::Value(hasher) => {
                let key = self.key.take().unwrap_or_default();
                if key == Key::Type {
                    let name = self.start.get(..self.length).unwrap_or_default();
                    self.is_reference |= self.parent() == Key::Input && name == b"item_reference";
                } else if self.length > 0 {
                    let name = Name {
                        key,
                        parent: self.parent(),
                        hash: hasher.finish(),
                        start: [self.start[0], self.start[1], self.start[2]],
                        is_reference: false,
                    };
                    if (name.key, name.parent) == (Key::Id, Key::Input) {
                        self.item = Some(name);
                    } else {
                        found(&name);
                    }
                }
            }
            Text::Outside | Text::Skipped => self.key = None,
        }
    }

    /// An item of a request has ended, and with it is known whether it is a reference.
    fn item_ends(&mut self, found: &mut dyn FnMut(&Name)) {
        let is_reference = std::mem::take(&mut self.is_reference);
        if let Some(item) = self.item.take() {
            found(&Name {
                is_reference,
                ..item
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remembered(format: &str, response: &str) -> Held {
        let held = Held::default();
        held.remember("a", format).read(response.as_bytes());
        held
    }

    fn named(held: &Held, format: &str, request: &str) -> Option<bool> {
        let holder = held.holder(format, request.as_bytes())?;
        assert_eq!(&*holder.provider, "a");
        Some(holder.is_needed)
    }

    const RESPONSE: &str = r#"{
      "id": "resp_1", "object": "response", "status": "completed",
      "conversation": { "id": "conv_1" },
      "output": [
        {"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"gAAA\/b+c=="},
        {"type":"message","id":"msg_1","content":[{"type":"output_text","text":"say \"id\":\"text_1\"",
          "annotations":[{"type":"container_file_citation","container_id":"cntr_1","file_id":"cfile_1"}]}]}
      ]}"#;

    #[test]
    fn what_a_response_names_is_found_in_requests() {
        for step in [1, 3, 10_000] {
            let held = Held::default();
            let mut remember = held.remember("a", RESPONSES);
            for piece in RESPONSE.as_bytes().chunks(step) {
                remember.read(piece);
            }
            for (request, expected) in [
                (
                    r#"{"previous_response_id":"resp_1","input":"hi"}"#,
                    Some(true),
                ),
                (r#"{"previous_response_id":"resp_2","input":"hi"}"#, None),
                (r#"{"conversation":"conv_1"}"#, Some(true)),
                (r#"{"conversation":{"id":"conv_1"}}"#, Some(true)),
                (
                    r#"{"input":[{"type":"item_reference","id":"msg_1"}]}"#,
                    Some(true),
                ),
                (
                    r#"{"input":[{"id":"msg_1","type":"item_reference"}]}"#,
                    Some(true),
                ),
                (
                    r#"{"input":[{"type":"reasoning","id":"rs_1","summary":[]}]}"#,
                    Some(true),
                ),
                (
                    r#"{"input":[{"type":"reasoning","encrypted_content":"gAAA/b+c=="}]}"#,
                    Some(true),
                ),
                (
                    r#"{"input":[{"type":"message","id":"msg_1","role":"assistant"}]}"#,
                    Some(false),
                ),
                (
                    r#"{"tools":[{"type":"code_interpreter","container":"cntr_1"}]}"#,
                    Some(true),
                ),
                (
                    r#"{"tools":[{"container":{"type":"auto","file_ids":["x","cfile_1"]}}]}"#,
                    Some(true),
                ),
                (
                    r#"{"input":[{"content":[{"type":"input_file","file_id":"cfile_1"}]}]}"#,
                    Some(true),
                ),
                // Text that reads like JSON is text.
                (r#"{"input":"{\"previous_response_id\":\"resp_1\"}"}"#, None),
                (r#"{"previous_response_id":"text_1"}"#, None),
                (r#"{"metadata":{"id":"resp_1"}}"#, None),
                ("", None),
                (r#"{"previous_response_id":"resp_1"#, None),
            ] {
                assert_eq!(
                    named(&held, RESPONSES, request),
                    expected,
                    "{step} {request}"
                );
            }
        }
    }

    #[test]
    fn streams_and_other_formats() {
        let stream = "event: response.created\ndata: {\"response\":{\"id\":\"resp_1\"}}\n\n: \"ping\ndata: {\"x\":1}\n\n";
        let held = remembered(RESPONSES, stream);
        let next = r#"{"previous_response_id":"resp_1"}"#;
        assert_eq!(named(&held, RESPONSES, next), Some(true));
        let messages = "anthropic_messages";
        let response = r#"{"id":"msg_1","content":[{"type":"tool_use","id":"toolu_1"}],"container":{"id":"c_1"}}"#;
        let held = remembered(messages, response);
        assert_eq!(named(&held, messages, r#"{"container":"c_1"}"#), Some(true));
        assert_eq!(
            named(&held, messages, r#"{"container":{"id":"c_1"}}"#),
            Some(true)
        );
        let turn = r#"{"messages":[{"content":[{"type":"tool_use","id":"toolu_1"}]}]}"#;
        assert_eq!(named(&held, messages, turn), None);
        let chat = "openai_chat";
        let held = remembered(
            chat,
            r#"{"id":"c","choices":[{"message":{"audio":{"id":"au_1"}}}]}"#,
        );
        let turn = r#"{"messages":[{"role":"assistant","audio":{"id":"au_1"}}]}"#;
        assert_eq!(named(&held, chat, turn), Some(true));
    }

    #[test]
    fn what_is_needed_wins_and_the_last_of_equals_counts() {
        let held = Held::default();
        for (provider, id) in [("a", "resp_a"), ("b", "msg_b"), ("c", "msg_c")] {
            let text = format!(r#"{{"id":"{id}"}}"#);
            held.remember(provider, RESPONSES).read(text.as_bytes());
        }
        let holder = |request: &str| held.holder(RESPONSES, request.as_bytes()).unwrap();
        let input = r#""input":[{"id":"msg_b"},{"id":"msg_c"}]"#;
        assert_eq!(&*holder(&format!("{{{input}}}")).provider, "c");
        let both = format!(r#"{{"previous_response_id":"resp_a",{input}}}"#);
        assert_eq!(&*holder(&both).provider, "a");
    }

    #[test]
    fn there_is_a_bound_on_what_is_remembered() {
        let held = Held::default();
        let ids = |from: usize, to: usize| {
            let ids = (from..to).map(|nth| format!(r#"{{"id":"r{nth}"}}"#));
            ids.collect::<String>()
        };
        held.remember("a", RESPONSES).read(ids(0, 2_000).as_bytes());
        assert_eq!(held.lock().makers.len(), MOST_OF_ONE);
        let provider: Arc<str> = "a".into();
        for name in 0..150_000 {
            held.add(name, &provider);
        }
        assert_eq!(held.lock().makers.len(), MOST);
        assert_eq!(held.lock().order.len(), MOST);
        // Depth has no end.
        let mut scan = Scan::default();
        scan.read("[{".repeat(100_000).as_bytes(), &mut |_| {});
        assert!(scan.open.len() <= DEEPEST);
    }
}
