//! What grants give access to.

use std::fmt;

/// One thing that a caller asks for. Each kind has its own key in a grant; grants give models and paths so far,
/// and nothing of the other kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject<'a> {
    /// A model of a provider: `models`.
    Model { provider: &'a str, model: &'a str },
    /// A tool of an MCP server: `mcp_tools`.
    Tool { server: &'a str, tool: &'a str },
    /// A resource of an MCP server: `mcp_resources`.
    Resource { server: &'a str, uri: &'a str },
    /// A connector: `connectors`.
    Connector { connector: &'a str },
    /// A path that passes to a provider as it is: `direct_paths`.
    Path { provider: &'a str, path: &'a str },
}

impl<'a> Subject<'a> {
    /// A model of a provider.
    pub fn model(provider: &'a str, model: &'a str) -> Self {
        Self::Model { provider, model }
    }
}

/// As patterns of grants write it.
impl fmt::Display for Subject<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Model { provider, model } => write!(out, "{provider}/{model}"),
            Self::Tool { server, tool } => write!(out, "{server}/{tool}"),
            Self::Resource { server, uri } => write!(out, "{server}/{uri}"),
            Self::Connector { connector } => out.write_str(connector),
            Self::Path { provider, path } => write!(out, "{provider}{path}"),
        }
    }
}
