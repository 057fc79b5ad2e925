//! `iris init`: a first configuration, from the answers to a few questions. Each answer can be an
//! option; on a terminal the others are asked for. What the configuration says of a provider has been
//! tried, as far as it can be reached from here.

mod answers;
mod ask_key;
mod draft;
mod given;
mod key;
mod menu;
mod provider;
mod reach;
mod service;
mod spec;
mod terminal;

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::{default_state_dir, print, quoted};
use crate::base::atomic_file;
use crate::client::agents::Speaks;
use crate::config;
use crate::net::tailnet::{self, Machine};
use answers::{Admins, Answers, Budget, Control, Hostname, ME, Tailnet};
use key::Key;
use menu::Menu;
use reach::Reach;
use spec::Wanted;
use terminal::ask;

const USUAL_NAME: &str = "ai";

/// Write a first, commented configuration. What no option answers is asked for, on a terminal.
#[derive(Args)]
#[command(after_help = PROVIDERS)]
pub(super) struct Init {
    /// Where to write it. A file that is there is left as it is.
    #[arg(long, short, value_name = "FILE", default_value = "iris.hujson")]
    output: PathBuf,
    /// The tailnet to join: "tailscale", the URL of a Headscale server, or "loopback" to serve
    /// this machine only.
    #[arg(long, value_name = "WHERE")]
    control: Option<Control>,
    #[arg(
        long,
        value_name = "NAME",
        help = "The node's name: people open http://NAME"
    )]
    hostname: Option<Hostname>,
    /// Where models are; see below. May be repeated.
    #[arg(long = "provider", value_name = "PROVIDER")]
    providers: Vec<Wanted>,
    /// Who may see and change everything: logins as the tailnet knows them, groups or tags,
    /// with commas between; "me" is the login of this machine's tailscaled.
    #[arg(long, value_name = "WHO")]
    admin: Option<Admins>,
    /// What each user may spend, as in 5 for $5 a day, or $50/month.
    #[arg(long, value_name = "DOLLARS")]
    budget: Option<Budget>,
    /// Test no key, and ask no server for its models and formats.
    #[arg(long)]
    no_test: bool,
    /// The socket of this machine's tailscaled, where it isn't the usual one.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Where the gateway will keep its state: keys that are typed are saved in `keys` there.
    #[arg(long, value_name = "DIR", env = "IRIS_STATE_DIR")]
    state_dir: Option<PathBuf>,
}

const PROVIDERS: &str = "\
Providers:
  found                     the model servers on this machine
  ADDRESS                   a server that speaks OpenAI's or Anthropic's API: http://gpu:8080
  KIND                      ollama, llamacpp, vllm, lmstudio, openai, anthropic, gemini, openrouter,
                            bedrock, vertex
After ADDRESS or KIND, with commas between:
  key=env:NAME              its key is in this environment variable (for most kinds there is a usual one)
  key=file:PATH             its key is in this file; for vertex it is the service account's JSON file
  key=aws                   bedrock: the usual variables of AWS, such as AWS_ACCESS_KEY_ID
  url=ADDRESS               where a KIND is, if not at its usual address
  region=REGION             for bedrock and vertex
  project=PROJECT           for vertex, if not the service account's own
  formats=chat+responses    what a server speaks that can't be asked from here; also messages, ollama
  MODEL                     a model, or a pattern such as gpt-5*; without any, all that it lists

  iris init --provider ollama --provider openai,key=env:OPENAI_API_KEY,gpt-5*";

