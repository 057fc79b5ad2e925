//! What is served besides models: the API for programs, the pages for people, and alerts. And the
//! gate that every request passes, those for models included.

pub mod alerts;
pub mod api;
mod engines;
mod gate;
pub mod pages;
mod reader;

pub use engines::{Control, Engines, Listeners, Management, Refusals, Saved};
pub use gate::{ForeignPage, Gate, Target, preflight};
