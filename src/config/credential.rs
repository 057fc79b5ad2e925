//! Credentials as people store them: with a line break or a blank at an end, which no key has and
//! which is dropped. What no header can carry is found, and never shown.

use super::finding::{Finding, Severity, Subject};
use super::keyfile;
use super::table::{Item, Table};
use crate::secret::Secret;

/// The credential under a key; empty where there is none.
pub(super) fn read(table: &Table<'_>, key: &'static str) -> Secret {
    let item = table.get(key);
    item.and_then(|item| of(&item)).unwrap_or_default()
}

/// A credential from its value.
pub(super) fn of(item: &Item<'_>) -> Option<Secret> {
    let text = item.string()?.trim();
    if let Some(what) = unfit(text) {
        let message = format!("{} {what}, which no key in an HTTP header has", item.path);
        let finding = Finding::new(Severity::Warning, item.node.at, &item.path, message)
            .about(Subject::Credential)
            .hint(
                "look at the variable or the file that it is from: it may hold more than the key",
            );
        item.findings.add(finding);
    }
    Some(Secret::new(text.to_owned()))
}

/// What in a credential can't be sent.
fn unfit(text: &str) -> Option<&'static str> {
    if text.starts_with(keyfile::PREFIX) {
        return None;
    }
    if text.contains(['\n', '\r']) {
        Some("holds a line break")
    } else if text.chars().any(char::is_control) {
        Some("holds a control character")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Severity, parse};

    const FIELDS: [(&str, &str); 7] = [
        (
            "providers.p.apikey",
            r#"{"providers":{"p":{"baseurl":"http://p","models":["m"],"apikey":"KEY"}}}"#,
        ),
        (
            "hooks.h.apikey",
            r#"{"hooks":{"h":{"url":"http://h","apikey":"KEY"}}}"#,
        ),
        ("tailnet.auth_key", r#"{"tailnet":{"auth_key":"KEY"}}"#),
        (
            "exporters.s3.access_key_id",
            r#"{"exporters":{"s3":{"bucket_name":"b","access_key_id":"KEY","access_secret":"s"}}}"#,
        ),
        (
            "exporters.s3.access_secret",
            r#"{"exporters":{"s3":{"bucket_name":"b","access_key_id":"i","access_secret":"KEY"}}}"#,
        ),
        (
            "exporters.otlp.headers.x-team",
            r#"{"exporters":{"otlp":{"endpoint":"http://o","headers":{"x-team":"KEY"}}}}"#,
        ),
        (
            "providers.p",
            r#"{"providers":{"p":{"baseurl":"http://p","models":["m"],"add_headers":["X-Team: KEY"]}}}"#,
        ),
    ];

    fn findings(text: &str, key: &str) -> Vec<crate::config::Finding> {
        let quoted = serde_json::to_string(key).unwrap();
        let inline = text.replace("KEY", quoted.trim_matches('"'));
        let by_name = text.replace("KEY", "${THE_KEY}");
        let lookup = |name: &str| (name == "THE_KEY").then(|| key.to_owned());
        let mut all = Vec::new();
        for text in [inline, by_name] {
            all.extend(parse(&text, &lookup).map_or_else(|all| all, |loaded| loaded.findings));
        }
        all.retain(|one| one.severity == Severity::Warning && one.message.contains("header"));
        all
    }

    #[test]
    fn blanks_around_a_key_are_dropped_and_what_no_header_carries_is_found() {
        for (path, text) in FIELDS {
            for good in ["k-1234", "k-1234\n", " k-1234\r\n\n", "k-1234 \t"] {
                let found = findings(text, good);
                assert!(found.is_empty(), "{path} {good:?}: {found:#?}");
            }
            for wrong in ["k-12\nCANARY34", "k-12\u{0}CANARY", "CANARY\u{7f}1"] {
                let found = findings(text, wrong);
                assert_eq!(found.len(), 2, "{path} {wrong:?}: {found:#?}");
                for one in found {
                    assert!(one.path.starts_with(path), "{one:?}");
                    assert!(!format!("{one:?}").contains("CANARY"), "{one:?}");
                }
            }
        }
    }

    #[test]
    fn a_key_is_sent_without_what_surrounds_it() {
        let lookup = |name: &str| (name == "K").then(|| "sk-1\r\n".to_owned());
        let text = r#"{"providers":{"p":{"apikey":"${K}"}},"hooks":{"h":{"apikey":" sk-2\n"}},
            "exporters":{"otlp":{"endpoint":"http://o","headers":{"a":"Bearer ${K}"}}}}"#;
        let file = parse(text, &lookup).unwrap().file;
        assert_eq!(file.providers["p"].apikey.expose(), "sk-1");
        assert_eq!(file.hooks["h"].apikey.expose(), "sk-2");
        let otlp = file.exporters.otlp.unwrap();
        assert_eq!(otlp.headers[0].1.expose(), "Bearer sk-1");
    }
}
