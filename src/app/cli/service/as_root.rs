//! How to run this command again as root. `sudo` hides your variables, so the command names
//! those that the configuration refers to.

use anyhow::Context;

use crate::app::cli::{harmless, quoted, set};

/// The user who ran this program by `sudo`.
pub(super) fn sudo_user() -> Option<String> {
    set("SUDO_USER")?.into_string().ok()
}

/// This command by `sudo`, with variables that it is to pass on.
pub(super) fn command<'v>(variables: impl IntoIterator<Item = &'v str>) -> anyhow::Result<String> {
    let program = std::env::current_exe().context("cannot tell which program this is")?;
    let arguments = std::env::args_os().skip(1);
    let words = std::iter::once(program.into_os_string()).chain(arguments);
    let words = words.map(|word| quoted(&harmless(&word.to_string_lossy())));
    let words: Vec<String> = words.collect();
    let variables: Vec<&str> = variables.into_iter().collect();
    let keep = if variables.is_empty() {
        String::new()
    } else {
        format!("--preserve-env={} ", variables.join(","))
    };
    Ok(format!("sudo {keep}{}", words.join(" ")))
}

/// What is said to a user who isn't root. `variables` are those that are of use, set or not.
pub(super) fn needed<'v>(variables: impl Iterator<Item = &'v str>) -> anyhow::Result<String> {
    let set = |name: &&str| std::env::var_os(name).is_some();
    let command = command(variables.filter(set))?;
    Ok(format!(
        "installing a service for the whole machine takes root. Run\n\n  {command}\n\nor add \
         --user to run it as your own service, without root."
    ))
}
