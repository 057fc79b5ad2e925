//! `./test`: what it runs, what it skips, and that its totals match what ran.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use regex::Regex;
use serde_json::Value;

use crate::world::World;

const LIBRARY: &str =
    "test result: ok. 40 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.1s";
const OURS: &str =
    "test result: ok. 7 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 9.1s";

/// A machine with all that the programs `walls` and `loopback` need, and a Cargo that runs `tests`,
/// a part of a `case` on its arguments.
fn with_tests(tests: &str) -> World {
    let world = World::whole();
    for name in [
        "bash", "ip", "unshare", "setpriv", "initdb", "script", "curl",
    ] {
        world.program(name, "exit 0");
    }
    let kill = world.path("system/bin");
    fs::create_dir_all(&kill).unwrap();
    fs::write(kill.join("kill"), "").unwrap();
    for name in ["walls", "loopback"] {
        let folder = world.path("project/tests").join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("main.rs"), "").unwrap();
    }
    let cargo = format!("log \"cargo $*\"\ncase \" $* \" in *' --no-run '*) ;;\n{tests}\nesac");
    world.program("cargo", &cargo);
    world
}

#[test]
fn totals_are_added_up_and_a_failure_is_not_the_end() {
    let tests = format!(
        "*' --lib '*) echo '{LIBRARY}' ;;
*' walls '*) echo 'test a ... SKIPPED: it takes root'; echo '{OURS}' ;;
*' loopback '*) echo 'test result: FAILED. 5 passed; 2 failed; 0 ignored; 0 measured'; exit 101 ;;"
    );
    let world = with_tests(&tests);
    let output = world.run("test", &["loopback", "walls", "lib"]);
    output
        .ends_with(1)
        .says("failed: 2 of loopback; see target/test-logs/loopback");
    output.says("skipped: walls: it takes root");
    assert!(
        output.text.ends_with("\n52 passed, 2 failed, 3 skipped\n"),
        "{}",
        output.text
    );
    let output = world.run("test", &["walls", "lib"]);
    assert!(
        output
            .ends_with(0)
            .text
            .ends_with("\n47 passed, 0 failed, 3 skipped\n")
    );
}

#[test]
fn what_ends_without_totals_has_failed() {
    let world = with_tests("*' walls '*) exit 101 ;; *' --lib '*) exit 0 ;;");
    let output = world.run("test", &["walls", "lib"]);
    output
        .ends_with(1)
        .says("failed: walls ended with status 101");
    output.says("failed: lib reported no test");
    assert!(
        output.text.ends_with("\n0 passed, 2 failed, 0 skipped\n"),
        "{}",
        output.text
    );
    // Totals before a crash.
    let world = with_tests(&format!("*' walls '*) echo '{OURS}'; exit 134 ;;"));
    let output = world.run("test", &["walls"]);
    assert!(
        output
            .ends_with(1)
            .text
            .ends_with("\n7 passed, 1 failed, 1 skipped\n")
    );
}

#[test]
fn tests_that_can_not_be_built_are_a_failure() {
    let world = with_tests("");
    world.program(
        "cargo",
        "case \"$*\" in *--no-run*) echo 'error: x'; exit 101 ;; esac",
    );
    let output = world.run("test", &["quick"]);
    output
        .ends_with(1)
        .says("failed: the tests could not be built");
    assert!(
        output.text.ends_with("\n0 passed, 1 failed, 0 skipped\n"),
        "{}",
        output.text
    );
}

#[test]
fn what_a_system_has_no_package_for_leaves_out_its_programs_alone() {
    let world = with_tests(&format!("*' --lib '*) echo '{LIBRARY}' ;;"));
    world.program("brew", "exit 0");
    world.program("uname", "echo Darwin");
    world.remove("setpriv");
    let output = world.run("test", &["--yes", "walls", "lib"]);
    output
        .ends_with(0)
        .says("skipped: walls, which needs setpriv Linux");
    assert!(
        output.text.ends_with("\n40 passed, 0 failed, 3 skipped\n"),
        "{}",
        output.text
    );
    // Where everything has to run, that is a failure.
    let output = world.run("test", &["--yes", "--strict", "walls", "lib"]);
    output
        .ends_with(1)
        .says("failed: walls, which needs setpriv Linux");
    assert!(output.text.ends_with("\n40 passed, 1 failed, 2 skipped\n"));
}

