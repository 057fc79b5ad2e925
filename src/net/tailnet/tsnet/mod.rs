//! The embedded node: Tailscale's `tsnet`, linked into this process as a C archive.
//!
//! # The boundary to Go
//!
//! Go is called with integers and JSON and answers with integers, JSON and
//! file descriptors (`go/abi.go`). An accepted connection arrives as one
//! message with its descriptor and both its addresses, and is an ordinary
//! local socket from then on; Go copies between it and the tailnet. Nothing
//! is called back. All calls may block and run on tokio's blocking threads.
//!
//! # Signals and processes
//!
//! As a C archive, the Go runtime installs handlers only for the signals it
//! needs itself (faults such as `SIGSEGV`, and `SIGURG` for preemption), with
//! `SA_ONSTACK`, and passes faults outside of Go on to the handler that was
//! there before. The Go code never uses `os/signal`, so `SIGINT`, `SIGTERM`,
//! `SIGHUP` and the like belong to tokio alone. After a fork without exec
//! neither runtime works: start no such child.

mod announced;
mod control;
mod ffi;
mod keeper;

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::either::Either;

use super::publisher::Publisher;
use super::{Certificate, Dial, Error, Listener, Node, State, Status, Stream, Tailnet};
use crate::base::clock::{self, Moment};
use crate::policy::identity::WhoIs;
use announced::Announced;
use ffi::Call;
use keeper::{Keeper, Rejoin};

pub use control::{Control, Member, Network, Owner};

/// Waits until Go's runtime has started, which it does on a thread of its own when the program starts.
/// It reads the size of a page from behind the environment, where the kernel put both: no
/// variable may be removed before that.
pub fn wait_for_runtime() {
    // Every call waits for it. No node has the handle 0.
    let _ = ffi::ask(Call::Close, 0, &[]);
}

/// Between two looks at how old the network map is.
const TICK: Duration = Duration::from_secs(1);

/// How an embedded node joins. There is no `Debug`: it would print the key.
#[derive(Clone, Default)]
pub struct Options {
    pub hostname: String,
    /// Where the node keeps its keys; made with mode 0700 if it isn't there.
    pub state_dir: PathBuf,
    /// An auth key or an OAuth client secret (`tskey-client-…`, which needs
    /// `tags`); without one, the status carries an address to sign in at.
    pub auth_key: Option<String>,
    pub control_url: Option<String>,
    pub ephemeral: bool,
    pub tags: Vec<String>,
    /// A soft limit for the memory of the Go runtime, in bytes.
    pub memory_limit: Option<u64>,
}

struct Embedded(Arc<Handle>);

/// The node's number in the archive; the node closes when this is dropped.
struct Handle {
    number: i64,
    closed: AtomicBool,
}

/// What the node says of itself when it opens.
#[derive(Deserialize)]
struct Opened {
    /// Whether it had joined before.
    known: bool,
    /// Whether there is an auth key, in the options or in the environment.
    has_key: bool,
    /// Damaged files that held nothing worth keeping.
    dropped: Option<Vec<String>>,
}

/// One line of what the node reports.
#[derive(Deserialize)]
struct Line {
    #[serde(flatten)]
    status: Status,
    /// How often it was made to sign in again.
    joins: u64,
}

impl Node {
    /// Starts a node of its own; [`Node::watch`] tells when it is running.
    pub async fn embedded(options: Options) -> Result<Self, Error> {
        let (stale_after, stale_receiver) = watch::channel(Duration::ZERO);
        let state_dir = std::path::absolute(&options.state_dir)?;
        let state_dir = state_dir.to_str().ok_or_else(|| {
            Error::Node(format!(
                "the state directory {} is not UTF-8",
                state_dir.display()
            ))
        })?;
        let memory_limit = options.memory_limit.unwrap_or_default();
        let request = serde_json::to_vec(&json!({
            "hostname": options.hostname,
            "state_dir": state_dir,
            "auth_key": options.auth_key.unwrap_or_default(),
            "control_url": options.control_url.unwrap_or_default(),
            "ephemeral": options.ephemeral,
            "tags": options.tags,
            "memory_limit": i64::try_from(memory_limit).unwrap_or(i64::MAX),
            "verbose": tracing::enabled!(tracing::Level::TRACE),
        }))?;
        let (number, about) = blocking(move || ffi::open(Call::Open, &request)).await?;
        let handle = Arc::new(Handle {
            number,
            closed: AtomicBool::new(false),
        });
        let about: Opened = serde_json::from_slice(&about)?;
        for path in about.dropped.unwrap_or_default() {
            tracing::warn!(
                "{path} was damaged and is written again; it holds nothing that is used"
            );
        }
        let lines = unix_stream(handle.socket(Call::Watch, &()).await?)?;
        let (sender, status) = watch::channel(Status::default());
        let follow = Follow {
            handle: Arc::downgrade(&handle),
            keeper: Keeper::new(about.has_key, about.known),
            publisher: Publisher::new(sender, stale_receiver),
            last: Status::default(),
            attempt: None,
        };
        tokio::spawn(follow.run(lines));
        Ok(Self::new(Embedded(handle), status, stale_after))
    }
}

