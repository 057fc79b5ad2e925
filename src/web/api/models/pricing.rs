//! The price list, for those whom a grant lets read it: `GET /aperture/pricing`, and below it
//! one model by its exact name.

use crate::exchange::rules::Rules;
use crate::policy::access::Permit;
use crate::policy::pricing;
use crate::web::api::endpoint::Reply;
use crate::web::api::parameters::decoded;
use crate::web::api::respond;
use crate::wire::{Rejection, body};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

const PATH: &str = "/aperture/pricing";

/// Whether a path is answered here.
pub(in crate::web::api) fn owns(path: &str) -> bool {
    path.strip_prefix(PATH)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Answers with the whole document or one model's part of it. A tag saves those who ask again
/// from reading what has not changed.
pub(in crate::web::api) fn pricing(
    rules: &Rules,
    permit: &Permit,
    path: &str,
    headers: &HeaderMap,
) -> Reply {
    // The document names every provider, so that being an admin is not asking for enough.
    if !permit.may_read_pricing() {
        let why = "access denied: no grant has read_pricing";
        return Err(Rejection::new(StatusCode::FORBIDDEN, "no_pricing", why));
    }
    let model = path
        .strip_prefix(PATH)
        .and_then(|rest| rest.strip_prefix('/'))
        .filter(|model| !model.is_empty())
        // In a path a plus is itself.
        .map(|model| decoded("model", &model.replace('+', "%2B")))
        .transpose()?;
    let text = pricing::document(&rules.prices, model.as_deref()).to_string();
    let tag = pricing::etag(&text);
    let mut response = if has(headers, &tag) {
        let mut response = Response::new(body::full(""));
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        respond("application/json", text)
    };
    let fields = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        fields.insert(header::ETAG, tag);
    }
    // A grant can be withdrawn: nobody in between may keep it, and each use is asked for.
    let control = HeaderValue::from_static("private, no-cache");
    fields.insert(header::CACHE_CONTROL, control);
    Ok(response)
}

/// Whether the caller has the document with that tag.
fn has(headers: &HeaderMap, tag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_known_in_every_form_of_the_header() {
        let known = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static(value));
            has(&headers, "\"a\"")
        };
        for value in ["\"a\"", "W/\"a\"", "\"b\", \"a\"", "*"] {
            assert!(known(value), "{value}");
        }
        for value in ["\"b\"", "a", ""] {
            assert!(!known(value), "{value}");
        }
        assert!(!has(&HeaderMap::new(), "\"a\""));
    }

    #[test]
    fn only_its_own_paths() {
        assert!(owns("/aperture/pricing") && owns("/aperture/pricing/a/b"));
        assert!(!owns("/aperture/pricings") && !owns("/aperture"));
    }
}
