//! From a model's name to the provider that answers for it. Pure and in memory: selecting
//! opens no connection and moves no money.
//! What providers do with their traffic is remembered in [`Traffic`], and looked at in the choice.

mod choice;
mod health;
mod held;
mod provider;
mod responses;
mod table;
mod traffic;

pub use choice::{Choice, Now};
pub use health::{Health, ModelHealth, Standing};
pub use held::{Held, Holder, Remember};
pub use provider::Provider;
pub use responses::Responses;
pub use table::{Found, NoRoute, Route, RouteTable};
pub use traffic::{Open, Scope, Traffic, backoff};
