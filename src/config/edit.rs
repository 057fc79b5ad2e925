//! Changes to the text of a configuration that leave all the rest of it as it is, comments and
//! layout included.

use super::finding::{Finding, Severity};
use super::hujson::{self, Node, Value};

/// Adds a provider after the others.
///
/// # Errors
/// A finding when the text can't be read, or has the provider already.
pub fn with_provider(
    source: &str,
    id: &str,
    provider: &serde_json::Value,
) -> Result<String, Finding> {
    let mark = source.len() - without_mark(source).len();
    let text = without_mark(source);
    let error = |at, message: String| Finding::new(Severity::Error, at, "providers", message);
    let root = hujson::parse(text).map_err(|wrong| error(wrong.at, wrong.message))?;
    let Value::Object(members) = &root.value else {
        return Err(error(root.at, "the document is not an object".to_owned()));
    };
    let section = members
        .iter()
        .rev()
        .find(|member| member.key == "providers");
    let edited = match section.map(|member| &member.node) {
        None => {
            let indent = indent(text, &root, 1);
            let inner = format!("{indent}{}", step(&indent));
            let literal = literal(provider, &inner);
            let key = serde_json::Value::from(id);
            let section = format!("{{\n{inner}{key}: {literal},\n{indent}}}");
            insert(text, &root, &indent, ("providers", &section))
        }
        Some(node) => {
            let Value::Object(providers) = &node.value else {
                return Err(error(node.at, "it is not an object".to_owned()));
            };
            if providers.iter().any(|member| member.key == id) {
                return Err(error(node.at, format!("there is a provider {id} already")));
            }
            let indent = indent(text, node, 2);
            insert(text, node, &indent, (id, &literal(provider, &indent)))
        }
    };
    Ok(format!("{}{edited}", &source[..mark]))
}

fn without_mark(source: &str) -> &str {
    source.strip_prefix('\u{feff}').unwrap_or(source)
}

/// A value over several lines, of which the first stands behind its key.
fn literal(value: &serde_json::Value, indent: &str) -> String {
    let serde_json::Value::Object(members) = value else {
        return value.to_string();
    };
    let inner = format!("{indent}{}", step(indent));
    let lines: Vec<String> = members
        .iter()
        .map(|(key, value)| {
            format!(
                "{inner}{}: {value},\n",
                serde_json::Value::from(key.as_str())
            )
        })
        .collect();
    format!("{{\n{}{indent}}}", lines.concat())
}

/// How much deeper the next level is: as much as this text goes in tabs or spaces.
fn step(indent: &str) -> &'static str {
    if indent.contains('\t') { "\t" } else { "  " }
}

/// The blanks in front of the members of an object: those of the last one, if it begins a line.
fn indent(text: &str, object: &Node, depth: usize) -> String {
    let last = last(object);
    let blanks = last.and_then(|(key, _)| {
        let line = text[..key].rfind('\n').map_or(0, |at| at + 1);
        let before = &text[line..key];
        before.chars().all(char::is_whitespace).then_some(before)
    });
    blanks.map_or_else(|| "  ".repeat(depth), str::to_owned)
}

/// Where the last member of an object begins and ends.
fn last(object: &Node) -> Option<(usize, usize)> {
    let Value::Object(members) = &object.value else {
        return None;
    };
    let member = members.last()?;
    Some((member.starts, member.node.bytes.end))
}

/// Adds a member to an object, after what stands behind its last one in the same line.
fn insert(text: &str, object: &Node, indent: &str, (key, literal): (&str, &str)) -> String {
    let member = format!("{}: {literal}", serde_json::Value::from(key));
    let Some((_, end)) = last(object) else {
        let open = object.bytes.start + 1;
        let outer = &indent[..indent.len().saturating_sub(step(indent).len())];
        // What stands between the braces is blanks and comments, which may end in the middle of
        // a line.
        let close = object.bytes.end - 1;
        let kept = text[open..close].trim_end();
        return format!(
            "{}{kept}\n{indent}{member},\n{outer}{}",
            &text[..open],
            &text[close..]
        );
    };
    let comma = skip(text, end, true);
    let has_comma = text[comma..].starts_with(',');
    // Behind the comma, or the value, and the comment that goes with it.
    let at = skip(text, if has_comma { comma + 1 } else { end }, false);
    let before = if has_comma {
        text[..at].to_owned()
    } else {
        format!("{},{}", &text[..end], &text[end..at])
    };
    let rest = &text[at..];
    let comma = if has_comma { "," } else { "" };
    // What goes on in the same line begins one of its own.
    let line = if rest.starts_with(['\n', '\r']) {
        String::new()
    } else {
        format!(
            "\n{}",
            &indent[..indent.len().saturating_sub(step(indent).len())]
        )
    };
    format!("{before}\n{indent}{member}{comma}{line}{rest}")
}

