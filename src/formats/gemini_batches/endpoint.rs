//! Paths of batches.

use http::Method;
use percent_encoding::percent_decode_str;

use crate::formats::google::path::{VERSIONS, split};

/// Methods of a model that make a batch, and those that its lines are for.
const METHODS: [(&str, &str); 2] = [
    ("batchGenerateContent", "generateContent"),
    ("asyncBatchEmbedContent", EMBED),
];
const EMBED: &str = "embedContent";

/// What a request for a batch asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'p> {
    /// A batch of requests for this method of a model.
    Create(MethodOfModel<'p>),
    List,
    Batch(&'p str),
    Cancel(&'p str),
    Delete(&'p str),
}

/// A method of a model, as a path names both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodOfModel<'p> {
    /// The path up to the method, such as `/v1beta/models/m`.
    model: &'p str,
    method: &'p str,
}

impl<'p> Action<'p> {
    /// What a method of a path asks for; `None` if that is something else.
    #[must_use]
    pub fn of(method: &Method, path: &'p str) -> Option<Self> {
        if let Some(made) = made(path) {
            return (method == Method::POST).then_some(Self::Create(made));
        }
        let (version, path) = path.strip_prefix('/')?.split_once('/')?;
        let rest = path.strip_prefix("batches")?;
        if !VERSIONS.contains(&version) {
            return None;
        }
        if rest.is_empty() {
            return (method == Method::GET).then_some(Self::List);
        }
        let id = rest.strip_prefix('/').filter(|id| !id.is_empty())?;
        if id.contains('/') {
            return None;
        }
        match (method, id.split_once(':')) {
            (&Method::GET, None) => Some(Self::Batch(id)),
            (&Method::DELETE, None) => Some(Self::Delete(id)),
            (&Method::POST, Some((id, "cancel"))) => Some(Self::Cancel(id)),
            _ => None,
        }
    }
}

/// Whether a path is that of a method which makes a batch.
pub(in crate::formats) fn makes_batch(path: &str) -> bool {
    made(path).is_some()
}

fn made(path: &str) -> Option<MethodOfModel<'_>> {
    let (model, method) = path.rsplit_once(':')?;
    let (_, method) = METHODS.into_iter().find(|(makes, _)| *makes == method)?;
    split(model).map(|_| MethodOfModel { model, method })
}

impl<'p> MethodOfModel<'p> {
    /// Reads the path that lines are for.
    #[must_use]
    pub fn of_endpoint(endpoint: &'p str) -> Option<Self> {
        let (model, method) = endpoint.rsplit_once(':')?;
        Some(Self { model, method })
    }

    /// The path that lines are for.
    #[must_use]
    pub fn endpoint(self) -> String {
        format!("{}:{}", self.model, self.method)
    }

    /// The name of the model's resource, such as `models/m`.
    pub(super) fn resource(self) -> String {
        let (_, collection, name) = split(self.model).unwrap_or_default();
        let name = percent_decode_str(name).decode_utf8_lossy();
        format!("{collection}/{name}")
    }

    /// Whether it makes vectors.
    pub(super) fn embeds(self) -> bool {
        self.method == EMBED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_asks_for_one_thing() {
        for (method, path, expected) in [
            (Method::GET, "/v1beta/batches", Some(Action::List)),
            (Method::GET, "/v1alpha/batches/b", Some(Action::Batch("b"))),
            (Method::DELETE, "/v1/batches/b", Some(Action::Delete("b"))),
            (
                Method::POST,
                "/v1beta/batches/b:cancel",
                Some(Action::Cancel("b")),
            ),
            (Method::POST, "/v1beta/batches", None),
            (Method::POST, "/v1beta/batches/b", None),
            (Method::GET, "/v1beta/batches/", None),
            (Method::GET, "/v1beta/batches/b/x", None),
            (Method::GET, "/v1beta/batches/b:cancel", None),
            (Method::GET, "/v1beta/batchesx", None),
            (Method::GET, "/v2/batches", None),
            (Method::GET, "/v1beta/models/m:batchGenerateContent", None),
            (Method::POST, "/v1beta/models/m:generateContent", None),
            (Method::POST, "/v1beta/models/:batchGenerateContent", None),
            (Method::POST, "/v1beta/files/m:batchGenerateContent", None),
        ] {
            assert_eq!(Action::of(&method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn a_batch_is_made_of_requests_for_one_method_of_a_model() {
        for (path, endpoint, resource, embeds) in [
            (
                "/v1beta/models/m:batchGenerateContent",
                "/v1beta/models/m:generateContent",
                "models/m",
                false,
            ),
            (
                "/v1/models/p/m:7b:asyncBatchEmbedContent",
                "/v1/models/p/m:7b:embedContent",
                "models/p/m:7b",
                true,
            ),
            (
                "/v1alpha/tunedModels/p%2Fm:batchGenerateContent",
                "/v1alpha/tunedModels/p%2Fm:generateContent",
                "tunedModels/p/m",
                false,
            ),
        ] {
            let Some(Action::Create(method)) = Action::of(&Method::POST, path) else {
                panic!("{path}");
            };
            assert_eq!(method.endpoint(), endpoint);
            let read = MethodOfModel::of_endpoint(endpoint).unwrap();
            assert_eq!(
                (read.resource().as_str(), read.embeds()),
                (resource, embeds)
            );
        }
    }
}
