//! The program: how its parts are put together, how it starts, and how it stops.
//!
//! Two kinds of state make it up. `Rules` are compiled from the configuration, never change, and are
//! replaced whole by `reload`; `Engines` live as long as the process. `doors` accept connections,
//! `connection` dispatches their requests, and `background` has the loops beside them.

mod background;
mod certificate;
pub mod cli;
mod connection;
pub mod demo;
mod descriptors;
mod doors;
mod heart;
mod reload;
mod settings;
mod state_dir;
pub mod systemd;
mod unwritten;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use anyhow::Context;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::systemd::{Manager, Service};
use crate::base::clock::within;
use crate::config::Fixed;
use crate::exchange::hooks::Tally;
use crate::exchange::jobs::{Disk, Jobs};
use crate::exchange::rules::Rules;
use crate::exchange::upstream::Upstream;
use crate::exchange::{Beginnings, Gateway, Held, Uncounted, kept};
use crate::net::client::Client;
use crate::net::tailnet::{Node, Resolver, Status};
use crate::policy::route::Traffic;
use crate::records::Ledger;
use crate::records::balances::Quotas;
use crate::records::outlets::{self, Board};
use crate::web::alerts::{Signals, Warnings, Watched};
use crate::web::{Control, Listeners, Management, Refusals};
use background::keep;

pub use crate::config::LOOPBACK;

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The configuration; without one, model servers on this machine are offered to local
    /// callers.
    pub config: Option<PathBuf>,
    /// Where node keys and records are kept; made with mode 0700.
    pub state_dir: PathBuf,
}

impl Options {
    /// The configuration's file, which the first save creates if it is missing.
    fn path(&self) -> PathBuf {
        let beside = || self.state_dir.join("iris.hujson");
        self.config.clone().unwrap_or_else(beside)
    }
}

/// What lives as long as the process.
struct Engines {
    gateway: Arc<Gateway>,
    management: Management,
    node: Option<Node>,
    resolver: Option<Arc<Resolver>>,
    served: watch::Sender<Vec<Served>>,
    heart: heart::Heart,
    /// One permit for each open connection.
    room: Arc<Semaphore>,
    tracker: TaskTracker,
    stop: CancellationToken,
}

/// Where the gateway answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// The URL as people type it.
    pub url: String,
    /// Whether callers come over the tailnet; else they are on this machine.
    pub tailnet: bool,
}

/// A gateway that runs.
pub struct Running {
    engines: Arc<Engines>,
    loopback: Option<SocketAddr>,
    /// Open for as long as the state directory is this process's.
    _held: std::fs::File,
}

/// Starts a gateway. It answers on loopback, where configured, when this returns, and on the
/// tailnet once the node is signed in.
///
/// # Errors
/// When the configuration has errors, the ledger cannot be opened, the node cannot start, or
/// a port is taken.
pub async fn start(options: &Options) -> anyhow::Result<Running> {
    start_under(Service::default(), options).await
}

/// The same under a service manager, with signs of life: on the socket that it hands over, which must
/// be the door of the configuration.
pub async fn start_under(mut service: Service, options: &Options) -> anyhow::Result<Running> {
    let held = state_dir::take(&options.state_dir)?;
    let (loaded, files) = settings::configuration(options).await?;
    let rules = Arc::new(Rules::compile(loaded, 1));
    reload::log_findings(options.config.as_deref(), &rules.findings);
    let ledger = ledger(&rules, options, &service.manager).await?;
    let cache = cache(&ledger, options).await?;
    let jobs = jobs(options).await?;
    let quotas = Quotas::open(ledger.clone()).await?;
    // A later change of the configuration tries it again.
    let _is_done = quotas.retain(&rules.quotas).await;
    let node = settings::node(&rules.file.tailnet, &options.state_dir).await?;
    let resolver = node.clone().map(|node| Arc::new(Resolver::new(node)));
    settings::set_stale(resolver.as_deref(), &rules.file.tailnet);
    let client = Client::new(node.as_ref(), settings::timeouts(&rules.file));
    let upstream = Upstream { client };
    settings::set_memory(&rules.file);
    let connections = descriptors::room(&rules.file);
    let (control, saved) = Control::new(options.path());
    let (sender, receiver) = watch::channel(rules);
    let (traffic, board, signals) = (Traffic::default(), Board::default(), Signals::default());
    let watched = Watched {
        ledger: ledger.clone(),
        traffic: traffic.clone(),
        board: board.clone(),
        signals: signals.clone(),
    };
    let started = Fixed::of(&receiver.borrow().file);
    let stop = CancellationToken::new();
    let engines = Arc::new(Engines {
        gateway: Arc::new_cyclic(|gateway| Gateway {
            rules: receiver.clone(),
            upstream,
            traffic,
            held: Held::default(),
            metrics: Arc::default(),
            quotas,
            tally: Tally::default(),
            responses: Arc::default(),
            stored: Arc::default(),
            beginnings: Beginnings::new(Weak::clone(gateway)),
            uncounted: Uncounted::default(),
            cache,
            jobs,
            ledger,
        }),
        management: Management {
            control: Arc::new(control),
            refusals: Refusals::default(),
            board,
            warnings: Warnings::new(watched, options.state_dir.clone(), started),
            signals,
            looking: tokio::sync::Mutex::default(),
            listeners: Arc::new(Listeners::new(receiver.clone(), stop.clone())),
        },
        resolver,
        node,
        served: watch::Sender::new(Vec::new()),
        heart: heart::Heart::default(),
        room: Arc::new(Semaphore::new(connections)),
        tracker: TaskTracker::new(),
        stop,
    });
    background::start(&engines);
    let loopback = doors::open(&engines, &mut service)?;
    let follow = reload::Sources {
        manager: service.manager.clone(),
        has_file: options.config.is_some(),
        files,
        saved,
    };
    reload::spawn(&engines, follow, sender)?;
    heart::start(&engines, &service);
    Ok(Running {
        engines,
        loopback,
        _held: held,
    })
}

