//! What an endpoint is: one value with its path, who may call it, its parameters, its description,
//! the schema of its answer and the function that answers. Requests are dispatched by these values
//! and the `OpenAPI` description is made from them, so neither can say what the other doesn't.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;

use super::parameters::{Given, Parameter};
use crate::web::engines::Engines;
use crate::web::reader::Reader;
use crate::wire::{Body, Rejection};

/// A response, or why there is none.
pub(super) type Reply = Result<Response<Body>, Rejection>;

type Handle = for<'a> fn(Call<'a>) -> BoxFuture<'a, Reply>;

/// Who may call an endpoint, and what answers them.
pub(super) enum Handler {
    /// Every device that reaches the gateway: it tells nothing but that the gateway runs.
    Everyone(fn(&Engines<'_>) -> Reply),
    /// Callers with a role. Users see their own, admins everyone's.
    Role(Handle),
    Admin(Handle),
}

type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// What an endpoint answers with.
#[derive(Clone, Copy)]
pub(super) enum Content {
    Json(SchemaOf),
    Text,
    Events,
}

/// JSON in the form of a type.
pub(super) const fn json_of<T: JsonSchema>() -> Content {
    Content::Json(SchemaGenerator::subschema_for::<T>)
}

/// A body in the form of a type.
pub(super) const fn taken<T: JsonSchema>() -> SchemaOf {
    SchemaGenerator::subschema_for::<T>
}

/// One method of a path.
pub(in crate::web) struct Endpoint {
    pub method: &'static Method,
    /// A segment in braces stands for any one segment, and `{model}` for all that follow.
    pub path: &'static str,
    /// Other paths for the same.
    pub aliases: &'static [&'static str],
    /// Its name in the description.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub about: &'static str,
    pub parameters: &'static [Parameter],
    /// The body that it takes.
    pub body: Option<SchemaOf>,
    pub(super) answer: Content,
    /// Whether the answer can be had as CSV.
    pub csv: bool,
    /// Whether the header `If-Match` is required, and what it holds; `None` if it is ignored.
    pub if_match: Option<(bool, &'static str)>,
    /// Statuses of its own, besides those that its kind has.
    pub refusals: &'static [(&'static str, &'static str)],
    pub(super) handler: Handler,
}

impl Endpoint {
    /// What most endpoints have in common.
    pub(super) const GET: Self = Self {
        method: &Method::GET,
        path: "",
        aliases: &[],
        name: "",
        about: "",
        parameters: &[],
        body: None,
        answer: Content::Text,
        csv: false,
        if_match: None,
        refusals: &[],
        handler: Handler::Role(|_| Box::pin(async { Err(Rejection::panicked()) })),
    };

    /// Its paths.
    pub(in crate::web) fn paths(&self) -> impl Iterator<Item = &'static str> + use<> {
        std::iter::once(self.path).chain(self.aliases.iter().copied())
    }

    /// Whether it is what a request with this method is for: `HEAD` reads as well.
    pub(super) fn takes(&self, method: &Method) -> bool {
        method == self.method || (self.method == Method::GET && method == Method::HEAD)
    }

    /// What stands in a path in place of the braces; empty for one without.
    pub(super) fn id_in<'p>(&self, path: &'p str) -> Option<&'p str> {
        self.paths().find_map(|pattern| matched(pattern, path))
    }
}

/// What stands in a path in place of a pattern's braces.
pub(in crate::web) fn matched<'p>(pattern: &str, path: &'p str) -> Option<&'p str> {
    // A model's name may hold slashes.
    if let Some(before) = pattern.strip_suffix("{model}") {
        return path.strip_prefix(before).filter(|rest| !rest.is_empty());
    }
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    let mut id = "";
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(id),
            (Some(wanted), Some(given)) if wanted.starts_with('{') && !given.is_empty() => {
                id = given;
            }
            (Some(wanted), Some(given)) if wanted == given => {}
            _ => return None,
        }
    }
}

/// A request to an endpoint, once all that the endpoint demands is met.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub reader: &'a Reader<'a>,
    /// What stands in place of the path's braces; empty for a path without.
    pub id: &'a str,
    pub given: &'a Given,
    /// All endpoints, for those that describe them.
    pub table: &'static [Endpoint],
    pub head: &'a Parts,
    pub body: &'a Bytes,
}

impl Call<'_> {
    /// The body as what the endpoint takes; a key that stands there twice is refused.
    pub(super) fn body<T: DeserializeOwned>(&self) -> Result<T, Rejection> {
        let bad = |why: String| {
            let why = format!("the request body is not acceptable: {why}");
            Rejection::new(StatusCode::BAD_REQUEST, "invalid_request", why)
        };
        crate::wire::json::scan(self.body, &[]).map_err(|error| bad(error.to_string()))?;
        serde_json::from_slice(self.body).map_err(|error| {
            let why = error.to_string();
            // A value that has the wrong type can be a secret all the same.
            let wanted = why
                .starts_with("invalid ")
                .then(|| why.rsplit_once("expected "));
            bad(match wanted.flatten() {
                Some((_, wanted)) => format!("a value is not {wanted}"),
                None => why,
            })
        })
    }
}
