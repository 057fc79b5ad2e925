//! The section `providers`.

use std::sync::Arc;

use super::aws::AwsKey;
use super::certificates::{self, Certificates};
use super::declare::{Holds, Key, Kind, Setting, Way};
use super::finding::{Finding, Severity, Subject};
use super::headers::{HEADERS, PASS_HEADERS};
use super::hujson::{Position, Value};
use super::keyfile::ServiceAccount;
use super::proxy::Proxying;
use super::readers::{Count, Perhaps};
use super::table::{Item, Table};
use super::{section, words};
use crate::base::money::{CostBasis, Factor};
use crate::base::secret::Secret;
use crate::formats::{self, BaseUrl, BaseUrlError, aws_region, is_version_segment};

section! {
    /// One provider, as configured.
    #[derive(Clone, Debug)]
    pub struct Provider {
        /// URL in front of every path. With or without `/v1` at its end is the same. Other known forms are used as they are; see [ROUTING.md](ROUTING.md#base-urls).
        #[key(required, holds = Holds::Url, example = r#""http://gpu:8080/v1""#)]
        baseurl: String => Way::TRIMMED,
        /// The version segment between `baseurl` and each path, such as `v1`; empty for none. Without it, the form of `baseurl` decides.
        #[key(example = r#""""#)]
        path_version: Option<String> => Perhaps(Way::new(Kind::Text, path_version)),
        /// The version of Azure's API, for the query, such as `2024-10-21`. Models are then names of deployments; see [ROUTING.md](ROUTING.md#azure).
        #[key(example = r#""2024-10-21""#)]
        api_version: Option<String> => Perhaps(Way::new(Kind::Text, segment)),
        /// Whether `stream_options` is added to requests for streams, which asks for their usage. Without it, it is added until the provider refuses it.
        stream_options: Option<bool>,
        /// Models as the provider names them.
        #[key(required)]
        models: Vec<String>,
        /// Credential. Better a reference than the key itself: `${NAME}`, `${file:/path}`.
        apikey: Secret,
        /// More credentials of the same kind. Each has its turn, and one that the provider refuses or limits is left out for a while; see [ROUTING.md](ROUTING.md#several-keys).
        #[key(holds = Holds::Secret, example = r#"["${SECOND_KEY}"]"#)]
        apikeys: Vec<Secret>,
        /// The header that carries it, or how requests are signed with it.
        authorization: Authorization,
        /// Whose credential goes to the provider: the configured one, the caller's (else the configured one), or none; see [ROUTING.md](ROUTING.md#callers-own-credentials).
        auth_mode: AuthMode,
        /// Whether requests with callers' own credentials are charged to dollar budgets too, at list price; see [BUDGETS.md](BUDGETS.md#callers-own-credentials).
        charge_passthrough: bool,
        /// Formats that it speaks; see [FORMATS.md](FORMATS.md). One that turns something on and does not mention `openai_chat` turns that off.
        compatibility: Compatibility,
        /// Whether requests in formats that it doesn't speak are translated for it; see [FORMATS.md](FORMATS.md#translation).
        translate: bool = true,
        /// Name for people.
        name: String,
        /// Free text.
        description: String,
        /// Certificates, as PEM, that the server is trusted by instead of this machine's store: of its authority, or exactly its own. The file is read again when it changes.
        #[key(holds = Holds::Destination, example = r#""${file:/etc/iris/ca.pem}""#)]
        ca: Option<Certificates>,
        /// Requests that it answers at once. A batch that the gateway runs waits while half of them or more are taken; see [JOBS.md](JOBS.md).
        slots: usize = 2 => Count(1, 1 << 16),
        /// Higher wins among several for one model.
        preference: i64,
        /// Kept, but not used.
        disabled: bool,
        /// Headers for every request, as `"Name: value"`.
        #[key(holds = Holds::Headers, example = r#"["X-Team: platform"]"#)]
        add_headers: Vec<(String, String)> => HEADERS,
        /// Headers that pass in either direction besides those in [ALLOWED.md](ALLOWED.md). Credentials, identities and headers that Iris sets never do.
        #[key(holds = Holds::Headers, example = r#"["X-Tenant"]"#)]
        pass_headers: Vec<String> => PASS_HEADERS,
        /// Whether the provider is told who asks, in the headers `Tailscale-User-Login`, `Tailscale-User-Name` and `Tailscale-User-Profile-Pic`, as Tailscale Serve does. For servers of your own.
        identity_headers: bool,
        /// Query parameters that pass besides those in [ALLOWED.md](ALLOWED.md).
        #[key(example = r#"["region"]"#)]
        pass_query: Vec<String>,
        /// Top-level keys of requests that are allowed though Iris refuses them, or though a guardrail doesn't know them; see [ALLOWED.md](ALLOWED.md).
        #[key(example = r#"["provider"]"#)]
        pass_keys: Vec<String>,
        /// Which network it is reached over. `auto`: the tailnet for its addresses and names, else the host's.
        #[key(holds = Holds::Destination)]
        network: Network,
        /// An HTTP proxy on the way to it, such as `http://user:password@proxy:3128`, or `none`. Without it, `HTTPS_PROXY` and its like count for public providers; see [ROUTING.md](ROUTING.md#proxies).
        #[key(holds = Holds::Proxy)]
        proxy: Proxying,
        /// An older way to write `"network": "tailnet"`.
        #[key(holds = Holds::Destination)]
        tailnet: bool,
        /// Google's project, where no service account tells it.
        project: Option<String> => Perhaps(Way::new(Kind::Text, segment)),
        /// The cloud's region, where the URL does not tell it.
        #[key(holds = Holds::Destination)]
        region: Option<String> => Perhaps(Way::new(Kind::Text, segment)),
        /// Kind of the server, for listings.
        upstream: String,
        /// Whose price list its models are priced by; without it, it is inferred. See [PRICING.md](PRICING.md).
        cost_basis: Option<CostBasis>,
        /// Names under which models are priced; the first that matches counts.
        model_cost_map: Vec<CostName>,
    }
    beside {
        /// Where it stands.
        at: Position,
        /// The service account that `apikey` is a key of.
        service_account: Option<Arc<ServiceAccount>>,
        /// `baseurl` with `path_version`, parsed; or what is wrong with it.
        base: Result<BaseUrl, BaseUrlError> = BaseUrl::parse(""),
    }
    check: check
}

