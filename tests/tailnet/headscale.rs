//! A Headscale control server, its keys and its policy.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::json;

use crate::parts::{Parts, until};
use crate::world::CAPABILITY;
use support::process::{Process, free_address};

pub struct Headscale {
    program: PathBuf,
    config: PathBuf,
    policy: PathBuf,
    process: Process,
    pub url: String,
}

impl Headscale {
    pub async fn start(parts: &Parts, dir: &Path) -> anyhow::Result<Self> {
        let dir = dir.join("headscale");
        std::fs::create_dir_all(&dir)?;
        let (http, metrics, grpc, stun) = (
            free_address().port(),
            free_address().port(),
            free_address().port(),
            free_address().port(),
        );
        let policy = dir.join("policy.json");
        let config = dir.join("config.yaml");
        let path = |name: &str| dir.join(name).display().to_string();
        // JSON is YAML too.
        let settings = json!({
            "server_url": format!("http://127.0.0.1:{http}"),
            "listen_addr": format!("127.0.0.1:{http}"),
            "metrics_listen_addr": format!("127.0.0.1:{metrics}"),
            "grpc_listen_addr": format!("127.0.0.1:{grpc}"),
            "noise": { "private_key_path": path("noise.key") },
            "prefixes": { "v4": "100.64.0.0/10", "v6": "fd7a:115c:a1e0::/48" },
            "derp": {
                "server": {
                    "enabled": true,
                    "region_id": 999,
                    "region_code": "local",
                    "region_name": "local",
                    "stun_listen_addr": format!("127.0.0.1:{stun}"),
                    "private_key_path": path("derp.key"),
                    "automatically_add_embedded_derp_region": true,
                    "ipv4": "127.0.0.1",
                    "verify_clients": false,
                },
                "urls": [],
                "paths": [],
                "auto_update_enabled": false,
            },
            "disable_check_updates": true,
            "database": { "type": "sqlite", "sqlite": { "path": path("db.sqlite") } },
            "log": { "level": "warn" },
            "policy": { "mode": "file", "path": policy },
            "dns": {
                "magic_dns": true,
                "base_domain": "tail.test",
                "override_local_dns": false,
                "nameservers": { "global": [] },
            },
            "unix_socket": path("headscale.sock"),
            "unix_socket_permission": "0770",
        });
        std::fs::write(&config, settings.to_string())?;
        std::fs::write(&policy, policy_text(true))?;
        let program = parts.servers.join("headscale");
        let process = Process::start(
            Command::new(&program).arg("-c").arg(&config).arg("serve"),
            &dir.join("log"),
        )?;
        let headscale = Self {
            program,
            config,
            policy,
            process,
            url: format!("http://127.0.0.1:{http}"),
        };
        for user in ["alice", "bob"] {
            until("headscale", 60, || async {
                headscale.ask(&["users", "create", user])
            })
            .await?;
        }
        Ok(headscale)
    }

