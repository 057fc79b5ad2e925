//! How to point an agent or an SDK at this gateway: the settings of each, with the name under
//! which the reader reached it, and whether a request of it has been seen.

mod guides;

use maud::{Markup, html};

use super::{Group, Page, Place, Query, Visit, activity, format, parts};
use crate::client::agents::{self, Speaks, Target};
use crate::formats;
use crate::wire::Rejection;
use guides::Guide;

pub(super) const PLACE: Place = Place::for_everyone("/ui/setup", |visit| Box::pin(page(visit)))
    .listed("Set up", "setup", Group::You);

async fn page(visit: &Visit<'_>) -> Result<Page, Rejection> {
    let wanted = visit.query.get("for").unwrap_or_default();
    let groups: [(&str, Vec<Guide>); 2] = [
        ("Agents", agents::ALL.iter().map(Guide::from).collect()),
        ("SDKs and tools", guides::ALL.to_vec()),
    ];
    let all = || groups.iter().flat_map(|(_, group)| group);
    let works = |one: &&Guide| model(visit, one.speaks).is_some();
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
    let model = model(visit, chosen.speaks);
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
                @for (label, text) in chosen.steps(&Target { base, model, labels: "" }) { (parts::code(&label, &text)) }
                @if let Some(note) = chosen.doubt(base) { p.under { (note) } }
                section.panel.tick data-agent=(chosen.record) data-login=(visit.reader.caller.name()) aria-live="polite" {
                    h2 { "Has it worked?" }
                    p.waiting { "Run it once. Your request then appears on the page " a href="/ui/requests" { "Requests" } "." }
                }
            }
        }
        p.under { "This gateway: " code { (base) } ", " (format::count(models as u64, "model", "models")) " granted to you." }
    }
}

/// A granted model that can be asked in a format.
fn model(visit: &Visit<'_>, speaks: Speaks) -> Option<String> {
    let format = formats::named(speaks.kind())?;
    let mut models = visit.reader.rules.routes.models(&visit.reader.permit);
    let permit = &visit.reader.permit;
    let found = models.find(|found| found.fit(permit, format).is_some());
    found.map(|found| found.model.to_owned())
}
