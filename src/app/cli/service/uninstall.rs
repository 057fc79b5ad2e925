//! `iris service uninstall`: the service goes; what took work or can't be had again stays unless it is
//! asked for.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use super::layout::{Layout, Manager, Scope};
use super::step::Step;
use super::{Target, account, carry_out, is_root, launchd, systemd};
use crate::app::cli::print;

/// Stop the service and remove it.
///
/// Without --purge your configuration, records and keys stay.
#[derive(Args)]
pub(super) struct Uninstall {
    /// Remove the configuration, the records, the node's key, the service's variables and its
    /// account, too. You can't undo that.
    #[arg(long)]
    purge: bool,
    /// Print what would be done, and change nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    target: Target,
}

impl Uninstall {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let layout = self.target.layout()?;
        anyhow::ensure!(
            layout.scope == Scope::User || is_root() || self.dry_run,
            "removing a service of the whole machine takes root: run it with sudo"
        );
        self.target.own_manager(&layout)?;
        let steps = self.steps(&layout);
        if steps.iter().all(Step::is_done) {
            print("There is nothing to remove.\n");
        } else {
            carry_out(&steps, self.dry_run)?;
        }
        if !self.dry_run {
            print(&self.rest(&layout));
        }
        Ok(ExitCode::SUCCESS)
    }

    fn steps(&self, layout: &Layout) -> Vec<Step> {
        let mut steps = Vec::new();
        let scope = layout.scope;
        let systemctl = |words: &[&str]| Step::run(&systemd::systemctl(scope, words));
        let try_systemctl = |words: &[&str]| Step::try_run(&systemd::systemctl(scope, words));
        let is_installed = layout.unit.exists();
        match layout.manager {
            _ if !is_installed => {}
            Manager::Launchd => {
                steps.push(launchd::stop(layout.scope));
                steps.push(Step::Remove(layout.unit.clone()));
            }
            Manager::Systemd => {
                let mut units = vec!["iris.service"];
                let socket = Path::new(systemd::SOCKET);
                let has_socket = layout.scope == Scope::Machine && socket.exists();
                if has_socket {
                    // It would start the service for the next caller.
                    units.insert(0, "iris.socket");
                    steps.push(try_systemctl(&["disable", "--now", "iris.socket"]));
                    steps.push(Step::Remove(socket.into()));
                }
                steps.push(systemctl(&["disable", "--now", "iris.service"]));
                steps.push(Step::Remove(layout.unit.clone()));
                if let Some(path) = layout.credential() {
                    let folder = path.parent().map(Path::to_owned);
                    steps.push(Step::Remove(path));
                    steps.extend(folder.map(Step::RemoveEmpty));
                }
                steps.push(systemctl(&["daemon-reload"]));
                // Of a service that has failed systemd would keep its last state.
                let reset = [&["reset-failed"][..], &units].concat();
                steps.push(try_systemctl(&reset));
            }
        }
        if self.purge {
            steps.push(Step::Remove(layout.state.clone()));
            steps.push(Step::Remove(layout.keys.clone()));
            if let Some(name) = layout.account.as_ref().filter(|_| layout.keys_are_roots())
                && account::ids(name).is_some()
            {
                steps.push(Step::run(&account::removal(name)));
            }
        }
        steps
    }

    /// What stays, and how it can be removed.
    fn rest(&self, layout: &Layout) -> String {
        let mut rest = Vec::new();
        let mut stays = |path: &Path, what: &str| {
            if path.exists() {
                rest.push(format!("  {}: {what}\n", path.display()));
            }
        };
        stays(
            &layout.state,
            "the configuration, the records and the node's key",
        );
        stays(&layout.keys, "variables and keys of the service");
        stays(&layout.program, "the program");
        let mut out = String::new();
        if let Some(folder) = layout.credential().as_deref().and_then(Path::parent) {
            stays(folder, "your own changes to the unit");
        }
        if !rest.is_empty() {
            out += "These stay:\n";
            out += &rest.concat();
        }
        if !self.purge && !rest.is_empty() {
            let command = format!("iris service uninstall --purge{}", self.target.option());
            out.extend(["`", &command, "` removes all but the program.\n"]);
        }
        if self.purge {
            out.push_str("If the node joined a tailnet, remove it in the admin console, too.\n");
        }
        out
    }
}
