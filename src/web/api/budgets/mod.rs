//! The buckets of budgets and limits: callers see those that pay for them, admins all.

pub(in crate::web) mod list;
pub(super) mod refill;
