//! The program: everything is in the library.

use std::process::ExitCode;

/// A record is made by one thread and freed by another, which the system's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    iris::app::cli::run()
}
