//! The text of a first configuration.

use std::path::Path;

use serde_json::{Value, json};

use super::answers::{Answers, Budget, Control, Tailnet};
use super::key::Key;
use super::provider::Provider;
use crate::app;
use crate::base::secret::Secret;
use crate::config::{self, Finding, Severity, Subject};
use crate::exchange::rules::Rules;

const HEAD: &str = r"// The configuration of Iris, begun by `iris init` and yours from here on. `iris check` says what
// is wrong with it, and a running gateway applies a saved change at once.
{
";

fn listen() -> String {
    format!(
        r#"
  "listen": {{
    "http": ":80",
    // Served where the tailnet has HTTPS certificates.
    "https": ":443",
    // For programs on this machine, such as `iris status`. They are "(loopback)" in grants, and
    // without a grant they learn only whether the gateway is ready.
    "loopback": {},
  }},
"#,
        quoted(app::LOOPBACK)
    )
}

const PROVIDERS: &str = r#"
  // Where the models are, and which. `${NAME}` stands for an environment variable, and
  // `${file:PATH}` for what is in a file. `compatibility` is what a provider speaks.
  "providers": {
"#;

/// A commented configuration that does what was answered.
pub(super) fn configuration(answers: &Answers) -> String {
    let (tailnet, capability) = match &answers.tailnet {
        Tailnet::Off => {
            let off = format!(
                r#"  // Not on a tailnet: for callers on this machine only.
  "tailnet": {{ "mode": "off" }},
  "listen": {{ "loopback": {} }},
"#,
                quoted(app::LOOPBACK)
            );
            (off, config::CAPABILITY.to_owned())
        }
        Tailnet::Node {
            control, hostname, ..
        } => (
            tailnet(control, &hostname.0) + &listen(),
            control.capability(),
        ),
    };
    let providers: String = answers.providers.iter().map(provider).collect();
    let quotas = answers.budget.as_ref().map(quotas).unwrap_or_default();
    let models = models(answers.budget.as_ref());
    let grants = grants(&answers.tailnet, &capability, &models);
    format!("{HEAD}{tailnet}{PROVIDERS}{providers}  }},\n\n{quotas}{grants}}}\n")
}

/// The first thing that a strict check has against a configuration whose variables are set.
pub(super) fn objection(answers: &Answers, text: &str, path: &Path) -> Option<String> {
    let keys = answers.providers.iter().filter_map(|one| one.key.as_ref());
    let mut values: Vec<(String, Secret)> = keys.flat_map(Key::values).collect();
    let mut made_up = config::references(text);
    made_up.retain(|name| {
        let is_typed = values.iter().any(|(typed, _)| typed == name);
        !is_typed && !config::is_there(name, path)
    });
    let value = |name: &String| (name.clone(), Secret::new("value".to_owned()));
    values.extend(made_up.iter().map(value));
    let findings = match config::check_with(text, path, &values) {
        Ok(loaded) => Rules::compile(loaded, 0).findings,
        Err(findings) => findings,
    };
    // A made-up value isn't a valid key.
    let is_made_up = |one: &Finding| {
        let is_at = |provider: &&Provider| one.path == format!("providers.{}", provider.id);
        let provider = answers.providers.iter().find(is_at);
        let key = provider.and_then(|provider| provider.key.as_ref());
        let mut references = key.iter().flat_map(|key| &key.references);
        one.subject == Some(Subject::Credential) && references.any(|name| made_up.contains(name))
    };
    let first = findings
        .into_iter()
        .find(|one| one.severity != Severity::Note && !is_made_up(one))?;
    Some(first.message)
}

fn tailnet(control: &Control, hostname: &str) -> String {
    let (server, refused) = match control {
        Control::Headscale(url) => (
            format!(
                "    // The Headscale server.\n    \"control_url\": {},\n",
                quoted(url)
            ),
            " Headscale refuses names in\n    // the tailscale.com domain.",
        ),
        Control::Tailscale | Control::Loopback => (String::new(), ""),
    };
    format!(
        r#"  // How the gateway is on your tailnet.
  "tailnet": {{
    // As a node of its own. With "host" it would use this machine's tailscaled.
    "mode": "embedded",
    // For people: http://{hostname}
    "hostname": {},
    // Without a key, `iris serve` shows where to sign in. A key for machines that start by
    // themselves:
    // "auth_key": "${{TS_AUTHKEY}}",
{server}    // Grants may also stand in the tailnet policy, under this name.{refused}
    "capabilities": [{}],
  }},
"#,
        quoted(hostname),
        quoted(&control.capability())
    )
}

fn provider(provider: &Provider) -> String {
    let members = provider.members().into_iter();
    let lines = members.map(|(key, value)| format!("      \"{key}\": {},\n", written(&value)));
    format!(
        "    {}: {{\n{}    }},\n",
        quoted(&provider.id),
        lines.collect::<String>()
    )
}

/// A value on one line, or an array with a line for each of its values where it is long.
fn written(value: &Value) -> String {
    const LONGEST: usize = 90;
    match value {
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(Value::to_string).collect();
            let short = format!("[{}]", values.join(", "));
            if short.len() <= LONGEST {
                short
            } else {
                format!("[\n        {},\n      ]", values.join(",\n        "))
            }
        }
        Value::Object(members) => {
            let member = |(key, value): (&String, &Value)| format!("{}: {value}", quoted(key));
            let members: Vec<String> = members.iter().map(member).collect();
            format!("{{ {} }}", members.join(", "))
        }
        other => other.to_string(),
    }
}

const BUCKET: &str = "budget:<user>";

fn quotas(budget: &Budget) -> String {
    let Budget { amount, period } = budget;
    format!(
        r#"  // What each user may spend. A request that its budget can't pay for is refused. Servers of your
  // own cost nothing unless `prices` says what they do.
  "quotas": {{
    "{BUCKET}": {{ "capacity": "{amount}", "rate": "{amount}/{period}", "warn_below": "20%" }},
  }},

"#
    )
}

/// The object that grants every model.
fn models(budget: Option<&Budget>) -> String {
    match budget {
        Some(_) => format!(r#"{{ "models": "**", "quotas": [{{ "bucket": "{BUCKET}" }}] }}"#),
        None => r#"{ "models": "**" }"#.to_owned(),
    }
}

fn grants(tailnet: &Tailnet, capability: &str, models: &str) -> String {
    let capability = quoted(capability);
    match tailnet {
        Tailnet::Off => format!(
            r#"  // Anyone on this machine may use every model, and sees and changes everything.
  "grants": [
    {{ "src": ["(loopback)"], "app": {{ {capability}: [{{ "role": "admin" }}, {models}] }} }},
  ],
"#
        ),
        Tailnet::Node { admins, .. } => {
            let admins: Vec<String> = admins.0.iter().map(|name| quoted(name)).collect();
            format!(
                r#"  // Who may do what. Anyone without a grant is refused.
  "grants": [
    // Admins see everyone's records and may change this configuration.
    {{ "src": [{}], "app": {{ {capability}: [{{ "role": "admin" }}] }} }},
    // Everyone who can reach this node on the tailnet may use every model. To allow fewer, put
    // people, groups and tags in place of "*", as in ["alice@example.com", "group:eng", "tag:ci"],
    // and models in place of "**", as in "PROVIDER/**" or "PROVIDER/MODEL".
    {{ "src": ["*"], "app": {{ {capability}: [{{ "role": "user" }}, {models}] }} }},
  ],
"#,
                admins.join(", ")
            )
        }
    }
}

/// A string of the configuration. What a server calls its models stands for nothing else.
fn quoted(text: &str) -> String {
    json!(text.replace("${", "$${")).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::answers::{Admins, Hostname};
    use super::super::spec::tests::spec;
    use super::*;

    fn with(text: &str, models: &[&str]) -> Provider {
        Provider {
            models: models.iter().map(|name| (*name).to_owned()).collect(),
            ..spec(text).provider().unwrap()
        }
    }

    fn one(models: &[&str]) -> Provider {
        with("http://gpu:8080", models)
    }

    fn service(text: &str) -> Provider {
        with(text, &["m"])
    }

    fn objection(answers: &Answers) -> Option<String> {
        let text = configuration(answers);
        super::objection(answers, &text, Path::new("iris.hujson"))
    }

    fn node(control: Control) -> Tailnet {
        Tailnet::Node {
            control,
            hostname: Hostname("ai".to_owned()),
            admins: Admins(vec!["me@example.com".to_owned()]),
        }
    }

    #[test]
    fn each_way_to_answer_gives_a_configuration_without_findings() {
        let headscale = Control::Headscale("https://hs.example.com".to_owned());
        for tailnet in [Tailnet::Off, node(Control::Tailscale), node(headscale)] {
            for budget in [None, Some("5".parse().unwrap())] {
                let providers = vec![
                    one(&["m"]),
                    service("openai,key=env:IRIS_TEST_NOT_SET"),
                    service("anthropic,key=file:/nonexistent/key"),
                    service("gemini"),
                    service("openrouter,formats=chat+messages"),
                    service("bedrock,region=eu-west-1,key=aws"),
                    service("vertex,region=global,key=file:/nonexistent/sa.json,project=p"),
                ];
                let answers = Answers {
                    tailnet: match &tailnet {
                        Tailnet::Off => Tailnet::Off,
                        Tailnet::Node { control, .. } => node(control.clone()),
                    },
                    providers,
                    budget,
                };
                assert_eq!(objection(&answers), None, "{}", configuration(&answers));
            }
        }
    }

    #[test]
    fn a_key_that_is_there_has_to_be_one() {
        let dir = tempfile::tempdir().unwrap();
        let bad = dir.path().join("bad.json");
        std::fs::write(&bad, "{}").unwrap();
        let vertex = |path: &str| {
            let text = format!("vertex,region=global,project=p,key=file:{path}");
            service(&text)
        };
        let with = |vertex: Provider| {
            objection(&Answers {
                tailnet: Tailnet::Off,
                // Another one's variable isn't set.
                providers: vec![service("openai,key=env:IRIS_TEST_NOT_SET"), vertex],
                budget: None,
            })
        };
        assert_eq!(with(vertex("/nonexistent/sa.json")), None);
        let said = with(vertex(bad.to_str().unwrap())).unwrap();
        let expected = "the service-account key of provider vertex cannot be used";
        assert!(said.starts_with(expected), "{said}");
    }

    #[test]
    fn a_budget_pays_for_what_users_ask() {
        let text = configuration(&Answers {
            tailnet: node(Control::Tailscale),
            providers: vec![one(&["m"])],
            budget: Some("$7.5/week".parse().unwrap()),
        });
        let file = config::parse(&text, &|_| None).unwrap().file;
        assert!(file.quotas["budget:<user>"].is_ok(), "{text}");
        assert!(text.contains(r#""rate": "$7.50/week""#), "{text}");
        let caller = crate::policy::identity::Caller::hypothetical("u@example.com", None);
        let permit = crate::policy::access::Access::compile(&file)
            .permit(&caller)
            .unwrap();
        let subject = crate::policy::access::Subject::model("gpu", "m");
        assert_eq!(permit.quotas(subject).count(), 1);
    }

    #[test]
    fn names_of_models_stay_names() {
        let names = ["${HOME}", "a\"b", "$${x}", "new\nline", "// no comment */"];
        let many: Vec<String> = (0..20).map(|nth| format!("model-{nth}")).collect();
        let all: Vec<&str> = names
            .iter()
            .copied()
            .chain(many.iter().map(String::as_str))
            .collect();
        let text = configuration(&Answers {
            tailnet: Tailnet::Off,
            providers: vec![one(&all)],
            budget: None,
        });
        let loaded = config::parse(&text, &|_| Some("expanded".to_owned())).unwrap();
        assert_eq!(loaded.file.providers["gpu"].models, all, "{text}");
    }
}
