//! Where the parts of a service belong: for each service manager, for the whole machine or for one
//! user. Every path of an installation is from here, so that `uninstall` removes what `install` made.

use std::path::{Path, PathBuf};

use super::as_root;
use crate::app::cli::set;

/// The program that starts services on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manager {
    Launchd,
    Systemd,
}

/// Whether a service is the machine's or a user's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// From the boot on, under an account that isn't a person's.
    Machine,
    /// For the user who installs it, without root.
    User,
}

/// The folders of the user who installs a service.
#[derive(Clone, Debug)]
pub(super) struct Person {
    pub(super) home: PathBuf,
    /// `$XDG_CONFIG_HOME`.
    pub(super) config: PathBuf,
    /// `$XDG_STATE_HOME`.
    pub(super) state: PathBuf,
    pub(super) sudo_user: Option<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) manager: Manager,
    pub(super) scope: Scope,
    /// Where the program belongs unless `--bin` names another place.
    pub(super) program: PathBuf,
    /// The unit of systemd, or the property list of launchd.
    pub(super) unit: PathBuf,
    /// The state directory, with the configuration in it: the service may save it there.
    pub(super) state: PathBuf,
    /// Keys, apart from the state. Under systemd root reads them on behalf of the service.
    pub(super) keys: PathBuf,
    /// The account of the service; `None` for the one that installs it.
    pub(super) account: Option<String>,
}

/// The account that a service of systemd runs as.
const ACCOUNT: &str = "iris";
/// Where systemd puts credentials for the service.
pub(super) const CREDENTIALS: &str = "/run/credentials/iris.service";
/// The name by which launchd knows the service.
pub(super) const LABEL: &str = "local.iris";

impl Person {
    /// A service of the machine needs no home; the user's own does.
    pub(super) fn from_environment(scope: Scope) -> anyhow::Result<Self> {
        let home = set("HOME").map(PathBuf::from);
        anyhow::ensure!(
            home.is_some() || scope == Scope::Machine,
            "HOME is not set; set it to your home folder"
        );
        let home = home.unwrap_or_else(|| PathBuf::from("/"));
        let below = |name, usual| set(name).map_or_else(|| home.join(usual), PathBuf::from);
        Ok(Self {
            config: below("XDG_CONFIG_HOME", ".config"),
            state: below("XDG_STATE_HOME", ".local/state"),
            sudo_user: as_root::sudo_user(),
            home,
        })
    }
}

impl Layout {
    pub(super) fn new(manager: Manager, scope: Scope, person: &Person) -> Self {
        let home = |path: &str| person.home.join(path);
        let (program, unit, state, keys, account) = match (manager, scope) {
            (Manager::Systemd, Scope::Machine) => (
                "/usr/local/bin/iris".into(),
                "/etc/systemd/system/iris.service".into(),
                "/var/lib/iris".into(),
                "/etc/iris".into(),
                Some(ACCOUNT.to_owned()),
            ),
            (Manager::Systemd, Scope::User) => (
                home(".local/bin/iris"),
                person.config.join("systemd/user/iris.service"),
                person.state.join("iris"),
                person.config.join("iris"),
                None,
            ),
            (Manager::Launchd, Scope::Machine) => (
                "/usr/local/bin/iris".into(),
                PathBuf::from(format!("/Library/LaunchDaemons/{LABEL}.plist")),
                "/usr/local/var/lib/iris".into(),
                "/usr/local/etc/iris".into(),
                person.sudo_user.clone(),
            ),
            (Manager::Launchd, Scope::User) => (
                home(".local/bin/iris"),
                home(&format!("Library/LaunchAgents/{LABEL}.plist")),
                person.state.join("iris"),
                person.config.join("iris"),
                None,
            ),
        };
        Self {
            manager,
            scope,
            program,
            unit,
            state,
            keys,
            account,
        }
    }

    pub(super) fn config(&self) -> PathBuf {
        self.state.join("iris.hujson")
    }

    /// Variables that the service gets.
    pub(super) fn environment(&self) -> PathBuf {
        self.keys.join("environment")
    }

    pub(super) fn auth_key(&self) -> PathBuf {
        self.keys.join("authkey")
    }

    /// What launchd keeps of the service's output; systemd has a journal.
    pub(super) fn log(&self) -> PathBuf {
        self.state.join("iris.log")
    }

    /// Whether root reads the keys and hands them over, so that the service's account can't.
    pub(super) fn keys_are_roots(&self) -> bool {
        self.manager == Manager::Systemd && self.scope == Scope::Machine
    }

    /// The part of the unit that has systemd hand over the auth key.
    pub(super) fn credential(&self) -> Option<PathBuf> {
        let folder = self.unit.with_extension("service.d");
        self.keys_are_roots().then(|| folder.join("authkey.conf"))
    }

    /// Where the service finds the auth key.
    pub(super) fn auth_key_seen(&self) -> PathBuf {
        if self.keys_are_roots() {
            Path::new(CREDENTIALS).join("authkey")
        } else {
            self.auth_key()
        }
    }

    /// The folder of this path that the unit hides from the service, if it is in one.
    pub(super) fn hidden(&self, path: &Path) -> Option<&'static str> {
        // ProtectHome= and PrivateTmp= of the unit.
        let hidden = ["/home", "/root", "/run/user", "/tmp", "/var/tmp"];
        let mut hidden = hidden.into_iter().filter(|_| self.keys_are_roots());
        hidden.find(|folder| path.starts_with(folder))
    }

    /// The command that says what the service has logged.
    pub(super) fn log_command(&self) -> String {
        match (self.manager, self.scope) {
            (Manager::Systemd, Scope::Machine) => "journalctl -u iris".to_owned(),
            (Manager::Systemd, Scope::User) => "journalctl --user -u iris".to_owned(),
            (Manager::Launchd, _) => format!("tail {}", self.log().display()),
        }
    }
}
