//! How a section of the document is declared: once, beside the code that uses it. [`section!`]
//! makes of one declaration the struct, its defaults, the reader with its findings, the keys that
//! the JSON Schema and the reference are printed from, and which of them wait for the next start.
//!
//! A declarative macro, because what it makes is short enough to write out by hand: an error in a
//! declaration is an ordinary error of the compiler in that line. A derive would be another crate
//! to build, and `schemars` knows neither positions nor our pages.

use serde_json::Value;

use super::finding::{Finding, Severity};
use super::hujson::Value as Literal;
use super::table::{Item, Table};

/// A key of an object.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What its value may be.
    pub kind: Kind,
    /// What it is for, in Markdown.
    pub meaning: &'static str,
    /// What holds without it; `None` if that is nothing, or depends on other keys.
    pub default: Option<Value>,
    /// What that says of secrets.
    pub holds: Holds,
    /// The object does nothing without it.
    pub required: bool,
    /// A value that is not the default, as JSON.
    #[cfg(test)]
    pub example: Option<&'static str>,
    /// Read and checked, and without effect so far.
    pub idle: bool,
}

impl Key {
    pub(crate) fn new(name: &'static str, kind: Kind, meaning: &'static str) -> Self {
        Self {
            name,
            kind,
            meaning: meaning.trim_start(),
            default: None,
            holds: match kind {
                Kind::Secret => Holds::Secret,
                _ => Holds::Nothing,
            },
            required: false,
            #[cfg(test)]
            example: None,
            idle: false,
        }
    }

    pub(crate) fn default(mut self, default: Option<Value>) -> Self {
        self.default = default;
        self
    }

    pub(crate) fn holds(mut self, holds: Holds) -> Self {
        self.holds = holds;
        self
    }

    pub(crate) fn required(mut self) -> Self {
        self.required = true;
        self.default = None;
        self
    }

    pub(crate) fn idle(mut self) -> Self {
        self.idle = true;
        self
    }

    #[cfg_attr(
        not(test),
        expect(unused_mut, unused_variables, reason = "only tests look at examples")
    )]
    pub(crate) fn example(mut self, json: &'static str) -> Self {
        #[cfg(test)]
        {
            self.example = Some(json);
        }
        self
    }
}

/// What the value of a key means for secrets, its own and those beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Holds {
    /// The URL of a server. Its user and its parameters can hold a secret.
    Url,
    /// A URL whose path can be a secret too.
    Webhook,
    /// The URL of a proxy. References in it are replaced as they are.
    Proxy,
    /// Another way to say where the secrets beside it are sent, or who may answer there.
    Destination,
    /// Headers: a list of `"Name: value"`, or a map.
    Headers,
    /// A secret.
    Secret,
    /// None of these.
    Nothing,
}

/// What a value may be. Texts may hold `${…}` wherever they stand.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Any text.
    Text,
    /// A text that is never shown.
    Secret,
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
    Object(fn() -> Vec<Key>),
    /// An object from names to values of one kind; the text says what the names are.
    Map(&'static str, &'static Kind),
    /// Any one of these.
    Any(&'static [Kind]),
    /// An object from names of capabilities to lists of objects.
    Capabilities(fn() -> Vec<Key>),
    /// An object of prices, with these keys besides.
    Prices(fn() -> Vec<Key>),
}

/// A list of texts.
pub(crate) const TEXTS: Kind = Kind::List(&Kind::Text);

/// A type that has one way to be written in the document.
pub(crate) trait Setting: Sized {
    const KIND: Kind;

    /// The value of an item; `None`, with a finding, if it can't be read.
    fn read(item: &Item<'_>) -> Option<Self>;

    /// The value as it would be written; `None` if it stands for the key's absence.
    fn json(&self) -> Option<Value> {
        None
    }
}

/// One of several ways to write a type in the document. [`Plain`] is that of a [`Setting`].
pub(crate) trait Reader<T> {
    fn kind(&self) -> Kind;

    /// As [`Setting::read`].
    fn read(&self, item: &Item<'_>) -> Option<T>;

    /// As [`Setting::json`].
    fn json(&self, _value: &T) -> Option<Value> {
        None
    }
}

/// The way of the type itself.
pub(crate) struct Plain;

impl<T: Setting> Reader<T> for Plain {
    fn kind(&self) -> Kind {
        T::KIND
    }

    fn read(&self, item: &Item<'_>) -> Option<T> {
        T::read(item)
    }

