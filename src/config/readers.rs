//! The ways in which values are written in the document.

use std::path::PathBuf;
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::Value;

use super::credential;
use super::declare::{Kind, Reader, Setting};
use super::table::Item;
use crate::base::secret::Secret;

impl Setting for bool {
    const KIND: Kind = Kind::Flag;

    fn read(item: &Item<'_>) -> Option<Self> {
        item.boolean()
    }

    fn json(&self) -> Option<Value> {
        Some((*self).into())
    }
}

impl Setting for i64 {
    const KIND: Kind = Kind::Integer(i64::MIN, i64::MAX);

    fn read(item: &Item<'_>) -> Option<Self> {
        item.integer()
    }

    fn json(&self) -> Option<Value> {
        Some((*self).into())
    }
}

impl Setting for String {
    const KIND: Kind = Kind::Text;

    fn read(item: &Item<'_>) -> Option<Self> {
        item.string().map(str::to_owned)
    }

    fn json(&self) -> Option<Value> {
        Some(self.as_str().into())
    }
}

/// A path. An empty one counts as absent.
impl Setting for Option<PathBuf> {
    const KIND: Kind = Kind::Text;

    fn read(item: &Item<'_>) -> Option<Self> {
        let path = item.string()?;
        Some((!path.is_empty()).then(|| path.into()))
    }

    fn json(&self) -> Option<Value> {
        Some(
            self.as_ref()
                .and_then(|path| path.to_str())
                .unwrap_or_default()
                .into(),
        )
    }
}

/// An invalid value is an error, because no default would be safe.
impl Setting for Duration {
    const KIND: Kind = Kind::Duration;

    fn read(item: &Item<'_>) -> Option<Self> {
        item.duration()
    }

    fn json(&self) -> Option<Value> {
        let seconds = self.as_secs();
        let units = [(3_600, "h"), (60, "m"), (1, "s")];
        let unit = units
            .into_iter()
            .find(|(size, _)| seconds.is_multiple_of(*size));
        Some(match unit {
            Some((size, unit)) if seconds > 0 => format!("{}{unit}", seconds / size).into(),
            _ => "0".into(),
        })
    }
}

/// A credential, which is never written anywhere.
impl Setting for Secret {
    const KIND: Kind = Kind::Secret;

    fn read(item: &Item<'_>) -> Option<Self> {
        credential::of(item)
    }

    fn json(&self) -> Option<Value> {
        self.is_empty().then(|| "".into())
    }
}

impl<T: Setting> Setting for Vec<T> {
    const KIND: Kind = Kind::List(&T::KIND);

    fn read(item: &Item<'_>) -> Option<Self> {
        Some(item.items()?.filter_map(|item| T::read(&item)).collect())
    }

    fn json(&self) -> Option<Value> {
        Some(self.iter().filter_map(T::json).collect())
    }
}

/// A key that is absent unless it is written.
impl<T: Setting> Setting for Option<T> {
    const KIND: Kind = T::KIND;

    fn read(item: &Item<'_>) -> Option<Self> {
        T::read(item).map(Some)
    }
}

/// A whole number from one bound to another; anything else is an error.
pub(crate) struct Count(pub i64, pub i64);

impl<T: Copy + TryFrom<i64> + TryInto<i64>> Reader<T> for Count {
    fn kind(&self) -> Kind {
        Kind::Integer(self.0, self.1)
    }

    fn read(&self, item: &Item<'_>) -> Option<T> {
        let read = item
            .integer()
            .filter(|count| (self.0..=self.1).contains(count));
        let read = read.and_then(|count| T::try_from(count).ok());
        if read.is_none() {
            item.error(format!("this is a number from {} to {}", self.0, self.1));
        }
        read
    }

    fn json(&self, value: &T) -> Option<Value> {
        (*value).try_into().ok().map(Value::from)
    }
}

/// Values by names, which are called this in the reference. Of a name that is given twice, the
/// last counts.
pub(crate) struct Named(pub &'static str);

impl<T: Setting> Reader<IndexMap<String, T>> for Named {
    fn kind(&self) -> Kind {
        Kind::Map(self.0, const { &T::KIND })
    }

    fn read(&self, item: &Item<'_>) -> Option<IndexMap<String, T>> {
        let table = item.table()?;
        let named = table.named();
        Some(
            named
                .filter_map(|(name, item)| Some((name.to_owned(), T::read(&item)?)))
                .collect(),
        )
    }
}

/// In another reader's way, and absent unless it is written.
pub(crate) struct Perhaps<R>(pub R);

impl<T, R: Reader<T>> Reader<Option<T>> for Perhaps<R> {
    fn kind(&self) -> Kind {
        self.0.kind()
    }

    fn read(&self, item: &Item<'_>) -> Option<Option<T>> {
        self.0.read(item).map(Some)
    }
}
