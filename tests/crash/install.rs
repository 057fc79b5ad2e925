//! `iris service` on a machine on which nothing of Iris is installed, not even its user: run by a real
//! systemd, up to a gateway's response and back.

use std::net::TcpListener;
use std::path::Path;

use anyhow::{Context, ensure};

use crate::bare::{Bare, config};
use crate::service::served;

pub const TESTS: &[support::harness::Test<()>] = support::tests![
    a_bare_machine_becomes_a_service_and_a_bare_machine_again,
    a_user_has_a_service_without_root,
];

const KEY: &str = r#"a "key" with $HOME and \"#;

async fn a_bare_machine_becomes_a_service_and_a_bare_machine_again() -> anyhow::Result<()> {
    let Some(bare) = Bare::start().await? else {
        return Ok(());
    };
    let tested = async {
        refused(&bare)?;
        full(&bare)?;
        installed(&bare).await?;
        again(&bare).await?;
        fails_and_recovers(&bare).await?;
        with_an_auth_key(&bare).await?;
        removed(&bare)
    };
    tested.await.with_context(|| bare.machine.log())
}

/// What can't be installed is refused with the reason and what to do, and changes nothing.
fn refused(bare: &Bare) -> anyhow::Result<()> {
    let install = "/srv/iris service install";
    for (script, parts) in [
        (
            format!("cd /tmp && {install}"),
            &["found no configuration: expected ./iris.hujson, or name one with --config FILE"][..],
        ),
        (
            format!("{install} --config /srv/none.hujson"),
            &["cannot read the configuration /srv/none.hujson"],
        ),
        (
            format!("{install} --config /srv/broken.hujson"),
            &["the configuration has errors\n/srv/broken.hujson:1:"],
        ),
        (
            format!("{install} --config /srv/iris.hujson"),
            &["/srv/iris.hujson refers to A_KEY, which is not set here: set it, or write A_KEY="],
        ),
        (
            format!("SUDO_USER=ada {install} --config /srv/iris.hujson"),
            &[
                "which is not set here: set it and have sudo pass it on, by\n\n  sudo \
                 --preserve-env=A_KEY /srv/iris service install --config /srv/iris.hujson\n\nor \
                 write A_KEY=",
            ],
        ),
        (
            format!("A_KEY=x {install} --config /srv/iris.hujson --auth-key-file /srv/key"),
            &["the key in /srv/key would not be used: add \"auth_key\": \"${file:/run/cred"],
        ),
        (
            format!("A_KEY=x {install} --config /srv/keyed.hujson --auth-key-file /srv/empty"),
            &["/srv/empty does not hold an auth key: expected one word"],
        ),
        (
            format!("A_KEY=x {install} --config /srv/keyed.hujson"),
            &["name a file with the key with --auth-key-file FILE"],
        ),
        (
            format!("A_KEY=x {install} --config /srv/iris.hujson --bin /home/iris"),
            &["the program can't be in \"/home/iris\": the service can't see /home"],
        ),
        (
            format!("A_KEY=x {install} --config /srv/iris.hujson --bin '/opt/a\nUser=root'"),
            &["has control characters; use one without"],
        ),
        (
            format!(
                "A_KEY=x setpriv --reuid 65534 --clear-groups {install} --config /srv/iris.hujson"
            ),
            &[
                "takes root. Run\n\n  sudo --preserve-env=A_KEY /srv/iris service install --config \
                 /srv/iris.hujson\n",
            ],
        ),
        (
            format!(
                "unshare --mount sh -c 'mount -t tmpfs tmpfs /run && cd /srv && A_KEY=x {install}'"
            ),
            &["found no service manager: expected systemd"],
        ),
        (
            "/srv/iris service status".to_owned(),
            &["Not installed: there is no /etc/systemd/system/iris.service"],
        ),
    ] {
        let text = bare.says(&script, 1, parts)?;
        ensure!(!text.contains("panicked"), "{text}");
    }
    dry(bare)
}