    fn json(&self, value: &T) -> Option<Value> {
        value.json()
    }
}

/// A way to write a value for which neither its type nor another reader has one.
pub(crate) struct Way<T> {
    kind: Kind,
    read: fn(&Item<'_>) -> Option<T>,
    json: fn(&T) -> Option<Value>,
}

impl<T> Way<T> {
    pub(crate) const fn new(kind: Kind, read: fn(&Item<'_>) -> Option<T>) -> Self {
        let json = |_: &T| None;
        Self { kind, read, json }
    }

    /// The same, with how a value is written.
    pub(crate) const fn json(mut self, json: fn(&T) -> Option<Value>) -> Self {
        self.json = json;
        self
    }
}

impl<T> Reader<T> for Way<T> {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn read(&self, item: &Item<'_>) -> Option<T> {
        (self.read)(item)
    }

    fn json(&self, value: &T) -> Option<Value> {
        (self.json)(value)
    }
}

/// A choice among words.
pub(crate) trait Choice: Copy + PartialEq + 'static {
    /// Every word, and what it stands for.
    const WORDS: &'static [(&'static str, Self)];

    /// The choice that a word stands for.
    fn of_word(word: &str) -> Option<Self> {
        let mut words = Self::WORDS.iter();
        words
            .find(|(known, _)| *known == word)
            .map(|(_, choice)| *choice)
    }

    /// Its own word.
    fn word(self) -> &'static str {
        let mut words = Self::WORDS.iter();
        let own = words.find(|(word, choice)| *choice == self && !word.is_empty());
        own.map_or("", |(word, _)| word)
    }
}

/// A section, or another object with keys of its own.
pub(crate) trait Section: Default {
    /// Its keys, in the order of the reference.
    fn keys() -> Vec<Key>;

