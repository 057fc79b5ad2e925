//! The project that an agent works on, by the Git remote of the folder that it is started in: its owner and its
//! name, and nothing else of the remote, whose URL can hold a credential.

use std::process::{Command, Stdio};

use crate::base::labels;

/// The label of the folder's project; empty where it has none.
#[must_use]
pub(super) fn label() -> String {
    let mut git = Command::new("git");
    git.args(["config", "--get", "remote.origin.url"]);
    let output = git.stdin(Stdio::null()).stderr(Stdio::null()).output();
    let url = output.ok().filter(|output| output.status.success());
    let url = url.and_then(|output| String::from_utf8(output.stdout).ok());
    let project = url.and_then(|url| project(url.trim()));
    project.map_or_else(String::new, |project| format!("project={project}"))
}

/// The owner and the name of a repository by the URL of a remote, or the name of its folder.
fn project(remote: &str) -> Option<String> {
    // Git writes `host:path` as well as a URL (git-clone, "Git URLs").
    let (path, parts) = match remote.split_once("://") {
        Some((scheme, rest)) => {
            let parts = if scheme == "file" { 1 } else { 2 };
            (rest.split_once('/')?.1, parts)
        }
        None => match remote.split_once(':') {
            Some((host, path)) if !host.contains('/') => (path, 2),
            _ => (remote, 1),
        },
    };
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let path = path.trim_end_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    let mut last: Vec<&str> = path.rsplit('/').filter(|part| !part.is_empty()).collect();
    last.truncate(parts);
    last.reverse();
    // What looks like `user:token@host` is part of an odd URL rather than of a name.
    let value = last.join("/");
    (!value.contains('@') && labels::is_value(value.as_bytes())).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_the_end_of_its_remote_and_never_a_credential() {
        for (remote, expected) in [
            ("https://github.com/acme/web.git", Some("acme/web")),
            (
                "https://user:ghp_secret@github.com/acme/web",
                Some("acme/web"),
            ),
            ("https://ghp_secret@github.com/acme/web/", Some("acme/web")),
            ("https://host/acme/web.git?token=secret#x", Some("acme/web")),
            ("git@github.com:acme/web.git", Some("acme/web")),
            ("host:web.git", Some("web")),
            ("ssh://git@host:2222/group/sub/web.git", Some("sub/web")),
            ("file:///home/ann/secret/web.git", Some("web")),
            ("/srv/git/web.git", Some("web")),
            ("../web", Some("web")),
            ("https://user:secret@host", None),
            ("https://host/", None),
            ("host:", None),
            ("/srv/my web", None),
            ("https:user:secret@host/web", None),
            ("https://host/a/b@secret", None),
            ("", None),
        ] {
            assert_eq!(project(remote).as_deref(), expected, "{remote}");
        }
        assert_eq!(project(&format!("/srv/{}", "n".repeat(100))), None);
    }
}
