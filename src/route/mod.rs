//! From a model's name to the provider that answers for it. Pure and in memory: selecting
//! opens no connection and moves no money.
//! What providers do with their traffic is remembered in [`Traffic`], and looked at in the choice.

mod choice;
mod provider;
mod responses;
mod table;
mod traffic;

pub use choice::{Choice, Now};
pub use provider::Provider;
pub use responses::{Made, Responses};
pub use table::{Found, NoRoute, Route, RouteTable};
pub use traffic::{Health, Open, Standing, Traffic, backoff};
