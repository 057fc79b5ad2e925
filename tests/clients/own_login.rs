//! Agents that are signed in to an account of their user, as `iris connect` starts them: the provider gets their
//! credential, and nothing keeps it.

use std::path::Path;
use std::process::Command;

use anyhow::ensure;
use serde_json::{Value, json};

use crate::agents::{PROMPT, run_at};
use crate::provider::OWN;
use crate::world::World;

pub const TESTS: &[support::harness::Test<World>] = support::tests![
    World;
    claude_code_signed_in,
    codex_signed_in,
];

/// As `claude setup-token` gives one.
const CLAUDE: &str = "sk-ant-oat01-secret-of-the-test";
const ACCOUNT: &str = "account-of-the-test";
/// A token of `ChatGPT` for that account until 2100, with the plan `pro`; nothing checks its signature.
const CHATGPT: &str = concat!(
    "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJleHAiOjQxMDI0NDQ4MDAsImVtYWlsIjoic29tZW9uZUBleGFtc",
    "GxlLmNvbSIsImh0dHBzOi8vYXBpLm9wZW5haS5jb20vYXV0aCI6eyJjaGF0Z3B0X2FjY291bnRfaWQiOiJhY2NvdW5",
    "0LW9mLXRoZS10ZXN0IiwiY2hhdGdwdF9wbGFuX3R5cGUiOiJwcm8iLCJjaGF0Z3B0X3VzZXJfaWQiOiJ1c2VyLW9mL",
    "XRoZS10ZXN0In19.c2lnbmF0dXJl",
);

async fn claude_code_signed_in(world: &World) -> anyhow::Result<()> {
    if world.direct() {
        return Ok(());
    }
    let home = world.home()?;
    let note = world.file(".").display().to_string();
    let mut command = connect(world, &home, "claude-code");
    command
        .args(["-p", PROMPT, "--allowedTools", "Read", "--add-dir", &note])
        .env("CLAUDE_CODE_OAUTH_TOKEN", CLAUDE)
        .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1");
    let at = ("own", OWN);
    let (_, served, rows) = run_at(world, &home, &mut command, "claude-code", at).await?;
    for one in &served {
        let authorization = one.header("authorization");
        ensure!(
            authorization == format!("Bearer {CLAUDE}"),
            "{authorization:?}"
        );
        let beta = one.header("anthropic-beta");
        ensure!(beta.contains("oauth-"), "no beta of the login: {beta:?}");
    }
    kept_nothing(world, &rows, &[CLAUDE]).await
}

async fn codex_signed_in(world: &World) -> anyhow::Result<()> {
    if world.direct() {
        return Ok(());
    }
    let home = world.home()?;
    let codex = home.join("codex");
    std::fs::create_dir(&codex)?;
    let login = json!({
        "auth_mode": "chatgpt",
        "OPENAI_API_KEY": null,
        "tokens": {
            "id_token": CHATGPT,
            "access_token": CHATGPT,
            "refresh_token": "refresh-of-the-test",
            "account_id": ACCOUNT,
        },
        "last_refresh": jiff::Timestamp::now().to_string(),
    });
    std::fs::write(codex.join("auth.json"), login.to_string())?;
    let mut command = connect(world, &home, "codex");
    command
        .args([
            "exec",
            "--skip-git-repo-check",
            "-c",
            "analytics.enabled=false",
        ])
        .args(["--dangerously-bypass-approvals-and-sandbox", PROMPT])
        .env("CODEX_HOME", &codex);
    let at = ("own", OWN);
    let (_, served, rows) = run_at(world, &home, &mut command, "codex", at).await?;
    for one in &served {
        let authorization = one.header("authorization");
        ensure!(
            authorization == format!("Bearer {CHATGPT}"),
            "{authorization:?}"
        );
        let account = one.header("chatgpt-account-id");
        ensure!(account == ACCOUNT, "{account:?} in {:?}", one.headers);
    }
    kept_nothing(world, &rows, &[CHATGPT, ACCOUNT]).await
}

fn connect(world: &World, home: &Path, agent: &str) -> Command {
    let mut command = world.command(env!("CARGO_BIN_EXE_iris"), home);
    command
        .args(["connect", agent, "--model", OWN, "--url"])
        .arg(world.base(OWN))
        .arg("--")
        .env("XDG_CACHE_HOME", &world.cache);
    command
}

/// Records are marked, and neither they nor captures hold a secret.
async fn kept_nothing(world: &World, rows: &[Value], secrets: &[&str]) -> anyhow::Result<()> {
    for row in rows {
        ensure!(row["own_credential"] == true, "not marked: {row}");
        let id = row["id"].as_str().unwrap_or_default();
        let capture = world.get(&format!("/api/requests/{id}/capture")).await?;
        for text in [row.to_string(), capture.to_string()] {
            let kept = secrets.iter().find(|secret| text.contains(**secret));
            ensure!(kept.is_none(), "{kept:?} is kept: {text}");
        }
    }
    Ok(())
}
