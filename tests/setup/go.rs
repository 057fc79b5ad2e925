//! Which Go is accepted, which is downloaded, and that an archive is verified before it is unpacked.

use std::fs;
use std::process::Command;

use crate::world::{World, on_this_machine};

const APT: &str = "env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends";

fn with_go(version: &str) -> World {
    let world = World::whole();
    let go = format!(
        "case ${{2:-}} in GOVERSION) echo {version} ;; GOENV) echo \"$HOME/goenv\" ;; esac"
    );
    world.program("go", &go);
    world.program("curl", "exit 0");
    world.program("unzip", "exit 0");
    world
}

#[test]
fn a_go_that_fetches_the_newer_one_suits() {
    let world = with_go("go1.21.5");
    world.run("try", &[]).ends_with(0).says("iris demo");
    let log = world.log();
    assert!(
        log.iter().any(|line| line.ends_with("and Go auto")),
        "{log:?}"
    );
    // An environment that forbids it is respected.
    let output = with_go("go1.21.5").run_with("try", &[], &[("GOTOOLCHAIN", "local")]);
    output
        .ends_with(1)
        .says("Go 1.26.6 or newer")
        .says("here is 1.21.5");
    let world = with_go("go1.21.5");
    fs::write(world.path("home/goenv"), "GOTOOLCHAIN=local\n").unwrap();
    world.run("try", &[]).ends_with(1).says("here is 1.21.5");
}

#[test]
fn an_old_go_is_replaced() {
    let old = [("gcc", "4:12"), ("golang-go", "2:1.19~1")];
    let world = with_go("go1.19.8");
    world.apt(&old);
    let output = world.run("try", &[]);
    output.ends_with(1).says("here is 1.19.8");
    assert_eq!(output.commands(), ["sh tests/setup/go.sh"]);
    // A package with a version in its name, which backports have.
    let found = "golang-1.9-go - old\ngolang-1.23-go - Go programming language compiler\n";
    fs::write(world.path("search"), found).unwrap();
    let output = world.run("try", &[]);
    let install = format!("{APT} golang-1.23-go");
    assert_eq!(output.commands(), ["apt-get update", &install]);
    // It lies beside the PATH.
    let bin = world.path("system/usr/lib/go-1.23/bin");
    fs::create_dir_all(&bin).unwrap();
    fs::copy(world.path("store/go"), bin.join("go")).unwrap();
    world.run("try", &[]).ends_with(0).says("iris demo");
}

/// A machine on which the stand-in of curl serves `archive`, and that of unzip makes a Go of it.
fn unpacking(archive: &str) -> World {
    let world = World::bare();
    fs::write(world.path("archive"), archive).unwrap();
    world.program("curl", "log \"$*\"; shift 4; cp \"$root/archive\" \"$1\"");
    let unzip = r#"case $(uname -s) in Linux) os=linux ;; *) os=darwin ;; esac
case $(uname -m) in x86_64) cpu=amd64 ;; *) cpu=arm64 ;; esac
tree="$3/golang.org/toolchain@v0.0.1-go1.26.8.$os-$cpu"
mkdir -p "$tree/bin" "$tree/pkg/tool/x" "$tree/src"
echo 'echo go1.26.8' >"$tree/bin/go"
echo module >"$tree/src/_go.mod"
touch "$tree/pkg/tool/x/compile""#;
    world.program("unzip", unzip);
    world
}

/// What is in the user's cache.
fn kept(world: &World) -> Vec<String> {
    let Ok(entries) = fs::read_dir(world.path("home/.cache/iris")) else {
        return Vec::new();
    };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

#[test]
fn an_archive_with_another_hash_is_not_unpacked() {
    let world = unpacking("something else");
    let output = world.run("tests/setup/go.sh", &[]);
    output
        .ends_with(1)
        .says("has the SHA-256 \"")
        .says("nothing was unpacked");
    assert!(kept(&world).is_empty(), "{:?}", kept(&world));
}

#[test]
fn a_download_that_fails_leaves_nothing() {
    let world = unpacking("");
    world.program("curl", "echo 'curl: (6) no such host' >&2; exit 6");
    let output = world.run("tests/setup/go.sh", &[]);
    output
        .ends_with(1)
        .says("curl: (6) no such host")
        .says("error: the download failed");
    assert!(kept(&world).is_empty(), "{:?}", kept(&world));
    world.program("df", "echo header; echo 'disk 9 9 2048 99% /'");
    let output = world.run("tests/setup/go.sh", &[]);
    output
        .ends_with(1)
        .says("has 2 MiB of room, and Go takes 350");
}

#[test]
fn the_archive_becomes_a_go_in_one_step() {
    let world = unpacking("the archive");
    let sum = Command::new(on_this_machine("sha256sum"));
    let sum = { sum }.arg(world.path("archive")).output().unwrap().stdout;
    let sum = String::from_utf8(sum).unwrap();
    let script = world.path("project/tests/setup/go.sh");
    let text = fs::read_to_string(&script).unwrap();
    let any_hash = regex::Regex::new("[0-9a-f]{64}").unwrap();
    fs::write(&script, &*any_hash.replace_all(&text, &sum[..64])).unwrap();
    // What an earlier run has left, whose process is gone.
    let left = world.path("home/.cache/iris/go-part.99999999");
    fs::create_dir_all(left).unwrap();
    let proxy = [("GOPROXY", "off,https://proxy.example|direct")];
    world
        .run_with("tests/setup/go.sh", &[], &proxy)
        .ends_with(0);
    assert_eq!(kept(&world), ["go-1.26.8"]);
    assert!(world.log()[0].contains("https://proxy.example/golang.org/toolchain/@v/"));
    let go = world.path("home/.cache/iris/go-1.26.8");
    assert!(go.join("src/go.mod").exists());
    // It is found, and not fetched again.
    for name in ["rustc", "cargo", "cc"] {
        world.take(name);
    }
    world
        .run_with("tests/setup/go.sh", &[], &proxy)
        .ends_with(0);
    assert_eq!(world.log().len(), 1);
}
