//! Changes to a program's own settings that leave all else in them as it is, comments and layout
//! included.

use jsonc_parser::cst::{CstInputValue, CstObject, CstObjectProp, CstRootNode};
use jsonc_parser::{ParseOptions, parse_to_serde_value};
use serde_json::Value;

use super::dotenv;

/// Keys from the outermost inwards.
type Keys = Vec<String>;

/// What a file should say besides what it says.
#[derive(Clone, Debug)]
pub enum Change {
    /// Values of JSON, with comments or without, by their keys.
    Json(Vec<(Keys, Value)>),
    /// The same, and values that an earlier run of Iris may have put there, which go.
    JsonWithout(Vec<(Keys, Value)>, Vec<(Keys, Value)>),
    /// Values of TOML.
    Toml(Vec<(Keys, toml_edit::Value)>),
    /// Lines of a name, what parts it from its value, and the value.
    Lines(&'static str, Vec<(&'static str, String)>),
    /// Lines at the end, unless they are there.
    Appended(String),
    /// All of it: a file that says something else stays as it is.
    Whole(String),
}

/// Why a file can't be changed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It can't be parsed, or holds something else where keys should be.
    #[error("it can't be read ({0}); mend it, or put the settings in by hand")]
    Broken(String),
    /// It is there, and can't be added to.
    #[error("it is there already; put the settings in by hand")]
    There,
}

impl Change {
    pub(super) fn json<const N: usize>(values: [(&[&str], Value); N]) -> Self {
        Self::Json(values.map(|(keys, value)| (owned(keys), value)).into())
    }

    /// This change, with one more value of JSON.
    pub(super) fn with(mut self, keys: &[&str], value: Value) -> Self {
        if let Self::Json(values) = &mut self {
            values.push((owned(keys), value));
        }
        self
    }

    /// This change, without a value that an earlier one may have put there.
    pub(super) fn without(self, keys: &[&str], value: Value) -> Self {
        match self {
            Self::Json(values) => Self::JsonWithout(values, vec![(owned(keys), value)]),
            other => other,
        }
    }

    /// `a.b` stands for `b` in `a`.
    pub(super) fn toml(values: &[(&str, toml_edit::Value)]) -> Self {
        let values = values.iter();
        let keyed = values.map(|(keys, value)| {
            let keys = keys.split('.').map(str::to_owned).collect();
            (keys, value.clone())
        });
        Self::Toml(keyed.collect())
    }

