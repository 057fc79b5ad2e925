//! The tour of the demo: what there is, and lines to try in order. A test takes it as a person
//! would, line by line.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

use super::network::{ALICE, BOB, DOMAIN, GATEWAY, GPU, GPU_ADDRESS, Network};
use crate::client::discovery::Server;
use crate::wire::harmless;

/// What the tour has to name.
pub struct Tour<'a> {
    pub network: &'a Network,
    /// Model servers that were found on this machine.
    pub found: &'a [Server],
    /// The policy's file, as a word for a shell.
    pub policy: &'a str,
    /// The configuration's file.
    pub config: &'a Path,
    /// How this program is called, as a word for a shell.
    pub program: &'a str,
}

/// The tour as it is printed.
#[must_use]
pub fn tour(tour: &Tour<'_>) -> String {
    let [(_, alice), (_, bob)] = tour.network.doors();
    let mut out = format!(
        "\nA tailnet runs in this process, with a control server of its own. Nothing leaves this machine.\n\n  \
         {GATEWAY:<14}100.64.0.1   the gateway: Iris, as the node {GATEWAY}.{DOMAIN}\n  \
         {:<14}{}   {}, in the policy's group:eng, and the admin\n  \
         {:<14}{}   {}, not in group:eng\n  \
         {GPU:<14}{GPU_ADDRESS}   a model server\n",
        ALICE.device, ALICE.address, ALICE.login, BOB.device, BOB.address, BOB.login,
    );
    let models = tour.found.iter().map(|server| {
        let models = server.models.iter().take(3).map(|name| harmless(name));
        let models = models.collect::<Vec<_>>().join(", ");
        format!(
            "  {:<14}{}   found on this machine: {models}\n",
            server.kind.id(),
            server.baseurl()
        )
    });
    out.extend(models);
    let _ = write!(
        out,
        "\nhttp://{alice} acts as Alice's device, and http://{bob} as Bob's. Use them as a proxy\n\
         (curl -x), or open them in a browser. In another terminal:\n"
    );
    for (nth, (what, lines)) in steps(tour, alice, bob).into_iter().enumerate() {
        // A string takes all that is written to it.
        let _ = write!(out, "\n{}. {what}\n\n", nth + 1);
        for line in lines {
            let _ = writeln!(out, "  {line}");
        }
    }
    let _ = write!(out, "\n{}", pages(tour, alice, bob));
    out
}

/// What to do, and the lines that do it.
fn steps(tour: &Tour<'_>, alice: SocketAddr, bob: SocketAddr) -> Vec<(String, Vec<String>)> {
    let (program, policy) = (tour.program, tour.policy);
    let ask = |door: SocketAddr, model: &str, said: &str| {
        format!(
            "curl -x http://{door} http://{GATEWAY}/v1/chat/completions -H 'Content-Type: application/json' \\\n    \
             -d '{{\"model\": \"{model}\", \"messages\": [{{\"role\": \"user\", \"content\": \"{said}\"}}]}}'"
        )
    };
    let whoami = |door: SocketAddr| format!("curl -x http://{door} http://{GATEWAY}/api/whoami");
    let explain = |login: &str| format!("{program} explain --as {login} demo --url http://{alice}");
    vec![
        (
            format!("Alice asks a model. MagicDNS finds http://{GATEWAY}, and no key is needed."),
            vec![ask(alice, "demo", "hello")],
        ),
        (
            "Bob asks the same and is refused: without a grant he doesn't learn whether the model exists.".to_owned(),
            vec![ask(bob, "demo", "hello")],
        ),
        (
            "Iris knows them by their devices. It asks the tailnet (WhoIs).".to_owned(),
            vec![whoami(alice), whoami(bob)],
        ),
        (
            "Ask Iris why, as the admin.".to_owned(),
            vec![explain(ALICE.login), explain(BOB.login)],
        ),
        (
            "Let Bob in: add him to group:eng in the tailnet's policy. It takes effect within a second."
                .to_owned(),
            vec![
                format!(
                    "sed -i.bak 's/\\[\"{}\"\\]/[\"{}\", \"{}\"]/' {policy} && sleep 1",
                    ALICE.login, ALICE.login, BOB.login
                ),
                ask(bob, "demo", "hello again"),
            ],
        ),
        (
            "Spend Bob's budget of $0.03 a day. The last answer may exceed it; after that he is refused."
                .to_owned(),
            vec![format!(
                "for i in 1 2 3 4; do {}; echo; done",
                ask(bob, "demo-large", "hello")
            )],
        ),
        (
            "Paste a key, and a guardrail stops the request before it leaves.".to_owned(),
            vec![ask(alice, "demo", "My key is AKIAIOSFODNN7EXAMPLE.")],
        ),
        (
            "See the record of each request: who asked, for what, what it cost, why it was refused."
                .to_owned(),
            vec![format!("{program} status --requests --url http://{alice}")],
        ),
    ]
}

fn pages(tour: &Tour<'_>, alice: SocketAddr, bob: SocketAddr) -> String {
    format!(
        "In a browser:\n\n  \
         http://{alice}   the dashboard as alice, who is the admin\n  \
         http://{bob}   the same as bob, who sees only his own usage\n\n\
         The tailnet's policy:     {policy}\n\
         Iris's configuration:     {config}\n\n",
        policy = tour.network.policy().display(),
        config = tour.config.display(),
    )
}
