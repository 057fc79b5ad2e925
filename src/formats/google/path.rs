//! Paths of Google's APIs, which name the model and what is asked of it: `MODEL:VERB`. Read
//! strictly: what servers could take for another model, verb or path is refused.

use std::borrow::Cow;

use http::StatusCode;
use percent_encoding::percent_decode_str;

use crate::formats::body::{bad_request, model_in_path, names};
use crate::formats::{Density, Path};
use crate::wire::Rejection;

/// Versions of Gemini's API that clients name.
pub(in crate::formats) const VERSIONS: [&str; 3] = ["v1beta", "v1", "v1alpha"];
/// What a model of Gemini's API can be a member of; a tuned one keeps this as part of its name.
pub(in crate::formats) const COLLECTIONS: [&str; 2] = ["models", "tunedModels"];

/// Version, collection and the rest of a path of Gemini's API.
pub(in crate::formats) fn split(path: &str) -> Option<(&str, &str, &str)> {
    let (version, below) = path.strip_prefix('/')?.split_once('/')?;
    let (collection, rest) = below.split_once('/')?;
    (VERSIONS.contains(&version) && COLLECTIONS.contains(&collection) && !rest.is_empty())
        .then_some((version, collection, rest))
}

/// The end of a path.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::formats) struct Target<'p> {
    /// The model, decoded.
    pub model: String,
    /// What is asked of it.
    pub verb: &'p str,
}

/// Reads `MODEL:VERB`, the end of a path as it came, whose verb must be one of `verbs`.
///
/// # Errors
/// 404 for another verb, 400 for a model that could be read in two ways.
pub(in crate::formats) fn target<'p>(
    rest: &'p str,
    verbs: &[&str],
) -> Result<Target<'p>, Rejection> {
    let Some((name, verb)) = rest.rsplit_once(':') else {
        return Err(no_method(""));
    };
    if name.contains(':') {
        return Err(bad_request("the path names two methods"));
    }
    if !verbs.contains(&verb) {
        return Err(no_method(verb));
    }
    Ok(Target {
        model: model_in_path(name)?,
        verb,
    })
}

/// What the bytes of a request for a path stand for, by its verb.
pub(in crate::formats) fn density(path: &Path) -> Density {
    let Path::Around { after, .. } = path else {
        return Density::TEXT;
    };
    match after.as_str() {
        ":embedContent" | ":batchEmbedContents" => Density::VECTORS,
        // Vectors, or pictures: these too are a token or two for a kilobyte of base64.
        ":predict" => Density::PICTURES,
        _ => Density::TEXT,
    }
}

fn no_method(verb: &str) -> Rejection {
    let shown: String = verb.chars().take(60).collect();
    Rejection::new(
        StatusCode::NOT_FOUND,
        "no_such_method",
        format!("this gateway knows no method {shown:?} of a model"),
    )
}

/// A segment that is passed on as it is: a project, a region.
pub(in crate::formats) fn plain_segment(segment: &str) -> Result<&str, Rejection> {
    let plain = segment
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':'));
    if plain && !matches!(segment, "" | "." | "..") {
        Ok(segment)
    } else {
        Err(bad_request(
            "a project or a location in the path is not the name of one",
        ))
    }
}

/// Refuses a query that names another model than the path does.
pub(in crate::formats) fn same_in_query(query: Option<&str>, model: &str) -> Result<(), Rejection> {
    for pair in query.unwrap_or_default().split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if decoded(name).eq_ignore_ascii_case("model") && !names(&decoded(value), model) {
            return Err(two_models());
        }
    }
    Ok(())
}

fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

/// The refusal of a request that names two models.
pub(in crate::formats) fn two_models() -> Rejection {
    bad_request("the request names another model than its path does")
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERBS: [&str; 2] = ["generateContent", "countTokens"];

    #[test]
    fn a_model_is_read_one_way_or_not_at_all() {
        for (path, model) in [
            ("gemini-2.5-pro:generateContent", "gemini-2.5-pro"),
            ("p/m:generateContent", "p/m"),
            ("p%2Fm:generateContent", "p/m"),
            ("claude@2025:generateContent", "claude@2025"),
            ("m%3A7b:generateContent", "m:7b"),
        ] {
            assert_eq!(target(path, &VERBS).unwrap().model, model, "{path}");
        }
        for path in [
            "",
            ":generateContent",
            "..:generateContent",
            ".:generateContent",
            "%2e%2e:generateContent",
            "a/..:generateContent",
            "a/../b:generateContent",
            "a%2f..%2fb:generateContent",
            "a//b:generateContent",
            "/a:generateContent",
            "a/:generateContent",
            "a%5cb:generateContent",
            "a\\b:generateContent",
            "a;b:generateContent",
            "a%00:generateContent",
            "a%0d%0a:generateContent",
            "a%252e:generateContent",
            "a%25:generateContent",
            "a%:generateContent",
            "a%zz:generateContent",
            "a%ff:generateContent",
            "a%c0%ae:generateContent",
            "a%20b:generateContent",
            "a?b:generateContent",
            "a%3fb:generateContent",
            "a%23b:generateContent",
            "a:countTokens:generateContent",
            "a:generateContent:",
            "a:generateContent/",
            "a:generatecontent",
            "a%3AgenerateContent",
            "a:generateContent%20",
        ] {
            let status = target(path, &VERBS).unwrap_err().status.as_u16();
            assert!([400, 404].contains(&status), "{path}");
        }
        assert!(target(&format!("{}:countTokens", "x".repeat(600)), &VERBS).is_err());
    }

    #[test]
    fn names_of_a_model() {
        for resource in [
            "m",
            "models/m",
            "publishers/google/models/m",
            "projects/p/locations/l/publishers/google/models/m",
        ] {
            assert!(names(resource, "m"), "{resource}");
        }
        for resource in ["models/n", "xm", "models/models/m", "n/m", "", "models/m/"] {
            assert!(!names(resource, "m"), "{resource}");
        }
        assert!(same_in_query(Some("alt=sse&model=models%2Fm"), "m").is_ok());
        assert!(same_in_query(Some("alt=sse&mod%65l=n"), "m").is_err());
    }
}