/// Nothing is done that is only shown.
fn dry(bare: &Bare) -> anyhow::Result<()> {
    let install = "/srv/iris service install";
    let dry = bare.says(
        &format!("cd /srv && A_KEY=x {install} --dry-run"),
        0,
        &[
            "create the system user iris with the home /var/lib/iris\n",
            "write /usr/local/bin/iris: this program, from /srv/iris (mode 755)\n",
            "write /etc/iris/environment: the values of A_KEY (mode 600)\n",
            "write /etc/systemd/system/iris.service: the unit (mode 644)\n",
            "run systemctl restart iris.service\n",
        ],
    )?;
    ensure!(!dry.contains("nothing to do"), "{dry}");
    bare.says(
        "/srv/iris service uninstall",
        0,
        &["There is nothing to remove."],
    )?;
    bare.is_bare()
}

/// Where a folder is full the old program stays, and nothing is left in the way of a second try.
fn full(bare: &Bare) -> anyhow::Result<()> {
    bare.says(
        "mount -t tmpfs -o size=64k tmpfs /usr/local/bin && cp /bin/true /usr/local/bin/iris",
        0,
        &[],
    )?;
    bare.says(
        "cd /srv && A_KEY=x ./iris service install",
        1,
        &["error: cannot write /usr/local/bin/iris: No space left on device"],
    )?;
    bare.says(
        "cmp /bin/true /usr/local/bin/iris && ls -A /usr/local/bin",
        0,
        &["iris\n"],
    )?;
    bare.says("umount /usr/local/bin", 0, &[])?;
    // The same for a first configuration.
    let init = "/srv/iris init --control loopback --no-test --provider http://gpu:8080,m";
    bare.says(
        "mount -t tmpfs -o size=64k tmpfs /mnt && cd /mnt && ! cat /dev/zero >filler",
        0,
        &["No space left"],
    )?;
    bare.says(
        &format!("cd /mnt && {init}"),
        1,
        &["error: cannot write iris.hujson: No space left on device"],
    )?;
    let left = bare.says("ls -A /mnt", 0, &[])?;
    ensure!(left == "filler\n", "{left}");
    bare.says(
        &format!("cd /mnt && rm filler && {init} && /srv/iris check --strict iris.hujson"),
        0,
        &["Wrote iris.hujson"],
    )?;
    bare.says("umount /mnt", 0, &[])?;
    bare.says(
        "ls /usr/local/bin/iris /etc/systemd/system/iris.service",
        2,
        &[],
    )?;
    Ok(())
}

async fn installed(bare: &Bare) -> anyhow::Result<()> {
    let address = bare.address;
    let key = KEY.replace('\'', "");
    bare.says(
        &format!("cd /srv && A_KEY='{key}' ./iris service install"),
        0,
        &[&format!("serving http://{address}\n"), "journalctl -u iris"],
    )?;
    served(address).await?;
    // Each file has the owner and the mode that keep others out.
    bare.says(
        "stat --format '%a %U %n' /usr/local/bin/iris /var/lib/iris /var/lib/iris/iris.hujson \
         /etc/iris /etc/iris/environment /etc/systemd/system/iris.service",
        0,
        &[
            "755 root /usr/local/bin/iris\n700 iris /var/lib/iris\n600 iris \
           /var/lib/iris/iris.hujson\n711 root /etc/iris\n600 root /etc/iris/environment\n644 root \
           /etc/systemd/system/iris.service\n",
        ],
    )?;
    bare.says("cmp /srv/iris.hujson /var/lib/iris/iris.hujson", 0, &[])?;
    let pid = bare.machine.show("MainPID")?;
    let environ = bare.says(&format!("tr '\\0' '\\n' </proc/{pid}/environ"), 0, &[])?;
    ensure!(
        environ.lines().any(|line| line == format!("A_KEY={key}")),
        "{environ}"
    );
    bare.says(
        &format!("awk '/^Uid/ {{print $2}}' /proc/{pid}/status | xargs id -un"),
        0,
        &["iris\n"],
    )?;
    bare.says(
        "/srv/iris service status",
        0,
        &[
            "running since ",
            &format!("serving http://{address}\n"),
            "at boot        starts\n",
            "/etc/systemd/system/iris.service\n",
        ],
    )?;
    Ok(())
}

