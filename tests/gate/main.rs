//! The gateway against hostile callers: requests that no library sends, servers and parsers behind it
//! that read more than they should, floods, and bodies that grow.
#![expect(
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a program of its own, whose helpers fail as its tests do"
)]

mod bodies;
mod bombs;
mod chains;
mod corpus;
mod floods;
mod fronts;
mod h2spec;
mod held;
mod mutants;
mod process;
mod server;
mod wire;

support::library_gateway!();
