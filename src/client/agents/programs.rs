//! The programs, each as its own documentation has it.

use serde_json::json;

use super::listing::{CRUSH, JUNIE, OH_MY_PI, PI, ZED};
use super::{Agent, Change, Folder, KEY, Own, PassedAs, Settings, Speaks, Target};
use crate::base::labels::HEADER;

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
        keeps_login: true,
        once: true,
        settings: claude_code,
    },
    Agent {
        id: "codex",
        name: "Codex",
        record: "codex",
        program: "codex",
        speaks: Speaks::Responses,
        keeps_login: true,
        once: true,
        settings: codex,
    },
    Agent {
        id: "gemini-cli",
        name: "Gemini CLI",
        record: "gemini-cli",
        program: "gemini",
        speaks: Speaks::Gemini,
        keeps_login: false,
        once: true,
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
        keeps_login: false,
        once: true,
        settings: |to| {
            let models = to.listed().into_iter().map(|one| {
                let limit = match (one.context, one.output) {
                    (Some(context), Some(output)) => {
                        json!({ "limit": { "context": context, "output": output } })
                    }
                    _ => json!({}),
                };
                (one.id, limit)
            });
            let provider = json!({
                "npm": "@ai-sdk/openai-compatible",
                "name": "Iris",
                "options": { "baseURL": to.v1(), "apiKey": KEY },
                "models": models.collect::<serde_json::Map<_, _>>(),
            });
            let [model, small] = [to.model, to.background].map(|id| format!("iris/{id}"));
            let mut config = json!({
                "model": model,
                "small_model": small,
                "provider": { "iris": provider },
            });
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
                        (&["small_model"], json!(small)),
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
        keeps_login: false,
        once: true,
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
        keeps_login: false,
        once: true,
        settings: |to| {
            let models = to.listed().into_iter().map(|one| {
                format!(
                    "  - name: {model}\n    provider: openai\n    model: {model}\n    apiBase: {base}\n    \
                     apiKey: \"{KEY}\"\n",
                    model = json!(one.id),
                    base = json!(to.v1())
                )
            });
            let models: String = models.collect();
            let text = format!("name: Iris\nversion: 1.0.0\nschema: v1\nmodels:\n{models}");
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
        keeps_login: false,
        once: true,
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
        keeps_login: false,
        once: true,
        settings: |to| {
            let [model, weak] = [to.model, to.background].map(|id| format!("openai/{id}"));
            let lines = vec![
                ("model", json!(model).to_string()),
                ("openai-api-base", json!(to.v1()).to_string()),
                ("openai-api-key", json!(KEY).to_string()),
                ("weak-model", json!(weak).to_string()),
            ];
            Settings {
                env: vec![
                    ("OPENAI_API_BASE", to.v1()),
                    ("OPENAI_API_KEY", KEY.to_owned()),
                    ("AIDER_MODEL", model.clone()),
                    ("AIDER_WEAK_MODEL", weak.clone()),
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
        keeps_login: false,
        once: true,
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
        keeps_login: false,
        once: true,
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
    PI,
    OH_MY_PI,
    CRUSH,
    GOOSE,
    JUNIE,
    ZED,
];

fn claude_code(to: &Target<'_>) -> Settings {
    let helper = json!(format!("echo '{KEY}'"));
    let mut env = vec![
        ("ANTHROPIC_BASE_URL", to.base.to_owned()),
        ("ANTHROPIC_MODEL", to.model.to_owned()),
        // What it does beside the conversation.
        ("ANTHROPIC_DEFAULT_HAIKU_MODEL", to.background.to_owned()),
    ];
    let values = env
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!(value)));
    let mut team = json!({ "env": values.collect::<serde_json::Map<_, _>>() });
    let change = Change::json([
        (&["env", "ANTHROPIC_BASE_URL"][..], json!(to.base)),
        (&["env", "ANTHROPIC_MODEL"], json!(to.model)),
        (
            &["env", "ANTHROPIC_DEFAULT_HAIKU_MODEL"],
            json!(to.background),
        ),
    ]);
    let change = if to.own_login {
        change.without(&["apiKeyHelper"], helper)
    } else {
        env.push(("ANTHROPIC_AUTH_TOKEN", KEY.to_owned()));
        team["apiKeyHelper"] = helper.clone();
        change.with(&["apiKeyHelper"], helper)
    };
    env.extend(to.label_line().map(|line| (CLAUDE_HEADERS, line)));
    Settings {
        env,
        own: vec![Own::new(".claude/settings.json", change)],
        team: Some((
            "/etc/claude-code/managed-settings.json on Linux, /Library/Application Support/ClaudeCode/\
             managed-settings.json on macOS, C:\\Program Files\\ClaudeCode\\managed-settings.json on Windows",
            format!("{team:#}\n"),
        )),
        ..Settings::default()
    }
}

fn codex(to: &Target<'_>) -> Settings {
    let settings: Vec<(&str, toml_edit::Value)> = vec![
        ("model", to.model.into()),
        ("model_provider", "iris".into()),
        ("model_providers.iris.name", "Iris".into()),
        ("model_providers.iris.base_url", to.v1().into()),
        ("model_providers.iris.wire_api", "responses".into()),
        // In each case: an earlier run may have written the other.
        (
            "model_providers.iris.requires_openai_auth",
            to.own_login.into(),
        ),
    ];
    let written = settings
        .iter()
        .map(|(key, value)| format!("{key}={}", value.to_string().trim()));
    let labels = (!to.labels.is_empty()).then(|| {
        let labels = json!(to.labels);
        format!("model_providers.iris.http_headers={{\"{HEADER}\"={labels}}}")
    });
    let args = written
        .chain(labels)
        .flat_map(|setting| ["-c".to_owned(), setting]);
    let args = args.collect();
    let change = Change::toml(&settings);
    Settings {
        args,
        team: Some((
            "/etc/codex/config.toml on each machine, below which people's own settings stand",
            change.new_file(),
        )),
        own: vec![Own::new(".codex/config.toml", change)],
        ..Settings::default()
    }
}

/// Its keys are kept in the system's keyring or come from the environment, so that no file is enough.
const GOOSE: Agent = Agent {
    id: "goose",
    name: "goose",
    record: "goose",
    program: "goose",
    speaks: Speaks::Chat,
    keeps_login: false,
    once: true,
    settings: |to| Settings {
        env: vec![
            ("GOOSE_PROVIDER", "openai".to_owned()),
            ("GOOSE_MODEL", to.model.to_owned()),
            ("OPENAI_HOST", to.base.to_owned()),
            ("OPENAI_API_KEY", KEY.to_owned()),
        ],
        ..Settings::default()
    },
};