/// A second installation upgrades what differs, keeps what is yours, and restarts.
async fn again(bare: &Bare) -> anyhow::Result<()> {
    let pid = bare.machine.show("MainPID")?;
    bare.says(
        "cp /bin/true /usr/local/bin/other && mv /usr/local/bin/other /usr/local/bin/iris && \
         echo '# more' >>/etc/systemd/system/iris.service && \
         sed -i '1i # Mine' /etc/iris/environment",
        0,
        &[],
    )?;
    bare.says(
        "/srv/iris service status",
        0,
        &["not this program's: `iris service install`"],
    )?;
    let text = bare.says(
        "cd / && /srv/iris service install",
        0,
        &["create the system user iris with the home /var/lib/iris: nothing to do\n"],
    )?;
    let written: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("  write") && !line.ends_with("nothing to do"))
        .collect();
    ensure!(written.len() == 2, "{written:#?}");
    bare.says(
        "cmp /srv/iris /usr/local/bin/iris && head -1 /etc/iris/environment",
        0,
        &["# Mine"],
    )?;
    bare.says("grep '# more' /etc/systemd/system/iris.service", 1, &[])?;
    ensure!(bare.machine.show("MainPID")? != pid, "it was not restarted");
    served(bare.address).await?;
    // The installed configuration is out of sight without root, which is what has to be said then.
    bare.says(
        "cd / && setpriv --reuid 65534 --clear-groups /srv/iris service install",
        1,
        &["takes root. Run\n\n  sudo /srv/iris service install\n"],
    )?;
    replaced(bare)
}

/// Another configuration does not replace the one that the dashboard may have saved, unless it is
/// told to.
fn replaced(bare: &Bare) -> anyhow::Result<()> {
    let other = "/srv/iris service install --config /srv/other.hujson";
    bare.says(
        other,
        1,
        &[
            "/srv/other.hujson differs from the installed /var/lib/iris/iris.hujson: replace that \
           with --force, or keep it with --config /var/lib/iris/iris.hujson",
        ],
    )?;
    bare.says("cmp /srv/iris.hujson /var/lib/iris/iris.hujson", 0, &[])?;
    // The service's account can put a link there; root doesn't follow it.
    bare.says(
        "cd /var/lib/iris && mv iris.hujson mine && ln -s /etc/shadow iris.hujson",
        0,
        &[],
    )?;
    for install in [
        format!("{other} --force"),
        "/srv/iris service install".to_owned(),
    ] {
        bare.says(
            &format!("cd / && {install}"),
            1,
            &[
                "cannot read ",
                "/var/lib/iris/iris.hujson: expected a regular file, not a link",
            ],
        )?;
    }
    bare.says(
        "cd /var/lib/iris && ! ls iris.hujson.old && mv mine iris.hujson",
        0,
        &["No such file"],
    )?;
    bare.says(
        &format!("{other} --force"),
        0,
        &[
            "keep /var/lib/iris/iris.hujson as /var/lib/iris/iris.hujson.old: the configuration until now\n",
            "serving http://",
        ],
    )?;
    bare.says(
        "cmp /srv/other.hujson /var/lib/iris/iris.hujson && \
         cmp /srv/iris.hujson /var/lib/iris/iris.hujson.old",
        0,
        &[],
    )?;
    Ok(())
}

/// A service that can't start says why, and a second try is all that it takes.
async fn fails_and_recovers(bare: &Bare) -> anyhow::Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?;
    let text = config(address).to_string();
    bare.says(
        &format!("cat >/srv/taken.hujson <<'END'\n{text}\nEND"),
        0,
        &[],
    )?;
    bare.says(
        "/srv/iris service install --config /srv/taken.hujson --force",
        1,
        &[
            "the service is installed but does not start: ",
            "in use",
            "The log: journalctl -u iris",
        ],
    )?;
    drop(taken);
    bare.says(
        "/srv/iris service install",
        0,
        &[&format!("serving http://{address}\n")],
    )?;
    served(address).await
}

