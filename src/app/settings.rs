//! What engines take from the configuration: at the start, and again at each reload.

use std::path::Path;

use super::Options;
use crate::base::memory;
use crate::client::discovery;
use crate::config::{self, Loaded, Mode};
use crate::net::client::{Client, Timeouts};
use crate::net::tailnet::{self, Node, Resolver};

/// Soft limit for the Go runtime of the embedded node, or less where there is little memory: after
/// a bulk transfer it would keep what it once needed.
const GO_MEMORY: u64 = 256 << 20;

pub(super) async fn configuration(options: &Options) -> anyhow::Result<(Loaded, config::Files)> {
    let mut files = config::Files::default();
    if let Some(path) = &options.config {
        let loaded = files.load(path);
        let refused = |findings: Vec<_>| anyhow::anyhow!(config::refusal(path, &findings));
        return Ok((loaded.map_err(refused)?, files));
    }
    let client = Client::new(None, timeouts(&config::File::default()));
    let loaded = discovered(&discovery::here(&client, &[]).await)?;
    Ok((loaded, files))
}

pub(super) async fn node(
    config: &config::Tailnet,
    state_dir: &Path,
) -> anyhow::Result<Option<Node>> {
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let node = match config.mode {
        Mode::Off => return Ok(None),
        Mode::Host => Node::host(config.socket.clone()).await?,
        Mode::Embedded => {
            Node::embedded(tailnet::Options {
                hostname: config.hostname.clone(),
                state_dir: state_dir.join("tailnet"),
                auth_key: some(config.auth_key.expose()),
                control_url: some(&config.control_url),
                ephemeral: config.ephemeral,
                tags: config.tags.clone(),
                memory_limit: Some(GO_MEMORY.min(memory::limit() as u64 / 8)),
            })
            .await?
        }
    };
    Ok(Some(node))
}

/// Tells the node how old its network map may get.
pub(super) fn set_stale(resolver: Option<&Resolver>, config: &config::Tailnet) {
    if let Some(resolver) = resolver {
        resolver.set_stale(config.stale_after, config.stale_refuses);
    }
}

pub(super) fn timeouts(file: &config::File) -> Timeouts {
    Timeouts {
        connect: file.timeouts.connect,
        first_byte: file.timeouts.first_byte,
        idle: file.timeouts.idle,
        total: file.timeouts.total,
    }
}

/// Sets the bound on what bodies hold.
pub(super) fn set_memory(file: &config::File) {
    let bound = file.limits.memory.unwrap_or_else(memory::default_bound);
    memory::all().set_bound(bound);
}

/// The configuration for servers that were found.
pub(super) fn discovered(servers: &[discovery::Server]) -> anyhow::Result<Loaded> {
    let text = discovery::configuration(servers, super::LOOPBACK.parse()?);
    config::parse(&text, &|_| None).map_err(|findings| {
        let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
        anyhow::anyhow!(lines.join("\n"))
    })
}
