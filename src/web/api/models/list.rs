//! Models for SDKs: the list and one of them, in the form of the API whose SDK asks, a page at a
//! time where it asks for pages. An alias is a model too, as far as its caller can tell.

use http::request::Parts;
use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::rows;
use crate::formats::{self, Dialect, Format, is_method};
use crate::policy::route::{Evidence, Fit, ListedModel, Provider, Route, Traffic};
use crate::web::api::endpoint::{Call, Endpoint, Handler, Reply, json_of};
use crate::web::api::parameters::{bad, decoded};
use crate::web::api::{json as respond, not_found};
use crate::web::reader::Reader;
use crate::wire::Rejection;

pub(in crate::web::api) const LIST: Endpoint = Endpoint {
    path: "/v1/models",
    aliases: &["/models"],
    name: "Models",
    about: "The models that you may use, once for each provider, and the aliases; in Anthropic's or Google's form for their SDKs.",
    answer: json_of::<ModelList>(),
    handler: Handler::Role(|call| Box::pin(async move { list(&call) })),
    ..Endpoint::GET
};

pub(in crate::web::api) const ONE: Endpoint = Endpoint {
    path: "/v1/models/{model}",
    aliases: &["/models/{model}"],
    name: "Model",
    about: "One model or alias that you may use, in the form that the SDK reads.",
    answer: json_of::<rows::Model>(),
    handler: Handler::Role(|call| Box::pin(async move { one(&call) })),
    ..Endpoint::GET
};

pub(in crate::web::api) const GEMINI_LIST: Endpoint = Endpoint {
    path: "/v1beta/models",
    aliases: &["/v1alpha/models"],
    name: "GeminiModels",
    about: "The models that you may use, in Gemini's form.",
    answer: json_of::<GeminiModelList>(),
    ..LIST
};

pub(in crate::web::api) const GEMINI_ONE: Endpoint = Endpoint {
    path: "/v1beta/models/{model}",
    aliases: &["/v1alpha/models/{model}"],
    name: "GeminiModel",
    about: "One model or alias that you may use, in Gemini's form.",
    answer: json_of::<GeminiModel>(),
    ..ONE
};

#[derive(Serialize, JsonSchema)]
struct ModelList {
    object: &'static str,
    data: Vec<rows::Model>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct GeminiModelList {
    models: Vec<GeminiModel>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    next_page_token: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct GeminiModel {
    name: String,
    display_name: String,
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    input_token_limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    output_token_limit: Option<u64>,
    #[schemars(with = "Vec<String>")]
    supported_generation_methods: [&'static str; 4],
}

/// Rows of a page at most.
const MOST: usize = 1000;

/// Whose form an SDK reads: Anthropic's, Google's, or OpenAI's for all others.
fn form(request: &Parts) -> Dialect {
    Dialect::of(request.uri.path(), &request.headers)
}

/// How a provider can be asked in the API of a form, if it can.
fn fits(form: Dialect, provider: &Provider) -> Option<Fit> {
    if of_form(form).next().is_none() {
        return Some(Fit::Native);
    }
    of_form(form).filter_map(|api| provider.fit(api)).min()
}

/// The formats whose callers read a list in a form.
pub(super) fn of_form(form: Dialect) -> impl Iterator<Item = &'static Format> {
    let formats = formats::ALL.into_iter();
    formats.filter(move |format| format.lists_for == Some(form))
}

/// Where a request for a model would go first.
pub(super) fn first(reader: &Reader<'_>, form: Dialect, model: &str) -> Option<Route> {
    // A listing must not take a request's turn among equals.
    let apart = Traffic::default();
    let evidence = Evidence {
        holder: None,
        traffic: &apart,
        conversation: None,
    };
    let fits = |provider: &Provider| fits(form, provider);
    let routes = &reader.rules.routes;
    let choice = routes.select(&reader.permit, model, &fits, evidence);
    choice.ok().map(|choice| choice.first)
}

fn list(call: &Call<'_>) -> Reply {
    let reader = call.reader;
    let rules = &reader.rules;
    let form = form(call.head);
    if !matches!(form, Dialect::Anthropic | Dialect::Google) {
        let mut data = rows::models(rules, &reader.permit);
        let aliases = aliases(reader, form).into_iter();
        data.extend(aliases.map(|(alias, found)| rows::model(rules, &reader.permit, alias, found)));
        let object = "list";
        return Ok(respond(&ModelList { object, data }));
    }
    let query = call.head.uri.query().unwrap_or_default();
    let all = listed(reader, form);
    let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
    let page = match form {
        Dialect::Google => gemini_page(&names, query)?,
        _ => anthropic_page(&names, query)?,
    };
    let shown = &all[page.clone()];
    let last = shown.last().map(|(name, _)| *name);
    let has_more = page.end < all.len();
    let rows = shown.iter();
    if form == Dialect::Google {
        return Ok(respond(&GeminiModelList {
            models: rows
                .map(|(name, found)| gemini(reader, name, *found))
                .collect(),
            next_page_token: last.filter(|_| has_more).map(str::to_owned),
        }));
    }
    // Asked for what is before a model, there is more if there is more before that.
    let backwards = parameter(query, "before_id")?.is_some();
    Ok(respond(&json!({
        "data": rows.map(|(name, _)| anthropic(name)).collect::<Vec<_>>(),
        "has_more": if backwards { page.start > 0 } else { has_more },
        "first_id": shown.first().map(|(name, _)| *name),
        "last_id": last,
    })))
}

/// The models that a caller may ask in the API of a form, and the aliases, each name once.
pub(super) fn listed<'a>(reader: &'a Reader<'_>, form: Dialect) -> Vec<(&'a str, ListedModel<'a>)> {
    let mut seen = std::collections::HashSet::new();
    let own = reader.rules.routes.models(&reader.permit);
    let own = own.filter(|found| of_form(form).any(|api| found.fit(&reader.permit, api).is_some()));
    own.map(|found| (found.model, found))
        .chain(aliases(reader, form))
        .filter(|(name, _)| seen.insert(*name))
        .collect()
}

fn one(call: &Call<'_>) -> Reply {
    let (reader, request) = (call.reader, call.head);
    if is_method(call.id) {
        return Err(not_found(
            &request.method,
            request.uri.path(),
            &[Method::POST.as_str()],
        ));
    }
    let form = form(request);
    let name = percent_decode_str(call.id).decode_utf8_lossy();
    // A model without a grant looks like one that doesn't exist.
    let Some(first) = first(reader, form, &name) else {
        let shown: String = name.chars().take(200).collect();
        let why = format!("model {shown:?} does not exist, or you have no access to it");
        let status = StatusCode::NOT_FOUND;
        return Err(Rejection::new(status, "model_not_found", why));
    };
    let found = ListedModel {
        provider: &first.provider,
        model: &first.model,
    };
    Ok(match form {
        Dialect::Anthropic => respond(&anthropic(&name)),
        Dialect::Google => respond(&gemini(reader, &name, found)),
        _ => respond(&rows::model(&reader.rules, &reader.permit, &name, found)),
    })
}

/// The aliases that lead the caller to a model, with where they lead.
fn aliases<'a>(reader: &'a Reader<'_>, form: Dialect) -> Vec<(&'a str, ListedModel<'a>)> {
    let routes = &reader.rules.routes;
    let leads = |alias: &'a str| {
        let first = first(reader, form, alias)?;
        let mut providers = routes.providers().iter();
        let provider = providers.find(|one| one.id == first.provider.id)?;
        let mut models = provider.models.iter();
        let model = models.find(|model| first.model == **model)?;
        Some((alias, ListedModel { provider, model }))
    };
    routes.aliases().into_iter().filter_map(leads).collect()
}

