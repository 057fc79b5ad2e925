//! Programs that must not compile: each leaves out one check of the pipeline, and the compiler says so.
//!
//! They are compiled against the library as it was built for this test, so that nothing is built twice.
//! The first line of each says which one error it must have: with any other, for one that comes from a
//! slip of the pen, the test fails.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// The library that this test is linked with.
fn library(deps: &Path) -> PathBuf {
    let files = std::fs::read_dir(deps).unwrap().map(|file| file.unwrap());
    let built = files.filter(|file| {
        let path = file.path();
        let name = file.file_name().into_string().unwrap();
        name.starts_with("libiris-") && path.extension().is_some_and(|kind| kind == "rlib")
    });
    let latest = built.max_by_key(|file| file.metadata().unwrap().modified().unwrap());
    latest.expect("the library").path()
}

/// What the compiler says of a program.
fn errors(program: &Path) -> Vec<String> {
    let test = std::env::current_exe().unwrap();
    let deps = test.parent().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()))
        .args(["--edition=2024", "--crate-type=lib", "--emit=metadata"])
        .arg("-L")
        .arg(format!("dependency={}", deps.display()))
        .arg("--extern")
        .arg(format!("iris={}", library(deps).display()))
        .args(["--out-dir".as_ref(), dir.path()])
        .arg(program)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let errors = said.lines().filter(|line| line.starts_with("error"));
    let all: Vec<String> = errors.map(str::to_owned).collect();
    assert_eq!(output.status.success(), all.is_empty(), "{said}");
    all
}

#[test]
fn what_leaves_out_a_check_does_not_compile() {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stages");
    let mut count = 0;
    for file in std::fs::read_dir(programs).unwrap() {
        let path = file.unwrap().path();
        if path.ends_with("main.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let expected = text
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("// "));
        let expected = expected.unwrap_or_else(|| panic!("{} expects nothing", path.display()));
        let errors = errors(&path);
        if expected == "compiles" {
            assert!(errors.is_empty(), "{}: {errors:#?}", path.display());
        } else {
            assert_eq!(
                errors.first().map(String::as_str),
                Some(expected),
                "{errors:#?}"
            );
            // The last line counts them.
            assert_eq!(errors.len(), 2, "{}: {errors:#?}", path.display());
        }
        count += 1;
    }
    assert_eq!(count, 10);
}
