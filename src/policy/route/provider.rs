//! A provider as requests see it: parsed once, when the configuration is compiled.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::{Arc, LazyLock};

use http::{HeaderName, HeaderValue, Uri};

use crate::base::secret::Secret;
use crate::base::text::Text;
use crate::config::{
    self, AuthMode, Authorization, Certificates, Network, Proxying, ServiceAccount,
};
use crate::formats::{self, BaseUrl, Destination, Format};
use crate::policy::access::Subject;
use crate::wire::headers::CREDENTIALS;

/// How a provider can be asked what a caller asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// In the caller's format.
    Native,
    /// In another, into which the request is translated.
    Translated,
}

/// One provider.
#[derive(Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a key of the configuration"
)]
pub struct Provider {
    /// Key in the configuration, and first segment of full model names.
    pub id: Text,
    /// Name for people; empty if none was given.
    pub name: String,
    /// Free text for listings.
    pub description: String,
    /// Models that it serves, as it names them.
    pub models: Vec<String>,
    /// Compatibility flags that are on.
    pub flags: Vec<&'static str>,
    /// Whether requests are translated for it.
    pub translate: bool,
    /// Requests that it answers at once.
    pub slots: usize,
    /// Higher wins.
    pub preference: i64,
    /// Kept, but not used.
    pub disabled: bool,
    /// Kind of upstream, for listings.
    pub upstream: String,
    /// Where the credential goes.
    pub authorization: Authorization,
    /// Whose credential is sent.
    pub auth_mode: AuthMode,
    /// Whether requests with callers' own credentials are charged to dollar budgets.
    pub charge_passthrough: bool,
    /// The credentials, which take turns; the first may be empty.
    pub apikeys: Vec<Secret>,
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
    /// Whether it is told who asks.
    pub identity_headers: bool,
    /// Query parameters that pass besides those of its formats.
    pub pass_query: Vec<String>,
    /// Keys of requests that are allowed besides those of its formats.
    pub pass_keys: Vec<String>,
    /// Which network it is reached over.
    pub network: Network,
    /// The certificates that it is trusted by, where it isn't those of this machine's store.
    pub ca: Option<Certificates>,
    /// Which proxy it is reached over.
    pub proxy: Proxying,
    /// Whether `stream_options` is added to requests for streams; `None` until it is refused.
    pub stream_options: Option<bool>,
    base: BaseUrl,
    fingerprint: u64,
}

impl Provider {
    /// A model of it, as grants know it.
    pub fn subject<'a>(&'a self, model: &'a str) -> Subject<'a> {
        Subject::model(&self.id, model)
    }

    /// Parses a provider.
    ///
    /// # Errors
    /// A sentence that says what is wrong with its `baseurl`.
    pub fn new(id: &str, config: &config::Provider) -> Result<Self, String> {
        let base = config.base.clone().map_err(|error| error.to_string())?;
        let account = config.service_account.clone();
        let project = account.as_ref().map(|account| &account.project);
        let project = project.filter(|project| !project.is_empty()).cloned();
        let pass_headers = config.pass_headers.iter();
        let pass_headers =
            pass_headers.filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok());
        Ok(Self {
            id: id.into(),
            name: config.name.clone(),
            description: config.description.clone(),
            models: config.models.clone(),
            flags: config.compatibility.flags().to_vec(),
            translate: config.translate,
            slots: config.slots,
            preference: config.preference,
            disabled: config.disabled,
            upstream: config.upstream.clone(),
            authorization: config.authorization,
            auth_mode: config.auth_mode,
            charge_passthrough: config.charge_passthrough,
            apikeys: keys(config),
            service_account: account,
            project: project.or_else(|| config.project.clone()),
            region: base.region().or_else(|| config.region.clone()),
            add_headers: config.add_headers.iter().filter_map(header).collect(),
            pass_headers: pass_headers.collect(),
            identity_headers: config.identity_headers,
            pass_query: config.pass_query.clone(),
            pass_keys: config.pass_keys.clone(),
            network: config.network,
            ca: config.ca.clone(),
            proxy: config.proxy.clone(),
            stream_options: config.stream_options,
            fingerprint: fingerprint(config, &base),
            base,
        })
    }

    /// Whether it speaks a format.
    pub fn speaks(&self, api: &Format) -> bool {
        api.is_spoken_with(&self.flags)
    }

    /// How it can be asked what a caller asks in a format, if it can.
    pub fn fit(&self, api: &Format) -> Option<Fit> {
        if self.speaks(api) {
            return Some(Fit::Native);
        }
        self.translation(api).map(|_| Fit::Translated)
    }

    /// How it can be asked a request for this path, if it can: not every path is translated.
    pub fn fit_at(&self, api: &Format, path: &str) -> Option<Fit> {
        if (api.translates)(path) {
            self.fit(api)
        } else {
            self.speaks(api).then_some(Fit::Native)
        }
    }

    /// The format that requests in `api` are translated to for it; `None` if it speaks that itself, or if
    /// they aren't translated. A caller's own credential goes only where the caller's own format is spoken,
    /// so a provider that takes nothing else can't be asked in another.
    pub fn translation(&self, api: &Format) -> Option<&'static Format> {
        if !self.translate || self.speaks(api) || self.needs_own_credential() {
            return None;
        }
        formats::translated(api, &self.flags)
    }

    /// Whether it can be asked only with a credential of the caller's own: none is configured.
    pub fn needs_own_credential(&self) -> bool {
        self.auth_mode == AuthMode::Passthrough
            && self.apikeys.iter().all(Secret::is_empty)
            && self.service_account.is_none()
            && !self
                .add_headers
                .iter()
                .any(|(name, _)| CREDENTIALS.contains(&name.as_str()))
    }

    /// The server and the version of its API, as a text.
    pub fn place(&self) -> String {
        let url = self.base.url("/v1/models", "", None);
        url.map(|url| url.to_string()).unwrap_or_default()
    }

    /// Whether another provider is at the same server.
    pub fn is_at_server_of(&self, other: &Self) -> bool {
        let server = |one: &Self| (one.base.host(), one.base.port());
        server(self) == server(other)
    }

    /// What a format may know of where a request goes.
    pub fn destination<'a>(&'a self, model: &'a str) -> Destination<'a> {
        Destination {
            model,
            project: self.project.as_deref(),
            region: self.region.as_deref(),
            flags: &self.flags,
        }
    }

    /// The URL for a path of an API, and for one of its models.
    ///
    /// # Errors
    /// When path and base make no valid URL together.
    pub fn url(&self, path: &str, model: &str, query: Option<&str>) -> Result<Uri, http::Error> {
        self.base.url(path, model, query)
    }

    /// The URL for a path from the root of its server.
    ///
    /// # Errors
    /// When they make no valid URL together.
    pub fn root_url(&self, path: &str, query: Option<&str>) -> Result<Uri, http::Error> {
        self.base.root_url(path, query)
    }

    /// A hash of how the provider is reached and what it is sent: its URL, credential, headers,
    /// network and formats. If any of them changes it is another provider, which doesn't inherit
    /// failures and connections. The hash reveals nothing of the credential.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// What listings show as the kind of upstream: as configured, else the provider's id.
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

