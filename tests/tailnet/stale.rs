//! A node that hears nothing of the control server for longer than the configuration allows.

use std::time::Duration;

use anyhow::ensure;

use crate::headscale::Headscale;
use crate::http::Connection;
use crate::life::{Another, answers, with};
use crate::world::{World, node};

pub const TESTS: &[support::harness::Test<World>] =
    support::tests![World; callers_are_refused_once_the_map_is_too_old];

/// Asks on one open connection until the answer has this status, and says something.
async fn becomes(open: &mut Connection, status: u16, says: &str) -> anyhow::Result<()> {
    let end = std::time::Instant::now() + Duration::from_mins(1);
    loop {
        let reply = open.get("/api/whoami").await?;
        if reply.status == status && reply.text().contains(says) {
            return Ok(());
        }
        ensure!(std::time::Instant::now() < end, "{status}: {reply:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A map that is older than the configuration allows: callers are refused, as it says, until the
/// control server is heard again.
async fn callers_are_refused_once_the_map_is_too_old(world: &World) -> anyhow::Result<()> {
    let parts = &world.parts;
    let dir = world.dir.path().join("stale");
    let mut headscale = Headscale::start(parts, &dir).await?;
    let mut one = Another::new(world, "stale-ai")?.on(world, &headscale);
    let plain = one.text.clone();
    one.text = with(&plain, "stale-ai", "\"stale_after\": \"3s\",");
    let gateway = one.start(&headscale.tag_key("tag:ai")?).await?;
    one.joined().await?;
    let url = headscale.url.clone();
    let alice = node(&url, &dir, "alice-stale", headscale.user_key("1")?).await?;
    let bob = node(&url, &dir, "bob-stale", headscale.user_key("2")?).await?;
    for node in [&alice, &bob] {
        answers(node, "stale-ai").await?;
    }
    // On connections that are open: the relay ends with the control server.
    let mut alice = Connection::from(&alice, "stale-ai").await?;
    let mut bob = Connection::from(&bob, "stale-ai").await?;
    becomes(&mut alice, 200, "alice").await?;
    becomes(&mut bob, 200, "bob").await?;
    headscale.end().await?;
    becomes(&mut alice, 503, "tailnet.stale_after").await?;
    becomes(&mut bob, 503, "tailnet.stale_after").await?;
    ensure!(
        one.get("/api/whoami").await?.status == 200,
        "loopback is refused"
    );
    let ready = one.get("/readyz").await?;
    ensure!(
        ready.status == 503 && ready.text().contains("stale_after"),
        "{ready:?}"
    );
    let message = one.alert("tailnet_stale", 60).await?;
    ensure!(message.contains("are refused"), "{message}");
    // Alice's grant is in the tailnet policy, Bob's in the configuration.
    let policy = "\"stale_after\": \"3s\", \"stale_refuses\": \"policy\",";
    std::fs::write(&gateway.config, with(&plain, "stale-ai", policy))?;
    becomes(&mut bob, 200, "bob").await?;
    becomes(&mut alice, 403, "").await?;
    std::fs::write(&gateway.config, &plain)?;
    becomes(&mut alice, 200, "alice").await?;
    std::fs::write(&gateway.config, &one.text)?;
    becomes(&mut alice, 503, "tailnet.stale_after").await?;
    headscale.start_again().await?;
    becomes(&mut alice, 200, "alice").await?;
    becomes(&mut bob, 200, "bob").await
}
