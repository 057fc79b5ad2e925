//! The base URL of a provider. Parsed once, by one type: which server it means, and whether a
//! path below it has a version segment, is the same question for requests, for listings of models, for prices
//! and for the checks.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use http::Uri;
use http::uri::{Authority, Scheme};

pub use aws::aws_region;
use vendors::{
    AZURE, BARE, ENDPOINTS, OWN_ENDPOINTS, ROOTS, ROOTS_WITHOUT_VERSION, SINGLE_ENDPOINTS,
    WITH_VERSION, WITHOUT_VERSION,
};

mod aws;
pub(super) mod azure;
mod vendors;

/// A base URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BaseUrl {
    scheme: Scheme,
    authority: Authority,
    /// Without a trailing or a double slash; empty for the root.
    path: String,
    version: Version,
    /// The version of Azure's API, for the query.
    api_version: Option<String>,
}

/// Which version segment a path has below the base.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Version {
    /// That of the API, such as `v1`.
    OfApi,
    /// None: the base has its own, or the server has none.
    None,
    /// The one that the configuration states.
    Stated(String),
}

/// Why a text can't be a base URL. Its words follow "baseurl of provider p".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrlError(String);

impl fmt::Display for BaseUrlError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for BaseUrlError {}

impl BaseUrl {
    /// Parses a base URL.
    ///
    /// # Errors
    /// What is wrong with it, and what to write instead where that can be told.
    pub fn parse(text: &str) -> Result<Self, BaseUrlError> {
        let mut base = Self::read(text, true)?;
        if base.has_own_version() {
            base.version = Version::None;
        }
        Ok(base)
    }

    /// Parses a base URL for which the configuration states the version segment of paths; an empty
    /// one for none. Its path is kept, even if it looks like that of an endpoint.
    ///
    /// # Errors
    /// As for [`BaseUrl::parse`].
    pub fn with_version(text: &str, version: &str) -> Result<Self, BaseUrlError> {
        let mut base = Self::read(text, false)?;
        base.version = if version.is_empty() {
            Version::None
        } else {
            Version::Stated(version.to_owned())
        };
        Ok(base)
    }

    /// The same for a server that wants the version of its API in the query, as Azure's does. Below a base
    /// that names neither a version nor a deployment, a model is then a deployment.
    #[must_use]
    pub fn with_api_version(self, api_version: &str) -> Self {
        Self {
            api_version: Some(api_version.to_owned()),
            ..self
        }
    }

