//! The demo tailnet: its control server, its policy, and every node but the gateway's own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::join_all;
use tokio::net::TcpListener;
use tokio_util::sync::DropGuard;

use super::door::{Door, Tailnet};
use super::policy::{self, Device};
use super::{provider, until_dropped};
use crate::base::clock::within;
use crate::client::discovery::Server;
use crate::config;
use crate::net::tailnet::{self, Control, Member, Node, Owner, State};

/// The MagicDNS suffix. `.internal` is reserved for private networks.
pub(super) const DOMAIN: &str = "demo.internal";
/// What people type.
pub(super) const GATEWAY: &str = "ai";
const GATEWAY_ADDRESS: Ipv4Addr = Ipv4Addr::new(100, 64, 0, 1);
const GATEWAY_TAG: &str = "tag:ai";
/// Where the demo's models are.
pub(super) const GPU: &str = "gpu";
pub(super) const GPU_ADDRESS: Ipv4Addr = Ipv4Addr::new(100, 64, 0, 4);
const GPU_TAG: &str = "tag:gpu";
const GPU_PORT: u16 = 8080;
/// A node is up after a twentieth of a second; a busy machine takes longer.
const PATIENCE: Duration = Duration::from_mins(1);

/// A user with a device on the demo tailnet.
#[derive(Clone, Copy, Debug)]
pub struct Person {
    pub login: &'static str,
    pub name: &'static str,
    /// Their device's name.
    pub device: &'static str,
    pub address: Ipv4Addr,
    /// The port of their door, if it is free.
    port: u16,
}

pub(super) const ALICE: Person = Person {
    login: "alice@example.com",
    name: "Alice",
    device: "alice-laptop",
    address: Ipv4Addr::new(100, 64, 0, 2),
    port: 8101,
};
pub(super) const BOB: Person = Person {
    login: "bob@example.com",
    name: "Bob",
    device: "bob-laptop",
    address: Ipv4Addr::new(100, 64, 0, 3),
    port: 8102,
};

/// Everything that is on it.
const DEVICES: [Device; 4] = [
    Device::new(GATEWAY, GATEWAY_ADDRESS, GATEWAY_TAG),
    Device::new(ALICE.device, ALICE.address, ALICE.login),
    Device::new(BOB.device, BOB.address, BOB.login),
    Device::new(GPU, GPU_ADDRESS, GPU_TAG),
];
const TAILNET: Tailnet = Tailnet {
    gateway: GATEWAY,
    domain: DOMAIN,
    devices: &DEVICES,
};

/// The tailnet, for as long as it is held.
pub struct Network {
    control: Arc<Control>,
    gateway_key: String,
    policy: PathBuf,
    doors: [Door; 2],
    nodes: Vec<Node>,
    _stop: [DropGuard; 2],
}

impl Network {
    /// Starts it, with its files below `dir`.
    pub async fn start(dir: &Path) -> anyhow::Result<Self> {
        let policy = dir.join("policy.hujson");
        let text = include_str!("policy.hujson");
        tokio::fs::write(&policy, text).await?;
        let keys: [String; 4] = [key()?, key()?, key()?, key()?];
        let [gateway_key, alice_key, bob_key, gpu_key] = &keys;
        let tags = |tag: &str| Owner::Tags {
            tags: vec![tag.to_owned()],
        };
        let of = |person: Person| Owner::Person {
            login: person.login.to_owned(),
            name: person.name.to_owned(),
        };
        let member = |hostname: &str, key: &String, address, owner| Member {
            hostname: hostname.to_owned(),
            auth_key: key.clone(),
            address,
            owner,
        };
        let network = tailnet::Network {
            domain: DOMAIN.to_owned(),
            nodes: vec![
                member(GATEWAY, gateway_key, GATEWAY_ADDRESS, tags(GATEWAY_TAG)),
                member(ALICE.device, alice_key, ALICE.address, of(ALICE)),
                member(BOB.device, bob_key, BOB.address, of(BOB)),
                member(GPU, gpu_key, GPU_ADDRESS, tags(GPU_TAG)),
            ],
            filter: policy::filter(text, &DEVICES)?,
        };
        let control = Arc::new(Control::start(&network).await?);
        let join = |name, key| join(control.url(), dir, name, key);
        let (alice, bob, gpu) = tokio::try_join!(
            join(ALICE.device, alice_key),
            join(BOB.device, bob_key),
            join(GPU, gpu_key),
        )?;
        let serving = provider::on_tailnet(gpu.listen(GPU_PORT).await?);
        let following = follow(policy.clone(), Arc::clone(&control));
        Ok(Self {
            doors: [door(ALICE, &alice).await?, door(BOB, &bob).await?],
            control,
            gateway_key: gateway_key.clone(),
            policy,
            nodes: vec![alice, bob, gpu],
            _stop: [until_dropped(serving), until_dropped(following)],
        })
    }

