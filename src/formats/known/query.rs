//! Query parameters: which go on to a provider, and which refuse a request.

use std::fmt::Write as _;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::{Known, Parameter};
use crate::formats::body::{self, bad_request};
use crate::wire::Rejection;

const fn any(name: &'static str) -> Parameter {
    Parameter { name, values: &[] }
}

/// Azure names the version of its API here.
pub(super) const OPENAI: &[Parameter] = &[any("api-version")];

/// What of a response is shown, from which event on, and the pages of its input.
pub(super) const STORED_RESPONSES: &[Parameter] = &[
    any("after"),
    any("api-version"),
    any("before"),
    any("include"),
    any("include[]"),
    any("include_obfuscation"),
    any("limit"),
    any("order"),
    any("starting_after"),
    any("stream"),
];

/// Claude Code and the SDK for betas ask with `?beta=true`.
pub(super) const ANTHROPIC: &[Parameter] = &[any("api-version"), any("beta")];

/// A response as JSON or as events: in other forms nothing could be counted.
const ALT: &[&str] = &["json", "sse"];

pub(super) const GOOGLE: &[Parameter] = &[
    Parameter {
        name: "$alt",
        values: ALT,
    },
    Parameter {
        name: "alt",
        values: ALT,
    },
];

/// Whether some clients carry a credential in a parameter. It never goes on.
fn is_credential(bare: &str) -> bool {
    matches!(
        bare,
        "key" | "apikey" | "accesstoken" | "oauthtoken" | "token"
    )
}

fn names_model(bare: &str) -> bool {
    matches!(bare, "model" | "modelid" | "models" | "engine")
}

/// Whether some servers take a parameter for an account, a destination, a method, or the parts of a
/// response to leave out, without the marks that [`bare`] removes.
fn is_refused(bare: &str) -> bool {
    matches!(
        bare,
        "alt"
            | "apibase"
            | "async"
            | "background"
            | "baseurl"
            | "callback"
            | "customllmprovider"
            | "fallbacks"
            | "fallbackmodels"
            | "fieldmask"
            | "fields"
            | "httpheaders"
            | "httpmethod"
            | "httpmethodoverride"
            | "modellist"
            | "organization"
            | "project"
            | "provider"
            | "route"
            | "userproject"
            | "xgoogfieldmask"
            | "xgooguserproject"
    )
}

/// What a value keeps as it is; `;` separates parameters for some servers.
const VALUE: &AsciiSet = &CONTROLS
    .add(b';')
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// A name as the most lenient server may read it: without case, separators and brackets.
fn bare(name: &str) -> String {
    let name = name.split('[').next().unwrap_or_default();
    let kept = name.chars().filter(char::is_ascii_alphanumeric);
    kept.map(|letter| letter.to_ascii_lowercase()).collect()
}

/// Names and values as they are written. Some servers take `;` for `&`.
fn pairs(query: &str) -> impl Iterator<Item = (String, &str)> {
    let pairs = query.split(['&', ';']).filter(|pair| !pair.is_empty());
    pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = percent_decode_str(name).decode_utf8_lossy();
        (name.into_owned(), value)
    })
}

fn decoded(value: &str) -> String {
    percent_decode_str(value).decode_utf8_lossy().into_owned()
}

/// Refuses a query that would change the `model` of a request, its account, its destination, or what
/// can be counted of the response.
///
/// # Errors
/// A 400 that names the parameter.
pub fn check(known: &Known, model: &str, query: Option<&str>) -> Result<(), Rejection> {
    let mut given: Vec<(&Parameter, String)> = Vec::new();
    for (name, value) in pairs(query.unwrap_or_default()) {
        if let Some(parameter) = known.query.iter().find(|known| known.name == name) {
            let value = decoded(value);
            let may_be = parameter.values.is_empty() || parameter.values.contains(&&*value);
            if !may_be {
                return Err(bad_request(format!(
                    "the query parameter \"{name}\" can't have the value {value:?}: use {}",
                    parameter.values.join(" or ")
                )));
            }
            let family = |one: &Parameter| one.name.trim_start_matches('$');
            let earlier = given
                .iter()
                .find(|(one, _)| family(one) == family(parameter));
            if earlier.is_some_and(|(_, earlier)| *earlier != value) {
                return Err(bad_request(format!(
                    "the query parameter \"{name}\" is given twice with different values"
                )));
            }
            given.push((parameter, value));
            continue;
        }
        let bare = bare(&name);
        if names_model(&bare) && body::names(&decoded(value), model) {
            continue;
        }
        if names_model(&bare) || is_refused(&bare) {
            let shown: String = name.chars().take(60).collect();
            return Err(bad_request(format!(
                "the query parameter {shown:?} is not accepted: it can change which model answers, \
                 who pays, or what can be counted; remove it"
            )));
        }
    }
    Ok(())
}

/// The query for a provider: parameters of the format, and those of `more`. The rest is dropped.
#[must_use]
pub fn passed(known: &Known, more: &[String], query: Option<&str>) -> Option<String> {
    kept(query, |name| {
        let is_known = known.query.iter().any(|known| known.name == name);
        is_known || more.iter().any(|more| more == name) && is_passable(name)
    })
}

/// The query of a direct request: all parameters but those that carry a credential.
#[must_use]
pub fn without_credentials(query: Option<&str>) -> Option<String> {
    kept(query, |name| !is_credential(&bare(name)))
}

fn kept(query: Option<&str>, keeps: impl Fn(&str) -> bool) -> Option<String> {
    let mut out = String::new();
    for (name, value) in pairs(query.unwrap_or_default()) {
        if !keeps(&name) {
            continue;
        }
        let separator = if out.is_empty() { "" } else { "&" };
        let name = utf8_percent_encode(&name, VALUE);
        let value = utf8_percent_encode(value, VALUE);
        // Writing to a string doesn't fail.
        let _ = write!(out, "{separator}{name}={value}");
    }
    (!out.is_empty()).then_some(out)
}

/// Whether a provider's `pass_query` may name a parameter.
#[must_use]
pub fn is_passable(name: &str) -> bool {
    let bare = bare(name);
    let is_odd = bare.is_empty() || name.contains(['&', '=', ';', '%', '+']);
    !(is_odd || names_model(&bare) || is_refused(&bare) || is_credential(&bare))
}
