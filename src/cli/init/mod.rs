//! `iris init`: a first configuration from the answers to four questions.

mod answers;
mod draft;
mod providers;

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::{harmless, print, quoted};
use answers::{Admins, Answers, Control, Hostname, Tailnet};
use providers::{Provider, Wanted};

const USUAL_NAME: &str = "ai";

/// Write a first, commented configuration. What no option answers is asked for, on a terminal.
#[derive(Args)]
pub(super) struct Init {
    /// Where to write it. A file that is there is left as it is.
    #[arg(long, short, value_name = "FILE", default_value = "iris.hujson")]
    output: PathBuf,
    /// The tailnet to join: "tailscale", the URL of a Headscale server, or "loopback" to serve
    /// this machine only.
    #[arg(long, value_name = "WHERE")]
    control: Option<Control>,
    /// The node's name: people open <http://NAME>.
    #[arg(long, value_name = "NAME")]
    hostname: Option<Hostname>,
    /// Where models are: an address, with its models after commas if it cannot be asked for
    /// them from here, or "found" for the model servers on this machine. May be repeated.
    #[arg(long = "provider", value_name = "ADDRESS[,MODEL…]")]
    providers: Vec<Wanted>,
    /// Who may see and change everything: logins as the tailnet knows them, groups or tags,
    /// with commas between.
    #[arg(long, value_name = "WHO")]
    admin: Option<Admins>,
}

impl Init {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let path = &self.output;
        anyhow::ensure!(
            !path.try_exists()?,
            "{} is there already and stays as it is; name another file with --output",
            path.display()
        );
        if let Some(wrong) = self.wrong_use(io::stdin().is_terminal()) {
            writeln!(io::stderr(), "error: {wrong}")?;
            return Ok(ExitCode::from(2));
        }
        let answers = self.answers()?;
        let text = draft::configuration(&answers);
        if let Some(objection) = draft::objection(&text) {
            anyhow::bail!("these answers make no valid configuration: {objection}");
        }
        // Whatever came there since is not overwritten either.
        let written =
            std::fs::File::create_new(path).and_then(|mut file| file.write_all(text.as_bytes()));
        written.with_context(|| format!("{} cannot be written", path.display()))?;
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
            "{option} has no meaning for loopback: there is no node, and whoever is on this \
             machine is the admin"
        ))
    }

    /// Options that contradict each other, or that are missing where nobody can be asked.
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
        (!terminal && !missing.is_empty()).then(|| {
            format!(
                "nobody can be asked, because the input is no terminal; {} missing: {}",
                if missing.len() == 1 {
                    "this option is"
                } else {
                    "these options are"
                },
                missing.join(", ")
            )
        })
    }

    fn answers(&self) -> anyhow::Result<Answers> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let given = |wanted: &[Wanted], found: &[Provider]| {
            runtime.block_on(providers::reached(wanted, found))
        };
        let look = || runtime.block_on(providers::found());
        // What is given must hold before anybody is asked for the rest.
        let mut providers = Vec::new();
        if !self.providers.is_empty() {
            let found = if self.providers.contains(&Wanted::Found) {
                look()
            } else {
                Vec::new()
            };
            providers = given(&self.providers, &found)?;
        }
        let control = match &self.control {
            Some(control) => control.clone(),
            None => ask(
                "Which tailnet? \"tailscale\", the URL of a Headscale server, or \"loopback\" for \
                 this machine only",
                Some("tailscale"),
                |text| {
                    let control = text.parse()?;
                    match self.contradiction(&control) {
                        Some(contradiction) => anyhow::bail!(contradiction),
                        None => Ok(control),
                    }
                },
            )?,
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
        if providers.is_empty() {
            providers = ask_for_providers(&look(), given)?;
        }
        let tailnet = match hostname {
            None => Tailnet::Off,
            Some(hostname) => {
                let admins = match &self.admin {
                    Some(admins) => admins.clone(),
                    None => ask(
                        match control {
                            Control::Headscale(_) => {
                                "Who is the admin? The user as in `headscale users list`"
                            }
                            Control::Tailscale | Control::Loopback => {
                                "Who is the admin? The login as the tailnet knows it, such as \
                                 you@example.com"
                            }
                        },
                        None,
                        str::parse,
                    )?,
                };
                Tailnet::Node {
                    control,
                    hostname,
                    admins,
                }
            }
        };
        Ok(Answers { tailnet, providers })
    }
}

fn ask_for_providers(
    found: &[Provider],
    reached: impl Fn(&[Wanted], &[Provider]) -> anyhow::Result<Vec<Provider>>,
) -> anyhow::Result<Vec<Provider>> {
    let mut question =
        "Where are the models? Addresses such as http://gpu:8080, with spaces between".to_owned();
    for server in found {
        let models: Vec<String> = server.models.iter().map(|name| harmless(name)).collect();
        let (id, baseurl) = (&server.id, &server.baseurl);
        // Writing to a string does not fail.
        let _ = write!(
            question,
            "\n  found here: {id} at {baseurl} with {}",
            models.join(", ")
        );
    }
    let default = (!found.is_empty()).then_some("found");
    if default.is_some() {
        question.push_str("\n  (\"found\" takes what was found here)");
    }
    ask(&question, default, |text| {
        let wanted: Vec<Wanted> = text
            .split_whitespace()
            .map(str::parse)
            .collect::<anyhow::Result<_>>()?;
        reached(&wanted, found)
    })
}

/// Asks until there is an answer that makes sense. Enter takes what `usual` says.
fn ask<T>(
    question: &str,
    usual: Option<&str>,
    read: impl Fn(&str) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let mut out = io::stderr();
    let shown = usual.map(|usual| format!(" [{usual}]")).unwrap_or_default();
    loop {
        write!(out, "{question}{shown}: ")?;
        out.flush()?;
        let mut line = String::new();
        if io::stdin().read_line(&mut line)? == 0 {
            writeln!(out)?;
            anyhow::bail!("the question was not answered; nothing was written");
        }
        let answer = Some(line.trim()).filter(|text| !text.is_empty()).or(usual);
        let Some(answer) = answer else { continue };
        match read(answer) {
            Ok(answer) => return Ok(answer),
            Err(error) => writeln!(out, "  {}", harmless(&format!("{error:#}")))?,
        }
    }
}

/// What to do with the file.
fn next(path: &Path, answers: &Answers) -> String {
    let path = path.display().to_string();
    let plain = |char: char| char.is_ascii_alphanumeric() || "/._-".contains(char);
    let word = if path.chars().all(plain) {
        path.clone()
    } else {
        quoted(&path)
    };
    let mut out =
        format!("\nWrote {path}. Read it through; what to change is explained there. Then:\n\n");
    for provider in &answers.providers {
        if let Some(variable) = &provider.key {
            let _ = writeln!(out, "  export {variable}=…    # the key of {}", provider.id);
        }
    }
    let _ = writeln!(
        out,
        "  iris check --strict {word}\n  iris serve --config {word}\n"
    );
    out.push_str(match answers.tailnet {
        Tailnet::Off => "It tells the address, and a line of curl to try it with.\n",
        Tailnet::Node { .. } => {
            "It shows where to sign the node in, then its address, and a line of curl to try it with.\n"
        }
    });
    out
}
