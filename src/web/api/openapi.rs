//! The description of the API in `OpenAPI` 3.1, made from the endpoints and the types of their
//! answers.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::endpoint::{Content, Endpoint, Handler};
use super::parameters::Parameter;
use super::refusal::{Error, Problem};

pub(super) const ALL: Endpoint = Endpoint {
    path: "/api/openapi.json",
    name: "OpenApi",
    about: "This description, in OpenAPI 3.1.",
    handler: Handler::Role(|call| Box::pin(async move { Ok(super::json(&document(call.table))) })),
    ..Endpoint::GET
};

pub(super) const APERTURE: Endpoint = Endpoint {
    path: "/aperture/openapi.json",
    name: "ApertureOpenApi",
    about: "The routes of Aperture's own API, in OpenAPI 3.1.",
    handler: Handler::Role(|call| Box::pin(async move { Ok(super::json(&aperture(call.table))) })),
    ..Endpoint::GET
};

/// Where Aperture's own routes are.
const BELOW_APERTURE: &str = "/aperture";

/// The whole description.
fn document(table: &[Endpoint]) -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Iris",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What an Iris gateway serves beside the models. There is no credential: \
                callers are known by their tailnet identity.",
        },
        "paths": paths(table, ""),
        "components": { "schemas": schemas(table) },
    })
}

/// The part that Aperture has as well, as Aperture describes it.
fn aperture(table: &[Endpoint]) -> Value {
    let mut paths = paths(table, BELOW_APERTURE);
    let price = json!({ "get": {
        "summary": "Prices by model, for callers whose grants have `read_pricing`.",
        "operationId": "Pricing",
        "responses": { "200": { "description": "The prices.", "content": { "application/json": {} } } },
    } });
    paths.insert("/pricing".to_owned(), price.clone());
    paths.insert("/pricing/{model}".to_owned(), price);
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Aperture API", "version": "0" },
        "servers": [{ "url": "/aperture" }],
        "paths": paths,
        "components": { "schemas": schemas(table) },
    })
}

/// The endpoints below a path, by what follows it.
fn paths(table: &[Endpoint], below: &str) -> Map<String, Value> {
    let mut paths = Map::new();
    for endpoint in table {
        for path in endpoint.paths() {
            let Some(rest) = path.strip_prefix(below) else {
                continue;
            };
            let known = paths.entry(rest.to_owned()).or_insert_with(|| json!({}));
            known[endpoint.method.as_str().to_ascii_lowercase()] = operation(endpoint);
        }
    }
    paths
}

fn operation(endpoint: &Endpoint) -> Value {
    let mut parameters: Vec<Value> = endpoint.parameters.iter().map(parameter).collect();
    parameters.extend(in_path(endpoint));
    if let Some((required, about)) = endpoint.if_match {
        parameters.push(json!({
            "name": "If-Match", "in": "header", "required": required,
            "schema": { "type": "string" }, "description": about,
        }));
    }
    let mut operation = json!({
        "summary": endpoint.about,
        "operationId": endpoint.name,
        "parameters": parameters,
        "responses": responses(endpoint),
    });
    if let Some(schema) = endpoint.body {
        operation["requestBody"] = json!({
            "required": true,
            "content": { "application/json": { "schema": schema(&mut generator()) } },
        });
    }
    operation
}

fn responses(endpoint: &Endpoint) -> Value {
    let (kind, schema) = match endpoint.answer {
        Content::Json(schema) => (
            "application/json",
            json!({ "schema": schema(&mut generator()) }),
        ),
        Content::Events => ("text/event-stream", json!({})),
        Content::Text => ("text/plain", json!({})),
    };
    let mut content = json!({ kind: schema });
    if endpoint.csv {
        content["text/csv"] = json!({ "schema": { "type": "string" } });
    }
    let mut responses = json!({ "200": { "description": endpoint.about, "content": content } });
    let mut refused = |status: &str, about: &str| {
        let schema = if endpoint.path.starts_with(BELOW_APERTURE) {
            json!({ "application/problem+json": { "schema": generator().subschema_for::<Problem>() } })
        } else {
            json!({ "application/json": { "schema": generator().subschema_for::<Error>() } })
        };
        responses[status] = json!({ "description": about, "content": schema });
    };
    match endpoint.handler {
        Handler::Everyone(_) => {}
        Handler::Role(_) => refused("403", "The caller has no role."),
        Handler::Admin(_) => refused("403", "The caller is not an admin."),
    }
    if !endpoint.parameters.is_empty() {
        refused("400", "A parameter is unknown or makes no sense.");
    }
    if endpoint.path.contains("{id}") {
        refused("404", "There is no such record that the caller may see.");
    }
    if endpoint.path.contains("{model}") {
        refused("404", "There is no such model that the caller may use.");
    }
    if endpoint.body.is_some() {
        refused("400", "The body is not JSON, or not what this route takes.");
        refused("413", "The body is too long.");
        refused("415", "The body is not declared as JSON.");
    }
    for (status, about) in endpoint.refusals {
        refused(status, about);
    }
    responses
}

/// What stands in the path in place of its braces.
fn in_path(endpoint: &Endpoint) -> Option<Value> {
    let (name, about) = if endpoint.path.contains("{id}") {
        let about = "Id of the record: that of a request is in `x-iris-request-id` as well.";
        ("id", about)
    } else if endpoint.path.contains("{model}") {
        let about = "A model or an alias; slashes may stand in it as they are.";
        ("model", about)
    } else {
        return None;
    };
    Some(json!({
        "name": name, "in": "path", "required": true,
        "schema": { "type": "string" }, "description": about,
    }))
}

fn parameter(parameter: &Parameter) -> Value {
    let text = json!({ "type": "string" });
    json!({
        "name": parameter.name,
        "in": "query",
        "required": parameter.required,
        "description": parameter.description,
        "schema": if parameter.many { json!({ "type": "array", "items": text }) } else { text },
    })
}

fn generator() -> schemars::SchemaGenerator {
    let place = |settings: &mut SchemaSettings| {
        settings.definitions_path = "/components/schemas".into();
    };
    SchemaSettings::draft2020_12()
        .for_serialize()
        .with(place)
        .into_generator()
}

/// The schemas of all bodies and answers.
fn schemas(table: &[Endpoint]) -> Map<String, Value> {
    let mut generator = generator();
    generator.subschema_for::<Error>();
    generator.subschema_for::<Problem>();
    for endpoint in table {
        if let Some(schema) = endpoint.body {
            schema(&mut generator);
        }
        if let Content::Json(schema) = endpoint.answer {
            schema(&mut generator);
        }
    }
    let mut schemas = generator.take_definitions(true);
    schemas.values_mut().for_each(simplify);
    schemas
}

/// Leaves out what says nothing to a reader of JSON, and closes objects whose keys are all known.
fn simplify(schema: &mut Value) {
    if let Some(schema) = schema.as_object_mut() {
        if schema.get("type").is_some_and(|kind| !kind.is_object()) {
            for name in ["format", "minimum", "maximum", "title"] {
                schema.remove(name);
            }
        }
        if let Some(Value::String(text)) = schema.get_mut("description") {
            *text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        }
        if schema.get("additionalProperties") == Some(&Value::Bool(true)) {
            schema.remove("additionalProperties");
        }
        if schema.contains_key("properties") {
            schema.entry("additionalProperties").or_insert(false.into());
        }
    }
    match schema {
        Value::Object(inner) => inner.values_mut().for_each(simplify),
        Value::Array(inner) => inner.iter_mut().for_each(simplify),
        _ => {}
    }
}
