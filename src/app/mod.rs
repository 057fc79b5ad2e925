//! Composition and life-cycle: the engines, the doors, reloads, and the end.

mod certificate;
pub mod cli;
mod connection;
pub mod demo;
mod descriptors;
mod doors;
mod heart;
mod reload;
pub mod systemd;
mod unwritten;

use std::fs::TryLockError;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::systemd::Service;
use crate::base::clock::within;
use crate::base::memory;
use crate::base::panics;
use crate::client::discovery;
use crate::config::{self, Fixed, Loaded, Mode};
use crate::exchange::hooks::{Deliverer, Tally};
use crate::exchange::rules::Rules;
use crate::exchange::upstream::Upstream;
use crate::exchange::{Gateway, Uncounted};
use crate::net::client::{Client, Timeouts};
use crate::net::tailnet::Resolver;
use crate::net::tailnet::{self, Node, State, Status};
use crate::policy::route::Traffic;
use crate::records::Ledger;
use crate::records::balances::Quotas;
use crate::records::outlets;
use crate::records::outlets::{Board, Outlets};
use crate::web::alerts::{Signals, Warnings};
use crate::web::api::{Control, Listeners, Refusals};

pub use crate::config::LOOPBACK;
/// Soft limit for the Go runtime of the embedded node, or less where there is little memory: after
/// a bulk transfer it would keep what it once needed.
const GO_MEMORY: u64 = 256 << 20;

/// For the node to start before the log calls it signed out.
const STARTING: Duration = Duration::from_secs(5);
/// Between two computations of alerts.
const LOOK_OUT: Duration = Duration::from_secs(30);

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
    /// The configuration's file, which the first save makes where there is none.
    fn path(&self) -> PathBuf {
        let beside = || self.state_dir.join("iris.hujson");
        self.config.clone().unwrap_or_else(beside)
    }
}

