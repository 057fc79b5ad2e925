//! Who may ask for what, where it goes and what it costs. Pure: no socket and no SQL.

pub mod access;
pub mod budget;
pub mod identity;
pub mod pricing;
pub mod route;
