//! The section `records`: how records are written.

use super::section;

section! {
    /// How records are written.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Records {
        /// Whether a response over HTTP ends only when its record is on the disk.
        acknowledge: bool,
    }
}