    /// Lines of a file of variables.
    pub(super) fn variables(env: &[(&'static str, String)]) -> Self {
        let quoted = env.iter().map(|(name, value)| (*name, dotenv(value)));
        Self::Lines("=", quoted.collect())
    }

    /// The text of a file that says nothing else.
    #[must_use]
    pub fn new_file(&self) -> String {
        self.apply("").unwrap_or_default()
    }

    /// The text of a file that says this as well, unless this doesn't fit into it.
    pub fn apply(&self, text: &str) -> Result<String, Unreadable> {
        match self {
            Self::Json(values) => json(text, values, &[]),
            Self::JsonWithout(values, gone) => json(text, values, gone),
            Self::Toml(values) => toml(text, values),
            Self::Lines(between, values) => Ok(lines(text, between, values)),
            Self::Appended(added) if text.contains(added.as_str()) => Ok(text.to_owned()),
            Self::Appended(added) => Ok(format!("{}{added}", ended(text))),
            Self::Whole(whole) if text.is_empty() || text == whole => Ok(whole.clone()),
            Self::Whole(_) => Err(Unreadable::There),
        }
    }

    /// The keys of what an earlier run has put into a file and this change takes out.
    pub fn leftovers(&self, text: &str) -> Vec<String> {
        let Self::JsonWithout(_, gone) = self else {
            return Vec::new();
        };
        let root = CstRootNode::parse(text, &ParseOptions::default()).ok();
        let Some(root) = root.and_then(|root| root.object_value()) else {
            return Vec::new();
        };
        let left = gone
            .iter()
            .filter(|(keys, value)| property(&root, keys, value).is_some());
        left.map(|(keys, _)| keys.join(".")).collect()
    }
}

/// A text that ends with a line's end, if there is any.
fn ended(text: &str) -> String {
    if text.is_empty() || text.ends_with('\n') {
        text.to_owned()
    } else {
        format!("{text}\n")
    }
}

fn owned(keys: &[&str]) -> Keys {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

fn json(
    text: &str,
    values: &[(Keys, Value)],
    gone: &[(Keys, Value)],
) -> Result<String, Unreadable> {
    let is_new = text.trim().is_empty();
    let text = if is_new { "{}\n" } else { text };
    let root = CstRootNode::parse(text, &ParseOptions::default())
        .map_err(|error| Unreadable::Broken(error.to_string()))?;
    let no_object = || Unreadable::Broken("it holds no JSON object".to_owned());
    let root_object = root.object_value().ok_or_else(no_object)?;
    for (keys, value) in values {
        let Some((last, outer)) = keys.split_last() else {
            continue;
        };
        let mut object = root_object.clone();
        for key in outer {
            let no_object = || Unreadable::Broken(format!("{key:?} is not an object in it"));
            object = object.object_value_or_create(key).ok_or_else(no_object)?;
        }
        match object.get(last) {
            Some(property) => property.set_value(input(value)),
            None => drop(object.append(last, input(value))),
        }
    }
    for (keys, value) in gone {
        if let Some(property) = property(&root_object, keys, value) {
            property.remove();
        }
    }
    if is_new {
        root_object.ensure_multiline();
    }
    Ok(root.to_string())
}

/// The property at some keys, if it has a value.
fn property(root: &CstObject, keys: &[String], value: &Value) -> Option<CstObjectProp> {
    let (last, outer) = keys.split_last()?;
    let mut outer = outer.iter();
    let object = outer.try_fold(root.clone(), |object, key| object.object_value(key))?;
    let property = object.get(last)?;
    is(&property.value()?.to_string(), value).then_some(property)
}

/// Whether a text stands for a value.
fn is(text: &str, value: &Value) -> bool {
    let read = parse_to_serde_value::<Value>(text, &ParseOptions::default());
    read.is_ok_and(|read| read == *value)
}

fn input(value: &Value) -> CstInputValue {
    match value {
        Value::Null => CstInputValue::Null,
        Value::Bool(is) => CstInputValue::Bool(*is),
        Value::Number(number) => CstInputValue::Number(number.to_string()),
        Value::String(text) => CstInputValue::String(text.clone()),
        Value::Array(all) => CstInputValue::Array(all.iter().map(input).collect()),
        Value::Object(members) => CstInputValue::Object(
            members
                .iter()
                .map(|(key, value)| (key.clone(), input(value)))
                .collect(),
        ),
    }
}

fn toml(text: &str, values: &[(Keys, toml_edit::Value)]) -> Result<String, Unreadable> {
    let mut document: toml_edit::DocumentMut = text
        .parse()
        .map_err(|error: toml_edit::TomlError| Unreadable::Broken(error.message().to_owned()))?;
    for (keys, value) in values {
        let Some((last, outer)) = keys.split_last() else {
            continue;
        };
        let mut table: &mut dyn toml_edit::TableLike = document.as_table_mut();
        for (nth, key) in outer.iter().enumerate() {
            let entry = table.entry(key).or_insert_with(|| {
                let mut table = toml_edit::Table::new();
                table.set_implicit(nth + 1 < outer.len());
                table.into()
            });
            table = entry
                .as_table_like_mut()
                .ok_or_else(|| Unreadable::Broken(format!("{key:?} is not a table in it")))?;
        }
        let mut value = value.clone();
        match table.get_mut(last) {
            // With the blanks and the comment that the old one has.
            Some(toml_edit::Item::Value(old)) => {
                *value.decor_mut() = old.decor().clone();
                *old = value;
            }
            _ => drop(table.insert(last, toml_edit::Item::Value(value))),
        }
    }
    Ok(document.to_string())
}

fn lines(text: &str, between: &str, values: &[(&'static str, String)]) -> String {
    let mut out = ended(text);
    for (name, value) in values {
        let line = format!("{name}{between}{value}");
        let start = format!("{name}{}", between.trim_end());
        let is_it = |old: &&str| old.starts_with(&start);
        if out.lines().any(|old| is_it(&old)) {
            let all = out
                .lines()
                .map(|old| if is_it(&old) { line.as_str() } else { old });
            out = all.flat_map(|line| [line, "\n"]).collect();
        } else {
            out += &(line + "\n");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_keeps_what_it_does_not_change() {
        let change = Change::json([
            (&["env", "URL"][..], json!("http://ai")),
            (&["model"], json!("m")),
        ]);
        let text = "{\n  // mine\n  \"theme\": \"dark\", // and this\n  \"env\": {\n    \"URL\": \"old\",\n    \"OTHER\": 1\n  }\n}\n";
        let changed = change.apply(text).unwrap();
        assert_eq!(
            changed,
            "{\n  // mine\n  \"theme\": \"dark\", // and this\n  \"env\": {\n    \"URL\": \"http://ai\",\n    \"OTHER\": 1\n  },\n  \"model\": \"m\"\n}\n"
        );
        assert_eq!(change.apply(&changed).unwrap(), changed);
        assert!(matches!(change.apply("{"), Err(Unreadable::Broken(_))));
        assert!(matches!(change.apply("[]"), Err(Unreadable::Broken(_))));
        let wrong = change.apply("{\"env\": 1}").unwrap_err().to_string();
        assert!(wrong.contains("\"env\" is not an object"), "{wrong}");
        let new: Value = serde_json::from_str(&change.new_file()).unwrap();
        assert_eq!(new, json!({ "env": { "URL": "http://ai" }, "model": "m" }));
    }

    #[test]
    fn only_what_an_earlier_run_has_put_there_goes() {
        let change =
            Change::json([(&["model"][..], json!("m"))]).without(&["helper"], json!("echo"));
        let mine = "{\n  \"helper\": \"mine\" // mine\n}\n";
        let changed = change.apply(mine).unwrap();
        assert!(
            changed.contains("\"helper\": \"mine\", // mine"),
            "{changed}"
        );
        let changed = change
            .apply("{\n  \"helper\": \"echo\",\n  \"a\": 1\n}\n")
            .unwrap();
        assert!(
            !changed.contains("helper") && changed.contains("\"a\": 1"),
            "{changed}"
        );
        assert_eq!(change.apply(&changed).unwrap(), changed);
    }

    #[test]
    fn toml_keeps_what_it_does_not_change() {
        let change = Change::toml(&[
            ("model", "m".into()),
            ("providers.iris.url", "http://ai".into()),
        ]);
        let text = "# mine\nmodel = \"old\" # and this\n\n[providers.other]\nurl = \"x\"\n";
        let changed = change.apply(text).unwrap();
        assert!(
            changed.starts_with("# mine\nmodel = \"m\" # and this\n"),
            "{changed}"
        );
        assert!(
            changed.contains("[providers.other]\nurl = \"x\""),
            "{changed}"
        );
        assert!(
            changed.contains("[providers.iris]\nurl = \"http://ai\""),
            "{changed}"
        );
        assert_eq!(change.apply(&changed).unwrap(), changed);
        assert!(matches!(change.apply("= 1"), Err(Unreadable::Broken(_))));
    }

    #[test]
    fn lines_are_replaced_or_added() {
        let change = Change::Lines("=", vec![("A", "1".to_owned()), ("B", "2".to_owned())]);
        let changed = change.apply("X=0\nA=9\nAB=3").unwrap();
        assert_eq!(changed, "X=0\nA=1\nAB=3\nB=2\n");
        assert_eq!(change.apply(&changed).unwrap(), changed);
        assert_eq!(change.new_file(), "A=1\nB=2\n");
    }

    #[test]
    fn what_can_not_be_added_to_stays() {
        let whole = Change::Whole("a: 1\n".to_owned());
        assert_eq!(whole.apply("").unwrap(), "a: 1\n");
        assert_eq!(whole.apply("a: 1\n").unwrap(), "a: 1\n");
        assert_eq!(whole.apply("b: 2\n"), Err(Unreadable::There));
        let more = Change::Appended("- a\n".to_owned());
        assert_eq!(more.apply("- b").unwrap(), "- b\n- a\n");
        assert_eq!(more.apply("- b\n- a\n").unwrap(), "- b\n- a\n");
    }
}
