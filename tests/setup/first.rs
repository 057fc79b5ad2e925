//! `./try`: from a machine's missing parts to the demo.

use std::fs;

use crate::world::{Output, World, find};

const APT: &str = "env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends";
const INSTALLER: &str = r#"script=$(curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs) && printf '%s\n' "$script" | sh -s -- -y --profile minimal"#;

/// A Debian whose Rust and Go are new enough.
const NEW: [(&str, &str); 3] = [
    ("gcc", "4:14.2.0-1"),
    ("cargo", "1.97.1+dfsg1-1"),
    ("golang-go", "2:1.27~1"),
];

fn apt_of(offers: &[(&str, &str)]) -> World {
    let world = World::bare();
    world.apt(offers);
    world
}

#[test]
fn a_whole_machine_builds_and_starts_the_demo() {
    let world = World::whole();
    let output = world.run("try", &["--yes", "--", "--plain", "--listen", "1:2"]);
    output.ends_with(0).says("iris demo --plain --listen 1:2");
    output.says("This build leaves out PostgreSQL and optimization");
    let build = "cargo build --locked --profile try --no-default-features --features tailnet";
    assert!(
        world.log().iter().any(|line| line == build),
        "{:?}",
        world.log()
    );
    // A later start has nothing to tell, and arguments need no dashes before them.
    let output = world.run("try", &["--plain"]);
    assert_eq!(output.ends_with(0).text, "iris demo --plain\n");
}

#[test]
fn each_package_manager_is_told_in_its_own_words() {
    let expected = [
        ("dnf", vec!["dnf install -y cargo rust golang gcc"]),
        ("apk", vec!["apk add cargo rust gcc musl-dev"]),
        ("pacman", vec!["pacman -S --needed --noconfirm rust go gcc"]),
        ("brew", vec!["brew install rust go gcc"]),
    ];
    for (manager, commands) in expected {
        let world = World::bare();
        world.program(manager, OFFERS);
        let output = world.run("try", &[]);
        output
            .ends_with(1)
            .says("  Rust 1.")
            .says("  a C compiler: ");
        assert_eq!(output.commands(), commands, "{}", output.text);
        assert!(world.log().is_empty(), "{:?}", world.log());
    }
    let output = apt_of(&NEW).run("try", &[]);
    let install = format!("{APT} cargo rustc golang-go gcc libc6-dev");
    assert_eq!(output.ends_with(1).commands(), ["apt-get update", &install]);
}

/// Answers a manager's question for the version of any package.
const OFFERS: &str = r#"case "$*" in
*repoquery*) echo 1.97.1 ;;
'search -e '*) echo "$3-1.97.1-r0" ;;
'-Si '*) echo "Version         : 1:1.97.1-1" ;;
*) log "$0 $*" ;;
esac"#;

#[test]
fn every_shell_reads_the_scripts() {
    for shell in ["dash", "busybox", "bash", "ksh"] {
        let Some(shell) = find(shell) else { continue };
        let world = apt_of(&NEW);
        let output = world.run_in(&shell, "try", &[], &[]);
        assert_eq!(
            output.ends_with(1).commands().len(),
            2,
            "{shell:?}: {}",
            output.text
        );
        world
            .run_in(&shell, "try", &["--yes"], &[])
            .ends_with(0)
            .says("iris demo");
        world
            .run_in(&shell, "test", &["--list"], &[])
            .ends_with(0)
            .says("setup");
    }
}

#[test]
fn what_is_shown_is_what_is_run() {
    for (user, sudo) in [(0, ""), (1000, "sudo "), (1000, "doas ")] {
        let world = apt_of(&NEW);
        world.user(user);
        if !sudo.is_empty() {
            world.program(
                sudo.trim(),
                "log \"$(basename \"$0\")\" \"$@\" 2>/dev/null; exec \"$@\"",
            );
        }
        let shown = world.run("try", &[]);
        let shown = shown.ends_with(1).commands().join("\n");
        let update = format!("{sudo}apt-get update");
        assert_eq!(
            shown,
            format!("{update}\n{sudo}{APT} cargo rustc golang-go gcc libc6-dev")
        );
        let output = world.run("try", &["--yes"]);
        output.ends_with(0).says("iris demo");
        let run: Vec<&str> = output
            .text
            .lines()
            .filter_map(|line| line.strip_prefix("+ "))
            .collect();
        assert_eq!(run.join("\n"), shown);
        assert!(
            world
                .log()
                .iter()
                .any(|line| line.contains("apt-get install -y"))
        );
    }
}

#[test]
fn somebody_at_a_terminal_is_asked() {
    let world = apt_of(&NEW);
    let output = world.run_on_terminal("n");
    output
        .ends_with(1)
        .says("Run them now? [y/N]")
        .says("Nothing was installed");
    assert!(world.log().is_empty(), "{:?}", world.log());
    let output = world.run_on_terminal("y");
    output.ends_with(0).says("iris demo");
}

