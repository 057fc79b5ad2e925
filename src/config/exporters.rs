//! The section `exporters`: where records go besides. Each exporter declares its keys beside its
//! code, which is further down than this module; `lib.rs` hands the declarations over.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use super::declare::{Key, Kind, Section, Setting};
use super::table::Item;

/// An exporter, as it declares itself.
pub(crate) struct Exporter {
    name: &'static str,
    meaning: &'static str,
    kind: Kind,
    read: fn(&Item<'_>) -> Option<Arc<dyn Settings>>,
    is_archive: bool,
}

impl Exporter {
    /// The exporter under a key of the section, whose own keys are those of `T`.
    pub(crate) const fn of<T: Section + Setting + Settings>(
        name: &'static str,
        meaning: &'static str,
    ) -> Self {
        Self {
            name,
            meaning,
            kind: T::KIND,
            read: |item| <T as Setting>::read(item).map(|read| Arc::new(read) as Arc<dyn Settings>),
            is_archive: false,
        }
    }

    /// Its key in the section.
    pub(crate) const fn name(&self) -> &'static str {
        self.name
    }

    /// The same, for one that keeps records whole, so that they can be purged here.
    pub(crate) const fn archive(mut self) -> Self {
        self.is_archive = true;
        self
    }
}

/// What an exporter has read of its keys.
pub trait Settings: Any + fmt::Debug + Send + Sync {
    /// Whether another one was read of the same.
    fn is_same(&self, other: &dyn Settings) -> bool;
}

impl<T: Any + fmt::Debug + PartialEq + Send + Sync> Settings for T {
    fn is_same(&self, other: &dyn Settings) -> bool {
        let other: &dyn Any = other;
        other.downcast_ref::<T>() == Some(self)
    }
}

/// What is exported, and where to: the exporters that are configured.
#[derive(Clone, Debug, Default)]
pub struct Exporters {
    configured: Vec<Arc<dyn Settings>>,
    has_archive: bool,
}

impl PartialEq for Exporters {
    fn eq(&self, other: &Self) -> bool {
        let mut pairs = self.configured.iter().zip(&other.configured);
        self.configured.len() == other.configured.len()
            && pairs.all(|(one, other)| one.is_same(&**other))
    }
}

impl Exporters {
    /// The settings of one exporter, if it is configured.
    #[must_use]
    pub fn get<T: Settings>(&self) -> Option<&T> {
        self.configured.iter().find_map(|settings| {
            let settings: &dyn Any = &**settings;
            settings.downcast_ref()
        })
    }

    /// Whether one of them keeps records whole.
    pub(super) fn have_archive(&self) -> bool {
        self.has_archive
    }
}

fn keys() -> Vec<Key> {
    let exporters = crate::exporters().into_iter();
    exporters
        .map(|one| Key::new(one.name, one.kind, one.meaning))
        .collect()
}

impl Setting for Exporters {
    const KIND: Kind = Kind::Object(keys);

    fn read(item: &Item<'_>) -> Option<Self> {
        let table = item.table()?;
        let mut read = Self::default();
        for exporter in crate::exporters() {
            let settings = table
                .get(exporter.name)
                .and_then(|item| (exporter.read)(&item));
            read.has_archive |= exporter.is_archive && settings.is_some();
            read.configured.extend(settings);
        }
        table.finish();
        Some(read)
    }
}
