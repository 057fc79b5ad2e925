//! Real model servers that `tests/servers/models.sh` has installed, as commands.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

/// Ollama, which keeps its models in a folder.
pub fn ollama(program: &Path, dir: &Path, address: SocketAddr) -> Command {
    let mut command = of_ollama(program, dir, address);
    command
        .arg("serve")
        .env("OLLAMA_MODELS", dir.join("models"));
    command
}

/// Has an Ollama that runs make a model by what a `Modelfile` says.
pub fn create(
    program: &Path,
    dir: &Path,
    address: SocketAddr,
    model: &str,
    text: &str,
) -> anyhow::Result<()> {
    let file = dir.join("Modelfile");
    std::fs::write(&file, text)?;
    let made = of_ollama(program, dir, address)
        .args(["create", model, "-f"])
        .arg(&file)
        .output()
        .context("ollama doesn't start")?;
    ensure!(made.status.success(), "no model {model}: {made:?}");
    Ok(())
}

fn of_ollama(program: &Path, dir: &Path, address: SocketAddr) -> Command {
    let mut command = Command::new(program);
    command
        .env("HOME", dir)
        .env("OLLAMA_HOST", address.to_string());
    command
}

/// vLLM on the processor, with a model from a folder.
pub fn vllm(program: &Path, dir: &Path, port: u16, model: &Path, name: &str) -> Command {
    let mut command = Command::new(program);
    command
        .arg("serve")
        .arg(model)
        .args(["--served-model-name", name, "--host", "127.0.0.1"])
        .args(["--port", &port.to_string()])
        .args(["--enforce-eager", "--dtype", "bfloat16"])
        .env("HOME", dir)
        .env("HF_HUB_OFFLINE", "1")
        .env("VLLM_CPU_KVCACHE_SPACE", "1")
        .env("VLLM_NO_USAGE_STATS", "1")
        .env("DO_NOT_TRACK", "1");
    command
}
