//! The account of a service: its ids, and how each distribution creates one.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use super::output;

/// The ids of a user and of its group; `None` if there is no such user.
pub(super) fn ids(name: &str) -> Option<(u32, u32)> {
    // `id` asks whatever the machine asks for users, which may be more than /etc/passwd.
    let ask = |what: &str| {
        let output = Command::new("id").args([what, name]).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        text.trim().parse().ok().filter(|_| output.status.success())
    };
    Some((ask("-u")?, ask("-g")?))
}

pub(super) fn create(name: &str, home: &Path) -> anyhow::Result<()> {
    let group = Command::new("getent").args(["group", name]).status();
    let group = group.is_ok_and(|status| status.success());
    let commands = commands(&find, name, home, group)
        .context("cannot create a user: found none of useradd, systemd-sysusers and adduser; create it by hand")?;
    for command in commands {
        let output = output(&command)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "cannot create the user \"{name}\": {}",
            said.trim().replace('\n', "; ")
        );
    }
    ensure!(
        ids(name).is_some(),
        "the user \"{name}\" was created, but `id {name}` does not find it"
    );
    Ok(())
}

/// Removes an account; its home is not touched.
pub(super) fn removal(name: &str) -> Vec<String> {
    let program = find("userdel").or_else(|| find("deluser"));
    let program = program.unwrap_or_else(|| "userdel".into());
    vec![program.display().to_string(), name.to_owned()]
}

/// A program of an administrator, who may have no `sbin` in the path.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let mut folders = std::env::split_paths(&path).chain(more);
    folders.find_map(|folder| Some(folder.join(program)).filter(|path| path.is_file()))
}

/// The commands that make an account with what is there; `group` where its group exists already.
fn commands(
    find: &dyn Fn(&str) -> Option<PathBuf>,
    name: &str,
    home: &Path,
    group: bool,
) -> Option<Vec<Vec<String>>> {
    let home = home.display().to_string();
    let shells = ["/usr/sbin/nologin", "/sbin/nologin"];
    let shell = shells.into_iter().find(|path| Path::new(path).exists());
    let shell = shell.unwrap_or("/bin/false");
    let line = |program: PathBuf, words: &[&str]| {
        let program = program.display().to_string();
        let words = words.iter().map(|word| (*word).to_owned());
        std::iter::once(program).chain(words).collect::<Vec<_>>()
    };
    if let Some(useradd) = find("useradd") {
        // Not every distribution makes a group for each user by itself.
        let of_group: &[&str] = if group {
            &["--gid", name]
        } else {
            &["--user-group"]
        };
        let words = [
            "--system",
            "--home-dir",
            &home,
            "--no-create-home",
            "--shell",
            shell,
        ];
        let words = [&words[..], of_group, &[name]].concat();
        return Some(vec![line(useradd, &words)]);
    }
    if let Some(sysusers) = find("systemd-sysusers") {
        let text = format!("u {name} - \"Iris, an AI gateway\" {home}");
        return Some(vec![line(sysusers, &["--inline", &text])]);
    }
    // BusyBox's: Debian's own `adduser` never comes without useradd.
    let adduser = find("adduser")?;
    let mut lines = Vec::new();
    if !group {
        lines.push(line(find("addgroup")?, &["-S", name]));
    }
    let words = ["-S", "-D", "-H", "-h", &home, "-s", shell, "-G", name, name];
    lines.push(line(adduser, &words));
    Some(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(programs: &[&str], group: bool) -> Option<Vec<String>> {
        let find = |name: &str| {
            let found = programs.contains(&name);
            found.then(|| Path::new("/sbin").join(name))
        };
        let commands = commands(&find, "iris", Path::new("/var/lib/iris"), group)?;
        Some(commands.iter().map(|words| words.join(" ")).collect())
    }

    #[test]
    fn an_account_is_made_with_what_the_distribution_has() {
        let all = ["useradd", "systemd-sysusers", "adduser", "addgroup"];
        let useradd = made(&all, false).unwrap();
        assert!(useradd[0].starts_with("/sbin/useradd --system --home-dir /var/lib/iris"));
        assert!(useradd[0].ends_with("--user-group iris"), "{useradd:?}");
        assert!(made(&all, true).unwrap()[0].ends_with("--gid iris iris"));
        assert_eq!(
            made(&all[1..], false).unwrap(),
            ["/sbin/systemd-sysusers --inline u iris - \"Iris, an AI gateway\" /var/lib/iris"]
        );
        let busybox = made(&all[2..], false).unwrap();
        assert_eq!(busybox[0], "/sbin/addgroup -S iris");
        assert!(busybox[1].starts_with("/sbin/adduser -S -D -H -h /var/lib/iris"));
        assert_eq!(made(&all[2..], true).unwrap().len(), 1);
        assert_eq!(made(&[], false), None);
    }

    #[test]
    fn ids_are_known_of_those_who_exist() {
        assert_eq!(ids("root").map(|(uid, _)| uid), Some(0));
        assert_eq!(ids("no-such-user-of-iris"), None);
    }
}
