//! Variables of the environment that send an agent elsewhere, or through a proxy.

use super::Finding;
use crate::client::gateway::origin;

const CHECK: &str = "environment";

/// The base URL of an agent, and who reads it.
const URLS: [(&str, &str); 8] = [
    ("ANTHROPIC_BASE_URL", "Claude Code and Anthropic's SDKs"),
    ("OPENAI_BASE_URL", "OpenAI's SDKs, Codex and Qwen Code"),
    ("OPENAI_API_BASE", "aider and older OpenAI clients"),
    ("GOOGLE_GEMINI_BASE_URL", "Gemini CLI and Google's SDKs"),
    ("COPILOT_PROVIDER_BASE_URL", "GitHub Copilot CLI"),
    ("OPENAI_HOST", "goose"),
    ("ANTHROPIC_BEDROCK_BASE_URL", "Claude Code on Bedrock"),
    ("ANTHROPIC_VERTEX_BASE_URL", "Claude Code on Vertex"),
];

/// What makes Claude Code leave Anthropic's format for a cloud's.
const CLOUDS: [&str; 3] = [
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_VERTEX",
    "CLAUDE_CODE_USE_FOUNDRY",
];

const PROXIES: [&str; 3] = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];

/// Looks at the environment for a gateway at `base`.
pub(super) fn check(base: &str, variable: impl Fn(&str) -> Option<String>) -> Vec<Finding> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    let mut findings = Vec::new();
    for (name, reader) in URLS {
        let Some(value) = set(name).filter(|value| !leads_to(value, base)) else {
            continue;
        };
        let what = format!(
            "{name} is {}: it sends {reader} there, not to {}",
            origin(&value),
            origin(base)
        );
        findings
            .push(Finding::odd(CHECK, what).fix(format!("unset {name}, or use `iris connect`")));
    }
    for name in CLOUDS.into_iter().filter(|name| set(name).is_some()) {
        let what = format!("{name} is set: Claude Code asks that cloud in its own format");
        findings.push(Finding::odd(CHECK, what).fix(format!("unset {name}")));
    }
    findings.extend(proxy(base, &set));
    if findings.is_empty() {
        findings.push(Finding::good(CHECK, "no variable leads elsewhere"));
    }
    findings
}

/// A proxy that would get what is meant for the gateway: it can't reach a tailnet, and could read conversations.
fn proxy(base: &str, set: &impl Fn(&str) -> Option<String>) -> Option<Finding> {
    let uri: http::Uri = base.parse().ok()?;
    let host = uri.host()?.trim_matches(['[', ']']).to_owned();
    let either = |name: &str| set(name).or_else(|| set(&name.to_ascii_lowercase()));
    // A proxy for HTTPS gets nothing that is sent over HTTP.
    let is_secure = uri.scheme_str() == Some("https");
    let skipped = if is_secure {
        "HTTP_PROXY"
    } else {
        "HTTPS_PROXY"
    };
    let name = PROXIES
        .into_iter()
        .find(|name| *name != skipped && either(name).is_some())?;
    let list = either("NO_PROXY").unwrap_or_default();
    let port = port(&uri);
    if list
        .split(',')
        .any(|one| is_excepted(&host, port, one.trim()))
    {
        return None;
    }
    let what = format!(
        "{name} is set and NO_PROXY doesn't have {host}: agents send requests for the gateway to that proxy"
    );
    Some(
        Finding::wrong(CHECK, what).fix(format!("export NO_PROXY={host} (`iris connect` does it)")),
    )
}

/// Whether an entry of `NO_PROXY` is for a host and a port: it names the host or a domain, and maybe a port.
fn is_excepted(host: &str, port: u16, entry: &str) -> bool {
    let entry = match entry.rsplit_once(':') {
        // Other colons are those of an IPv6 address.
        Some((front, end)) if !front.contains(':') || front.ends_with(']') => {
            if end.parse() != Ok(port) {
                return false;
            }
            front
        }
        _ => entry,
    };
    let entry = entry.trim_matches(['[', ']']);
    let entry = entry.trim_start_matches("*.").trim_start_matches('.');
    let below = |host: &str| {
        host.strip_suffix(entry)
            .is_some_and(|front| front.ends_with('.'))
    };
    entry == "*" || (!entry.is_empty() && (host.eq_ignore_ascii_case(entry) || below(host)))
}

