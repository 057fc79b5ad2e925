//! The configuration: one HuJSON document, read into types, with findings that say where and
//! what to do. Sections have Aperture's names and meaning; ours stand beside them.

mod access;
mod address;
mod aws;
mod capability;
mod certificates;
mod chat;
mod credential;
mod database;
pub(crate) mod declare;
mod discover;
mod edit;
mod expand;
mod exporters;
mod file;
mod files;
mod finding;
mod fits;
mod fixed;
mod grant;
mod guards;
mod headers;
mod hooks;
mod hujson;
mod keyfile;
mod later;
mod limits;
mod listen;
mod load;
mod prices;
mod provider;
mod proxy;
mod quotas;
mod readers;
mod records;
mod routing;
mod schema;
mod secrets;
mod stored;
mod subjects;
pub(crate) mod table;
mod tailnet;
mod watch;
mod within;

pub(crate) use address::http_problem;
pub(crate) use certificates::check_tls;
pub(crate) use credential::header_value;
pub(crate) use declare::{Choice, Holds, Kind, Way, section, words};
pub(crate) use table::{Item, Table, duration};

pub use access::Access;
pub use address::{database_problem, host_of};
#[cfg(feature = "postgres")]
pub use address::{postgres, postgres_root};
pub use aws::AwsKey;
pub use certificates::Certificates;
pub use chat::{Chat, ChatModel, History};
pub use database::{Database, Filterable, Headers, Purge, Retention};
pub use discover::Discover;
pub use edit::with_provider;
pub(crate) use exporters::Exporter;
pub use exporters::{Exporters, Settings};
pub use file::File;
pub use files::Files;
pub use finding::{Finding, Severity, Subject, refusal};
pub use fixed::Fixed;
pub use grant::Grant;
pub use guards::{Guard, GuardAction, GuardKind};
pub use hooks::{FailPolicy, Hook};
pub use hujson::Position;
pub use keyfile::ServiceAccount;
pub use later::{Connector, Connectors, Flag, Mcp, Server};
pub use limits::{Limits, Timeouts};
pub use listen::{LOOPBACK, Listen};
pub use load::references;
pub use load::{LONGEST, Loaded, check, find, load, parse, text};
pub use provider::{AuthMode, Authorization, Compatibility, CostName, Network, Provider};
pub use proxy::{Environment, Proxy, Proxying};
pub use quotas::{Quota, amount};
pub use records::Records;
pub use routing::{Alias, Aliases, DefaultModels, Destination, Routing, Share, Strategy};
#[cfg(test)]
pub(crate) use schema::tests::capabilities;
pub use schema::{json_schema, reference};
pub use secrets::{PLACEHOLDER, catalog, redacted, restored};
pub use stored::{check_with, is_there, store};
pub use tailnet::{CAPABILITY, Mode, StaleRefuses, Tailnet};
pub use watch::{Watch, watch};

#[cfg(test)]
mod tests;
