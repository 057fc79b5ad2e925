//! The command line. Exit codes: 0 for success, 1 for a failure or a refused configuration,
//! 2 for a wrong use of the command line.

mod check;
mod demo;
mod explain;
mod init;
mod log;
mod manual;
mod prices;
mod progress;
mod serve;
mod service;
mod status_line;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::client::agents::sh as quoted;
use crate::client::terminal::{print, print_drawn, print_json, row, table};
use crate::client::{self, exit_code};
use crate::config;
use crate::exchange::rules::Rules;
use crate::wire::harmless;
use crate::wire::text::harmless_lines;

/// A private AI gateway that joins your tailnet.
#[derive(Parser)]
#[command(name = "iris", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway.
    Serve(serve::Serve),
    /// Write a first configuration from the answers to a few questions.
    Init(init::Init),
    /// Try everything on a tailnet inside this process: no account, no key, no network.
    Demo(demo::Demo),
    /// Validate a configuration.
    Check(check::Check),
    /// Print the JSON Schema of configurations, for editors.
    Schema(Schema),
    /// Say why a caller gets a model from a provider, or why not.
    Explain(explain::Explain),
    /// Show what models cost, and where the figures are from.
    Prices(prices::Prices),
    #[command(flatten)]
    Client(client::Command),
    /// Install Iris as a service that starts with the machine, remove it, or show its state.
    Service(service::Service),
    /// Print the completion script of a shell.
    Completions(manual::Completions),
    /// Print the manual page, or write a page for each command.
    Man(manual::Man),
}

#[derive(Args)]
struct Schema {
    /// Print the JSON Schema; this is the default.
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// Print tables for people instead.
    #[arg(long)]
    markdown: bool,
}

impl Schema {
    fn text(&self) -> String {
        if self.markdown && !self.json {
            config::reference()
        } else {
            format!("{:#}\n", config::json_schema())
        }
    }
}

/// Where the configuration and the state are.
#[derive(Args, Clone)]
struct Places {
    /// The configuration [default: ./iris.hujson, then iris.hujson in the state directory].
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where node keys and records are kept.
    #[arg(long, value_name = "DIR", env = "IRIS_STATE_DIR")]
    state_dir: Option<PathBuf>,
}

impl Places {
    fn state_dir(&self) -> PathBuf {
        self.state_dir.clone().unwrap_or_else(default_state_dir)
    }

    fn config(&self) -> Option<PathBuf> {
        config::find(self.config.as_deref(), Some(&self.state_dir()))
    }

    /// The rules of the configuration, for commands that ask them and run nothing.
    fn rules(&self) -> anyhow::Result<Rules> {
        let Some(path) = self.config() else {
            anyhow::bail!("there is no configuration; name one with --config FILE");
        };
        let loaded = config::load(&path)
            .map_err(|findings| anyhow::anyhow!(config::refusal(&path, &findings)))?;
        Ok(Rules::compile(loaded, 0))
    }
}

/// systemd's choice, else where a user's state belongs, else the folder in which the program starts.
fn default_state_dir() -> PathBuf {
    let below = |name: &str, path: &str| Some(PathBuf::from(set(name)?).join(path));
    let systemd = set("STATE_DIRECTORY").map(PathBuf::from);
    let user = || below("XDG_STATE_HOME", "iris").or_else(|| below("HOME", ".local/state/iris"));
    systemd.or_else(user).unwrap_or_else(|| "iris-state".into())
}

/// A variable of the environment, unless it is empty.
fn set(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Parses the arguments, runs the command, and says how it went.
#[must_use]
pub fn run() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(serve) => serve.run(),
        Command::Init(init) => init.run(),
        Command::Demo(demo) => demo.run(),
        Command::Check(check) => check.run(),
        Command::Schema(schema) => {
            print(&schema.text());
            Ok(ExitCode::SUCCESS)
        }
        Command::Explain(explain) => explain.run(),
        Command::Prices(prices) => prices.run(),
        Command::Client(command) => command.run(),
        Command::Service(service) => service.run(),
        Command::Completions(completions) => Ok(completions.run()),
        Command::Man(man) => man.run(),
    };
    let code = result.unwrap_or_else(|error| {
        log::end_with(&harmless_lines(&format!("{error:#}")));
        ExitCode::FAILURE
    });
    log::finish();
    code
}

/// Whether an environment variable can have this name.
fn is_variable(name: &str) -> bool {
    let part = |char: char| char.is_ascii_alphanumeric() || char == '_';
    let starts = name.starts_with(|char: char| part(char) && !char.is_ascii_digit());
    starts && name.chars().all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_variables() {
        assert!(is_variable("OPENAI_API_KEY") && is_variable("_a1"));
        for name in ["", "1A", "a-b", "a b", "ä"] {
            assert!(!is_variable(name), "{name}");
        }
    }
}