impl Init {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let path = &self.output;
        anyhow::ensure!(
            !path.try_exists()?,
            "{} exists already and stays as it is; name another file with --output",
            path.display()
        );
        if let Some(wrong) = self.wrong_use(io::stdin().is_terminal()) {
            writeln!(io::stderr(), "error: {wrong}")?;
            return Ok(ExitCode::from(2));
        }
        let answers = self.answers()?;
        let text = draft::configuration(&answers);
        if let Some(objection) = draft::objection(&answers, &text, path) {
            anyhow::bail!("these answers don't make a valid configuration: {objection}");
        }
        let keys = answers.providers.iter().filter_map(|one| one.key.as_ref());
        write(path, &text, keys)?;
        print(&next(path, &answers));
        Ok(ExitCode::SUCCESS)
    }

    /// Options for a node, and whether they are given.
    fn of_node(&self) -> [(&'static str, bool); 2] {
        [
            ("--hostname", self.hostname.is_some()),
            ("--admin", self.admin.is_some()),
        ]
    }

    /// An option without a meaning beside this answer.
    fn contradiction(&self, control: &Control) -> Option<String> {
        let mut given = self.of_node().into_iter().filter(|(_, given)| *given);
        let (option, _) = given.next().filter(|_| *control == Control::Loopback)?;
        Some(format!(
            "{option} can't be combined with loopback: there is no node, and everyone on this machine is \
             an admin"
        ))
    }

    /// Options that contradict each other, or that are missing without a terminal to ask at.
    fn wrong_use(&self, terminal: bool) -> Option<String> {
        let control = self.control.as_ref();
        if let Some(contradiction) = control.and_then(|control| self.contradiction(control)) {
            return Some(contradiction);
        }
        let mut missing = Vec::new();
        if control.is_none() {
            missing.push("--control");
        }
        if self.providers.is_empty() {
            missing.push("--provider");
        }
        if control != Some(&Control::Loopback) {
            let not_given = self.of_node().into_iter().filter(|(_, given)| !given);
            missing.extend(not_given.map(|(option, _)| option));
        }
        (!terminal && !missing.is_empty())
            .then(|| format!("not a terminal; pass {}", missing.join(", ")))
    }

    fn answers(&self) -> anyhow::Result<Answers> {
        let reach = Reach::new(self.output.clone())?;
        // Options are checked before the first question.
        let given = given::providers(&reach, &self.providers, !self.no_test)?;
        let asks_nothing = self.control.is_some() && !given.is_empty();
        let machine = match (&self.control, &self.admin) {
            (Some(Control::Loopback), _) => Ok(Machine::default()),
            (Some(_), Some(admins)) if !admins.0.iter().any(|name| name == ME) => {
                Ok(Machine::default())
            }
            _ => reach.wait(tailnet::machine(self.socket.clone())),
        };
        let control = match &self.control {
            Some(control) => control.clone(),
            None => self.ask_for_control(machine.as_ref().ok())?,
        };
        let hostname = match (&self.hostname, &control) {
            (_, Control::Loopback) => None,
            (Some(name), _) => Some(name.clone()),
            (None, _) => Some(ask(
                "What is the node called? People open http://NAME",
                Some(USUAL_NAME),
                str::parse,
            )?),
        };
        let providers = if given.is_empty() {
            let state = self.state_dir.clone().unwrap_or_else(default_state_dir);
            let keys = std::path::absolute(state)?.join("keys");
            Menu::new(&reach, keys).providers()?
        } else {
            given
        };
        let tailnet = match hostname {
            None => Tailnet::Off,
            Some(hostname) => Tailnet::Node {
                admins: self.admins(&control, &machine)?,
                control,
                hostname,
            },
        };
        let all_given = asks_nothing
            && (matches!(tailnet, Tailnet::Off)
                || (self.hostname.is_some() && self.admin.is_some()));
        let budget = match &self.budget {
            Some(budget) => Some(budget.clone()),
            None if all_given => None,
            None => ask(
                "What may each user spend? Dollars a day, such as 5, or an amount such as $50/month",
                Some("no limit"),
                |text| match text {
                    "no limit" | "none" | "no" => Ok(None),
                    text => text.parse().map(Some),
                },
            )?,
        };
        Ok(Answers {
            tailnet,
            providers,
            budget,
        })
    }

    fn ask_for_control(&self, machine: Option<&Machine>) -> anyhow::Result<Control> {
        let own = machine.and_then(|machine| machine.control_url.as_deref());
        let own = own.and_then(|url| url.parse::<Control>().ok());
        let usual = match &own {
            Some(Control::Headscale(url)) => url.as_str(),
            _ => "tailscale",
        };
        ask(
            "Which tailnet? \"tailscale\", the URL of a Headscale server, or \"loopback\" for \
             this machine only",
            Some(usual),
            |text| {
                let control = text.parse()?;
                match self.contradiction(&control) {
                    Some(contradiction) => anyhow::bail!(contradiction),
                    None => Ok(control),
                }
            },
        )
    }

    /// Who manages the gateway, with a name in place of "me".
    fn admins(
        &self,
        control: &Control,
        machine: &Result<Machine, tailnet::Error>,
    ) -> anyhow::Result<Admins> {
        let named = |mut admins: Admins| -> anyhow::Result<Admins> {
            for name in admins.0.iter_mut().filter(|name| *name == ME) {
                let login = match machine {
                    Ok(machine) => machine.login.clone().context(
                        "this machine's tailscaled is signed in as a tag, not as a person; name the \
                         admin, such as you@example.com",
                    ),
                    Err(error) => Err(anyhow::anyhow!(
                        "{error}; name the admin, such as you@example.com"
                    )),
                };
                *name = login?;
            }
            Ok(admins)
        };
        if let Some(admins) = &self.admin {
            return named(admins.clone());
        }
        // A login of another tailnet is unknown here.
        let is_same = |url: &str| url.parse::<Control>().is_ok_and(|own| own == *control);
        let own = machine.as_ref().ok();
        let own = own.filter(|own| own.control_url.as_deref().is_none_or(is_same));
        let login = own.and_then(|own| own.login.clone());
        let question = match control {
            Control::Headscale(_) => "Who is the admin? The user as in `headscale users list`",
            Control::Tailscale | Control::Loopback => {
                "Who is the admin? The login as the tailnet knows it, such as you@example.com"
            }
        };
        ask(question, login.as_deref(), |text| named(text.parse()?))
    }
}