impl Tailnet for Embedded {
    fn listen(&self, port: u16) -> BoxFuture<'_, Result<Listener, Error>> {
        async move {
            let socket = self
                .0
                .socket(Call::Listen, &json!({ "port": port }))
                .await?;
            Ok(Listener::new(Announced::new(socket)?))
        }
        .boxed()
    }

    fn dial<'a>(&'a self, to: Dial<'a>) -> BoxFuture<'a, Result<Stream, Error>> {
        async move {
            let request = json!({
                "host": to.host,
                "port": to.port,
                "inside": to.inside,
                "silence_ms": u64::try_from(to.silence.as_millis()).unwrap_or(u64::MAX),
            });
            let socket = self.0.socket(Call::Dial, &request).await?;
            Ok(Either::Left(unix_stream(socket)?))
        }
        .boxed()
    }

    fn whois(&self, source: IpAddr) -> BoxFuture<'_, Result<Option<WhoIs>, Error>> {
        async move {
            let reply = self.0.ask(Call::WhoIs, &json!({ "ip": source })).await?;
            let is_known = !reply.is_empty();
            is_known.then(|| WhoIs::parse(&reply)).transpose()
        }
        .boxed()
    }

    fn certificate<'a>(&'a self, domain: &'a str) -> BoxFuture<'a, Result<Certificate, Error>> {
        async move {
            let request = json!({ "domain": domain });
            let reply = self.0.ask(Call::Certificate, &request).await?;
            Ok(serde_json::from_slice(&reply)?)
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            if self.0.closed.swap(true, Ordering::AcqRel) {
                return Ok(());
            }
            self.0.ask(Call::Close, &()).await.map(drop)
        }
        .boxed()
    }

    fn is_machine(&self) -> bool {
        false
    }
}

impl Handle {
    async fn ask(&self, what: Call, request: &impl Serialize) -> Result<Vec<u8>, Error> {
        let (number, request) = (self.number, serde_json::to_vec(request)?);
        blocking(move || ffi::ask(what, number, &request)).await
    }

    async fn socket(&self, what: Call, request: &impl Serialize) -> Result<OwnedFd, Error> {
        let (number, request) = (self.number, serde_json::to_vec(request)?);
        blocking(move || ffi::socket(what, number, &request)).await
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if !*self.closed.get_mut() {
            let number = self.number;
            // Closing takes seconds at worst and may not hold up the runtime.
            std::thread::spawn(move || {
                if let Err(error) = ffi::ask(Call::Close, number, b"") {
                    tracing::warn!(%error, "the tailnet node did not close");
                }
            });
        }
    }
}

/// Follows a node: publishes each status, and has the node sign in again where that helps.
struct Follow {
    handle: Weak<Handle>,
    keeper: Keeper,
    publisher: Publisher,
    last: Status,
    /// An attempt to sign in again, which may take long: what the node reports is published
    /// meanwhile.
    attempt: Option<Attempt>,
}

struct Attempt {
    how: Rejoin,
    task: JoinHandle<Result<Vec<u8>, Error>>,
}

/// Waits until an attempt ends, without end where none is made.
async fn ended(attempt: &mut Option<Attempt>) -> Result<(), Error> {
    let Some(Attempt { task, .. }) = attempt else {
        return std::future::pending().await;
    };
    match task.await {
        Ok(done) => done.map(drop),
        Err(error) => Err(Error::Node(format!("the attempt did not end: {error}"))),
    }
}

impl Follow {
    /// Runs until the node closes.
    async fn run(mut self, lines: UnixStream) {
        let mut lines = BufReader::new(lines).lines();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut joins = 0;
        loop {
            tokio::select! {
                line = lines.next_line() => match line {
                    Ok(Some(line)) => match serde_json::from_str::<Line>(&line) {
                        Ok(line) => (self.last, joins) = (line.status, line.joins),
                        Err(error) => {
                            tracing::warn!(%error, "a tailnet status that can't be read");
                        }
                    },
                    Ok(None) => break,
                    Err(error) => {
                        tracing::warn!(%error, "the tailnet node reports no more");
                        break;
                    }
                },
                _ = ticks.tick() => {}
                () = self.publisher.changed() => {}
                done = ended(&mut self.attempt) => self.ended(done),
            }
            let now = Moment::now();
            let rejoin = match self.attempt {
                None => self.keeper.next(&self.last, joins, now.steady),
                Some(_) => None,
            };
            self.publish(now);
            if let Some(rejoin) = rejoin {
                self.rejoin(rejoin);
            }
        }
        self.last.state = State::Stopped;
        self.last.in_poll = false;
        self.last.epoch += 1;
        self.publish(Moment::now());
    }

    fn publish(&mut self, now: Moment) {
        let mut status = self.last.clone();
        if self.keeper.holds_back_the_link() {
            status.auth_url = None;
        }
        self.publisher.publish(status, now);
    }

    fn rejoin(&mut self, how: Rejoin) {
        let Some(handle) = self.handle.upgrade() else {
            return;
        };
        let why = self.last.trouble.as_ref();
        let why = why.map_or("the control server asks for it", |trouble| {
            trouble.message.as_str()
        });
        let means = if how.with_key {
            "with its auth key"
        } else {
            "without a key"
        };
        tracing::warn!("the node signs in again, {means}: {why}");
        let task = tokio::spawn(async move { handle.ask(Call::Rejoin, &how).await });
        self.attempt = Some(Attempt { how, task });
    }

    fn ended(&mut self, done: Result<(), Error>) {
        let attempt = self.attempt.take();
        if let (Some(Attempt { how, .. }), Err(error)) = (attempt, done) {
            tracing::error!(%error, "the node can't sign in again; it is tried once more later");
            self.keeper.failed(how, clock::steady_ms());
        }
    }
}

/// Runs a call into Go on a thread that may block.
async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(call).await {
        Ok(result) => result,
        Err(error) => Err(Error::Node(format!("the call did not return: {error}"))),
    }
}

fn unix_stream(socket: OwnedFd) -> std::io::Result<UnixStream> {
    let socket = std::os::unix::net::UnixStream::from(socket);
    socket.set_nonblocking(true)?;
    UnixStream::from_std(socket)
}
