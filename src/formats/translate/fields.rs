//! Reads the objects of a caller's request. Each key is taken out, so that unread keys are
//! known at the end: they are refused by name, and none is lost on the way.

use std::borrow::Cow;

use super::{Json, Object};

/// Why a request can't be translated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {why}")]
pub struct Untranslatable {
    /// The field of the caller's request, as a path: `messages[0].content[1].type`.
    pub field: String,
    /// The rest of a sentence that begins with the field.
    pub why: Cow<'static, str>,
}

impl Untranslatable {
    /// A field that keeps a request from being translated.
    pub fn new(field: impl Into<String>, why: impl Into<Cow<'static, str>>) -> Self {
        Self {
            field: field.into(),
            why: why.into(),
        }
    }
}

/// An object of a request, and where it stands.
#[derive(Debug)]
pub struct Fields {
    path: String,
    object: Object,
}

/// An element of an array of a request, and where it stands.
#[derive(Debug)]
pub struct Item {
    path: String,
    value: Json,
}

type Read<T> = Result<T, Untranslatable>;

impl Fields {
    /// The body of a request.
    ///
    /// # Errors
    /// If it isn't a JSON object.
    pub fn of_body(body: &[u8]) -> Read<Self> {
        match Json::read(body) {
            Ok(Json::Object(object)) => Ok(Self::of_object(object)),
            Ok(_) => Err(Untranslatable::new("body", "isn't a JSON object")),
            Err(error) => {
                let why = format!("can't be read: {error}");
                Err(Untranslatable::new("body", why))
            }
        }
    }

    /// The body of a request that was read before.
    #[must_use]
    pub fn of_object(object: Object) -> Self {
        Self {
            path: String::new(),
            object,
        }
    }

    /// Where a member stands.
    #[must_use]
    pub fn path(&self, key: &str) -> String {
        match self.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        }
    }

    /// A refusal because of a member.
    #[must_use]
    pub fn refuse(&self, key: &str, why: impl Into<Cow<'static, str>>) -> Untranslatable {
        Untranslatable::new(self.path(key), why)
    }

    /// Takes any value.
    pub fn value(&mut self, key: &str) -> Option<Json> {
        self.object.take(key)
    }

    /// Looks at a member that is taken later.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.object
            .members()
            .any(|(name, value)| name == key && !value.is_null())
    }

    /// Takes a string.
    ///
    /// # Errors
    /// If there is another value.
    pub fn text(&mut self, key: &str) -> Read<Option<String>> {
        self.typed(key, "isn't a string", |value| match value {
            Json::Text(text) => Some(text),
            _ => None,
        })
    }

    /// Takes a string that has to be there.
    ///
    /// # Errors
    /// If it is missing, or another value.
    pub fn needed_text(&mut self, key: &str) -> Read<String> {
        let text = self.text(key)?;
        text.ok_or_else(|| self.refuse(key, "is missing"))
    }

    /// Takes a whole number.
    ///
    /// # Errors
    /// If there is another value.
    pub fn whole(&mut self, key: &str) -> Read<Option<u64>> {
        self.typed(key, "isn't a whole number", |value| value.whole())
    }

    /// Takes a number.
    ///
    /// # Errors
    /// If there is another value.
    pub fn number(&mut self, key: &str) -> Read<Option<f64>> {
        self.typed(key, "isn't a number", |value| value.number())
    }

    /// Takes `true` or `false`.
    ///
    /// # Errors
    /// If there is another value.
    pub fn flag(&mut self, key: &str) -> Read<Option<bool>> {
        self.typed(key, "is neither true nor false", |value| value.flag())
    }

    /// Takes an object.
    ///
    /// # Errors
    /// If there is another value.
    pub fn object(&mut self, key: &str) -> Read<Option<Self>> {
        let path = self.path(key);
        self.typed(key, "isn't an object", |value| match value {
            Json::Object(object) => Some(Self { path, object }),
            _ => None,
        })
    }

    /// Takes an object that has to be there.
    ///
    /// # Errors
    /// If it is missing, or another value.
    pub fn needed_object(&mut self, key: &str) -> Read<Self> {
        let object = self.object(key)?;
        object.ok_or_else(|| self.refuse(key, "is missing"))
    }

    /// Takes the elements of an array; none if it is missing.
    ///
    /// # Errors
    /// If there is another value.
    pub fn list(&mut self, key: &str) -> Read<Vec<Item>> {
        let path = self.path(key);
        let list = self.typed(key, "isn't an array", |value| match value {
            Json::List(list) => Some(list),
            _ => None,
        })?;
        Ok(items(&path, list.unwrap_or_default()))
    }

    /// Takes an array of strings; none if it is missing.
    ///
    /// # Errors
    /// If there is another value.
    pub fn texts(&mut self, key: &str) -> Read<Vec<String>> {
        self.list(key)?.into_iter().map(Item::text).collect()
    }

    /// Takes a string or an array: some APIs take a text in place of a list of parts.
    ///
    /// # Errors
    /// If there is another value.
    pub fn text_or_list(&mut self, key: &str) -> Read<Option<TextOrList>> {
        let path = self.path(key);
        self.typed(
            key,
            "is neither a string nor an array",
            |value| match value {
                Json::Text(text) => Some(TextOrList::Text(text)),
                Json::List(list) => Some(TextOrList::List(items(&path, list))),
                _ => None,
            },
        )
    }

    /// Leaves out members that the caller's API calls hints, and notes the names of those that are there.
    pub fn drop_hints(&mut self, keys: &[&str], dropped: &mut Vec<String>) {
        for key in keys {
            if self.object.take(key).is_some() {
                note(dropped, &self.path(key));
            }
        }
    }

    /// Leaves out members that say nothing, such as an id that the caller's API gave.
    pub fn ignore(&mut self, keys: &[&str]) {
        for key in keys {
            self.object.take(key);
        }
    }

    /// The object has been read.
    ///
    /// # Errors
    /// If it has a member that wasn't taken.
    pub fn end(self) -> Read<()> {
        let mut left = self.object.members();
        match left.find(|(_, value)| !value.is_null()) {
            Some((key, _)) => Err(self.refuse(key, "can't be translated")),
            None => Ok(()),
        }
    }

    fn typed<T>(
        &mut self,
        key: &str,
        why: &'static str,
        typed: impl FnOnce(Json) -> Option<T>,
    ) -> Read<Option<T>> {
        let Some(value) = self.object.take(key) else {
            return Ok(None);
        };
        match typed(value) {
            Some(value) => Ok(Some(value)),
            None => Err(self.refuse(key, why)),
        }
    }
}

