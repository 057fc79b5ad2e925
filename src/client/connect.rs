//! `iris connect`: runs an agent against a gateway, or prints or writes its settings.

use std::fs;
use std::io::{IsTerminal, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, bail, ensure};
use clap::Args;
use serde_json::Value;
use similar::TextDiff;

use super::agents::{self, Agent, Folder, PassedAs, Settings, Target};
use super::terminal::{first, print};
use super::{ask, project};
use crate::base::atomic_file;
use crate::base::labels::Labels;

/// Models that an error lists.
const LISTED: usize = 10;

/// Run an agent against a running gateway. Nothing of the agent's own settings is changed, unless
/// `--write` asks for it.
#[derive(Args)]
pub struct Connect {
    /// The agent: claude-code, codex, gemini-cli, opencode, qwen-code, continue, cline, aider,
    /// copilot-cli or llm.
    agent: String,
    /// The model to begin with [default: the first that you may use].
    #[arg(long, short)]
    model: Option<String>,
    #[arg(
        long,
        value_name = "URL",
        env = "IRIS_URL",
        help = "The gateway [default: http://ai, then http://127.0.0.1:8088]"
    )]
    url: Option<String>,
    /// Labels of the agent's requests, as `project=web,run=42` [default: `project` with the owner and
    /// name of this folder's Git remote]. "" sends none.
    #[arg(long, value_name = "LABELS")]
    labels: Option<String>,
    /// Print the settings instead.
    #[arg(long, conflicts_with = "write")]
    print: bool,
    /// Put the settings into the agent's own files, once you have seen what changes.
    #[arg(long)]
    write: bool,
    /// Do not ask before writing.
    #[arg(long, requires = "write")]
    yes: bool,
    /// Arguments for the agent.
    #[arg(last = true)]
    args: Vec<String>,
}

impl Connect {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let Some(agent) = agents::find(&self.agent) else {
            let known: Vec<&str> = agents::ALL.iter().map(|agent| agent.id).collect();
            bail!(
                "unknown agent {:?}; known agents: {}. For any other, set its OpenAI base URL to {}/v1",
                self.agent,
                known.join(", "),
                self.url
                    .as_deref()
                    .unwrap_or("http://ai")
                    .trim_end_matches('/')
            );
        };
        let (base, list) = ask::offered(self.url.as_deref())?;
        let model = self.model(agent, &list)?;
        let labels = match &self.labels {
            Some(labels) => Labels::parse([labels.as_bytes()])?.to_string(),
            None => project::label(),
        };
        let target = Target {
            base: &base,
            model: &model,
            labels: &labels,
        };
        let settings = agent.settings(&target);
        if let Some(doubt) = agent.doubt(&base) {
            let _ = writeln!(std::io::stderr(), "note: {doubt}");
        }
        if self.print {
            print(&shown(agent, &settings));
            return Ok(ExitCode::SUCCESS);
        }
        if self.write {
            return self.write(agent, &settings);
        }
        start(agent, settings, &base, &self.args)
    }

    /// The model that was asked for, or the first that can be asked in the agent's format.
    fn model(&self, agent: &Agent, list: &Value) -> anyhow::Result<String> {
        let endpoint = agent.speaks.endpoint();
        let rows = list["data"].as_array().map_or(&[][..], Vec::as_slice);
        // A name is written into an environment, a command and files: one that could be more than a
        // name there is left out.
        let is_name = |row: &&Value| row["id"].as_str().is_some_and(agents::is_name);
        let rows = rows.iter().filter(is_name);
        let speaks = |row: &&Value| {
            let endpoints = row["supported_endpoints"].as_array();
            endpoints.is_some_and(|all| all.iter().any(|one| one == endpoint))
        };
        let id = |row: &Value| row["id"].as_str().unwrap_or_default().to_owned();
        let fitting: Vec<String> = rows.clone().filter(speaks).map(id).collect();
        let (name, format) = (agent.name, agent.speaks.name());
        ensure!(
            !fitting.is_empty(),
            "{name} speaks {format}, and no model that you may use can be asked in it; `iris models` \
             lists what you have"
        );
        let Some(wanted) = &self.model else {
            return Ok(fitting[0].clone());
        };
        // A provider may stand in front of a model's name.
        let is_wanted = |row: &&Value| {
            let provider = row["owned_by"].as_str().unwrap_or_default();
            id(row) == *wanted || format!("{provider}/{}", id(row)) == *wanted
        };
        if rows.clone().filter(speaks).any(|row| is_wanted(&row)) {
            return Ok(wanted.clone());
        }
        if rows.clone().any(|row| is_wanted(&row)) {
            bail!(
                "{name} speaks {format}, in which {wanted} can't be asked; it can ask {}",
                first(LISTED, &fitting)
            );
        }
        bail!(
            "you have no access to a model {wanted}; {name} can ask {}",
            first(LISTED, &fitting)
        )
    }

    fn write(&self, agent: &Agent, settings: &Settings) -> anyhow::Result<ExitCode> {
        ensure!(
            !settings.own.is_empty(),
            "{} has no file for these settings; --print shows them",
            agent.name
        );
        let home = home()?;
        let mut changes = Vec::new();
        for own in &settings.own {
            let path = home.join(own.path);
            let before = match fs::read_to_string(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
                read => read.with_context(|| format!("can't read {}", path.display()))?,
            };
            let after = own.change.apply(&before);
            let after = after.with_context(|| path.display().to_string())?;
            if after != before {
                changes.push((path, before, after));
            }
        }
        if changes.is_empty() {
            print("Nothing to change: it is all there.\n");
            return Ok(ExitCode::SUCCESS);
        }
        for (path, before, after) in &changes {
            let name = path.display().to_string();
            let diff = TextDiff::from_lines(before, after);
            print(&diff.unified_diff().header(&name, &name).to_string());
        }
        if !self.yes && !confirmed()? {
            print("Nothing was changed.\n");
            return Ok(ExitCode::FAILURE);
        }
        for (path, _, after) in &changes {
            replace(path, after).with_context(|| format!("can't write {}", path.display()))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn home() -> anyhow::Result<PathBuf> {
    std::env::home_dir().context("there is no home folder: HOME is not set")
}

/// Asks on the terminal; without one, --yes must have been given.
fn confirmed() -> anyhow::Result<bool> {
    ensure!(
        std::io::stdin().is_terminal(),
        "there is no terminal to ask at: say --yes"
    );
    print("Write this? [y/N] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()))
}

/// Writes a file in place of the one that is there, with its permissions. A link stays one.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    atomic_file::replace(&path, text.as_bytes(), |new| match fs::metadata(&path) {
        Ok(old) => new.set_permissions(old.permissions()),
        Err(_) => Ok(()),
    })
}

