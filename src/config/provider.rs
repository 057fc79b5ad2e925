//! The section `providers`.

use std::sync::Arc;

use super::aws::{AwsKey, aws_region};
use super::baseurl::{BaseUrl, BaseUrlError, is_version_segment};
use super::certificates::{self, Certificates};
use super::credential;
use super::finding::{Finding, Severity, Subject};
use super::hujson::{Position, Value};
use super::keyfile::ServiceAccount;
use super::proxy::Proxying;
use super::table::{Item, Table};
use crate::base::money::{CostBasis, Factor};
use crate::base::secret::Secret;
use crate::wire::headers::is_passable as headers_may_pass;

/// One provider, as configured.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Where it stands.
    pub at: Position,
    /// URL in front of every path.
    pub baseurl: String,
    /// The version segment of paths, where the URL doesn't tell it; empty for none.
    pub path_version: Option<String>,
    /// Whether `stream_options` is added to requests for streams; `None` until it is refused.
    pub stream_options: Option<bool>,
    /// Models as the provider names them.
    pub models: Vec<String>,
    /// Credential; may be empty.
    pub apikey: Secret,
    /// The service account that `apikey` is a key of.
    pub service_account: Option<Arc<ServiceAccount>>,
    /// Google's project, where no service account tells it.
    pub project: Option<String>,
    /// The cloud's region, where the URL does not tell it.
    pub region: Option<String>,
    /// Header that carries it.
    pub authorization: Authorization,
    /// Whose credential goes upstream.
    pub auth_mode: AuthMode,
    /// Name for people.
    pub name: String,
    /// Free text.
    pub description: String,
    /// Formats that it speaks.
    pub compatibility: Compatibility,
    /// Higher wins among several for one model.
    pub preference: i64,
    /// Kept, but not used.
    pub disabled: bool,
    /// Name and value of headers for every request.
    pub add_headers: Vec<(String, String)>,
    /// Headers that pass in either direction besides those of its formats.
    pub pass_headers: Vec<String>,
    /// Query parameters that pass besides those of its formats.
    pub pass_query: Vec<String>,
    /// Keys of requests that are allowed, though they are refused or a guardrail doesn't know them.
    pub pass_keys: Vec<String>,
    /// Kind of upstream, for listings.
    pub upstream: String,
    /// Which network it is reached over.
    pub network: Network,
    /// The certificates that it is trusted by, where it isn't those of this machine's store.
    pub ca: Option<Certificates>,
    /// Which proxy it is reached over.
    pub proxy: Proxying,
    /// Whose price list its models are priced by; `None` to infer it.
    pub cost_basis: Option<CostBasis>,
    /// Names under which models are priced; the first that matches counts.
    pub model_cost_map: Vec<CostName>,
}

impl Default for Provider {
    fn default() -> Self {
        Self {
            at: Position::default(),
            baseurl: String::new(),
            path_version: None,
            stream_options: None,
            models: Vec::new(),
            apikey: Secret::default(),
            service_account: None,
            project: None,
            region: None,
            authorization: Authorization::Bearer,
            auth_mode: AuthMode::Override,
            name: String::new(),
            description: String::new(),
            compatibility: Compatibility {
                openai_chat: true,
                ..Compatibility::default()
            },
            preference: 0,
            disabled: false,
            add_headers: Vec::new(),
            pass_headers: Vec::new(),
            pass_query: Vec::new(),
            pass_keys: Vec::new(),
            upstream: String::new(),
            network: Network::Auto,
            ca: None,
            proxy: Proxying::Environment,
            cost_basis: None,
            model_cost_map: Vec::new(),
        }
    }
}

impl Provider {
    /// The base URL, parsed.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn base(&self) -> Result<BaseUrl, BaseUrlError> {
        match &self.path_version {
            Some(version) => BaseUrl::with_version(&self.baseurl, version),
            None => BaseUrl::parse(&self.baseurl),
        }
    }
}

/// The header that carries a credential.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Authorization {
    /// `Authorization: Bearer …`.
    #[default]
    Bearer,
    /// `x-api-key: …`.
    XApiKey,
    /// `x-goog-api-key: …`.
    XGoogApiKey,
    /// `Authorization: Splunk …`.
    Hec,
    /// `cf-aig-authorization: Bearer …`.
    CfAigAuthorization,
    /// A signature of AWS, version 4.
    AwsSigv4,
}

impl Authorization {
    /// The words of the configuration.
    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "" | "bearer" => Self::Bearer,
            "x-api-key" => Self::XApiKey,
            "x-goog-api-key" => Self::XGoogApiKey,
            "hec" => Self::Hec,
            "cf-aig-authorization" => Self::CfAigAuthorization,
            "aws-sigv4" => Self::AwsSigv4,
            _ => return None,
        })
    }
}

