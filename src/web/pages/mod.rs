//! The dashboard and the chat: pages for people, rendered here. A page asks what a program would
//! ask through the API, in the same words and by the same functions, so that it shows nobody more
//! than the API would; what it changes, its script changes through the API.
//!
//! A page is whole without its scripts. Everything that a model, a prompt, a client or a provider
//! wrote is text.

mod activity;
mod agents;
mod answer;
mod api;
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
mod exports;
mod format;
mod grants;
mod guardrails;
mod icons;
mod json;
mod layout;
mod list;
mod mine;
mod models;
mod overview;
mod page;
mod parts;
mod period;
mod place;
mod places;
mod providers;
mod query;
mod request;
mod requests;
mod session;
mod sessions;
mod setup;
mod tools;
mod user;
mod users;
mod version;
mod versions;

use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode, Uri, header};
use maud::html;

use crate::policy::identity::{Caller, Principal};
use crate::records::{Entry, Session, Usage};
use crate::web::api::endpoint::Endpoint;
use crate::web::api::ledger::Page as Listed;
use crate::web::api::parameters::{FromQuery, Given};
use crate::web::api::records::usage;
use crate::web::api::records::{requests as api_requests, sessions as api_sessions};
use crate::web::engines::Engines;
use crate::web::gate::is_from_elsewhere;
use crate::web::reader::Reader;
use crate::wire::{Body, Rejection};
use page::Page;
use place::Place;
use query::Query;

/// A reader who opens a page.
struct Visit<'a> {
    reader: Reader<'a>,
    places: &'static [Place],
    path: &'a str,
    /// What stands in place of the braces of the page's path.
    id: String,
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
    engines: &Engines<'_>,
    caller: &Caller,
    request: &Parts,
    secure: bool,
) -> Response<Body> {
    let response = answered(engines, caller, request, secure).await;
    if secure || *caller.principal() == Principal::Loopback {
        answer::without_opener(response)
    } else {
        response
    }
}

async fn answered(
    engines: &Engines<'_>,
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
    let reader = match Reader::admit(*engines, caller).await {
        Ok(reader) => reader,
        Err(rejection) => {
            count(engines, caller, path, &rejection);
            let page = layout::document(&refused(&rejection, caller), None);
            return answer::page(rejection.status, page, &request.headers);
        }
    };
    let found = places::find(path);
    let visit = Visit {
        places: places::ALL,
        path,
        id: found.map_or_else(String::new, |(_, id)| query::decoded(id)),
        query: asked(request, &reader),
        origin: origin(request, secure),
        reader,
    };
    let (status, page) = match show(&visit, found.map(|(place, _)| place)).await {
        Ok(page) => (StatusCode::OK, page),
        Err(rejection) => {
            count(engines, caller, path, &rejection);
            (rejection.status, refused(&rejection, caller))
        }
    };
    let page = layout::document(&page, Some(&visit));
    answer::page(status, page, &request.headers)
}

/// The query of a page. A user's records are their own: whose they are is nothing to ask for. And
/// a link on another site leads to a page, but doesn't make it read a conversation, which is
/// noted, or look for servers.
fn asked(request: &Parts, reader: &Reader<'_>) -> Query {
    let mut query = Query::parse(request.uri.query().unwrap_or_default());
    if is_from_elsewhere(&request.headers) {
        query = query.without(&["view", "look"]);
    }
    if reader.is_admin() {
        query
    } else {
        query.without(&["login"])
    }
}

async fn show(visit: &Visit<'_>, place: Option<&Place>) -> Result<Page, Rejection> {
    // Nobody else's page is made for a user, whatever the API would tell of it.
    let for_admins = ["/ui/users/", "/ui/config/", "/ui/providers/"];
    if place.is_some_and(|place| place.is_for_admins)
        || for_admins
            .iter()
            .any(|folder| visit.path.starts_with(folder))
    {
        visit.reader.require_admin()?;
    }
    match place {
        Some(place) => (place.show)(visit).await,
        None => Err(no_such_page(visit.path)),
    }
}

impl Visit<'_> {
    /// What an endpoint of the API reads from a query: refused where the API would refuse it.
    fn read<T: FromQuery>(&self, endpoint: &Endpoint, query: &Query) -> Result<T, Rejection> {
        let given = Given::by_page(endpoint.parameters, query.pairs())?;
        given.permitted(&self.reader.permit)?;
        given.read()
    }

    /// Columns that only admins see.
    fn for_admins<'c>(&self, columns: &'c [&'c str]) -> &'c [&'c str] {
        if self.reader.is_admin() { columns } else { &[] }
    }

    /// Sums of the API's reports.
    async fn sums(&self, query: &Query) -> Result<Usage, Rejection> {
        let question: usage::Question = self.read(&usage::ENDPOINT, query)?;
        usage::sums(&self.reader, question.report()?).await
    }

    async fn requests(&self, query: &Query) -> Result<Listed<Entry>, Rejection> {
        let listing = self.read(&api_requests::ENDPOINT, query)?;
        api_requests::page(&self.reader, listing).await
    }

    async fn sessions(&self, query: &Query) -> Result<Listed<Session>, Rejection> {
        let listing = self.read(&api_sessions::ENDPOINT, query)?;
        api_sessions::page(&self.reader, listing).await
    }
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
fn count(engines: &Engines<'_>, caller: &Caller, path: &str, rejection: &Rejection) {
    if rejection.status == StatusCode::FORBIDDEN {
        let listed = places::find(path).filter(|(place, _)| place.menu.is_some());
        let route = listed.map_or("/ui/{page}", |(place, _)| place.path);
        let refusals = &engines.management.refusals;
        refusals.count(caller, route, rejection.code.0);
    }
}

fn no_such_page(path: &str) -> Rejection {
    let shown: String = path.chars().take(200).collect();
    let why = format!("no page {shown:?}");
    Rejection::new(StatusCode::NOT_FOUND, "no_such_page", why)
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
