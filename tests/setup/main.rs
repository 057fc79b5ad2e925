//! `./try` and `./test` on machines of stand-ins: what is missing, too old or refused, and what each
//! package manager is told. No network and nothing of this machine is used but a shell and the tools
//! that every system has.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod all;
mod first;
mod go;
mod world;
