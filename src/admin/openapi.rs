//! The description of the routes in `OpenAPI` 3.1, made from their table. The schemas of the
//! answers stand in `schemas.json`; a test holds every answer to them.

use serde_json::{Map, Value, json};

use super::routes::{ALL, Open, Parameter, Route};

/// The whole description.
pub(super) fn document() -> Value {
    let mut paths = Map::new();
    for route in ALL {
        for path in std::iter::once(&route.path).chain(route.aliases) {
            paths.insert((*path).to_owned(), json!({ "get": operation(route) }));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Iris",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What an Iris gateway serves beside the models. There is no credential: \
                callers are known by their tailnet identity.",
        },
        "paths": paths,
        "components": { "schemas": schemas() },
    })
}

fn operation(route: &Route) -> Value {
    let mut parameters: Vec<Value> = route.parameters.iter().map(parameter).collect();
    if route.path.contains("{id}") {
        parameters.push(json!({
            "name": "id", "in": "path", "required": true,
            "schema": { "type": "string" },
            "description": "Id of a request, as it stands in its record and in `x-iris-request-id`.",
        }));
    }
    let mut content = Map::new();
    match route.answer {
        Some(schema) => {
            let schema = json!({ "$ref": format!("#/components/schemas/{schema}") });
            content.insert("application/json".to_owned(), json!({ "schema": schema }));
        }
        None => {
            content.insert("text/plain".to_owned(), json!({}));
        }
    }
    if route.csv {
        content.insert(
            "text/csv".to_owned(),
            json!({ "schema": { "type": "string" } }),
        );
    }
    let mut responses = json!({ "200": { "description": route.about, "content": content } });
    let error = |about: &str| {
        json!({
            "description": about,
            "content": { "application/json": {
                "schema": { "$ref": "#/components/schemas/Error" } } },
        })
    };
    if route.open == Open::Role {
        responses["403"] = error("The caller has no role.");
    }
    if !route.parameters.is_empty() {
        responses["400"] = error("A parameter is unknown or makes no sense.");
    }
    if route.path.contains("{id}") {
        responses["404"] = error("There is no such record that the caller may see.");
    }
    json!({
        "summary": route.about,
        "operationId": format!("{:?}", route.action),
        "parameters": parameters,
        "responses": responses,
    })
}

fn parameter(parameter: &Parameter) -> Value {
    let text = json!({ "type": "string" });
    json!({
        "name": parameter.name,
        "in": "query",
        "required": false,
        "description": parameter.about,
        "schema": if parameter.many { json!({ "type": "array", "items": text }) } else { text },
    })
}

/// The schemas of the answers. Their text is part of the program and a test reads it.
fn schemas() -> Value {
    serde_json::from_str(include_str!("schemas.json")).unwrap_or_default()
}