    fn read(text: &str, is_checked: bool) -> Result<Self, BaseUrlError> {
        let text = text.trim();
        if !text.contains("://") {
            return Err(without_scheme(text));
        }
        let wrong = |why: String| BaseUrlError(format!("{} {why}", shown(text)));
        let uri: Uri = text
            .parse()
            .map_err(|error| wrong(format!("is not a valid URL: {error}")))?;
        let (Some(scheme), Some(authority)) = (uri.scheme().cloned(), uri.authority().cloned())
        else {
            return Err(wrong(
                "is not a URL such as http://100.64.0.1:8080".to_owned(),
            ));
        };
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            let why = format!("has the scheme {:?}; use http or https", scheme.as_str());
            return Err(wrong(why));
        }
        if authority.as_str().contains('@') {
            let why = "contains a user name; put the credential in `apikey`".to_owned();
            return Err(wrong(why));
        }
        if authority.host().is_empty() {
            return Err(wrong("has no host".to_owned()));
        }
        let mut base = Self {
            scheme,
            authority,
            path: joined(uri.path().split('/').filter(|one| !one.is_empty())),
            version: Version::OfApi,
            api_version: None,
        };
        if let Some((path, is_unversioned)) = base.endpoint().filter(|_| is_checked) {
            base.path = path;
            let more = if is_unversioned && !base.has_own_version() {
                ", and \"path_version\": \"\""
            } else {
                ""
            };
            return Err(wrong(format!(
                "is the URL of an endpoint; write \"{base}\", without the endpoint's path{more}; \
                if the path is no endpoint's, set \"path_version\""
            )));
        }
        if uri.query().is_some() || text.contains('#') {
            return Err(wrong("has a query or a fragment; leave it out".to_owned()));
        }
        if base.segments().iter().any(|one| [".", ".."].contains(one)) {
            return Err(wrong(
                "has a segment \".\" or \"..\"; write the path in full".to_owned(),
            ));
        }
        Ok(base)
    }

    /// Parses what a person typed, who may have left out the scheme.
    ///
    /// # Errors
    /// As for [`BaseUrl::parse`].
    pub fn typed(text: &str) -> Result<Self, BaseUrlError> {
        let text = text.trim();
        match with_scheme(text).filter(|_| !text.contains("://")) {
            Some(full) => Self::parse(&full),
            None => Self::parse(text),
        }
    }

    /// The URL for a path of an API, whose first segment may be its version. Below a base that ends
    /// in a version of its own the path goes without: both `http://host` and `http://host/v1` then
    /// mean the same server. Azure's path names the model.
    ///
    /// # Errors
    /// When path and base make no valid URL together.
    pub fn url(&self, path: &str, model: &str, query: Option<&str>) -> Result<Uri, http::Error> {
        let versioned = path
            .strip_prefix('/')
            .and_then(|path| path.split_once('/'))
            .filter(|(version, _)| is_version(version));
        let below = match (&self.version, versioned) {
            (Version::OfApi, Some(("v1", rest))) if self.api_version.is_some() => {
                azure::path(&self.segments(), rest, model)
            }
            (Version::None, Some((_, rest))) => format!("/{rest}"),
            (Version::Stated(version), Some((_, rest))) => format!("/{version}/{rest}"),
            _ => path.to_owned(),
        };
        self.root_url(&format!("{}{below}", self.above(path)), query)
    }

    /// The URL for a path from the root of the server, below which the base's own path doesn't count.
    ///
    /// # Errors
    /// When they make no valid URL together.
    pub fn root_url(&self, path: &str, query: Option<&str>) -> Result<Uri, http::Error> {
        let query = match &self.api_version {
            Some(version) => Some(Cow::Owned(azure::query(version, query))),
            None => query.map(Cow::Borrowed),
        };
        let mut target = path.to_owned();
        if let Some(query) = query {
            target.push('?');
            target.push_str(&query);
        }
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(target)
            .build()
    }

    /// The base's own path, in front of a path of an API. Ollama's API has no version: beside that of
    /// OpenAI's, for which the base may end in one, it is below the same root.
    fn above(&self, path: &str) -> &str {
        let is_unversioned = path.starts_with("/api/") && self.version_is_inferred();
        let root = is_unversioned.then(|| self.path.strip_suffix("/v1"));
        root.flatten().unwrap_or(&self.path)
    }

    /// The host, in lower case, without the brackets of an IPv6 address and without a final dot.
    #[must_use]
    pub fn host(&self) -> String {
        let host = self.authority.host();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host.trim_end_matches('.').to_ascii_lowercase()
    }

    /// The port, which the scheme tells where the URL doesn't.
    #[must_use]
    pub fn port(&self) -> u16 {
        let usual = if self.scheme == Scheme::HTTPS {
            443
        } else {
            80
        };
        self.authority.port_u16().unwrap_or(usual)
    }

    /// The cloud's region that the host names: `REGION-aiplatform.googleapis.com`, or
    /// `aiplatform.REGION.rep.googleapis.com` for those of several places, or that of AWS.
    #[must_use]
    pub fn region(&self) -> Option<String> {
        let host = self.host();
        let region = host
            .strip_suffix("-aiplatform.googleapis.com")
            .or_else(|| {
                host.strip_prefix("aiplatform.")?
                    .strip_suffix(".rep.googleapis.com")
            })
            .or_else(|| aws_region(&host))?;
        Some(region.to_owned())
    }

    /// The base for OpenAI's format where this one is known not to serve it: the vendor's API has
    /// a path of its own, which is missing or incomplete.
    #[must_use]
    pub fn for_openai(&self) -> Option<Self> {
        if !self.version_is_inferred() || self.api_version.is_some() {
            return None;
        }
        let (host, segments) = (self.host(), self.segments());
        let path = if host == "gateway.ai.cloudflare.com" && fits(&segments, &["{v}", "*", "*"]) {
            format!("{}/compat", self.path)
        } else {
            let (_, path) = ROOTS.iter().find(|(known, _)| is_at(&host, known))?;
            let full: Vec<&str> = path.split('/').skip(1).collect();
            let mut bare = BARE.iter();
            let is_bare = full.starts_with(&segments)
                || bare.any(|(at, path)| is_at(&host, at) && fits(&segments, path));
            if !is_bare {
                return None;
            }
            (*path).to_owned()
        };
        let mut better = Self {
            path,
            version: Version::OfApi,
            ..self.clone()
        };
        if better.has_own_version() {
            better.version = Version::None;
        }
        // `https://openrouter.ai/api` means the same as `https://openrouter.ai/api/v1`.
        let chat = |base: &Self| base.url("/v1/chat/completions", "m", None).ok();
        (chat(self) != chat(&better)).then_some(better)
    }

    fn version_is_inferred(&self) -> bool {
        !matches!(self.version, Version::Stated(_))
    }

    fn segments(&self) -> Vec<&str> {
        self.path.split('/').filter(|one| !one.is_empty()).collect()
    }

    fn has_own_version(&self) -> bool {
        let (host, segments) = (self.host(), self.segments());
        let is_in = |table: &[(&str, &[&str])]| {
            let mut rows = table.iter();
            rows.any(|(at, end)| is_at(&host, at) && ends_in(&segments, end))
        };
        if segments.is_empty() {
            let mut roots = ROOTS_WITHOUT_VERSION.iter();
            return roots.any(|at| is_at(&host, at));
        }
        !is_in(WITH_VERSION) && is_in(WITHOUT_VERSION)
    }

    /// The path of the base of the endpoint whose URL this is, if it is one, and whether the endpoint
    /// is below it without a version.
    fn endpoint(&self) -> Option<(String, bool)> {
        let (host, segments) = (self.host(), self.segments());
        // Azure's page shows the URL of a deployment, which works only with a query.
        if AZURE.iter().any(|at| is_at(&host, at))
            && ["openai", "models"].contains(segments.first()?)
            && self.kept_of_endpoint(&segments).is_some()
        {
            return Some(("/openai/v1".to_owned(), false));
        }
        let (kept, is_unversioned) = self.kept_of_endpoint(&segments)?;
        Some((joined(kept.iter().copied()), is_unversioned))
    }

    /// What of the segments is left without those of an endpoint, if they end in one's, and whether
    /// the endpoint is below its base without a version.
    fn kept_of_endpoint<'s>(&self, segments: &'s [&'s str]) -> Option<(&'s [&'s str], bool)> {
        let above = |count: usize| &segments[..segments.len() - count];
        let last = segments.last()?;
        // `models/X:generateContent`, below a project on Vertex.
        if last.contains(':') && ends_in(segments, &["*odels", "*"]) {
            let project = segments.iter().position(|one| *one == "projects");
            let kept = project.map_or(segments.len() - 2, |at| at.saturating_sub(1));
            return Some((&segments[..kept], false));
        }
        for (path, stays) in OWN_ENDPOINTS {
            if ends_in(segments, path) {
                return Some((above(path.len() - stays), false));
            }
        }
        let is_versioned = |kept: &[&str]| kept.last().is_some_and(|one| is_version(one));
        if let Some(path) = ENDPOINTS.iter().find(|path| ends_in(segments, path)) {
            let kept = above(path.len());
            return Some((kept, !is_versioned(kept)));
        }
        // One word can be a path of its own: `http://host/models`.
        let kept = above(1);
        let known = Self {
            path: joined(kept.iter().copied()),
            ..self.clone()
        };
        let is_below_api = !kept.is_empty()
            && (known.has_own_version() || kept.last() == Some(&"openai"))
            && !self.has_own_version();
        (SINGLE_ENDPOINTS.contains(last) && is_below_api).then(|| (kept, !is_versioned(kept)))
    }
}

