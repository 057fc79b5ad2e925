//! `/ui/providers`: how providers are, with their traffic.

use maud::{Markup, html};

use super::activity::{self, Lens};
use super::{Group, Page, Place, Query, Visit, breakdown, format, parts};
use crate::config::AuthMode;
use crate::policy::route::Provider;
use crate::wire::Rejection;

pub(super) const PLACE: Place = Place::for_admins("/ui/providers", |visit| Box::pin(page(visit)))
    .listed("Providers", "providers", Group::Activity);

async fn page(visit: &Visit<'_>) -> Result<Page, Rejection> {
    let lens = Lens::new(visit, Query::default());
    let used = visit.sums(&lens.report("provider")).await?;
    let columns = parts::words(&["Provider", "State", "Formats"])
        .numbers(&["Models", "Open", "Since start", "Failed"])
        .words(&["Last failure"]);
    let all = visit.reader.rules.routes.providers();
    let rows = html! { @for provider in all { (provider_row(visit, provider)) } };
    let body = html! {
        @if all.is_empty() {
            (parts::empty("No providers are configured", &html! {
                "Add one in the section " code { "providers" } " of the " a href="/ui/config" { "configuration" } ", or "
                a href="/ui/providers/discover" { "look for servers" } " nearby."
            }))
        } @else {
            (parts::table("Providers and how they are", &columns, &rows))
        }
        h2 { "Traffic" }
        (activity::filter_bar(visit, &lens, &["login", "model", "agent", "header"]).await?)
        @if used.groups.is_empty() {
            (parts::empty("No requests in this time", &html! { "Choose a longer time." }))
        } @else {
            section.panel { (activity::over_time(visit, &lens, "provider").await?) }
            (breakdown::table(&lens, &used.groups, &breakdown::PROVIDER))
        }
    };
    let find = html! { a.button href="/ui/providers/discover" { "Look for servers" } };
    Ok(Page::new("Providers", body).live().actions(find))
}

fn provider_row(visit: &Visit<'_>, provider: &Provider) -> Markup {
    let health = visit.reader.engines.gateway.traffic.health(provider);
    let state = match &health {
        _ if provider.disabled => parts::badge(parts::Tone::Plain, "disabled"),
        Some(health) if health.ejected => {
            let again = health
                .retry_in
                .map(|seconds| format!("tried again in {seconds} s"));
            html! { (parts::badge(parts::Tone::Bad, "paused")) " " span.note { (again.unwrap_or_default()) } }
        }
        Some(health) if health.paused_models().next().is_some() => {
            parts::badge(parts::Tone::Warn, "some models paused")
        }
        Some(health) if health.limited_models().next().is_some() => {
            parts::badge(parts::Tone::Warn, "rate limited")
        }
        Some(health) if !health.keys.is_empty() => {
            parts::badge(parts::Tone::Warn, "some keys left out")
        }
        Some(health) if health.failed > 0 => parts::badge(parts::Tone::Warn, "some failures"),
        Some(_) => parts::badge(parts::Tone::Good, "healthy"),
        None => parts::badge(parts::Tone::Plain, "not asked yet"),
    };
    html! {
        tr {
            th scope="row" {
                (provider.id)
                @if !provider.name.is_empty() { br; span.note { (provider.name) } }
                @if provider.auth_mode == AuthMode::Passthrough { br; span.note { "callers' own credentials" } }
            }
            td {
                (state)
                @if let Some(health) = &health {
                    @for model in health.paused_models() {
                        br; span.note { (model.model) " is paused" }
                    }
                    @for key in &health.keys {
                        br; span.note {
                            "key " (key.key) " is left out for " (key.left_out_for) " s: " (key.why)
                        }
                    }
                    @for model in health.limited_models() {
                        br; span.note {
                            (model.model) " is limited for " (model.limited_for.unwrap_or_default()) " s"
                        }
                    }
                }
            }
            td.wrap { @for flag in &provider.flags { code { (flag) } " " } }
            td.n { (provider.models.len()) }
            @match &health {
                Some(health) => {
                    td.n { (health.open) }
                    td.n { (format::grouped(health.requests)) }
                    td.n { @if health.failed > 0 { span.bad { (format::grouped(health.failed)) } } @else { "0" } }
                    td.wrap { (parts::maybe(health.last_error.clone())) }
                }
                None => { td.n { "0" } td.n { "0" } td.n { "0" } td { (parts::unknown("none")) } }
            }
        }
    }
}
