//! A configuration as it may be shown: every secret in its text has a placeholder in its place,
//! and the rest is as it was, comments included. Where such a text comes back, the placeholders
//! stand for the secrets that were there before.

use std::collections::BTreeMap;
use std::ops::Range;

use super::finding::{Finding, Severity};
use super::hujson::{self, Node, Position, Value};

/// Stands for a secret.
pub const PLACEHOLDER: &str = "[redacted]";

/// Keys whose strings are secrets, wherever they stand.
const SECRET: [&str; 12] = [
    "apikey",
    "api_key",
    "access_secret",
    "access_key_id",
    "auth_key",
    "client_secret",
    "private_key",
    "secret",
    "secret_key",
    "password",
    "token",
    "session_token",
];

/// Parts of a header's name that tell of a credential in its value.
const CREDENTIAL: [&str; 7] = [
    "authorization",
    "cookie",
    "token",
    "secret",
    "key",
    "password",
    "credential",
];

/// A part of a document that is secret: where it stands, and what leads there.
struct Secret {
    path: String,
    at: Position,
    /// The bytes of the literal that holds it.
    bytes: Range<usize>,
    /// What the literal says without the secret.
    before: String,
    after: String,
    /// The secret.
    text: String,
}

/// The text without its secrets. References to the environment and to files are none.
///
/// # Errors
/// A finding when the text can't be read: nobody knows then what in it is secret.
pub fn redacted(text: &str) -> Result<String, Finding> {
    let secrets = find(text)?;
    Ok(replaced(text, &secrets, |_| PLACEHOLDER.to_owned()))
}

/// The text with the secrets of `stored` where it has placeholders.
///
/// # Errors
/// All placeholders for which there is no secret, or the finding of a text that can't be read.
pub fn restored(text: &str, stored: &str) -> Result<String, Vec<Finding>> {
    let wanted = find(text).map_err(|finding| vec![finding])?;
    let known: BTreeMap<String, String> = match find(stored) {
        Ok(secrets) => secrets
            .into_iter()
            .map(|secret| (secret.path, secret.text))
            .collect(),
        Err(_) => BTreeMap::new(),
    };
    let lost: Vec<Finding> = wanted
        .iter()
        .filter(|secret| secret.text == PLACEHOLDER)
        .filter(|secret| {
            known
                .get(&secret.path)
                .is_none_or(|text| text == PLACEHOLDER)
        })
        .map(|secret| {
            let message = format!("{PLACEHOLDER} stands for a secret that is not stored here");
            Finding::new(Severity::Error, secret.at, &secret.path, message)
                .hint("write the secret itself, or a reference to it such as ${NAME}")
        })
        .collect();
    if !lost.is_empty() {
        return Err(lost);
    }
    Ok(replaced(text, &wanted, |secret| {
        if secret.text == PLACEHOLDER {
            known.get(&secret.path).cloned().unwrap_or_default()
        } else {
            secret.text.clone()
        }
    }))
}

fn replaced(text: &str, secrets: &[Secret], by: impl Fn(&Secret) -> String) -> String {
    let (mark, text) = text
        .strip_prefix('\u{feff}')
        .map_or(("", text), |text| ("\u{feff}", text));
    let mut out = String::from(mark);
    let mut at = 0;
    for secret in secrets {
        let said = by(secret);
        out.push_str(&text[at..secret.bytes.start]);
        if said == secret.text {
            // As it was written, escapes and all.
            out.push_str(&text[secret.bytes.clone()]);
        } else {
            let whole = format!("{}{said}{}", secret.before, secret.after);
            out.push_str(&serde_json::Value::from(whole).to_string());
        }
        at = secret.bytes.end;
    }
    out.push_str(&text[at..]);
    out
}

fn find(text: &str) -> Result<Vec<Secret>, Finding> {
    let root = hujson::parse(text)
        .map_err(|error| Finding::new(Severity::Error, error.at, "", error.message))?;
    let mut found = Vec::new();
    walk(&root, "", "", &mut found);
    Ok(found)
}

fn walk(node: &Node, path: &str, key: &str, found: &mut Vec<Secret>) {
    match &node.value {
        Value::Object(members) => {
            for member in members {
                let below = if path.is_empty() {
                    member.key.clone()
                } else {
                    format!("{path}.{}", member.key)
                };
                // A map of headers, whose keys are their names.
                if key == "headers" && is_credential(&member.key) {
                    whole(&member.node, &below, found);
                } else {
                    walk(&member.node, &below, &member.key, found);
                }
            }
        }
        Value::Array(items) => {
            for (nth, item) in items.iter().enumerate() {
                if key.ends_with("headers") && is_header(item, path, found) {
                    continue;
                }
                walk(item, &format!("{path}[{nth}]"), key, found);
            }
        }
        Value::String(_) if SECRET.contains(&key.to_ascii_lowercase().as_str()) => {
            whole(node, path, found);
        }
        Value::String(text) if text.contains("://") => password(node, text, path, found),
        _ => {}
    }
}