fn joined<'s>(segments: impl Iterator<Item = &'s str>) -> String {
    segments.fold(String::new(), |path, one| path + "/" + one)
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}://{}{}", self.scheme, self.authority, self.path)
    }
}

/// Whether a host is that of a row: itself, or one below a domain that begins with a dot, or one
/// that differs in what a star stands for.
fn is_at(host: &str, row: &str) -> bool {
    if let Some((start, end)) = row.split_once('*') {
        let rest = host.strip_prefix(start);
        return rest.is_some_and(|rest| rest.ends_with(end));
    }
    row.is_empty() || host == row || (row.starts_with('.') && host.ends_with(row))
}

fn fits(segments: &[&str], pattern: &[&str]) -> bool {
    segments.len() == pattern.len() && ends_in(segments, pattern)
}

fn ends_in(segments: &[&str], end: &[&str]) -> bool {
    let Some(from) = segments.len().checked_sub(end.len()) else {
        return false;
    };
    let mut pairs = segments[from..].iter().zip(end);
    pairs.all(|(segment, pattern)| match *pattern {
        "*" => true,
        "{v}" => is_version(segment),
        word => match word.strip_prefix('*') {
            Some(end) => segment.ends_with(end),
            None => *segment == word,
        },
    })
}

/// `v1`, `v4`, `v1beta`, `v1beta1`.
fn is_version(segment: &str) -> bool {
    let Some(rest) = segment.strip_prefix('v') else {
        return false;
    };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    digits > 0
        && rest[digits..]
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric())
}