#[test]
fn without_an_installation_a_missing_compiler_is_named_and_nothing_is_run() {
    let world = World::whole();
    world.program("apt-get", "log \"apt-get $*\"");
    world.program("apt-cache", "echo '  Candidate: 12.2.0-14'");
    world.remove("cc");
    let output = world.run("test", &["--yes", "--no-install", "quick"]);
    output.ends_with(1).says("apt-get install -y");
    assert!(
        !world.log().iter().any(|line| line.contains("install")),
        "{:?}",
        world.log()
    );
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let world = World::whole();
    for arguments in [
        &["--install-only", "quick"][..],
        &["quick", "architecture"],
        &["--list", "--install-only"],
    ] {
        world
            .run("test", arguments)
            .ends_with(2)
            .says("can't be combined");
    }
}

#[test]
fn a_strict_shell_finds_tools_that_are_not_on_its_path() {
    let world = World::bare();
    let script =
        ". tests/setup/find.sh; find_rust || echo no Rust; find_go || echo no Go; echo end";
    let bash = std::env::split_paths(&std::env::var_os("PATH").unwrap())
        .map(|folder| folder.join("bash"))
        .find(|bash| bash.exists())
        .unwrap();
    let output = Command::new(bash)
        .args(["-euo", "pipefail", "-c", script])
        .current_dir(world.path("project"))
        .env("PATH", world.path("bin"))
        .env("HOME", world.path("home"))
        .env("IRIS_TEST_SYSTEM", world.path("system"))
        .env_remove("XDG_CACHE_HOME")
        .env_remove("CARGO_HOME")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said, "no Rust\nno Go\nend\n", "{output:?}");
}

#[test]
fn without_an_installation_what_lacks_something_is_left_out() {
    let world = with_tests(&format!("*' --lib '*) echo '{LIBRARY}' ;;"));
    world.remove("setpriv");
    let output = world.run("test", &["--no-install", "walls", "lib"]);
    output
        .ends_with(0)
        .says("skipped: walls, which needs setpriv");
    assert!(
        output.text.ends_with("\n40 passed, 0 failed, 3 skipped\n"),
        "{}",
        output.text
    );
    // Else it is to be installed.
    world.apt(&[("gcc", "4:14")]);
    let output = world.run("test", &["walls", "lib"]);
    output
        .ends_with(1)
        .says("  setpriv: another user of the machine");
    assert!(output.commands()[1].ends_with("--no-install-recommends util-linux"));
}

#[test]
fn what_was_asked_for_runs_after_an_installation() {
    let world = with_tests(&format!("*' walls '*) echo '{OURS}' ;;"));
    world.remove("setpriv");
    world.apt(&[("gcc", "4:14")]);
    let cargo = fs::read(world.path("bin/cargo")).unwrap();
    fs::write(world.path("store/cargo"), cargo).unwrap();
    fs::copy(world.path("bin/ip"), world.path("store/setpriv")).unwrap();
    let output = world.run("test", &["--yes", "walls"]);
    output.ends_with(0).says("install -y");
    assert!(
        output.text.ends_with("\n7 passed, 0 failed, 1 skipped\n"),
        "{}",
        output.text
    );
}

#[test]
fn the_quick_form_needs_rust_and_a_compiler_alone() {
    let result = format!("*' test '*) echo '{LIBRARY}' ;;");
    let world = with_tests(&result);
    for name in ["go", "ip", "unshare", "setpriv", "initdb"] {
        world.remove(name);
    }
    let output = world.run("test", &["quick"]);
    output.ends_with(0).says("160 passed, 0 failed, 8 skipped");
    let log = world.log();
    let mut tests = log.iter().filter(|line| line.starts_with("cargo test"));
    assert!(
        tests.all(|line| line.contains("--no-default-features")),
        "{log:?}"
    );
}

