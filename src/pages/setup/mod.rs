//! How to point an agent or an SDK at this gateway: the settings of each, with the name under
//! which the reader reached it, and whether a request of it has been seen.

mod guides;

use maud::{Markup, html};

use super::layout::Page;
use super::query::Query;
use super::{Visit, activity, format, parts};
use crate::api::Api;
use crate::wire::Rejection;
use guides::{Facts, Guide};

/// `/ui/setup`.
pub(super) async fn page(visit: &Visit<'_>) -> Result<Page, Rejection> {
    let facts = facts(visit);
    let chosen = visit.query.get("for").unwrap_or("claude-code");
    let guide = guides::ALL
        .iter()
        .find(|guide| guide.id == chosen)
        .unwrap_or(&guides::ALL[0]);
    let query = Query::default()
        .with("login", visit.caller.name())
        .with("by", "agent");
    let seen = visit.sums(&query).await?.usage.groups;
    let seen = activity::keys(&seen, "agent");
    let body = html! {
        p.lead {
            "There is no key to get: this gateway knows your device, and adds the provider's key itself. "
            "Where a program insists on one, any text will do."
        }
        div.setup {
            nav aria-label="Agents and SDKs" {
                @for (group, title) in [(guides::AGENT, "Agents"), (guides::SDK, "SDKs and tools")] {
                    h2 { (title) }
                    ul {
                        @for one in guides::ALL.iter().filter(|one| one.group == group) {
                            li {
                                a href=(Query::default().with("for", one.id).at("/ui/setup"))
                                    aria-current=[(one.id == guide.id).then_some("true")] {
                                    (one.name)
                                    @if seen.iter().any(|agent| agent == one.agent) {
                                        span.seen title="requests of it were seen in the last 30 days" { "✓" span.hidden { " seen" } }
                                    }
                                }
                            }
                        }
                    }
                }
            }
            div { (instructions(visit, guide, &facts)) }
        }
    };
    Ok(Page::new("Set up", body).scripts(&["setup.js"]))
}

fn instructions(visit: &Visit<'_>, guide: &Guide, facts: &Facts) -> Markup {
    let model = (guide.model)(facts);
    html! {
        h2 { (guide.name) }
        @if model.is_none() {
            (parts::notice(parts::Tone::Warn, &html! {
                "No model that is granted to you can be asked in the format that this program speaks ("
                (guide.format) "). The page " a href="/ui/models" { "Models" } " lists what you have."
            }))
        }
        @for (label, text) in (guide.steps)(facts, model.as_deref().unwrap_or("MODEL")) {
            (parts::code(label, &text))
        }
        @if let Some(note) = (guide.note)(facts) { p.under { (note) } }
        section.panel.tick data-agent=(guide.agent) data-login=(visit.caller.name()) aria-live="polite" {
            h2 { "Has it worked?" }
            p.waiting { "Run it once; your newest request is then on the page " a href="/ui/requests" { "Requests" } "." }
        }
        p.under { "This gateway: " code { (facts.base) } ", " (format::count(facts.models as u64, "model", "models")) " granted to you." }
    }
}

fn facts(visit: &Visit<'_>) -> Facts {
    let (rules, permit) = (&visit.view.rules, visit.permit);
    let speaking = |flags: &[&str]| {
        let mut models = rules.routes.models(permit);
        let found =
            models.find(|found| found.provider.flags.iter().any(|flag| flags.contains(flag)));
        found.map(|found| found.model.to_owned())
    };
    let flags = |name: &str| -> &'static [&'static str] {
        let api = crate::api::ALL.iter().find(|api| api.kind().0 == name);
        api.map_or(&[], |api: &&dyn Api| api.flags())
    };
    Facts {
        base: visit.origin.clone(),
        chat: speaking(flags("openai_chat")),
        responses: speaking(flags("openai_responses")),
        anthropic: speaking(flags("anthropic_messages")),
        gemini: speaking(flags("gemini_generate_content")),
        models: rules.routes.models(permit).count(),
    }
}
