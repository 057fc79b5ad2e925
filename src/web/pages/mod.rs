//! The dashboard and the chat: pages for people, rendered here. A page asks what a program would
//! ask through the API, in the same words and by the same functions, so that it shows nobody more
//! than the API would; what it changes, its script changes through the API.
//!
//! A page is whole without its scripts. Everything that a model, a prompt, a client or a provider
//! wrote is text.

mod activity;
mod answer;
mod assets;
mod audit;
mod breakdown;
mod budgets;
mod chart;
mod chat;
mod configuration;
mod connection;
mod conversation;
mod discover;
mod format;
mod gateway;
mod grants;
mod guardrails;
mod icons;
mod json;
mod layout;
mod models;
mod overview;
mod parts;
mod people;
mod period;
mod places;
mod query;
mod request;
mod sessions;
mod setup;
mod tools;

use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode, Uri, header};
use maud::html;

use crate::net::listen::is_from_elsewhere;
use crate::policy::access::{Permit, Role};
use crate::policy::identity::{Caller, Principal};
use crate::web::api::{self, Asked, View, records, usage};
use crate::wire::{Body, Rejection};
use layout::Page;
use places::{For, Show};
use query::Query;

/// A reader who opens a page.
struct Visit<'a> {
    view: &'a View<'a>,
    caller: &'a Caller,
    permit: &'a Permit,
    path: &'a str,
    query: Query,
    /// Where the reader finds this gateway, such as `http://ai`.
    origin: String,
}

/// Whether a request is for a page, or for a file of one.
#[must_use]
pub fn owns(method: &Method, uri: &Uri, headers: &HeaderMap) -> bool {
    let path = uri.path();
    if !matches!(*method, Method::GET | Method::HEAD) {
        return false;
    }
    path.starts_with("/ui/")
        || places::MOVED.iter().any(|(from, _)| *from == path)
        || (path == "/" && is_browser(headers))
}

/// Browsers ask for HTML by name; clients of models ask for anything.
fn is_browser(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT);
    accepted
        .and_then(|accepted| accepted.to_str().ok())
        .is_some_and(|accepted| accepted.contains("text/html"))
}

/// Answers a request for a page. `secure` says that it came over HTTPS.
pub async fn handle(
    view: &View<'_>,
    caller: &Caller,
    request: &Parts,
    secure: bool,
) -> Response<Body> {
    let response = answered(view, caller, request, secure).await;
    if secure || *caller.principal() == Principal::Loopback {
        answer::without_opener(response)
    } else {
        response
    }
}

async fn answered(
    view: &View<'_>,
    caller: &Caller,
    request: &Parts,
    secure: bool,
) -> Response<Body> {
    let path = request.uri.path();
    if let Some(file) = assets::at(path, &request.headers) {
        return file;
    }
    if path == "/" {
        return answer::elsewhere("/ui/");
    }
    if let Some((_, to)) = places::MOVED.iter().find(|(from, _)| *from == path) {
        return answer::elsewhere(to);
    }
    let login = path.strip_prefix(places::DASHBOARD);
    if let Some(login) = login.filter(|login| !login.is_empty() && !login.contains('/')) {
        return answer::elsewhere(&format!("/ui/users/{login}"));
    }
    let permit = match api::permitted(view, caller) {
        Ok(permit) => permit,
        Err(rejection) => {
            count(view, caller, path, &rejection);
            let page = layout::document(&refused(&rejection, caller), None);
            return answer::page(rejection.status, page, &request.headers);
        }
    };
    records::take_earlier(view.ledger, caller).await;
    let visit = Visit {
        view,
        caller,
        permit: &permit,
        path,
        query: asked(request, &permit),
        origin: origin(request, secure),
    };
    let (status, page) = match show(&visit).await {
        Ok(page) => (StatusCode::OK, page),
        Err(rejection) => {
            count(view, caller, path, &rejection);
            (rejection.status, refused(&rejection, caller))
        }
    };
    let page = layout::document(&page, Some(&visit));
    answer::page(status, page, &request.headers)
}

/// The query of a page. A user's records are their own: whose they are is nothing to ask for. And
/// a link on another site leads to a page, but doesn't make it read a conversation, which is
/// noted, or look for servers.
fn asked(request: &Parts, permit: &Permit) -> Query {
    let mut query = Query::parse(request.uri.query().unwrap_or_default());
    if is_from_elsewhere(&request.headers) {
        query = query.without(&["view", "look"]);
    }
    match permit.role() {
        Role::Admin => query,
        Role::User => query.without(&["login"]),
    }
}

async fn show(visit: &Visit<'_>) -> Result<Page, Rejection> {
    let is_admin = visit.permit.role() == Role::Admin;
    if let Some(place) = places::ALL.iter().find(|place| place.path == visit.path) {
        if place.audience == For::Admins && !is_admin && place.show != Show::Budgets {
            return Err(not_admin());
        }
        return match place.show {
            Show::Agents => gateway::agents(visit).await,
            Show::Api => Ok(gateway::api()),
            Show::Audit => audit::page(visit).await,
            Show::Budgets => budgets::page(visit).await,
            Show::Chat => chat::page(visit),
            Show::Configuration => configuration::page(visit),
            Show::Connection => Ok(connection::page(visit).await),
            Show::Exports => gateway::exports(visit).await,
            Show::Grants => grants::page(visit).await,
            Show::Guardrails => guardrails::page(visit).await,
            Show::Mine => people::mine(visit).await,
            Show::Models => Ok(models::page(visit)),
            Show::Overview => overview::page(visit).await,
            Show::Providers => gateway::providers(visit).await,
            Show::Requests => sessions::requests(visit).await,
            Show::Sessions => sessions::page(visit).await,
            Show::SetUp => setup::page(visit).await,
            Show::Tools => tools::page(visit).await,
            Show::Users => people::users(visit).await,
        };
    }
    below(visit).await
}

