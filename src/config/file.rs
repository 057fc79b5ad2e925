//! The document as types.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::value::RawValue;

use super::access::Access;
use super::chat::{Chat, ChatModel};
use super::database::Database;
use super::discover::Discover;
use super::exporters::Exporters;
use super::hooks::{Guard, Hook};
use super::hujson::Position;
use super::later::{Connector, Mcp};
use super::provider::Provider;
use super::quotas::Quota;
use crate::base::money::Price;
use crate::base::secret::Secret;

/// A whole configuration.
#[derive(Clone, Debug, Default)]
pub struct File {
    /// How this gateway is on a tailnet.
    pub tailnet: Tailnet,
    /// Where it listens.
    pub listen: Listen,
    /// Groups of our own: from `group:name` to logins and tags.
    pub groups: BTreeMap<String, Vec<String>>,
    /// Providers in the order of the document.
    pub providers: IndexMap<String, Provider>,
    /// Grants, those of `temp_grants` last.
    pub grants: Vec<Grant>,
    /// What being an admin does not imply.
    pub access: Access,
    /// Other names for models.
    pub model_aliases: Aliases,
    /// Models of requests that name none, where their API allows that.
    pub default_models: DefaultModels,
    /// The way among providers that could all answer.
    pub routing: Routing,
    /// Bounds in bytes.
    pub limits: Limits,
    /// Bounds in time.
    pub timeouts: Timeouts,
    /// Where records are kept, and for how long.
    pub database: Database,
    /// Budgets and limits by bucket name.
    pub quotas: IndexMap<String, Quota>,
    /// What is looked for without asking anybody, by name.
    pub guards: IndexMap<String, Guard>,
    /// Webhooks by name.
    pub hooks: IndexMap<String, Hook>,
    /// Where records go besides.
    pub exporters: Exporters,
    /// Prices that win over the built-in ones, by `model` or `provider/model`.
    pub prices: IndexMap<String, Price>,
    /// Whether a provider's price list is inferred from its URL and formats.
    pub auto_cost_basis: bool,
    /// Legacy MCP servers. Not yet acting.
    pub mcp: Option<Mcp>,
    /// Connectors by id. Not yet acting.
    pub connectors: IndexMap<String, Connector>,
    /// Where the chat keeps its conversations.
    pub chat: Chat,
    /// The models that the chat offers, in this order; all that can be chatted with where it is
    /// absent.
    pub chat_models: Option<Vec<ChatModel>>,
    /// Where model servers are looked for when an admin asks.
    pub discover: Discover,
    /// Feature flags of Aperture. Not yet acting.
    pub flags: BTreeMap<String, bool>,
}

/// How the gateway is on a tailnet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tailnet {
    /// As its own node, as this machine's, or not at all.
    pub mode: Mode,
    /// Name of the node.
    pub hostname: String,
    /// Auth key or OAuth client secret; empty for signing in by hand.
    pub auth_key: Secret,
    /// Control server; empty for Tailscale's own.
    pub control_url: String,
    /// Whether the node is removed when it stops.
    pub ephemeral: bool,
    /// Tags to ask for.
    pub tags: Vec<String>,
    /// Tailscale Service that it answers for. Not yet acting.
    pub service: String,
    /// Capability names that count as grants.
    pub capabilities: Vec<String>,
    /// Socket of `tailscaled` in host mode; empty for the usual place.
    pub socket: Option<PathBuf>,
    /// Age of the network map after which callers are refused; zero for never.
    pub stale_after: Duration,
    /// Who is refused then.
    pub stale_refuses: StaleRefuses,
}

/// The capability name that Aperture's policies use.
pub const CAPABILITY: &str = "tailscale.com/cap/aperture";

impl Default for Tailnet {
    fn default() -> Self {
        Self {
            mode: Mode::Embedded,
            hostname: "ai".to_owned(),
            auth_key: Secret::default(),
            control_url: String::new(),
            ephemeral: false,
            tags: Vec::new(),
            service: String::new(),
            capabilities: vec![CAPABILITY.to_owned()],
            socket: None,
            stale_after: Duration::ZERO,
            stale_refuses: StaleRefuses::All,
        }
    }
}

/// Who is refused while the network map is too old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StaleRefuses {
    /// Every caller on the tailnet.
    All,
    /// What only the tailnet policy grants.
    Policy,
}

/// Ways to be on a tailnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// As a node of its own.
    Embedded,
    /// Through this machine's `tailscaled`.
    Host,
    /// Not at all: loopback only.
    Off,
}

/// Where local callers find a gateway off any tailnet unless the configuration says otherwise.
pub const LOOPBACK: &str = "127.0.0.1:8088";

/// Where the gateway listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Port for plain HTTP on the tailnet; `None` to leave it out.
    pub http: Option<u16>,
    /// Port for HTTPS on the tailnet; `None` to leave it out.
    pub https: Option<u16>,
    /// Address for local callers, such as `127.0.0.1:8080`.
    pub loopback: Option<std::net::SocketAddr>,
    /// More names that requests may be for, besides the node's own.
    pub names: Vec<String>,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            http: Some(80),
            https: Some(443),
            loopback: None,
            names: Vec::new(),
        }
    }
}