/// Notes the path of a field that is left out: once, and without the numbers of elements, because a
/// caller may send any number of them.
pub fn note(dropped: &mut Vec<String>, path: &str) {
    let mut pieces = path.split('[');
    let mut name = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let digits = piece.trim_start_matches(|c: char| c.is_ascii_digit());
        if let Some(rest) = digits.strip_prefix(']') {
            name.push_str(rest);
        } else {
            name.push('[');
            name.push_str(piece);
        }
    }
    if !dropped.contains(&name) {
        dropped.push(name);
    }
}

/// A text, or parts in its place.
#[derive(Debug)]
pub enum TextOrList {
    /// A text.
    Text(String),
    /// Parts.
    List(Vec<Item>),
}

impl Item {
    /// Where it stands.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// A refusal because of it.
    #[must_use]
    pub fn refuse(&self, why: impl Into<Cow<'static, str>>) -> Untranslatable {
        Untranslatable::new(&self.path, why)
    }

    /// The object that it is.
    ///
    /// # Errors
    /// If it is another value.
    pub fn object(self) -> Read<Fields> {
        match self.value {
            Json::Object(object) => Ok(Fields {
                path: self.path,
                object,
            }),
            _ => Err(self.refuse("isn't an object")),
        }
    }

    /// The string that it is.
    ///
    /// # Errors
    /// If it is another value.
    pub fn text(self) -> Read<String> {
        match self.value {
            Json::Text(text) => Ok(text),
            _ => Err(self.refuse("isn't a string")),
        }
    }

    /// Whether it is a string.
    #[must_use]
    pub fn is_text(&self) -> bool {
        matches!(self.value, Json::Text(_))
    }
}

fn items(path: &str, list: Vec<Json>) -> Vec<Item> {
    let item = |(nth, value)| Item {
        path: format!("{path}[{nth}]"),
        value,
    };
    list.into_iter().enumerate().map(item).collect()
}
