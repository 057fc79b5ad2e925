//! The settings that a process reads at its start and never again: keys that are declared with
//! `start`. Whatever else changes in a configuration is in force as soon as it is read.

use super::declare::Section;
use super::{Database, File, Limits, Listen, Tailnet};

/// What a process was started with.
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
    pub fn waiting(&self, file: &File) -> Vec<String> {
        let sections = [
            ("tailnet", self.tailnet.waiting(&file.tailnet)),
            ("listen", self.listen.waiting(&file.listen)),
            ("database", self.database.waiting(&file.database)),
            ("limits", self.limits.waiting(&file.limits)),
        ];
        let keys = sections.into_iter().flat_map(|(section, keys)| {
            let key = move |key| format!("{section}.{key}");
            keys.into_iter().map(key)
        });
        keys.collect()
    }
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
