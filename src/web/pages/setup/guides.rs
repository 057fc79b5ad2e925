//! What to show of each agent and SDK: the settings of `agents`, and examples in code.

use serde_json::json;

use crate::client::agents::{self, Agent, Speaks, Target, sh};

/// What a step says, and the text to copy.
type Steps = Vec<(String, String)>;

/// An SDK, or another tool without settings of its own.
pub(super) struct Guide {
    pub id: &'static str,
    pub name: &'static str,
    /// What records call it.
    pub agent: &'static str,
    pub speaks: Speaks,
    pub steps: fn(&Target<'_>) -> Steps,
}

const fn guide(
    (id, name, agent): (&'static str, &'static str, &'static str),
    speaks: Speaks,
    steps: fn(&Target<'_>) -> Steps,
) -> Guide {
    Guide {
        id,
        name,
        agent,
        speaks,
        steps,
    }
}

/// An agent: its files, and how it runs once without them.
pub(super) fn agent(agent: &Agent, target: &Target<'_>) -> Steps {
    let settings = agent.settings(target);
    let mut steps: Steps = settings
        .own
        .iter()
        .map(|own| (format!("~/{}", own.path), own.change.new_file()))
        .collect();
    if settings.folder.is_none() {
        let label = if steps.is_empty() {
            "In a shell"
        } else {
            "Or once, in a shell"
        };
        let exports = agents::exports(&settings.env);
        let command = agents::command(agent.program, &settings.args);
        steps.push((label.to_owned(), exports + &command));
    }
    let connect = format!("iris connect {} --url {}", agent.id, sh(target.base));
    steps.push(("Or, with iris on that device".to_owned(), connect));
    steps
}

/// Text in quotes, as JSON, Python and JavaScript read it.
fn quoted(text: &str) -> String {
    json!(text).to_string()
}

fn base(target: &Target<'_>) -> String {
    quoted(target.base)
}

fn v1(target: &Target<'_>) -> String {
    quoted(&format!("{}/v1", target.base))
}

fn one(label: &str, text: String) -> Steps {
    vec![(label.to_owned(), text)]
}

/// The SDKs and tools, in the order of the page.
pub(super) const ALL: &[Guide] = &[
    guide(("curl", "curl", "curl"), Speaks::Chat, |to| {
        let body =
            json!({ "model": to.model, "messages": [{ "role": "user", "content": "hello" }] });
        vec![
            (
                "The models that you may use".to_owned(),
                format!("curl {}", sh(&format!("{}/v1/models", to.base))),
            ),
            (
                "A chat".to_owned(),
                format!(
                    "curl {} \\\n  -H 'Content-Type: application/json' \\\n  -d {}",
                    sh(&format!("{}/v1/chat/completions", to.base)),
                    sh(&body.to_string())
                ),
            ),
        ]
    }),
    guide(
        ("openai-python", "OpenAI, Python", "openai-python"),
        Speaks::Chat,
        |to| {
            one(
                "Python",
                format!(
                    "from openai import OpenAI\n\nclient = OpenAI(base_url={}, api_key=\"-\")\nanswer = client.chat.completions.create(\n    model={},\n    messages=[{{\"role\": \"user\", \"content\": \"hello\"}}],\n)\nprint(answer.choices[0].message.content)",
                    v1(to),
                    quoted(to.model)
                ),
            )
        },
    ),
    guide(
        ("openai-js", "OpenAI, JavaScript", "openai-js"),
        Speaks::Chat,
        |to| {
            one(
                "JavaScript",
                format!(
                    "import OpenAI from \"openai\";\n\nconst client = new OpenAI({{ baseURL: {}, apiKey: \"-\" }});\nconst answer = await client.chat.completions.create({{\n  model: {},\n  messages: [{{ role: \"user\", content: \"hello\" }}],\n}});\nconsole.log(answer.choices[0].message.content);",
                    v1(to),
                    quoted(to.model)
                ),
            )
        },
    ),
    guide(
        ("anthropic-python", "Anthropic, Python", "anthropic-python"),
        Speaks::Messages,
        |to| {
            one(
                "Python",
                format!(
                    "from anthropic import Anthropic\n\nclient = Anthropic(base_url={}, api_key=\"-\")\nanswer = client.messages.create(\n    model={},\n    max_tokens=1000,\n    messages=[{{\"role\": \"user\", \"content\": \"hello\"}}],\n)\nprint(answer.content[0].text)",
                    base(to),
                    quoted(to.model)
                ),
            )
        },
    ),
    guide(
        ("anthropic-js", "Anthropic, JavaScript", "anthropic-js"),
        Speaks::Messages,
        |to| {
            one(
                "JavaScript",
                format!(
                    "import Anthropic from \"@anthropic-ai/sdk\";\n\nconst client = new Anthropic({{ baseURL: {}, apiKey: \"-\" }});\nconst answer = await client.messages.create({{\n  model: {},\n  max_tokens: 1000,\n  messages: [{{ role: \"user\", content: \"hello\" }}],\n}});\nconsole.log(answer.content[0].text);",
                    base(to),
                    quoted(to.model)
                ),
            )
        },
    ),
    guide(
        (
            "google-python",
            "Google Gen AI, Python",
            "google-genai-python",
        ),
        Speaks::Gemini,
        |to| {
            one(
                "Python",
                format!(
                    "from google import genai\n\nclient = genai.Client(api_key=\"-\", http_options={{\"base_url\": {}}})\nanswer = client.models.generate_content(model={}, contents=\"hello\")\nprint(answer.text)",
                    base(to),
                    quoted(to.model)
                ),
            )
        },
    ),
    guide(
        ("google-js", "Google Gen AI, JavaScript", "google-genai-js"),
        Speaks::Gemini,
        |to| {
            one(
                "JavaScript",
                format!(
                    "import {{ GoogleGenAI }} from \"@google/genai\";\n\nconst client = new GoogleGenAI({{ apiKey: \"-\", httpOptions: {{ baseUrl: {} }} }});\nconst answer = await client.models.generateContent({{ model: {}, contents: \"hello\" }});\nconsole.log(answer.text);",
                    base(to),
                    quoted(to.model)
                ),
            )
        },
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_is_told_this_gateway_and_its_model() {
        let target = Target {
            base: "http://ai.example.ts.net",
            model: "the-model",
        };
        let sdks = ALL.iter().map(|guide| (guide.id, (guide.steps)(&target)));
        let agents = agents::ALL.iter().map(|one| (one.id, agent(one, &target)));
        for (id, steps) in sdks.chain(agents) {
            let all: String = steps.into_iter().map(|(_, text)| text + "\n").collect();
            assert!(all.contains(target.base), "{id}");
            assert!(all.contains(target.model), "{id}");
            let named = ALL.iter().filter(|other| other.id == id).count();
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
        let steps = (openai.steps)(&Target {
            base: "http://ai",
            model: "x\")\nimport os",
        });
        assert!(!steps[0].1.contains("\nimport os"));
    }
}
