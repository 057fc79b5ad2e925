//! Model servers nearby. Nothing is asked before the reader says so.

use maud::{Markup, html};

use super::page::Page;
use super::place::Place;
use super::{Visit, format, parts};
use crate::web::api::{config, discover};
use crate::wire::Rejection;

/// Models of a server that are shown by name.
const MODELS: usize = 12;

pub(super) const PLACE: Place =
    Place::for_admins("/ui/providers/discover", |visit| Box::pin(page(visit)));

async fn page(visit: &Visit<'_>) -> Result<Page, Rejection> {
    visit.reader.require_admin()?;
    let found = match visit.query.get("look") {
        Some(_) => Some(discover::look(&visit.reader).await),
        None => None,
    };
    let (hosts, ports) = discover::places(&visit.reader);
    let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
    let body = html! {
        p.lead {
            "Finds servers with OpenAI's API, such as llama.cpp, vLLM, Ollama and LM Studio, on these hosts. Nothing is sent before you ask for it."
        }
        (parts::facts(&[
            ("Hosts", html! { @for host in &hosts { code { (host) } " " } }),
            ("Ports", html! { (ports.join(", ")) }),
        ]))
        p.under {
            "The hosts are this machine, nodes of the tailnet that providers name, and those in "
            code { "discover.hosts" } " of the " a href="/ui/config" { "configuration" } "."
        }
        form.row method="get" action="/ui/providers/discover" {
            input type="hidden" name="look" value="now";
            button.primary type="submit" { @if found.is_some() { "Look again" } @else { "Look now" } }
        }
        @if let Some(found) = &found { (servers(visit, found)?) }
    };
    Ok(Page::new("Look for servers", body)
        .below("/ui/providers", "Providers")
        .scripts(&["admin.js"]))
}

fn servers(visit: &Visit<'_>, found: &discover::Discovery) -> Result<Markup, Rejection> {
    if found.servers.is_empty() {
        return Ok(parts::empty(
            "No server found",
            &html! { "A server on another machine has to listen on its tailnet address, not only on loopback: for Ollama that is " code { "OLLAMA_HOST=0.0.0.0" } ", for llama.cpp " code { "--host 0.0.0.0" } "." },
        ));
    }
    let (_, tag) = config::shown(&visit.reader)?;
    let columns = parts::words(&["Server", "Address", "Models", "Formats", "Provider"]);
    let rows = html! {
        @for server in &found.servers {
            tr {
                th scope="row" { (server.name) }
                td { code { (server.baseurl) } }
                td.wrap { (models(&server.models)) }
                td.wrap { (server.formats.join(", ")) }
                td {
                    @match &server.provider {
                        Some(id) => { (parts::badge(parts::Tone::Good, "configured")) " " (id) },
                        None => div.row data-add-provider=(server.baseurl) data-tag=(tag) hidden {
                            button type="button" { "Add" }
                            span data-state role="status" {}
                        },
                    }
                }
            }
        }
    };
    Ok(html! {
        @if !found.complete {
            (parts::notice(parts::Tone::Warn, &html! { "Not every host answered in time. Look again for the rest." }))
        }
        (parts::table("Servers that were found", &columns, &rows))
        p.under {
            "Adding one writes it into the configuration, which is saved with its history as if you had written it there. Who may use its models is a matter of "
            a href="/ui/grants" { "grants" } "."
        }
        noscript { (parts::notice(parts::Tone::Warn, &html! { "Adding needs JavaScript, or " code { "POST /api/discover" } "." })) }
    })
}

fn models(all: &[String]) -> Markup {
    html! {
        @for model in all.iter().take(MODELS) { code { (model) } " " }
        @if all.len() > MODELS {
            span.note { "and " (format::grouped((all.len() - MODELS) as u64)) " more" }
        }
    }
}
