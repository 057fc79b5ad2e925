//! The real parts, and waiting for them.

use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What `prepare.sh` has built.
pub struct Parts {
    pub servers: PathBuf,
    pub llama_server: PathBuf,
    pub python: PathBuf,
    pub model: PathBuf,
}

impl Parts {
    /// Builds what is missing; says on standard error what and how long.
    pub fn prepare() -> anyhow::Result<Self> {
        let found = support::parts::Parts::prepare("prepare.sh", &[])?;
        Ok(Self {
            servers: found.get("servers")?,
            llama_server: found.get("llama_server")?,
            python: found.get("python")?,
            model: found.get("model")?,
        })
    }
}

/// Asks again and again until there is an answer; errors are shown once the time is over.
pub async fn until<T, F>(what: &str, seconds: u64, mut ask: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    let end = Instant::now() + Duration::from_secs(seconds);
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) if Instant::now() > end => {
                return Err(error.context(format!("{what}: not within {seconds} s")));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(25)).await,
        }
    }
}