section! {
    /// A name under which models are priced.
    #[derive(Clone, Debug)]
    pub struct CostName {
        /// Glob on a model's name.
        #[key(required)]
        pattern as "match": String,
        /// The name to look up; empty for the model's own.
        priced_as as "as": String,
        /// Factor for the price, with up to nine decimals.
        #[key(example = "1.1")]
        adjustment: Factor,
    }
}

impl Provider {
    /// A provider at a URL, as one that says nothing else.
    #[must_use]
    pub fn at(url: &str) -> Self {
        Self {
            baseurl: url.to_owned(),
            base: BaseUrl::parse(url),
            ..Self::default()
        }
    }
}

words! {
    /// The header that carries a credential.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub enum Authorization {
        /// `Authorization: Bearer …`.
        #[default]
        Bearer = "bearer" | "",
        /// `x-api-key: …`.
        XApiKey = "x-api-key",
        /// `x-goog-api-key: …`.
        XGoogApiKey = "x-goog-api-key",
        /// `Authorization: Splunk …`.
        Hec = "hec",
        /// `api-key: …`, as Azure has it.
        ApiKey = "api-key",
        /// `cf-aig-authorization: Bearer …`.
        CfAigAuthorization = "cf-aig-authorization",
        /// A signature of AWS, version 4.
        AwsSigv4 = "aws-sigv4",
    }
    unknown: |item, text| {
        let message = format!("provider {} has invalid authorization type: {text}", item.owner);
        item.warn_of_parent(message);
    }
}

words! {
    /// Whose credential goes upstream.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub enum AuthMode {
        /// The configured one.
        #[default]
        Override = "" | "override",
        /// The caller's, else the configured one.
        Passthrough = "passthrough",
        /// None.
        None = "none",
    }
}

words! {
    /// Which network a provider is reached over.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub enum Network {
        /// The tailnet for its addresses and names, else the host's.
        #[default]
        Auto = "auto",
        /// The tailnet.
        Tailnet = "tailnet",
        /// The host's.
        Host = "host",
    }
}

/// Formats that a provider speaks, by their flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compatibility(Vec<&'static str>);

/// What a provider speaks that does not say.
impl Default for Compatibility {
    fn default() -> Self {
        let usual = known_flags().into_iter().filter(|flag| flag.is_default);
        Self(usual.map(|flag| flag.name).collect())
    }
}

