//! The settings of each program, as its own documentation has them.

use serde_json::json;

/// What the settings depend on.
pub(super) struct Facts {
    /// Such as `http://ai`.
    pub base: String,
    /// A granted model for each format.
    pub chat: Option<String>,
    pub responses: Option<String>,
    pub anthropic: Option<String>,
    pub gemini: Option<String>,
    /// Granted models.
    pub models: usize,
}

pub(super) const AGENT: u8 = 0;
pub(super) const SDK: u8 = 1;

/// What to be told of one step, and the text to be copied.
type Steps = Vec<(&'static str, String)>;

/// A program and its settings.
pub(super) struct Guide {
    pub id: &'static str,
    pub name: &'static str,
    pub group: u8,
    /// What records call it.
    pub agent: &'static str,
    /// The format that it speaks, for people.
    pub format: &'static str,
    pub model: fn(&Facts) -> Option<String>,
    pub steps: fn(&Facts, &str) -> Steps,
    pub note: fn(&Facts) -> Option<&'static str>,
}

const fn guide(
    (id, name, agent): (&'static str, &'static str, &'static str),
    group: u8,
    (format, model): (&'static str, fn(&Facts) -> Option<String>),
    steps: fn(&Facts, &str) -> Steps,
) -> Guide {
    Guide {
        id,
        name,
        group,
        agent,
        format,
        model,
        steps,
        note: |_| None,
    }
}

const CHAT: (&str, fn(&Facts) -> Option<String>) =
    ("OpenAI chat completions", |facts| facts.chat.clone());
const RESPONSES: (&str, fn(&Facts) -> Option<String>) =
    ("OpenAI responses", |facts| facts.responses.clone());
const ANTHROPIC: (&str, fn(&Facts) -> Option<String>) =
    ("Anthropic messages", |facts| facts.anthropic.clone());
const GEMINI: (&str, fn(&Facts) -> Option<String>) =
    ("Gemini generateContent", |facts| facts.gemini.clone());

/// A word of a shell's command.
fn sh(text: &str) -> String {
    let plain = |char: char| char.is_ascii_alphanumeric() || "-_./:@+=".contains(char);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Text in quotes, as JSON, TOML, YAML, Python and JavaScript read it.
fn quoted(text: &str) -> String {
    json!(text).to_string()
}

fn pretty(value: &serde_json::Value) -> String {
    format!("{value:#}")
}

/// Every program, in the order of the page.
pub(super) const ALL: &[Guide] = &[
    guide(
        ("claude-code", "Claude Code", "claude-code"),
        AGENT,
        ANTHROPIC,
        |facts, model| {
            let settings = json!({
                "apiKeyHelper": "echo '-'",
                "env": { "ANTHROPIC_BASE_URL": facts.base },
            });
            vec![
                ("For good: ~/.claude/settings.json", pretty(&settings)),
                (
                    "Or once, in a shell",
                    format!(
                        "ANTHROPIC_BASE_URL={} ANTHROPIC_AUTH_TOKEN=- claude --model {}",
                        sh(&facts.base),
                        sh(model)
                    ),
                ),
            ]
        },
    ),
    guide(
        ("codex", "Codex", "codex"),
        AGENT,
        RESPONSES,
        |facts, model| {
            vec![(
                "~/.codex/config.toml",
                format!(
                    "model = {}\nmodel_provider = \"iris\"\n\n[model_providers.iris]\nname = \"Iris\"\nbase_url = {}\nwire_api = \"responses\"",
                    quoted(model),
                    quoted(&format!("{}/v1", facts.base))
                ),
            )]
        },
    ),
    Guide {
        note: |facts| {
            let local = ["http://127.", "http://localhost", "https://"];
            let fits = local.iter().any(|start| facts.base.starts_with(start));
            (!fits).then_some("Newer versions take nothing but https and the full name of the gateway: enable HTTPS in the tailnet.")
        },
        ..guide(
            ("gemini-cli", "Gemini CLI", "gemini-cli"),
            AGENT,
            GEMINI,
            |facts, model| {
                let settings =
                    json!({ "security": { "auth": { "selectedType": "gemini-api-key" } } });
                vec![
                    ("~/.gemini/settings.json", pretty(&settings)),
                    (
                        "In a shell",
                        format!(
                            "export GEMINI_API_KEY=-\nexport GOOGLE_GEMINI_BASE_URL={}\ngemini -m {}",
                            sh(&facts.base),
                            sh(model)
                        ),
                    ),
                ]
            },
        )
    },
    guide(
        ("opencode", "opencode", "opencode"),
        AGENT,
        CHAT,
        |facts, model| {
            let settings = json!({
                "$schema": "https://opencode.ai/config.json",
                "provider": { "iris": {
                    "npm": "@ai-sdk/openai-compatible",
                    "name": "Iris",
                    "options": { "baseURL": format!("{}/v1", facts.base), "apiKey": "-" },
                    "models": { (model): {} },
                } },
            });
            vec![
                ("opencode.json", pretty(&settings)),
                (
                    "Try it",
                    format!("opencode run -m {} hello", sh(&format!("iris/{model}"))),
                ),
            ]
        },
    ),
    guide(
        ("qwen-code", "Qwen Code", "qwen-code"),
        AGENT,
        CHAT,
        |facts, model| {
            vec![(
                "In a shell",
                format!(
                    "export OPENAI_BASE_URL={}\nexport OPENAI_API_KEY=-\nexport OPENAI_MODEL={}\nqwen",
                    sh(&format!("{}/v1", facts.base)),
                    sh(model)
                ),
            )]
        },
    ),
    guide(("aider", "aider", "aider"), AGENT, CHAT, |facts, model| {
        vec![(
            "In a shell",
            format!(
                "export OPENAI_API_BASE={}\nexport OPENAI_API_KEY=-\naider --model {}",
                sh(&format!("{}/v1", facts.base)),
                sh(&format!("openai/{model}"))
            ),
        )]
    }),
    guide(
        ("continue", "Continue", "continue"),
        AGENT,
        CHAT,
        |facts, model| {
            vec![(
                "~/.continue/config.yaml",
                format!(
                    "name: Iris\nversion: 1.0.0\nschema: v1\nmodels:\n  - name: {0}\n    provider: openai\n    model: {0}\n    apiBase: {1}\n    apiKey: \"-\"",
                    quoted(model),
                    quoted(&format!("{}/v1", facts.base))
                ),
            )]
        },
    ),
    Guide {
        note: |_| {
            Some(
                "The same goes for Roo Code, Cursor, Zed and whatever else takes an OpenAI-compatible provider.",
            )
        },
        ..guide(("cline", "Cline", "cline"), AGENT, CHAT, |facts, model| {
            vec![
                ("API Provider", "OpenAI Compatible".to_owned()),
                ("Base URL", format!("{}/v1", facts.base)),
                ("API Key", "-".to_owned()),
                ("Model ID", model.to_owned()),
            ]
        })
    },
    guide(
        ("copilot-cli", "GitHub Copilot CLI", "copilot"),
        AGENT,
        CHAT,
        |facts, model| {
            vec![(
                "In a shell",
                format!(
                    "export COPILOT_PROVIDER_TYPE=openai\nexport COPILOT_PROVIDER_BASE_URL={}\nexport COPILOT_PROVIDER_API_KEY=-\nexport COPILOT_MODEL={}\ncopilot",
                    sh(&format!("{}/v1", facts.base)),
                    sh(model)
                ),
            )]
        },
    ),
    guide(("llm", "llm", "llm"), AGENT, CHAT, |facts, model| {
        vec![
            (
                "extra-openai-models.yaml, in the folder that llm logs path is in",
                format!(
                    "- model_id: {}\n  model_name: {}\n  api_base: {}",
                    quoted(&format!("iris-{model}")),
                    quoted(model),
                    quoted(&format!("{}/v1", facts.base))
                ),
            ),
            (
                "Try it",
                format!("llm -m {} hello", sh(&format!("iris-{model}"))),
            ),
        ]
    }),
    guide(("curl", "curl", "curl"), SDK, CHAT, |facts, model| {
        let body = json!({ "model": model, "messages": [{ "role": "user", "content": "hello" }] });
        vec![
            (
                "The models that you may use",
                format!("curl {}", sh(&format!("{}/v1/models", facts.base))),
            ),
            (
                "A chat",
                format!(
                    "curl {} \\\n  -H 'Content-Type: application/json' \\\n  -d {}",
                    sh(&format!("{}/v1/chat/completions", facts.base)),
                    sh(&body.to_string())
                ),
            ),
        ]
    }),
    guide(
        ("openai-python", "OpenAI, Python", "openai-python"),
        SDK,
        CHAT,
        |facts, model| {
            vec![(
                "Python",
                format!(
                    "from openai import OpenAI\n\nclient = OpenAI(base_url={}, api_key=\"-\")\nanswer = client.chat.completions.create(\n    model={},\n    messages=[{{\"role\": \"user\", \"content\": \"hello\"}}],\n)\nprint(answer.choices[0].message.content)",
                    quoted(&format!("{}/v1", facts.base)),
                    quoted(model)
                ),
            )]
        },
    ),
    guide(
        ("openai-js", "OpenAI, JavaScript", "openai-js"),
        SDK,
        CHAT,
        |facts, model| {
            vec![(
                "JavaScript",
                format!(
                    "import OpenAI from \"openai\";\n\nconst client = new OpenAI({{ baseURL: {}, apiKey: \"-\" }});\nconst answer = await client.chat.completions.create({{\n  model: {},\n  messages: [{{ role: \"user\", content: \"hello\" }}],\n}});\nconsole.log(answer.choices[0].message.content);",
                    quoted(&format!("{}/v1", facts.base)),
                    quoted(model)
                ),
            )]
        },
    ),
    guide(
        ("anthropic-python", "Anthropic, Python", "anthropic-python"),
        SDK,
        ANTHROPIC,
        |facts, model| {
            vec![(
                "Python",
                format!(
                    "from anthropic import Anthropic\n\nclient = Anthropic(base_url={}, api_key=\"-\")\nanswer = client.messages.create(\n    model={},\n    max_tokens=1000,\n    messages=[{{\"role\": \"user\", \"content\": \"hello\"}}],\n)\nprint(answer.content[0].text)",
                    quoted(&facts.base),
                    quoted(model)
                ),
            )]
        },
    ),
    guide(
        ("anthropic-js", "Anthropic, JavaScript", "anthropic-js"),
        SDK,
        ANTHROPIC,
        |facts, model| {
            vec![(
                "JavaScript",
                format!(
                    "import Anthropic from \"@anthropic-ai/sdk\";\n\nconst client = new Anthropic({{ baseURL: {}, apiKey: \"-\" }});\nconst answer = await client.messages.create({{\n  model: {},\n  max_tokens: 1000,\n  messages: [{{ role: \"user\", content: \"hello\" }}],\n}});\nconsole.log(answer.content[0].text);",
                    quoted(&facts.base),
                    quoted(model)
                ),
            )]
        },
    ),
    guide(
        (
            "google-python",
            "Google Gen AI, Python",
            "google-genai-python",
        ),
        SDK,
        GEMINI,
        |facts, model| {
            vec![(
                "Python",
                format!(
                    "from google import genai\n\nclient = genai.Client(api_key=\"-\", http_options={{\"base_url\": {}}})\nanswer = client.models.generate_content(model={}, contents=\"hello\")\nprint(answer.text)",
                    quoted(&facts.base),
                    quoted(model)
                ),
            )]
        },
    ),
    guide(
        ("google-js", "Google Gen AI, JavaScript", "google-genai-js"),
        SDK,
        GEMINI,
        |facts, model| {
            vec![(
                "JavaScript",
                format!(
                    "import {{ GoogleGenAI }} from \"@google/genai\";\n\nconst client = new GoogleGenAI({{ apiKey: \"-\", httpOptions: {{ baseUrl: {} }} }});\nconst answer = await client.models.generateContent({{ model: {}, contents: \"hello\" }});\nconsole.log(answer.text);",
                    quoted(&facts.base),
                    quoted(model)
                ),
            )]
        },
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            base: "http://ai.example.ts.net".to_owned(),
            chat: Some("m".to_owned()),
            responses: None,
            anthropic: None,
            gemini: None,
            models: 1,
        }
    }

    #[test]
    fn every_program_is_told_this_gateway_and_its_model() {
        for guide in ALL {
            let steps = (guide.steps)(&facts(), "the-model");
            let all: String = steps.into_iter().map(|(_, text)| text + "\n").collect();
            assert!(all.contains("http://ai.example.ts.net"), "{}", guide.id);
            let asked = ["claude-code"].contains(&guide.id) || all.contains("the-model");
            assert!(asked, "{}", guide.id);
            let named = ALL.iter().filter(|other| other.id == guide.id).count();
            assert_eq!(named, 1, "{}", guide.id);
        }
    }

    #[test]
    fn a_name_can_not_end_its_quotes() {
        assert_eq!(sh("a/b:c"), "a/b:c");
        assert_eq!(sh("a'; rm -rf ~"), r"'a'\''; rm -rf ~'");
        assert_eq!(quoted("a\"b\n"), r#""a\"b\n""#);
        let openai = ALL
            .iter()
            .find(|guide| guide.id == "openai-python")
            .unwrap();
        let steps = (openai.steps)(&facts(), "x\")\nimport os");
        assert!(!steps[0].1.contains("\nimport os"));
    }
}