/// Goes over blanks and comments; over the ends of lines too, if they may be passed.
fn skip(text: &str, from: usize, lines: bool) -> usize {
    let mut at = from;
    loop {
        let rest = &text[at..];
        let blanks = rest
            .find(|char: char| {
                !(matches!(char, ' ' | '\t') || lines && matches!(char, '\n' | '\r'))
            })
            .unwrap_or(rest.len());
        let behind = &rest[blanks..];
        let comment = if behind.starts_with("//") {
            behind.find(['\n', '\r']).unwrap_or(behind.len())
        } else if behind.starts_with("/*") {
            behind.find("*/").map_or(behind.len(), |end| end + 2)
        } else {
            // Blanks in front of what is next belong to it.
            return if lines || behind.starts_with(['\n', '\r']) {
                at + blanks
            } else {
                at
            };
        };
        at += blanks + comment;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn added(text: &str) -> String {
        let provider = json!({ "baseurl": "http://box:11434", "models": ["a", "b"] });
        let edited = with_provider(text, "new", &provider).unwrap();
        let loaded = super::super::parse(&edited, &|_| Some("x".to_owned())).unwrap();
        let new = &loaded.file.providers["new"];
        assert_eq!(
            (&*new.baseurl, new.models.len()),
            ("http://box:11434", 2),
            "{edited}"
        );
        assert_eq!(loaded.file.providers.keys().last().unwrap(), "new");
        edited
    }

    const NEW: &str = "    \"new\": {\n      \"baseurl\": \"http://box:11434\",\n      \"models\": [\"a\",\"b\"],\n    }";

    #[test]
    fn everything_else_stays_as_it_is() {
        let text = "// Ours.\n{\n  \"providers\": { // all of them\n    \"p\": { \"baseurl\": \"http://p\", \"models\": [\"m\"] }, // the old box\n    // nothing more\n  },\n  \"grants\": [], /* none */\n}\n";
        let edited = added(text);
        assert_eq!(edited.replace(&format!("\n{NEW},"), ""), text);
        assert!(edited.contains("// the old box\n    \"new\""), "{edited}");
    }

    #[test]
    fn a_comma_is_put_where_there_was_none() {
        let text = "{\n\t\"providers\": {\n\t\t\"p\": { \"baseurl\": \"http://p\" } // old\n\t}\n}";
        let edited = added(text);
        assert!(
            edited.contains(
                "{ \"baseurl\": \"http://p\" }, // old\n\t\t\"new\": {\n\t\t\t\"baseurl\""
            ),
            "{edited}"
        );
        assert!(edited.ends_with("\t\t}\n\t}\n}"), "{edited}");
    }

    #[test]
    fn every_layout_can_be_added_to() {
        for text in [
            "{}",
            "{ }",
            "\u{feff}{\"providers\":{}}",
            "{\"providers\":{ /* none yet */ }}",
            "{\"providers\":{ // none yet\n}}",
            "{\"providers\":{\"p\":{}}}",
            "{\"providers\":{\"p\":{},}}",
            "{\"providers\":{\"p\":{} /* a */ , /* b */ }}",
            "{\"providers\":{\"p\":{} // a\n, // b\n}}",
            "{\"providers\":{\"p\":{} // a\r\n}}",
            "{\"tailnet\":{\"mode\":\"off\"}}",
            "{\n  \"tailnet\": {\"mode\":\"off\"}, // x\n}",
            "{\"providers\":{\"x\":{}},\"providers\":{\"p\":{}}}",
        ] {
            let edited = added(text);
            assert_eq!(edited.starts_with('\u{feff}'), text.starts_with('\u{feff}'));
        }
        let shown = include_str!("../../config/example.hujson");
        let edited = added(shown);
        let kept: String = edited.replacen(&format!("\n{NEW},"), "", 1);
        assert_eq!(kept, shown);
    }

    #[test]
    fn what_can_not_be_added_to_is_said() {
        let provider = json!({});
        for text in [
            "",
            "[]",
            "{",
            "{\"providers\":[]}",
            "{\"providers\":{\"new\":{}}}",
        ] {
            assert!(with_provider(text, "new", &provider).is_err(), "{text}");
        }
    }
}