impl Compatibility {
    /// The flags that are on.
    #[must_use]
    pub fn flags(&self) -> &[&'static str] {
        &self.0
    }

    /// Whether a flag is on.
    #[must_use]
    pub fn has(&self, flag: &str) -> bool {
        self.0.contains(&flag)
    }
}

fn known_flags() -> Vec<&'static formats::Flag> {
    let all = formats::ALL.into_iter().chain(formats::BATCHES);
    formats::flags(&all.collect::<Vec<_>>())
}

fn flag_keys() -> Vec<Key> {
    let keys = known_flags().into_iter().map(|flag| {
        Key::new(flag.name, Kind::Flag, flag.text).default(Some(flag.is_default.into()))
    });
    keys.collect()
}

/// An object that turns something on and does not mention what is on without it turns that off.
impl Setting for Compatibility {
    const KIND: Kind = Kind::Object(flag_keys);

    fn read(item: &Item<'_>) -> Option<Self> {
        let table = item.table()?;
        let known = known_flags().into_iter().map(|flag| flag.name);
        let on = known.filter(|flag| {
            table
                .get(flag)
                .and_then(|item| item.boolean())
                .unwrap_or_default()
        });
        let mut read = Self(on.collect());
        // Batches are no way to ask a model.
        let is_format = |name: &&str| {
            formats::flags(&formats::ALL)
                .iter()
                .any(|one| one.name == *name)
        };
        if !read.0.iter().any(is_format) {
            let mut usual = Self::default().0;
            usual.retain(|flag| !table.has(flag));
            read.0.extend(usual);
        }
        table.finish();
        Some(read)
    }
}

/// An unreadable value is an error, because falling back could send requests to another server.
impl Setting for Proxying {
    const KIND: Kind = Kind::Text;

    fn read(item: &Item<'_>) -> Option<Self> {
        let read = Self::parse(item.string()?);
        Some(read.unwrap_or_else(|why| {
            item.error_of_parent(format!(
                "provider {} has an invalid proxy: {why}",
                item.owner
            ));
            Self::Never
        }))
    }

    fn json(&self) -> Option<serde_json::Value> {
        (*self == Self::Environment).then(|| "".into())
    }
}

fn check(mut read: Provider, table: &Table<'_>) -> Provider {
    let id = table.name;
    read.at = table.at;
    read.base = match &read.path_version {
        Some(version) => BaseUrl::with_version(&read.baseurl, version),
        None => BaseUrl::parse(&read.baseurl),
    };
    if let Some(version) = &read.api_version {
        read.base = read.base.map(|base| base.with_api_version(version));
    }
    if id.is_empty() || id.contains(['/', '*']) || id.contains(char::is_whitespace) {
        table.error(format!(
            "the provider id {id:?} must not be empty or hold '/', '*' or blanks"
        ));
    }
    if read.tailnet {
        read.network = Network::Tailnet;
    }
    read.service_account = service_account(id, &read.apikey, table);
    check_keys(id, &mut read, table);
    certificates::check_tls(read.ca.as_ref(), &read.baseurl, table);
    if read.baseurl.is_empty() {
        table.warn(format!("provider {id} has no baseurl configured"));
    }
    if read.models.is_empty() && !read.disabled {
        let message = format!("provider {id} lists no models; nothing is routed to it");
        table.warn_at("models", message);
    }
    if formats::DEFAULT.is_spoken_with(read.compatibility.flags())
        && let Some(better) = read.base.as_ref().ok().and_then(BaseUrl::for_openai)
    {
        let message = format!(
            "baseurl of provider {id} {:?} is not that of the API in OpenAI's format; \
             write \"{better}\"",
            read.baseurl
        );
        table.warn_at("baseurl", message);
    }
    if read.authorization == Authorization::AwsSigv4 {
        check_signature(id, &read, table);
    }
    read
}

/// More keys are for headers: an account that signs, or that is asked for tokens, is a provider of its own.
fn check_keys(id: &str, read: &mut Provider, table: &Table<'_>) {
    read.apikeys.retain(|key| !key.is_empty());
    let is_account = |key: &Secret| ServiceAccount::parse(key).is_some();
    let has_account = is_account(&read.apikey) || read.apikeys.iter().any(is_account);
    let signs = read.authorization == Authorization::AwsSigv4;
    if read.apikeys.is_empty() || !(signs || has_account) {
        return;
    }
    let what = if signs {
        "aws-sigv4"
    } else {
        "service accounts"
    };
    table.warn_at(
        "apikeys",
        format!(
            "apikeys of provider {id} are not used, because there are none for {what}; \
             write another provider with the same models for each account"
        ),
    );
    read.apikeys.clear();
}

