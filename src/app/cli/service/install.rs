//! `iris service install`: everything is checked, then the steps are carried out or printed, and then
//! it waits until the service says where it answers.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Args;

use super::configuration::{Given, Keys};
use super::layout::{Layout, Manager, Scope};
use super::plan::Plan;
use super::step::{File, Step};
use super::{Target, as_root, carry_out, installed_text, is_root, launchd, systemd};
use crate::app::cli::print;
use crate::wire::text::counted;

/// How long a node may take to get a link, or to join.
const PATIENCE: Duration = Duration::from_mins(1);
/// Folders from which a service may run a program as it is.
const SYSTEM: [&str; 6] = [
    "/usr/bin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/local/sbin",
    "/opt",
    "/nix",
];

/// Install this program as a service that starts with the machine, and start it.
///
/// Run it again to upgrade the program and the unit: it changes what differs, and restarts the
/// service.
#[derive(Args)]
#[command(after_help = "\
Variables that the configuration refers to as ${NAME} are copied from your environment to a file
that only the service manager reads. sudo hides your environment from Iris:
  sudo --preserve-env=OPENAI_API_KEY iris service install

To see each file and folder that it touches: iris service install --dry-run")]
pub(super) struct Install {
    /// The configuration [default: ./iris.hujson, then the installed one].
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A file with the key that adds the node to the tailnet without a sign-in. The configuration
    /// has to refer to it; Iris says how.
    #[arg(long, value_name = "FILE")]
    auth_key_file: Option<PathBuf>,
    /// Where the program is installed [default: /usr/local/bin/iris, with --user ~/.local/bin/iris;
    /// a program that is in such a folder already stays there].
    #[arg(long, value_name = "FILE")]
    bin: Option<PathBuf>,
    /// Replace an installed configuration that differs from the new one, which is kept as
    /// iris.hujson.old, and a unit that isn't Iris's.
    #[arg(long)]
    force: bool,
    /// Print what would be done, and change nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    target: Target,
}

