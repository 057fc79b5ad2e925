//! Values by the keys of buckets.

use crate::base::text::Text;

/// A value for each bucket that pays for a request, by its key. Those are few: to compare them all takes less
/// than the memory of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByKey<T>(Vec<(Text, T)>);

impl<T> ByKey<T> {
    /// The value of a bucket.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&T> {
        let mut all = self.0.iter();
        all.find(|(of, _)| of == key).map(|(_, value)| value)
    }

    /// The value of a bucket, which begins with that of `first`.
    pub fn get_or_insert(&mut self, key: &Text, first: T) -> &mut T {
        let at = self.0.iter().position(|(of, _)| of == key);
        let at = at.unwrap_or_else(|| {
            self.0.push((key.clone(), first));
            self.0.len() - 1
        });
        &mut self.0[at].1
    }

    /// Keys and values, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&Text, &T)> {
        self.0.iter().map(|(key, value)| (key, value))
    }
}

/// Of a key that comes twice, the first value stays.
impl<T> FromIterator<(Text, T)> for ByKey<T> {
    fn from_iter<I: IntoIterator<Item = (Text, T)>>(values: I) -> Self {
        let mut all = Self::default();
        for (key, value) in values {
            if all.get(&key).is_none() {
                all.0.push((key, value));
            }
        }
        all
    }
}

impl<T> Default for ByKey<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}
