//! Programs that talk to models, and the settings with which each uses this gateway: for the page
//! that shows them, and for `iris connect`, which applies them. A new program is an entry of [`ALL`].

use crate::base::labels::HEADER;
use crate::wire::harmless;
use crate::wire::text::steers;

mod file;
mod listing;
mod programs;

pub use file::{Change, Unreadable};
pub use programs::ALL;

/// What stands for a key where a program insists on one.
const KEY: &str = "-";

/// A format, as far as programs care. A colleague's machine knows formats by the names that the
/// configuration and the gateway's API have for them: it doesn't need the formats themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    Chat,
    Responses,
    Messages,
    Gemini,
}

impl Speaks {
    /// The name of the format, and of its flag.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::Chat => "openai_chat",
            Self::Responses => "openai_responses",
            Self::Messages => "anthropic_messages",
            Self::Gemini => "gemini_generate_content",
        }
    }

    /// The endpoint that a gateway's list of models shows for it.
    #[must_use]
    pub fn endpoint(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Responses => "/v1/responses",
            Self::Messages => "/v1/messages",
            Self::Gemini => "/v1beta/models/{model}:generateContent",
        }
    }

    /// Its name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Chat => "OpenAI chat completions",
            Self::Responses => "OpenAI responses",
            Self::Messages => "Anthropic messages",
            Self::Gemini => "Gemini generateContent",
        }
    }
}

/// What a program is pointed at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Target<'a> {
    /// The gateway, such as `http://ai`, without a slash at the end.
    pub base: &'a str,
    /// The model to begin with.
    pub model: &'a str,
    /// The labels of its requests, as in `x-iris-labels`; empty for none. They are for one run, because the
    /// settings of a program are for all projects.
    pub labels: &'a str,
    /// The model for what the program does beside a conversation, such as titles.
    pub background: &'a str,
    /// The models that it may choose from, in their order; the one to begin with is among them.
    pub models: &'a [Listed],
    /// Whether the program stays signed in at the provider, which takes callers' own credentials.
    pub own_login: bool,
}

/// A model that a program may choose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Its name in requests.
    pub id: String,
    /// Tokens of the longest conversation, where that is known.
    pub context: Option<u64>,
    /// Tokens of the longest answer, where that is known.
    pub output: Option<u64>,
}

impl Listed {
    /// Tokens of the longest conversation, for programs that insist on a number.
    #[must_use]
    pub fn context(&self) -> u64 {
        self.context.unwrap_or(128_000)
    }

    /// Tokens of the longest answer, likewise.
    #[must_use]
    pub fn output(&self) -> u64 {
        self.output.unwrap_or(16_384).min(self.context() / 2)
    }
}

impl Target<'_> {
    /// The base URL of OpenAI's clients.
    fn v1(&self) -> String {
        format!("{}/v1", self.base)
    }

    /// The header of the labels, as a line.
    fn label_line(&self) -> Option<String> {
        (!self.labels.is_empty()).then(|| format!("{HEADER}: {}", self.labels))
    }

    /// The models to choose from. The one to begin with comes first: agents that are told none take that.
    #[must_use]
    pub fn listed(&self) -> Vec<Listed> {
        let mut others = self.models.to_vec();
        let first = match others.iter().position(|one| one.id == self.model) {
            Some(nth) => others.remove(nth),
            None => Listed {
                id: self.model.to_owned(),
                ..Listed::default()
            },
        };
        others.insert(0, first);
        others
    }
}

pub struct Agent {
    /// Its name on the command line.
    pub id: &'static str,
    /// Its name for people.
    pub name: &'static str,
    /// What records call it.
    pub record: &'static str,
    /// The command that starts it.
    pub program: &'static str,
    pub speaks: Speaks,
    /// Whether it can stay signed in at a provider that takes callers' own credentials.
    pub keeps_login: bool,
    /// Whether it can be given its settings for one run, without a change of its own files.
    pub once: bool,
    settings: fn(&Target<'_>) -> Settings,
}

impl Agent {
    /// Its settings for this gateway.
    #[must_use]
    pub fn settings(&self, target: &Target<'_>) -> Settings {
        // Each form quotes in its own way; none may contain the end of a line or invisible characters.
        let (base, model) = (harmless(target.base), harmless(target.model));
        let listed = target.models.iter().map(|one| Listed {
            id: harmless(&one.id),
            ..one.clone()
        });
        (self.settings)(&Target {
            base: &base,
            model: &model,
            labels: target.labels,
            background: &harmless(target.background),
            models: &listed.collect::<Vec<_>>(),
            own_login: target.own_login && self.keeps_login,
        })
    }

