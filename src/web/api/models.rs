//! Models for SDKs: the list and one of them, in the form of the API whose SDK asks, a page at a
//! time where it asks for pages. An alias is a model too, as far as its caller can tell.

use http::request::Parts;
use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::routes::{bad, decoded};
use super::{View, listing, not_found};
use crate::formats::{self, Dialect, is_method};
use crate::policy::access::Permit;
use crate::policy::route::{Found, Now, Provider, Traffic};
use crate::wire::Rejection;

/// Rows of a page at most.
const MOST: usize = 1000;

/// A form that an SDK reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    OpenAi,
    Anthropic,
    Gemini,
}

impl Form {
    fn of(request: &Parts) -> Self {
        match Dialect::of(request.uri.path(), &request.headers) {
            Dialect::Anthropic => Self::Anthropic,
            Dialect::Google => Self::Gemini,
            _ => Self::OpenAi,
        }
    }

    /// Whether a provider can be asked in the API of this form.
    fn fits(self, provider: &Provider) -> bool {
        let dialect = match self {
            Self::OpenAi => return true,
            Self::Anthropic => Dialect::Anthropic,
            Self::Gemini => Dialect::Google,
        };
        let mut formats = formats::ALL.into_iter();
        formats.any(|format| format.lists_for == Some(dialect) && provider.speaks(format))
    }
}

/// `GET /v1/models` and `GET /v1beta/models`.
pub(super) fn list(view: &View<'_>, permit: &Permit, request: &Parts) -> Result<Value, Rejection> {
    let form = Form::of(request);
    if form == Form::OpenAi {
        let mut list = listing::models(&view.rules, permit);
        let aliases = aliases(view, permit, form);
        if let Some(rows) = list["data"].as_array_mut() {
            rows.extend(
                aliases
                    .iter()
                    .map(|(alias, found)| row(view, form, alias, *found)),
            );
        }
        return Ok(list);
    }
    let query = request.uri.query().unwrap_or_default();
    let aliases = aliases(view, permit, form);
    let mut seen = std::collections::HashSet::new();
    let own = view.rules.routes.models(permit);
    let own = own.filter(|found| form.fits(found.provider));
    let all: Vec<(&str, Found<'_>)> = own
        .map(|found| (found.model, found))
        .chain(aliases)
        .filter(|(name, _)| seen.insert(*name))
        .collect();
    let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
    let page = match form {
        Form::Gemini => gemini_page(&names, query)?,
        _ => anthropic_page(&names, query)?,
    };
    let shown = &all[page.clone()];
    let rows: Vec<Value> = shown
        .iter()
        .map(|(name, found)| row(view, form, name, *found))
        .collect();
    let last = shown.last().map(|(name, _)| *name);
    let has_more = page.end < all.len();
    if form == Form::Gemini {
        let mut list = json!({ "models": rows });
        if let Some(last) = last.filter(|_| has_more) {
            list["nextPageToken"] = last.into();
        }
        return Ok(list);
    }
    // Asked for what is before a model, there is more if there is more before that.
    let backwards = parameter(query, "before_id")?.is_some();
    Ok(json!({
        "data": rows,
        "has_more": if backwards { page.start > 0 } else { has_more },
        "first_id": shown.first().map(|(name, _)| *name),
        "last_id": last,
    }))
}

/// `GET /v1/models/{model}` and `GET /v1beta/models/{model}`.
pub(super) fn one(
    view: &View<'_>,
    permit: &Permit,
    request: &Parts,
    id: &str,
) -> Result<Value, Rejection> {
    if is_method(id) {
        return Err(not_found(
            &request.method,
            request.uri.path(),
            &[Method::POST.as_str()],
        ));
    }
    let form = Form::of(request);
    let name = percent_decode_str(id).decode_utf8_lossy();
    let fits = |provider: &Provider| form.fits(provider);
    // A listing must not take a request's turn among equals.
    let apart = Traffic::default();
    let now = Now {
        holder: None,
        traffic: &apart,
        conversation: None,
    };
    let choice = view.rules.routes.select_where(permit, &name, &fits, now);
    // A model without a grant is told as one that does not exist.
    let choice = choice.map_err(|_| {
        let shown: String = name.chars().take(200).collect();
        Rejection::new(
            StatusCode::NOT_FOUND,
            "model_not_found",
            format!("model {shown:?} does not exist, or you have no access to it"),
        )
    })?;
    let found = Found {
        provider: &choice.first.provider,
        model: &choice.first.model,
    };
    Ok(row(view, form, &name, found))
}

/// The aliases that lead the caller to a model, with where they lead.
fn aliases<'a>(view: &'a View<'_>, permit: &Permit, form: Form) -> Vec<(&'a str, Found<'a>)> {
    let routes = &view.rules.routes;
    let fits = |provider: &Provider| form.fits(provider);
    let leads = |alias: &'a str| {
        let apart = Traffic::default();
        let now = Now {
            holder: None,
            traffic: &apart,
            conversation: None,
        };
        let first = routes.select_where(permit, alias, &fits, now).ok()?.first;
        let provider = routes.providers().iter();
        let provider = provider
            .into_iter()
            .find(|one| one.id == first.provider.id)?;
        let model = provider
            .models
            .iter()
            .find(|model| **model == first.model)?;
        Some((alias, Found { provider, model }))
    };
    routes.aliases().into_iter().filter_map(leads).collect()
}

