//! `iris connect`: runs an agent against a gateway, or prints or writes its settings.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, bail, ensure};
use clap::Args;

use super::agents::{self, Agent, Folder, PassedAs, Settings, Target};
use super::files::{self, home};
use super::gateway;
use super::offer::{self, Offered};
use super::place::NAME;
use super::project;
use super::terminal::{first, print};
use crate::base::labels::Labels;

/// Models that an error lists.
const LISTED: usize = 10;

/// Run an agent against a running gateway. Nothing of the agent's own settings is changed, unless
/// `--write` asks for it.
#[derive(Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of the command line"
)]
pub struct Connect {
    /// The agent: claude-code, codex, gemini-cli, opencode, qwen-code, continue, cline, aider,
    /// copilot-cli, llm, pi, omp, crush, goose, junie or zed.
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
    #[arg(long, group = "change")]
    write: bool,
    /// Put the agent's own files back as they were before the first --write.
    #[arg(long, group = "change", conflicts_with_all = ["write", "print"])]
    undo: bool,
    /// Print what an admin hands out to all machines of a team, and where it goes there.
    #[arg(long, conflicts_with_all = ["write", "print", "undo"])]
    team: bool,
    /// Do not ask before changing files.
    #[arg(long, requires = "change")]
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
        if self.undo {
            return files::undo(agent, self.yes);
        }
        let (found, list) = gateway::offered(self.url.as_deref())?;
        let all = Offered::all(&list);
        let model = self.model(agent, &all)?;
        let (models, background) =
            offer::for_program(&all, agent.speaks, &model, agent.keeps_login);
        let chosen = all.iter().find(|one| one.is(&model));
        let takes_own = chosen.is_some_and(|one| one.takes_own(&model, agent.speaks));
        let needs_own = chosen.is_some_and(|one| one.needs_own(&model, agent.speaks));
        // Other machines have their own way to the gateway: by its name.
        let named = || self.url.clone().unwrap_or_else(|| format!("http://{NAME}"));
        let base = if self.team {
            named()
                .trim_end_matches('/')
                .trim_end_matches("/v1")
                .to_owned()
        } else {
            found
        };
        let labels = match &self.labels {
            Some(labels) => Labels::parse([labels.as_bytes()])?.to_string(),
            None => project::label(),
        };
        let target = Target {
            base: &base,
            model: &model,
            labels: &labels,
            background,
            models: &models,
            own_login: takes_own && agent.keeps_login,
        };
        let settings = agent.settings(&target);
        notes(agent, &target, needs_own);
        if self.team {
            return team(agent, &settings);
        }
        if !self.write {
            leftovers(agent, &settings);
        }
        if self.print {
            print(&shown(agent, &settings));
            return Ok(ExitCode::SUCCESS);
        }
        if self.write {
            return files::write(agent, &settings, self.yes);
        }
        ensure!(
            agent.once,
            "{} takes its settings from its own file alone; --write puts them there, --print shows them",
            agent.name
        );
        start(agent, settings, &base, &self.args)
    }

    /// The model that was asked for, or the first that can be asked in the agent's format.
    fn model(&self, agent: &Agent, all: &[Offered]) -> anyhow::Result<String> {
        let (name, format) = (agent.name, agent.speaks.name());
        let fitting = all.iter().filter(|one| one.speaks(agent.speaks));
        // One that takes the agent's own login, if the agent has none to give, comes last.
        let (own, keyed): (Vec<_>, Vec<_>) =
            fitting.partition(|one| !agent.keeps_login && one.needs_own(&one.id, agent.speaks));
        let fitting: Vec<String> = keyed.iter().chain(&own).map(|one| one.id.clone()).collect();
        ensure!(
            !fitting.is_empty(),
            "{name} speaks {format}, and no model that you may use can be asked in it; `iris models` \
             lists what you have"
        );
        let Some(wanted) = &self.model else {
            return Ok(fitting[0].clone());
        };
        if all.iter().any(|one| one.can_be_asked(wanted, agent.speaks)) {
            return Ok(wanted.clone());
        }
        if all.iter().any(|one| one.is(wanted)) {
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
}

fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "note: {text}");
}

/// Names what an earlier `--write` has put into the agent's own files and doesn't fit these settings.
fn leftovers(agent: &Agent, settings: &Settings) {
    for (path, key) in files::leftovers(settings) {
        note(&format!(
            "~/{path} still has the {key} of an earlier `iris connect {agent} --write`, which the agent may use \
             in place of its own login; `iris connect {agent} --write` removes it",
            agent = agent.id
        ));
    }
}

/// What a person should know before the agent starts.
fn notes(agent: &Agent, target: &Target<'_>, needs_own: bool) {
    if let Some(doubt) = agent.doubt(target.base) {
        note(doubt);
    }
    if target.own_login {
        note(&format!(
            "{} stays signed in: its own login goes to the provider of {}",
            agent.name, target.model
        ));
    } else if needs_own {
        note(&format!(
            "the provider of {} takes each caller's own credential: put yours in place of \"-\"",
            target.model
        ));
    }
}

/// Prints what an admin hands out.
fn team(agent: &Agent, settings: &Settings) -> anyhow::Result<ExitCode> {
    let Some((place, text)) = &settings.team else {
        let with = agents::ALL.iter().filter(|one| one.has_team_settings());
        let with: Vec<&str> = with.map(|one| one.id).collect();
        bail!(
            "{} has no settings for a whole team that Iris knows of; {} have",
            agent.name,
            with.join(" and ")
        );
    };
    let _ = writeln!(std::io::stderr(), "{place}:");
    print(text);
    Ok(ExitCode::SUCCESS)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consent_is_taken_only_for_a_change() {
        let parsed = |flags: &[&str]| {
            let command = Connect::augment_args(clap::Command::new("connect"));
            let words = ["connect", "codex"].iter().chain(flags);
            command.try_get_matches_from(words).is_ok()
        };
        for flags in [
            &[][..],
            &["--write"],
            &["--undo"],
            &["--write", "--yes"],
            &["--undo", "--yes"],
        ] {
            assert!(parsed(flags), "{flags:?}");
        }
        for flags in [
            &["--yes"][..],
            &["--print", "--yes"],
            &["--team", "--yes"],
            &["--write", "--undo"],
        ] {
            assert!(!parsed(flags), "{flags:?}");
        }
    }
}
