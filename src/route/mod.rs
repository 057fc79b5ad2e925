//! From a model's name to the provider that answers for it. Pure and in memory: selecting
//! opens no connection and moves no money.

mod provider;
mod table;

pub use provider::Provider;
pub use table::{Found, NoRoute, Route, RouteTable};
