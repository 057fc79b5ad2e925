//! Asking a server for its models and its formats. Asking for formats starts no work: a known route
//! refuses an empty object because something is missing in it, and an unknown route is not found.
//! Every answer is bounded in time and in bytes.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderName, StatusCode};
use serde::Deserialize;

use super::server::{Formats, Kind};
use crate::config::PLACEHOLDER;
use crate::net::client::{Client, Errand};
use crate::policy::route::Provider;
use crate::wire::text::steers;

/// What only Ollama and servers that copy all of its API refuse for want of a model: others have some of
/// its routes, with responses in another form.
const OLLAMA: &str = "/api/show";
/// Longest document that a provider is asked for.
const LONGEST_DOCUMENT: usize = 8 << 20;
/// Longest answer to an empty request.
const LONGEST: usize = 64 << 10;
const MOST_MODELS: usize = 2_000;
const LONGEST_MODEL: usize = 200;
/// Characters of a refusal that are shown.
const LONGEST_REASON: usize = 300;
/// A path that no server has. One that takes it for a route answers everything alike.
const NOWHERE: &str = "/v1/iris-asks-whether-unknown-routes-are-refused";

/// An answer to the question for models.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// The models, and what serves them if that is known.
    Models(Vec<String>, Option<Kind>),
    /// The server refuses: its status, and what it says.
    Refused(StatusCode, String),
    /// It answers with something that is not a list of models.
    Unreadable,
    /// No answer, and why.
    Unreachable(String),
}

#[derive(Deserialize)]
struct List {
    data: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    id: String,
    #[serde(default)]
    owned_by: Option<String>,
}

/// The models that a server lists in OpenAI's format.
pub async fn models(upstream: &Client, provider: &Provider, timeout: Duration) -> Listed {
    let (status, body) = match get(upstream, provider, "/v1/models", None, timeout).await {
        Ok(answer) => answer,
        Err(why) => return Listed::Unreachable(why),
    };
    if !status.is_success() {
        return Listed::Refused(status, reason(&body));
    }
    let Ok(list) = serde_json::from_slice::<List>(&body) else {
        return Listed::Unreadable;
    };
    let mut owners = list.data.iter().filter_map(|row| row.owned_by.as_deref());
    let kind = owners.find_map(Kind::of_owner);
    Listed::Models(fit(list.data.into_iter().map(|row| row.id)), kind)
}

/// Gets a document from a provider, below its base URL. The error says why no response arrived.
pub async fn get(
    upstream: &Client,
    provider: &Provider,
    path: &str,
    says: Option<(HeaderName, &'static str)>,
    timeout: Duration,
) -> Result<(StatusCode, Bytes), String> {
    let (path, query) = path
        .split_once('?')
        .map_or((path, None), |(path, query)| (path, Some(query)));
    let uri = provider.url(path, "", query);
    let uri = uri.map_err(|error| error.to_string())?;
    let mut errand = Errand::get(uri, timeout, LONGEST_DOCUMENT).to(provider);
    if let Some((name, value)) = says {
        errand = errand.says(name, value);
    }
    let (head, body) = upstream.errand(errand).await?.into_parts();
    Ok((head.status, body))
}

/// Those names of models that may stand in a configuration.
#[must_use]
pub fn fit(models: impl Iterator<Item = String>) -> Vec<String> {
    models.filter(|one| is_fit(one)).take(MOST_MODELS).collect()
}

/// Whether a model's name may stand in a configuration. The server made it up: it must not be read
/// as a reference to something here, or as the placeholder of a secret.
fn is_fit(model: &str) -> bool {
    !model.is_empty()
        && model.len() <= LONGEST_MODEL
        && !model.chars().any(steers)
        && !model.contains("${")
        && !model.contains(PLACEHOLDER)
}

/// What a server says of its refusal, for a terminal.
#[must_use]
pub fn reason(body: &[u8]) -> String {
    let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    // An error is an object in most formats, and Gemini's a list of one.
    let json = json.get(0).unwrap_or(&json);
    let places = [
        "/error/message",
        "/error",
        "/message",
        "/Message",
        "/detail",
    ];
    let said = places
        .iter()
        .find_map(|place| json.pointer(place)?.as_str());
    let text = said.map_or_else(|| String::from_utf8_lossy(body).into_owned(), str::to_owned);
    let shown = |char: char| if steers(char) { ' ' } else { char };
    let text: String = text.chars().take(LONGEST_REASON).map(shown).collect();
    text.trim().to_owned()
}

/// How a server takes an empty request at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    /// It knows the route, and misses something in the request.
    Known,
    /// It has no such route.
    Unknown,
    /// It knows the route if it refuses others: llama.cpp answers with status 500 that something is
    /// required.
    Failed,
    /// It answers in another way.
    Unclear,
    /// It does not answer, or is not ready to.
    Silent,
}

impl Route {
    fn of(status: StatusCode, body: &[u8]) -> Self {
        match status.as_u16() {
            400 | 422 => Self::Known,
            500 if reason(body).contains("required") => Self::Failed,
            404 | 405 | 501 => Self::Unknown,
            429 | 502..=504 => Self::Silent,
            _ => Self::Unclear,
        }
    }
}