fn is_credential(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    CREDENTIAL.iter().any(|part| name.contains(part))
}

/// A string that is secret as a whole.
fn whole(node: &Node, path: &str, found: &mut Vec<Secret>) {
    if let Value::String(text) = &node.value {
        part(node, path, ("", text, ""), found);
    }
}

/// `Name: value`, where the name tells of a credential.
fn is_header(node: &Node, path: &str, found: &mut Vec<Secret>) -> bool {
    let Value::String(text) = &node.value else {
        return false;
    };
    let Some((name, value)) = text.split_once(':').filter(|(name, _)| is_credential(name)) else {
        return false;
    };
    let value = value.trim_start();
    let before = &text[..text.len() - value.len()];
    let path = format!("{path}.{}", name.trim().to_ascii_lowercase());
    part(node, &path, (before, value, ""), found);
    true
}

/// The password of a URL.
fn password(node: &Node, text: &str, path: &str, found: &mut Vec<Secret>) {
    let Some(start) = text.find("://").map(|at| at + 3) else {
        return;
    };
    let end = text[start..].find('/').map_or(text.len(), |at| start + at);
    let Some(at) = text[start..end].rfind('@').map(|at| start + at) else {
        return;
    };
    let Some(colon) = text[start..at].find(':').map(|colon| start + colon + 1) else {
        return;
    };
    let parts = (&text[..colon], &text[colon..at], &text[at..]);
    part(node, path, parts, found);
}

fn part(node: &Node, path: &str, parts: (&str, &str, &str), found: &mut Vec<Secret>) {
    let (before, text, after) = parts;
    let is_reference = text.contains("${") && !text.contains("$${");
    if text.is_empty() || is_reference {
        return;
    }
    found.push(Secret {
        path: path.to_owned(),
        at: node.at,
        bytes: node.bytes.clone(),
        before: before.to_owned(),
        after: after.to_owned(),
        text: text.to_owned(),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = r#"// keys
{
  "tailnet": { "auth_key": "CANARY-1", "tags": ["tag:ai"] }, /* "apikey": "no secret" */
  "providers": {
    "a": { "baseurl": "http://a", "apikey": "CANARY\u002d2", "models": ["m"],
      "add_headers": ["X-Team: red", "Authorization: Bearer CANARY-3", "X-Api-Key:CANARY-4",], },
    "b": { "apikey": "${KEY}" },
    "c": { "apikey": "" },
  },
  "database": { "url": "postgres://iris:CANARY-5@db/iris?sslmode=require" },
  "exporters": { "otlp": { "endpoint": "http://o", "headers": { "authorization": "CANARY-6", "x-dataset": "iris" } } },
}
"#;

    #[test]
    fn secrets_go_and_everything_else_stays() {
        let shown = redacted(DOCUMENT).unwrap();
        assert!(!shown.contains("CANARY"), "{shown}");
        for kept in [
            "// keys\n",
            r#"/* "apikey": "no secret" */"#,
            r#""X-Team: red""#,
            r#""Authorization: [redacted]""#,
            r#""X-Api-Key:[redacted]",]"#,
            r#""${KEY}""#,
            r#""apikey": """#,
            r#""postgres://iris:[redacted]@db/iris?sslmode=require""#,
            r#""x-dataset": "iris""#,
        ] {
            assert!(shown.contains(kept), "{kept}: {shown}");
        }
    }

    #[test]
    fn what_comes_back_is_what_was_there() {
        let shown = redacted(DOCUMENT).unwrap();
        let back = restored(&shown, DOCUMENT).unwrap();
        assert_eq!(back.replace("CANARY-2", "CANARY\\u002d2"), DOCUMENT);
        assert_eq!(redacted(&back).unwrap(), shown);
        // Written anew, a secret is the new one; one that was taken away is gone.
        let changed = shown
            .replacen("\"[redacted]\"", "\"NEW\"", 1)
            .replace("\"X-Api-Key:[redacted]\",", "");
        let back = restored(&changed, DOCUMENT).unwrap();
        assert!(back.contains("NEW") && !back.contains("CANARY-1") && !back.contains("CANARY-4"));
    }

    #[test]
    fn a_placeholder_for_nothing_is_told_of() {
        let text = r#"{"providers":{"new":{"apikey":"[redacted]"}}}"#;
        let findings = restored(text, DOCUMENT).unwrap_err();
        assert_eq!(findings[0].path, "providers.new.apikey");
        assert!(restored("{", DOCUMENT).is_err() && redacted("{").is_err());
    }
}