    /// Whether it has settings that an admin can hand out.
    #[must_use]
    pub fn has_team_settings(&self) -> bool {
        // Whether there are any doesn't depend on the target.
        self.settings(&Target::default()).team.is_some()
    }

    /// Why it may not work with a gateway at `base`, if there is a reason.
    #[must_use]
    pub fn doubt(&self, base: &str) -> Option<&'static str> {
        let fits = ["http://127.", "http://localhost", "https://"];
        let is_picky = self.id == "gemini-cli";
        (is_picky && !fits.iter().any(|start| base.starts_with(start))).then_some(
            "Newer versions take nothing but https and the full name of the gateway: enable HTTPS \
             in the tailnet.",
        )
    }
}

/// The settings of a program: `env`, `args` and `folder` for one run, `own` for good.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub env: Vec<(&'static str, String)>,
    /// Arguments in front of a person's own.
    pub args: Vec<String>,
    /// What it reads from a file only.
    pub folder: Option<Folder>,
    /// Its own files.
    pub own: Vec<Own>,
    /// What an admin hands out to a team: where it goes, and what it says.
    pub team: Option<(&'static str, String)>,
}

/// A folder that stands for the one of the program's own, with one file in it.
#[derive(Clone, Debug)]
pub struct Folder {
    /// Where the file is in it.
    pub file: &'static str,
    /// What it says.
    pub text: String,
    /// How the program is given its path.
    pub passed_as: PassedAs,
}

/// How a program is given the path of a folder or of its file: by the argument in front of it, or by
/// the variable that holds it.
#[derive(Clone, Copy, Debug)]
pub enum PassedAs {
    FileArgument(&'static str),
    FileVariable(&'static str),
    FolderArgument(&'static str),
    FolderVariable(&'static str),
}

/// A file of a program's own settings.
#[derive(Clone, Debug)]
pub struct Own {
    /// Below the home folder.
    pub path: &'static str,
    /// What it should say besides what it says.
    pub change: Change,
}

impl Own {
    fn new(path: &'static str, change: Change) -> Self {
        Self { path, change }
    }
}

/// What stands between two headers of a variable that holds a program's headers; `None` for other variables.
#[must_use]
pub fn between_headers(variable: &str) -> Option<&'static str> {
    match variable {
        programs::CLAUDE_HEADERS => Some("\n"),
        programs::GEMINI_HEADERS => Some(", "),
        _ => None,
    }
}

#[must_use]
pub fn find(id: &str) -> Option<&'static Agent> {
    ALL.iter()
        .find(|agent| agent.id == id || agent.program == id)
}

/// Whether a model's name can stand for itself in an environment, a command and a file.
#[must_use]
pub fn is_name(model: &str) -> bool {
    let is_odd = |char: char| steers(char) || "'\"`\\$".contains(char);
    !model.is_empty() && !model.starts_with('-') && !model.chars().any(is_odd)
}

/// Whether a text needs no quotes, in a shell and in a file of variables.
fn is_plain(text: &str) -> bool {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "-_./:@+=,".contains(char);
    text.chars().all(is_plain)
}

/// A value of a line in a file of variables (`.env`): plain, or in quotes that nothing in it ends.
fn dotenv(value: &str) -> String {
    if is_plain(value) {
        return value.to_owned();
    }
    format!("'{}'", harmless(value).replace('\'', "?"))
}

/// A word of a shell's command.
#[must_use]
pub fn sh(text: &str) -> String {
    if !text.is_empty() && is_plain(text) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// The lines that set an environment in a shell.
#[must_use]
pub fn exports(env: &[(&str, String)]) -> String {
    let lines = env
        .iter()
        .map(|(name, value)| format!("export {name}={}\n", sh(value)));
    lines.collect()
}

/// A command with its arguments, as a shell reads it.
#[must_use]
pub fn command(program: &str, args: &[String]) -> String {
    let words = args.iter().map(|arg| sh(arg));
    let words: Vec<String> = std::iter::once(program.to_owned()).chain(words).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests;