impl Install {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let layout = self.target.layout()?;
        let given = Given::find(self.config.as_deref(), &layout);
        // The installed configuration can only be seen by root.
        let is_findable = given.is_ok() || layout.state.exists();
        if layout.scope == Scope::Machine && !is_root() && !self.dry_run && is_findable {
            let variables = given.iter().flat_map(Given::variables);
            bail!(as_root::needed(variables.chain(["IRIS_CONFIG"]))?);
        }
        let given = given?;
        self.target.own_manager(&layout)?;
        let source = std::env::current_exe().context("cannot tell which program this is")?;
        let program = self.program(&layout, &source)?;
        // A line feed would be another line of the unit.
        for path in [&program, &layout.state, &layout.environment(), &layout.unit] {
            let shown = path.display().to_string();
            ensure!(
                !shown.chars().any(char::is_control),
                "the path {shown:?} has control characters; use one without"
            );
        }
        let environment = installed(&layout.environment())?;
        let auth_key = self.auth_key(&layout)?;
        let variable = |name: &str| std::env::var(name).ok();
        let needs = given.check(
            &layout,
            &Keys {
                variable: &variable,
                environment: &environment,
                auth_key: auth_key.as_deref(),
                auth_key_file: self.auth_key_file.as_deref(),
                by_sudo: as_root::sudo_user().is_some(),
            },
        )?;
        let plan = Plan {
            layout: &layout,
            given: &given,
            needs: &needs,
            environment,
            auth_key: auth_key.filter(|_| self.auth_key_file.is_some()),
            source,
            program,
        };
        let steps = self.steps(&plan)?;
        if needs.warnings > 0 {
            let (path, warnings) = (given.path.display(), counted(needs.warnings, "warning"));
            print(&format!(
                "{path} has {warnings}; `iris check` shows them.\n"
            ));
        }
        let logged = launchd::logged(&layout);
        carry_out(&steps, self.dry_run)?;
        if self.dry_run {
            if layout.manager == Manager::Systemd {
                let restart = systemd::systemctl(layout.scope, &["restart", "iris.service"]);
                print(&format!("  run {}\n", restart.join(" ")));
            }
            return Ok(ExitCode::SUCCESS);
        }
        self.start(&layout, logged)
    }

    /// Where the program is to be. A unit that hides a folder can't run what is in it.
    fn program(&self, layout: &Layout, source: &Path) -> anyhow::Result<PathBuf> {
        let in_place = || {
            let own = layout.program.parent();
            let own = own.filter(|_| layout.scope == Scope::User);
            let mut folders = SYSTEM.iter().map(Path::new).chain(own);
            folders.any(|folder| source.starts_with(folder))
        };
        let program = match &self.bin {
            Some(path) => std::path::absolute(path)?,
            None if in_place() => source.to_owned(),
            None => layout.program.clone(),
        };
        if let Some(folder) = layout.hidden(&program) {
            bail!(
                "the program can't be in \"{}\": the service can't see {folder}; name another \
                 place with --bin",
                program.display()
            );
        }
        ensure!(
            !program.is_dir(),
            "--bin \"{}\" is a folder; name the file, such as {}/iris",
            program.display(),
            program.display()
        );
        Ok(program)
    }

    /// The auth key that is given, else the installed one.
    fn auth_key(&self, layout: &Layout) -> anyhow::Result<Option<String>> {
        let Some(path) = &self.auth_key_file else {
            let key = installed(&layout.auth_key())?;
            return Ok(Some(key).filter(|key| !key.is_empty()));
        };
        let text = fs::read_to_string(path)
            .with_context(|| format!("cannot read the auth key in {}", path.display()))?;
        let key = text.trim();
        ensure!(
            !key.is_empty() && !key.contains(char::is_whitespace),
            "{} does not hold an auth key: expected one word, such as tskey-auth-…",
            path.display()
        );
        Ok(Some(key.to_owned()))
    }

    fn steps(&self, plan: &Plan<'_>) -> anyhow::Result<Vec<Step>> {
        let layout = plan.layout;
        let mut steps = Vec::new();
        if let Some(name) = layout.account.clone().filter(|_| layout.keys_are_roots()) {
            let home = layout.state.clone();
            steps.push(Step::Account { name, home });
        }
        steps.extend(plan.program()?);
        steps.push(Step::Directory {
            path: layout.state.clone(),
            mode: 0o700,
            owner: layout.account.clone(),
        });
        steps.extend(self.configuration(plan)?);
        steps.extend(plan.keys());
        let text = match layout.manager {
            Manager::Systemd => systemd::unit(layout, &plan.program),
            Manager::Launchd => launchd::plist(layout, &plan.program),
        };
        let old = installed(&layout.unit)?;
        ensure!(
            old.is_empty() || old.contains("Iris") || self.force,
            "{} is not Iris's: it belongs to another service; replace it with --force",
            layout.unit.display()
        );
        steps.push(Step::File(File {
            path: layout.unit.clone(),
            contents: text.into_bytes(),
            mode: 0o644,
            owner: None,
            what: match layout.manager {
                Manager::Systemd => "the unit",
                Manager::Launchd => "the property list",
            }
            .to_owned(),
        }));
        steps.extend(match layout.manager {
            Manager::Systemd => systemd::enable(layout.scope),
            Manager::Launchd => launchd::start(layout),
        });
        Ok(steps)
    }

    /// The configuration beside the state. One that is there is the dashboard's as much as yours.
    fn configuration(&self, plan: &Plan<'_>) -> anyhow::Result<Vec<Step>> {
        let path = plan.layout.config();
        let old = installed(&path)?;
        let new = &plan.given.text;
        let mut steps = Vec::new();
        if !old.is_empty() && old != *new {
            ensure!(
                self.force,
                "{} differs from the installed {}: replace that with --force, or keep it with \
                 --config {}",
                plan.given.path.display(),
                path.display(),
                path.display()
            );
            steps.push(Step::Keep {
                path: path.clone(),
                kept: path.with_extension("hujson.old"),
                what: "the configuration until now".to_owned(),
            });
        }
        steps.push(Step::File(File {
            path,
            contents: new.clone().into_bytes(),
            mode: 0o600,
            owner: plan.layout.account.clone(),
            what: format!("the configuration from {}", plan.given.path.display()),
        }));
        Ok(steps)
    }

    fn start(&self, layout: &Layout, logged: usize) -> anyhow::Result<ExitCode> {
        let _ = write!(io::stdout(), "Starting… ").and_then(|()| io::stdout().flush());
        let said = match layout.manager {
            Manager::Systemd => systemd::restart(layout, PATIENCE),
            Manager::Launchd => launchd::wait(layout, logged, PATIENCE),
        };
        let mut said = said.inspect_err(|_| print("\n"))?;
        if said.is_empty() {
            said += "not ready yet; see the log";
        }
        print(&format!(
            "{said}\n\nIts state: iris service status{user}\nIts log: {log}\nAn upgrade: run the new \
             program with `service install{user}`\n",
            user = self.target.option(),
            log = layout.log_command(),
        ));
        if layout.manager == Manager::Systemd && layout.scope == Scope::User {
            print(
                "It runs while you are logged in. To start it with the machine: loginctl \
                 enable-linger\n",
            );
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What a file holds; empty if it doesn't exist.
fn installed(path: &Path) -> anyhow::Result<String> {
    match installed_text(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !is_root() => {
            bail!("cannot read {} as this user: use sudo", path.display())
        }
        read => read.with_context(|| format!("cannot read {}", path.display())),
    }
}