/// Whether a URL is one of a gateway's: the same host and port.
pub(super) fn leads_to(url: &str, base: &str) -> bool {
    let place = |url: &str| {
        let uri: http::Uri = url.trim().parse().ok()?;
        let host = uri.host()?.to_ascii_lowercase();
        Some((host, port(&uri)))
    };
    let place = (place(url), place(base));
    matches!(place, (Some(a), Some(b)) if a == b)
}

fn port(uri: &http::Uri) -> u16 {
    let is_secure = uri.scheme_str() == Some("https");
    let usual = if is_secure { 443 } else { 80 };
    uri.port_u16().unwrap_or(usual)
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn verdicts(base: &str, variables: &[(&str, &str)]) -> Vec<(Verdict, String)> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(one, _)| *one == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let findings = check(base, variable).into_iter();
        findings.map(|one| (one.verdict, one.what)).collect()
    }

    #[test]
    fn a_proxy_is_wrong_unless_the_gateway_is_excepted() {
        for (variables, verdict) in [
            (&[][..], Verdict::Good),
            (&[("HTTP_PROXY", "http://proxy:3128")], Verdict::Wrong),
            (&[("all_proxy", "http://proxy:3128")], Verdict::Wrong),
            (&[("HTTPS_PROXY", "http://proxy:3128")], Verdict::Good),
            (&[("HTTP_PROXY", "")], Verdict::Good),
            (
                &[("http_proxy", "p"), ("no_proxy", "x.test, ai")],
                Verdict::Good,
            ),
            (&[("HTTP_PROXY", "p"), ("NO_PROXY", "*")], Verdict::Good),
            (&[("HTTP_PROXY", "p"), ("NO_PROXY", "mai")], Verdict::Wrong),
        ] {
            let found = verdicts("http://ai", variables);
            assert_eq!(found[0].0, verdict, "{variables:?}: {found:?}");
        }
        for (base, entry, is_excepted) in [
            ("http://ai", "ai:80", true),
            ("https://ai", "ai:443", true),
            ("http://ai:8088", "x.test,ai:8088", true),
            ("http://ai", "ai:8088", false),
            ("http://ai", "ai:", false),
            ("http://[fd7a::1]:8088", "[fd7a::1]:8088", true),
            ("http://[fd7a::1]", "[fd7a::1]", true),
            ("http://[fd7a::1]", "fd7a::1", true),
            ("http://[fd7a::1]", "[fd7a::1]:81", false),
        ] {
            let found = verdicts(base, &[("ALL_PROXY", "p"), ("NO_PROXY", entry)]);
            assert_eq!(found[0].0 == Verdict::Good, is_excepted, "{base} {entry}");
        }
        let full = "http://ai.tail1.ts.net";
        let found = verdicts(full, &[("HTTP_PROXY", "p"), ("NO_PROXY", ".ts.net")]);
        assert_eq!(found[0].0, Verdict::Good);
    }

    #[test]
    fn a_variable_that_leads_elsewhere_is_named() {
        let found = verdicts(
            "http://ai",
            &[
                ("ANTHROPIC_BASE_URL", "http://ai/"),
                (
                    "OPENAI_BASE_URL",
                    "https://me:s3cret@api.openai.com/s3cret?key=s3cret",
                ),
                ("OPENAI_HOST", "s3cret"),
                ("CLAUDE_CODE_USE_BEDROCK", "1"),
            ],
        );
        assert_eq!(found.len(), 3, "{found:?}");
        let start = "OPENAI_BASE_URL is https://api.openai.com: it sends ";
        assert!(found[0].1.starts_with(start), "{found:?}");
        assert!(found[1].1.starts_with("OPENAI_HOST is an invalid URL"));
        assert!(found[2].1.starts_with("CLAUDE_CODE_USE_BEDROCK"));
        let shows_secret = |(_, what): &(Verdict, String)| what.contains("s3cret");
        assert!(!found.iter().any(shows_secret), "{found:?}");
        assert!(leads_to("http://AI:80/v1", "http://ai") && !leads_to("http://ai:81", "http://ai"));
    }
}
