//! The embedded node.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::ffi::{self, Call};
use super::keeper::{Keeper, Rejoin};
use super::publisher::Publisher;
use super::{Certificate, Error, Listener, Options, State, Status, Stream};
use crate::base::clock::{self, Moment};
use crate::policy::identity::WhoIs;

/// Between two looks at how old the network map is.
const TICK: Duration = Duration::from_secs(1);

pub(super) struct Embedded {
    handle: Arc<Handle>,
    status: watch::Receiver<Status>,
}

/// The node's number in the archive; the node closes when this is dropped.
struct Handle {
    number: i64,
    closed: AtomicBool,
}

#[derive(Serialize)]
struct OpenRequest<'a> {
    hostname: &'a str,
    state_dir: &'a str,
    auth_key: &'a str,
    control_url: &'a str,
    ephemeral: bool,
    tags: &'a [String],
    memory_limit: i64,
    verbose: bool,
}

#[derive(Serialize)]
struct ListenRequest {
    port: u16,
}

#[derive(Serialize)]
struct DialRequest<'a> {
    host: &'a str,
    port: u16,
    inside: bool,
    silence_ms: u64,
}

#[derive(Serialize)]
struct RejoinRequest {
    with_key: bool,
    fresh: bool,
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
    /// How often it was told to sign in again.
    joins: u64,
}

#[derive(Serialize)]
struct WhoIsRequest {
    ip: IpAddr,
}

#[derive(Serialize)]
struct CertificateRequest<'a> {
    domain: &'a str,
}

#[derive(Deserialize)]
struct CertificateReply {
    chain: String,
    key: String,
}

impl Embedded {
    pub(super) async fn open(
        options: Options,
        stale_after: watch::Receiver<Duration>,
    ) -> Result<Self, Error> {
        let state_dir = std::path::absolute(&options.state_dir)?;
        let state_dir = state_dir.to_str().ok_or_else(|| {
            Error::Node(format!(
                "the state directory {} is not UTF-8",
                state_dir.display()
            ))
        })?;
        let request = serde_json::to_vec(&OpenRequest {
            hostname: &options.hostname,
            state_dir,
            auth_key: options.auth_key.as_deref().unwrap_or_default(),
            control_url: options.control_url.as_deref().unwrap_or_default(),
            ephemeral: options.ephemeral,
            tags: &options.tags,
            memory_limit: options
                .memory_limit
                .map_or(0, |limit| i64::try_from(limit).unwrap_or(i64::MAX)),
            verbose: tracing::enabled!(target: "iris::net::tailnet", tracing::Level::TRACE),
        })?;
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
            publisher: Publisher::new(sender, stale_after),
            last: Status::default(),
            attempt: None,
        };
        tokio::spawn(follow.run(lines));
        Ok(Self { handle, status })
    }

    pub(super) fn watch(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    pub(super) async fn listen(&self, port: u16) -> Result<Listener, Error> {
        let socket = self
            .handle
            .socket(Call::Listen, &ListenRequest { port })
            .await?;
        Ok(Listener::announced(socket)?)
    }

    /// `inside` dials over the tailnet or not at all.
    pub(super) async fn dial(
        &self,
        host: &str,
        port: u16,
        inside: bool,
        silence: Duration,
    ) -> Result<Stream, Error> {
        let request = DialRequest {
            host,
            port,
            inside,
            silence_ms: u64::try_from(silence.as_millis()).unwrap_or(u64::MAX),
        };
        let socket = self.handle.socket(Call::Dial, &request).await?;
        Ok(unix_stream(socket)?.into())
    }

    pub(super) async fn whois(&self, source: IpAddr) -> Result<Option<WhoIs>, Error> {
        let reply = self
            .handle
            .ask(Call::WhoIs, &WhoIsRequest { ip: source })
            .await?;
        if reply.is_empty() {
            Ok(None)
        } else {
            WhoIs::parse(&reply).map(Some)
        }
    }

    pub(super) async fn certificate(&self, domain: &str) -> Result<Certificate, Error> {
        let reply = self
            .handle
            .ask(Call::Certificate, &CertificateRequest { domain })
            .await?;
        let CertificateReply { chain, key } = serde_json::from_slice(&reply)?;
        Ok(Certificate { chain, key })
    }

    pub(super) async fn close(&self) -> Result<(), Error> {
        if self.handle.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.handle.ask(Call::Close, &()).await.map(drop)
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
        let Rejoin { with_key, fresh } = how;
        let request = RejoinRequest { with_key, fresh };
        let task = tokio::spawn(async move { handle.ask(Call::Rejoin, &request).await });
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
pub(super) async fn blocking<T: Send + 'static>(
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
