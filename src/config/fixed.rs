//! The settings that a process reads at its start and never again. Whatever else changes in a
//! configuration is in force as soon as it is read.

use super::{Database, File, Limits, Listen, Tailnet};

/// What a process was started with. Sections are taken apart by name here, so that a new key
/// does not compile until it is decided which kind it is.
#[derive(Clone, Debug)]
pub struct Fixed {
    tailnet: Tailnet,
    listen: Listen,
    limits: Limits,
    database: Database,
}

impl Fixed {
    /// Remembers what this file says.
    #[must_use]
    pub fn of(file: &File) -> Self {
        Self {
            tailnet: file.tailnet.clone(),
            listen: file.listen.clone(),
            limits: file.limits,
            database: file.database.clone(),
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn listen(&self) -> &Listen {
        &self.listen
    }

    /// The keys that another file has other values for: they wait for the next start.
    #[must_use]
    pub fn waiting(&self, file: &File) -> Vec<&'static str> {
        let Tailnet {
            mode,
            hostname,
            auth_key,
            control_url,
            ephemeral,
            tags,
            // Does nothing yet.
            service: _,
            // Looked at for each request.
            capabilities: _,
            socket,
            // Set anew whenever a configuration is read.
            stale_after: _,
            stale_refuses: _,
        } = &self.tailnet;
        let Listen {
            http,
            https,
            loopback,
            // The doors follow it.
            names: _,
        } = &self.listen;
        let Limits {
            connections,
            // Those of a connection and of a request are read when one comes.
            request_body: _,
            request_head: _,
            capture: _,
            // Those who hold more than a new bound allows go on.
            memory: _,
        } = &self.limits;
        let Database {
            url,
            // The ledger takes these while it runs.
            retention: _,
            save_raws: _,
            keep_encrypted_blobs: _,
            filterable: _,
        } = &self.database;
        let (tailnet, listen) = (&file.tailnet, &file.listen);
        let all = [
            ("tailnet.mode", *mode == tailnet.mode),
            ("tailnet.hostname", *hostname == tailnet.hostname),
            ("tailnet.auth_key", *auth_key == tailnet.auth_key),
            ("tailnet.control_url", *control_url == tailnet.control_url),
            ("tailnet.ephemeral", *ephemeral == tailnet.ephemeral),
            ("tailnet.tags", *tags == tailnet.tags),
            ("tailnet.socket", *socket == tailnet.socket),
            ("listen.http", *http == listen.http),
            ("listen.https", *https == listen.https),
            ("listen.loopback", *loopback == listen.loopback),
            (
                "database.url",
                without_password(url.expose()) == without_password(file.database.url.expose()),
            ),
            (
                "limits.connections",
                *connections == file.limits.connections,
            ),
        ];
        let waiting = all.into_iter().filter(|(_, is_same)| !is_same);
        waiting.map(|(key, _)| key).collect()
    }
}

/// A URL without its password, which the ledger takes for new connections.
fn without_password(url: &str) -> (&str, &str) {
    let Some((scheme, rest)) = url.split_once("://") else {
        return ("", url);
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let Some((user, _)) = authority.rsplit_once('@') else {
        return ("", url);
    };
    let name = user.split(':').next().unwrap_or_default();
    (&url[..scheme.len() + 3 + name.len()], &rest[user.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn file(text: &str) -> File {
        parse(text, &|_| None).unwrap().file
    }

    #[test]
    fn keys_that_are_read_once_wait_and_others_do_not() {
        let before = r#"{"tailnet":{"mode":"off"},"listen":{"loopback":"127.0.0.1:8088"}}"#;
        let fixed = Fixed::of(&file(before));
        for (after, waiting) in [
            (before, &[][..]),
            (
                r#"{"tailnet":{"mode":"off","hostname":"gw"},"listen":{"loopback":"127.0.0.1:9000"}}"#,
                &["tailnet.hostname", "listen.loopback"],
            ),
            (
                r#"{"listen":{"loopback":"127.0.0.1:8088","http":":8080","https":""}}"#,
                &["tailnet.mode", "listen.http", "listen.https"],
            ),
            (
                r#"{"tailnet":{"mode":"off","capabilities":["a/b"]},"listen":{"loopback":"127.0.0.1:8088","names":["gw"]},
                    "limits":{"request_body":1000},"timeouts":{"idle":"1m"},"database":{"retention":{"duration":"2h"}},
                    "chat":{"history":"ledger"}}"#,
                &[],
            ),
            (
                r#"{"tailnet":{"mode":"off"},"listen":{"loopback":"127.0.0.1:8088"},
                    "limits":{"connections":10},"database":{"url":"sqlite:other.db"}}"#,
                &["database.url", "limits.connections"],
            ),
        ] {
            assert_eq!(fixed.waiting(&file(after)), waiting, "{after}");
        }
    }
}
