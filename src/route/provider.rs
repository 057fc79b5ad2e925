//! A provider as requests see it: parsed once, when the configuration is compiled.

use std::fmt;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, Uri, uri::Authority, uri::Scheme};

use crate::api::{Api, Destination};
use crate::config::{self, AuthMode, Authorization, Network, ServiceAccount};
use crate::secret::Secret;

/// One provider.
#[derive(Clone)]
pub struct Provider {
    /// Key in the configuration, and first segment of full model names.
    pub id: String,
    /// Name for people; empty if none was given.
    pub name: String,
    /// Free text for listings.
    pub description: String,
    /// Models that it serves, as it names them.
    pub models: Vec<String>,
    /// Compatibility flags that are on.
    pub flags: Vec<&'static str>,
    /// Higher wins.
    pub preference: i64,
    /// Kept, but not used.
    pub disabled: bool,
    /// Kind of upstream, for listings.
    pub upstream: String,
    /// Where the credential goes.
    pub authorization: Authorization,
    /// Whose credential goes.
    pub auth_mode: AuthMode,
    /// The credential; may be empty.
    pub apikey: Secret,
    /// The service account that it is a key of.
    pub service_account: Option<Arc<ServiceAccount>>,
    /// The cloud project that the credential belongs to.
    pub project: Option<String>,
    /// The cloud's region.
    pub region: Option<String>,
    /// Headers for every request to it.
    pub add_headers: Vec<(HeaderName, HeaderValue)>,
    /// Headers that pass besides those of its formats.
    pub pass_headers: Vec<HeaderName>,
    /// Query parameters that pass besides those of its formats.
    pub pass_query: Vec<String>,
    /// Keys of requests that are allowed besides those of its formats.
    pub pass_keys: Vec<String>,
    /// Which network it is reached over.
    pub network: Network,
    base: Base,
}

/// The end of the base of `ChatGPT`'s own backend, below which paths have no version.
const UNVERSIONED: &str = "codex";

#[derive(Clone, Debug, PartialEq, Eq)]
struct Base {
    scheme: Scheme,
    authority: Authority,
    /// Without a trailing slash; empty for the root.
    path: String,
    /// The path ends in a version segment such as `/v1`, or where none follows.
    versioned: bool,
}

impl Provider {
    /// Parses a provider.
    ///
    /// # Errors
    /// A sentence that says what is wrong with its `baseurl`.
    pub fn new(id: &str, config: &config::Provider) -> Result<Self, String> {
        let base = Base::parse(&config.baseurl)?;
        let account = config.service_account.clone();
        let project = account
            .as_ref()
            .map(|account| account.project.clone())
            .filter(|project| !project.is_empty());
        Ok(Self {
            id: id.to_owned(),
            name: config.name.clone(),
            description: config.description.clone(),
            models: config.models.clone(),
            flags: config.compatibility.flags(),
            preference: config.preference,
            disabled: config.disabled,
            upstream: config.upstream.clone(),
            authorization: config.authorization,
            auth_mode: config.auth_mode,
            apikey: config.apikey.clone(),
            service_account: account,
            project: project.or_else(|| config.project.clone()),
            region: base.region().or_else(|| config.region.clone()),
            add_headers: config.add_headers.iter().filter_map(header).collect(),
            pass_headers: config
                .pass_headers
                .iter()
                .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
                .collect(),
            pass_query: config.pass_query.clone(),
            pass_keys: config.pass_keys.clone(),
            network: config.network,
            base,
        })
    }

    /// Whether it speaks a format.
    #[must_use]
    pub fn speaks(&self, api: &dyn Api) -> bool {
        api.flags().iter().any(|flag| self.flags.contains(flag))
    }

    /// What a format may know of where a request goes.
    #[must_use]
    pub fn destination<'a>(&'a self, model: &'a str) -> Destination<'a> {
        Destination {
            model,
            project: self.project.as_deref(),
            region: self.region.as_deref(),
            flags: &self.flags,
        }
    }

    /// The URL for a path of an API, whose first segment is its version. A base that ends in
    /// a version segment of its own swallows that of the path: both `http://host` and
    /// `http://host/v1` then mean the same server.
    ///
    /// # Errors
    /// When path and base make no valid URL together.
    pub fn url(&self, path: &str, query: Option<&str>) -> Result<Uri, http::Error> {
        let below = match path.strip_prefix('/').and_then(|path| path.split_once('/')) {
            Some((version, rest)) if self.base.versioned && is_version(version) => {
                format!("/{rest}")
            }
            _ => path.to_owned(),
        };
        let mut target = format!("{}{below}", self.base.path);
        if let Some(query) = query {
            target.push('?');
            target.push_str(query);
        }
        Uri::builder()
            .scheme(self.base.scheme.clone())
            .authority(self.base.authority.clone())
            .path_and_query(target)
            .build()
    }