#[test]
fn without_root_and_sudo_the_commands_are_shown() {
    let world = apt_of(&[
        ("gcc", "12"),
        ("cargo", "0.66.0+ds1-1"),
        ("golang-go", "2:1.27~1"),
    ]);
    world.user(1000);
    world.program("curl", "exit 0");
    for arguments in [&[][..], &["--yes"]] {
        let output = world.run("try", arguments);
        output
            .ends_with(1)
            .says("You are not root, and sudo is not installed.");
        output
            .says("  # as root\n  apt-get update\n")
            .says("  # as yourself\n  script=$(curl --proto");
        assert!(world.log().is_empty(), "{:?}", world.log());
    }
}

#[test]
fn sudo_that_refuses_is_told_with_the_commands() {
    let world = apt_of(&NEW);
    world.user(1000);
    world.program("sudo", "echo 'sudo: a password is required' >&2; exit 1");
    let output = world.run("try", &["--yes"]);
    output.ends_with(1).says("sudo: a password is required");
    output.says("If you may not use sudo, ask your administrator");
    output.says("error: \"sudo apt-get update\" failed");
    assert!(output.commands()[1].ends_with("golang-go gcc libc6-dev"));
}

#[test]
fn without_a_package_manager_the_rest_is_named() {
    let world = World::bare();
    let output = world.run("try", &["--yes"]);
    output
        .ends_with(1)
        .says("none of apt, dnf, apk, pacman and brew");
    output
        .says("  a C compiler: ")
        .says("  curl: ")
        .says("sh tests/setup/go.sh");
    assert!(output.commands().contains(&INSTALLER), "{}", output.text);
}

/// The commands for a machine with a C compiler and a Go.
fn commands_for_rust(offers: &[(&str, &str)], prepare: impl Fn(&World)) -> (World, Output) {
    let world = World::whole();
    world.apt(offers);
    world.remove("rustc");
    world.remove("cargo");
    world.program("curl", "exit 0");
    prepare(&world);
    let output = world.run("try", &[]);
    (world, output)
}

#[test]
fn an_old_rust_is_replaced_as_rust_recommends() {
    let old = [("gcc", "4:14"), ("cargo", "1.85.1+dfsg1-1")];
    // The installer, where the system has nothing newer.
    let (_, output) = commands_for_rust(&old, |world| {
        world.program("rustc", "echo 'rustc 1.85.1 (x)'");
    });
    output.ends_with(1).says("here is 1.85.1");
    assert_eq!(output.commands(), [INSTALLER]);
    // With wget instead of curl.
    let (_, output) = commands_for_rust(&old, |world| {
        world.remove("curl");
        world.program("wget", "exit 0");
    });
    let installer = INSTALLER.replace("curl --proto '=https' --tlsv1.2 -sSf", "wget -qO -");
    assert_eq!(output.commands(), [installer]);
    // Another release of the system, such as backports.
    let madison = "     cargo | 1.97.1+dfsg1-1~bpo13+1 | http://deb.debian.org/debian trixie-backports/main amd64 Packages\n     cargo | 1.85.1+dfsg1-1 | http://deb.debian.org/debian trixie/main amd64 Packages\n";
    let (_, output) = commands_for_rust(&old, |world| {
        fs::write(world.path("madison"), madison).unwrap();
    });
    let install = format!("{APT} -t trixie-backports cargo rustc");
    assert_eq!(output.commands(), ["apt-get update", &install]);
    // The system's package of rustup; not if it would take away a Rust that is there.
    let with_rustup = [old[0], old[1], ("rustup", "1.27.1-3")];
    let (_, output) = commands_for_rust(&with_rustup, |_| ());
    let [toolchain, default] = [
        "rustup toolchain install stable --profile minimal",
        "rustup default stable",
    ];
    let install = format!("{APT} rustup");
    assert_eq!(
        output.commands(),
        ["apt-get update", &install, toolchain, default]
    );
    let (_, output) = commands_for_rust(&with_rustup, |world| world.program("rustc", "exit 1"));
    assert_eq!(output.commands(), [INSTALLER]);
    // A rustup that is there, with an old toolchain or none.
    let rustup = "case $1 in default) exit 0 ;; toolchain) log \"rustup $*\" ;; esac";
    let (_, output) = commands_for_rust(&old, |world| world.program("rustup", rustup));
    assert_eq!(output.commands(), [toolchain]);
}

/// What stands for sh.rustup.rs: it puts Rust where rustup does.
const RUSTUP: &str = r#"case "$*" in *https://sh.rustup.rs)
    echo 'log "rustup-init $*"; mkdir -p "$HOME/.cargo/bin"'
    echo 'cp "$root/store/rustc" "$root/store/cargo" "$HOME/.cargo/bin/"' ;;
esac"#;