/// An auth key is root's, and systemd hands it over.
async fn with_an_auth_key(bare: &Bare) -> anyhow::Result<()> {
    bare.says(
        "/srv/iris service install --config /srv/keyed.hujson --auth-key-file /srv/key --force",
        0,
        &[
            "write /etc/iris/authkey: the auth key (mode 600)",
            "serving http://",
        ],
    )?;
    served(bare.address).await?;
    bare.says("stat --format '%a %U' /etc/iris/authkey", 0, &["600 root"])?;
    bare.says(
        "cat /run/credentials/iris.service/authkey",
        0,
        &["tskey-auth-1"],
    )?;
    // It is known at the next upgrade.
    bare.says("/srv/iris service install", 0, &["serving http://"])?;
    Ok(())
}

fn removed(bare: &Bare) -> anyhow::Result<()> {
    let uninstall = "/srv/iris service uninstall";
    bare.says(
        &format!("{uninstall} --dry-run"),
        0,
        &["run systemctl disable --now iris.service"],
    )?;
    ensure!(bare.machine.show("ActiveState")? == "active");
    bare.says(
        uninstall,
        0,
        &[
            "remove /etc/systemd/system/iris.service\n",
            "These stay:\n  /var/lib/iris: the configuration, the records and the node's key\n",
            "  /usr/local/bin/iris: the program\n",
        ],
    )?;
    ensure!(
        std::net::TcpStream::connect(bare.address).is_err(),
        "it answers"
    );
    bare.says("ls -d /etc/systemd/system/iris*", 2, &[])?;
    bare.says(
        "ls /var/lib/iris/iris.hujson /var/lib/iris/iris.db /etc/iris/environment",
        0,
        &[],
    )?;
    // What stayed is used by the next installation.
    bare.says("/srv/iris service install", 0, &["serving http://"])?;
    bare.says(
        &format!("{uninstall} --purge"),
        0,
        &["remove /var/lib/iris\n", "remove it in the admin console"],
    )?;
    bare.says("rm /usr/local/bin/iris", 0, &[])?;
    bare.is_bare()
}

async fn a_user_has_a_service_without_root() -> anyhow::Result<()> {
    let Some(bare) = Bare::start().await? else {
        return Ok(());
    };
    of_a_user(&bare).await.with_context(|| bare.machine.log())
}

async fn of_a_user(bare: &Bare) -> anyhow::Result<()> {
    bare.says("useradd --create-home ada", 0, &[])?;
    let as_ada = |words: &str| {
        format!(
            "setpriv --reuid ada --regid ada --init-groups env HOME=/home/ada \
             XDG_RUNTIME_DIR=/run/ada {words}"
        )
    };
    let install = "A_KEY=x /srv/iris service install --user --config /srv/iris.hujson";
    bare.says(
        &as_ada(install),
        1,
        &["no systemd manager of its own in this session"],
    )?;
    bare.says(
        "systemd-run --quiet --unit ada --property User=ada --property Delegate=yes \
         --property RuntimeDirectory=ada --property Environment=XDG_RUNTIME_DIR=/run/ada \
         --property Type=notify /lib/systemd/systemd --user",
        0,
        &[],
    )?;
    let address = bare.address;
    bare.says(
        &as_ada(install),
        0,
        &[
            &format!("serving http://{address}\n"),
            "loginctl enable-linger",
        ],
    )?;
    served(address).await?;
    bare.says(
        "stat --format '%a %U %n' /home/ada/.local/bin/iris /home/ada/.local/state/iris \
         /home/ada/.local/state/iris/iris.db /home/ada/.config/iris/environment",
        0,
        &[
            "755 ada",
            "700 ada /home/ada/.local/state/iris\n",
            "600 ada /home/ada/.config",
        ],
    )?;
    let status = "/srv/iris service status --user";
    bare.says(
        &as_ada(status),
        0,
        &["running since", "journalctl --user -u iris"],
    )?;
    bare.says(
        &as_ada("/srv/iris service uninstall --user --purge"),
        0,
        &[
            "remove /home/ada/.local/state/iris\n",
            "/home/ada/.local/bin/iris: the program\n",
        ],
    )?;
    bare.says(&as_ada(status), 1, &["Not installed"])?;
    ensure!(std::net::TcpStream::connect(address).is_err(), "it answers");
    let state = Path::new("/home/ada/.local/state/iris");
    bare.says(
        &format!("ls -d {} /home/ada/.config/iris", state.display()),
        2,
        &[],
    )?;
    bare.is_bare()
}
