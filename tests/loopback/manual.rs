//! Completions and manual pages, read by the programs that they are written for.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use crate::commands::{iris, name, out};

/// Runs a program; `None` if this machine doesn't have it.
#[expect(clippy::print_stdout, reason = "says what was not tested")]
fn run(program: &str, arguments: &[&str]) -> Option<Output> {
    match Command::new(program).args(arguments).output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("{program} is missing, so nothing was tested with it");
            None
        }
        Err(error) => panic!("{program}: {error}"),
    }
}

fn completions(shell: &str, dir: &Path) -> String {
    let output = iris(&["completions", shell]);
    assert_eq!(output.status.code(), Some(0));
    let path = dir.join("_iris");
    std::fs::write(&path, output.stdout).expect("to write");
    name(&path).to_owned()
}

#[test]
fn shells_complete_commands_and_options() {
    let dir = tempfile::tempdir().expect("a folder");
    let script = completions("bash", dir.path());
    for (words, wanted) in [
        (&["iris", "se"][..], "serve service"),
        (&["iris", "service", "ins"], "install"),
        (&["iris", "service", "install", "--dr"], "--dry-run"),
        (&["iris", "completions", "z"], "zsh"),
    ] {
        let [.., before, last] = words else { continue };
        let ask = format!(
            "source {script}; COMP_WORDS=({}); COMP_CWORD={}; _iris iris '{last}' '{before}'; \
             echo ${{COMPREPLY[@]}}",
            words.join(" "),
            words.len() - 1
        );
        let output = run("bash", &["--norc", "-c", &ask]).expect("bash");
        assert_eq!(out(&output).trim(), wanted, "{words:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
    }
    let script = completions("fish", dir.path());
    let ask = format!("source {script}; complete -C 'iris service ins'");
    if let Some(output) = run("fish", &["--no-config", "-c", &ask]) {
        assert!(out(&output).starts_with("install\t"), "{output:?}");
    }
    completions("zsh", dir.path());
    let ask = format!(
        "fpath=({0} $fpath); autoload -Uz compinit; compinit -u -d {0}/dump; \
         autoload +X _iris && print -r -- $_comps[iris]",
        name(dir.path())
    );
    if let Some(output) = run("zsh", &["-fc", &ask]) {
        assert_eq!(out(&output).trim(), "_iris", "{output:?}");
    }
    let output = iris(&["completions", "tcsh"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("[possible values: bash, fish, zsh]"),
        "{said}"
    );
}

#[test]
fn each_command_has_a_page_that_manual_readers_accept() {
    let dir = tempfile::tempdir().expect("a folder");
    let pages = dir.path().join("share/man1");
    let output = iris(&["man", "--dir", name(&pages)]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let found: BTreeSet<String> = std::fs::read_dir(&pages)
        .expect("a folder")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .collect();
    assert_eq!(
        out(&output),
        format!("Wrote {} pages to {}.\n", found.len(), name(&pages))
    );
    // As many as the program lists.
    let help = out(&iris(&["--help"]));
    let commands = help.split("Commands:\n").nth(1).expect("a list");
    let commands = commands.lines().take_while(|line| line.starts_with("  "));
    let commands: Vec<&str> = commands
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(commands.len() > 10, "{help}");
    for command in commands.into_iter().filter(|name| *name != "help") {
        assert!(
            found.contains(&format!("iris-{command}.1")),
            "{command}: {found:?}"
        );
    }
    assert!(found.contains("iris.1") && found.contains("iris-service-install.1"));
    let main = out(&iris(&["man"]));
    assert!(
        main.contains("iris\\-serve(1)") && !main.contains("iris\\-help(1)"),
        "{main}"
    );
    for page in &found {
        let path = pages.join(page);
        if let Some(output) = run("groff", &["-man", "-ww", "-z", "-Kutf8", name(&path)]) {
            assert!(
                output.status.success() && output.stderr.is_empty(),
                "{page}: {output:?}"
            );
        }
        // Its warnings ask for a date, which would make each build another one.
        if let Some(output) = run("mandoc", &["-T", "lint", "-W", "error", name(&path)]) {
            assert!(output.status.success(), "{page}: {output:?}");
        }
    }
    // A folder that can't be made is named.
    let output = iris(&["man", "--dir", "/dev/null/pages"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.starts_with("error: cannot write manual pages to /dev/null/pages: "),
        "{said}"
    );
}
