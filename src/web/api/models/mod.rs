//! Models, providers and prices, as far as the caller's grants reach.

pub(super) mod connectors;
pub(super) mod list;
pub(super) mod ollama;
pub(super) mod pricing;
pub(super) mod providers;
pub(in crate::web) mod rows;
pub mod whatif;