/// Whose credential goes upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AuthMode {
    /// The configured one.
    #[default]
    Override,
    /// The caller's, else the configured one.
    Passthrough,
    /// None.
    None,
}

/// Which network a provider is reached over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Network {
    /// The tailnet for its addresses and names, else the host's.
    #[default]
    Auto,
    /// The tailnet.
    Tailnet,
    /// The host's.
    Host,
}

/// Formats that a provider speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent flags of the document"
)]
pub struct Compatibility {
    /// OpenAI chat completions.
    pub openai_chat: bool,
    /// OpenAI responses.
    pub openai_responses: bool,
    /// The same over a WebSocket.
    pub openai_responses_websocket: bool,
    /// Anthropic messages.
    pub anthropic_messages: bool,
    /// Gemini's developer API.
    pub gemini_generate_content: bool,
    /// Bedrock `InvokeModel`.
    pub bedrock_model_invoke: bool,
    /// Bedrock `Converse`.
    pub bedrock_converse: bool,
    /// Vertex, Google's models.
    pub google_generate_content: bool,
    /// Vertex, Anthropic's models.
    pub google_raw_predict: bool,
    /// Short model paths of the Gemini CLI for Vertex.
    pub experimental_gemini_cli_vertex_compat: bool,
}

impl Compatibility {
    /// The flags that are on.
    #[must_use]
    pub fn flags(&self) -> Vec<&'static str> {
        [
            ("openai_chat", self.openai_chat),
            ("openai_responses", self.openai_responses),
            (
                "openai_responses_websocket",
                self.openai_responses_websocket,
            ),
            ("anthropic_messages", self.anthropic_messages),
            ("gemini_generate_content", self.gemini_generate_content),
            ("bedrock_model_invoke", self.bedrock_model_invoke),
            ("bedrock_converse", self.bedrock_converse),
            ("google_generate_content", self.google_generate_content),
            ("google_raw_predict", self.google_raw_predict),
            (
                "experimental_gemini_cli_vertex_compat",
                self.experimental_gemini_cli_vertex_compat,
            ),
        ]
        .into_iter()
        .filter(|(_, on)| *on)
        .map(|(name, _)| name)
        .collect()
    }
}

/// A name under which models are priced.
#[derive(Clone, Debug)]
pub struct CostName {
    /// Glob on a model's name.
    pub pattern: String,
    /// The name to look up; empty for the model's own.
    pub priced_as: String,
    /// Factor for the price.
    pub adjustment: Factor,
}

pub(super) fn read(id: &str, item: &Item<'_>) -> Option<Provider> {
    let table = item.table()?;
    let findings = table.findings;
    if id.is_empty() || id.contains(['/', '*']) || id.contains(char::is_whitespace) {
        let message =
            format!("the provider id {id:?} must not be empty or hold '/', '*' or blanks");
        findings.error(table.at, &table.path, message);
    }
    let mut authorization = Authorization::Bearer;
    if let Some(text) = table.string("authorization") {
        authorization = Authorization::parse(&text).unwrap_or_else(|| {
            let message = format!("provider {id} has invalid authorization type: {text}");
            findings.warn(table.position("authorization"), &table.path, message);
            Authorization::Bearer
        });
    }
    let modes = [
        ("", AuthMode::Override),
        ("override", AuthMode::Override),
        ("passthrough", AuthMode::Passthrough),
        ("none", AuthMode::None),
    ];
    let networks = [
        ("auto", Network::Auto),
        ("tailnet", Network::Tailnet),
        ("host", Network::Host),
    ];
    let mut network = table.choice("network", &networks).unwrap_or_default();
    // An early spelling of the same wish.
    if table.boolean("tailnet") == Some(true) {
        network = Network::Tailnet;
    }
    let apikey = credential::read(&table, "apikey");
    let baseurl = table.string("baseurl").unwrap_or_default();
    let baseurl = baseurl.trim().to_owned();
    let provider = Provider {
        at: table.at,
        ca: certificates::read_for(&table, &baseurl),
        baseurl,
        path_version: path_version(id, &table),
        stream_options: table.boolean("stream_options"),
        models: table.strings("models").unwrap_or_default(),
        service_account: service_account(id, &apikey, &table),
        apikey,
        project: segment(id, "project", &table),
        region: segment(id, "region", &table),
        authorization,
        auth_mode: table.choice("auth_mode", &modes).unwrap_or_default(),
        name: table.string("name").unwrap_or_default(),
        description: table.string("description").unwrap_or_default(),
        compatibility: compatibility(&table),
        preference: table.integer("preference").unwrap_or_default(),
        disabled: table.boolean("disabled").unwrap_or_default(),
        add_headers: table
            .get("add_headers")
            .map(|item| headers(&item, id))
            .unwrap_or_default(),
        pass_headers: pass_headers(id, &table),
        pass_query: table.strings("pass_query").unwrap_or_default(),
        pass_keys: table.strings("pass_keys").unwrap_or_default(),
        upstream: table.string("upstream").unwrap_or_default(),
        network,
        proxy: proxy(id, &table),
        cost_basis: cost_basis(id, &table),
        model_cost_map: table
            .get("model_cost_map")
            .map(|item| cost_map(&item))
            .unwrap_or_default(),
    };
    check(id, &provider, &table);
    table.finish();
    Some(provider)
}

