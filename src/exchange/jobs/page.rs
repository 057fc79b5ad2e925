//! The query of a list: a page, newest first.

use percent_encoding::percent_decode_str;

use super::bad;
use crate::wire::Rejection;

/// Objects of a page, unless a caller asks for fewer.
const MOST: usize = 100;

/// What a list is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// The id behind which it begins.
    pub(super) after: Option<String>,
    pub(super) limit: usize,
    /// Only files of this purpose.
    pub(super) purpose: Option<String>,
}

impl Page {
    /// Reads a query.
    ///
    /// # Errors
    /// A 400 for what isn't understood.
    pub(super) fn read(query: Option<&str>) -> Result<Self, Rejection> {
        let mut page = Self {
            after: None,
            limit: MOST,
            purpose: None,
        };
        for pair in query.unwrap_or_default().split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode_str(value).decode_utf8_lossy();
            match name {
                "after" | "after_id" | "pageToken" => page.after = Some(value.into_owned()),
                "purpose" => page.purpose = Some(value.into_owned()),
                "limit" | "pageSize" => {
                    let limit: Option<usize> = value.parse().ok();
                    let limit = limit.filter(|limit| *limit > 0).ok_or_else(|| {
                        bad(
                            "invalid_request",
                            "invalid limit: expected a number from 1 on",
                        )
                    })?;
                    page.limit = limit.min(MOST);
                }
                "before_id" => {
                    let why = "before_id isn't supported: lists go on from after_id";
                    return Err(bad("invalid_request", why));
                }
                "order" if value != "desc" => {
                    let why = "invalid order: lists are in the order \"desc\", newest first";
                    return Err(bad("invalid_request", why));
                }
                _ => {}
            }
        }
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_which_page() {
        let page = Page::read(Some("limit=5&after=file%2D1&purpose=batch&order=desc&x")).unwrap();
        assert_eq!((page.limit, page.after.as_deref()), (5, Some("file-1")));
        assert_eq!(page.purpose.as_deref(), Some("batch"));
        assert_eq!(Page::read(Some("limit=10000")).unwrap().limit, MOST);
        assert_eq!(Page::read(None).unwrap().limit, MOST);
        for wrong in ["limit=0", "limit=x", "order=asc", "before_id=b"] {
            assert!(Page::read(Some(wrong)).is_err(), "{wrong}");
        }
    }
}