/// Pages that are not in the menu: one thing of a list.
async fn below(visit: &Visit<'_>) -> Result<Page, Rejection> {
    let path = visit.path;
    let one = |folder: &str| {
        let rest = path.strip_prefix(folder)?;
        (!rest.is_empty() && !rest.contains('/')).then(|| query::decoded(rest))
    };
    if path == "/ui/sessions/one" {
        return sessions::one(visit).await;
    }
    if let Some(id) = one("/ui/requests/") {
        return request::page(visit, &id).await;
    }
    // Nobody else's page is made for a user, whatever the API would tell of it.
    let for_admins = ["/ui/users/", "/ui/config/", "/ui/providers/"];
    if for_admins.iter().any(|folder| path.starts_with(folder)) && !visit.is_admin() {
        return Err(not_admin());
    }
    if let Some(login) = one("/ui/users/") {
        return people::one(visit, &login).await;
    }
    if path == "/ui/providers/discover" {
        return discover::page(visit).await;
    }
    if path == "/ui/config/history" {
        return configuration::versions(visit).await;
    }
    match one("/ui/config/history/") {
        Some(id) => configuration::version(visit, &query::encoded(&id)).await,
        None => Err(no_such_page(path)),
    }
}

impl Visit<'_> {
    /// A question to a route of the API, as this reader.
    fn ask<'p>(&'p self, path: &'p str, query: &Query) -> Result<Asked<'p>, Rejection> {
        Asked::by_page(
            self.view.ledger,
            (self.caller, self.permit),
            path,
            &query.text(),
        )
    }

    /// Sums of the API's reports.
    async fn sums(&self, query: &Query) -> Result<usage::Sums, Rejection> {
        usage::sums(self.view, &self.ask("/api/usage", query)?).await
    }

    async fn requests(
        &self,
        query: &Query,
    ) -> Result<records::Page<crate::records::Entry>, Rejection> {
        records::request_page(self.view, &self.ask("/api/requests", query)?).await
    }

    async fn sessions(
        &self,
        query: &Query,
    ) -> Result<records::Page<crate::records::Session>, Rejection> {
        records::session_page(self.view, &self.ask("/api/sessions", query)?).await
    }

    fn is_admin(&self) -> bool {
        self.permit.role() == Role::Admin
    }
}

/// Whether the chat is there for a reader.
fn may_chat(visit: &Visit<'_>) -> bool {
    visit.permit.may_chat()
}

fn origin(request: &Parts, secure: bool) -> String {
    let host = request.headers.get(header::HOST);
    let host = host
        .and_then(|host| host.to_str().ok())
        .or_else(|| request.uri.authority().map(http::uri::Authority::as_str));
    let scheme = if secure { "https" } else { "http" };
    format!("{scheme}://{}", host.unwrap_or("ai"))
}

/// Refusals are counted for the audit log, here as at the API.
fn count(view: &View<'_>, caller: &Caller, path: &str, rejection: &Rejection) {
    if rejection.status == StatusCode::FORBIDDEN {
        let route = places::ALL.iter().find(|place| place.path == path);
        let route = route.map_or("/ui/{page}", |place| place.path);
        view.refusals.count(caller, route, rejection.code.0);
    }
}

fn not_admin() -> Rejection {
    Rejection::new(
        StatusCode::FORBIDDEN,
        "not_admin",
        "access denied: admin role required",
    )
}

fn no_such_page(path: &str) -> Rejection {
    let shown: String = path.chars().take(200).collect();
    Rejection::new(
        StatusCode::NOT_FOUND,
        "no_such_page",
        format!("no page {shown:?}"),
    )
}

/// Why there is no page, and what to do about it.
fn refused(rejection: &Rejection, caller: &Caller) -> Page {
    let (title, advice) = match rejection.code.0 {
        "no_role" => (
            "You have no access yet",
            "You don't have a role on this gateway. Ask an admin for one, and tell them the login and \
             the device below.",
        ),
        "not_admin" => (
            "This page is for admins",
            "You are a user here. The menu has your own usage, models and sessions.",
        ),
        "no_such_page" | "no_such_record" => (
            "Not found",
            "It doesn't exist, was deleted, or belongs to someone else.",
        ),
        _ => ("Something went wrong", "The reason is below."),
    };
    Page::new(
        title,
        html! {
            p.lead { (advice) }
            (parts::facts(&[
                ("Status", html! { (rejection.status.as_u16()) " " code { (rejection.code.0) } }),
                ("Reason", html! { (rejection.message) }),
                ("You are", html! { (caller.name()) }),
                ("Device", html! { (caller.node_name()) }),
            ]))
        },
    )
}
