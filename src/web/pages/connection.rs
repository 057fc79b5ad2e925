//! The node with its names, key and certificate, alerts, and the findings of the configuration.

use maud::{Markup, html};

use super::page::Page;
use super::place::{Group, Place};
use super::{Visit, format, parts};
use crate::base::clock;
use crate::config::{Mode, Severity};
use crate::net::tailnet::{State, Status};
use crate::web::alerts::{self, Warning};

/// Warnings that a strip shows.
const STRIP: usize = 3;

pub(super) const PLACE: Place = Place::for_admins("/ui/connection", |visit| {
    Box::pin(async move { Ok(page(visit).await) })
})
.listed("Connection", "connection", Group::Gateway);

async fn page(visit: &Visit<'_>) -> Page {
    let warnings = visit.reader.engines.alerts(&visit.reader.rules).await;
    let node = visit.reader.engines.node_status();
    // What the process was started with: a change waits for the next start.
    let listen = visit.reader.engines.management.warnings.started.listen();
    let names = &visit.reader.rules.file.listen.names;
    let port = |port: Option<u16>| {
        let at = match (port, &node) {
            (None, _) => "not served".to_owned(),
            (Some(_), None) => "off: not on a tailnet".to_owned(),
            (Some(port), Some(_)) => format!("port {port} on the tailnet"),
        };
        html! { (at) }
    };
    let loopback = match (listen.loopback, &node) {
        (Some(address), _) if address.port() == 0 => format!("{}, any free port", address.ip()),
        (Some(address), _) => address.to_string(),
        (None, None) => crate::config::LOOPBACK.to_owned(),
        (None, Some(_)) => "not served".to_owned(),
    };
    let body = html! {
        (all(&warnings))
        (of_node(visit, node.as_ref()))
        (parts::section("Where it listens", &parts::facts(&[
            ("This page", html! { code { (visit.origin) } }),
            ("HTTP", port(listen.http)),
            ("HTTPS", port(listen.https)),
            ("Loopback", html! { (loopback) }),
            ("More names", html! { @if names.is_empty() { "none" } @else { (names.join(", ")) } }),
        ])))
        (parts::section("The process", &parts::facts(&[
            ("Version", html! { (env!("CARGO_PKG_VERSION")) }),
            ("Records", if visit.reader.ledger().healthy() { parts::badge(parts::Tone::Good, "written") } else { parts::badge(parts::Tone::Bad, "can't be written") }),
            ("Configuration", html! { "loaded " (format::count(visit.reader.rules.generation, "time", "times")) }),
        ])))
        (findings(visit))
    };
    Page::new("Connection", body).live()
}

fn of_node(visit: &Visit<'_>, node: Option<&Status>) -> Markup {
    let mode = match visit.reader.rules.file.tailnet.mode {
        Mode::Embedded => "a node of its own",
        Mode::Host => "this machine's tailscaled",
        Mode::Off => "not on a tailnet: loopback only",
    };
    let Some(node) = node else {
        return html! {
            (parts::facts(&[("Tailnet", html! { (mode) })]))
            (parts::notice(parts::Tone::Plain, &html! {
                "Only this machine can reach the gateway. To put it on a tailnet, set "
                code { "tailnet.mode" } " to " code { "embedded" } " in the " a href="/ui/config" { "configuration" } "."
            }))
        };
    };
    let state = match node.state {
        State::Running => parts::badge(parts::Tone::Good, "running"),
        State::Starting => parts::badge(parts::Tone::Warn, "starting"),
        State::NeedsLogin => parts::badge(parts::Tone::Bad, "needs to sign in"),
        State::NeedsMachineAuth => parts::badge(parts::Tone::Bad, "waits for approval"),
        State::Stopped => parts::badge(parts::Tone::Bad, "stopped"),
        State::NoState => parts::badge(parts::Tone::Warn, "no state yet"),
    };
    // The control server names it; nothing but an address of the web becomes a link.
    let sign_in = node
        .auth_url
        .as_deref()
        .filter(|url| url.starts_with("https://") || url.starts_with("http://"));
    let addresses: Vec<String> = node.addresses.iter().map(ToString::to_string).collect();
    html! {
        @if let Some(url) = sign_in {
            (parts::notice(parts::Tone::Warn, &html! {
                "The node has to sign in: " a href=(url) rel="noreferrer noopener" { (url) }
            }))
        }
        (parts::facts(&[
            ("Tailnet", html! { (mode) }),
            ("State", state),
            ("Name", parts::maybe(node.dns_name.clone())),
            ("Tailnet name", parts::maybe(node.tailnet.clone())),
            ("Addresses", html! { (addresses.join(", ")) }),
            ("Key expires", parts::maybe(node.key_expiry.clone())),
            ("Control server", html! {
                @match node.heard_at {
                    Some(at) => { "last heard " (parts::ago(clock::unix_ms(), at)) },
                    None => (parts::unknown("not heard yet")),
                }
                @if let Some(trouble) = &node.trouble { br; span.note { (alerts::words(trouble)) } }
            }),
            ("Certificate", html! {
                @if node.cert_domains.is_empty() { "none: HTTPS is not enabled in the tailnet" }
                @else { @for domain in &node.cert_domains { (certificate(visit, domain)) } }
            }),
        ]))
    }
}

