//! What requests are looked at for, and the servers that are asked or told about them.

use maud::{Markup, html};

use super::page::Page;
use super::place::{Group, Place};
use super::{Visit, format, parts};
use crate::base::clock;
use crate::config::{FailPolicy, Guard, GuardAction, GuardKind, Hook};
use crate::exchange::hooks::What;
use crate::records::Waiting;
use crate::wire::Rejection;

pub(super) const PLACE: Place = Place::for_admins("/ui/guardrails", |visit| Box::pin(page(visit)))
    .listed("Guardrails", "guardrails", Group::Gateway);

async fn page(visit: &Visit<'_>) -> Result<Page, Rejection> {
    let file = &visit.reader.rules.file;
    let waiting = visit.reader.ledger().deliveries_waiting().await?;
    let guards = html! { @for (name, guard) in &file.guards { (guard_row(name, guard)) } };
    let hooks = html! {
        @for (name, hook) in &file.hooks {
            (hook_row(visit, name, hook, waiting.iter().find(|one| one.hook == *name)))
        }
    };
    let guard_columns = parts::words(&["Guard", "Looks for", "What it does", "Requests"]);
    let hook_columns = parts::words(&["Hook", "Address", "If it fails", "Since start"])
        .numbers(&["Waiting"])
        .words(&["Oldest"]);
    let body = html! {
        @if file.guards.is_empty() && file.hooks.is_empty() {
            (parts::empty("No guardrails are configured", &html! {
                "The sections " code { "guards" } " and " code { "hooks" } " of the "
                a href="/ui/config" { "configuration" } " define them; " a href="/ui/grants" { "grants" } " say whose requests they inspect."
            }))
        }
        @if !file.guards.is_empty() {
            (parts::section("Guards", &parts::table("Guards", &guard_columns, &guards)))
        }
        @if !file.hooks.is_empty() {
            (parts::section("Hooks", &parts::table("Hooks", &hook_columns, &hooks)))
        }
        p.under { "A guard or a hook acts where a " a href="/ui/grants" { "grant" } " names it. The timeline of each request shows what it did." }
    };
    Ok(Page::new("Guardrails", body).live())
}

fn guard_row(name: &str, guard: &Guard) -> Markup {
    let (about, what) = match &guard.kind {
        GuardKind::Patterns { detect, patterns } => {
            ("in content:", [detect.as_slice(), patterns].concat())
        }
        GuardKind::Tools { allow } => ("tools other than", allow.clone()),
    };
    let action = match guard.action {
        GuardAction::Block => parts::badge(parts::Tone::Bad, "blocks"),
        GuardAction::Redact => parts::badge(parts::Tone::Warn, "redacts"),
        GuardAction::Report => parts::badge(parts::Tone::Plain, "reports"),
    };
    html! {
        tr {
            th scope="row" { (name) }
            td.wrap { (about) " " @for one in &what { code { (one) } " " } }
            td { (action) }
            td { @if guard.action == GuardAction::Block { a href="/ui/requests?status=403" { "blocked requests" } } }
        }
    }
}

fn hook_row(visit: &Visit<'_>, name: &str, hook: &Hook, waiting: Option<&Waiting>) -> Markup {
    let counts = visit.reader.engines.gateway.tally.counts();
    let counts: Vec<(What, u64)> = counts
        .into_iter()
        .filter(|((hook, _), _)| hook == name)
        .map(|((_, what), count)| (what, count))
        .collect();
    let now = clock::unix_ms();
    html! {
        tr {
            th scope="row" { (name) @if hook.disabled { " " (parts::badge(parts::Tone::Plain, "disabled")) } }
            td.wrap { code { (host(&hook.url)) } }
            td { @if hook.fail_policy == FailPolicy::Closed { "requests are refused" } @else { "requests go on" } }
            td.wrap {
                @for (what, count) in &counts { (format::grouped(*count)) " " (what.as_str()) " " }
                @if counts.is_empty() { (parts::unknown("not called yet")) }
            }
            td.n { (format::grouped(waiting.map_or(0, |one| one.count))) }
            td { @match waiting { Some(one) => (parts::ago(now, one.oldest)), None => (parts::unknown("nothing waits")) } }
        }
    }
}

/// Where a hook is; a path or a query could hold a key.
fn host(url: &str) -> String {
    let uri: Option<http::Uri> = url.parse().ok();
    let parts =
        uri.and_then(|uri| Some((uri.scheme_str()?.to_owned(), uri.authority()?.to_string())));
    match parts {
        // Nor is who is named before the host anybody's business.
        Some((scheme, authority)) => {
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}")
        }
        None => "invalid URL".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn of_an_address_only_the_host_is_shown() {
        let host = super::host;
        assert_eq!(
            host("https://key:word@h.example:8443/T0/secret?k=1"),
            "https://h.example:8443"
        );
        assert_eq!(host("nonsense"), "invalid URL");
    }
}
