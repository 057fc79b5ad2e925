//! The doors: which ports are listened on, under which names, and the accept loops.

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::{Mutex, OwnedMutexGuard, watch};
use tokio_rustls::TlsAcceptor;

use super::certificate;
use super::connection::{self, Door};
use super::{Engines, Served, keep};
use crate::app::systemd::Service;
use crate::base::panics;
use crate::config::Mode;
use crate::exchange::rules::Rules;
use crate::net::listen::Listener;
use crate::net::tailnet::{Node, State, Status};
use crate::web::Gate;

/// After a failed accept, for instance for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// Before a port of the node is tried again.
const LISTEN_PAUSE: Duration = Duration::from_secs(5);

/// Opens the loopback door, if there is one, and sees to those on the tailnet. Answers with
/// the loopback address.
pub(super) fn open(
    engines: &Arc<Engines>,
    service: &mut Service,
) -> anyhow::Result<Option<SocketAddr>> {
    let rules = engines.gateway.rules.borrow().clone();
    let wanted = match (rules.file.listen.loopback, rules.file.tailnet.mode) {
        (None, Mode::Off) => Some(super::LOOPBACK.parse()?),
        (wanted, _) => wanted,
    };
    let mut local = None;
    let handed = service.listener(wanted)?;
    if let Some(address) = wanted {
        let listener = match handed {
            Some(handed) => Listener::adopted(handed),
            None => Listener::loopback(address),
        };
        let listener =
            listener.with_context(|| format!("listen.loopback {address} cannot be listened on"))?;
        let address = listener.local().unwrap_or(address);
        let door = Door {
            gate: gates(engines, address.port(), None),
            tls: None,
            tailnet: false,
        };
        spawn_accepting(engines, listener, door, None);
        tracing::info!("serving local callers at http://{address}");
        opened(engines, format!("http://{address}"), false);
        local = Some(address);
    }
    if let Some(node) = engines.node.clone() {
        keep(engines, "the tailnet's doors", move |engines| {
            tailnet(engines, node.clone(), Arc::clone(&rules))
        });
    }
    Ok(local)
}

/// Waits for the node to be on its tailnet, logs where to sign in until then, and listens.
async fn tailnet(engines: Arc<Engines>, node: Node, rules: Arc<Rules>) {
    let (engines, node, listen) = (&engines, &node, &rules.file.listen);
    let mut status = node.watch();
    let mut logged_url = None;
    loop {
        let now = status.borrow_and_update().clone();
        if let Some(url) = &now.auth_url
            && logged_url.as_ref() != Some(url)
            && now.state != State::Running
        {
            tracing::warn!("to join the tailnet, sign in at {url}");
            logged_url = Some(url.clone());
        }
        if now.state == State::NeedsMachineAuth {
            tracing::warn!("an admin of the tailnet has to approve this node");
        }
        if now.state == State::Running && !now.addresses.is_empty() {
            break;
        }
        if status.changed().await.is_err() {
            return;
        }
    }
    let now = status.borrow().clone();
    if let Some(port) = listen.http {
        listen_on(engines, node, port, None).await;
    }
    if let Some(port) = listen.https
        && let Some(domain) = now.cert_domains.first()
    {
        let tls = certificate::acceptor(engines, node.clone(), domain.clone());
        listen_on(engines, node, port, Some(tls)).await;
    }
    keep(engines, "the meeting of providers", acquaint);
    // A key that expires later needs a new sign-in.
    while status.changed().await.is_ok() {
        let now = status.borrow_and_update().clone();
        if let (State::NeedsLogin, Some(url)) = (now.state, now.auth_url)
            && logged_url.as_ref() != Some(&url)
        {
            tracing::error!("the node is signed out; sign in again at {url}");
            logged_url = Some(url);
        }
    }
}

/// Meets each provider's node once, now and as the configuration names new ones.
async fn acquaint(engines: Arc<Engines>) {
    let mut rules = engines.gateway.rules.clone();
    let mut met = HashSet::new();
    loop {
        let current = rules.borrow_and_update().clone();
        let enabled = current
            .routes
            .providers()
            .iter()
            .filter(|one| !one.disabled);
        for provider in enabled.filter(|provider| met.insert(provider.id.clone())) {
            let (engines, provider) = (Arc::clone(&engines), Arc::clone(provider));
            let meet = async move { engines.gateway.upstream.client.meet(&provider).await };
            tokio::spawn(meet);
        }
        if rules.changed().await.is_err() {
            return;
        }
    }
}

async fn listen_on(engines: &Arc<Engines>, node: &Node, port: u16, tls: Option<TlsAcceptor>) {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let name = node.status().dns_name.unwrap_or_default();
    let url = on_tailnet_url(&name, port, tls.is_some());
    if engines.served.borrow().iter().any(|one| one.url == url) {
        return;
    }
    let listener = on_node(node, port).await;
    let door = Door {
        gate: gates(engines, port, Some(node)),
        tls,
        tailnet: true,
    };
    spawn_accepting(engines, listener, door, Some((node.clone(), port)));
    tracing::info!(port, "serving the tailnet at {scheme}://{name}");
    opened(engines, url, true);
}