    /// Reads and checks it. What was not asked for is unknown, and found.
    fn of(table: Table<'_>) -> Option<Self>;

    /// The keys that have another value in `now`, and that are read only when the process starts.
    fn waiting(&self, now: &Self) -> Vec<&'static str>;
}

/// Notes that a key is set and does nothing yet.
pub(crate) fn not_yet(table: &Table<'_>, key: &'static str) {
    let Some(item) = table
        .get(key)
        .filter(|item| !matches!(&item.node.value, Literal::String(text) if text.is_empty()))
    else {
        return;
    };
    let message = format!("{:?} is accepted and not yet acting", item.path);
    let note = Finding::new(Severity::Note, item.node.at, &item.path, message);
    item.findings.add(note);
}

/// Declares a section.
///
/// ```text
/// section! {
///     /// What the struct is.
///     pub struct Example {
///         /// What the key is for: the line in the reference.
///         #[key(start, example = "3")]
///         attempts: u32 = 2 => Count(1, 10),
///     }
///     beside {
///         /// Computed while reading; not a key.
///         at: Position,
///     }
///     check: check
/// }
/// ```
///
/// A default is that of the type where none is written, and so is the reader. `as "word"` behind
/// the name is for keys that can't be the name of a field. Options of a key: `start` if it is read
/// only when the process starts (`start = view` compares `view(value)`), `required`, `idle`,
/// `holds` if the value or what stands beside it can be secret, though its type doesn't say so, and
/// `example` with another value than the default for the tests. `check` takes the struct as it was
/// read, and the table, and gives it back, or nothing if it can't be used.
macro_rules! section {
    (
        $(#[$attribute:meta])*
        $vis:vis struct $section:ident {
            $(
                $(#[doc = $doc:literal])+
                $(#[key($($option:tt)*)])?
                $name:ident $(as $written:literal)?: $type:ty $(= $default:expr)? $(=> $reader:expr)?,
            )*
        }
        $(beside {
            $(
                $(#[doc = $beside_doc:literal])+
                $beside:ident: $beside_type:ty $(= $beside_default:expr)?,
            )*
        })?
        $(check: $check:expr)?
    ) => {
        $(#[$attribute])*
        $vis struct $section {
            $($(#[doc = $doc])+ pub $name: $type,)*
            $($($(#[doc = $beside_doc])+ pub $beside: $beside_type,)*)?
        }

        impl Default for $section {
            fn default() -> Self {
                Self {
                    $($name: $crate::config::section!(@default $($default)?),)*
                    $($($beside: $crate::config::section!(@default $($beside_default)?),)*)?
                }
            }
        }

        impl $crate::config::declare::Section for $section {
            fn keys() -> Vec<$crate::config::declare::Key> {
                use $crate::config::declare::{Key, Reader};
                let default = Self::default();
                vec![$({
                    let reader = &$crate::config::section!(@reader $($reader)?);
                    let key = Key::new(
                        $crate::config::section!(@written $name $($written)?),
                        Reader::<$type>::kind(reader),
                        concat!($($doc),+),
                    );
                    let key = key.default(Reader::<$type>::json(reader, &default.$name));
                    $crate::config::section!(@options key, $($($option)*)?)
                }),*]
            }

            fn of(table: $crate::config::table::Table<'_>) -> Option<Self> {
                use $crate::config::declare::Reader;
                let default = Self::default();
                let read = Self {
                    $($name: {
                        let written = $crate::config::section!(@written $name $($written)?);
                        let reader = &$crate::config::section!(@reader $($reader)?);
                        let item = table.get(written);
                        let read = item.and_then(|item| Reader::<$type>::read(reader, &item));
                        read.unwrap_or(default.$name)
                    },)*
                    $($($beside: default.$beside,)*)?
                };
                $(
                    $crate::config::section!(
                        @idle [$($($option)*)?] &table, $crate::config::section!(@written $name $($written)?)
                    );
                )*
                let checked = $crate::config::section!(@check read, &table, $($check)?);
                table.finish();
                checked
            }

            fn waiting(&self, now: &Self) -> Vec<&'static str> {
                let _ = now;
                let keys: [Option<&'static str>; _] = [$(
                    $crate::config::section!(
                        @start [$($($option)*)?]
                        self.$name, now.$name, $crate::config::section!(@written $name $($written)?)
                    )
                ),*];
                keys.into_iter().flatten().collect()
            }
        }

        impl $crate::config::declare::Setting for $section {
            const KIND: $crate::config::declare::Kind = $crate::config::declare::Kind::Object(
                <Self as $crate::config::declare::Section>::keys,
            );

            fn read(item: &$crate::config::table::Item<'_>) -> Option<Self> {
                $crate::config::declare::Section::of(item.table()?)
            }
        }
    };
    (@default) => { Default::default() };
    (@default $default:expr) => { $default };
    (@reader) => { $crate::config::declare::Plain };
    (@reader $reader:expr) => { $reader };
    (@written $name:ident) => { stringify!($name) };
    (@written $name:ident $written:literal) => { $written };
    (@check $read:expr, $table:expr,) => { Some($read) };
    (@check $read:expr, $table:expr, $check:expr) => { Option::from($check($read, $table)) };
    (@start [start = $view:path $(, $($rest:tt)*)?] $before:expr, $now:expr, $key:expr) => {
        ($view(&$before) != $view(&$now)).then_some($key)
    };
    (@start [start $(, $($rest:tt)*)?] $before:expr, $now:expr, $key:expr) => {
        ($before != $now).then_some($key)
    };
    (@start [$($other:tt)*] $before:expr, $now:expr, $key:expr) => { None };
    (@idle [idle $(, $($rest:tt)*)?] $table:expr, $key:expr) => {
        $crate::config::declare::not_yet($table, $key);
    };
    (@idle [$($other:tt)*] $table:expr, $key:expr) => {};
    (@options $key:expr,) => { $key };
    (@options $key:expr, start $(= $view:path)? $(, $($rest:tt)*)?) => {
        $crate::config::section!(@options $key, $($($rest)*)?)
    };
    (@options $key:expr, $option:ident $(= $value:expr)? $(, $($rest:tt)*)?) => {
        $crate::config::section!(@options $key.$option($($value)?), $($($rest)*)?)
    };
}

/// Declares a choice among words. A variant may have several; the first that is not empty is its
/// own. `unknown` is the message for any other word, where one is accepted with a warning.
macro_rules! words {
    (
        $(#[$attribute:meta])*
        $vis:vis enum $choice:ident {
            $($(#[$variant_attribute:meta])* $variant:ident = $word:literal $(| $more:literal)*,)+
        }
        $(unknown: $unknown:expr)?
    ) => {
        $(#[$attribute])*
        $vis enum $choice {
            $($(#[$variant_attribute])* $variant,)+
        }

        impl $crate::config::declare::Choice for $choice {
            const WORDS: &'static [(&'static str, Self)] =
                &[$(($word, Self::$variant), $(($more, Self::$variant),)*)+];
        }

        impl $crate::config::declare::Setting for $choice {
            const KIND: $crate::config::declare::Kind =
                $crate::config::declare::Kind::Word(&[$($word, $($more,)*)+]);

            fn read(item: &$crate::config::table::Item<'_>) -> Option<Self> {
                $crate::config::words!(@read item, $($unknown)?)
            }

            fn json(&self) -> Option<serde_json::Value> {
                Some($crate::config::declare::Choice::word(*self).into())
            }
        }
    };
    (@read $item:expr,) => { $item.choice(<Self as $crate::config::declare::Choice>::WORDS) };
    (@read $item:expr, $unknown:expr) => { $item.choice_or(<Self as $crate::config::declare::Choice>::WORDS, $unknown) };
}

pub(crate) use {section, words};
