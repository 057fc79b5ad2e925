//! The node by itself, without a gateway: what passes through a connection, and whose address it reports
//! for the other end.

use std::time::Duration;

use anyhow::{Context, ensure};
use iris::net::tailnet::{Accepted, Listener, Node, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::parts::until;
use crate::world::World;

pub const TESTS: &[support::harness::Test<World>] = support::tests![
    World;
    half_closes_resets_and_backpressure_pass,
    whois_tells_what_the_tailnet_knows,
];

/// A port of a node that nothing else uses.
const PORT: u16 = 7000;

/// A connection between two nodes: the dialled end, and the accepted one.
async fn pair(
    listener: &mut Listener,
    from: &Node,
    to: &str,
) -> anyhow::Result<(Stream, Accepted)> {
    let both =
        async { tokio::try_join!(from.dial(to, PORT), async { Ok(listener.accept().await?) }) };
    Ok(tokio::time::timeout(Duration::from_secs(30), both).await??)
}

async fn half_closes_resets_and_backpressure_pass(world: &World) -> anyhow::Result<()> {
    let mut listener = world.ci.listen(PORT).await?;

    // Each direction ends by itself.
    let (mut near, far) = pair(&mut listener, &world.alice, "ci-runner").await?;
    let mut far = far.stream;
    near.write_all(b"question").await?;
    near.shutdown().await?;
    let mut text = String::new();
    far.read_to_string(&mut text).await?;
    ensure!(text == "question", "{text}");
    far.write_all(b"answer after the end").await?;
    far.shutdown().await?;
    text.clear();
    near.read_to_string(&mut text).await?;
    ensure!(text == "answer after the end", "{text}");

    // A writer waits for its reader, in both directions.
    let (near, far) = pair(&mut listener, &world.alice, "ci-runner").await?;
    for (mut writer, mut reader) in [(near, far.stream), {
        let (near, far) = pair(&mut listener, &world.alice, "ci-runner").await?;
        (far.stream, near)
    }] {
        let piece = vec![7; 64 << 10];
        let mut written = 0_u64;
        while let Ok(result) =
            tokio::time::timeout(Duration::from_secs(1), writer.write_all(&piece)).await
        {
            result?;
            written += piece.len() as u64;
            ensure!(
                written < 64 << 20,
                "64 MiB fit into a connection that nobody reads"
            );
        }
        // What was taken is not lost.
        let all = tokio::spawn(async move {
            let mut buffer = vec![0; 64 << 10];
            let mut read = 0_u64;
            loop {
                match reader.read(&mut buffer).await {
                    Ok(0) => return Ok(read),
                    Ok(count) => read += count as u64,
                    Err(error) => return Err(error),
                }
            }
        });
        writer.write_all(&piece).await?;
        writer.shutdown().await?;
        let read = tokio::time::timeout(Duration::from_secs(30), all).await???;
        // The write that was given up on may have passed in part.
        ensure!(
            read >= written + piece.len() as u64,
            "{read} of {written} and more"
        );
    }

    // Dropping one end ends the other.
    let (near, far) = pair(&mut listener, &world.alice, "ci-runner").await?;
    let mut far = far.stream;
    drop(near);
    let gone = async {
        loop {
            if far.write_all(&[0; 1024]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone)
        .await
        .context("the reset did not pass")?;

    // A port that nobody listens on, and one that nobody listens on any more.
    ensure!(
        world.alice.dial("ci-runner", PORT + 1).await.is_err(),
        "a closed port is open"
    );
    drop(listener);
    until("the end of listening", 10, || async {
        ensure!(world.alice.dial("ci-runner", PORT).await.is_err());
        Ok(())
    })
    .await
}

async fn whois_tells_what_the_tailnet_knows(world: &World) -> anyhow::Result<()> {
    let mut listener = world.ci.listen(PORT + 2).await?;
    let (dialled, accepted) = tokio::try_join!(world.alice.dial("ci-runner", PORT + 2), async {
        Ok(listener.accept().await?)
    })?;
    drop(dialled);
    let ours = world.ci.status();
    ensure!(
        ours.addresses.contains(&accepted.destination.ip()),
        "{}",
        accepted.destination
    );
    ensure!(
        ours.dns_name.as_deref() == Some("ci-runner.tail.test"),
        "{ours:?}"
    );
    let who = world
        .ci
        .whois(accepted.source.ip())
        .await?
        .context("nobody")?;
    ensure!(
        who.node_name == "alice-laptop" && who.authorized && !who.expired,
        "{who:?}"
    );
    ensure!(who.user.context("no user")?.login == "alice");
    let own = world
        .alice
        .whois(*ours.addresses.first().context("no address")?)
        .await?;
    let own = own.context("nobody")?;
    ensure!(own.tags == ["tag:ci"] && own.user.is_none(), "{own:?}");
    for stranger in [
        "100.100.100.200",
        "127.0.0.1",
        "8.8.8.8",
        "fd7a:115c:a1e0::ffff",
    ] {
        let who = world.ci.whois(stranger.parse()?).await?;
        ensure!(who.is_none(), "{stranger} is {who:?}");
    }
    Ok(())
}
