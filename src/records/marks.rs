//! What a record can be filtered by besides its columns is stored as headers are, and has sums as they have:
//! one row for each record that has it. Labels are among them, and the application that spoke for a person, under
//! names that no header can have.

use crate::base::labels::Labels;

/// What the names of labels begin with.
const LABEL: &str = "label:";

/// The name of the application that spoke for a person.
pub const VIA: &str = "via:";

/// The name of a label's key.
pub fn label(key: &str) -> String {
    format!("{LABEL}{key}")
}

/// Whether a name is that of a header.
pub(super) fn is_header(name: &str) -> bool {
    // No header has a colon in its name.
    !name.contains(':')
}

/// Whether a name is that of a label.
pub(super) fn is_label(name: &str) -> bool {
    name.starts_with(LABEL)
}

/// The labels among what a record can be filtered by.
pub(super) fn labels<'m>(marks: impl Iterator<Item = (&'m str, &'m str)>) -> Labels {
    let labels = marks.filter_map(|(name, value)| Some((name.strip_prefix(LABEL)?, value)));
    labels.collect()
}
