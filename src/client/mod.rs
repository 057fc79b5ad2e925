//! What runs on a colleague's machine: commands that ask a gateway, agents that are set up to use it,
//! and the search for model servers.
//!
//! It imports nothing of the server (records, exchange, web, app), so that a small program can be built
//! of it alone: `cargo build --no-default-features`.

pub mod agents;
pub mod ask;
mod connect;
pub mod discovery;
mod doctor;
mod files;
mod gateway;
pub mod offer;
mod place;
pub mod terminal;

use std::process::ExitCode;

use clap::Subcommand;

/// The commands of a client.
#[derive(Subcommand)]
pub enum Command {
    /// List the models that a running gateway offers you.
    Models(ask::Models),
    /// Run an agent against a running gateway, or print or write its settings.
    Connect(connect::Connect),
    /// Show the state of a running gateway.
    Status(ask::Status),
    /// Check what stands between this machine and an answer of a model.
    Doctor(doctor::Doctor),
}

/// For commands that ask something: success, or a failure that isn't an error.
pub fn exit_code(is_good: bool) -> ExitCode {
    ExitCode::from(u8::from(!is_good))
}

/// For commands that wait for one thing after the other.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

impl Command {
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Models(models) => models.run(),
            Self::Connect(connect) => connect.run(),
            Self::Status(status) => status.run(),
            Self::Doctor(doctor) => doctor.run(),
        }
    }
}

/// The program without the server.
#[cfg(not(feature = "server"))]
#[must_use]
pub fn run() -> ExitCode {
    use std::io::Write;

    use crate::wire::text::harmless_lines;

    /// The client of a private AI gateway on your tailnet.
    #[derive(clap::Parser)]
    #[command(name = "iris", version, arg_required_else_help = true)]
    struct Cli {
        #[command(subcommand)]
        command: Command,
    }
    let Cli { command } = clap::Parser::parse();
    command.run().unwrap_or_else(|error| {
        let error = harmless_lines(&format!("{error:#}"));
        // Nobody may be there to read it.
        drop(writeln!(std::io::stderr(), "error: {error}"));
        ExitCode::FAILURE
    })
}
