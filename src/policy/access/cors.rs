//! Pages of other sites that may call models in a caller's name (CORS). A tailnet identifies a caller by
//! the device, so a page that a browser shows there has its visitor's grants without any credential: only
//! the origins that a grant names may, on the paths that it names.

use http::{HeaderMap, HeaderValue, header};

use super::{Capability, PathPattern};
use crate::wire::{Origin, Tokens};

/// What one capability object allows.
#[derive(Clone, Debug)]
pub(super) struct Cors {
    paths: Vec<PathPattern>,
    origins: Vec<Origin>,
    methods: Option<Tokens>,
    headers: Option<Tokens>,
}

impl Cors {
    /// That of an object that sets it.
    pub(super) fn of(object: &Capability) -> Option<Self> {
        object.set_cors.then(|| Self {
            paths: object.cors_paths.clone(),
            origins: object.cors_origins.clone(),
            methods: object.cors_methods.clone(),
            headers: object.cors_headers.clone(),
        })
    }

    /// The origins that it names.
    pub(super) fn origins(&self) -> impl Iterator<Item = &str> {
        self.origins.iter().map(Origin::text)
    }

    fn allows(&self, origin: &HeaderValue, path: &str) -> bool {
        self.origins.iter().any(|one| one.is(origin))
            && self.paths.iter().any(|pattern| pattern.matches(path))
    }
}

/// The proof that a page's origin may call a path, with what its browser is told.
#[derive(Debug)]
pub struct AllowedOrigin {
    origin: HeaderValue,
    methods: Option<HeaderValue>,
    headers: Option<HeaderValue>,
}

impl AllowedOrigin {
    /// What those objects say together that allow it.
    pub(super) fn among(all: &[Cors], origin: &HeaderValue, path: &str) -> Option<Self> {
        let allowing = || all.iter().filter(|cors| cors.allows(origin, path));
        allowing().next()?;
        let joined = |part: fn(&Cors) -> Option<&Tokens>| {
            let texts: Vec<&str> = allowing().filter_map(part).map(Tokens::text).collect();
            let value = HeaderValue::from_str(&texts.join(", ")).ok();
            value.filter(|value| !value.is_empty())
        };
        Some(Self {
            // A value of its own, because that of the request shares memory with its other headers.
            origin: HeaderValue::from_bytes(origin.as_bytes()).ok()?,
            methods: joined(|cors| cors.methods.as_ref()),
            headers: joined(|cors| cors.headers.as_ref()),
        })
    }

    /// Lets the page read a response.
    pub fn allow(&self, response: &mut HeaderMap) {
        response.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, self.origin.clone());
        response.append(header::VARY, HeaderValue::from_static("Origin"));
    }

    /// Answers a browser's question whether the page may send a request.
    pub fn allow_preflight(&self, response: &mut HeaderMap) {
        self.allow(response);
        for (name, value) in [
            (header::ACCESS_CONTROL_ALLOW_METHODS, &self.methods),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, &self.headers),
        ] {
            if let Some(value) = value {
                response.insert(name, value.clone());
            }
        }
    }
}