/// Writes the configuration and the keys that were typed for it: all of them or none, so that a
/// second try finds nothing in its way.
fn write<'k>(path: &Path, text: &str, keys: impl Iterator<Item = &'k Key>) -> anyhow::Result<()> {
    // A file that was made while the questions were asked is not overwritten either.
    atomic_file::create(path, text.as_bytes(), 0o666)
        .with_context(|| format!("cannot write {}", path.display()))?;
    let mut written = vec![path];
    for key in keys {
        match key.store() {
            Ok(file) => written.extend(file),
            Err(error) => {
                for path in written {
                    std::fs::remove_file(path)
                        .with_context(|| format!("{error:#}; remove {}", path.display()))?;
                }
                return Err(error.context("nothing was written"));
            }
        }
    }
    Ok(())
}

/// What to do with the file.
fn next(file: &Path, answers: &Answers) -> String {
    let path = file.display().to_string();
    let word = quoted(&path);
    let mut out =
        format!("\nWrote {path}. Read it through; what to change is explained there. Then:\n\n");
    for provider in &answers.providers {
        let Some(key) = &provider.key else { continue };
        let unset = key
            .variables()
            .filter(|name| key.typed.is_some() || !config::is_there(name, file));
        for variable in unset {
            let _ = writeln!(out, "  export {variable}=…    # the key of {}", provider.id);
        }
    }
    let _ = writeln!(
        out,
        "  iris check --strict {word}\n  iris serve --config {word}\n"
    );
    out.push_str(match answers.tailnet {
        Tailnet::Off => "It prints the address, and a line of curl to try it with.\n",
        Tailnet::Node { .. } => {
            "It shows where to sign the node in, then its address, and a line of curl to try it with.\n"
        }
    });
    let speaks = |flag: &str| {
        let mut flags = answers.providers.iter().flat_map(|one| &one.flags);
        flags.any(|one| *one == flag)
    };
    for (flag, agent, name) in [
        (Speaks::Messages.kind(), "claude-code", "Claude Code"),
        (Speaks::Responses.kind(), "codex", "Codex"),
    ] {
        if speaks(flag) {
            let _ = writeln!(out, "{name} can use it: iris connect {agent}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::secret::Secret;

    #[test]
    fn a_key_that_can_not_be_stored_takes_the_rest_along() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("file"), "").unwrap();
        let key = |name: &str| Key::stored(Secret::new("sk".to_owned()), &at(name));
        let file = at("iris.hujson");
        let keys = [key("keys/one"), key("file/two")];
        let error = write(&file, "{}", keys.iter()).unwrap_err();
        let said = format!("{error:#}");
        assert!(
            said.starts_with("nothing was written: cannot write the key to "),
            "{said}"
        );
        assert!(!file.exists() && !at("keys/one").exists());
        write(&file, "{}", keys[..1].iter()).unwrap();
        assert!(file.exists() && at("keys/one").exists());
        // What is there stays as it is, and so do the keys of it.
        let others = [key("keys/other")];
        assert!(write(&file, "{ }", others.iter()).is_err());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "{}");
        assert!(!at("keys/other").exists());
    }
}