    /// What listings show as the kind of upstream: as configured, else the provider's id.
    #[must_use]
    pub fn upstream_kind(&self) -> &str {
        if self.upstream.is_empty() {
            &self.id
        } else {
            &self.upstream
        }
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Provider")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Base {
    fn parse(baseurl: &str) -> Result<Self, String> {
        let uri: Uri = baseurl
            .parse()
            .map_err(|error| format!("is not a valid URL: {error}"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme().cloned(), uri.authority().cloned())
        else {
            return Err("must be an absolute URL, as in http://100.64.0.1:8080".to_owned());
        };
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return Err(format!(
                "has the scheme {scheme}; http and https are possible"
            ));
        }
        if authority.as_str().contains('@') {
            return Err("holds a user name; put the credential in `apikey`".to_owned());
        }
        if uri.query().is_some() {
            return Err("has a query, which a base can't have".to_owned());
        }
        let path = uri.path().trim_end_matches('/').to_owned();
        let last = path.rsplit('/').next();
        let versioned = last.is_some_and(|segment| is_version(segment) || segment == UNVERSIONED);
        Ok(Self {
            scheme,
            authority,
            path,
            versioned,
        })
    }
}

impl Base {
    /// The region that the host names: `REGION-aiplatform.googleapis.com`, or
    /// `aiplatform.REGION.rep.googleapis.com` for those of several places, or that of AWS.
    fn region(&self) -> Option<String> {
        let host = self.authority.host();
        let region = host
            .strip_suffix("-aiplatform.googleapis.com")
            .or_else(|| {
                host.strip_prefix("aiplatform.")?
                    .strip_suffix(".rep.googleapis.com")
            })
            .or_else(|| config::aws_region(host))?;
        Some(region.to_owned())
    }
}

/// `v1`, `v4`, `v1beta`.
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

fn header((name, value): &(String, String)) -> Option<(HeaderName, HeaderValue)> {
    let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
    let mut value = HeaderValue::from_str(value).ok()?;
    // Configured headers often hold a credential.
    value.set_sensitive(true);
    Some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(base: &str, path: &str) -> String {
        let config = config::Provider {
            baseurl: base.to_owned(),
            ..config::Provider::default()
        };
        Provider::new("p", &config)
            .unwrap()
            .url(path, None)
            .unwrap()
            .to_string()
    }

    #[test]
    fn a_base_with_a_version_swallows_that_of_the_request() {
        let chat = "/v1/chat/completions";
        for (base, expected) in [
            (
                "http://100.64.0.1:8080",
                "http://100.64.0.1:8080/v1/chat/completions",
            ),
            (
                "http://100.64.0.1:8080/",
                "http://100.64.0.1:8080/v1/chat/completions",
            ),
            (
                "http://100.64.0.1:8080/v1",
                "http://100.64.0.1:8080/v1/chat/completions",
            ),
            (
                "http://100.64.0.1:8080/v1/",
                "http://100.64.0.1:8080/v1/chat/completions",
            ),
            (
                "https://api.example.net/paas/v4",
                "https://api.example.net/paas/v4/chat/completions",
            ),
            (
                "https://example.net/openai",
                "https://example.net/openai/v1/chat/completions",
            ),
            (
                "http://[fd7a:115c:a1e0::1]:80",
                "http://[fd7a:115c:a1e0::1]:80/v1/chat/completions",
            ),
        ] {
            assert_eq!(url(base, chat), expected, "{base}");
        }
    }

    #[test]
    fn the_backend_of_chatgpt_has_no_versions() {
        for base in [
            "https://chatgpt.com/backend-api/codex",
            "https://chatgpt.com/backend-api/codex/",
        ] {
            let expected = "https://chatgpt.com/backend-api/codex/responses";
            assert_eq!(url(base, "/v1/responses"), expected);
        }
    }

    #[test]
    fn that_holds_for_each_kind_of_version() {
        let base = "https://generativelanguage.googleapis.com/v1beta/";
        let expected = "https://generativelanguage.googleapis.com/v1beta/models/m:countTokens";
        for version in ["v1", "v1beta", "v1alpha"] {
            assert_eq!(
                url(base, &format!("/{version}/models/m:countTokens")),
                expected
            );
        }
        assert_eq!(
            url("http://p/v1", "/model/m/invoke"),
            "http://p/v1/model/m/invoke"
        );
    }

    #[test]
    fn a_region_is_that_of_the_host_or_the_configured_one() {
        for (base, region) in [
            (
                "https://europe-west4-aiplatform.googleapis.com",
                "europe-west4",
            ),
            ("https://aiplatform.eu.rep.googleapis.com/", "eu"),
            (
                "https://bedrock-runtime.eu-west-1.amazonaws.com",
                "eu-west-1",
            ),
            ("https://aiplatform.googleapis.com", "configured"),
        ] {
            let config = config::Provider {
                baseurl: base.to_owned(),
                region: Some("configured".to_owned()),
                project: Some("p".to_owned()),
                ..config::Provider::default()
            };
            let provider = Provider::new("p", &config).unwrap();
            let to = provider.destination("m");
            assert_eq!((to.region, to.project), (Some(region), Some("p")), "{base}");
        }
    }

    #[test]
    fn a_base_that_is_none_is_refused() {
        for base in [
            "",
            "localhost:80",
            "/v1",
            "ftp://x/",
            "http://u:p@x/",
            "http://x/?a=b",
        ] {
            assert!(Base::parse(base).is_err(), "{base}");
        }
    }
}
