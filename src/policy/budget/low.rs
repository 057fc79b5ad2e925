//! Which buckets run low, so that each is reported once and not with every request.

use std::collections::HashSet;

use crate::base::bucket::Terms;

/// Chains remembered; beyond it all are forgotten, and hooks are told once more.
const KEPT: usize = 16_384;

/// Chains of buckets that are below their threshold, by their keys.
#[derive(Default)]
pub struct Low(HashSet<String>);

impl Low {
    /// Whether a chain begins to run low now that `left` is left of it.
    ///
    /// Estimates take a bucket below its threshold for a moment and give back: it has to recover
    /// by a tenth of what lies above the threshold before it can begin again.
    pub fn begins(&mut self, keys: &str, is_low: bool, left: i64, terms: &Terms) -> bool {
        if is_low {
            if self.0.contains(keys) {
                return false;
            }
            if self.0.len() >= KEPT {
                self.0.clear();
            }
            return self.0.insert(keys.to_owned());
        }
        let above = terms.capacity.saturating_sub(terms.warn_below);
        let has_recovered = left >= terms.warn_below.saturating_add(above / 10);
        if has_recovered && !self.0.is_empty() {
            self.0.remove(keys);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::bucket::Unit;

    const TERMS: Terms = Terms {
        unit: Unit::Requests,
        capacity: 100,
        rate: 0,
        per: 1,
        warn_below: 50,
        refuses_unpriced: false,
    };

    #[test]
    fn it_begins_once_until_it_has_recovered() {
        let mut low = Low::default();
        // Others that are low at the time make no difference.
        assert!(low.begins("a", true, 10, &TERMS));
        let mut at = |left: i64| low.begins("b", left < TERMS.warn_below, left, &TERMS);
        let told = [80, 49, 40, 52, 45, 60, 49].map(&mut at);
        assert_eq!(told, [false, true, false, false, false, false, true]);
        assert!(!low.begins("a", true, 10, &TERMS));
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room_for() {
        let mut low = Low::default();
        for nth in 0..=KEPT {
            assert!(low.begins(&nth.to_string(), true, 10, &TERMS));
            assert!(low.0.len() <= KEPT);
        }
    }
}
