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
    how: How,
}

#[derive(Clone, Copy)]
enum How {
    Settings(&'static Agent),
    /// An SDK, or another tool without settings of its own.
    Example(fn(&Target<'_>) -> Steps),
}

impl From<&'static Agent> for Guide {
    fn from(agent: &'static Agent) -> Self {
        Self {
            id: agent.id,
            name: agent.name,
            record: agent.record,
            speaks: agent.speaks,
            how: How::Settings(agent),
        }
    }
}

impl Guide {
    pub(super) fn steps(&self, target: &Target<'_>) -> Steps {
        match self.how {
            How::Settings(agent) => settings(agent, target),
            How::Example(steps) => steps(target),
        }
    }

    /// What may go wrong with it under the gateway's address.
    pub(super) fn doubt(&self, base: &str) -> Option<&'static str> {
        match self.how {
            How::Settings(agent) => agent.doubt(base),
            How::Example(_) => None,
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

/// The SDKs and tools, in the order of the page.
pub(super) const ALL: &[Guide] = &[
    Guide {
        id: "curl",
        name: "curl",
        record: "curl",
        speaks: Speaks::Chat,
        how: How::Example(curl),
    },
    Guide {
        id: "openai-python",
        name: "OpenAI, Python",
        record: "openai-python",
        speaks: Speaks::Chat,
        how: How::Example(|to| example("Python", include_str!("examples/openai.py"), to)),
    },
    Guide {
        id: "openai-js",
        name: "OpenAI, JavaScript",
        record: "openai-js",
        speaks: Speaks::Chat,
        how: How::Example(|to| example("JavaScript", include_str!("examples/openai.js"), to)),
    },
    Guide {
        id: "anthropic-python",
        name: "Anthropic, Python",
        record: "anthropic-python",
        speaks: Speaks::Messages,
        how: How::Example(|to| example("Python", include_str!("examples/anthropic.py"), to)),
    },
    Guide {
        id: "anthropic-js",
        name: "Anthropic, JavaScript",
        record: "anthropic-js",
        speaks: Speaks::Messages,
        how: How::Example(|to| example("JavaScript", include_str!("examples/anthropic.js"), to)),
    },
    Guide {
        id: "google-python",
        name: "Google Gen AI, Python",
        record: "google-genai-python",
        speaks: Speaks::Gemini,
        how: How::Example(|to| example("Python", include_str!("examples/google.py"), to)),
    },
    Guide {
        id: "google-js",
        name: "Google Gen AI, JavaScript",
        record: "google-genai-js",
        speaks: Speaks::Gemini,
        how: How::Example(|to| example("JavaScript", include_str!("examples/google.js"), to)),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_is_told_this_gateway_and_its_model() {
        let target = Target {
            base: "http://ai.example.ts.net",
            model: "the-model",
            labels: "",
        };
        let sdks = ALL.iter().map(|guide| (guide.id, guide.steps(&target)));
        let agents = agents::ALL
            .iter()
            .map(|one| (one.id, settings(one, &target)));
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
        let steps = openai.steps(&Target {
            base: "http://ai",
            model: "x\")\nimport os",
            labels: "",
        });
        assert!(!steps[0].1.contains("\nimport os"));
    }
}
