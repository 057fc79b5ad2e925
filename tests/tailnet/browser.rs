//! Browsers of people on the tailnet: each goes through a node of its own, and is known by it.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use iris::net::tailnet::Node;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::http::Connection;
use crate::parts::until;
use crate::world::{CAPABILITY, World};
use support::browser::Browser;

pub const TESTS: &[support::harness::Test<World>] = support::tests![
    World;
    people_in_browsers_are_known_and_safe,
];

/// A SOCKS proxy (RFC 1928) into the tailnet. Names are resolved by the node, as they are on a
/// device; all but the gateway's port 80 is on this machine.
struct Proxy {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Proxy {
    async fn through(node: &Node) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let node = node.clone();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let node = node.clone();
                // A browser drops connections as it likes.
                tokio::spawn(async move { serve(stream, &node).await });
            }
        });
        Ok(Self { address, serving })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(mut browser: TcpStream, node: &Node) -> anyhow::Result<()> {
    browser.set_nodelay(true)?;
    let mut head = [0; 2];
    browser.read_exact(&mut head).await?;
    let mut methods = vec![0; head[1].into()];
    browser.read_exact(&mut methods).await?;
    browser.write_all(&[5, 0]).await?;
    let mut asked = [0; 5];
    browser.read_exact(&mut asked).await?;
    ensure!(asked[..4] == [5, 1, 0, 3], "{asked:?} asks for no name");
    let mut name = vec![0; asked[4].into()];
    browser.read_exact(&mut name).await?;
    let name = String::from_utf8(name)?;
    let port = browser.read_u16().await?;
    let done = [5, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    if (name.as_str(), port) == ("ai", 80) {
        let mut gateway = node.dial(&name, port).await?;
        browser.write_all(&done).await?;
        copy_bidirectional(&mut browser, &mut gateway).await?;
    } else {
        let mut other = TcpStream::connect(("127.0.0.1", port)).await?;
        browser.write_all(&done).await?;
        copy_bidirectional(&mut browser, &mut other).await?;
    }
    Ok(())
}

/// Makes bob an admin, until the configuration is written again.
async fn admin(world: &World) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(&world.gateway.config)?;
    let user =
        format!(r#"{{ "src": ["bob"], "app": {{ "{CAPABILITY}": [{{ "role": "user" }}] }} }}"#);
    ensure!(text.contains(&user), "bob is a user");
    let new = world.gateway.config.with_extension("new");
    std::fs::write(&new, text.replace(&user, &user.replace("user", "admin")))?;
    std::fs::rename(new, &world.gateway.config)?;
    until("bob's new role", 30, || async {
        let mut ai = Connection::from(&world.bob, "ai").await?;
        let text = ai.get("/api/whoami").await?.text();
        ensure!(text.contains("admin"), "{text}");
        Ok(())
    })
    .await
}

/// What both of them do in a browser, and what other sites can do to one that is on the tailnet.
async fn people_in_browsers_are_known_and_safe(world: &World) -> anyhow::Result<()> {
    let browser = tokio::task::block_in_place(Browser::prepare)?;
    world.headscale.grant(true)?;
    admin(world).await?;
    let user_proxy = Proxy::through(&world.alice).await?;
    let admin_proxy = Proxy::through(&world.bob).await?;
    let (user_proxy, admin_proxy) = (
        user_proxy.address.to_string(),
        admin_proxy.address.to_string(),
    );
    let local = format!("http://{}", world.gateway.local);
    let people = [
        ("GATEWAY", "http://ai"),
        ("USER_PROXY", &user_proxy),
        ("ADMIN_PROXY", &admin_proxy),
        ("USER", "alice"),
        ("ADMIN", "bob"),
        ("MODEL", "tiny"),
        ("CAPABILITY", CAPABILITY),
    ];
    let journeys = browser.play("tailnet", &people).await?;
    let visitor = [
        ("GATEWAY", "http://ai"),
        ("PROXY", &admin_proxy),
        ("ADMIN", local.as_str()),
    ];
    let sites = browser.play("sites", &visitor).await;
    world.configure(false)?;
    ensure!(journeys, "a journey failed; what is above says how");
    ensure!(
        sites.context("the sites' script")?,
        "another site could do something"
    );
    Ok(())
}
