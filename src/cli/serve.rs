//! `iris serve` and `iris demo`.

use std::io::IsTerminal;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::{Places, log, print, progress, status_line};
use crate::demo;
use crate::server::{self, Options};
use crate::service::Service;

/// Run the gateway. Without a configuration it serves local callers only, and offers them
/// the model servers that it finds on this machine.
#[derive(Args)]
pub(super) struct Serve {
    #[command(flatten)]
    places: Places,
}

/// Run everything on loopback: a gateway, and a provider that repeats what it is sent.
#[derive(Args)]
pub(super) struct Demo {
    /// Where to listen [default: 127.0.0.1:8088, or a free port if that is taken].
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
}

impl Serve {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let terminal = std::io::stdout().is_terminal();
        without_cores();
        if terminal {
            log::start_beside_progress();
        } else {
            log::start();
        }
        let config = self.places.config();
        let service = Service::take()?;
        let manager = service.manager().clone();
        if let Some(path) = &config {
            tracing::info!("configuration: {}", path.display());
        } else {
            tracing::info!(
                "no configuration, which `iris init` would write: serving local callers only, with the model servers found on this machine"
            );
        }
        let options = Options {
            config,
            state_dir: self.places.state_dir(),
        };
        runtime()?.block_on(async {
            let running = server::start_under(service, &options).await?;
            manager.ready();
            let progress = async {
                if terminal {
                    progress::show(&running).await;
                } else {
                    status_line::follow(&running, &manager).await;
                }
            };
            tokio::select! {
                // First, so that whoever is told of Ctrl-C can use it.
                biased;
                stopped = stopped() => stopped?,
                () = progress => {}
            }
            manager.stopping();
            running.stop().await?;
            Ok(ExitCode::SUCCESS)
        })
    }
}

impl Demo {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        without_cores();
        log::start();
        runtime()?.block_on(async {
            let dir = TemporaryDir::new()?;
            let listen = self.listen.map_or_else(free_address, Ok)?;
            let provider = demo::Provider::start().await?;
            let config = dir.path().join("iris.hujson");
            std::fs::write(&config, demo::configuration(provider.address(), listen))?;
            let options = Options {
                config: Some(config.clone()),
                state_dir: dir.path().to_owned(),
            };
            let running = server::start(&options).await?;
            print(&welcome(running.loopback().unwrap_or(listen), &config));
            stopped().await?;
            running.stop().await?;
            Ok(ExitCode::SUCCESS)
        })
    }
}

fn welcome(address: SocketAddr, config: &Path) -> String {
    format!(
        r"{tour}
In a terminal:

  iris status --sessions --url http://{address}

The configuration is {config}; change it and it takes effect at once.
Ctrl-C ends the demo and removes its data.

",
        tour = demo::tour(address),
        config = config.display()
    )
}

/// Keeps the process's memory, and with it every key, out of files and other processes' reach. A
/// limit alone would not hold where cores are piped to a program.
fn without_cores() {
    use rustix::process;
    let none = process::Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    // Where it can't be had, the gateway serves all the same.
    let _ = process::setrlimit(process::Resource::Core, none);
    #[cfg(target_os = "linux")]
    let _ = process::set_dumpable_behavior(process::DumpableBehavior::NotDumpable);
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("no async runtime")
}

/// Waits for SIGINT or SIGTERM. A second one ends the process at once, for those who do not
/// want to wait for running requests.
async fn stopped() -> std::io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    tracing::info!("stopping; running requests may end");
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        std::process::exit(130);
    });
    Ok(())
}

/// The usual address, or a free one if it is taken.
fn free_address() -> anyhow::Result<SocketAddr> {
    let usual = TcpListener::bind(server::LOOPBACK);
    let listener = usual.or_else(|_| TcpListener::bind("127.0.0.1:0"))?;
    Ok(listener.local_addr()?)
}

/// A folder that goes away with the demo.
struct TemporaryDir(std::path::PathBuf);

impl TemporaryDir {
    fn new() -> anyhow::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let mut random = [0; 8];
        getrandom::fill(&mut random)
            .map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
        let name = format!("iris-demo-{:016x}", u64::from_ne_bytes(random));
        let path = std::env::temp_dir().join(name);
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryDir {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, "the demo's folder {} stays", self.0.display());
        }
    }
}
