//! The program: everything is in the library.

use std::process::ExitCode;

/// A record is made by one thread and freed by another, which the system's allocator is slow at.
#[cfg(feature = "server")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    #[cfg(feature = "server")]
    use iris::app::cli as program;
    #[cfg(not(feature = "server"))]
    use iris::client as program;
    program::run()
}
