//! Paths of files and batches. As for models, callers may leave out `/v1`.

use http::Method;

/// What a request for a file or a batch asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'p> {
    Upload,
    ListFiles,
    File(&'p str),
    DeleteFile(&'p str),
    Content(&'p str),
    CreateBatch,
    ListBatches,
    Batch(&'p str),
    CancelBatch(&'p str),
}

/// Paths that lines of a batch can be for.
pub const ENDPOINTS: [&str; 5] = [
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/embeddings",
    "/v1/completions",
    "/v1/moderations",
];

impl<'p> Action<'p> {
    /// What a method of a path asks for; `None` if that is something else.
    #[must_use]
    pub fn of(method: &Method, path: &'p str) -> Option<Self> {
        let path = path.strip_prefix("/v1").unwrap_or(path);
        let mut segments = path.strip_prefix('/')?.split('/');
        let kind = segments.next()?;
        let (id, sub) = (segments.next(), segments.next());
        if segments.next().is_some() || id == Some("") {
            return None;
        }
        Some(match (kind, method, id, sub) {
            ("files", &Method::POST, None, None) => Self::Upload,
            ("files", &Method::GET, None, None) => Self::ListFiles,
            ("files", &Method::GET, Some(id), None) => Self::File(id),
            ("files", &Method::DELETE, Some(id), None) => Self::DeleteFile(id),
            ("files", &Method::GET, Some(id), Some("content")) => Self::Content(id),
            ("batches", &Method::POST, None, None) => Self::CreateBatch,
            ("batches", &Method::GET, None, None) => Self::ListBatches,
            ("batches", &Method::GET, Some(id), None) => Self::Batch(id),
            ("batches", &Method::POST, Some(id), Some("cancel")) => Self::CancelBatch(id),
            _ => return None,
        })
    }

    /// Whether it is about files; else it is about batches.
    #[must_use]
    pub fn is_for_files(self) -> bool {
        matches!(
            self,
            Self::Upload | Self::ListFiles | Self::File(_) | Self::DeleteFile(_) | Self::Content(_)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_with_and_without_its_version() {
        for (method, path, expected) in [
            (Method::POST, "/v1/files", Some(Action::Upload)),
            (Method::GET, "/files", Some(Action::ListFiles)),
            (Method::GET, "/v1/files/f", Some(Action::File("f"))),
            (Method::DELETE, "/v1/files/f", Some(Action::DeleteFile("f"))),
            (
                Method::GET,
                "/v1/files/f/content",
                Some(Action::Content("f")),
            ),
            (Method::POST, "/v1/batches", Some(Action::CreateBatch)),
            (Method::GET, "/v1/batches", Some(Action::ListBatches)),
            (Method::GET, "/v1/batches/b", Some(Action::Batch("b"))),
            (
                Method::POST,
                "/v1/batches/b/cancel",
                Some(Action::CancelBatch("b")),
            ),
            (Method::PUT, "/v1/files/f", None),
            (Method::GET, "/v1/files/", None),
            (Method::GET, "/v1/files/f/content/x", None),
            (Method::GET, "/v1/filesystem", None),
            (Method::GET, "/v1beta/files", None),
        ] {
            assert_eq!(Action::of(&method, path), expected, "{method} {path}");
        }
    }
}
