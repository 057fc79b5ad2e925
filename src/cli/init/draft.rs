//! The text of a first configuration.

use std::fmt::Write;

use serde_json::json;

use super::answers::{Answers, Control, Tailnet};
use super::providers::Provider;
use crate::config::{self, Severity};
use crate::rules::Rules;
use crate::server;

const HEAD: &str = r"// The configuration of Iris, begun by `iris init` and yours from here on. `iris check` tells what
// is wrong with it, and a running gateway takes a saved change at once.
{
";

const LISTEN: &str = r#"
  "listen": {
    "http": ":80",
    // Served where the tailnet has HTTPS certificates.
    "https": ":443",
    // Also serve callers on this machine, who are "(loopback)" in grants:
    // "loopback": "127.0.0.1:8088",
  },
"#;

const PROVIDERS: &str = r"
  // Where the models are, and which. `${NAME}` stands for an environment variable.
";

/// A commented configuration that does what was answered.
pub(super) fn configuration(answers: &Answers) -> String {
    let mut out = HEAD.to_owned();
    let capability = match &answers.tailnet {
        Tailnet::Off => {
            // Writing to a string does not fail.
            let _ = write!(
                out,
                r#"  // Not on a tailnet: for callers on this machine only.
  "tailnet": {{ "mode": "off" }},
  "listen": {{ "loopback": {} }},
"#,
                quoted(server::LOOPBACK)
            );
            config::CAPABILITY.to_owned()
        }
        Tailnet::Node {
            control, hostname, ..
        } => {
            out.push_str(&tailnet(control, &hostname.0));
            out.push_str(LISTEN);
            control.capability()
        }
    };
    out.push_str(PROVIDERS);
    out.push_str("  \"providers\": {\n");
    for one in &answers.providers {
        out.push_str(&provider(one));
    }
    out.push_str("  },\n\n");
    out.push_str(&grants(&answers.tailnet, &capability));
    out.push_str("}\n");
    out
}

/// The first thing that a strict check has against a configuration whose variables are set.
pub(super) fn objection(text: &str) -> Option<String> {
    let findings = match config::parse(text, &|_| Some("value".to_owned())) {
        Ok(loaded) => Rules::compile(loaded, 0).findings,
        Err(findings) => findings,
    };
    let serious = |severity| severity != Severity::Note;
    let first = findings.into_iter().find(|one| serious(one.severity))?;
    Some(first.message)
}

fn tailnet(control: &Control, hostname: &str) -> String {
    let mut out = format!(
        r#"  // How the gateway is on your tailnet.
  "tailnet": {{
    // As a node of its own. With "host" it would use this machine's tailscaled.
    "mode": "embedded",
    // For people: http://{hostname}
    "hostname": {},
    // Without a key, `iris serve` shows where to sign in. A key for machines that start by
    // themselves:
    // "auth_key": "${{TS_AUTHKEY}}",
"#,
        quoted(hostname)
    );
    let capability = control.capability();
    match control {
        Control::Headscale(url) => {
            let _ = write!(
                out,
                r#"    // The Headscale server.
    "control_url": {},
    // Grants may also stand in the tailnet policy, under this name. Headscale refuses names in
    // the tailscale.com domain.
    "capabilities": [{}],
"#,
                quoted(url),
                quoted(&capability)
            );
        }
        Control::Tailscale | Control::Loopback => {
            let _ = write!(
                out,
                r#"    // Grants may also stand in the tailnet policy, under this name.
    "capabilities": [{}],
"#,
                quoted(&capability)
            );
        }
    }
    out.push_str("  },\n");
    out
}

fn provider(provider: &Provider) -> String {
    let mut out = format!("    {}: {{\n", quoted(&provider.id));
    let mut line = |text: String| {
        let _ = writeln!(out, "      {text},");
    };
    line(format!("\"baseurl\": {}", quoted(&provider.baseurl)));
    if let Some(variable) = &provider.key {
        line(format!("\"apikey\": \"${{{variable}}}\""));
    }
    if let Some(header) = provider.authorization {
        line(format!("\"authorization\": {}", quoted(header)));
    }
    let models: Vec<String> = provider.models.iter().map(|name| quoted(name)).collect();
    let short = format!("\"models\": [{}]", models.join(", "));
    line(if short.len() <= 90 {
        short
    } else {
        format!(
            "\"models\": [\n        {},\n      ]",
            models.join(",\n        ")
        )
    });
    if !provider.compatibility.is_empty() {
        let formats = provider.compatibility.iter();
        let formats: Vec<String> = formats
            .map(|one| format!("{}: true", quoted(one)))
            .collect();
        line(format!("\"compatibility\": {{ {} }}", formats.join(", ")));
    }
    out.push_str("    },\n");
    out
}

fn grants(tailnet: &Tailnet, capability: &str) -> String {
    let capability = quoted(capability);
    match tailnet {
        Tailnet::Off => format!(
            r#"  // Whoever is on this machine may use every model, and sees and changes everything.
  "grants": [
    {{ "src": ["(loopback)"], "app": {{ {capability}: [{{ "role": "admin" }}, {{ "models": "**" }}] }} }},
  ],
"#
        ),
        Tailnet::Node { admins, .. } => {
            let admins: Vec<String> = admins.0.iter().map(|name| quoted(name)).collect();
            format!(
                r#"  // Who may do what. Whoever no grant names gets nothing.
  "grants": [
    // Admins see everyone's records and may change this configuration.
    {{ "src": [{}], "app": {{ {capability}: [{{ "role": "admin" }}] }} }},
    // Everybody whom the tailnet lets reach this node may use every model. To allow fewer, put
    // people, groups and tags in place of "*", as in ["alice@example.com", "group:eng", "tag:ci"],
    // and models in place of "**", as in "PROVIDER/**" or "PROVIDER/MODEL".
    {{ "src": ["*"], "app": {{ {capability}: [{{ "role": "user" }}, {{ "models": "**" }}] }} }},
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
    use super::*;

    fn one(models: &[&str]) -> Provider {
        Provider {
            id: "gpu".to_owned(),
            baseurl: "http://gpu:8080".to_owned(),
            models: models.iter().map(|name| (*name).to_owned()).collect(),
            key: None,
            authorization: None,
            compatibility: &[],
        }
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
            let service = Provider {
                id: "openai".to_owned(),
                key: Some("OPENAI_API_KEY".to_owned()),
                authorization: Some("bearer"),
                compatibility: &["openai_chat", "openai_responses"],
                ..one(&["gpt"])
            };
            let providers = vec![one(&["m"]), service];
            let text = configuration(&Answers { tailnet, providers });
            assert_eq!(objection(&text), None, "{text}");
        }
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
        });
        let loaded = config::parse(&text, &|_| Some("expanded".to_owned())).unwrap();
        assert_eq!(loaded.file.providers["gpu"].models, all, "{text}");
    }
}
