//! The units of systemd, run by systemd itself: a process that is killed or hangs is started again, and
//! the next process serves the requests that came in the meantime.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::json;

use crate::client::Client;
use crate::iris;
use support::machine::Machine;

pub const TESTS: &[support::harness::Test<()>] =
    support::tests![what_is_killed_or_hangs_is_started_again,];

/// The longest that anything here may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

async fn what_is_killed_or_hangs_is_started_again() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let address = iris::free_address()?;
    let write = |name: &str, text: &str| {
        let path = dir.path().join("units").join(name);
        std::fs::create_dir_all(path.parent().context("a folder")?)?;
        anyhow::Ok(std::fs::write(path, text)?)
    };
    let project = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let socket = std::fs::read_to_string(project.join("config/iris.socket"))?;
    let here = socket.replace("127.0.0.1:8088", &address.to_string());
    ensure!(here != socket, "the socket listens elsewhere");
    write("iris.socket", &here)?;
    write(
        "iris.service.d/soon.conf",
        "[Service]\nWatchdogSec=2\nTimeoutAbortSec=1\n",
    )?;
    let config = json!({
        "tailnet": { "mode": "off" },
        "listen": { "loopback": address.to_string() },
        "grants": [{ "src": ["(loopback)"],
            "app": { "tailscale.com/cap/aperture": [{ "role": "admin" }] } }],
    });
    let program = support::iris();
    let Some(machine) = Machine::start(dir.path(), &program, &config.to_string()).await? else {
        return Ok(());
    };
    lives(&machine, address)
        .await
        .with_context(|| machine.log())
}

async fn lives(machine: &Machine, address: SocketAddr) -> anyhow::Result<()> {
    served(address).await?;
    until("the state", || {
        let state = machine.show("StatusText,SubState")?;
        let expected = format!("serving http://{address} running");
        ensure!(state == expected, "{state}");
        Ok(())
    })
    .await?;
    let mut told = Vec::new();
    for signal in ["ABRT", "KILL", "STOP"] {
        let took = again(machine, address, || {
            machine.run(&["systemctl", "kill", "--signal", signal, "iris"])
        });
        let took = took.await.with_context(|| format!("SIG{signal}"))?;
        told.push(format!("{took:.1?} after SIG{signal}"));
    }
    // An accept loop that hangs, beside a runtime that turns.
    let hang = "IRIS_PANIC=accept:5:hang";
    machine.run(&["systemctl", "set-environment", hang])?;
    machine.run(&["systemctl", "restart", "iris"])?;
    machine.run(&["systemctl", "unset-environment", "IRIS_PANIC"])?;
    let took = again(machine, address, || {
        let connect = || std::net::TcpStream::connect(address);
        Ok((0..5).map(|_| connect()).collect::<Vec<_>>())
    });
    let took = took.await.context("a hang")?;
    told.push(format!("{took:.1?} after its accept loop hung"));
    println!("  answered again {}", told.join(", "));
    restarts(machine, address).await?;
    // A reload says what came of it.
    machine.run(&["sh", "-c", "echo '{' >/var/lib/iris/iris.hujson"])?;
    machine.run(&["systemctl", "reload", "iris"])?;
    until("what came of the reload", || {
        let state = machine.show("StatusText,SubState")?;
        ensure!(
            state.ends_with("has errors, the previous one is in use running"),
            "{state}"
        );
        Ok(())
    })
    .await?;
    machine.run(&["systemctl", "stop", "iris.socket", "iris"])?;
    let ended = machine.show("Result")?;
    ensure!(ended == "success", "{ended}");
    Ok(())
}

/// How long it takes after `end` until another process answers. The caller waits in the queue of
/// the socket; it isn't refused.
async fn again<T>(
    machine: &Machine,
    address: SocketAddr,
    end: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<Duration> {
    let before = machine.show("MainPID")?;
    let restarts: u32 = machine.show("NRestarts")?.parse()?;
    let ended = Instant::now();
    let _kept = end()?;
    until("another process", || {
        let now = machine.show("MainPID")?;
        ensure!(now != before && now != "0", "{now} as before");
        Ok(())
    })
    .await?;
    served(address).await?;
    let took = ended.elapsed();
    let now: u32 = machine.show("NRestarts")?.parse()?;
    ensure!(now == restarts + 1, "{now} restarts, {restarts} before");
    Ok(took)
}

/// `systemctl restart`, as after an update, under constant requests.
async fn restarts(machine: &Machine, address: SocketAddr) -> anyhow::Result<()> {
    let (stop, asked) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let reply = Client::new(address).get("/healthz").await?;
                    ensure!(reply.status == 200, "{}", reply.text());
                    asked.fetch_add(1, Ordering::Relaxed);
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let done = machine.run(&["systemctl", "restart", "iris"])?;
        ensure!(done.status.success(), "{done:?}");
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await??;
    }
    let asked = asked.load(Ordering::Relaxed);
    println!("  3 restarts by systemctl: {asked} connections, 0 refused, 0 failed");
    Ok(())
}

pub async fn served(address: SocketAddr) -> anyhow::Result<()> {
    let since = Instant::now();
    loop {
        let reply = Client::new(address).get("/healthz").await;
        match reply {
            Ok(reply) if reply.status == 200 => return Ok(()),
            _ if since.elapsed() < PATIENCE => {}
            reply => return reply.map(drop).context("nobody answers"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn until(what: &str, check: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let since = Instant::now();
    while let Err(error) = check() {
        ensure!(since.elapsed() < PATIENCE, "{what}: {error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
