//! `iris demo`.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::SignalKind;

use super::serve::{End, runtime, without_cores};
use super::{log, print, quoted};
use crate::app::demo::{self, Network, Provider, Tour, plain};
use crate::app::{self, Options, Running};
use crate::base::clock::within;
use crate::base::output;
use crate::client::discovery;
use crate::net::client::{Client, Timeouts};

/// For the gateway's node to come up.
const PATIENCE: Duration = Duration::from_mins(1);
/// For running requests and the nodes, once the demo ends.
const STOP: Duration = Duration::from_secs(3);
/// Between two looks whether the tour is written.
const GLANCE: Duration = Duration::from_millis(50);
/// For model servers on this machine.
const LOOK: Duration = Duration::from_secs(2);

/// Try Iris on a tailnet that exists only in this process: the gateway, two people's devices and a
/// model server. It needs no account, no key and no network, and leaves nothing behind.
#[derive(Args)]
pub(super) struct Demo {
    /// Leave the tailnet out: a gateway and a provider on loopback.
    #[arg(long)]
    plain: bool,
    /// Where the plain demo listens, a loopback address [default: 127.0.0.1:8088, or a free port
    /// if that is taken].
    #[arg(long, value_name = "ADDRESS", requires = "plain")]
    listen: Option<SocketAddr>,
}

impl Demo {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        if let Some(listen) = self.listen {
            anyhow::ensure!(
                listen.ip().is_loopback(),
                "--listen {listen}: the demo lets in everyone who reaches it, so it listens on \
                 loopback only, such as 127.0.0.1:8088"
            );
        }
        // First, because the program may have been started with signals ignored, as by a shell in the
        // background: only a handler changes that.
        let runtime = runtime()?;
        let kinds = [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        ];
        let mut end = runtime.block_on(async { End::on(&kinds) })?;
        without_cores();
        output::start_screen().context("the terminal can't be written to")?;
        let is_plain = self.plain || !cfg!(feature = "tailnet");
        // A line for each request would bury the tour.
        log::start(if is_plain { "info" } else { "warn" })?;
        let dir = TemporaryDir::new()?;
        let outcome = runtime.block_on(async {
            if is_plain {
                self.plain(dir.path(), &mut end).await
            } else {
                on_tailnet(dir.path(), &mut end).await
            }
        });
        // Calls into the node may still run. They end with the process.
        runtime.shutdown_timeout(STOP);
        drop(dir);
        outcome?;
        print("The demo has ended, and its data is removed.\n");
        Ok(ExitCode::SUCCESS)
    }

    async fn plain(&self, dir: &Path, end: &mut End) -> anyhow::Result<()> {
        let listen = match self.listen {
            Some(listen) => bound(listen)?,
            None => free_address()?,
        };
        let provider = Provider::start().await?;
        let text = plain::configuration(provider.address(), listen);
        let (running, config) = start(dir, &text).await?;
        let mut shown = plain_welcome(running.loopback().unwrap_or(listen), &config);
        if !self.plain {
            let why = "This build has no tailnet node, so the demo leaves the tailnet out.";
            shown.insert_str(0, &format!("\n{why}\n"));
        }
        show(shown, end).await;
        within(STOP, running.stop()).await.unwrap_or(Ok(()))
    }
}

/// The demo proper.
async fn on_tailnet(dir: &Path, end: &mut End) -> anyhow::Result<()> {
    let upstream = Client::new(None, Timeouts::all(LOOK));
    let started = async {
        let found = discovery::here(&upstream, &[]);
        let (network, found) = tokio::join!(Network::start(dir), found);
        let network = network
            .context("the demo's tailnet didn't start; `iris demo --plain` leaves it out")?;
        let (running, config) = start(dir, &network.configuration(&found)).await?;
        let mut served = running.served();
        let answers = served.wait_for(|served| served.iter().any(|one| one.tailnet));
        within(PATIENCE, answers)
            .await
            .context("the gateway's node didn't come up")??;
        network.met().await?;
        anyhow::Ok((network, running, config, found))
    };
    let (network, running, config, found) = tokio::select! {
        biased;
        () = end.wait() => return Ok(()),
        started = started => started?,
    };
    let tour = demo::tour(&Tour {
        network: &network,
        found: &found,
        policy: &word(network.policy()),
        config: &config,
        program: &program(),
    });
    let text = format!("{tour}Ctrl-C ends the demo and removes its data.\n\n");
    show(text, end).await;
    let stopped = async { tokio::join!(running.stop(), network.stop()).0 };
    within(STOP, stopped).await.unwrap_or(Ok(()))
}

