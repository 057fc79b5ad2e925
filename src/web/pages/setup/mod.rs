//! How to point an agent or an SDK at this gateway: the settings of each, with the name under
//! which the reader reached it, and whether a request of it has been seen.

mod guides;

use maud::{Markup, html};
use serde_json::json;

use super::{Group, Page, Place, Query, Visit, activity, format, parts};
use crate::client::agents::{self, Target};
use crate::client::offer::{self, Offered};
use crate::web::api::models::rows;
use crate::wire::Rejection;
use guides::Guide;

pub(super) const PLACE: Place = Place::for_everyone("/ui/setup", |visit| Box::pin(page(visit)))
    .listed("Set up", "setup", Group::You);

async fn page(visit: &Visit<'_>) -> Result<Page, Rejection> {
    let wanted = visit.query.get("for").unwrap_or_default();
    let groups: [(&str, Vec<Guide>); 3] = [
        ("Agents", agents::ALL.iter().map(Guide::from).collect()),
        ("By hand", guides::BY_HAND.to_vec()),
        ("SDKs and tools", guides::ALL.to_vec()),
    ];
    let all = || groups.iter().flat_map(|(_, group)| group);
    let offered = offered(visit);
    let works = |one: &&Guide| model(&offered, one).is_some();
    let chosen = all()
        .find(|one| one.id == wanted)
        .or_else(|| all().find(works))
        .unwrap_or(&groups[0].1[0]);
    let query = Query::default()
        .with("login", visit.reader.caller.name())
        .with("by", "agent");
    let seen = visit.sums(&query).await?.groups;
    let seen = activity::keys(&seen, "agent");
    let body = html! {
        p.lead {
            "You don't need a key: this gateway knows your device, and adds the provider's key itself. "
            "Where a program insists on one, use any string."
        }
        div.setup {
            nav aria-label="Agents and SDKs" {
                @for (title, group) in &groups {
                    h2 { (title) }
                    ul {
                        @for one in group {
                            li {
                                a href=(Query::default().with("for", one.id).at("/ui/setup"))
                                    aria-current=[(one.id == chosen.id).then_some("true")] {
                                    (one.name)
                                    @if seen.iter().any(|agent| agent == one.record) {
                                        span.seen title="requests of it were seen in the last 30 days" { "✓" span.hidden { " seen" } }
                                    }
                                }
                            }
                        }
                    }
                }
            }
            div { (instructions(visit, chosen)) }
        }
    };
    Ok(Page::new("Set up", body).scripts(&["setup.js"]))
}

fn instructions(visit: &Visit<'_>, chosen: &Guide) -> Markup {
    let base = visit.origin.as_str();
    let all = offered(visit);
    let model = model(&all, chosen);
    let models = visit
        .reader
        .rules
        .routes
        .models(&visit.reader.permit)
        .count();
    html! {
        h2 { (chosen.name) }
        @match &model {
            None => {
                (parts::notice(parts::Tone::Warn, &html! {
                    (chosen.name) " needs a model in the format " (chosen.speaks.name())
                    ", and you don't have access to one. " a href="/ui/models" { "Models" }
                    " lists those that you have; ask an admin of this gateway for more."
                }))
            }
            Some(model) => {
                @let (models, background) =
                    offer::for_program(&all, chosen.speaks, &model.id, chosen.keeps_login);
                @let target = Target {
                    base,
                    model: &model.id,
                    background,
                    models: &models,
                    own_login: chosen.keeps_login && model.takes_own(&model.id, chosen.speaks),
                    labels: "",
                };
                @if target.own_login {
                    p.under {
                        (chosen.name) " stays signed in: your own login goes to the provider of " code { (model.id) }
                        ", and your account pays."
                    }
                } @else if model.needs_own(&model.id, chosen.speaks) {
                    p.under {
                        "The provider of " code { (model.id) } " takes your own key: put it in place of " code { "-" } "."
                    }
                }
                @for (label, text) in chosen.steps(&target) { (parts::code(&label, &text)) }
                @if let Some(note) = chosen.note(base) { p.under { (note) } }
                section.panel.tick data-agent=(chosen.record) data-login=(visit.reader.caller.name()) aria-live="polite" {
                    h2 { "Has it worked?" }
                    p.waiting { "Run it once. Your request then appears on the page " a href="/ui/requests" { "Requests" } "." }
                }
            }
        }
        p.under { "This gateway: " code { (base) } ", " (format::count(models as u64, "model", "models")) " granted to you." }
    }
}

/// The models that are granted, as the list for programs has them.
fn offered(visit: &Visit<'_>) -> Vec<Offered> {
    let rows = rows::models(&visit.reader.rules, &visit.reader.permit);
    Offered::all(&json!({ "data": rows }))
}

/// The first model that a program can chat with. One that takes a login comes last, if the program has none
/// to give.
fn model<'o>(all: &'o [Offered], guide: &Guide) -> Option<&'o Offered> {
    let mut fitting = all.iter().filter(|one| one.speaks(guide.speaks));
    let usable = |one: &&Offered| guide.keeps_login || !one.needs_own(&one.id, guide.speaks);
    fitting.clone().find(usable).or_else(|| fitting.next())
}
