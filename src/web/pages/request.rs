//! One request: figures, the timeline of its decisions, and what was said.

use maud::{Markup, html};

use super::query::encoded;
use super::sessions::{named, session_page};
use super::{Page, Place, Query, Visit, activity, conversation, format, json, parts};
use crate::records::{Capture, Entry};
use crate::web::api::records::request::{self, Request};
use crate::web::api::records::{capture, explanation};
use crate::wire::{HeaderList, Rejection};

/// What a page shows of a request: name in the address, and for people.
const VIEWS: [(&str, &str); 5] = [
    ("story", "Timeline"),
    ("conversation", "Conversation"),
    ("request", "Request"),
    ("response", "Response"),
    ("raw", "Raw response"),
];

pub(super) const PLACE: Place =
    Place::for_everyone("/ui/requests/{id}", |visit| Box::pin(page(visit)));

async fn page(visit: &Visit<'_>) -> Result<Page, Rejection> {
    let id = encoded(&visit.id);
    let request = request::request(&visit.reader, &id).await?;
    let entry = &request.entry;
    let shown = visit.query.get("view").unwrap_or("story");
    let here = format!("/ui/requests/{}", entry.id);
    let views = parts::views(&Query::default(), &here, "view", VIEWS, shown);
    let content = match shown {
        "story" => timeline(&request),
        _ if !entry.captured => parts::empty(
            "The content of this request was not kept",
            &html! {
                "Captures were off, or it has been deleted since. "
                "The section " code { "database.retention" } " of the configuration sets how long content is kept."
            },
        ),
        _ => match capture::capture(&visit.reader, &id).await {
            Ok(capture) => captured(entry, &capture, shown),
            Err(rejection) if rejection.code.0 == "no_captures" => forbidden(),
            Err(rejection) => return Err(rejection),
        },
    };
    let body = html! {
        (head(visit, entry))
        (figures(entry))
        (parts::tabs("What is shown of the request", &views))
        (content)
    };
    let session = session_page(&entry.login, &entry.session);
    Ok(Page::new("Request", body)
        .below("/ui/sessions", "Sessions")
        .below(session, "Session"))
}

/// What others said is not for this admin.
fn forbidden() -> Markup {
    parts::empty(
        "You don't have access to what others said",
        &html! { "Reading it needs a grant with " code { "read_captures" } ". The timeline is still available." },
    )
}

fn head(visit: &Visit<'_>, entry: &Entry) -> Markup {
    let user = html! {
        @if visit.reader.is_admin() { a href=(activity::user_page(&entry.login)) { (entry.login) } }
        @else { (entry.login) }
    };
    let model = html! {
        @if entry.model.is_empty() {
            (named(&entry.model_requested)) " " span.note { "as requested; it was not routed" }
        } @else {
            (entry.model)
            @if entry.model != entry.model_requested { " " span.note { "requested as " (entry.model_requested) } }
        }
    };
    let provider = html! {
        @if entry.provider.is_empty() { (parts::unknown("no provider was asked")) } @else { (entry.provider) }
    };
    html! {
        dl.facts {
            (parts::fact("Outcome", &parts::outcome(entry)))
            (parts::fact("Started", &parts::time(entry.started_at)))
            (parts::fact("User", &user))
            (parts::fact("Device", &entry.node_name.as_str()))
            (parts::fact("Agent", &named(&entry.agent)))
            (parts::fact("Model", &model))
            (parts::fact("Provider", &provider))
            (parts::fact("API", &html! { code { (entry.api) } @if entry.stream { " streamed" } }))
            @if let Some(via) = &entry.via { (parts::fact("Application", &via.as_str())) }
            @if !entry.labels.is_empty() {
                (parts::fact("Labels", &html! {
                    @for (key, value) in entry.labels.iter() { code { (key) "=" (value) } " " }
                }))
            }
            (parts::fact("Id", &html! { code { (entry.id) } }))
            @if let Some(error) = &entry.error { (parts::fact("Error", &html! { span.bad { (error) } })) }
        }
    }
}