/// All settings, for people and for a shell.
fn shown(agent: &Agent, settings: &Settings) -> String {
    let mut text = String::new();
    for own in &settings.own {
        text = format!("{text}# ~/{}\n{}\n", own.path, own.change.new_file());
    }
    if settings.folder.is_none() {
        text += "# in a shell\n";
        text += &agents::exports(&settings.env);
        text += &agents::command(agent.program, &settings.args);
        text += "\n";
    }
    text
}

/// Becomes the agent: its signals and its exit code are its own.
fn start(
    agent: &Agent,
    settings: Settings,
    base: &str,
    args: &[String],
) -> anyhow::Result<ExitCode> {
    let mut command = Command::new(agent.program);
    command.args(&settings.args).envs(besides_own(settings.env));
    past_proxies(&mut command, base);
    if let Some(folder) = &settings.folder {
        lead(&mut command, agent, folder)?;
    }
    let error = command.args(args).exec();
    let (name, program) = (agent.name, agent.program);
    if error.kind() == std::io::ErrorKind::NotFound {
        bail!("{name} is not installed: there is no {program}");
    }
    Err(error).with_context(|| format!("can't run {program}"))
}

/// The environment of an agent. Headers stand behind those that its user has set.
fn besides_own(env: Vec<(&'static str, String)>) -> impl Iterator<Item = (&'static str, String)> {
    env.into_iter().map(|(name, value)| {
        let between = agents::between_headers(name);
        let set = between.and_then(|_| std::env::var(name).ok());
        match set.filter(|set| !set.trim().is_empty()).zip(between) {
            Some((set, between)) => (name, format!("{set}{between}{value}")),
            None => (name, value),
        }
    })
}

/// Has an agent reach the gateway without a proxy, which could read conversations. The gateway was
/// found without one.
fn past_proxies(command: &mut Command, base: &str) {
    let proxies = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_set = |name: &&str| is_set(name) || is_set(&name.to_ascii_lowercase());
    let uri = base.parse::<http::Uri>().ok();
    let Some(host) = uri
        .as_ref()
        .and_then(http::Uri::host)
        .filter(|_| proxies.iter().any(is_set))
    else {
        return;
    };
    let host = host.trim_matches(['[', ']']);
    let known = ["NO_PROXY", "no_proxy"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok());
    let known = known.filter(|known| !known.is_empty()).take(1);
    let list = known.chain([host.to_owned()]).collect::<Vec<_>>().join(",");
    command.env("NO_PROXY", &list).env("no_proxy", &list);
    let _ = writeln!(
        std::io::stderr(),
        "note: the agent reaches the gateway without the proxy of your environment (NO_PROXY has {host})"
    );
}

/// Creates the folder that an agent reads, in the user's cache, and passes its path.
fn lead(command: &mut Command, agent: &Agent, folder: &Folder) -> anyhow::Result<()> {
    let cache = std::env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty());
    let cache = match cache {
        Some(cache) => cache.into(),
        None => home()?.join(".cache"),
    };
    let root = cache.join("iris/connect").join(agent.id);
    let file = root.join(folder.file);
    let made = || -> std::io::Result<()> {
        let within = file.parent().unwrap_or(&root);
        let mut private = fs::DirBuilder::new();
        private.recursive(true).mode(0o700).create(within)?;
        // In place: agents that start at the same time write the same text.
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        options.open(&file)?.write_all(folder.text.as_bytes())
    };
    made().with_context(|| format!("can't write {}", file.display()))?;
    match folder.passed_as {
        PassedAs::FileArgument(name) => command.arg(name).arg(file),
        PassedAs::FileVariable(name) => command.env(name, file),
        PassedAs::FolderArgument(name) => command.arg(name).arg(root),
        PassedAs::FolderVariable(name) => command.env(name, root),
    };
    Ok(())
}
