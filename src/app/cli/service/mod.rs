//! `iris service`: Iris as a service of systemd or launchd, for the whole machine or for one user.

mod account;
mod as_root;
mod configuration;
mod environment;
mod install;
mod launchd;
mod layout;
mod plan;
mod status;
mod step;
mod systemd;
mod uninstall;

use std::io;
use std::path::Path;
use std::process::{Command, ExitCode, Output};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};

use super::print;
use crate::base::atomic_file;
use layout::{Layout, Manager, Person, Scope};
use step::Step;

/// Install Iris as a service that starts with the machine, remove it, or show its state.
#[derive(Args)]
#[command(arg_required_else_help = true)]
pub(super) struct Service {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    Install(install::Install),
    Uninstall(uninstall::Uninstall),
    Status(status::Status),
}

/// Which service is meant.
#[derive(Args)]
struct Target {
    /// Your own service, without root: it runs as you and keeps its files in your home.
    #[arg(long)]
    user: bool,
}

impl Service {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        match &self.action {
            Action::Install(install) => install.run(),
            Action::Uninstall(uninstall) => uninstall.run(),
            Action::Status(status) => status.run(),
        }
    }
}

impl Target {
    /// Where things are; fails where no service manager that Iris knows runs.
    fn layout(&self) -> anyhow::Result<Layout> {
        let Some(manager) = manager() else {
            bail!(
                "found no service manager: expected systemd (/run/systemd/system) or launchd; have \
                 your own (OpenRC, runit, a container's) run `iris serve --config FILE \
                 --state-dir DIR` and restart it when it fails"
            );
        };
        let scope = if self.user {
            Scope::User
        } else {
            Scope::Machine
        };
        let person = Person::from_environment(scope)?;
        ensure!(
            !(self.user && person.sudo_user.is_some()),
            "--user is for your own account: leave sudo out"
        );
        ensure!(
            manager == Manager::Systemd || self.user || !is_root() || person.sudo_user.is_some(),
            "the service runs as the user who installs it, and never as root: log in as that user, \
             and use sudo"
        );
        Ok(Layout::new(manager, scope, &person))
    }

    /// Fails if the user has no manager that could be asked.
    fn own_manager(&self, layout: &Layout) -> anyhow::Result<()> {
        if self.user && layout.manager == Manager::Systemd {
            systemd::of_user()?;
        }
        Ok(())
    }

    /// The option that selects this service.
    fn option(&self) -> &'static str {
        if self.user { " --user" } else { "" }
    }
}

fn manager() -> Option<Manager> {
    if cfg!(target_os = "macos") {
        return Some(Manager::Launchd);
    }
    // As sd_booted(3) looks.
    Path::new("/run/systemd/system")
        .is_dir()
        .then_some(Manager::Systemd)
}

/// The text of a file that is installed already. Root follows no link: the folder may belong to the
/// service's account, which could have root read any file for it.
fn installed_text(path: &Path) -> io::Result<String> {
    if !is_root() {
        return std::fs::read_to_string(path);
    }
    let text = atomic_file::read_regular(path)?;
    String::from_utf8(text).map_err(io::Error::other)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Waits; these commands have no runtime whose threads that could hold up.
#[expect(clippy::disallowed_methods, reason = "there is no runtime")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Runs a command to its end.
fn output(words: &[impl AsRef<str>]) -> anyhow::Result<Output> {
    let mut words = words.iter().map(AsRef::as_ref);
    let program = words.next().unwrap_or_default();
    let output = Command::new(program).args(words).output();
    output.with_context(|| format!("cannot run {program}"))
}

/// Carries out what is left to do, with a line for each step; or prints it.
fn carry_out(steps: &[Step], dry_run: bool) -> anyhow::Result<()> {
    if dry_run {
        print("This would be done:\n");
    }
    for step in steps {
        let done = step.is_done();
        let unchanged = if done { ": nothing to do" } else { "" };
        print(&format!("  {step}{unchanged}\n"));
        if !done && !dry_run {
            step.apply()?;
        }
    }
    Ok(())
}
