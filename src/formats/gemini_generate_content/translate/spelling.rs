//! One spelling of a caller's body. Google's parsers take a field by its name in JSON and by the one in
//! its definition (`inlineData`, `inline_data`), a lone value in place of a list, and whole numbers as
//! strings or with a fraction of zero. The rest of the codec reads what the API's reference shows.

use std::collections::HashSet;

use crate::formats::translate::{Fields, Json, Object, Untranslatable};

/// Fields whose values are the caller's own.
const OPAQUE: [&str; 9] = [
    "args",
    "default",
    "example",
    "labels",
    "parametersJsonSchema",
    "partMetadata",
    "response",
    "responseJsonSchema",
    "_responseJsonSchema",
];
/// Fields whose keys are the caller's own.
const MAPS: [&str; 3] = ["$defs", "defs", "properties"];
/// Fields that are lists.
const LISTS: [&str; 8] = [
    "allowedFunctionNames",
    "contents",
    "functionDeclarations",
    "parts",
    "responseModalities",
    "safetySettings",
    "stopSequences",
    "tools",
];
/// Fields that are whole numbers.
const WHOLE: [&str; 12] = [
    "candidateCount",
    "logprobs",
    "maxItems",
    "maxLength",
    "maxOutputTokens",
    "maxProperties",
    "minItems",
    "minLength",
    "minProperties",
    "seed",
    "thinkingBudget",
    "topK",
];

/// Reads a body.
///
/// # Errors
/// If it isn't a JSON object, or has a field in two spellings.
pub(super) fn read(body: &[u8]) -> Result<Fields, Untranslatable> {
    match Json::read(body) {
        Ok(Json::Object(body)) => Ok(Fields::of_object(message(body)?)),
        // It says what is wrong with it.
        _ => Fields::of_body(body),
    }
}

fn message(object: Object) -> Result<Object, Untranslatable> {
    let (mut out, mut seen) = (Object::default(), HashSet::new());
    for (key, value) in members(object) {
        let key = camel(&key);
        if !seen.insert(key.clone()) {
            return Err(Untranslatable::new(key, "is given twice"));
        }
        let value = field(&key, value)?;
        out.put(&key, value);
    }
    Ok(out)
}

fn value(json: Json) -> Result<Json, Untranslatable> {
    Ok(match json {
        Json::List(list) => Json::List(list.into_iter().map(value).collect::<Result<_, _>>()?),
        Json::Object(object) => message(object)?.into(),
        other => other,
    })
}

fn field(key: &str, json: Json) -> Result<Json, Untranslatable> {
    let json = match json {
        json if OPAQUE.contains(&key) => json,
        Json::Object(map) if MAPS.contains(&key) => {
            let mut out = Object::default();
            for (key, json) in members(map) {
                out.put(&key, value(json)?);
            }
            out.into()
        }
        json if WHOLE.contains(&key) => whole(json),
        json => value(json)?,
    };
    Ok(match json {
        Json::List(list) => Json::List(list),
        lone if LISTS.contains(&key) => Json::List(vec![lone]),
        json => json,
    })
}

/// The members, without those that are `null`. From the last to the first, taking each is cheap.
fn members(mut object: Object) -> Vec<(String, Json)> {
    let keys: Vec<String> = object.members().map(|(key, _)| key.to_owned()).collect();
    let take = |key: String| Some((key.clone(), object.take(&key)?));
    let mut members: Vec<_> = keys.into_iter().rev().filter_map(take).collect();
    members.reverse();
    members
}

fn camel(key: &str) -> String {
    let (mut out, mut is_after_line) = (String::with_capacity(key.len()), false);
    for letter in key.chars() {
        match letter {
            '_' if !out.is_empty() => is_after_line = true,
            letter if std::mem::take(&mut is_after_line) => out.extend(letter.to_uppercase()),
            letter => out.push(letter),
        }
    }
    out
}

fn whole(value: Json) -> Json {
    let number = match &value {
        Json::Text(text) => text.parse::<i64>().ok(),
        // A number prints without a fraction where it has none.
        Json::Number(number) if number.is_f64() => {
            let text = format!("{}", number.as_f64().unwrap_or(f64::NAN));
            text.parse().ok()
        }
        _ => None,
    };
    number.map_or(value, |number| Json::Number(number.into()))
}
