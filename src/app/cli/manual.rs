//! `iris completions` and `iris man`: text made from the same description of the command line that
//! parses it, so that neither can lag behind.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, print, print_drawn};

/// Print the completion script of a shell.
#[derive(Args)]
#[command(after_help = "\
Where to put it:
  bash  iris completions bash >~/.local/share/bash-completion/completions/iris
  zsh   iris completions zsh >DIR/_iris, where DIR is in $fpath before `compinit` runs
  fish  iris completions fish >~/.config/fish/completions/iris.fish

For every user: /usr/share/bash-completion/completions/iris,
/usr/local/share/zsh/site-functions/_iris, /usr/share/fish/vendor_completions.d/iris.fish.")]
pub(super) struct Completions {
    /// The shell.
    #[arg(value_name = "SHELL", value_parser = shells())]
    shell: Shell,
}

fn shells() -> impl TypedValueParser<Value = Shell> {
    PossibleValuesParser::new(["bash", "fish", "zsh"]).try_map(|name| name.parse::<Shell>())
}

/// Print the manual page, or write a page for each command.
#[derive(Args)]
#[command(after_help = "\
To read it:            iris man | man -l -
To install all pages:  iris man --dir /usr/local/share/man/man1
For one user:          iris man --dir ~/.local/share/man/man1")]
pub(super) struct Man {
    /// Write iris.1, iris-serve.1 and so on to this folder, which is made if it doesn't exist.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Completions {
    pub(super) fn run(&self) -> ExitCode {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "iris", &mut script);
        print_drawn(&String::from_utf8_lossy(&script));
        ExitCode::SUCCESS
    }
}

impl Man {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let Some(dir) = &self.dir else {
            let mut page = Vec::new();
            // There is no page of its own for `iris help`.
            let command = Cli::command().disable_help_subcommand(true);
            clap_mangen::Man::new(command).render(&mut page)?;
            print_drawn(&String::from_utf8_lossy(&page));
            return Ok(ExitCode::SUCCESS);
        };
        let written = std::fs::create_dir_all(dir)
            .and_then(|()| clap_mangen::generate_to(Cli::command(), dir))
            .and_then(|()| count(dir));
        let pages =
            written.with_context(|| format!("cannot write manual pages to {}", dir.display()))?;
        print(&format!("Wrote {pages} pages to {}.\n", dir.display()));
        Ok(ExitCode::SUCCESS)
    }
}

/// How many of our pages are in a folder.
fn count(dir: &Path) -> io::Result<usize> {
    let ours = |name: &str| name == "iris.1" || name.starts_with("iris-") && name.ends_with(".1");
    let names = std::fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name()));
    let names: Vec<_> = names.collect::<io::Result<_>>()?;
    let is_ours = |name: &&OsString| name.to_str().is_some_and(ours);
    Ok(names.iter().filter(is_ours).count())
}