/// A hash that no other process can repeat: it is of secrets, among others.
fn fingerprint(config: &config::Provider, base: &BaseUrl) -> u64 {
    static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    KEYS.hash_one((
        base,
        (&config.apikey, &config.apikeys),
        config.authorization,
        config.auth_mode,
        (&config.project, &config.region),
        (config.network, &config.proxy, &config.ca),
        &config.add_headers,
        (config.compatibility.flags(), config.stream_options),
    ))
}

/// The keys that are set. Without any, a list of one empty key.
fn keys(config: &config::Provider) -> Vec<Secret> {
    let first = [&config.apikey].into_iter();
    let keys = first.chain(&config.apikeys).cloned();
    let mut given: Vec<_> = keys.filter(|key| !key.is_empty()).collect();
    if given.is_empty() {
        given.push(Secret::default());
    }
    given
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
                region: Some("configured".to_owned()),
                project: Some("p".to_owned()),
                ..config::Provider::at(base)
            };
            let provider = Provider::new("p", &config).unwrap();
            let to = provider.destination("m");
            assert_eq!((to.region, to.project), (Some(region), Some("p")), "{base}");
        }
    }

    #[test]
    fn a_fingerprint_changes_with_what_is_sent_and_with_nothing_else() {
        let config = |change: &dyn Fn(&mut config::Provider)| {
            let mut config = config::Provider::at("http://p");
            change(&mut config);
            Provider::new("p", &config).unwrap().fingerprint()
        };
        let same = config(&|_| {});
        for change in [
            &(|one: &mut config::Provider| one.models = vec!["m".to_owned()])
                as &dyn Fn(&mut config::Provider),
            &|one: &mut config::Provider| one.preference = 3,
            &|one: &mut config::Provider| one.name = "P".to_owned(),
            &|one: &mut config::Provider| one.base = BaseUrl::parse("http://p/"),
        ] {
            assert_eq!(config(change), same);
        }
        for change in [
            &(|one: &mut config::Provider| one.base = BaseUrl::parse("https://p"))
                as &dyn Fn(&mut config::Provider),
            &|one: &mut config::Provider| one.apikey = Secret::new("k".to_owned()),
            &|one: &mut config::Provider| one.apikeys = vec![Secret::new("k".to_owned())],
            &|one: &mut config::Provider| one.authorization = Authorization::XApiKey,
            &|one: &mut config::Provider| one.auth_mode = AuthMode::None,
            &|one: &mut config::Provider| one.network = Network::Host,
            &|one: &mut config::Provider| one.proxy = Proxying::Never,
            &|one: &mut config::Provider| one.add_headers = vec![("a".to_owned(), "b".to_owned())],
            &|one: &mut config::Provider| one.base = BaseUrl::with_version("http://p", ""),
            &|one: &mut config::Provider| one.stream_options = Some(false),
        ] {
            assert_ne!(config(change), same);
        }
    }
}