/// The certificate for a domain, which is had when HTTPS is first served.
fn certificate(visit: &Visit<'_>, domain: &str) -> Markup {
    let certificates = visit.reader.engines.management.signals.certificates();
    let of = certificates.get(domain);
    html! {
        p {
            (domain) ": "
            @match of.and_then(|one| one.ends_at) {
                Some(at) => { "until " (parts::time(at)) },
                None => (parts::unknown("none yet")),
            }
            @if let Some(why) = of.and_then(|one| one.error.as_ref()) { br; span.note { (why) } }
        }
    }
}

/// Alerts, each with what to do about it.
fn all(warnings: &[Warning]) -> Markup {
    let now = clock::unix_ms();
    html! {
        @for one in warnings {
            (parts::notice(tone(one), &html! {
                strong { (one.message) } br; span.note { (one.hint) " · since " (parts::ago(now, one.since)) }
            }))
        }
    }
}

/// The gravest alerts in one strip, for other pages.
pub(super) async fn strip(visit: &Visit<'_>) -> Markup {
    let warnings = visit.reader.engines.alerts(&visit.reader.rules).await;
    let Some(first) = warnings.first() else {
        return html! {};
    };
    parts::notice(
        tone(first),
        &html! {
            @for one in warnings.iter().take(STRIP) { div { (one.message) } }
            a href="/ui/connection" {
                @if warnings.len() > STRIP { "All " (warnings.len()) " alerts" } @else { "What to do" }
            }
        },
    )
}

fn tone(warning: &Warning) -> parts::Tone {
    match warning.severity {
        alerts::Severity::Critical => parts::Tone::Bad,
        alerts::Severity::Warning => parts::Tone::Warn,
    }
}

fn findings(visit: &Visit<'_>) -> Markup {
    let found = &visit.reader.rules.findings;
    let rows = html! {
        @for finding in found {
            tr {
                td { (match finding.severity {
                    Severity::Error => parts::badge(parts::Tone::Bad, "error"),
                    Severity::Warning => parts::badge(parts::Tone::Warn, "warning"),
                    Severity::Note => parts::badge(parts::Tone::Plain, "note"),
                }) }
                td.n { @if finding.at.line > 0 { (finding.at.line) } }
                td.wrap { code { (finding.path) } }
                td.wrap { (finding.message) @if let Some(hint) = &finding.hint { br; span.note { (hint) } } }
            }
        }
    };
    let columns = parts::words(&["Kind"])
        .numbers(&["Line"])
        .words(&["Where", "What"]);
    html! {
        @if !found.is_empty() {
            (parts::section("Findings in the configuration", &parts::table("Findings", &columns, &rows)))
        }
    }
}
