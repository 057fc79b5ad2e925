//! The commands of a page, run in the order of the page by one shell, in a home of its own, beside
//! a gateway that answers as `http://ai`.

use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use iris::app::demo::Provider;
use iris::app::{Options, Running, start};
use serde_json::json;

use crate::page::{Page, root};

/// Seconds; a page is read faster than this.
const LIMIT: &str = "120";

/// Runs the commands of a page.
pub(crate) async fn run(page: &Page) {
    let script = script(page);
    if script.is_empty() {
        return;
    }
    let provider = Provider::start().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let gateway = gateway(dir.path(), &provider).await;
    let port = gateway.loopback().unwrap().port();
    let home = dir.path().join("home");
    let programs = programs(dir.path(), port);
    std::fs::create_dir(&home).unwrap();
    // What a clone has beside the pages.
    for name in ["config", "LICENSE"] {
        std::os::unix::fs::symlink(root().join(name), home.join(name)).unwrap();
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let mut shell = Command::new("timeout");
    shell
        .args([LIMIT, "bash", "-c", &script])
        .current_dir(&home)
        .env("PATH", format!("{}:{path}", programs.display()))
        .env("HOME", &home)
        .env("IRIS_URL", format!("http://127.0.0.1:{port}"))
        .env("IRIS_STATE_DIR", dir.path().join("state-of-the-page"))
        .env_remove("IRIS_CONFIG")
        .env_remove("IRIS_LOG")
        .stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || shell.output());
    let output = output.await.unwrap().unwrap();
    assert!(
        output.status.success(),
        "{}:\n{}{}",
        page.name(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    gateway.stop().await.unwrap();
}

/// A shell's script of all blocks; empty if none is to be run.
fn script(page: &Page) -> String {
    // A reader writes a key where the page shortens one.
    let with_keys = |text: &str| {
        text.replace("sk-…", "sk-1a2b3c")
            .replace("auth-…", "auth-k1-a2b3c")
    };
    let mut script = String::new();
    let mut runs = false;
    for (nth, block) in page.blocks.iter().enumerate() {
        if let Some(name) = block.mark("file") {
            write!(
                script,
                "cat >'{name}' <<'END OF FILE'\n{}\nEND OF FILE\n",
                block.text
            )
            .unwrap();
        }
        let elsewhere = block.mark("not run").or(block.mark("run by"));
        if block.language != "sh" || elsewhere.is_some() {
            continue;
        }
        runs = true;
        writeln!(script, "echo '== {}'", page.at(block)).unwrap();
        match block.mark("until") {
            None => writeln!(script, "{}", with_keys(&block.text)).unwrap(),
            Some(text) => write!(
                script,
                "( {} ) >'.said-{nth}' 2>&1 &\nstarted+=($!)\n\
                 for try in $(seq 100); do grep -qF '{text}' '.said-{nth}' && break; sleep 0.2; done\n\
                 grep -qF '{text}' '.said-{nth}' || {{ cat '.said-{nth}'; false; }}\n",
                exec(&block.text)
            )
            .unwrap(),
        }
    }
    if !runs {
        return String::new();
    }
    format!(
        "set -euo pipefail\nstarted=()\n\
         trap 'for one in \"${{started[@]}}\"; do kill \"$one\" && wait \"$one\" || true; done' EXIT\n{script}"
    )
}

/// The last command in place of the shell that would have waited for it, so that it is what is
/// ended.
fn exec(text: &str) -> String {
    let (before, last) = text.trim_end().rsplit_once('\n').unwrap_or(("", text));
    let words = last.split_inclusive(' ');
    let is_setting = |word: &&str| {
        word.split_once('=')
            .is_some_and(|(name, _)| !name.contains('-'))
    };
    let settings: String = words.take_while(is_setting).collect();
    format!("{before}\n{settings} exec {}", &last[settings.len()..])
}

/// Programs that stand before those of the machine: Iris itself, and a `curl` that finds `ai`.
fn programs(dir: &Path, port: u16) -> std::path::PathBuf {
    let programs = dir.join("bin");
    std::fs::create_dir(&programs).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_iris"), programs.join("iris")).unwrap();
    let curl = programs.join("curl");
    // On loopback the gateway has no other name than that.
    let text = format!(
        "#!/bin/bash\n\
         PATH=${{PATH#*:}} exec curl --fail-with-body \"${{@/#http:\\/\\/ai/http://127.0.0.1:{port}}}\"\n"
    );
    std::fs::write(&curl, text).unwrap();
    std::fs::set_permissions(&curl, std::fs::Permissions::from_mode(0o755)).unwrap();
    programs
}

/// A gateway with the model that pages speak of, open to this machine.
async fn gateway(dir: &Path, provider: &Provider) -> Running {
    let config = dir.join("gateway.hujson");
    let text = json!({
        "tailnet": { "mode": "off" },
        "listen": { "loopback": "127.0.0.1:0" },
        "providers": {
            "private": {
                "baseurl": format!("http://{}/v1", provider.address()),
                "models": ["qwen3-coder-30b"],
                "compatibility": { "openai_chat": true, "anthropic_messages": true },
            },
        },
        "quotas": { "daily:<user>": { "capacity": "$10.00", "rate": "$5.00/day" } },
        "grants": [{
            "src": ["(loopback)"],
            "app": { "tailscale.com/cap/aperture": [
                { "role": "admin" },
                { "models": "**", "quotas": [{ "bucket": "daily:<user>" }] },
                { "read_pricing": true, "read_metrics": true, "filterable_headers": ["*"] },
            ] },
        }],
    });
    std::fs::write(&config, text.to_string()).unwrap();
    let options = Options {
        config: Some(config),
        state_dir: dir.join("state"),
    };
    start(&options).await.unwrap()
}
