//! What may stand in a configuration: each key with its type, its default and what it is for.
//! The JSON Schema that editors use and the reference in `docs/CONFIGURATION.md` are made of it,
//! and tests hold it to the readers of the sections: to the keys that they ask for, the words
//! that they take, and the defaults that they leave.

mod access;
mod fits;
mod json;
mod keys;
mod markdown;
mod providers;
mod records;

pub use json::json_schema;
pub use markdown::reference;

use super::finding::{Finding, meant};
use super::table::Item;

/// A key of an object.
#[derive(Clone, Copy, Debug)]
struct Key {
    name: &'static str,
    kind: Kind,
    meaning: &'static str,
    /// What holds without it, as JSON; none if that is nothing, or depends on other keys.
    default: Option<&'static str>,
    /// The object does nothing without it.
    required: bool,
    /// A value that is not the default, as JSON.
    example: Option<&'static str>,
    /// Read and checked, and without effect so far.
    idle: bool,
}

/// What a value may be. Texts may hold `${…}` wherever they stand.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Any text.
    Text,
    /// `true` or `false`.
    Flag,
    /// A whole number between two bounds.
    Integer(i64, i64),
    /// A number from 0 on.
    Number,
    /// A text such as `"1h30m"`.
    Duration,
    /// A text such as `":80"`, or `""`.
    Port,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A list.
    List(&'static Kind),
    /// An object with these keys.
    Object(&'static [Key]),
    /// An object from names to values of one kind; the text says what the names are.
    Map(&'static str, &'static Kind),
    /// Any one of these.
    Any(&'static [Kind]),
    /// An object from names of capabilities to lists of objects.
    Capabilities(&'static [Key]),
    /// An object of prices, with these keys besides.
    Prices(&'static [Key]),
}

const fn key(name: &'static str, kind: Kind, meaning: &'static str) -> Key {
    Key {
        name,
        kind,
        meaning,
        default: None,
        required: false,
        example: None,
        idle: false,
    }
}

impl Key {
    const fn default(mut self, json: &'static str) -> Self {
        self.default = Some(json);
        self
    }

    const fn example(mut self, json: &'static str) -> Self {
        self.example = Some(json);
        self
    }

    const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    const fn idle(mut self) -> Self {
        self.idle = true;
        self
    }
}

/// What is known of a field of a capability object.
pub(super) enum Field {
    /// It acts, and its value is as described.
    Sound,
    /// It acts, and its value is not as described: in this.
    Broken(Finding),
    /// Known, and without effect so far.
    Idle,
    /// Not known.
    Unknown,
}

/// The field of a capability object that was probably meant.
pub(super) fn meant_field(name: &str) -> Option<&'static str> {
    meant(name, access::CAPABILITY.iter().map(|key| key.name))
}

/// Looks at a field of a capability object.
pub(super) fn capability_field(name: &str, value: &Item<'_>) -> Field {
    match access::CAPABILITY.iter().find(|key| key.name == name) {
        None => Field::Unknown,
        Some(key) if key.idle => Field::Idle,
        Some(key) => fits::misfit(key.kind, value).map_or(Field::Sound, Field::Broken),
    }
}

#[cfg(test)]
pub(crate) mod tests;
