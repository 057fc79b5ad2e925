//! Bodies of this format for a provider of Vertex, which refuses fields that it does not know.

use std::borrow::Cow;
use std::ops::Range;

use crate::formats::body::{self, bad_request, scan};
use crate::wire::{Rejection, json};

/// What stands in a place of a body from now on.
type Edit = (Range<usize>, Cow<'static, str>);

/// The places of fields that Gemini's API takes and Vertex refuses: the `id` of a function's
/// call and of its answer, a part's metadata, and the session that some builds of the Gemini
/// CLI name.
///
/// # Errors
/// A 400 if one of the objects on the way could be read in two ways.
pub(super) fn unknown_fields(body: &[u8]) -> Result<Vec<Edit>, Rejection> {
    let top = scan(body, &["contents", "session_id"])?;
    let session = top.get(1).map(|at| json::member(body, &at));
    let mut cut: Vec<Range<usize>> = session.into_iter().collect();
    for content in objects(body, top.get(0)) {
        let parts = inside(body, &content, &["parts"])?;
        for part in parts.into_iter().flat_map(|at| objects(body, Some(at))) {
            let metadata = inside(body, &part, &["partMetadata", "part_metadata"])?;
            if metadata.len() > 1 {
                return Err(bad_request("`partMetadata` is given twice"));
            }
            cut.extend(metadata.iter().map(|at| json::member(body, at)));
            let keys = [
                "functionCall",
                "function_call",
                "functionResponse",
                "function_response",
            ];
            for function in inside(body, &part, &keys)? {
                if body[function.start] == b'{' {
                    let ids = inside(body, &function, &["id"])?;
                    cut.extend(ids.iter().map(|at| json::member(body, at)));
                }
            }
        }
    }
    Ok(cut.into_iter().map(|at| (at, Cow::Borrowed(""))).collect())
}

/// The objects of the array at `at`; an object that stands alone is one too.
fn objects(body: &[u8], at: Option<Range<usize>>) -> Vec<Range<usize>> {
    let Some(at) = at else {
        return Vec::new();
    };
    if body[at.start] == b'{' {
        return vec![at];
    }
    json::elements(&body[at.clone()], usize::MAX)
        .unwrap_or_default()
        .into_iter()
        .map(|element| body::inside(&at, element))
        .filter(|element| body[element.start] == b'{')
        .collect()
}

/// The values of `keys` in the object at `at`.
fn inside(body: &[u8], at: &Range<usize>, keys: &[&str]) -> Result<Vec<Range<usize>>, Rejection> {
    let fields = scan(&body[at.clone()], keys)?;
    Ok((0..keys.len())
        .filter_map(|nth| fields.get(nth))
        .map(|found| body::inside(at, found))
        .collect())
}
