//! Builds `src/net/tailnet/tsnet/go` into a C archive and links it, when the feature
//! `tailnet` is on. The user's Go environment is left as it is, so a vendored
//! folder (`GOFLAGS=-mod=vendor`) or a filled module cache (`GOPROXY=off`)
//! builds without a network.

use std::path::{Path, PathBuf};
use std::process::{Command, exit};
use std::{env, fs};

/// Seen from the package `core`, which has it built.
const SOURCES: &str = "../src/net/tailnet/tsnet/go";
const MINIMUM: (u32, u32) = (1, 26);

/// Go's flags, a line each. `./try` starts the same build before Cargo does, so they stand in a file. The tags leave
/// out parts of tailscale.com that a gateway has no use for: the archive is a third smaller without them.
const FLAGS: &str = include_str!("src/net/tailnet/tsnet/go/flags.txt");

fn main() {
    println!("cargo:rerun-if-changed=../build.rs");
    if env::var_os("CARGO_FEATURE_TAILNET").is_none() {
        return;
    }
    println!("cargo:rerun-if-changed={SOURCES}");
    for entry in fs::read_dir(SOURCES).expect("the Go sources").flatten() {
        println!("cargo:rerun-if-changed={}", entry.path().display());
    }
    check_version();

    let out = PathBuf::from(env::var_os("OUT_DIR").expect("OUT_DIR"));
    let target = env::var("CARGO_CFG_TARGET_OS").expect("the target");
    build(&out.join("libiris_tailnet.a"), &target);

    println!("cargo:rustc-link-search=native={}", out.display());
    println!("cargo:rustc-link-lib=static=iris_tailnet");
    if target == "macos" {
        for framework in ["CoreFoundation", "IOKit", "Security"] {
            println!("cargo:rustc-link-lib=framework={framework}");
        }
    } else {
        println!("cargo:rustc-link-lib=pthread");
    }
    println!("cargo:rustc-link-lib=resolv");
}

/// Waits for a build of the same archive that was started before this one, as `./try` does: what it has put into
/// Go's cache needn't be built twice at the same time.
#[expect(clippy::disallowed_methods, reason = "a build has no runtime")]
fn wait_for_the_other() {
    let Some(built) = env::var_os("IRIS_GO_BUILT").map(PathBuf::from) else {
        return;
    };
    // Its folder goes away with the script.
    while !built.exists() && built.parent().is_some_and(Path::exists) {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

fn build(archive: &Path, target: &str) {
    wait_for_the_other();
    let system = match target {
        "linux" => "linux",
        "macos" => "darwin",
        other => fail(&format!(
            "the embedded tailnet node is not built for {other}"
        )),
    };
    let processor = match env::var("CARGO_CFG_TARGET_ARCH").as_deref() {
        Ok("x86_64") => "amd64",
        Ok("aarch64") => "arm64",
        other => fail(&format!(
            "the embedded tailnet node is not built for {other:?}"
        )),
    };
    let mut go = Command::new("go");
    go.current_dir(SOURCES)
        .envs([
            ("CGO_ENABLED", "1"),
            ("GOOS", system),
            ("GOARCH", processor),
        ])
        .arg("build")
        .args(FLAGS.lines());
    if is_for_a_look() {
        go.args(["-gcflags", "all=-N -l"]);
    }
    // On the command line this would win over a vendored folder in GOFLAGS.
    if !env::var("GOFLAGS").is_ok_and(|flags| flags.contains("-mod=")) {
        go.arg(if Path::new(SOURCES).join("vendor").is_dir() {
            "-mod=vendor"
        } else {
            "-mod=readonly"
        });
    }
    let status = go.arg("-o").arg(archive).arg(".").status();
    if !status.is_ok_and(|status| status.success()) {
        fail("`go build` failed in src/net/tailnet/tsnet/go; its own message is above");
    }
}

/// Whether this build is neither optimized nor meant for a debugger, as by the profile `try`: Go's
/// compiler then leaves its optimizations out as well, which take a third of its time.
fn is_for_a_look() -> bool {
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|set| set == value);
    is("OPT_LEVEL", "0") && is("DEBUG", "false")
}

fn check_version() {
    let wanted = format!("Go {}.{} or newer", MINIMUM.0, MINIMUM.1);
    // Run where the module is, so that a toolchain named there is counted.
    let Ok(output) = Command::new("go")
        .current_dir(SOURCES)
        .args(["env", "GOVERSION"])
        .output()
    else {
        fail(&format!(
            "the embedded tailnet node needs {wanted}, and `go` was not found"
        ));
    };
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let mut parts = text
        .trim_start_matches("go")
        .split(['.', '-', 'r', 'b', ' ']);
    let mut number = || parts.next().and_then(|part| part.parse::<u32>().ok());
    if !matches!((number(), number()), (Some(major), Some(minor)) if (major, minor) >= MINIMUM) {
        fail(&format!(
            "the embedded tailnet node needs {wanted}, and `go` is {text:?}"
        ));
    }
}

#[expect(clippy::print_stderr, reason = "cargo shows it to whoever builds")]
fn fail(reason: &str) -> ! {
    eprintln!("error: {reason}");
    eprintln!("help: install Go (https://go.dev/dl) and a C compiler, or build without the");
    eprintln!("      embedded node: cargo build --no-default-features --features server");
    exit(1)
}
