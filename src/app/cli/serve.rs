//! `iris serve`.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use futures_util::future::select_all;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Places, log, progress, status_line};
use crate::app::systemd::Service;
use crate::app::{self, Options};
use crate::base::output;

/// Run the gateway. Without a configuration it serves local callers only, and offers them
/// the model servers that it finds on this machine.
#[derive(Args)]
pub(super) struct Serve {
    #[command(flatten)]
    places: Places,
}

impl Serve {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let terminal = std::io::stdout().is_terminal();
        without_cores();
        if terminal {
            output::start_screen().context("the terminal can't be written to")?;
        }
        // The progress says how the node joins.
        log::start(if terminal {
            "info,iris::app::doors=error"
        } else {
            "info"
        })?;
        let config = self.places.config();
        let service = Service::take()?;
        let manager = service.manager.clone();
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
        let runtime = runtime()?;
        let code = runtime.block_on(async {
            let stopped = stopped();
            tokio::pin!(stopped);
            // A start can wait for its database.
            let running = tokio::select! {
                biased;
                stopped = &mut stopped => return stopped.map(|()| ExitCode::SUCCESS).map_err(Into::into),
                running = app::start_under(service, &options) => running?,
            };
            manager.ready();
            let progress = async {
                if terminal {
                    progress::show(&running).await;
                } else {
                    status_line::follow(&running, &manager).await;
                }
            };
            tokio::select! {
                // First, so that Ctrl-C works as soon as it is mentioned.
                biased;
                stopped = &mut stopped => stopped?,
                () = progress => {}
            }
            manager.stopping();
            running.stop().await?;
            Ok(ExitCode::SUCCESS)
        });
        // A start that has been given up may still wait for an answer of the database.
        runtime.shutdown_background();
        code
    }
}

/// Keeps the process's memory, and with it every key, out of files and other processes' reach. A
/// limit alone would not hold where cores are piped to a program.
pub(super) fn without_cores() {
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

pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("no async runtime")
}

/// Waits for SIGINT or SIGTERM. A second one ends the process at once, for those who do not
/// want to wait for running requests.
async fn stopped() -> std::io::Result<()> {
    let mut end = End::on(&[SignalKind::interrupt(), SignalKind::terminate()])?;
    end.wait().await;
    tracing::info!("stopping; running requests may end");
    tokio::spawn(async move {
        end.wait().await;
        std::process::exit(130);
    });
    Ok(())
}

/// Signals that end a command.
pub(super) struct End(Vec<Signal>);

impl End {
    pub(super) fn on(kinds: &[SignalKind]) -> std::io::Result<Self> {
        kinds
            .iter()
            .map(|kind| signal(*kind))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    pub(super) async fn wait(&mut self) {
        let signals = self.0.iter_mut().map(|signal| Box::pin(signal.recv()));
        select_all(signals).await;
    }
}
