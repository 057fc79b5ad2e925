//! The embedded node.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::watch;

use super::ffi::{self, Call};
use super::{Certificate, Error, Listener, Options, State, Status, Stream, WhoIs};

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
    silence_ms: u64,
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
    pub(super) async fn open(options: Options) -> Result<Self, Error> {
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
            verbose: tracing::enabled!(target: "iris::tailnet", tracing::Level::TRACE),
        })?;
        let (number, _) = blocking(move || ffi::open(Call::Open, &request)).await?;
        let handle = Arc::new(Handle {
            number,
            closed: AtomicBool::new(false),
        });
        let lines = unix_stream(handle.socket(Call::Watch, &()).await?)?;
        let (sender, status) = watch::channel(Status::default());
        tokio::spawn(follow(lines, sender));
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

    pub(super) async fn dial(
        &self,
        host: &str,
        port: u16,
        silence: Duration,
    ) -> Result<Stream, Error> {
        let request = DialRequest {
            host,
            port,
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

/// Passes on each status until the node closes.
async fn follow(lines: UnixStream, sender: watch::Sender<Status>) {
    let mut lines = BufReader::new(lines).lines();
    loop {
        match lines.next_line().await {
            Ok(Some(line)) => match serde_json::from_str(&line) {
                Ok(status) => drop(sender.send_replace(status)),
                Err(error) => tracing::warn!(%error, "a tailnet status that can't be read"),
            },
            Ok(None) => break,
            Err(error) => {
                tracing::warn!(%error, "the tailnet node reports no more");
                break;
            }
        }
    }
    sender.send_modify(|status| {
        status.state = State::Stopped;
        status.epoch += 1;
    });
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
