//! A real browser that plays a script.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;

use crate::parts::Parts;

/// The longest that a script may take: the one that visits every page takes longest.
const LIMIT: Duration = Duration::from_mins(8);

/// The browser, Node.js, and the scripts.
pub struct Browser {
    parts: Parts,
    scripts: tempfile::TempDir,
}

impl Browser {
    /// Installs what is missing; says on standard error what, and how long it takes.
    pub fn prepare() -> anyhow::Result<Self> {
        let parts = Parts::prepare("browser.sh", &[])?;
        let browser = Self {
            parts,
            scripts: tempfile::tempdir()?,
        };
        // Node searches for modules above the script's own folder.
        let scripts = browser.scripts.path();
        let modules = browser.parts.get("node_modules")?;
        std::os::unix::fs::symlink(modules, scripts.join("node_modules"))?;
        for entry in std::fs::read_dir(crate::root().join("tests/pages/journeys"))? {
            let entry = entry?;
            std::fs::copy(entry.path(), scripts.join(entry.file_name()))?;
        }
        Ok(browser)
    }

    /// Plays a script, which reports itself what went wrong; returns whether it passed.
    pub async fn play(&self, name: &str, given: &[(&str, &str)]) -> anyhow::Result<bool> {
        let root = crate::root();
        let pictures = root.join("target/pages");
        std::fs::create_dir_all(&pictures)?;
        let mut command = Command::new(self.parts.get("node")?);
        command
            .arg(self.scripts.path().join(format!("{name}.mjs")))
            .env("BROWSER", self.parts.get("browser")?)
            .env("PICTURES", &pictures)
            .env("FIXTURES", root.join("tests/fixtures"))
            .env("IMAGES", root.join("docs/images"))
            .envs(given.iter().copied())
            .stdin(Stdio::null());
        let mut child =
            tokio::task::block_in_place(|| command.spawn().context("node does not start"))?;
        let end = std::time::Instant::now() + LIMIT;
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status.success());
            }
            if std::time::Instant::now() > end {
                child.kill()?;
                child.wait()?;
                return Ok(false);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
