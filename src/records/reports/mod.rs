//! Sums over records.

pub(crate) mod histogram;
pub(crate) mod sums;