/// Whether a text can be the version segment that the configuration states.
#[must_use]
pub fn is_version_segment(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    text.bytes().all(plain) && !matches!(text, "." | "..")
}

fn without_scheme(text: &str) -> BaseUrlError {
    BaseUrlError(match with_scheme(text) {
        Some(better) => format!("{} has no scheme; write \"{better}\"", shown(text)),
        None => format!(
            "{} is not a URL such as http://100.64.0.1:8080",
            shown(text)
        ),
    })
}

/// What to write where the scheme is missing: `https` for a name on the internet, else `http`.
fn with_scheme(text: &str) -> Option<String> {
    let rest = text.trim_start_matches('/');
    if rest.contains(['@', '?', '#']) || rest.contains(char::is_whitespace) {
        return None;
    }
    let authority: Authority = rest.split('/').next()?.parse().ok()?;
    let host = authority.host();
    let is_private = [".local", ".internal", ".home.arpa", ".ts.net", ".lan"]
        .iter()
        .any(|domain| host.ends_with(domain));
    let is_public = host.contains('.')
        && authority.port_u16().is_none()
        && host.parse::<IpAddr>().is_err()
        && !is_private;
    let scheme = if is_public { "https" } else { "http" };
    Some(format!("{scheme}://{rest}"))
}

/// A text as an error may show it: without a password, and without a query, which may be one.
fn shown(text: &str) -> String {
    let start = text.find("://").map_or(0, |at| at + 3);
    let (scheme, rest) = text.split_at(start);
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    let (plain, hidden) = rest.split_at(end);
    let plain = plain
        .rsplit_once('@')
        .map_or_else(|| plain.to_owned(), |(_, host)| format!("…@{host}"));
    let more = if hidden.is_empty() { "" } else { "…" };
    format!("{:?}", format!("{scheme}{plain}{more}"))
}

#[cfg(test)]
mod tests;