/// Prints the tour, and waits for the end of the demo. A tour that can't be written ends it.
async fn show(text: String, end: &mut End) {
    let Some(screen) = output::screen() else {
        return;
    };
    screen.put(text.into_bytes());
    let is_lost = async {
        while screen.is_busy() {
            tokio::time::sleep(GLANCE).await;
        }
        if screen.loss().dropped == 0 {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = end.wait() => {}
        () = is_lost => {}
    }
}

/// Starts a gateway with this configuration.
async fn start(dir: &Path, text: &str) -> anyhow::Result<(Running, PathBuf)> {
    let config = dir.join("iris.hujson");
    std::fs::write(&config, text)
        .with_context(|| format!("{} can't be written", config.display()))?;
    let options = Options {
        config: Some(config.clone()),
        state_dir: dir.join("state"),
    };
    Ok((app::start(&options).await?, config))
}

fn plain_welcome(address: SocketAddr, config: &Path) -> String {
    format!(
        r"{tour}
In a terminal:

  {program} status --sessions --url http://{address}

The configuration is {config}; change it and it takes effect at once.
Ctrl-C ends the demo and removes its data.

",
        tour = plain::tour(address),
        program = program(),
        config = config.display()
    )
}

/// This program as a word for a shell: `iris` where that is what the shell would run.
fn program() -> String {
    let Ok(own) = std::env::current_exe() else {
        return "iris".to_owned();
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path)
        .map(|dir| dir.join("iris"))
        .find_map(|program| program.canonicalize().ok());
    if installed.is_some_and(|installed| own.canonicalize().is_ok_and(|own| own == installed)) {
        return "iris".to_owned();
    }
    let here = std::env::current_dir().ok();
    let below = here.and_then(|here| Some(Path::new(".").join(own.strip_prefix(here).ok()?)));
    word(&below.unwrap_or(own))
}

/// A path as a word for a shell.
fn word(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

/// A port that was asked for, or why it can't be had.
fn bound(listen: SocketAddr) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(listen).with_context(|| {
        format!("--listen {listen} can't be had; name another port, or none for a free one")
    })?;
    Ok(listener.local_addr()?)
}

/// The usual address, or a free one if it is taken.
fn free_address() -> anyhow::Result<SocketAddr> {
    let usual = TcpListener::bind(app::LOOPBACK);
    let listener = usual.or_else(|_| TcpListener::bind("127.0.0.1:0"))?;
    Ok(listener.local_addr()?)
}

/// A folder that goes away with the demo.
struct TemporaryDir(PathBuf);

impl TemporaryDir {
    fn new() -> anyhow::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let mut random = [0; 8];
        getrandom::fill(&mut random)
            .map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
        let name = format!("iris-demo-{:016x}", u64::from_ne_bytes(random));
        // The tour names files in it, to be typed in another folder.
        let path = std::path::absolute(std::env::temp_dir().join(name))?;
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| {
            let path = path.display();
            format!("the demo's folder {path} can't be made; set TMPDIR to a folder with room")
        })?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryDir {
    #[expect(
        clippy::disallowed_methods,
        reason = "the runtime has ended, and this is the last thing that the process does"
    )]
    fn drop(&mut self) {
        // A node that is still closing may write something meanwhile.
        for wait in [0, 50, 100, 200, 400, 800] {
            std::thread::sleep(Duration::from_millis(wait));
            if std::fs::remove_dir_all(&self.0).is_ok() {
                return;
            }
        }
        let path = self.0.display();
        tracing::warn!("the demo's folder {path} stays: it can't be removed");
    }
}
