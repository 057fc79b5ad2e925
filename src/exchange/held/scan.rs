//! Finds the names of what a provider keeps in JSON as it passes.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::LazyLock;

use memchr::{memchr3, memmem};

/// How deep objects and lists inside each other are followed.
pub(super) const DEEPEST: usize = 64;
/// No key of interest is longer.
const LONGEST_KEY: usize = 24;

/// Whether a piece of a stream has only whole events.
pub(super) fn are_events(piece: &[u8]) -> bool {
    piece.ends_with(b"\n\n") || piece.ends_with(b"\r\n\r\n")
}

/// Whether one of the keys that [`Name::is_made`] looks for may be in a piece, for formats whose items aren't
/// named.
pub(super) fn may_name(piece: &[u8]) -> bool {
    static WORDS: LazyLock<[memmem::Finder<'static>; 5]> = LazyLock::new(|| {
        [
            "container",
            "conversation",
            "audio",
            "encrypted_content",
            "\"file",
        ]
        .map(memmem::Finder::new)
    });
    WORDS.iter().any(|word| word.find(piece).is_some())
}

/// Keys by which state is named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Key {
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
pub(super) struct Name {
    key: Key,
    /// The key of the object or list that it stands in.
    parent: Key,
    pub(super) hash: u64,
    /// How it begins.
    start: [u8; 3],
    /// It stands in a reference to an item, as far as that is known.
    is_reference: bool,
}

impl Name {
    /// Whether a response says with it that the provider keeps something.
    pub(super) fn is_made(&self, is_responses: bool) -> bool {
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
    pub(super) fn is_named(&self, is_responses: bool) -> Option<bool> {
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
    /// In one that is of no interest.
    Skipped,
}

/// Finds texts by their keys in JSON that comes in pieces, alone or in the events of a stream.
#[derive(Default)]
pub(super) struct Scan {
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
    pub(super) open: Vec<(Key, bool)>,
    /// Objects and lists that are too deep to be followed.
    deeper: usize,
    /// The id of an item that has not ended, which its type may follow.
    item: Option<Name>,
    is_reference: bool,
    after_line: bool,
}

/// Whether a byte outside of texts leaves a scan where it is.
fn says_nothing(byte: u8) -> bool {
    !matches!(
        byte,
        b'"' | b':' | b'{' | b'[' | b'}' | b']' | b',' | b'\n' | b'\r'
    )
}

/// How many bytes at the beginning are part of a text as they are.
fn plain(bytes: &[u8]) -> usize {
    memchr3(b'"', b'\\', b'\n', bytes).unwrap_or(bytes.len())
}

static HASH: LazyLock<RandomState> = LazyLock::new(RandomState::new);

impl Scan {
    pub(super) fn read(&mut self, mut bytes: &[u8], found: &mut dyn FnMut(&Name)) {
        while let Some((first, rest)) = bytes.split_first() {
            match &mut self.text {
                Text::Outside => {
                    // Numbers, words and blanks say nothing: an embedding has thousands of them.
                    if says_nothing(*first) {
                        self.after_line = false;
                        let next = bytes.iter().position(|byte| !says_nothing(*byte));
                        bytes = &bytes[next.unwrap_or(bytes.len())..];
                    } else {
                        self.outside(*first, found);
                        bytes = rest;
                    }
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
                    let plain = if self.escaped { 0 } else { plain(bytes) };
                    if plain == 0 {
                        self.inside(*first, found);
                        bytes = rest;
                    } else {
                        self.take(&bytes[..plain]);
                        bytes = &bytes[plain..];
                    }
                }
            }
        }
    }

    /// Whether nothing has begun that a next piece could go on with.
    pub(super) fn is_between_events(&self) -> bool {
        matches!(self.text, Text::Outside)
            && self.open.is_empty()
            && self.deeper == 0
            && self.key.is_none()
            && self.ended.is_none()
    }

    /// What came so far isn't JSON, or has ended.
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
            // A blank line ends an event, complete or not.
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
            self.take(b"\\");
        }
        self.escaped = false;
        self.take(&[byte]);
    }

    fn take(&mut self, bytes: &[u8]) {
        let places = self.start.iter_mut().skip(self.length);
        for (place, byte) in places.zip(bytes) {
            *place = *byte;
        }
        self.length = self.length.saturating_add(bytes.len());
        if let Text::Value(hasher) = &mut self.text {
            hasher.write(bytes);
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
