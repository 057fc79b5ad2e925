//! Which kind of caller it is, what grants call it, and what identifies it in records.

use sha2::{Digest, Sha256};

/// How the loopback caller is written in grants, as Aperture does.
pub(super) const LOOPBACK: &str = "(loopback)";

/// What the login of a user of another tailnet begins with in grants, records and pages.
pub(crate) const EXTERNAL: &str = "external:";

/// Whether a login reads like something other than a person. People who choose their names at a control
/// server must not become a tag, a group, everyone or this machine. No login has a colon, so every
/// `word:` is reserved, including those that Tailscale will add.
pub(crate) fn is_reserved(login: &str) -> bool {
    login == "*" || login.starts_with('(') || login.contains(':')
}

/// Which kind of caller it is. A tag can't be confused with a login: they are
/// different variants, not two spellings of a string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// A device that a person of this tailnet is signed in on.
    User {
        /// The login that grants name.
        login: String,
        /// The control server's number for the user; 0 where it gave none.
        id: i64,
    },
    /// A device shared into the tailnet by a user of another one. `*` does not include it.
    External {
        /// The login, as the other tailnet has it.
        login: String,
        /// The control server's number for the user; 0 where it gave none.
        id: i64,
        /// The other tailnet's domain; empty where it is not known.
        tailnet: String,
    },
    /// A tagged device; the tags are sorted.
    Tagged {
        /// `tag:…` names.
        tags: Vec<String>,
    },
    /// A person whom an application names, and whom the tailnet has not shown. `*` does not include them.
    Named {
        /// The login that the application has named.
        login: String,
    },
    /// This machine itself, over its loopback interface.
    Loopback,
}

impl Principal {
    /// What grants and people call it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::User { login, .. } | Self::Named { login } => login.clone(),
            Self::External { login, .. } => format!("{EXTERNAL}{login}"),
            Self::Tagged { tags } => tags.join(","),
            Self::Loopback => LOOPBACK.to_owned(),
        }
    }

    /// What identifies it. Each kind begins differently, and nobody can choose the rest, except with
    /// control servers that give users no number.
    pub(super) fn key(&self) -> String {
        match self {
            Self::User { login, id: 0 } => format!("login:{login}"),
            Self::User { id, .. } => format!("user:{id}"),
            Self::External {
                login,
                id: 0,
                tailnet,
            } => format!("external:{tailnet}:login:{login}"),
            Self::External { id, tailnet, .. } => format!("external:{tailnet}:{id}"),
            Self::Tagged { tags } => {
                let joined = tags.join(",");
                if joined.len() <= LONGEST_TAGS && !tags.iter().any(|tag| tag.contains(',')) {
                    return format!("tags:{joined}");
                }
                let mut digest = Sha256::new();
                for tag in tags {
                    digest.update((tag.len() as u64).to_be_bytes());
                    digest.update(tag.as_bytes());
                }
                let digest = digest.finalize();
                digest.iter().fold("tags-sha256:".to_owned(), |key, byte| {
                    format!("{key}{byte:02x}")
                })
            }
            Self::Named { login } => format!("named:{login}"),
            Self::Loopback => "loopback".to_owned(),
        }
    }
}

/// The longest joined tags, in bytes, that a key has in plain text.
const LONGEST_TAGS: usize = 300;
