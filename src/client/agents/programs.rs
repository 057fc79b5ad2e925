//! The programs, each as its own documentation has it.

use serde_json::json;

use super::{Agent, Change, Folder, Own, PassedAs, Settings, Speaks};
use crate::base::labels::HEADER;

/// What stands for a key where a program insists on one.
const KEY: &str = "-";

/// Lines of headers for Claude Code.
pub(super) const CLAUDE_HEADERS: &str = "ANTHROPIC_CUSTOM_HEADERS";
/// Headers for Gemini CLI, with commas.
pub(super) const GEMINI_HEADERS: &str = "GEMINI_CLI_CUSTOM_HEADERS";

/// How Gemini CLI, and Qwen Code, which comes from it, are to sign in.
fn auth_type(name: &str) -> Change {
    Change::json([(&["security", "auth", "selectedType"][..], json!(name))])
}

/// All, in the order in which they are shown.
pub const ALL: &[Agent] = &[
    Agent {
        id: "claude-code",
        name: "Claude Code",
        record: "claude-code",
        program: "claude",
        speaks: Speaks::Messages,
        settings: |to| Settings {
            env: [
                ("ANTHROPIC_BASE_URL", to.base.to_owned()),
                ("ANTHROPIC_AUTH_TOKEN", KEY.to_owned()),
                ("ANTHROPIC_MODEL", to.model.to_owned()),
                // What it does beside the conversation, which may not be granted otherwise.
                ("ANTHROPIC_DEFAULT_HAIKU_MODEL", to.model.to_owned()),
            ]
            .into_iter()
            .chain(to.label_line().map(|line| (CLAUDE_HEADERS, line)))
            .collect(),
            own: vec![Own::new(
                ".claude/settings.json",
                Change::json([
                    (&["apiKeyHelper"][..], json!(format!("echo '{KEY}'"))),
                    (&["env", "ANTHROPIC_BASE_URL"], json!(to.base)),
                    (&["env", "ANTHROPIC_MODEL"], json!(to.model)),
                    (&["env", "ANTHROPIC_DEFAULT_HAIKU_MODEL"], json!(to.model)),
                ]),
            )],
            ..Settings::default()
        },
    },
    Agent {
        id: "codex",
        name: "Codex",
        record: "codex",
        program: "codex",
        speaks: Speaks::Responses,
        settings: |to| {
            let settings = [
                ("model", to.model.to_owned()),
                ("model_provider", "iris".to_owned()),
                ("model_providers.iris.name", "Iris".to_owned()),
                ("model_providers.iris.base_url", to.v1()),
                ("model_providers.iris.wire_api", "responses".to_owned()),
            ];
            let written = settings.iter();
            let written = written.map(|(key, value)| format!("{key}={}", json!(value)));
            let labels = (!to.labels.is_empty()).then(|| {
                let labels = json!(to.labels);
                format!("model_providers.iris.http_headers={{\"{HEADER}\"={labels}}}")
            });
            let args = written
                .chain(labels)
                .flat_map(|setting| ["-c".to_owned(), setting]);
            Settings {
                args: args.collect(),
                own: vec![Own::new(".codex/config.toml", Change::toml(settings))],
                ..Settings::default()
            }
        },
    },
    Agent {
        id: "gemini-cli",
        name: "Gemini CLI",
        record: "gemini-cli",
        program: "gemini",
        speaks: Speaks::Gemini,
        settings: |to| {
            let choice = auth_type("gemini-api-key");
            let env = vec![
                ("GEMINI_API_KEY", KEY.to_owned()),
                ("GOOGLE_GEMINI_BASE_URL", to.base.to_owned()),
                ("GEMINI_MODEL", to.model.to_owned()),
            ];
            Settings {
                folder: Some(Folder {
                    file: "settings.json",
                    text: choice.new_file(),
                    passed_as: PassedAs::FileVariable("GEMINI_CLI_SYSTEM_SETTINGS_PATH"),
                }),
                own: vec![
                    Own::new(".gemini/settings.json", choice),
                    Own::new(".gemini/.env", Change::variables(&env)),
                ],
                env: env
                    .into_iter()
                    .chain(to.label_line().map(|line| (GEMINI_HEADERS, line)))
                    .collect(),
                ..Settings::default()
            }
        },
    },
    Agent {
        id: "opencode",
        name: "opencode",
        record: "opencode",
        program: "opencode",
        speaks: Speaks::Chat,
        settings: |to| {
            let provider = json!({
                "npm": "@ai-sdk/openai-compatible",
                "name": "Iris",
                "options": { "baseURL": to.v1(), "apiKey": KEY },
                "models": { (to.model): {} },
            });
            let model = format!("iris/{}", to.model);
            let mut config = json!({ "model": model, "provider": { "iris": provider } });
            if !to.labels.is_empty() {
                let headers = json!({ HEADER: to.labels });
                config["provider"]["iris"]["options"]["headers"] = headers;
            }
            Settings {
                env: vec![("OPENCODE_CONFIG_CONTENT", config.to_string())],
                own: vec![Own::new(
                    ".config/opencode/opencode.json",
                    Change::json([
                        (&["model"][..], json!(model)),
                        (&["provider", "iris"], provider),
                    ]),
                )],
                ..Settings::default()
            }
        },
    },
    Agent {
        id: "qwen-code",
        name: "Qwen Code",
        record: "qwen-code",
        program: "qwen",
        speaks: Speaks::Chat,
        settings: |to| {
            let env = vec![
                ("OPENAI_BASE_URL", to.v1()),
                ("OPENAI_API_KEY", KEY.to_owned()),
                ("OPENAI_MODEL", to.model.to_owned()),
            ];
            Settings {
                args: ["--auth-type", "openai"].map(str::to_owned).into(),
                own: vec![
                    Own::new(".qwen/settings.json", auth_type("openai")),
                    Own::new(".qwen/.env", Change::variables(&env)),
                ],
                env,
                ..Settings::default()
            }
        },
    },
    Agent {
        id: "continue",
        name: "Continue",
        record: "continue",
        program: "cn",
        speaks: Speaks::Chat,
        settings: |to| {
            let text = format!(
                "name: Iris\nversion: 1.0.0\nschema: v1\nmodels:\n  - name: {model}\n    \
                 provider: openai\n    model: {model}\n    apiBase: {base}\n    apiKey: \"{KEY}\"\n",
                model = json!(to.model),
                base = json!(to.v1())
            );
            Settings {
                folder: Some(Folder {
                    file: "config.yaml",
                    text: text.clone(),
                    passed_as: PassedAs::FileArgument("--config"),
                }),
                own: vec![Own::new(".continue/config.yaml", Change::Whole(text))],
                ..Settings::default()
            }
        },
    },
    Agent {
        id: "cline",
        name: "Cline",
        record: "ai-sdk",
        program: "cline",
        speaks: Speaks::Chat,
        settings: |to| {
            let provider = json!({
                "settings": {
                    "provider": "openai-compatible",
                    "apiKey": KEY,
                    "model": to.model,
                    "baseUrl": to.v1(),
                },
                // It puts away what has no time.
                "updatedAt": "2026-01-01T00:00:00.000Z",
                "tokenSource": "manual",
            });
            let change = Change::json([
                (&["version"][..], json!(1)),
                (&["lastUsedProvider"], json!("openai-compatible")),
                (&["providers", "openai-compatible"], provider),
            ]);
            Settings {
                folder: Some(Folder {
                    file: "data/settings/providers.json",
                    text: change.new_file(),
                    passed_as: PassedAs::FolderArgument("--config"),
                }),
                own: vec![Own::new(".cline/data/settings/providers.json", change)],
                ..Settings::default()
            }
        },
    },
    Agent {
        id: "aider",
        name: "aider",
        record: "aider",
        program: "aider",
        speaks: Speaks::Chat,
        settings: |to| {
            let model = format!("openai/{}", to.model);
            let lines = vec![
                ("model", json!(model).to_string()),
                ("openai-api-base", json!(to.v1()).to_string()),
                ("openai-api-key", json!(KEY).to_string()),
            ];
            Settings {
                env: vec![
                    ("OPENAI_API_BASE", to.v1()),
                    ("OPENAI_API_KEY", KEY.to_owned()),
                    ("AIDER_MODEL", model.clone()),
                ],
                own: vec![Own::new(".aider.conf.yml", Change::Lines(": ", lines))],
                ..Settings::default()
            }
        },
    },
    Agent {
        id: "copilot-cli",
        name: "GitHub Copilot CLI",
        record: "copilot",
        program: "copilot",
        speaks: Speaks::Chat,
        settings: |to| Settings {
            env: vec![
                ("COPILOT_PROVIDER_TYPE", "openai".to_owned()),
                ("COPILOT_PROVIDER_BASE_URL", to.v1()),
                ("COPILOT_PROVIDER_API_KEY", KEY.to_owned()),
                ("COPILOT_MODEL", to.model.to_owned()),
            ],
            ..Settings::default()
        },
    },
    Agent {
        id: "llm",
        name: "llm",
        record: "llm",
        program: "llm",
        speaks: Speaks::Chat,
        settings: |to| {
            let id = format!("iris-{}", to.model);
            let text = format!(
                "- model_id: {}\n  model_name: {}\n  api_base: {}\n",
                json!(id),
                json!(to.model),
                json!(to.v1())
            );
            Settings {
                env: vec![("LLM_MODEL", id)],
                folder: Some(Folder {
                    file: "extra-openai-models.yaml",
                    text: text.clone(),
                    passed_as: PassedAs::FolderVariable("LLM_USER_PATH"),
                }),
                own: vec![Own::new(
                    ".config/io.datasette.llm/extra-openai-models.yaml",
                    Change::Appended(text),
                )],
                ..Settings::default()
            }
        },
    },
];
