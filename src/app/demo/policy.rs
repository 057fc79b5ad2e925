//! The demo tailnet's policy: the part of Tailscale's own that the demo needs, turned into the
//! packet filter that nodes get. On a tailnet the control server does this.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use anyhow::{Context, bail};
use jsonc_parser::{ParseOptions, parse_to_serde_value};
use serde::Deserialize;
use serde_json::{Value, json};

/// A node of the demo tailnet.
pub(super) struct Device {
    pub(super) name: &'static str,
    pub(super) address: Ipv4Addr,
    /// A login, or a tag.
    pub(super) owner: &'static str,
}

impl Device {
    pub(super) const fn new(name: &'static str, address: Ipv4Addr, owner: &'static str) -> Self {
        Self {
            name,
            address,
            owner,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Policy {
    #[serde(default)]
    groups: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    grants: Vec<Grant>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Grant {
    src: Vec<String>,
    dst: Vec<String>,
    #[serde(default)]
    ip: Vec<String>,
    #[serde(default)]
    app: BTreeMap<String, Vec<Value>>,
}

/// The packet filter for a policy, as a list of `tailcfg.FilterRule`. An error names what the demo
/// doesn't know.
pub(super) fn filter(text: &str, devices: &[Device]) -> anyhow::Result<Value> {
    let value: Value = parse_to_serde_value(text, &ParseOptions::default())
        .context("the policy isn't valid HuJSON")?;
    let policy: Policy = serde_json::from_value(value).context("the policy can't be read")?;
    let rules = policy.grants.iter().map(|grant| {
        let sources = addresses(&grant.src, &policy.groups, devices)?;
        let destinations = addresses(&grant.dst, &policy.groups, devices)?;
        rule(grant, &sources, &destinations)
    });
    Ok(Value::Array(rules.collect::<anyhow::Result<_>>()?))
}

fn rule(grant: &Grant, sources: &[Ipv4Addr], destinations: &[Ipv4Addr]) -> anyhow::Result<Value> {
    let ports = grant.ip.iter().map(|ports| ports_of(ports));
    let ports: Vec<(u16, u16)> = ports.collect::<anyhow::Result<_>>()?;
    let opened = destinations.iter().flat_map(|to| {
        let range =
            move |&(first, last)| json!({ "IP": to, "Ports": { "First": first, "Last": last } });
        ports.iter().map(range)
    });
    let prefixes: Vec<String> = destinations.iter().map(|to| format!("{to}/32")).collect();
    let mut rule = json!({ "SrcIPs": sources });
    if !ports.is_empty() {
        rule["DstPorts"] = opened.collect();
    }
    if !grant.app.is_empty() {
        rule["CapGrant"] = json!([{ "Dsts": prefixes, "CapMap": grant.app }]);
    }
    Ok(rule)
}

/// The addresses behind the selectors of a grant.
fn addresses(
    selectors: &[String],
    groups: &BTreeMap<String, Vec<String>>,
    devices: &[Device],
) -> anyhow::Result<Vec<Ipv4Addr>> {
    let mut found = Vec::new();
    for selector in selectors {
        let owners = match selector.as_str() {
            group if group.starts_with("group:") => match groups.get(group) {
                Some(members) => members.clone(),
                None => bail!("{group:?} isn't among the policy's groups"),
            },
            other => vec![other.to_owned()],
        };
        for owner in owners {
            let matches = |device: &&Device| owner == "*" || device.owner == owner;
            let known = devices.iter().filter(matches).map(|device| device.address);
            let before = found.len();
            found.extend(known);
            if found.len() == before {
                let known: Vec<&str> = devices.iter().map(|device| device.owner).collect();
                bail!("unknown user or tag {owner:?}; known: {}", known.join(", "));
            }
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// First and last port of `*`, `tcp:80` or `80`.
fn ports_of(text: &str) -> anyhow::Result<(u16, u16)> {
    if text == "*" {
        return Ok((0, u16::MAX));
    }
    let port = text.strip_prefix("tcp:").unwrap_or(text);
    match port.parse() {
        Ok(port) => Ok((port, port)),
        Err(_) => bail!("{text:?} isn't a port; expected \"*\", \"tcp:80\" or \"80\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICES: [Device; 3] = [
        Device::new("ai", Ipv4Addr::new(100, 64, 0, 1), "tag:ai"),
        Device::new("a", Ipv4Addr::new(100, 64, 0, 2), "alice@example.com"),
        Device::new("b", Ipv4Addr::new(100, 64, 0, 3), "bob@example.com"),
    ];

    #[test]
    fn groups_tags_and_ports_become_rules() {
        let text = r#"{
            "groups": { "group:eng": ["alice@example.com", "bob@example.com"] }, // a comment
            "grants": [
                { "src": ["*"], "dst": ["tag:ai"], "ip": ["tcp:80"] },
                { "src": ["group:eng", "alice@example.com"], "dst": ["tag:ai"], "app": { "cap": [{ "models": "**" }] } },
            ],
        }"#;
        let expected = json!([
            {
                "SrcIPs": ["100.64.0.1", "100.64.0.2", "100.64.0.3"],
                "DstPorts": [{ "IP": "100.64.0.1", "Ports": { "First": 80, "Last": 80 } }],
            },
            {
                "SrcIPs": ["100.64.0.2", "100.64.0.3"],
                "CapGrant": [{ "Dsts": ["100.64.0.1/32"], "CapMap": { "cap": [{ "models": "**" }] } }],
            },
        ]);
        assert_eq!(filter(text, &DEVICES).unwrap(), expected);
    }

    #[test]
    fn an_empty_group_is_a_group() {
        let text = r#"{"groups": {"group:eng": []}, "grants": [{"src": ["group:eng"], "dst": ["*"], "ip": ["*"]}]}"#;
        assert_eq!(filter(text, &DEVICES).unwrap()[0]["SrcIPs"], json!([]));
    }

    #[test]
    fn a_mistake_is_named() {
        let grant = |grant: &str| format!(r#"{{"grants": [{grant}]}}"#);
        for (text, part) in [
            ("{", "HuJSON"),
            (r#"{"acls": []}"#, "acls"),
            (
                &grant(r#"{"src": ["group:ops"], "dst": ["*"]}"#),
                "\"group:ops\" isn't among",
            ),
            (
                &grant(r#"{"src": ["carol@example.com"], "dst": ["*"]}"#),
                "unknown user or tag \"carol@example.com\"",
            ),
            (
                &grant(r#"{"src": ["*"], "dst": ["*"], "ip": ["tcp:http"]}"#),
                "\"tcp:http\" isn't a port",
            ),
            (&grant(r#"{"src": ["*"]}"#), "dst"),
        ] {
            let error = format!("{:#}", filter(text, &DEVICES).unwrap_err());
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