/// The proxy on the way to it.
fn proxy(id: &str, table: &Table<'_>) -> Proxying {
    let text = table.string("proxy").unwrap_or_default();
    Proxying::parse(&text).unwrap_or_else(|why| {
        let message = format!("provider {id} has an invalid proxy: {why}");
        let at = table.position("proxy");
        table.findings.error(at, &table.path, message);
        Proxying::Never
    })
}

fn check(id: &str, provider: &Provider, table: &Table<'_>) {
    let findings = table.findings;
    if provider.baseurl.is_empty() {
        let message = format!("provider {id} has no baseurl configured");
        findings.warn(table.at, &table.path, message);
    }
    if provider.models.is_empty() && !provider.disabled {
        let message = format!("provider {id} lists no models; nothing is routed to it");
        findings.warn(table.position("models"), &table.path, message);
    }
    if provider.compatibility.openai_chat
        && let Some(better) = provider.base().ok().and_then(|base| base.for_openai())
    {
        let message = format!(
            "baseurl of provider {id} {:?} is not that of the API in OpenAI's format; \
             write \"{better}\"",
            provider.baseurl
        );
        findings.warn(table.position("baseurl"), &table.path, message);
    }
    if provider.authorization == Authorization::AwsSigv4 {
        check_signature(id, provider, table);
    }
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
    let host = provider.base().ok().map(|base| base.host());
    let told = host.as_deref().and_then(aws_region);
    if told.is_none() && provider.region.is_none() {
        let message =
            format!("provider {id} needs a region for aws-sigv4: its baseurl does not tell one");
        let at = table.position("authorization");
        table.findings.warn(at, &table.path, message);
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
fn path_version(id: &str, table: &Table<'_>) -> Option<String> {
    let text = table.string("path_version")?;
    if is_version_segment(&text) {
        return Some(text);
    }
    let message = format!(
        "path_version of provider {id} is {text:?}; expected one segment of a path such as \"v1\", \
         or \"\" for none"
    );
    let at = table.position("path_version");
    table.findings.warn(at, &table.path, message);
    None
}

/// A name that becomes part of paths.
fn segment(id: &str, key: &'static str, table: &Table<'_>) -> Option<String> {
    let text = table.string(key)?;
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':'));
    if plain && !matches!(text.as_str(), "" | "." | "..") {
        return Some(text);
    }
    let message = format!("{key} of provider {id} is not the name of one: {text:?}");
    let at = table.position(key);
    table.findings.warn(at, &table.path, message);
    None
}

/// An object that turns something on and does not mention `openai_chat` clears it.
fn compatibility(table: &Table<'_>) -> Compatibility {
    let Some(flags) = table.table("compatibility") else {
        return Compatibility {
            openai_chat: true,
            ..Compatibility::default()
        };
    };
    let on = |key| flags.boolean(key).unwrap_or_default();
    let mut read = Compatibility {
        openai_chat: on("openai_chat"),
        openai_responses: on("openai_responses"),
        openai_responses_websocket: on("openai_responses_websocket"),
        anthropic_messages: on("anthropic_messages"),
        gemini_generate_content: on("gemini_generate_content"),
        bedrock_model_invoke: on("bedrock_model_invoke"),
        bedrock_converse: on("bedrock_converse"),
        google_generate_content: on("google_generate_content"),
        google_raw_predict: on("google_raw_predict"),
        experimental_gemini_cli_vertex_compat: on("experimental_gemini_cli_vertex_compat"),
    };
    if read == Compatibility::default() && !flags.has("openai_chat") {
        read.openai_chat = true;
    }
    flags.finish();
    read
}

