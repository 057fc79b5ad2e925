//! Changes while the gateway runs: of grants in the tailnet policy, and of its own configuration.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use http_body_util::BodyExt;
use serde_json::json;

use crate::headscale::Headscale;
use crate::http::{Connection, post};
use crate::parts::until;
use crate::scenarios::{CHAT, chat, record, session};
use crate::world::World;

pub const TESTS: &[support::harness::Test<World>] = support::tests![
    World;
    a_withdrawn_grant_takes_effect_within_a_second,
    a_withdrawn_grant_cuts_a_stream,
    a_new_configuration_takes_effect_under_load,
    budgets_guards_and_hooks_of_the_policy_act,
    the_control_server_may_be_away,
];

/// How soon a change must be felt.
const SOON: Duration = Duration::from_secs(1);

/// Asks on one open connection until the answer has this status.
async fn becomes(open: &mut Connection, status: u16) -> anyhow::Result<()> {
    let until = Instant::now() + 10 * SOON;
    loop {
        let reply = open.post(CHAT, chat(json!({ "max_tokens": 1 }))).await?;
        if reply.status == status {
            return Ok(());
        }
        ensure!(Instant::now() < until, "still {reply:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Withdraws alice's grant and gives it back, three times; the connection is hers and was open
/// before. The median counts: a busy machine may be slow once.
pub async fn withdrawal_is_felt_soon(
    headscale: &Headscale,
    open: &mut Connection,
) -> anyhow::Result<()> {
    let mut felt = Vec::new();
    for _ in 0..3 {
        headscale.grant(false)?;
        let withdrawn = Instant::now();
        becomes(open, 403).await?;
        felt.push(withdrawn.elapsed());
        headscale.grant(true)?;
        becomes(open, 200).await?;
    }
    felt.sort();
    ensure!(felt[1] < SOON, "the refusals came after {felt:?}");
    Ok(())
}

async fn a_withdrawn_grant_takes_effect_within_a_second(world: &World) -> anyhow::Result<()> {
    let mut open = Connection::from(&world.alice, "ai").await?;
    ensure!(open.post(CHAT, chat(json!({}))).await?.status == 200);
    withdrawal_is_felt_soon(&world.headscale, &mut open).await
}

async fn a_withdrawn_grant_cuts_a_stream(world: &World) -> anyhow::Result<()> {
    // The stream runs on because its reader is slow.
    let mut streaming = Connection::from(&world.alice, "ai").await?;
    let long = json!({ "stream": true, "max_tokens": 7_000, "ignore_eos": true });
    let mut stream = streaming
        .open(session(post(CHAT, chat(long))?, "cut"))
        .await?;
    ensure!(stream.status() == 200);
    let piece = stream.frame().await.context("the stream has ended")??;
    ensure!(piece.is_data());

    world.headscale.grant(false)?;
    let mut other = Connection::from(&world.alice, "ai").await?;
    becomes(&mut other, 403).await?;
    let rest = tokio::time::timeout(SOON, async {
        let mut text = String::new();
        while let Some(frame) = stream.frame().await {
            match frame {
                Ok(frame) => {
                    let data = frame.data_ref().map_or(&[][..], |data| data);
                    text.push_str(&String::from_utf8_lossy(data));
                }
                // Nobody must take the answer for whole.
                Err(_) => return Some(text),
            }
        }
        None
    });
    let rest = rest.await.context("the stream was not cut")?;
    let rest = rest.context("the stream ended as if it were whole")?;
    ensure!(
        rest.contains("\"error\""),
        "no error event in the end of the stream"
    );
    let record = record(world, "cut").await?;
    ensure!(record["outcome"] == "refused", "{record}");
    world.headscale.grant(true)?;
    becomes(&mut other, 200).await
}

/// The control server hangs for a while: who is known goes on as before, on connections that are
/// open and on new ones, and what changes meanwhile is felt afterwards.
async fn the_control_server_may_be_away(world: &World) -> anyhow::Result<()> {
    let mut open = Connection::from(&world.alice, "ai").await?;
    let one = || chat(json!({ "max_tokens": 1 }));
    ensure!(open.post(CHAT, one()).await?.status == 200);
    world.headscale.signal("STOP")?;
    let away = async {
        let until = Instant::now() + 20 * SOON;
        let mut asked = 0;
        while Instant::now() < until {
            let reply = open.post(CHAT, one()).await?;
            ensure!(reply.status == 200, "after {asked} requests: {reply:?}");
            let mut new = Connection::from(&world.alice, "ai").await?;
            let reply = new.post(CHAT, one()).await?;
            ensure!(reply.status == 200, "on a new connection: {reply:?}");
            asked += 2;
        }
        Ok(asked)
    }
    .await;
    world.headscale.signal("CONT")?;
    let asked: u32 = away?;
    ensure!(asked > 20, "only {asked} requests");
    withdrawal_is_felt_soon(&world.headscale, &mut open).await
}

async fn a_new_configuration_takes_effect_under_load(world: &World) -> anyhow::Result<()> {
    let (stop, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let load = async || -> anyhow::Result<()> {
        let mut ai = Connection::from(&world.alice, "ai").await?;
        while !stop.load(Ordering::Relaxed) {
            let reply = ai.post(CHAT, chat(json!({ "max_tokens": 5 }))).await?;
            ensure!(reply.status == 200, "under load: {reply:?}");
            asked.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    let edit = async {
        let result = edits(world).await;
        stop.store(true, Ordering::Relaxed);
        result
    };
    let (edited, one, two, three) = tokio::join!(edit, load(), load(), load());
    edited?;
    one.and(two).and(three)?;
    ensure!(asked.load(Ordering::Relaxed) > 20, "there was no load");
    Ok(())
}

async fn edits(world: &World) -> anyhow::Result<()> {
    let mut ci = Connection::from(&world.ci, "ai").await?;
    for granted in [true, false, true, false] {
        let expected = if granted { 200 } else { 403 };
        world.configure(granted)?;
        let edited = Instant::now();
        loop {
            // When it was sent counts: its answer takes long under load.
            let sent = edited.elapsed();
            let reply = ci.post(CHAT, chat(json!({ "max_tokens": 5 }))).await?;
            if reply.status == expected {
                break;
            }
            ensure!(sent < SOON, "still {} after {sent:?}", reply.status);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    // A broken file changes nothing.
    world.configure(true)?;
    becomes(&mut ci, 200).await?;
    std::fs::write(&world.gateway.config, "{ \"providers\": ")?;
    world.gateway.process.signal("HUP")?;
    until("the finding", 10, || async {
        let log = world.gateway.process.log();
        ensure!(log.contains("stays in force"), "{log}");
        Ok(())
    })
    .await?;
    let reply = ci.post(CHAT, chat(json!({ "max_tokens": 5 }))).await?;
    ensure!(reply.status == 200, "{reply:?}");
    world.configure(false)
}

/// What the tailnet policy grants acts as what the file grants: budgets, guards and hooks.
async fn budgets_guards_and_hooks_of_the_policy_act(world: &World) -> anyhow::Result<()> {
    world.headscale.give(&json!([
        { "role": "user" },
        { "models": "private/**", "quotas": [{ "bucket": "policy:<user>" }], "guards": ["words"],
          "send_hooks": [{ "name": "told", "events": ["entire_request"], "send": ["user_message"] }] },
    ]))?;
    let mut ai = Connection::from(&world.alice, "ai").await?;
    let said = |text: &str| {
        let messages = json!([{ "role": "user", "content": text }]);
        chat(json!({ "messages": messages, "max_tokens": 5 }))
    };
    let until = Instant::now() + 10 * SOON;
    while ai.post(CHAT, said("this is FORBIDDEN")).await?.status != 403 {
        ensure!(
            Instant::now() < until,
            "the guard of the policy does not act"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Whatever passed before the policy was in force is not counted by its bucket.
    let told = world.hooks.try_clone()?;
    let told = tokio::task::spawn_blocking(move || tell(&told));
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(ai.post(CHAT, said("hello")).await?.status);
    }
    ensure!(statuses == [200, 200, 429], "{statuses:?}");
    let told = tokio::time::timeout(10 * SOON, told).await;
    let told = told.context("the hook of the policy is not told")???;
    ensure!(told.contains("\"user_message\":\"hello\""), "{told}");
    ensure!(told.contains("\"login_name\":\"alice"), "{told}");
    world.headscale.grant(true)?;
    becomes(&mut ai, 200).await
}

/// The first thing that a hook is told.
fn tell(hooks: &std::net::TcpListener) -> anyhow::Result<String> {
    use std::io::{Read, Write};
    let (mut stream, _) = hooks.accept()?;
    stream.set_read_timeout(Some(10 * SOON))?;
    let mut text = String::new();
    while !text.contains("\"metadata\"") || !text.trim_end().ends_with('}') {
        let mut piece = [0; 4096];
        let read = stream.read(&mut piece)?;
        ensure!(read > 0, "the gateway hung up: {text}");
        text.push_str(&String::from_utf8_lossy(&piece[..read]));
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")?;
    Ok(text)
}
