//! Statements of both databases.

pub(crate) mod audit;
pub(crate) mod buckets;
pub(crate) mod capture;
pub(crate) mod chats;
pub(crate) mod exports;
pub(crate) mod group;
pub(crate) mod outbox;
pub(crate) mod query;
pub(crate) mod report;
pub(crate) mod rollup;
pub(crate) mod row;
pub(crate) mod session;
pub(crate) mod tools;
