//! A machine on which nothing of Iris is installed, with a real systemd, and its shell.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::iris;
use support::machine::Machine;

/// A machine with the program in `/srv`, which the tests also give configurations.
pub struct Bare {
    pub machine: Machine,
    pub address: SocketAddr,
    _dir: tempfile::TempDir,
}

/// For a provider that needs `A_KEY`.
pub fn config(address: SocketAddr) -> Value {
    json!({
        "tailnet": { "mode": "off" },
        "listen": { "loopback": address.to_string() },
        "providers": { "p": {
            "baseurl": "http://127.0.0.1:9/v1", "models": ["m"], "apikey": "${A_KEY}",
        } },
        "grants": [{ "src": ["(loopback)"],
            "app": { "tailscale.com/cap/aperture": [{ "role": "admin" }, { "models": "**" }] } }],
    })
}

impl Bare {
    /// `None` where there can be no such machine.
    pub async fn start() -> anyhow::Result<Option<Self>> {
        let dir = tempfile::tempdir()?;
        let address = iris::free_address()?;
        let write = |name: &str, text: &str| {
            let path = dir.path().join("files").join(name);
            std::fs::create_dir_all(path.parent().context("a folder")?)?;
            anyhow::Ok(std::fs::write(path, text)?)
        };
        write("iris.hujson", &config(address).to_string())?;
        write("broken.hujson", "{ \"listen\": ")?;
        let mut other = config(address);
        other["providers"]["p"]["models"] = json!(["another"]);
        write("other.hujson", &other.to_string())?;
        let mut keyed = config(address);
        let seen = "${file:/run/credentials/iris.service/authkey}";
        keyed["tailnet"]["auth_key"] = json!(seen);
        write("keyed.hujson", &keyed.to_string())?;
        write("key", "tskey-auth-1\n")?;
        write("empty", "\n")?;
        let machine = Machine::bare(dir.path(), &support::iris()).await?;
        Ok(machine.map(|machine| Self {
            machine,
            address,
            _dir: dir,
        }))
    }

    /// What a shell says, both outputs together, and its exit code.
    fn shell(&self, script: &str) -> anyhow::Result<(i32, String)> {
        let output = self
            .machine
            .run(&["sh", "-c", &format!("exec 2>&1; {script}")])?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok((output.status.code().unwrap_or(-1), text))
    }

    /// Runs a script, which has to end with this code and to say these parts.
    pub fn says(&self, script: &str, code: i32, parts: &[&str]) -> anyhow::Result<String> {
        let (found, text) = self.shell(script)?;
        ensure!(
            found == code,
            "{script} ended with {found}, not {code}:\n{text}"
        );
        for part in parts {
            ensure!(
                text.contains(part),
                "{script} does not say {part:?}:\n{text}"
            );
        }
        Ok(text)
    }

    /// Nothing of Iris is left.
    pub fn is_bare(&self) -> anyhow::Result<()> {
        self.says("id iris", 1, &[])?;
        self.says(
            "ls -d /etc/iris /var/lib/iris /usr/local/bin/iris /etc/systemd/system/iris*",
            2,
            &[],
        )?;
        Ok(())
    }
}
