//! Identity at the door: a caller who loses the right to call loses running requests too, in whichever way
//! that happens, and each of very many connections belongs to its own caller.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use http_body_util::BodyExt;
use iris::net::tailnet::Node;
use serde_json::{Value, json};

use crate::http::{Connection, post};
use crate::parts::until;
use crate::scenarios::{CHAT, chat, generation_ends, session};
use crate::world::{self, World};

pub const TESTS: &[support::harness::Test<World>] = support::tests![
    World;
    ten_thousand_connections_are_their_own_callers,
    whoever_may_no_longer_call_is_cut_off,
];

/// Withdrawing takes effect within this, the control server's part included.
const SOON: Duration = Duration::from_millis(1_500);
/// Connections of each burst, and how many of them wait at once.
const BURST: usize = 64;

/// Takes a device's right away; it is told the number that the control server knows it by.
type Withdraw = fn(&World, &str) -> anyhow::Result<()>;

/// A tagged device streams; then its right is withdrawn in one of the ways that there are. It is
/// cut off, the generation ends, and what was used is in the record.
async fn whoever_may_no_longer_call_is_cut_off(world: &World) -> anyhow::Result<()> {
    world.configure(true)?;
    let ways: [(&str, Withdraw); 4] = [
        ("expired", |world, id| world.headscale.expire(id)),
        ("deleted", |world, id| world.headscale.delete(id)),
        ("unreachable", |world, _| world.headscale.isolate("tag:ci")),
        ("ungranted", |world, _| world.configure(false)),
    ];
    let mut slow = Vec::new();
    for (name, withdraw) in ways {
        let took = cut_off(world, name, withdraw)
            .await
            .with_context(|| format!("a device that is {name}"))?;
        println!("a device that is {name} is cut off after {took:.0?}");
        if took > SOON {
            slow.push(name);
        }
        world.headscale.grant(true)?;
        world.configure(true)?;
    }
    world.configure(false)?;
    // A busy machine may be slow once.
    ensure!(slow.len() < 2, "later than {SOON:?}: {slow:?}");
    Ok(())
}

async fn cut_off(world: &World, name: &str, withdraw: Withdraw) -> anyhow::Result<Duration> {
    let key = world.headscale.tag_key("tag:ci")?;
    let node = world::node(&world.headscale.url, world.dir.path(), name, key).await?;
    let mut ai = until("an answer", 30, || async {
        let mut ai = Connection::from(&node, "ai").await?;
        let reply = ai.post(CHAT, chat(json!({ "max_tokens": 1 }))).await?;
        ensure!(reply.status == 200, "{reply:?}");
        Ok(ai)
    })
    .await?;
    // It runs on for as long as nobody reads it.
    let long = json!({ "stream": true, "max_tokens": 7_000, "ignore_eos": true });
    let session_name = format!("cut-{name}");
    let mut stream = ai
        .open(session(post(CHAT, chat(long))?, &session_name))
        .await?;
    let piece = stream.frame().await.context("the stream has ended")??;
    ensure!(piece.is_data());

    let id = world.headscale.id(name)?;
    let withdrawn = Instant::now();
    withdraw(world, &id)?;
    let record: Value = until("the end of the stream", 15, || async {
        let query = format!("session={session_name}");
        let rows = world.gateway.records(&query).await?;
        rows.into_iter().next().context("no record yet")
    })
    .await?;
    let took = withdrawn.elapsed();
    ensure!(record["outcome"] == "refused", "{record}");
    ensure!(
        record["usage"]["output_tokens"].as_u64() > Some(0),
        "{record}"
    );
    generation_ends(world).await?;
    node.close().await?;
    Ok(took)
}

/// Ten thousand connections of three callers, many of them at once and some left before they are
/// accepted: none is taken for another's.
async fn ten_thousand_connections_are_their_own_callers(world: &World) -> anyhow::Result<()> {
    let count = std::env::var("IRIS_IDENTITY_CONNECTIONS").ok();
    let count: usize = count.and_then(|count| count.parse().ok()).unwrap_or(10_000);
    let callers: [(&Node, &str); 3] = [
        (&world.alice, "alice"),
        (&world.bob, "bob"),
        (&world.ci, "access denied"),
    ];
    let all = (0..count).map(|nth| {
        let (node, name) = callers[nth % callers.len()];
        async move {
            if nth % 7 == 0 {
                drop(node.dial("ai", 80).await?);
            }
            let mut ai = Connection::from(node, "ai").await?;
            for _ in 0..3 {
                let text = ai.get("/api/whoami").await?.text();
                ensure!(text.contains(name), "{name} is told {text}");
            }
            Ok(())
        }
    });
    stream::iter(all)
        .buffer_unordered(BURST)
        .try_collect::<()>()
        .await
}
