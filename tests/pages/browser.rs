//! A real browser that plays a script.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};

/// A script at most: the one that looks at every page is the longest.
const LIMIT: Duration = Duration::from_mins(8);

/// The browser, Node.js, and the scripts.
pub(crate) struct Browser {
    parts: HashMap<String, PathBuf>,
    scripts: tempfile::TempDir,
}

impl Browser {
    /// Installs what is missing; says on standard error what and how long.
    pub(crate) fn prepare() -> anyhow::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let output = Command::new(root.join("tests/servers/browser.sh"))
            .stderr(Stdio::inherit())
            .output()?;
        ensure!(
            output.status.success(),
            "tests/servers/browser.sh failed; its message is above"
        );
        let text = String::from_utf8(output.stdout)?;
        let parts = text.lines().filter_map(|line| line.split_once('='));
        let parts = parts
            .map(|(name, path)| (name.to_owned(), path.into()))
            .collect();
        let browser = Self {
            parts,
            scripts: tempfile::tempdir()?,
        };
        // Modules are looked for above the script's own folder.
        let scripts = browser.scripts.path();
        let modules = browser.part("node_modules")?;
        std::os::unix::fs::symlink(modules, scripts.join("node_modules"))?;
        for entry in std::fs::read_dir(root.join("tests/pages/journeys"))? {
            let entry = entry?;
            std::fs::copy(entry.path(), scripts.join(entry.file_name()))?;
        }
        Ok(browser)
    }

    fn part(&self, name: &str) -> anyhow::Result<&PathBuf> {
        self.parts
            .get(name)
            .with_context(|| format!("{name} was not prepared"))
    }

    /// Plays a script, which tells on its own what went wrong; returns whether nothing did.
    pub(crate) async fn play(&self, name: &str, given: &[(&str, &str)]) -> anyhow::Result<bool> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let pictures = root.join("target/pages");
        std::fs::create_dir_all(&pictures)?;
        let mut command = Command::new(self.part("node")?);
        command
            .arg(self.scripts.path().join(format!("{name}.mjs")))
            .env("BROWSER", self.part("browser")?)
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
