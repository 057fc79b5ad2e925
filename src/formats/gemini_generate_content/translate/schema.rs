//! Schemas in the API's own dialect, a part of `OpenAPI`'s, as JSON Schema. In the other direction nothing
//! is to be done, because the API takes JSON Schema beside it.

use crate::formats::translate::{Json, Object, object};

/// Formats that say only how Google's own types hold a value.
const FORMATS: [&str; 5] = ["double", "enum", "float", "int32", "int64"];

/// The schema as JSON Schema. Parsers have bounded how deep it is.
pub(super) fn to_json_schema(schema: &Json) -> Json {
    let Json::Object(members) = schema else {
        return schema.clone();
    };
    let is_nullable = schema.at("nullable").flag() == Some(true);
    let mut out = Object::default();
    for (key, value) in members.members() {
        match key {
            "nullable" | "propertyOrdering" => {}
            "type" => out.put_some("type", types(value, is_nullable)),
            "enum" if is_nullable => out.put("enum", with(value, Json::Null)),
            "anyOf" if is_nullable => {
                let null = object! { "type": "null" };
                out.put("anyOf", with(&each(value), null.into()));
            }
            "allOf" | "anyOf" | "oneOf" | "prefixItems" => out.put(key, each(value)),
            "additionalProperties" | "items" => out.put(key, to_json_schema(value)),
            "properties" => out.put(key, properties(value, schema.at("propertyOrdering"))),
            "defs" | "$defs" => out.put("$defs", properties(value, &Json::Null)),
            "ref" => out.put("$ref", value.clone()),
            "example" => out.put("examples", vec![value.clone()]),
            "format" if FORMATS.into_iter().any(|one| value.text() == Some(one)) => {}
            _ => out.put(key, value.clone()),
        }
    }
    out.into()
}

/// The types, which the API writes in capitals.
fn types(value: &Json, is_nullable: bool) -> Option<Json> {
    let name = |name: &str| name.to_ascii_lowercase();
    match value {
        Json::Text(one) if one == "TYPE_UNSPECIFIED" => None,
        Json::Text(one) if is_nullable => Some(vec![name(one), "null".to_owned()].into()),
        Json::Text(one) => Some(name(one).into()),
        Json::List(all) => {
            let names: Vec<String> = all.iter().filter_map(Json::text).map(name).collect();
            Some(names.into())
        }
        _ => None,
    }
}

fn each(list: &Json) -> Json {
    let list: Vec<Json> = list.list().iter().map(to_json_schema).collect();
    list.into()
}

fn with(list: &Json, more: Json) -> Json {
    let mut list = list.list().to_vec();
    list.push(more);
    list.into()
}

/// Properties in the order in which the model is to write them.
fn properties(properties: &Json, order: &Json) -> Json {
    let mut out = Object::default();
    for name in order.list().iter().filter_map(Json::text) {
        let property = properties.at(name);
        if !property.is_null() {
            out.put(name, to_json_schema(property));
        }
    }
    if let Json::Object(all) = properties {
        for (name, property) in all.members() {
            // One that stands there keeps its place.
            out.put(name, to_json_schema(property));
        }
    }
    out.into()
}
