//! The section `tailnet`. What can't work is an error here, before a node starts with it: there is
//! no safe value to put in its place, and a node that can't join is hard to tell from one that waits.

use super::file::{Mode, StaleRefuses, Tailnet};
use super::table::Table;
use super::{address, credential, later};

pub(super) fn read(table: Table<'_>) -> Tailnet {
    let modes = [
        ("embedded", Mode::Embedded),
        ("host", Mode::Host),
        ("off", Mode::Off),
    ];
    let refuses = [("all", StaleRefuses::All), ("policy", StaleRefuses::Policy)];
    let default = Tailnet::default();
    let read = Tailnet {
        mode: table.choice("mode", &modes).unwrap_or(default.mode),
        hostname: table.string("hostname").unwrap_or(default.hostname),
        auth_key: credential::read(&table, "auth_key"),
        control_url: table
            .string("control_url")
            .map(|url| url.trim().to_owned())
            .unwrap_or_default(),
        ephemeral: table.boolean("ephemeral").unwrap_or_default(),
        tags: table.strings("tags").unwrap_or_default(),
        service: table.string("service").unwrap_or_default(),
        capabilities: table
            .strings("capabilities")
            .unwrap_or(default.capabilities),
        socket: table
            .string("socket")
            .filter(|path| !path.is_empty())
            .map(Into::into),
        stale_after: table.duration("stale_after").unwrap_or_default(),
        stale_refuses: table
            .choice("stale_refuses", &refuses)
            .unwrap_or(default.stale_refuses),
    };
    check(&table, &read);
    table.finish();
    read
}

fn check(table: &Table<'_>, read: &Tailnet) {
    let error = |key: &str, message: String| {
        table
            .findings
            .error(table.position(key), &table.path, message);
    };
    if let Some(problem) = label_problem(&read.hostname) {
        let name = &read.hostname;
        error(
            "hostname",
            format!("invalid host name {name:?}: {problem}; write it as in \"ai\""),
        );
    }
    if !read.control_url.is_empty()
        && let Some(problem) = control_url_problem(&read.control_url)
    {
        let shown = address::shown(&read.control_url);
        error(
            "control_url",
            format!("the control server's URL {shown} {problem}"),
        );
    }
    if let Some((tag, problem)) = read.tags.iter().find_map(|tag| {
        let problem = tag_problem(tag)?;
        Some((tag, problem))
    }) {
        error(
            "tags",
            format!("invalid tag {tag:?}: {problem}; write it as in \"tag:ai\""),
        );
    }
    let key = read.auth_key.expose();
    if key.starts_with("tskey-client-") && read.tags.is_empty() {
        error(
            "auth_key",
            "an OAuth client secret needs `tags` for the node".to_owned(),
        );
    }
    if key.contains(|char: char| char.is_whitespace() || char.is_control()) {
        error(
            "auth_key",
            "the auth key holds a blank or a line break, which no auth key has; look at the variable or the \
             file that it is from: it may hold more than the key"
                .to_owned(),
        );
    }
    if !read.service.is_empty()
        && let Some(item) = table.get("service")
    {
        later::not_yet(&item, "tailnet.service");
    }
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