/// A grant: to whom, and what.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Logins, tags, groups, `*` and `(loopback)`.
    pub src: Vec<String>,
    /// Capability objects by capability name, as JSON.
    pub app: BTreeMap<String, Vec<Box<RawValue>>>,
    /// Where it stands.
    pub at: Position,
}

/// Other names for models.
#[derive(Clone, Debug, Default)]
pub struct Aliases {
    /// Alias by name.
    pub models: IndexMap<String, Alias>,
}

/// Models of requests that name none.
#[derive(Clone, Debug, Default)]
pub struct DefaultModels {
    /// By the name of the endpoints.
    by_endpoint: BTreeMap<&'static str, String>,
}

impl DefaultModels {
    /// Endpoints whose requests may leave out the model.
    pub const ENDPOINTS: [&'static str; 4] = ["images", "moderations", "speech", "transcriptions"];

    pub(super) fn insert(&mut self, endpoint: &'static str, model: String) {
        self.by_endpoint.insert(endpoint, model);
    }

    /// The model of requests to an endpoint.
    #[must_use]
    pub fn get(&self, endpoint: &str) -> Option<&str> {
        self.by_endpoint.get(endpoint).map(String::as_str)
    }

    /// Every endpoint that has one, with it.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = self.by_endpoint.iter();
        all.map(|(endpoint, model)| (*endpoint, model.as_str()))
    }
}

/// One alias.
#[derive(Clone, Debug)]
pub struct Alias {
    /// Models that it may stand for, in order.
    pub dst: Vec<Destination>,
    /// How one is picked.
    pub strategy: Strategy,
}

/// A model that an alias may stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// As `provider/model`.
    pub model: String,
    /// Its share of the requests, for the strategy `weighted`.
    pub weight: u32,
}

/// How an alias picks among its destinations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// The first that exists, and no other.
    #[default]
    First,
    /// Each in its turn; the others help out.
    RoundRobin,
    /// By weight; the others help out.
    Weighted,
    /// The one with the fewest open requests; the others help out.
    LeastBusy,
    /// The first, and the others in order when it fails.
    Failover,
}

impl Strategy {
    /// All, by their words in a configuration.
    pub const WORDS: [(&str, Self); 5] = [
        ("first", Self::First),
        ("round_robin", Self::RoundRobin),
        ("weighted", Self::Weighted),
        ("least_busy", Self::LeastBusy),
        ("failover", Self::Failover),
    ];

    /// Its word in a configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        let known = Self::WORDS.into_iter().find(|(_, one)| *one == self);
        known.map_or("first", |(word, _)| word)
    }
}

/// How providers of equal preference share the requests for a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Share {
    /// A conversation stays with one, for the sake of its cache; new ones go to the least busy.
    #[default]
    Affinity,
    /// The one with the fewest open requests.
    LeastBusy,
    /// Each in its turn.
    RoundRobin,
    /// The first by its id.
    First,
}

/// How requests find their way among providers that could all answer.
#[derive(Clone, Copy, Debug)]
pub struct Routing {
    /// Among those of equal preference.
    pub equal: Share,
    /// Whether another is asked when one fails before anything has reached the caller.
    pub failover: bool,
    /// How many are asked for one request at most.
    pub attempts: u32,
    /// Failures in a row after which a provider or a model is paused; zero for never.
    pub eject_after: u32,
    /// For how long, the first time.
    pub eject_for: Duration,
    /// For how long at most, when it goes on failing.
    pub eject_at_most: Duration,
}

impl Default for Routing {
    fn default() -> Self {
        Self {
            equal: Share::Affinity,
            failover: true,
            attempts: 3,
            eject_after: 5,
            eject_for: Duration::from_secs(10),
            eject_at_most: Duration::from_mins(5),
        }
    }
}

/// Bounds in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest request body.
    pub request_body: usize,
    /// Longest request head.
    pub request_head: usize,
    /// Connections open at once.
    pub connections: usize,
    /// What is kept of each body in a capture.
    pub capture: usize,
    /// What all bodies may hold at once; without it, a half of the memory that there is.
    pub memory: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_body: 64 << 20,
            request_head: 64 << 10,
            connections: 16_384,
            capture: 4 << 20,
            memory: None,
        }
    }
}

/// Time limits; zero turns one off.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For a connection to a provider.
    pub connect: Duration,
    /// For a request's head, and for a connection of HTTP/2 without a request.
    pub head: Duration,
    /// Between two pieces of a request's body.
    pub body: Duration,
    /// From a request to the first byte of its answer.
    pub first_byte: Duration,
    /// Between two pieces of an answer.
    pub idle: Duration,
    /// For a whole answer.
    pub total: Duration,
    /// For running requests when the process stops.
    pub shutdown: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            // The first contact of two tailnet nodes can take ten seconds.
            connect: Duration::from_secs(20),
            head: Duration::from_mins(1),
            body: Duration::from_secs(30),
            first_byte: Duration::from_mins(10),
            idle: Duration::from_mins(5),
            total: Duration::from_hours(1),
            shutdown: Duration::from_secs(30),
        }
    }
}