    fn ask(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = Command::new(&self.program)
            .arg("-c")
            .arg(&self.config)
            .args(arguments)
            .args(["-o", "json"])
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            output.status.success(),
            "headscale {arguments:?}: {text}{}{}",
            String::from_utf8_lossy(&output.stderr),
            self.process.log()
        );
        Ok(text)
    }

    /// A key for a device of a user: 1 is alice, 2 is bob.
    pub fn user_key(&self, user: &str) -> anyhow::Result<String> {
        self.key(&["preauthkeys", "create", "--user", user])
    }

    /// A key whose device Headscale forgets once it has left.
    pub fn guest_key(&self) -> anyhow::Result<String> {
        self.key(&["preauthkeys", "create", "--user", "1", "--ephemeral"])
    }

    pub fn tag_key(&self, tag: &str) -> anyhow::Result<String> {
        self.key(&["preauthkeys", "create", "--tags", tag])
    }

    fn key(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let answer: serde_json::Value = serde_json::from_str(&self.ask(arguments)?)?;
        Ok(answer["key"]
            .as_str()
            .with_context(|| format!("no key in {answer}"))?
            .to_owned())
    }

    /// Approves a node that waits for its sign-in.
    pub fn approve(&self, id: &str, user: &str) -> anyhow::Result<()> {
        self.ask(&["auth", "register", "--auth-id", id, "--user", user])
            .map(drop)
    }

    /// Whether there is a node of this name.
    pub fn knows(&self, name: &str) -> anyhow::Result<bool> {
        let nodes: serde_json::Value = serde_json::from_str(&self.ask(&["nodes", "list"])?)?;
        let mut nodes = nodes.as_array().into_iter().flatten();
        Ok(nodes.any(|node| node["given_name"] == name))
    }

    /// Sends a signal to the server.
    pub fn signal(&self, name: &str) -> anyhow::Result<()> {
        self.process.signal(name)
    }

    /// Ends the server at once.
    pub async fn end(&mut self) -> anyhow::Result<()> {
        self.process.signal("KILL")?;
        until("the end of headscale", 20, || {
            let ended = self.process.ended();
            async move {
                ensure!(ended);
                Ok(())
            }
        })
        .await
    }

    /// Starts the server after its end, with what it has stored.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        let log = self.config.with_file_name("log-again");
        self.process = Process::start(
            Command::new(&self.program)
                .arg("-c")
                .arg(&self.config)
                .arg("serve"),
            &log,
        )?;
        until("headscale", 60, || async {
            self.ask(&["nodes", "list"]).map(drop)
        })
        .await
    }

    /// Has the server make another key at its next start.
    pub fn lose_key(&self) -> anyhow::Result<()> {
        Ok(std::fs::remove_file(
            self.config.with_file_name("noise.key"),
        )?)
    }

    /// A key for a tagged node that can be used again.
    pub fn reusable_key(&self, tag: &str) -> anyhow::Result<String> {
        self.key(&["preauthkeys", "create", "--reusable", "--tags", tag])
    }

    /// The number of a node.
    pub fn id(&self, name: &str) -> anyhow::Result<String> {
        let nodes: serde_json::Value = serde_json::from_str(&self.ask(&["nodes", "list"])?)?;
        let mut nodes = nodes.as_array().into_iter().flatten();
        let node = nodes.find(|node| node["given_name"] == name);
        Ok(node.context("no such node")?["id"].to_string())
    }

    /// Lets a node's key expire at once.
    pub fn expire(&self, id: &str) -> anyhow::Result<()> {
        self.ask(&["nodes", "expire", "--identifier", id]).map(drop)
    }

    /// Takes a node out of the tailnet.
    pub fn delete(&self, id: &str) -> anyhow::Result<()> {
        self.ask(&["nodes", "delete", "--force", "--identifier", id])
            .map(drop)
    }

    /// Puts a policy in force in which devices with a tag reach nobody.
    pub fn isolate(&self, tag: &str) -> anyhow::Result<()> {
        let others: Vec<&str> = ["alice@", "bob@", "tag:ai", "tag:gpu", "tag:ci"]
            .into_iter()
            .filter(|other| *other != tag)
            .collect();
        let policy = policy_for(&json!(others), None);
        std::fs::write(&self.policy, policy)?;
        self.process.signal("HUP")
    }

    /// Puts a policy in force in which alice's group may use the gateway, or may not.
    pub fn grant(&self, granted: bool) -> anyhow::Result<()> {
        std::fs::write(&self.policy, policy_text(granted))?;
        self.process.signal("HUP")
    }

    /// Puts a policy in force that gives alice's group these capability objects.
    pub fn give(&self, objects: &serde_json::Value) -> anyhow::Result<()> {
        std::fs::write(&self.policy, policy_with(Some(objects)))?;
        self.process.signal("HUP")
    }
}

fn policy_text(granted: bool) -> String {
    let objects = json!([{ "role": "user" }, { "models": "private/**" }]);
    policy_with(granted.then_some(&objects))
}

fn policy_with(objects: Option<&serde_json::Value>) -> String {
    policy_for(&json!(["*"]), objects)
}

/// A policy in which `reaching` reach each other.
fn policy_for(reaching: &serde_json::Value, objects: Option<&serde_json::Value>) -> String {
    let mut grants = vec![json!({ "src": reaching, "dst": reaching, "ip": ["*"] })];
    if let Some(objects) = objects {
        grants.push(
            json!({ "src": ["group:eng"], "dst": ["tag:ai"], "app": { CAPABILITY: objects } }),
        );
    }
    json!({
        "groups": { "group:eng": ["alice@"] },
        "tagOwners": { "tag:ai": ["bob@"], "tag:gpu": ["bob@"], "tag:ci": ["bob@"] },
        "grants": grants,
    })
    .to_string()
}