#[test]
fn the_installer_of_rust_is_run_and_its_failure_told() {
    let old = [("gcc", "4:14"), ("cargo", "1.85.1+dfsg1-1")];
    let (world, _) = commands_for_rust(&old, |_| ());
    let installer = format!(
        "echo 'root={0}; log() {{ echo \"$*\" >>{0}/log; }}'\n{RUSTUP}",
        world.path("").display()
    );
    world.program("curl", &installer);
    world.run("try", &["--yes"]).ends_with(0).says("iris demo");
    let log = world.log();
    assert!(
        log.contains(&"rustup-init -y --profile minimal".to_owned()),
        "{log:?}"
    );
    let (world, _) = commands_for_rust(&old, |_| ());
    world.program(
        "curl",
        "echo 'curl: (6) Could not resolve host' >&2; exit 6",
    );
    let output = world.run("try", &["--yes"]);
    output
        .ends_with(1)
        .says("curl: (6)")
        .says("run ./try again");
    assert!(!output.text.contains("Still missing"), "{}", output.text);
}

#[test]
fn a_toolchain_of_rustup_that_is_no_default_is_used() {
    let world = World::whole();
    world.program(
        "rustup",
        "echo '1.80.0-x86_64 (default)'; echo stable-x86_64",
    );
    let rustc = "case ${RUSTUP_TOOLCHAIN:-} in stable) echo 'rustc 1.97.1 (x)' ;; *) echo 'rustc 1.80.0 (x)' ;; esac";
    world.program("rustc", rustc);
    world.run("try", &[]).ends_with(0).says("iris demo");
    let log = world.log();
    assert!(
        log.iter().any(|line| line.ends_with("by stable")),
        "{log:?}"
    );
}

#[test]
fn a_rust_that_a_new_shell_would_find_is_found() {
    let world = World::whole();
    let bin = world.path("home/.cargo/bin");
    fs::create_dir_all(&bin).unwrap();
    for name in ["rustc", "cargo"] {
        world.remove(name);
        fs::copy(world.path("store").join(name), bin.join(name)).unwrap();
    }
    world.run("try", &[]).ends_with(0).says("iris demo");
}

#[test]
fn lists_of_packages_are_fetched_before_versions_are_compared() {
    let world = apt_of(&[]);
    let output = world.run("try", &[]);
    assert_eq!(output.ends_with(1).commands(), ["apt-get update"]);
    // An update that brings nothing ends there.
    let output = world.run("try", &["--yes"]);
    output
        .ends_with(1)
        .says("error: apt-get offers no packages");
    assert_eq!(world.log(), ["apt-get update"]);
}

#[test]
fn what_fails_is_named_and_can_be_tried_again() {
    let world = apt_of(&NEW);
    world.program(
        "apt-get",
        "case $1 in install) echo 'E: no space left' >&2; exit 100 ;; esac",
    );
    let output = world.run("try", &["--yes"]);
    output
        .ends_with(1)
        .says("E: no space left")
        .says("libc6-dev\" failed")
        .says("run ./try again");
    // What is installed and does not help is not installed again and again.
    world.program("apt-get", "exit 0");
    for name in ["rustc", "cargo", "go"] {
        world.take(name);
    }
    let output = world.run("try", &["--yes"]);
    output
        .ends_with(1)
        .says("error: still missing after the installation: cc");
    // An installation that was interrupted.
    world.apt(&NEW);
    world.program(
        "dpkg",
        "[ \"$1\" != --audit ] || echo 'half installed: gcc'",
    );
    let output = world.run("try", &[]);
    let first = "env DEBIAN_FRONTEND=noninteractive dpkg --configure -a";
    assert_eq!(output.commands()[0], first);
    world.run("try", &["--yes"]).ends_with(0).says("iris demo");
}

#[test]
fn a_full_disk_and_a_missing_network_are_told() {
    let world = World::whole();
    world.program("df", "echo header; echo 'disk 9 9 204800 99% /'");
    let output = world.run("try", &[]);
    output
        .ends_with(1)
        .says("error: there are 200 MiB of room here, and the build takes");
    assert!(!world.log().iter().any(|line| line.starts_with("cargo")));

    let world = World::whole();
    world.program("cargo", "case $1 in -V) ;; *) exit 101 ;; esac");
    let output = world.run("try", &[]);
    output
        .ends_with(1)
        .says("error: a download failed: check the network and run ./try again");
    world.program("cargo", "case $1 in build) exit 101 ;; esac");
    let output = world.run("try", &[]);
    output
        .ends_with(1)
        .says("error: the build failed, and the reason is above");
    let free = "if [ -e target/full ]; then echo x; echo 'd 1 1 9 9% /'; else echo x; echo 'd 1 1 99999999 9% /'; fi";
    world.program("df", free);
    world.program(
        "cargo",
        "case $1 in build) mkdir -p target; touch target/full; exit 101 ;; esac",
    );
    let output = world.run("try", &[]);
    output
        .ends_with(1)
        .says("error: the disk is full: make room and run ./try again");
}

#[test]
fn a_compiler_of_several_words_and_a_missing_home_are_understood() {
    let world = World::whole();
    world.program("ccache", "shift; exec cc \"$@\"");
    let output = world.run_with("try", &[], &[("CC", "ccache cc")]);
    output.ends_with(0).says("iris demo");
    let output = world.run_with("try", &[], &[("HOME", "")]);
    output.ends_with(1).says("HOME is not set");
}
