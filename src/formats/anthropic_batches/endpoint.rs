//! Paths of message batches. As for models, callers may leave out `/v1`.

use http::Method;

/// What a request for a message batch asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'p> {
    Create,
    List,
    Batch(&'p str),
    Results(&'p str),
    Cancel(&'p str),
    Delete(&'p str),
}

impl<'p> Action<'p> {
    /// What a method of a path asks for; `None` if that is something else.
    #[must_use]
    pub fn of(method: &Method, path: &'p str) -> Option<Self> {
        let path = path.strip_prefix("/v1").unwrap_or(path);
        let rest = path.strip_prefix("/messages/batches")?;
        if rest.is_empty() {
            return match *method {
                Method::POST => Some(Self::Create),
                Method::GET => Some(Self::List),
                _ => None,
            };
        }
        let rest = rest.strip_prefix('/')?;
        let (id, sub) = rest
            .split_once('/')
            .map_or((rest, None), |(id, sub)| (id, Some(sub)));
        if id.is_empty() {
            return None;
        }
        Some(match (method, sub) {
            (&Method::GET, None) => Self::Batch(id),
            (&Method::DELETE, None) => Self::Delete(id),
            (&Method::GET, Some("results")) => Self::Results(id),
            (&Method::POST, Some("cancel")) => Self::Cancel(id),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_with_and_without_its_version() {
        for (method, path, expected) in [
            (Method::POST, "/v1/messages/batches", Some(Action::Create)),
            (Method::GET, "/messages/batches", Some(Action::List)),
            (
                Method::GET,
                "/v1/messages/batches/b",
                Some(Action::Batch("b")),
            ),
            (
                Method::DELETE,
                "/v1/messages/batches/b",
                Some(Action::Delete("b")),
            ),
            (
                Method::GET,
                "/v1/messages/batches/b/results",
                Some(Action::Results("b")),
            ),
            (
                Method::POST,
                "/v1/messages/batches/b/cancel",
                Some(Action::Cancel("b")),
            ),
            (Method::POST, "/v1/messages", None),
            (Method::GET, "/v1/messages/batches/", None),
            (Method::GET, "/v1/messages/batchesx", None),
            (Method::GET, "/v1/messages/batches/b/results/x", None),
            (Method::POST, "/v1/messages/batches/b", None),
        ] {
            assert_eq!(Action::of(&method, path), expected, "{method} {path}");
        }
    }
}
