//! `./try` and `./test` on simulated machines: what is missing, too old or refused, and the command for
//! each package manager. They use no network, and nothing of this machine but a shell and the tools that
//! every system has.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod all;
mod first;
mod go;
mod world;
