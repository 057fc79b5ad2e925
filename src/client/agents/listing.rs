//! Programs whose settings list the models of a provider.

use serde_json::{Value, json};

use super::{Agent, Change, Folder, KEY, Own, PassedAs, Settings, Speaks};

/// The extensible agent of the terminal, and those that come from it, which keep their models apart.
pub(super) const PI: Agent = Agent {
    id: "pi",
    name: "Pi",
    // It calls itself by the SDK that it uses.
    record: "openai-js",
    program: "pi",
    speaks: Speaks::Chat,
    keeps_login: false,
    once: true,
    settings: |to| {
        let models = to.listed().into_iter().map(|one| {
            json!({ "id": one.id, "contextWindow": one.context(), "maxTokens": one.output() })
        });
        let provider = json!({
            "baseUrl": to.v1(),
            "api": "openai-completions",
            "apiKey": KEY,
            "models": models.collect::<Vec<_>>(),
        });
        let change = Change::json([(&["providers", "iris"][..], provider)]);
        let chosen = Change::json([
            (&["defaultProvider"][..], json!("iris")),
            (&["defaultModel"], json!(to.model)),
        ]);
        Settings {
            args: ["--provider", "iris", "--model", to.model]
                .map(str::to_owned)
                .into(),
            folder: Some(Folder {
                file: "models.json",
                text: change.new_file(),
                passed_as: PassedAs::FolderVariable("PI_CODING_AGENT_DIR"),
            }),
            own: vec![
                Own::new(".pi/agent/models.json", change),
                Own::new(".pi/agent/settings.json", chosen),
            ],
            ..Settings::default()
        }
    },
};

pub(super) const OH_MY_PI: Agent = Agent {
    id: "omp",
    name: "Oh My Pi",
    record: "omp",
    program: "omp",
    speaks: Speaks::Chat,
    keeps_login: false,
    once: false,
    settings: |to| {
        let models = to.listed().into_iter().map(|one| {
            format!(
                "      - id: {}\n        contextWindow: {}\n        maxTokens: {}\n",
                json!(one.id),
                one.context(),
                one.output()
            )
        });
        let text = format!(
            "providers:\n  iris:\n    baseUrl: {}\n    api: openai-completions\n    auth: none\n    models:\n{}",
            json!(to.v1()),
            models.collect::<String>()
        );
        Settings {
            args: vec!["--model".to_owned(), format!("iris/{}", to.model)],
            own: vec![Own::new(".omp/agent/models.yml", Change::Whole(text))],
            ..Settings::default()
        }
    },
};

pub(super) const CRUSH: Agent = Agent {
    id: "crush",
    name: "Crush",
    record: "crush",
    program: "crush",
    speaks: Speaks::Chat,
    keeps_login: false,
    once: true,
    settings: |to| {
        let models = to.listed().into_iter().map(|one| {
            json!({
                "id": one.id,
                "name": one.id,
                "context_window": one.context(),
                "default_max_tokens": one.output(),
            })
        });
        let provider = json!({
            "name": "Iris",
            "type": "openai-compat",
            "base_url": to.v1(),
            "api_key": KEY,
            "models": models.collect::<Vec<_>>(),
        });
        let chosen = |id: &str| json!({ "model": id, "provider": "iris" });
        let change = Change::json([
            (&["providers", "iris"][..], provider),
            (&["models", "large"], chosen(to.model)),
            (&["models", "small"], chosen(to.background)),
        ]);
        Settings {
            folder: Some(Folder {
                file: "crush.json",
                text: change.new_file(),
                passed_as: PassedAs::FolderVariable("CRUSH_GLOBAL_CONFIG"),
            }),
            own: vec![Own::new(".config/crush/crush.json", change)],
            ..Settings::default()
        }
    },
};

/// The agent of `JetBrains` for the terminal. It takes the whole URL of an endpoint.
pub(super) const JUNIE: Agent = Agent {
    id: "junie",
    name: "Junie",
    record: "junie",
    program: "junie",
    speaks: Speaks::Responses,
    keeps_login: false,
    once: false,
    settings: |to| {
        let profile = json!({
            "id": to.model,
            "baseUrl": format!("{}/responses", to.v1()),
            "apiType": "OpenAIResponses",
            "apiKey": KEY,
            "fasterModel": { "id": to.background },
        });
        Settings {
            own: vec![Own::new(
                ".junie/models/iris.json",
                Change::Whole(format!("{profile:#}\n")),
            )],
            ..Settings::default()
        }
    },
};

/// It reads the key of a provider from the variable that has the provider's name, or from its own settings.
pub(super) const ZED: Agent = Agent {
    id: "zed",
    name: "Zed",
    record: "zed",
    program: "zed",
    speaks: Speaks::Chat,
    keeps_login: false,
    once: false,
    settings: |to| {
        let models = to.listed().into_iter().map(|one| {
            json!({ "name": one.id, "max_tokens": one.context(), "max_output_tokens": one.output() })
        });
        let models: Vec<Value> = models.collect();
        let chosen = json!({ "provider": "Iris", "model": to.model });
        Settings {
            env: vec![("IRIS_API_KEY", KEY.to_owned())],
            own: vec![Own::new(
                ".config/zed/settings.json",
                Change::json([
                    (
                        &["language_models", "openai_compatible", "Iris", "api_url"][..],
                        json!(to.v1()),
                    ),
                    (
                        &[
                            "language_models",
                            "openai_compatible",
                            "Iris",
                            "available_models",
                        ],
                        json!(models),
                    ),
                    (&["agent", "default_model"], chosen),
                ]),
            )],
            ..Settings::default()
        }
    },
};
