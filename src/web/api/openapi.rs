//! The description of the routes in `OpenAPI` 3.1, made from their table. The schemas of the
//! answers stand in `schemas.json`; a test holds every answer to them.

use serde_json::{Map, Value, json};

use super::routes::{Action, Open, Parameter, Route};
use super::table::ALL;

/// Where Aperture's own routes are.
const APERTURE: &str = "/aperture";

/// The whole description.
pub(crate) fn document() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Iris",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What an Iris gateway serves beside the models. There is no credential: \
                callers are known by their tailnet identity.",
        },
        "paths": paths(""),
        "components": { "schemas": schemas() },
    })
}

/// The part that Aperture has as well, as Aperture describes it.
pub(super) fn aperture() -> Value {
    let mut paths = paths(APERTURE);
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
        "components": { "schemas": schemas() },
    })
}

/// The routes below a path, by what follows it.
fn paths(below: &str) -> Map<String, Value> {
    let mut paths = Map::new();
    for route in ALL {
        for path in std::iter::once(&route.path).chain(route.aliases) {
            let Some(rest) = path.strip_prefix(below) else {
                continue;
            };
            let known = paths.entry(rest.to_owned()).or_insert_with(|| json!({}));
            known[route.verb.name().to_ascii_lowercase()] = operation(route);
        }
    }
    paths
}

fn operation(route: &Route) -> Value {
    let mut parameters: Vec<Value> = route.parameters.iter().map(parameter).collect();
    parameters.extend(in_path(route));
    let mut content = Map::new();
    let (kind, schema) = match route.answer {
        Some(schema) => {
            let schema = json!({ "$ref": format!("#/components/schemas/{schema}") });
            ("application/json", json!({ "schema": schema }))
        }
        None if route.action == Action::Events => ("text/event-stream", json!({})),
        None => ("text/plain", json!({})),
    };
    content.insert(kind.to_owned(), schema);
    if route.csv {
        content.insert(
            "text/csv".to_owned(),
            json!({ "schema": { "type": "string" } }),
        );
    }
    let mut responses = json!({ "200": { "description": route.about, "content": content } });
    let error = |about: &str| {
        let (kind, schema) = if route.path.starts_with(APERTURE) {
            ("application/problem+json", "Problem")
        } else {
            ("application/json", "Error")
        };
        let schema = json!({ "$ref": format!("#/components/schemas/{schema}") });
        json!({ "description": about, "content": { kind: { "schema": schema } } })
    };
    match route.open {
        Open::Everyone => {}
        Open::Role => responses["403"] = error("The caller has no role."),
        Open::Admin => responses["403"] = error("The caller is not an admin."),
    }
    if !route.parameters.is_empty() {
        responses["400"] = error("A parameter is unknown or makes no sense.");
    }
    if route.path.contains("{id}") {
        responses["404"] = error("There is no such record that the caller may see.");
    }
    if route.path.contains("{model}") {
        responses["404"] = error("There is no such model that the caller may use.");
    }
    if route.takes.is_some() {
        responses["400"] = error("The body is not JSON, or not what this route takes.");
        responses["413"] = error("The body is too long.");
        responses["415"] = error("The body is not declared as JSON.");
    }
    if matches!(
        route.action,
        Action::PutConfig | Action::PutOlderConfig | Action::Rollback | Action::AddProvider
    ) {
        responses["412"] = error("The configuration has changed since it was read.");
        responses["422"] = error("It is not taken; `errors` says why and where.");
    }
    if matches!(route.action, Action::PutConfig | Action::AddProvider) {
        responses["428"] = error("`If-Match` is missing.");
    }
    if matches!(route.action, Action::KeepChat | Action::DeleteChat) {
        responses["412"] = error("The conversation was changed or deleted since it was read.");
    }
    parameters.extend(if_match(route.action));
    let mut operation = json!({
        "summary": route.about,
        "operationId": format!("{:?}", route.action),
        "parameters": parameters,
        "responses": responses,
    });
    if let Some(schema) = route.takes {
        let schema = json!({ "$ref": format!("#/components/schemas/{schema}") });
        operation["requestBody"] = json!({
            "required": true,
            "content": { "application/json": { "schema": schema } },
        });
    }
    operation
}

/// What stands in the path in place of its braces.
fn in_path(route: &Route) -> Option<Value> {
    let (name, about) = if route.path.contains("{id}") {
        let about = "Id of the record: that of a request is in `x-iris-request-id` as well.";
        ("id", about)
    } else if route.path.contains("{model}") {
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

/// The header `If-Match`, where a route looks at it.
fn if_match(action: Action) -> Option<Value> {
    let (required, about) = match action {
        Action::PutConfig | Action::AddProvider => {
            (true, "The `ETag` of the configuration that was changed.")
        }
        Action::KeepChat | Action::DeleteChat => (
            false,
            "The `ETag` of the conversation. Without it, any version is replaced.",
        ),
        _ => return None,
    };
    Some(json!({
        "name": "If-Match", "in": "header", "required": required,
        "schema": { "type": "string" },
        "description": about,
    }))
}

fn parameter(parameter: &Parameter) -> Value {
    let text = json!({ "type": "string" });
    json!({
        "name": parameter.name,
        "in": "query",
        "required": parameter.required,
        "description": parameter.about,
        "schema": if parameter.many { json!({ "type": "array", "items": text }) } else { text },
    })
}

/// The schemas of the answers. Their text is part of the program and a test reads it.
fn schemas() -> Value {
    serde_json::from_str(include_str!("schemas.json")).unwrap_or_default()
}