async fn on_node(node: &Node, port: u16) -> Listener {
    loop {
        match node.listen(port).await {
            Ok(listener) => return Listener::Tailnet(listener),
            Err(error) => tracing::error!(%error, port, "this port of the node is not served"),
        }
        tokio::time::sleep(LISTEN_PAUSE).await;
    }
}

fn opened(engines: &Engines, url: String, tailnet: bool) {
    let one = Served { url, tailnet };
    engines.served.send_modify(|served| served.push(one));
}

/// The short name is enough for people; a certificate is for the whole one.
fn on_tailnet_url(name: &str, port: u16, tls: bool) -> String {
    let label = name.split('.').next().unwrap_or_default();
    match (tls, port) {
        (false, 80) => format!("http://{label}"),
        (false, _) => format!("http://{label}:{port}"),
        (true, 443) => format!("https://{name}"),
        (true, _) => format!("https://{name}:{port}"),
    }
}

/// The names that may be called through a door: kept up to date with node and rules.
fn gates(engines: &Arc<Engines>, port: u16, node: Option<&Node>) -> watch::Receiver<Arc<Gate>> {
    let names = Names {
        rules: engines.gateway.rules.clone(),
        status: node.map(Node::watch),
        port,
    };
    let (sender, receiver) = watch::channel(names.gate());
    let sender = Arc::new(sender);
    keep(engines, "the names of a door", move |_| {
        names.clone().follow(Arc::clone(&sender))
    });
    receiver
}

/// What the names of a door come from.
#[derive(Clone)]
struct Names {
    rules: watch::Receiver<Arc<Rules>>,
    status: Option<watch::Receiver<Status>>,
    port: u16,
}

impl Names {
    fn gate(&self) -> Arc<Gate> {
        let names = self.rules.borrow().file.listen.names.clone();
        Arc::new(match &self.status {
            Some(status) => on_tailnet(&status.borrow(), &names, self.port),
            None => on_loopback(&names, self.port),
        })
    }

    async fn follow(mut self, sender: Arc<watch::Sender<Arc<Gate>>>) {
        loop {
            let tailnet_changed = async {
                match &mut self.status {
                    Some(status) => status.changed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.rules.changed() => if changed.is_err() { return },
                Ok(()) = tailnet_changed => {}
            }
            let gate = self.gate();
            sender.send_if_modified(|before| {
                let differs = *before != gate;
                *before = gate;
                differs
            });
        }
    }
}

fn on_tailnet(status: &Status, more: &[String], port: u16) -> Gate {
    let mut names = Vec::new();
    if let Some(name) = &status.dns_name {
        names.extend(name.split('.').next().map(str::to_owned));
        names.push(name.clone());
    }
    Gate::new(names, status.addresses.clone(), port, more)
}

fn on_loopback(more: &[String], port: u16) -> Gate {
    let addresses = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    Gate::new(vec!["localhost".to_owned()], addresses, port, more)
}

/// Serves what comes through a listener. `node` and its port are named if it is one of a node.
fn spawn_accepting(
    engines: &Arc<Engines>,
    listener: Listener,
    door: Door,
    node: Option<(Node, u16)>,
) {
    let (listener, door) = (Arc::new(Mutex::new(listener)), Arc::new(door));
    let shared = Arc::clone(engines);
    let accepting = move || {
        let (engines, door) = (Arc::clone(&shared), Arc::clone(&door));
        let listener = Arc::clone(&listener).lock_owned();
        accept(engines, door, listener, node.clone())
    };
    // Waited for at the end: what it has just accepted is served.
    let kept = panics::kept("an accept loop", accepting);
    let stop = engines.stop.clone();
    engines.tracker.spawn(stop.run_until_cancelled_owned(kept));
}

async fn accept(
    engines: Arc<Engines>,
    door: Arc<Door>,
    listener: impl Future<Output = OwnedMutexGuard<Listener>>,
    node: Option<(Node, u16)>,
) {
    let mut listener = listener.await;
    let mut pulse = engines.heart.pulse("an accept loop");
    loop {
        let next = async {
            // Room first: connections beyond it wait in the kernel's queue.
            let room = Arc::clone(&engines.room).acquire_owned().await;
            (room, listener.accept().await)
        };
        let (Ok(room), accepted) = pulse.during(next).await else {
            return;
        };
        panics::point("accept");
        match accepted {
            Ok(accepted) => {
                let (serves, door) = (Arc::clone(&engines), Arc::clone(&door));
                engines.tracker.spawn(async move {
                    // Made here: a future that is handed over has its room twice.
                    connection::serve(serves, door, accepted).await;
                    drop(room);
                });
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                let Some((node, port)) = &node else { return };
                tracing::error!(port, "the node has closed this port; it is opened again");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                *listener = pulse.during(on_node(node, *port)).await;
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::on_tailnet_url;

    #[test]
    fn urls_are_as_short_as_they_work() {
        for (port, tls, expected) in [
            (80, false, "http://ai"),
            (8080, false, "http://ai:8080"),
            (443, true, "https://ai.tail.test"),
            (8443, true, "https://ai.tail.test:8443"),
        ] {
            assert_eq!(on_tailnet_url("ai.tail.test", port, tls), expected);
        }
    }
}