/// A model in Anthropic's form. When it was made is not known.
fn anthropic(name: &str) -> Value {
    json!({
        "type": "model",
        "id": name,
        "display_name": name,
        "created_at": "1970-01-01T00:00:00Z",
    })
}

/// A model in Gemini's form.
fn gemini(reader: &Reader<'_>, name: &str, found: ListedModel<'_>) -> GeminiModel {
    let is_full = name.starts_with("models/") || name.starts_with("tunedModels/");
    let quote = reader.rules.prices.quote(&found.provider.id, found.model);
    let price = quote.price.as_ref();
    GeminiModel {
        name: if is_full {
            name.to_owned()
        } else {
            format!("models/{name}")
        },
        display_name: name.to_owned(),
        version: "",
        input_token_limit: price.and_then(|price| price.context_window),
        output_token_limit: price.and_then(|price| price.max_output),
        supported_generation_methods: [
            "generateContent",
            "streamGenerateContent",
            "countTokens",
            "embedContent",
        ],
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

/// Where the model is that a parameter names, which must be `what` of the list.
fn place(names: &[&str], query: &str, name: &str, what: &str) -> Result<Option<usize>, Rejection> {
    let Some(id) = parameter(query, name)? else {
        return Ok(None);
    };
    let place = names.iter().position(|known| *known == id);
    let bad = || bad(format!("`{name}` must be {what} of this list"));
    place.map(Some).ok_or_else(bad)
}

/// A page of Anthropic's list: `limit` rows after `after_id`, or those just before `before_id`.
fn anthropic_page(names: &[&str], query: &str) -> Result<std::ops::Range<usize>, Rejection> {
    let limit = rows(query, "limit")?;
    let place = |name| place(names, query, name, "the id of a model");
    if let Some(before) = place("before_id")? {
        return Ok(before.saturating_sub(limit)..before);
    }
    let from = place("after_id")?.map_or(0, |after| after + 1);
    Ok(from..from.saturating_add(limit).min(names.len()))
}

/// A page of Gemini's list. The token of the next page is the last model of the one before.
fn gemini_page(names: &[&str], query: &str) -> Result<std::ops::Range<usize>, Rejection> {
    let size = rows(query, "pageSize")?;
    let last = place(names, query, "pageToken", "a `nextPageToken`")?;
    let from = last.map_or(0, |last| last + 1);
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
