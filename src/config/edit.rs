//! Changes to the text of a configuration. Comments and the layout of the rest stay, except that an object
//! on one line that gets a member is broken into lines, and loses blank lines at its ends.

use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstInputValue, CstObject, CstRootNode};

use super::finding::{Finding, Severity};
use super::hujson::{self, Value};

/// Adds a provider after the others.
///
/// # Errors
/// A finding when the text can't be read, or has the provider already.
pub fn with_provider(
    source: &str,
    id: &str,
    provider: &serde_json::Value,
) -> Result<String, Finding> {
    let text = hujson::without_mark(source);
    let mark = &source[..source.len() - text.len()];
    let error = |at, message: String| Finding::new(Severity::Error, at, "providers", message);
    // The nodes that are edited have no positions for findings.
    let root = hujson::parse(text).map_err(|wrong| error(wrong.at, wrong.message))?;
    let Value::Object(members) = &root.value else {
        return Err(error(root.at, "the document is not an object".to_owned()));
    };
    let section = members.iter().rev().find(|one| one.key == "providers");
    if let Some(node) = section.map(|member| &member.node) {
        let Value::Object(providers) = &node.value else {
            return Err(error(node.at, "it is not an object".to_owned()));
        };
        if providers.iter().any(|member| member.key == id) {
            return Err(error(node.at, format!("there is a provider {id} already")));
        }
    }
    let document = CstRootNode::parse(text, &ParseOptions::default())
        .map_err(|wrong| error(root.at, wrong.to_string()))?;
    if let Some(providers) = providers(&document) {
        let members = provider.as_object().into_iter().flatten();
        // A number is written as it is given, and so is any other literal.
        let literal = |value: &serde_json::Value| CstInputValue::Number(value.to_string());
        let members = members.map(|(key, value)| (key.clone(), literal(value)));
        providers.append(id, CstInputValue::Object(members.collect()));
    }
    Ok(format!("{mark}{document}"))
}

/// The section that counts, which is the last of this name, or a new one.
fn providers(document: &CstRootNode) -> Option<CstObject> {
    let root = document.object_value()?;
    let mut sections = root.properties().into_iter().rev();
    let last = sections.find(|one| one.decoded_name().as_deref() == Some("providers"));
    match last {
        Some(section) => section.object_value(),
        None => root.object_value_or_create("providers"),
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