/// A model under the name that its caller uses.
fn row(view: &View<'_>, form: Form, name: &str, found: Found<'_>) -> Value {
    match form {
        Form::OpenAi => listing::model(&view.rules, name, found),
        // When a model was made is not known.
        Form::Anthropic => json!({
            "type": "model",
            "id": name,
            "display_name": name,
            "created_at": "1970-01-01T00:00:00Z",
        }),
        Form::Gemini => {
            let is_full = name.starts_with("models/") || name.starts_with("tunedModels/");
            let mut row = json!({
                "name": if is_full { name.to_owned() } else { format!("models/{name}") },
                "displayName": name,
                "version": "",
                "supportedGenerationMethods":
                    ["generateContent", "streamGenerateContent", "countTokens", "embedContent"],
            });
            let quote = view.rules.prices.quote(&found.provider.id, found.model);
            for (key, tokens) in quote.price.iter().flat_map(|price| {
                [
                    ("inputTokenLimit", price.context_window),
                    ("outputTokenLimit", price.max_output),
                ]
            }) {
                if let Some(tokens) = tokens {
                    row[key] = tokens.into();
                }
            }
            row
        }
    }
}

/// The value of a query parameter, decoded.
fn parameter(query: &str, name: &str) -> Result<Option<String>, Rejection> {
    let mut pairs = query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let value = pairs.find(|(key, _)| *key == name).map(|(_, value)| value);
    value
        .filter(|value| !value.is_empty())
        .map(|value| decoded(name, value))
        .transpose()
}

/// The rows of a page; all that there are, unless a number is given.
fn rows(query: &str, name: &str) -> Result<usize, Rejection> {
    let Some(text) = parameter(query, name)? else {
        return Ok(usize::MAX);
    };
    let rows = text.parse::<usize>().ok().filter(|rows| *rows > 0);
    let rows = rows.ok_or_else(|| bad(format!("`{name}` must be a number from 1 to {MOST}")))?;
    Ok(rows.min(MOST))
}

/// A page of Anthropic's list: `limit` rows after `after_id`, or those just before `before_id`.
fn anthropic_page(names: &[&str], query: &str) -> Result<std::ops::Range<usize>, Rejection> {
    let limit = rows(query, "limit")?;
    let place = |name: &str| -> Result<Option<usize>, Rejection> {
        let Some(id) = parameter(query, name)? else {
            return Ok(None);
        };
        let place = names.iter().position(|known| *known == id);
        place
            .map(Some)
            .ok_or_else(|| bad(format!("`{name}` must be the id of a model of this list")))
    };
    if let Some(before) = place("before_id")? {
        return Ok(before.saturating_sub(limit)..before);
    }
    let from = place("after_id")?.map_or(0, |after| after + 1);
    Ok(from..from.saturating_add(limit).min(names.len()))
}

/// A page of Gemini's list. The token of the next page is the last model of the one before.
fn gemini_page(names: &[&str], query: &str) -> Result<std::ops::Range<usize>, Rejection> {
    let size = rows(query, "pageSize")?;
    let from = match parameter(query, "pageToken")? {
        None => 0,
        Some(token) => {
            let last = names.iter().position(|known| *known == token);
            last.ok_or_else(
                || bad("`pageToken` must be a `nextPageToken` of this list".to_owned()),
            )? + 1
        }
    };
    Ok(from..from.saturating_add(size).min(names.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 5] = ["a", "b/c", "d", "e", "f"];

    #[test]
    fn pages_of_anthropics_list() {
        for (query, expected) in [
            ("", 0..5),
            ("beta=true", 0..5),
            ("limit=2", 0..2),
            ("limit=2&after_id=b%2Fc", 2..4),
            ("limit=9999&after_id=d", 3..5),
            ("after_id=f", 5..5),
            ("limit=2&before_id=e", 1..3),
            ("limit=9&before_id=b/c", 0..1),
            ("before_id=a", 0..0),
        ] {
            assert_eq!(anthropic_page(&NAMES, query).unwrap(), expected, "{query}");
        }
        for query in [
            "limit=0",
            "limit=x",
            "limit=-1",
            "after_id=z",
            "before_id=%zz",
        ] {
            assert_eq!(
                anthropic_page(&NAMES, query).unwrap_err().status,
                400,
                "{query}"
            );
        }
    }

    #[test]
    fn pages_of_geminis_list() {
        for (query, expected) in [
            ("", 0..5),
            ("pageSize=3", 0..3),
            ("pageSize=3&pageToken=d", 3..5),
            ("key=k&pageToken=b%2Fc", 2..5),
        ] {
            assert_eq!(gemini_page(&NAMES, query).unwrap(), expected, "{query}");
        }
        for query in ["pageSize=0", "pageToken=z"] {
            assert!(gemini_page(&NAMES, query).is_err(), "{query}");
        }
    }
}
