//! Who may use what, and why; and how a given request would be answered.

use maud::{Markup, html};
use serde_json::Value;

use super::page::Page;
use super::place::{Group, Place};
use super::query::Query;
use super::{Visit, parts};
use crate::config::Grant;
use crate::formats;
use crate::web::api::models::whatif;
use crate::wire::Rejection;

pub(super) const PLACE: Place = Place::for_admins("/ui/grants", |visit| Box::pin(page(visit)))
    .listed("Grants", "grants", Group::Gateway);

async fn page(visit: &Visit<'_>) -> Result<Page, Rejection> {
    let file = &visit.reader.rules.file;
    let names = &file.tailnet.capabilities;
    let columns = parts::words(&["Who", "Role", "Models", "What else"]).numbers(&["Line"]);
    let rows = html! { @for grant in &file.grants { (row(grant, names)) } };
    let body = html! {
        (try_it(visit).await?)
        section {
            h2 { "Grants of the configuration" }
            @if file.grants.is_empty() {
                (parts::empty("The configuration has no grants", &html! {
                    "Only the tailnet policy gives access now. Add " code { "grants" } " in the "
                    a href="/ui/config" { "configuration" } "."
                }))
            } @else { (parts::table("Grants", &columns, &rows)) }
            p.under {
                "The tailnet policy grants as well: there, objects under "
                @for name in names { code { (name) } " " }
                "count like these. Policy grants are evaluated when a caller connects; a request's explanation names them."
            }
        }
        @if !file.groups.is_empty() {
            section {
                h2 { "Groups of the configuration" }
                (parts::table("Groups", &parts::words(&["Group", "Members"]), &html! {
                    @for (group, members) in &file.groups {
                        tr { th scope="row" { (group) } td.wrap { (members.join(", ")) } }
                    }
                }))
            }
        }
    };
    Ok(Page::new("Grants", body))
}

fn row(grant: &Grant, names: &[String]) -> Markup {
    let objects: Vec<Value> = names
        .iter()
        .filter_map(|name| grant.app.get(name))
        .flatten()
        .filter_map(|raw| serde_json::from_str(raw.get()).ok())
        .collect();
    let texts = |key: &str| -> Vec<String> {
        let found = objects.iter().filter_map(|object| object[key].as_str());
        found.map(str::to_owned).collect()
    };
    let rest: Vec<String> = objects
        .iter()
        .filter_map(Value::as_object)
        .flat_map(|object| object.iter())
        .filter(|(key, _)| !matches!(key.as_str(), "role" | "models"))
        .map(|(key, value)| match key.as_str() {
            "add_headers" => format!("{key}: {}", header_names(value)),
            _ => format!("{key}: {value}"),
        })
        .collect();
    html! {
        tr {
            th.wrap scope="row" { @for src in &grant.src { code { (src) } " " } }
            td { @for role in texts("role") { (parts::badge(if role == "admin" { parts::Tone::Accent } else { parts::Tone::Plain }, &role)) " " } }
            td.wrap { @for models in texts("models") { code { (models) } " " } }
            td.wrap { ul { @for one in &rest { li { code { (one) } } } } }
            td.n { (grant.at.line) }
        }
    }
}

/// The names of the headers that a grant adds: their values can be secret.
fn header_names(entries: &Value) -> String {
    let entries = entries.as_array().into_iter().flatten();
    let names = entries
        .filter_map(Value::as_str)
        .map(|entry| entry.split(':').next().unwrap_or_default().trim());
    names.collect::<Vec<_>>().join(", ")
}

/// The form, and the answer if something was asked.
async fn try_it(visit: &Visit<'_>) -> Result<Markup, Rejection> {
    let query = visit.query.only(&["login", "node", "model", "api"]);
    let (login, model) = (query.get("login"), query.get("model"));
    let verdict = match (login, model) {
        (Some(_), Some(_)) => {
            visit.reader.require_admin()?;
            let question = visit.read(&whatif::ENDPOINT, &query)?;
            Some(whatif::asked_for(&visit.reader, &question).await?)
        }
        _ => None,
    };
    let rules = &visit.reader.rules;
    let providers = rules.routes.providers().iter();
    let mut models: Vec<&str> = providers
        .flat_map(|provider| provider.models.iter().map(String::as_str))
        .collect();
    models.sort_unstable();
    models.dedup();
    Ok(html! {
        section.panel {
            h2 { "Try as another caller" }
            form.row method="get" action="/ui/grants" {
                div.field { label for="g-login" { "Login or tag" }
                    input id="g-login" name="login" required value=[login] placeholder="alice@example.com" autocomplete="off" spellcheck="false"; }
                div.field { label for="g-model" { "Model" }
                    input id="g-model" name="model" required value=[model] list="g-models" autocomplete="off" spellcheck="false";
                    datalist id="g-models" { @for model in models.iter().take(1_000) { option value=(model) {} } } }
                div.field { label for="g-api" { "API format" }
                    select id="g-api" name="api" {
                        @for api in formats::ALL {
                            @let name = api.name;
                            option value=(name) selected[query.get("api") == Some(name)] { (name) }
                        }
                    } }
                button.primary type="submit" { "Explain" }
            }
            @if let Some(verdict) = &verdict {
                (parts::notice(if verdict.allowed { parts::Tone::Good } else { parts::Tone::Bad }, &html! { (verdict.answer) }))
                ol.story { @for reason in &verdict.reasons { li { (reason) } } }
            } @else {
                p.under { "Nothing is sent. The result says which grant would allow the request and where it would go, or why it would be refused. The tailnet policy is not consulted." }
            }
        }
        @if query.is_empty() { (own(visit)) }
    })
}

/// What the reader has, from the grants of both sources.
fn own(visit: &Visit<'_>) -> Markup {
    let permit = &visit.reader.permit;
    let models: Vec<String> = visit
        .reader
        .rules
        .routes
        .models(permit)
        .map(|found| format!("{}/{}", found.provider.id, found.model))
        .collect();
    html! {
        p.under {
            "You are " b { (visit.reader.caller.name()) } ", with a role by " (permit.role_source()) " and "
            (super::format::count(models.len() as u64, "model", "models")) ". "
            a href=(Query::default().with("login", visit.reader.caller.name()).with("model", models.first().map_or("", String::as_str)).at("/ui/grants")) { "Explain one" } "."
        }
    }
}
