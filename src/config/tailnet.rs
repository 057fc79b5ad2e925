//! The section `tailnet`. What can't work is an error here, before a node starts with it: there is
//! no safe value to put in its place, and a node that can't join is hard to tell from one that waits.

use std::path::PathBuf;
use std::time::Duration;

use super::address;
use super::declare::Holds;
use super::readers::Trimmed;
use super::table::Table;
use super::{section, words};
use crate::base::secret::Secret;

/// The capability name that Aperture's policies use.
pub const CAPABILITY: &str = "tailscale.com/cap/aperture";

section! {
    /// How the gateway is on a tailnet.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Tailnet {
        /// `embedded`: a node of its own. `host`: through this machine's `tailscaled`. `off`: loopback only.
        #[key(start)]
        mode: Mode = Mode::Embedded,
        /// Name of the node: letters, digits and `-`, which doesn't begin or end it.
        #[key(start)]
        hostname: String = "ai".to_owned(),
        /// Auth key, or OAuth client secret (which needs `tags`), used when the node joins. Without one, the address to sign in at is printed.
        #[key(start)]
        auth_key: Secret,
        /// A Headscale server; empty for Tailscale.
        #[key(start, holds = Holds::Url)]
        control_url: String => Trimmed,
        /// Whether the node is removed when it stops.
        #[key(start)]
        ephemeral: bool,
        /// Tags to ask for.
        #[key(start, example = r#"["tag:ai"]"#)]
        tags: Vec<String>,
        /// Tailscale Service to answer for.
        #[key(idle)]
        service: String,
        /// Names of app capabilities that count as grants, in this file and in the tailnet policy.
        capabilities: Vec<String> = vec![CAPABILITY.to_owned()],
        /// Socket of `tailscaled` in `host` mode; empty for the usual place.
        #[key(start)]
        socket: Option<PathBuf>,
        /// How long the control server may not be heard before callers on the tailnet are refused; `0` for ever. See [GRANTS.md](GRANTS.md#when-the-control-server-is-away).
        #[key(example = r#""15m""#)]
        stale_after: Duration,
        /// Who is refused then. `all`: every caller on the tailnet. `policy`: only what the tailnet policy grants.
        stale_refuses: StaleRefuses = StaleRefuses::All,
    }
    check: check
}

words! {
    /// Who is refused while the network map is too old.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum StaleRefuses {
        /// Every caller on the tailnet.
        All = "all",
        /// What only the tailnet policy grants.
        Policy = "policy",
    }
}

words! {
    /// Ways to be on a tailnet.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
    #[serde(rename_all = "lowercase")]
    pub enum Mode {
        /// As a node of its own.
        Embedded = "embedded",
        /// Through this machine's `tailscaled`.
        Host = "host",
        /// Not at all: loopback only.
        Off = "off",
    }
}

fn check(read: Tailnet, table: &Table<'_>) -> Tailnet {
    if let Some(problem) = label_problem(&read.hostname) {
        let name = &read.hostname;
        let message = format!("invalid host name {name:?}: {problem}; write it as in \"ai\"");
        table.error_at("hostname", message);
    }
    if !read.control_url.is_empty()
        && let Some(problem) = control_url_problem(&read.control_url)
    {
        let shown = address::shown(&read.control_url);
        let message = format!("the control server's URL {shown} {problem}");
        table.error_at("control_url", message);
    }
    let mut tags = read.tags.iter();
    if let Some((tag, problem)) = tags.find_map(|tag| Some((tag, tag_problem(tag)?))) {
        let message = format!("invalid tag {tag:?}: {problem}; write it as in \"tag:ai\"");
        table.error_at("tags", message);
    }
    let key = read.auth_key.expose();
    if key.starts_with("tskey-client-") && read.tags.is_empty() {
        table.error_at(
            "auth_key",
            "an OAuth client secret needs `tags` for the node",
        );
    }
    if key.contains(|char: char| char.is_whitespace() || char.is_control()) {
        table.error_at(
            "auth_key",
            "the auth key holds a blank or a line break, which no auth key has; look at the variable or the \
             file that it is from: it may hold more than the key",
        );
    }
    read
}

/// What is wrong with a label of a DNS name.
fn label_problem(text: &str) -> Option<&'static str> {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if text.is_empty() {
        Some("it is empty")
    } else if text.len() > 63 {
        Some("it is longer than 63 characters")
    } else if text.contains('.') {
        Some("it has a dot, but the tailnet's domain is added by the control server")
    } else if !text.bytes().all(inner) {
        Some("only letters, digits and '-' can be in it")
    } else if text.starts_with('-') || text.ends_with('-') {
        Some("it can't begin or end with '-'")
    } else {
        None
    }
}