/// The formats that a server speaks.
pub async fn formats(upstream: &Client, provider: &Provider, timeout: Duration) -> Formats {
    let paths = [
        "/v1/chat/completions",
        "/v1/responses",
        "/v1/messages",
        "/v1/messages/count_tokens",
        "/v1/embeddings",
        OLLAMA,
        NOWHERE,
    ];
    let asked = join_all(paths.map(|path| route(upstream, provider, path, timeout)));
    of_routes(&asked.await)
}

async fn route(upstream: &Client, provider: &Provider, path: &str, timeout: Duration) -> Route {
    let Ok(uri) = provider.url(path, "", None) else {
        return Route::Silent;
    };
    let errand = Errand::json(uri, b"{}".to_vec(), timeout, LONGEST).to(provider);
    match upstream.errand(errand).await {
        Ok(answer) => Route::of(answer.status(), answer.body()),
        Err(_) => Route::Silent,
    }
}

fn of_routes(routes: &[Route]) -> Formats {
    let &[
        chat,
        responses,
        messages,
        count_tokens,
        embeddings,
        ollama,
        nowhere,
    ] = routes
    else {
        return Formats::default();
    };
    let is_certain = !routes.contains(&Route::Silent);
    if nowhere == Route::Known {
        return Formats {
            is_certain,
            ..Formats::default()
        };
    }
    let is_known = |route| match route {
        Route::Known => true,
        Route::Failed => nowhere == Route::Unknown,
        _ => false,
    };
    let others = is_known(responses) || is_known(messages);
    Formats {
        // What lists models speaks this, unless it says that it doesn't and has another.
        chat: chat != Route::Unknown || !others,
        responses: is_known(responses),
        messages: is_known(messages),
        count_tokens: is_known(count_tokens),
        embeddings: is_known(embeddings),
        ollama: ollama == Route::Known,
        is_certain,
    }
}

#[cfg(test)]
mod tests {
    use super::Route::{Failed, Known, Silent, Unclear, Unknown};
    use super::*;

    #[test]
    fn names_that_mean_something_in_a_configuration_are_left_out() {
        for model in ["llama3.2:3b", "org/Model-7B", "$5", "[x]"] {
            assert!(is_fit(model), "{model}");
        }
        for model in ["", "${HOME}", "x${file:/etc/passwd}", "[redacted]", "a\nb"] {
            assert!(!is_fit(model), "{model}");
        }
    }

    #[test]
    fn a_format_is_there_where_its_route_is_known_and_others_are_not() {
        let names = |routes: [Route; 7]| of_routes(&routes).names();
        assert_eq!(
            names([Known, Known, Known, Known, Known, Unknown, Unknown]),
            [
                "chat",
                "responses",
                "messages",
                "count_tokens",
                "embeddings"
            ]
        );
        assert_eq!(
            names([Known, Known, Known, Unknown, Unknown, Unknown, Unknown]),
            ["chat", "responses", "messages"]
        );
        assert_eq!(
            names([Known, Known, Known, Unknown, Known, Known, Unknown]),
            ["chat", "responses", "messages", "embeddings", "ollama"]
        );
        // A server that takes everything for a route says nothing.
        assert_eq!(names([Known; 7]), ["chat"]);
        // LM Studio answers 200 to what it does not know.
        assert_eq!(
            names([Known, Known, Unclear, Unclear, Known, Unknown, Unclear]),
            ["chat", "responses", "embeddings"]
        );
        assert_eq!(
            names([Unclear, Known, Unknown, Unknown, Unknown, Unknown, Unknown]).len(),
            2
        );
        assert_eq!(
            names([Unknown, Unknown, Known, Known, Unknown, Unknown, Unknown])[0],
            "messages"
        );
        assert_eq!(names([Unknown; 7]), ["chat"]);
        assert_eq!(
            names([Known, Known, Failed, Failed, Known, Unknown, Unknown]),
            [
                "chat",
                "responses",
                "messages",
                "count_tokens",
                "embeddings"
            ]
        );
        assert_eq!(
            names([Known, Failed, Failed, Failed, Failed, Unknown, Failed]),
            ["chat"]
        );
        let route = |status: u16, body: &str| {
            Route::of(StatusCode::from_u16(status).unwrap(), body.as_bytes())
        };
        let llama = r#"{"error":{"code":500,"message":"'messages' is required"}}"#;
        assert_eq!(route(500, llama), Failed);
        assert_eq!(route(500, "oops"), Unclear);
        assert_eq!(
            (route(422, ""), route(404, ""), route(503, "")),
            (Known, Unknown, Silent)
        );
        assert!(!of_routes(&[Known, Silent, Known, Known, Known, Unknown, Unknown]).is_certain);
        assert!(of_routes(&[Unclear; 7]).is_certain);
    }

    #[test]
    fn what_a_server_says_is_found_in_each_format_and_harmless() {
        for (body, expected) in [
            (
                r#"{"error":{"message":"Incorrect API key"}}"#,
                "Incorrect API key",
            ),
            (r#"{"error":"no such model"}"#, "no such model"),
            (
                r#"[{"error":{"message":"API key not valid"}}]"#,
                "API key not valid",
            ),
            (
                r#"{"message":"The security token is invalid"}"#,
                "The security token is invalid",
            ),
            (r#"{"detail":"Not Found"}"#, "Not Found"),
            ("plain\u{1b}[2J words\n", "plain [2J words"),
        ] {
            assert_eq!(reason(body.as_bytes()), expected);
        }
        assert_eq!(reason("x".repeat(10_000).as_bytes()).len(), LONGEST_REASON);
    }
}
