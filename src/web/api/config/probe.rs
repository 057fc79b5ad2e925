//! What only a try can tell of a configuration: whether the next start would find its database, its
//! address and its `tailscaled`. Tried in a save, for what the save changes.

use std::net::{SocketAddr, TcpListener};

use crate::base::secret::Secret;
use crate::config::{File, Finding, Mode, Position, Severity};
use crate::net::tailnet::Node;
use crate::records::Ledger;
use crate::web::reader::Reader;

/// What would end the next start.
pub(super) async fn obstacles(reader: &Reader<'_>, new: &File) -> Vec<Finding> {
    let old = &reader.rules.file;
    let mut found = Vec::new();
    if new.database.url != old.database.url {
        found.extend(database(reader.ledger(), &new.database.url).await);
    }
    let address = loopback(new);
    if address != loopback(old) {
        found.extend(address.and_then(in_use));
    }
    let host = |file: &File| (file.tailnet.mode == Mode::Host).then(|| file.tailnet.socket.clone());
    if let Some(socket) = host(new)
        && host(old).as_ref() != Some(&socket)
        && let Err(error) = Node::host(socket).await
    {
        let message = format!("tailscaled can't be used: {error}");
        found.push(finding("tailnet.socket", message));
    }
    found
}

async fn database(ledger: &Ledger, url: &Secret) -> Option<Finding> {
    let error = ledger.probe(url).await.err()?;
    Some(finding("database.url", error.to_string()))
}

/// Where local callers would be served.
fn loopback(file: &File) -> Option<SocketAddr> {
    match (file.listen.loopback, file.tailnet.mode) {
        (None, Mode::Off) => crate::config::LOOPBACK.parse().ok(),
        (address, _) => address,
    }
}

fn in_use(address: SocketAddr) -> Option<Finding> {
    let error = TcpListener::bind(address).err()?;
    let message = format!("{address} can't be listened on: {error}");
    Some(finding("listen.loopback", message))
}

fn finding(path: &str, message: String) -> Finding {
    let hint = "the next start would end with this, so it is not saved";
    Finding::new(Severity::Error, Position::default(), path, message).hint(hint)
}