#[test]
fn words_go_to_the_programs_and_wrong_ones_are_told() {
    let world = with_tests(&format!("*' walls '*) echo '{OURS}' ;;"));
    world.run("test", &["walls", "--", "crowd"]).ends_with(0);
    let log = world.log();
    assert!(
        log.last().unwrap().ends_with("--test walls -- crowd"),
        "{log:?}"
    );
    world
        .run("test", &["--fast"])
        .ends_with(2)
        .says("error: there is no option \"--fast\"");
    world
        .run("test", &["walks"])
        .ends_with(2)
        .says("error: there is no program \"walks\"");
}

#[test]
fn all_means_what_cargo_runs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let listed = Command::new(root.join("test"))
        .arg("--list")
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let listed: BTreeSet<&str> = listed.lines().collect();
    let metadata = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .current_dir(root)
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let mut packages = metadata["packages"].as_array().unwrap().iter();
    let iris = packages.find(|package| package["name"] == "iris").unwrap();
    let targets = iris["targets"].as_array().unwrap();
    let tests = targets.iter().filter(|target| target["kind"][0] == "test");
    let mut cargo: BTreeSet<&str> = tests
        .map(|target| target["name"].as_str().unwrap())
        .collect();
    cargo.extend(["lib", "bins", "doc"]);
    assert_eq!(listed, cargo);
}

/// What `./test NAME` installs, with what it can do without.
fn needs() -> BTreeMap<String, BTreeSet<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("tests/setup/packages.txt")).unwrap();
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    rows.map(|row| {
        let fields: Vec<&str> = row.split('|').map(str::trim).collect();
        let by = fields[6]
            .split(' ')
            .map(|name| name.trim_end_matches('?').to_owned());
        (fields[0].to_owned(), by.collect())
    })
    .collect()
}

#[test]
fn programs_that_tests_start_are_among_their_needs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let started = Regex::new(r#"Command::new\("([a-z0-9]+)"\)"#).unwrap();
    let shared = Regex::new(r"\bsupport::([a-z0-9_]+)::").unwrap();
    let (needs, mut looked_at) = (needs(), 0);
    for entry in fs::read_dir(&root).unwrap() {
        let folder = entry.unwrap().path();
        if !folder.join("main.rs").exists() {
            continue;
        }
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let mut files: Vec<PathBuf> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "rs"))
            .collect();
        let own: String = files
            .iter()
            .map(|file| fs::read_to_string(file).unwrap())
            .collect();
        for module in shared.captures_iter(&own) {
            let file = root.join("support/src").join(&module[1]);
            files.push(if file.is_dir() {
                file.join("mod.rs")
            } else {
                file.with_extension("rs")
            });
        }
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            for program in started.captures_iter(&text) {
                if let Some(by) = needs.get(&program[1]) {
                    looked_at += 1;
                    assert!(
                        by.contains(&name),
                        "{} is started by {file:?} of {name}",
                        &program[1]
                    );
                }
            }
        }
    }
    assert!(looked_at > 20, "{looked_at}");
}

#[test]
fn each_package_has_a_reason_and_somebody_who_needs_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("tests/setup/packages.txt")).unwrap();
    let mut things = 0;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split('|').map(str::trim).collect();
        assert_eq!(fields.len(), 8, "{line}");
        assert!(fields.iter().all(|field| !field.is_empty()), "{line}");
        for name in fields[6].split(' ').map(|name| name.trim_end_matches('?')) {
            let is_known = ["build", "node", "bench", "lint", "-"].contains(&name)
                || root.join("tests").join(name).join("main.rs").exists()
                || root.join("tests").join(name).with_extension("rs").exists();
            assert!(is_known, "{name} in {line}");
        }
        things += 1;
    }
    assert!(things > 20, "{things}");
    // There is no other list of them.
    let ci = fs::read_to_string(root.join(".ci/run")).unwrap();
    assert!(!ci.contains("apt-get"));
}
