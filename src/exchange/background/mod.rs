//! Responses that are made in the background: their requests end before they do, and they are followed until they
//! end, so that they are paid for.

mod begin;
mod follow;

pub use begin::Beginnings;
