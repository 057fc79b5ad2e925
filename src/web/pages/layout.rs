//! The frame of every page: the head, the menu, and which caller the reader is.

use maud::{DOCTYPE, Markup, html};

use super::icons::icon;
use super::page::Page;
use super::place::{CHAT, Group, Menu, Place};
use super::{Visit, assets};

/// The whole document. Without a visit, for those who have no role, there is no menu.
pub(super) fn document(page: &Page, visit: Option<&Visit<'_>>) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (page.title) " · Iris" }
                link rel="icon" href=(assets::address("icon.svg")) type="image/svg+xml";
                link rel="stylesheet" href=(assets::address("app.css"));
                script src=(assets::address("theme.js")) {}
                script type="module" src=(assets::address("app.js")) {}
                @if page.live { script type="module" src=(assets::address("live.js")) {} }
                @for script in page.scripts {
                    script type="module" src=(assets::address(script)) {}
                }
            }
            body class=[page.wide.then_some("wide")] data-origin=[visit.map(|visit| visit.origin.as_str())] {
                a.skip href="#main" { "Skip to the content" }
                @if let Some(visit) = visit { (bar()) (menu(visit)) }
                main id="main" tabindex="-1" data-live[page.live] {
                    (head(page))
                    (page.body)
                }
            }
        }
    }
}

fn head(page: &Page) -> Markup {
    html! {
        header.page {
            @if !page.above.is_empty() {
                nav.above aria-label="Where this page is" {
                    @for (address, name) in &page.above { a href=(address) { (name) } " / " }
                }
            }
            div.title { h1 { (page.title) } div.actions { (page.actions) } }
        }
    }
}

/// The sign of the product.
fn sign() -> Markup {
    html! {
        a.brand href="/ui/" {
            svg viewBox="0 0 32 32" aria-hidden="true" focusable="false" {
                circle cx="16" cy="16" r="13" {}
                path d="M16 3a13 13 0 0 1 0 15M29 16a13 13 0 0 1-15 0M16 29a13 13 0 0 1 0-15M3 16a13 13 0 0 1 15 0" {}
            }
            "Iris"
        }
    }
}

/// On narrow screens, in place of the menu.
fn bar() -> Markup {
    html! { header.topbar { (sign()) a.button href="#menu" { "Menu" } } }
}

fn menu(visit: &Visit<'_>) -> Markup {
    let (name, node) = (visit.reader.caller.name(), visit.reader.caller.node_name());
    html! {
        nav.menu id="menu" aria-label="Pages" {
            div.menu-head {
                (sign())
                a.button.close href="#" { "Close" }
                button.palette type="button" data-palette hidden aria-haspopup="dialog" {
                    (icon("search")) span { "Go to…" } kbd data-palette-key { "Ctrl K" }
                }
            }
            @for group in Group::ALL {
                @let places: Vec<_> = shown(visit).filter(|(_, menu)| menu.group == group).collect();
                @if !places.is_empty() {
                    h2 { (group.name()) }
                    ul {
                        @for (place, menu) in places {
                            li {
                                a href=(place.path)
                                    aria-current=[is_here(visit, place).then_some("page")] {
                                    (icon(menu.icon)) (menu.name)
                                }
                            }
                        }
                    }
                }
            }
            footer {
                div.who {
                    span.name title=(name) { (name) }
                    span.node { (node) @if visit.reader.is_admin() { " · admin" } }
                }
                button.theme type="button" data-theme-switch hidden { "Theme" }
            }
        }
    }
}

/// The pages that a visitor can open.
fn shown<'v>(visit: &'v Visit<'_>) -> impl Iterator<Item = (&'static Place, &'static Menu)> + 'v {
    let places = visit.places.iter();
    let listed = places.filter_map(|place| Some((place, place.menu.as_ref()?)));
    listed.filter(|(place, _)| {
        (visit.reader.is_admin() || !place.is_for_admins)
            && (place.path != CHAT || visit.reader.permit.may_chat())
    })
}

/// Whether the page shown is this one, or one below it.
fn is_here(visit: &Visit<'_>, place: &Place) -> bool {
    let below = |path: &str| {
        path.strip_prefix(place.path)
            .is_some_and(|rest| rest.starts_with('/'))
    };
    visit.path == place.path || (place.path != "/ui/" && below(visit.path))
}
