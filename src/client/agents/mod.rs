//! Programs that talk to models, and the settings with which each uses this gateway: for the page
//! that shows them, and for `iris connect`, which applies them. A new program is an entry of [`ALL`].

use crate::base::labels::HEADER;
use crate::wire::harmless;
use crate::wire::text::steers;

mod file;
mod programs;

pub use file::{Change, Unreadable};
pub use programs::ALL;

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
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The gateway, such as `http://ai`, without a slash at the end.
    pub base: &'a str,
    /// The model to begin with.
    pub model: &'a str,
    /// The labels of its requests, as in `x-iris-labels`; empty for none. They are for one run, because the
    /// settings of a program are for all projects.
    pub labels: &'a str,
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
    settings: fn(&Target<'_>) -> Settings,
}

impl Agent {
    /// Its settings for this gateway.
    #[must_use]
    pub fn settings(&self, target: &Target<'_>) -> Settings {
        // Each form quotes in its own way; none may contain the end of a line or invisible characters.
        let (base, model) = (harmless(target.base), harmless(target.model));
        (self.settings)(&Target {
            base: &base,
            model: &model,
            labels: target.labels,
        })
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
mod tests {
    use super::*;

    const TARGET: Target<'static> = Target {
        base: "http://ai.example.ts.net",
        model: "the-model",
        labels: "project=acme/web",
    };

    #[test]
    fn every_program_is_told_the_gateway_and_the_model() {
        for agent in ALL {
            let Settings {
                env,
                args,
                folder,
                own,
            } = agent.settings(&TARGET);
            let folder = folder.map(|folder| folder.text).unwrap_or_default();
            let run = format!("{}{}{folder}", exports(&env), args.join(" "));
            assert!(run.contains(TARGET.base), "{}: {run}", agent.id);
            assert!(run.contains(TARGET.model), "{}: {run}", agent.id);
            if own.is_empty() {
                continue;
            }
            let own: String = own
                .iter()
                .map(|own| own.change.apply("").unwrap())
                .collect();
            assert!(own.contains(TARGET.base), "{}: {own}", agent.id);
            assert!(own.contains(TARGET.model), "{}: {own}", agent.id);
        }
    }

    #[test]
    fn labels_are_for_one_run_of_the_programs_that_can_send_them() {
        for (id, expected) in [
            (
                "claude-code",
                "ANTHROPIC_CUSTOM_HEADERS='x-iris-labels: project=acme/web'",
            ),
            (
                "codex",
                "'model_providers.iris.http_headers={\"x-iris-labels\"=\"project=acme/web\"}'",
            ),
            (
                "gemini-cli",
                "GEMINI_CLI_CUSTOM_HEADERS='x-iris-labels: project=acme/web'",
            ),
            (
                "opencode",
                "\"headers\":{\"x-iris-labels\":\"project=acme/web\"}",
            ),
        ] {
            let agent = find(id).unwrap();
            let shown = |target: &Target<'_>| {
                let settings = agent.settings(target);
                let run = exports(&settings.env) + &command(agent.program, &settings.args);
                let own = settings.own.iter().map(|own| own.change.new_file());
                (run, own.collect::<String>())
            };
            let (run, own) = shown(&TARGET);
            assert!(run.contains(expected), "{id}: {run}");
            assert!(!own.contains(HEADER), "{id}: {own}");
            let (run, _) = shown(&Target {
                labels: "",
                ..TARGET
            });
            assert!(!run.contains(HEADER), "{id}: {run}");
        }
    }

    /// Whatever a model is called, it is one value of each form, and nothing of it is a line, a
    /// variable or a command of its own.
    #[test]
    fn a_name_stays_a_name_in_every_form() {
        for name in [
            "m\nOPENAI_BASE_URL=http://evil",
            "m\r\nX=1",
            "m\u{85}X=1",
            "m\u{2028}X=1",
            "m'; touch /tmp/x; '",
            "m\"\nx: y",
            "m # not a comment",
            "m$(id)`id`${HOME}",
            "m\\",
            "m\u{1b}]0;t\u{7}\u{9b}2J\u{202e}",
        ] {
            let plain = TARGET;
            let odd = Target {
                model: name,
                ..TARGET
            };
            for agent in ALL {
                let lines = |target: &Target<'_>| {
                    let settings = agent.settings(target);
                    let files: Vec<String> = settings
                        .own
                        .iter()
                        .map(|own| own.change.new_file())
                        .collect();
                    let folder = settings.folder.map(|folder| folder.text);
                    let shell = exports(&settings.env) + &command(agent.program, &settings.args);
                    let all: Vec<String> = files.into_iter().chain(folder).chain([shell]).collect();
                    let counts: Vec<usize> = all.iter().map(|text| text.lines().count()).collect();
                    let text = all.concat();
                    let seen = text.chars().all(|char| char == '\n' || !steers(char));
                    assert!(seen, "{}: {text:?}", agent.id);
                    counts
                };
                assert_eq!(lines(&odd), lines(&plain), "{}: {name:?}", agent.id);
            }
            let is_fit = name == "m # not a comment";
            assert_eq!(is_name(name), is_fit, "{name:?}");
            let value = dotenv(name);
            let inner = value
                .strip_prefix('\'')
                .and_then(|rest| rest.strip_suffix('\''));
            assert!(inner.is_some_and(|inner| !inner.contains('\'')), "{value}");
        }
        assert!(is_name("hf.co/unsloth/Qwen3 (big):Q4_K_M") && !is_name("-m") && !is_name(""));
        assert_eq!(dotenv("openai/gpt-5:x"), "openai/gpt-5:x");
    }

    #[test]
    fn formats_are_those_that_the_gateway_lists() {
        for speaks in [
            Speaks::Chat,
            Speaks::Responses,
            Speaks::Messages,
            Speaks::Gemini,
        ] {
            let format = crate::formats::named(speaks.kind()).unwrap();
            assert_eq!(format.endpoint, Some(speaks.endpoint()));
        }
    }

    #[test]
    fn names_are_told_apart() {
        for (nth, agent) in ALL.iter().enumerate() {
            let first = ALL.iter().position(|other| {
                [other.id, other.program].contains(&agent.id)
                    || [other.id, other.program].contains(&agent.program)
            });
            assert_eq!(first, Some(nth), "{}", agent.id);
        }
        assert_eq!(find("claude").unwrap().id, "claude-code");
    }

    #[test]
    fn a_name_can_not_end_its_quotes() {
        assert_eq!(sh("a/b:c"), "a/b:c");
        assert_eq!(sh("a'; rm -rf ~"), r"'a'\''; rm -rf ~'");
    }
}