fn headers(item: &Item<'_>, id: &str) -> Vec<(String, String)> {
    let Some(items) = item.items() else {
        return Vec::new();
    };
    items
        .filter_map(|entry| {
            let text = entry.string()?;
            let header = header(text);
            if header.is_none() && is_unsendable(text) {
                let message = format!(
                    "provider {id}: the value of the add_headers entry \"{}\" holds a line break or another character that no header can carry",
                    name_only(text)
                );
                entry.findings.warn(entry.node.at, &entry.path, message);
            } else if header.is_none() {
                let message = format!(
                    "provider {id}: add_headers entry \"{}\" must be in \"Header-Name: value\" format",
                    name_only(text)
                );
                entry.findings.warn(entry.node.at, &entry.path, message);
            } else if let Some(problem) = header.as_ref().and_then(unlikely_credential) {
                let message = format!(
                    "provider {id}: the value of the add_headers entry \"{}\" {problem}",
                    name_only(text)
                );
                entry.findings.warn(entry.node.at, &entry.path, message);
            }
            header
        })
        .collect()
}

/// Why a header that is for a credential can't hold one.
pub(super) fn unlikely_credential(
    (name, value): &(String, String),
) -> Option<std::borrow::Cow<'static, str>> {
    let is_credential = super::secrets::is_credential(name);
    is_credential
        .then(|| credential::header_problem(value))
        .flatten()
}

/// Headers that may pass; others are found and don't.
fn pass_headers(id: &str, table: &Table<'_>) -> Vec<String> {
    let mut names = table.strings("pass_headers").unwrap_or_default();
    names.retain(|name| {
        let may_pass =
            http::HeaderName::from_bytes(name.as_bytes()).is_ok() && headers_may_pass(name);
        if !may_pass {
            let message = format!(
                "provider {id}: pass_headers entry {name:?} never passes; expected the name of a \
                 header that carries no credential or identity and that Iris doesn't set: remove it"
            );
            table
                .findings
                .warn(table.position("pass_headers"), &table.path, message);
        }
        may_pass
    });
    names
}

/// A header from its text, if it is one.
pub(super) fn header(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once(':')?;
    let (name, value) = (name.trim(), value.trim());
    let valid = http::HeaderName::from_bytes(name.as_bytes()).is_ok()
        && http::HeaderValue::from_str(value).is_ok();
    valid.then(|| (name.to_owned(), value.to_owned()))
}

/// Whether a text would be a header but for characters of its value.
pub(super) fn is_unsendable(text: &str) -> bool {
    text.split_once(':').is_some_and(|(name, value)| {
        http::HeaderName::from_bytes(name.trim().as_bytes()).is_ok()
            && http::HeaderValue::from_str(value.trim()).is_err()
    })
}

/// What of a malformed header may be shown: its value can be a credential.
pub(super) fn name_only(text: &str) -> String {
    let name: String = text
        .split([':', '=', ' '])
        .next()
        .unwrap_or_default()
        .chars()
        .take(40)
        .collect();
    if name.len() < text.len() {
        format!("{name}…")
    } else {
        name
    }
}

fn cost_basis(id: &str, table: &Table<'_>) -> Option<CostBasis> {
    let text = table.string("cost_basis").filter(|text| !text.is_empty())?;
    let read = CostBasis::parse(&text);
    if read.is_none() {
        let message = format!("provider {id} has invalid cost_basis: {text}");
        let known: Vec<_> = CostBasis::ALL.iter().map(|basis| basis.as_str()).collect();
        let at = table.position("cost_basis");
        let finding = Finding::new(Severity::Warning, at, &table.path, message);
        table
            .findings
            .add(finding.hint(format!("known are {}", known.join(", "))));
    }
    read
}

fn cost_map(item: &Item<'_>) -> Vec<CostName> {
    let Some(items) = item.items() else {
        return Vec::new();
    };
    items
        .filter_map(|entry| {
            let table = entry.table()?;
            let adjustment = table.get("adjustment").map(|item| adjustment(&item));
            let read = CostName {
                pattern: table.string("match").unwrap_or_default(),
                priced_as: table.string("as").unwrap_or_default(),
                adjustment: adjustment.unwrap_or_default(),
            };
            table.finish();
            Some(read)
        })
        .collect()
}

/// The factor as it was written: the shortest text of a number has all its digits.
fn adjustment(item: &Item<'_>) -> Factor {
    let read = match &item.node.value {
        Value::Number(number) => Factor::parse(&number.to_string()),
        _ => None,
    };
    read.unwrap_or_else(|| {
        let message = "adjustment is a number from 0 to a million, with up to nine decimals";
        item.findings.warn(item.node.at, &item.path, message);
        Factor::ONE
    })
}
