//! What to show of each agent and SDK: the settings of `agents`, and examples in code.

use serde_json::json;

use crate::client::agents::{self, Agent, Speaks, Target, sh};

/// What a step says, and the text to copy.
type Steps = Vec<(String, String)>;

/// A program, and what to do to point it at the gateway.
#[derive(Clone, Copy)]
pub(super) struct Guide {
    pub id: &'static str,
    pub name: &'static str,
    /// What records call it.
    pub record: &'static str,
    pub speaks: Speaks,
    /// Whether it can stay signed in at a provider.
    pub keeps_login: bool,
    how: How,
}

#[derive(Clone, Copy)]
enum How {
    Settings(&'static Agent),
    /// An SDK, or another tool without a file that Iris can extend.
    Example(fn(&Target<'_>) -> Steps),
    /// The same, and what may go wrong with it.
    Noted(fn(&Target<'_>) -> Steps, &'static str),
}

impl From<&'static Agent> for Guide {
    fn from(agent: &'static Agent) -> Self {
        Self {
            id: agent.id,
            name: agent.name,
            record: agent.record,
            speaks: agent.speaks,
            keeps_login: agent.keeps_login,
            how: How::Settings(agent),
        }
    }
}

impl Guide {
    pub(super) fn steps(&self, target: &Target<'_>) -> Steps {
        match self.how {
            How::Settings(agent) => settings(agent, target),
            How::Example(steps) | How::Noted(steps, _) => steps(target),
        }
    }

    /// What may go wrong with it under the gateway's address.
    pub(super) fn note(&self, base: &str) -> Option<&'static str> {
        match self.how {
            How::Settings(agent) => agent.doubt(base),
            How::Example(_) => None,
            How::Noted(_, note) => Some(note),
        }
    }
}

/// An agent: its files, and how it runs once without them.
fn settings(agent: &Agent, target: &Target<'_>) -> Steps {
    let settings = agent.settings(target);
    let mut steps: Steps = settings
        .own
        .iter()
        .map(|own| (format!("~/{}", own.path), own.change.new_file()))
        .collect();
    let has_more = !settings.env.is_empty() || !settings.args.is_empty();
    if settings.folder.is_none() && has_more {
        let label = match (steps.is_empty(), agent.once) {
            (true, _) => "In a shell",
            (false, true) => "Or once, in a shell",
            (false, false) => "Then, in a shell",
        };
        let exports = agents::exports(&settings.env);
        let command = agents::command(agent.program, &settings.args);
        steps.push((label.to_owned(), exports + &command));
    }
    let write = if agent.once { "" } else { " --write" };
    let connect = format!("iris connect {} --url {}{write}", agent.id, sh(target.base));
    steps.push(("Or, with iris on that device".to_owned(), connect));
    steps
}

/// Text in quotes, as JSON, Python and JavaScript read it.
fn quoted(text: &str) -> String {
    json!(text).to_string()
}

/// Code in a language, with the gateway's URL and the model in place of their names.
fn example(language: &str, code: &str, target: &Target<'_>) -> Steps {
    let v1 = format!("{}/v1", target.base);
    let code = code
        .replace("\"BASE_URL/v1\"", &quoted(&v1))
        .replace("\"BASE_URL\"", &quoted(target.base))
        .replace("\"MODEL\"", &quoted(target.model));
    vec![(language.to_owned(), code.trim_end().to_owned())]
}

fn curl(to: &Target<'_>) -> Steps {
    let models = sh(&format!("{}/v1/models", to.base));
    let chat = sh(&format!("{}/v1/chat/completions", to.base));
    let body = json!({ "model": to.model, "messages": [{ "role": "user", "content": "hello" }] });
    let body = sh(&body.to_string());
    vec![
        (
            "The models that you may use".to_owned(),
            format!("curl {models}"),
        ),
        (
            "A chat".to_owned(),
            format!("curl {chat} \\\n  -H 'Content-Type: application/json' \\\n  -d {body}"),
        ),
    ]
}

fn ollama(to: &Target<'_>) -> Steps {
    let (host, model) = (sh(to.base), sh(to.model));
    vec![
        (
            "The command line".to_owned(),
            format!("OLLAMA_HOST={host} ollama run {model}"),
        ),
        (
            "Other programs: the URL of the server".to_owned(),
            to.base.to_owned(),
        ),
    ]
}

/// A program that speaks chat completions and has no login at a provider.
const fn tool(id: &'static str, name: &'static str, how: How) -> Guide {
    Guide {
        id,
        name,
        record: id,
        speaks: Speaks::Chat,
        keeps_login: false,
        how,
    }
}

/// Agents and applications that are set up by hand, in the order of the page.
pub(super) const BY_HAND: &[Guide] = &[
    tool(
        "vscode",
        "VS Code chat",
        How::Noted(
            vscode,
            "VS Code 1.122 or newer. In an organization, an admin of GitHub has to allow \"Bring Your Own Language \
             Model Key in VS Code\" in the policy of Copilot. Completions while you type stay with Copilot.",
        ),
    ),
    tool(
        "jetbrains",
        "JetBrains AI Assistant",
        How::Example(jetbrains),
    ),
    tool(
        "cursor",
        "Cursor",
        How::Noted(
            cursor,
            "Cursor's own servers call the model, not your machine. They are not on your tailnet, so they can't \
             reach this gateway, whatever base URL you set. An agent in Cursor's terminal runs on your machine and \
             can.",
        ),
    ),
    tool("hermes", "Hermes", How::Example(hermes)),
    tool("open-webui", "Open WebUI", How::Example(open_webui)),
    tool("librechat", "LibreChat", How::Example(librechat)),
    tool(
        "n8n",
        "n8n",
        How::Noted(
            n8n,
            "n8n Cloud is not on your tailnet; n8n on a machine of yours can be.",
        ),
    ),
    tool(
        "langchain",
        "LangChain",
        How::Example(|to| example("Python", include_str!("examples/langchain.py"), to)),
    ),
];

/// Steps in words.
fn steps(to_do: &[(&str, String)]) -> Steps {
    to_do
        .iter()
        .map(|(label, text)| ((*label).to_owned(), text.clone()))
        .collect()
}

fn vscode(to: &Target<'_>) -> Steps {
    let models = to.listed().into_iter().map(|one| {
        json!({
            "id": one.id,
            "name": one.id,
            "url": format!("{}/v1/chat/completions", to.base),
            "toolCalling": true,
            "vision": false,
            "maxInputTokens": one.context(),
            "maxOutputTokens": one.output(),
        })
    });
    let provider = json!({
        "name": "Iris",
        "vendor": "customendpoint",
        "apiKey": "-",
        "apiType": "chat-completions",
        "models": models.collect::<Vec<_>>(),
    });
    steps(&[
        (
            "Command palette: Chat: Open Language Models (JSON), and add to the list",
            format!("{:#}", json!([provider])),
        ),
        (
            "An admin can hand out the same as a file, in each person's folder",
            "Linux: ~/.config/Code/User/chatLanguageModels.json\n\
             macOS: ~/Library/Application Support/Code/User/chatLanguageModels.json\n\
             Windows: %APPDATA%\\Code\\User\\chatLanguageModels.json"
                .to_owned(),
        ),
    ])
}

fn jetbrains(to: &Target<'_>) -> Steps {
    steps(&[
        (
            "Settings, Tools, AI Assistant, Providers & API keys: an OpenAI-compatible provider with this URL",
            format!("{}/v1", to.base),
        ),
        ("Its key", "-".to_owned()),
        ("Its model", to.model.to_owned()),
    ])
}

fn cursor(to: &Target<'_>) -> Steps {
    let connect = format!(
        "iris connect claude-code --url {} --model {}",
        sh(to.base),
        sh(to.model)
    );
    steps(&[(
        "In Cursor's terminal, an agent that runs on your machine",
        connect,
    )])
}

fn hermes(to: &Target<'_>) -> Steps {
    let (model, v1) = (quoted(to.model), quoted(&format!("{}/v1", to.base)));
    let text = format!(
        "model:\n  provider: custom\n  base_url: {v1}\n  api_key: \"-\"\n  default: {model}"
    );
    steps(&[("In ~/.hermes/config.yaml", text)])
}

fn open_webui(to: &Target<'_>) -> Steps {
    let env = [
        ("OPENAI_API_BASE_URL", format!("{}/v1", to.base)),
        ("OPENAI_API_KEY", "-".to_owned()),
    ];
    let lines: Vec<String> = env
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    steps(&[
        ("Its environment, at its first start", lines.join("\n")),
        (
            "Later: Admin Panel, Settings, Connections, OpenAI API, with this URL and any key",
            format!("{}/v1", to.base),
        ),
        ("A model that it then offers", to.model.to_owned()),
    ])
}

fn librechat(to: &Target<'_>) -> Steps {
    let models = to.listed().into_iter().map(|one| quoted(&one.id));
    let text = format!(
        "endpoints:\n  custom:\n    - name: \"Iris\"\n      apiKey: \"-\"\n      baseURL: {}\n      models:\n        \
         default: [{}]\n        fetch: false\n      titleConvo: true\n      titleModel: {}",
        quoted(&format!("{}/v1", to.base)),
        models.collect::<Vec<_>>().join(", "),
        quoted(to.background)
    );
    steps(&[("In librechat.yaml", text)])
}

fn n8n(to: &Target<'_>) -> Steps {
    steps(&[
        ("Credentials, OpenAI, Base URL", format!("{}/v1", to.base)),
        ("Its API key", "-".to_owned()),
        (
            "In the node OpenAI Chat Model: the model, by its ID",
            to.model.to_owned(),
        ),
    ])
}

/// The SDKs and tools, in the order of the page.
pub(super) const ALL: &[Guide] = &[
    Guide {
        id: "curl",
        name: "curl",
        record: "curl",
        speaks: Speaks::Chat,
        keeps_login: false,
        how: How::Example(curl),
    },
    Guide {
        id: "openai-python",
        name: "OpenAI, Python",
        record: "openai-python",
        speaks: Speaks::Chat,
        keeps_login: false,
        how: How::Example(|to| example("Python", include_str!("examples/openai.py"), to)),
    },
    Guide {
        id: "openai-js",
        name: "OpenAI, JavaScript",
        record: "openai-js",
        speaks: Speaks::Chat,
        keeps_login: false,
        how: How::Example(|to| example("JavaScript", include_str!("examples/openai.js"), to)),
    },
    Guide {
        id: "anthropic-python",
        name: "Anthropic, Python",
        record: "anthropic-python",
        speaks: Speaks::Messages,
        keeps_login: false,
        how: How::Example(|to| example("Python", include_str!("examples/anthropic.py"), to)),
    },
    Guide {
        id: "anthropic-js",
        name: "Anthropic, JavaScript",
        record: "anthropic-js",
        speaks: Speaks::Messages,
        keeps_login: false,
        how: How::Example(|to| example("JavaScript", include_str!("examples/anthropic.js"), to)),
    },
    Guide {
        id: "google-python",
        name: "Google Gen AI, Python",
        record: "google-genai-python",
        speaks: Speaks::Gemini,
        keeps_login: false,
        how: How::Example(|to| example("Python", include_str!("examples/google.py"), to)),
    },
    Guide {
        id: "google-js",
        name: "Google Gen AI, JavaScript",
        record: "google-genai-js",
        speaks: Speaks::Gemini,
        keeps_login: false,
        how: How::Example(|to| example("JavaScript", include_str!("examples/google.js"), to)),
    },
    Guide {
        id: "ollama",
        name: "Programs for Ollama",
        record: "ollama",
        speaks: Speaks::Chat,
        keeps_login: false,
        how: How::Example(ollama),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Target<'static> = Target {
        base: "http://ai.example.ts.net",
        model: "the-model",
        background: "the-model",
        models: &[],
        own_login: false,
        labels: "",
    };

    #[test]
    fn every_program_is_told_this_gateway_and_its_model() {
        let target = TARGET;
        let guides = || ALL.iter().chain(BY_HAND);
        let sdks = guides().map(|guide| (guide.id, guide.steps(&target)));
        let agents = agents::ALL
            .iter()
            .map(|one| (one.id, settings(one, &target)));
        for (id, steps) in sdks.chain(agents) {
            let all: String = steps.into_iter().map(|(_, text)| text + "\n").collect();
            assert!(all.contains(target.base), "{id}");
            assert!(all.contains(target.model), "{id}");
            let named = guides().filter(|other| other.id == id).count();
            let also = agents::find(id).map_or(0, |_| 1);
            assert_eq!(named + also, 1, "{id}");
        }
    }

    #[test]
    fn a_name_can_not_end_its_quotes() {
        assert_eq!(quoted("a\"b\n"), r#""a\"b\n""#);
        let openai = ALL
            .iter()
            .find(|guide| guide.id == "openai-python")
            .unwrap();
        let steps = openai.steps(&Target {
            model: "x\")\nimport os",
            ..TARGET
        });
        assert!(!steps[0].1.contains("\nimport os"));
    }
}
