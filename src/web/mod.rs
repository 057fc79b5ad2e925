//! What is served besides models: the API for programs, the pages for people, and alerts.

pub mod alerts;
pub mod api;
pub mod pages;