/// Opens the database. The records of an earlier version are rewritten, which may take longer than a
/// service manager allows a start.
async fn ledger(rules: &Rules, options: &Options, manager: &Manager) -> anyhow::Result<Ledger> {
    let opening = manager.preparing("opening the database");
    let (url, dir) = (rules.file.database.url.clone(), options.state_dir.clone());
    let ledger = tokio::task::spawn_blocking(move || Ledger::open(url.expose(), &dir)).await??;
    drop(opening);
    ledger.set_retention(&rules.file.database, &outlets::names(&rules.file.exporters));
    ledger.set_acknowledge(rules.file.records.acknowledge);
    Ok(ledger)
}

/// Finds the responses that are kept for the same request. Those of a time when captures were kept go
/// once they aren't.
async fn cache(ledger: &Ledger, options: &Options) -> anyhow::Result<Arc<kept::Store>> {
    let (folder, keeps) = (options.state_dir.join("cache"), ledger.policy().captures);
    let opened = tokio::task::spawn_blocking(move || {
        let store = kept::Store::open(folder);
        if !keeps {
            store.clear();
        }
        Arc::new(store)
    });
    Ok(opened.await?)
}

/// Finds the files that callers have on this node.
async fn jobs(options: &Options) -> anyhow::Result<Jobs> {
    let folder = options.state_dir.join("files");
    let shown = folder.display().to_string();
    let disk = tokio::task::spawn_blocking(move || Disk::open(folder)).await?;
    let disk = disk.with_context(|| format!("the folder {shown} can't be used"))?;
    Ok(Jobs::new(disk))
}

impl Running {
    /// Where local callers are served.
    #[must_use]
    pub fn loopback(&self) -> Option<SocketAddr> {
        self.loopback
    }

    #[must_use]
    pub fn node(&self) -> Option<&Node> {
        self.engines.node.as_ref()
    }

    /// Where it answers: more as its ports open.
    #[must_use]
    pub fn served(&self) -> watch::Receiver<Vec<Served>> {
        self.engines.served.subscribe()
    }

    /// Passes on where it answers and the node's status, now and after each change. It never returns.
    async fn follow(&self, mut show: impl FnMut(&[Served], Option<&Status>)) {
        let (mut served, mut status) = (self.served(), self.node().map(Node::watch));
        loop {
            let places = served.borrow_and_update().clone();
            let now = status
                .as_mut()
                .map(|status| status.borrow_and_update().clone());
            show(&places, now.as_ref());
            let of_node = async {
                match &mut status {
                    Some(status) => status.changed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Ok(()) = served.changed() => {}
                Ok(()) = of_node => {}
                else => std::future::pending().await,
            }
        }
    }

    /// The rules in force.
    #[must_use]
    pub fn rules(&self) -> Arc<Rules> {
        self.engines.gateway.rules.borrow().clone()
    }

    /// Stops: no new connections, a bounded time for running requests, every record written,
    /// the node off its tailnet. Fails if records could not be made durable.
    pub async fn stop(self) -> anyhow::Result<()> {
        let engines = self.engines;
        let patience = engines.gateway.rules.borrow().file.timeouts.shutdown;
        engines.stop.cancel();
        engines.tracker.close();
        let requests = async {
            engines.tracker.wait().await;
            engines.gateway.beginnings.ended().await;
        };
        if within(patience, requests).await.is_err() {
            tracing::warn!(?patience, "requests were still running and are cut off");
        }
        crate::exchange::rests_ended().await;
        let ledger = &engines.gateway.ledger;
        engines.management.refusals.write(ledger).await;
        let stored = &engines.gateway.stored;
        if let Err(error) = stored.flush(ledger).await {
            tracing::warn!(%error, "responses that providers keep could not be noted");
        }
        // Records that wait are written before another process can look for them.
        let _ = within(patience, ledger.durable()).await;
        stored.release(ledger).await;
        let written = ledger.close().await;
        if let Some(node) = &engines.node
            && let Err(error) = node.close().await
        {
            tracing::warn!(%error, "the node did not leave its tailnet");
        }
        Ok(written?)
    }
}