    /// The gateway's configuration, with the model servers of this machine beside the demo's own.
    #[must_use]
    pub fn configuration(&self, found: &[Server]) -> String {
        configuration(self.control.url(), &self.gateway_key, found)
    }

    /// Each person's way in.
    #[must_use]
    pub fn doors(&self) -> [(Person, SocketAddr); 2] {
        let [alice, bob] = &self.doors;
        [(ALICE, alice.address), (BOB, bob.address)]
    }

    /// The tailnet's policy; what is saved there counts at once.
    #[must_use]
    pub fn policy(&self) -> &Path {
        &self.policy
    }

    /// Waits until each person has reached the gateway, so that the first request is as fast as
    /// the next.
    pub async fn met(&self) -> anyhow::Result<()> {
        for node in &self.nodes[..self.doors.len()] {
            let dialed = within(PATIENCE, node.dial(GATEWAY, 80)).await;
            dialed.context("the demo's devices can't reach the gateway")??;
        }
        Ok(())
    }

    /// Takes the nodes off the tailnet, then ends it.
    pub async fn stop(self) {
        let closed = join_all(self.nodes.iter().map(Node::close)).await;
        for error in closed.into_iter().filter_map(Result::err) {
            tracing::debug!(%error, "a node of the demo did not close");
        }
    }
}

fn configuration(control_url: &str, auth_key: &str, found: &[Server]) -> String {
    let mut text = include_str!("../../../config/demo-tailnet.hujson")
        .replace("http://127.0.0.1:1", control_url)
        .replace("AUTH-KEY", auth_key);
    for server in found {
        let file = config::parse(&text, &|_| None).map(|loaded| loaded.file);
        let providers = file.as_ref().map(|file| &file.providers);
        let id = server.free_id(|id| providers.is_ok_and(|all| all.contains_key(id)));
        if let Ok(added) = config::with_provider(&text, &id, &server.provider()) {
            text = added;
        }
    }
    text
}

/// An auth key of this run.
fn key() -> anyhow::Result<String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    Ok(format!("demo-{:032x}", u128::from_ne_bytes(random)))
}

async fn join(control: &str, dir: &Path, name: &str, key: &str) -> anyhow::Result<Node> {
    let node = Node::embedded(tailnet::Options {
        hostname: name.to_owned(),
        state_dir: dir.join("nodes").join(name),
        auth_key: Some(key.to_owned()),
        control_url: Some(control.to_owned()),
        ..tailnet::Options::default()
    })
    .await?;
    let mut status = node.watch();
    let running = status.wait_for(|status| status.state == State::Running);
    within(PATIENCE, running)
        .await
        .with_context(|| format!("the demo's node {name:?} didn't come up"))??;
    Ok(node)
}

/// The person's own port, or a free one.
async fn door(person: Person, node: &Node) -> anyhow::Result<Door> {
    let usual = TcpListener::bind((Ipv4Addr::LOCALHOST, person.port)).await;
    let listener = match usual {
        Ok(listener) => listener,
        Err(_) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?,
    };
    Ok(Door::open(listener, node.clone(), &TAILNET)?)
}

/// Puts each saved policy in force. One with a mistake changes nothing.
async fn follow(path: PathBuf, control: Arc<Control>) {
    let mut watch = config::watch(&path);
    loop {
        watch.changed().await;
        let applied = async {
            let text = tokio::fs::read_to_string(&path).await?;
            let filter = policy::filter(&text, &DEVICES)?;
            anyhow::Ok(control.set_filter(&filter).await?)
        };
        match applied.await {
            Ok(()) => tracing::info!("the policy of the demo tailnet is in force"),
            Err(error) => tracing::warn!(
                "{}: {error:#}; the policy before it stays in force",
                path.display()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::discovery::{Formats, Kind};

    #[test]
    fn servers_that_were_found_stand_beside_the_demos_own() {
        let server = |port| Server {
            host: "127.0.0.1".to_owned(),
            port,
            kind: Kind::Ollama,
            models: vec!["qwen3:8b".to_owned(), "demo".to_owned(), "*".to_owned()],
            formats: Formats::default(),
        };
        let found = [server(11434), server(8000)];
        let text = configuration("http://127.0.0.1:9", "demo-key", &found);
        let loaded = config::parse(&text, &|_| None).unwrap();
        assert!(loaded.findings.is_empty(), "{:#?}", loaded.findings);
        let providers = &loaded.file.providers;
        let ids: Vec<&str> = providers.keys().map(String::as_str).collect();
        assert_eq!(ids, ["gpu", "ollama", "ollama-8000"]);
        assert_eq!(providers["ollama"].baseurl, "http://127.0.0.1:11434");
        assert_eq!(loaded.file.tailnet.control_url, "http://127.0.0.1:9");
    }
}