fn tag_problem(text: &str) -> Option<&'static str> {
    let Some(name) = text.strip_prefix("tag:") else {
        return Some("tags begin with \"tag:\"");
    };
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if !name.starts_with(|char: char| char.is_ascii_alphabetic()) {
        Some("a letter comes behind \"tag:\"")
    } else if !name.bytes().all(inner) {
        Some("only letters, digits and '-' can be in it")
    } else {
        None
    }
}

/// What is wrong with the URL of a control server, without a word of it.
fn control_url_problem(text: &str) -> Option<&'static str> {
    if let Some(problem) = address::http_problem(text) {
        return Some(problem);
    }
    let uri: http::Uri = text.parse().ok()?;
    let authority = uri.authority().map_or("", http::uri::Authority::as_str);
    let behind_host = authority
        .rsplit_once(']')
        .map_or(authority, |(_, rest)| rest);
    if uri.host().is_none_or(str::is_empty) {
        Some("has no host")
    } else if behind_host.contains(':') && uri.port_u16().is_none_or(|port| port == 0) {
        Some("has a port that is not a number from 1 to 65535")
    } else if uri.query().is_some() || text.contains('#') {
        Some("has a query or a fragment; write scheme, host and port alone")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use crate::config::parse;

    fn errors(section: &str) -> Vec<String> {
        let text = format!(r#"{{"tailnet":{section}}}"#);
        let findings = parse(&text, &|_| None).err().unwrap_or_default();
        findings.into_iter().map(|one| one.message).collect()
    }

    #[test]
    fn what_can_not_work_is_an_error_before_a_node_starts() {
        for (wrong, says) in [
            (r#"{"hostname":""}"#, "empty"),
            (r#"{"hostname":"-ai"}"#, "begin or end with '-'"),
            (r#"{"hostname":"ai-"}"#, "begin or end with '-'"),
            (r#"{"hostname":"ai.example.com"}"#, "has a dot"),
            (r#"{"hostname":"a i"}"#, "letters, digits"),
            (r#"{"hostname":"ai_gw"}"#, "letters, digits"),
            (r#"{"hostname":"ä"}"#, "letters, digits"),
            (r#"{"control_url":"hs.test"}"#, "no scheme"),
            (r#"{"control_url":"hs.test:8080"}"#, "no scheme"),
            (r#"{"control_url":"//hs.test"}"#, "scheme"),
            (r#"{"control_url":"ftp://hs.test"}"#, "scheme"),
            (r#"{"control_url":"http://hs.test:99999"}"#, "port"),
            (r#"{"control_url":"http://hs.test:0"}"#, "port"),
            (r#"{"control_url":"http://hs.test:x"}"#, "URL"),
            (r#"{"control_url":"http://[::1]:99999"}"#, "port"),
            (r#"{"control_url":"http://"}"#, "URL"),
            (r#"{"control_url":"http://hs.test/?a=b"}"#, "query"),
            (r#"{"control_url":"http://hs.test/#x"}"#, "fragment"),
            (r#"{"control_url":"http://u:p@hs.test"}"#, "names a user"),
            (r#"{"tags":["ai"]}"#, "begin with"),
            (r#"{"tags":["tag:"]}"#, "a letter"),
            (r#"{"tags":["tag:1"]}"#, "a letter"),
            (r#"{"tags":["tag:a b"]}"#, "letters, digits"),
            (r#"{"auth_key":"tskey-client-x"}"#, "tags"),
            (r#"{"auth_key":"tskey-auth-x y"}"#, "blank"),
            (r#"{"stale_after":"soon"}"#, "duration"),
            (r#"{"stale_refuses":"some"}"#, "some"),
        ] {
            let found = errors(wrong);
            assert!(
                found.iter().any(|one| one.contains(says)),
                "{wrong}: {found:?}"
            );
        }
        for good in [
            r#"{"hostname":"AI-2"}"#,
            r#"{"control_url":"https://hs.test:8443/"}"#,
            r#"{"control_url":" https://hs.test/base "}"#,
            r#"{"control_url":"http://[::1]:8080"}"#,
            r#"{"tags":["tag:ai","tag:a-1"]}"#,
            r#"{"auth_key":" tskey-auth-x\n"}"#,
            r#"{"stale_after":"0"}"#,
            r#"{"stale_after":"10m","stale_refuses":"policy"}"#,
        ] {
            assert_eq!(errors(good), Vec::<String>::new(), "{good}");
        }
    }

    #[test]
    fn keys_and_urls_are_taken_without_what_surrounds_them() {
        let lookup = |name: &str| match name {
            "KEY" => Some(" tskey-auth-1\r\n".to_owned()),
            "URL" => Some("https://hs.test\n".to_owned()),
            _ => None,
        };
        let text = r#"{"tailnet":{"auth_key":"${KEY}","control_url":"${URL}"}}"#;
        let tailnet = parse(text, &lookup).unwrap().file.tailnet;
        assert_eq!(tailnet.auth_key.expose(), "tskey-auth-1");
        assert_eq!(tailnet.control_url, "https://hs.test");
    }
}