/// What a signature of AWS needs; the key is never shown.
fn check_signature(id: &str, provider: &Provider, table: &Table<'_>) {
    if provider.auth_mode != AuthMode::None && AwsKey::of(&provider.apikey).is_none() {
        let message = format!(
            "the apikey of provider {id} must be ACCESS_KEY_ID:SECRET_ACCESS_KEY or \
             ACCESS_KEY_ID:SECRET_ACCESS_KEY:SESSION_TOKEN for aws-sigv4"
        );
        warn_of_key(table, message);
    }
    let host = provider.base.as_ref().ok().map(BaseUrl::host);
    let of_host = host.as_deref().and_then(aws_region);
    if of_host.is_none() && provider.region.is_none() {
        let message =
            format!("provider {id} needs a region for aws-sigv4: its baseurl does not tell one");
        table.warn_at("authorization", message);
    }
}

/// The account of a key that is one; what is wrong with it is found, and never shown.
fn service_account(id: &str, apikey: &Secret, table: &Table<'_>) -> Option<Arc<ServiceAccount>> {
    match ServiceAccount::parse(apikey)? {
        Ok(account) => Some(Arc::new(account)),
        Err(problem) => {
            let message =
                format!("the service-account key of provider {id} cannot be used: {problem}");
            warn_of_key(table, message);
            None
        }
    }
}

fn warn_of_key(table: &Table<'_>, message: String) {
    let at = table.position("apikey");
    let finding = Finding::new(Severity::Warning, at, &table.path, message);
    table.findings.add(finding.about(Subject::Credential));
}

/// The version segment of paths: `v1`, or nothing.
fn path_version(item: &Item<'_>) -> Option<String> {
    let text = item.string()?;
    if is_version_segment(text) {
        return Some(text.to_owned());
    }
    let message = format!(
        "path_version of provider {} is {text:?}; expected one segment of a path such as \"v1\", \
         or \"\" for none",
        item.owner
    );
    item.warn_of_parent(message);
    None
}

/// A name that becomes part of paths.
fn segment(item: &Item<'_>) -> Option<String> {
    let text = item.string()?;
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
    if text.bytes().all(is_part) && !matches!(text, "" | "." | "..") {
        return Some(text.to_owned());
    }
    let (key, id) = (item.key, item.owner);
    item.warn_of_parent(format!(
        "{key} of provider {id} is not the name of one: {text:?}"
    ));
    None
}

impl Setting for CostBasis {
    const KIND: Kind = Kind::Word(&COST_BASES);

    fn read(item: &Item<'_>) -> Option<Self> {
        let text = item.string().filter(|text| !text.is_empty())?;
        let read = Self::parse(text);
        if read.is_none() {
            let message = format!("provider {} has invalid cost_basis: {text}", item.owner);
            let finding = Finding::new(Severity::Warning, item.node.at, item.parent(), message);
            let known = Self::ALL.map(Self::as_str).join(", ");
            item.findings
                .add(finding.hint(format!("known are {known}")));
        }
        read
    }
}

/// The words, and the empty one, which stands for none.
const COST_BASES: [&str; CostBasis::ALL.len() + 1] = {
    let mut words = [""; CostBasis::ALL.len() + 1];
    let mut nth = 0;
    while nth < CostBasis::ALL.len() {
        words[nth] = CostBasis::ALL[nth].as_str();
        nth += 1;
    }
    words
};

/// The factor as it was written: the shortest text of a number has all its digits.
impl Setting for Factor {
    const KIND: Kind = Kind::Number;

    fn read(item: &Item<'_>) -> Option<Self> {
        let read = match &item.node.value {
            Value::Number(number) => Self::parse(&number.to_string()),
            _ => None,
        };
        if read.is_none() {
            item.warn("adjustment is a number from 0 to a million, with up to nine decimals");
        }
        read
    }

    fn json(&self) -> Option<serde_json::Value> {
        (*self == Self::ONE).then(|| 1.into())
    }
}