fn figures(entry: &Entry) -> Markup {
    let tokens = &entry.tokens;
    let span = |ms: Option<f64>| parts::maybe(ms.map(format::span));
    html! {
        dl.cards {
            (parts::card("Input", parts::tokens(tokens.input), html! { "tokens, " (parts::tokens(tokens.cached)) " cached" }))
            (parts::card("Output", parts::tokens(tokens.output), html! { "tokens, " (parts::tokens(tokens.reasoning)) " reasoning" }))
            (parts::card("Cost", parts::entry_cost(entry), html! {
                @match &entry.cost_basis { Some(basis) => { "price list " (basis) } None if entry.cost.is_some() => "nothing was sent to a provider", None => "no price is known" }
            }))
            (parts::card("Duration", format::span(entry.duration_ms), html! { "first token " (span(entry.first_token_ms)) }))
            (parts::card("Before the provider", span(entry.overhead_ms), html! { "first byte " (span(entry.first_byte_ms)) }))
            (parts::card("Bytes", format::bytes(entry.response_bytes), html! { (format::bytes(entry.request_bytes)) " sent" }))
        }
    }
}

/// Every decision with its reason, and the tools that the answer called.
fn timeline(request: &Request) -> Markup {
    let entry = &request.entry;
    html! {
        section {
            h2 { "What happened" }
            ol.story {
                li {
                    (entry.login) " on " (entry.node_name) " asked for "
                    b { (entry.model_requested) } " with " code { (entry.method) " " (entry.path) }
                    @if !entry.tags.is_empty() { " (tags " (entry.tags.join(", ")) ")" }
                }
                @for reason in &entry.reasons { li { (reason) } }
                li.end { (explanation::summary(entry)) }
                @if let Some(reason) = &entry.finish_reason { li { "the response ended with " code { (reason) } } }
            }
        }
        @if !request.tools.is_empty() {
            section {
                h2 { "Tools that the response called" }
                @for tool in &request.tools {
                    (parts::code(&tool.name, &pretty(&tool.params)))
                }
            }
        }
        section {
            h2 { "Sent by" }
            (parts::facts(&[("User agent", named(&entry.user_agent))]))
            @if !request.headers.is_empty() {
                @let named = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
                (headers("Headers by which it can be found", named))
            }
        }
    }
}

/// JSON text with line breaks; other text as it is.
fn pretty(text: &str) -> String {
    let parsed: Result<serde_json::Value, _> = serde_json::from_str(text);
    match parsed {
        Ok(value) => format!("{value:#}"),
        Err(_) => text.to_owned(),
    }
}

fn captured(entry: &Entry, capture: &Capture, shown: &str) -> Markup {
    let download = format!("/api/requests/{}/capture", entry.id);
    html! {
        p.under { a href=(download) download { "Download the capture" } }
        @if capture.truncated {
            (parts::notice(parts::Tone::Warn, &html! { "A body was too long to be kept whole. The key "code { "limits.capture" } " sets how much is kept." }))
        }
        @match shown {
            "request" => (message(&capture.request_headers, &capture.request_body)),
            "response" => (message(&capture.response_headers, &capture.response_body)),
            "raw" => @match &capture.raw {
                Some(raw) => (block(raw)),
                None => (parts::empty("The raw response was not kept", &html! {
                    "The tab Response has it in one piece. The key " code { "database.save_raws" } " keeps raw responses too."
                })),
            },
            _ => (conversation::show(&entry.api, capture)),
        }
    }
}

fn message(head: &HeaderList, body: &[u8]) -> Markup {
    html! {
        section { h2 { "Headers" } (headers("Headers, without credentials", head.iter())) }
        section { h2 { "Body" } (block(body)) }
    }
}

fn headers<'a>(caption: &str, all: impl Iterator<Item = (&'a str, &'a str)>) -> Markup {
    let rows = html! {
        @for (name, value) in all {
            tr { th scope="row" { code { (name) } } td.wrap { code { (value) } } }
        }
    };
    let columns = parts::words(&["Name", "Value"]);
    parts::table(caption, &columns, &rows)
}

fn block(bytes: &[u8]) -> Markup {
    if bytes.is_empty() {
        return html! { p.unknown { "empty" } };
    }
    let (text, cut) = json::body(bytes);
    html! {
        pre.json tabindex="0" role="region" aria-label="Body" { (text) }
        @if cut { p.under { "Shortened here. The download has all of it." } }
    }
}