/// What lives as long as the process.
struct Engines {
    gateway: Gateway,
    control: Arc<Control>,
    refusals: Refusals,
    board: Board,
    signals: Signals,
    warnings: Warnings,
    /// One look for model servers at a time.
    looking: tokio::sync::Mutex<()>,
    listeners: Arc<Listeners>,
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

/// The same under a service manager: on the socket that it hands over, and with signs of life.
///
/// # Errors
/// Likewise, and when a socket was handed over that is not the door of the configuration.
pub async fn start_under(mut service: Service, options: &Options) -> anyhow::Result<Running> {
    let held = state_dir(&options.state_dir)?;
    let (loaded, files) = configuration(options).await?;
    let rules = Arc::new(Rules::compile(loaded, 1));
    reload::tell(options.config.as_deref(), &rules.findings);
    // The records of an earlier version are rewritten, which may take longer than a start may.
    let opening = service.manager().preparing("opening the database");
    let (url, dir) = (rules.file.database.url.clone(), options.state_dir.clone());
    let ledger = tokio::task::spawn_blocking(move || Ledger::open(url.expose(), &dir)).await??;
    drop(opening);
    ledger.set_retention(&rules.file.database, &outlets::names(&rules.file.exporters));
    let quotas = Quotas::open(ledger.clone()).await?;
    // A later change of the configuration tries it again.
    let _is_done = quotas.retain(&rules.quotas).await;
    let node = node(&rules.file.tailnet, &options.state_dir).await?;
    let resolver = node.clone().map(|node| Arc::new(Resolver::new(node)));
    set_stale(resolver.as_deref(), &rules.file.tailnet);
    let client = Client::new(node.as_ref(), timeouts(&rules.file));
    let upstream = Upstream::new(client);
    set_memory(&rules.file);
    let connections = descriptors::room(&rules.file);
    let (control, saved) = Control::new(options.path());
    let (sender, receiver) = watch::channel(rules);
    let (traffic, board, signals) = (Traffic::default(), Board::default(), Signals::default());
    let watched = (ledger.clone(), traffic.clone(), board.clone());
    let started = Fixed::of(&receiver.borrow().file);
    let stop = CancellationToken::new();
    let engines = Arc::new(Engines {
        gateway: Gateway {
            rules: receiver.clone(),
            upstream,
            traffic,
            metrics: Arc::default(),
            quotas,
            tally: Tally::default(),
            responses: Arc::default(),
            uncounted: Uncounted::default(),
            ledger,
        },
        control: Arc::new(control),
        refusals: Refusals::default(),
        board,
        warnings: Warnings::new(watched, signals.clone(), options.state_dir.clone(), started),
        signals,
        looking: tokio::sync::Mutex::default(),
        listeners: Arc::new(Listeners::new(receiver.clone(), stop.clone())),
        resolver,
        node,
        served: watch::Sender::new(Vec::new()),
        heart: heart::Heart::default(),
        room: Arc::new(Semaphore::new(connections)),
        tracker: TaskTracker::new(),
        stop,
    });
    background(&engines);
    let loopback = doors::open(&engines, &mut service)?;
    let file = (options.config.is_some(), files);
    reload::spawn(&engines, &service, file, saved, sender)?;
    if let Some(within) = service.watchdog() {
        tokio::spawn(heart::beat(
            Arc::downgrade(&engines),
            service.manager().clone(),
            within,
        ));
    }
    Ok(Running {
        engines,
        loopback,
        _held: held,
    })
}

/// Runs a loop beside the requests until the gateway stops; a panic does not end it.
fn keep<F>(engines: &Engines, what: &'static str, work: impl FnMut() -> F + Send + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    let kept = panics::kept(what, work);
    tokio::spawn(engines.stop.clone().run_until_cancelled_owned(kept));
}

/// What runs beside the requests.
fn background(engines: &Arc<Engines>) {
    let shared = || Arc::clone(engines);
    let quotas = engines.gateway.quotas.clone();
    keep(engines, "the keeping of budgets", move || {
        let quotas = quotas.clone();
        async move { quotas.keep().await }
    });
    let exporting = shared();
    keep(engines, "the exporters", move || {
        export(Arc::clone(&exporting))
    });
    let looking = shared();
    keep(engines, "the look for warnings", move || {
        look_out(Arc::clone(&looking))
    });
    let delivering = shared();
    keep(engines, "the deliverer of hooks", move || {
        deliver(Arc::clone(&delivering))
    });
}

async fn deliver(engines: Arc<Engines>) {
    let gateway = &engines.gateway;
    let hooks = || gateway.rules.borrow().file.hooks.clone();
    Deliverer::new(&gateway.upstream.client, &gateway.ledger, &gateway.tally)
        .run(hooks)
        .await;
}

/// Looks for alerts, so that the log has them even if nobody opens the dashboard.
async fn look_out(engines: Arc<Engines>) {
    if let Some(node) = &engines.node {
        // Every node is signed out for a moment while it starts.
        let mut status = node.watch();
        let is_up = status.wait_for(|status| status.state == State::Running);
        let _ = within(STARTING, is_up).await.is_ok();
    }
    let mut status = engines.node.as_ref().map(Node::watch);
    loop {
        panics::point("warnings");
        let rules = engines.gateway.rules.borrow().clone();
        let node = engines.node.as_ref().map(Node::status);
        engines.warnings.all(&rules, node.as_ref()).await;
        let trouble = async {
            if let Some(status) = &mut status {
                let is_trouble =
                    |now: &Status| now.state != State::Running || now.trouble.is_some();
                if status.wait_for(is_trouble).await.is_ok() {
                    // Much is over after a moment.
                    tokio::time::sleep(STARTING).await;
                    return;
                }
            }
            std::future::pending::<()>().await;
        };
        let _ = within(LOOK_OUT, trouble).await;
    }
}

/// Exports; restarted when the configuration of exports changes; a batch that is cut off is taken up again.
async fn export(engines: Arc<Engines>) {
    let gateway = &engines.gateway;
    let mut rules = gateway.rules.clone();
    loop {
        let current = rules.borrow_and_update().clone();
        let outlets = Outlets {
            upstream: &gateway.upstream.client,
            ledger: &gateway.ledger,
            metrics: &gateway.metrics,
            board: &engines.board,
        };
        // A change of anything else would restart their pauses, of which one can be an hour.
        let differs = |new: &Arc<Rules>| new.file.exporters != current.file.exporters;
        tokio::select! {
            () = outlets.run(&current.file.exporters) => {}
            changed = rules.wait_for(differs) => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

impl Running {
    /// Where local callers are served.
    #[must_use]
    pub fn loopback(&self) -> Option<SocketAddr> {
        self.loopback
    }

    /// The node on the tailnet.
    #[must_use]
    pub fn node(&self) -> Option<&Node> {
        self.engines.node.as_ref()
    }

    /// Where it answers: more as its ports open.
    #[must_use]
    pub fn served(&self) -> watch::Receiver<Vec<Served>> {
        self.engines.served.subscribe()
    }

    /// The rules in force.
    #[must_use]
    pub fn rules(&self) -> Arc<Rules> {
        self.engines.gateway.rules.borrow().clone()
    }

    /// Stops: no new connections, a bounded time for running requests, every record written,
    /// the node off its tailnet.
    ///
    /// # Errors
    /// When records could not be made durable.
    pub async fn stop(self) -> anyhow::Result<()> {
        let engines = self.engines;
        let patience = engines.gateway.rules.borrow().file.timeouts.shutdown;
        engines.stop.cancel();
        engines.tracker.close();
        if within(patience, engines.tracker.wait()).await.is_err() {
            tracing::warn!(?patience, "requests were still running and are cut off");
        }
        crate::exchange::relay::rests_ended().await;
        engines.refusals.write(&engines.gateway.ledger).await;
        let written = engines.gateway.ledger.close().await;
        if let Some(node) = &engines.node
            && let Err(error) = node.close().await
        {
            tracing::warn!(%error, "the node did not leave its tailnet");
        }
        Ok(written?)
    }
}

async fn configuration(options: &Options) -> anyhow::Result<(Loaded, config::Files)> {
    let mut files = config::Files::default();
    if let Some(path) = &options.config {
        let loaded = files
            .load(path)
            .map_err(|findings| anyhow::anyhow!(config::refusal(path, &findings)))?;
        return Ok((loaded, files));
    }
    let client = Client::new(None, timeouts(&config::File::default()));
    let loaded = reload::discovered(&discovery::here(&client, &[]).await)?;
    Ok((loaded, files))
}

/// Makes the state directory, and takes it: two processes with one key would be one node twice.
/// The lock is the kernel's, so that nothing is left of a process that was killed.
fn state_dir(dir: &Path) -> anyhow::Result<std::fs::File> {
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir);
    made.with_context(|| format!("the state directory {} cannot be made", dir.display()))?;
    let path = dir.join("lock");
    let lock = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("{} cannot be opened", path.display()))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => anyhow::bail!(
            "another Iris runs with the state directory {}; give each its own with --state-dir",
            dir.display()
        ),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("{} cannot be locked", path.display()))
        }
    }
}

async fn node(config: &config::Tailnet, state_dir: &Path) -> anyhow::Result<Option<Node>> {
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
fn set_stale(resolver: Option<&Resolver>, config: &config::Tailnet) {
    if let Some(resolver) = resolver {
        resolver.set_stale(config.stale_after, config.stale_refuses);
    }
}

fn timeouts(file: &config::File) -> Timeouts {
    Timeouts {
        connect: file.timeouts.connect,
        first_byte: file.timeouts.first_byte,
        idle: file.timeouts.idle,
        total: file.timeouts.total,
    }
}

/// Sets the bound on what bodies hold.
fn set_memory(file: &config::File) {
    let bound = file.limits.memory.unwrap_or_else(memory::default_bound);
    memory::all().set_bound(bound);
}

/// An address in use, said so that a person knows what to change.
fn in_use(error: io::Error, what: &str) -> anyhow::Error {
    anyhow::Error::new(error).context(format!("{what} cannot be listened on"))
}
