//! From a model's name to the provider that answers for it. Pure and in memory: selecting
//! opens no connection and moves no money.
//! The choice looks at [`Evidence`]: what [`Traffic`] remembers of earlier requests, and which
//! provider holds what the request names.

mod catalog;
mod choice;
mod health;
mod in_flight;
mod keys;
mod known;
mod outcome;
mod provider;
mod search;
mod table;
mod traffic;

pub use catalog::Ambiguous;
pub use choice::{Evidence, Holder};
pub use health::{Health, KeyHealth, ModelHealth, Standing};
pub use in_flight::{InFlight, Scope};
pub use keys::KeyFault;
pub use outcome::{Choice, NoRoute, Route};
pub use provider::{Fit, Provider};
pub use table::{ListedModel, RouteTable};
pub use traffic::Traffic;
