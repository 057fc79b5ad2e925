//! The rules find what they are for.

use crate::source::Sources;
use crate::{
    KNOWLEDGE, Only, beyond_the_client, cycles, out_of_place, statements, too_long, wrong_imports,
};

fn sources(files: &[(&str, &str)]) -> Sources {
    let texts = files
        .iter()
        .map(|(path, text)| ((*path).into(), (*text).to_owned()));
    Sources::of(texts.collect())
}

#[test]
fn an_import_from_above_is_found_wherever_it_stands() {
    for text in [
        "use crate::web::pages;",
        "use crate::{base, web::{pages}};",
        "fn f() { crate::web::pages::f::<u8>(); }",
        "fn f() { log!(\"{}\", crate::web::NAME); }",
        "#[cfg(test)] mod tests {} fn f() { crate::web::f(); }",
        "use super::super::web;",
        "mod inner { use super::super::super::web; }",
    ] {
        let found = wrong_imports(&sources(&[("net/a.rs", text)]), &[]);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
    }
    for text in [
        "use crate::base; // crate::web",
        "/// [`crate::web`]\nfn f() { print(\"crate::web\"); }",
        "pub(in crate::net) fn f() {}",
        "use super::b;",
    ] {
        let found = wrong_imports(&sources(&[("net/a.rs", text)]), &[]);
        assert_eq!(found, [""; 0], "{text}");
    }
}

#[test]
fn what_tests_import_is_listed() {
    let exception = [("net/a.rs", "web", "a reason")];
    let tests = sources(&[("net/a.rs", "#[cfg(test)] mod tests { use crate::web; }")]);
    assert_eq!(wrong_imports(&tests, &[]).len(), 1);
    assert_eq!(wrong_imports(&tests, &exception), [""; 0]);
    let other = [
        ("net/a.rs", "#[cfg(test)] mod tests;"),
        ("net/a/tests.rs", "use crate::web;"),
    ];
    let exception = [("net/a/tests.rs", "web", "a reason")];
    assert_eq!(wrong_imports(&sources(&other), &exception), [""; 0]);
}

#[test]
fn an_import_of_tests_that_is_gone_is_taken_off_its_list() {
    let exception = [("net/a.rs", "web", "a reason")];
    let gone = ["net/a.rs no longer imports web: take it off the list"];
    assert_eq!(
        wrong_imports(&sources(&[("net/a.rs", "")]), &exception),
        gone
    );
    // An import of the code itself doesn't need it either.
    let code = sources(&[("net/a.rs", "use crate::web;")]);
    assert_eq!(wrong_imports(&code, &exception)[1..], gone);
}

#[test]
fn what_the_client_imports_of_the_server_is_found() {
    let of_client = |text, may| beyond_the_client(&sources(&[("client/a.rs", text)]), may).len();
    let base = [("base", "")];
    assert_eq!(of_client("use crate::{base, formats::NAMES};", &base), 1);
    let tests = "use crate::base; #[cfg(test)] use crate::formats;";
    assert_eq!(of_client(tests, &base), 0);
}

#[test]
fn what_the_client_no_longer_imports_is_taken_off_its_list() {
    let client = sources(&[(
        "client/a.rs",
        "use crate::base; #[cfg(test)] use crate::config;",
    )]);
    let may = [("base", ""), ("config", "a reason")];
    let found = beyond_the_client(&client, &may);
    assert_eq!(found, ["config is not imported: take it off the list"]);
}

#[test]
fn circles_are_found_through_others_and_through_re_exports() {
    let circle = |files: &[(&str, &str)]| {
        let found = cycles::find(&sources(files));
        found
            .into_iter()
            .map(|circle| (circle.folder, circle.parts.concat()))
            .collect::<Vec<_>>()
    };
    let is = |folder: &str, parts: &str| vec![(folder.to_owned(), parts.to_owned())];
    let of_three = [
        ("net/mod.rs", ""),
        ("net/a.rs", "use super::b;"),
        ("net/b/mod.rs", "use crate::net::c::C;"),
        ("net/c.rs", "fn f() { super::a::f(); }"),
        ("net/d.rs", "use super::a;"),
    ];
    assert_eq!(circle(&of_three), is("net", "abc"));
    let inside = [
        ("net/b/mod.rs", ""),
        ("net/b/x.rs", "use super::y;"),
        ("net/b/y.rs", "use crate::net::b::x;"),
    ];
    assert_eq!(circle(&inside), is("net/b", "xy"));
    let hidden = [
        (
            "net/mod.rs",
            "mod a; mod b; pub use a::A; use b::B as Other;",
        ),
        ("net/a.rs", "use super::Other; pub struct A;"),
        ("net/b.rs", "use super::A; pub struct B;"),
    ];
    assert_eq!(circle(&hidden), is("net", "ab"));
    let none = [
        (
            "net/mod.rs",
            "pub struct Shared; mod a; mod b; fn f() { a::f(); }",
        ),
        ("net/a.rs", "use super::Shared; use super::b;"),
        (
            "net/b.rs",
            "use super::Shared; #[cfg(test)] mod tests { use crate::net::a; }",
        ),
    ];
    assert_eq!(circle(&none), []);
    let known = [("net", &["a", "b"][..], "a reason")];
    assert_eq!(cycles::wrong(&sources(&hidden), &known), [""; 0]);
    assert_eq!(cycles::wrong(&sources(&hidden), &[]).len(), 1);
}

#[test]
fn a_circle_that_is_gone_is_taken_off_its_list() {
    let circle = sources(&[("net/a.rs", "use super::b;"), ("net/b.rs", "use super::a;")]);
    for (folder, parts, is_gone) in [
        ("net", &["a", "b"][..], false),
        ("net", &[], false),
        ("net", &["a", "b", "c"], true),
        ("web", &[], true),
    ] {
        let known = [("net", &[][..], "a reason"), (folder, parts, "a reason")];
        let gone = format!("{folder} no longer has this circle: take it off the list");
        let expected = if is_gone { vec![gone] } else { Vec::new() };
        assert_eq!(
            cycles::wrong(&circle, &known),
            expected,
            "{folder} {parts:?}"
        );
    }
}

#[test]
fn knowledge_out_of_place_is_found() {
    for (rule, text) in KNOWLEDGE.iter().zip([
        "fn f() { unsafe { g() } }",
        "use std::os::fd::{AsFd, OwnedFd};",
        "fn f() { rusqlite::Connection::open(1); }",
        "fn f() { ENV.map(std::env::var); }",
        "fn f(key: &Secret) { key.expose(); }",
    ]) {
        let found = out_of_place(&sources(&[("web/a.rs", text)]), rule);
        assert!(
            found.contains(&"web/a.rs:1".to_owned()),
            "{text}: {found:?}"
        );
        assert_eq!(found.len(), 1 + rule.others.len(), "{text}: {found:?}");
        let home = sources(&[(&format!("{}/a.rs", rule.home[0]), text)]);
        assert_eq!(out_of_place(&home, rule).len(), rule.others.len(), "{text}");
        let test = format!("#[cfg(test)] mod tests {{ {text} }}");
        assert_eq!(
            out_of_place(&sources(&[("web/a.rs", &test)]), rule).len(),
            rule.others.len()
        );
    }
    let sql = "const Q: &str = \"SELECT id FROM entries\";";
    assert_eq!(statements(&sources(&[("web/a.rs", sql)])), ["web/a.rs:1"]);
    assert_eq!(
        statements(&sources(&[("records/stores/a.rs", sql)])),
        [""; 0]
    );
}

#[test]
fn an_exception_that_nothing_needs_is_taken_off_its_rule() {
    let rule = Only {
        rule: "only `net` opens sockets",
        why: "a reason",
        words: &[&["socket"]],
        home: &["net"],
        others: &[("web/a.rs", "a reason")],
    };
    let of_web = |text| out_of_place(&sources(&[("web/a.rs", text)]), &rule);
    assert_eq!(of_web("fn f() { socket(); }"), [""; 0]);
    for text in ["", "#[cfg(test)] mod tests { fn f() { socket(); } }"] {
        assert_eq!(of_web(text), ["web/a.rs no longer needs its exception"]);
    }
}

#[test]
fn what_is_too_long_is_found() {
    let long = format!("//! For a reason.\nfn f() {{\n{}}}\n", "//\n".repeat(100));
    let long = sources(&[("web/a.rs", &long)]);
    assert_eq!(too_long(&long, &[], &[]).len(), 1);
    let exception = [("web/a.rs", "f", "a reason")];
    assert_eq!(too_long(&long, &[], &exception), [""; 0]);
    let file = format!("//! For a reason.\n{}", "//\n".repeat(500));
    let explained = file.replace("reason.", "reason, which takes more than 500 lines.");
    let file = sources(&[("web/a.rs", &file)]);
    assert_eq!(too_long(&file, &[], &[]).len(), 1);
    assert_eq!(too_long(&file, &["web/a.rs"], &[]), [""; 0]);
    let explained = sources(&[("web/a.rs", &explained)]);
    assert_eq!(too_long(&explained, &[], &[]), [""; 0]);
    let silent = sources(&[("web/a.rs", "fn f() {}")]);
    assert_eq!(too_long(&silent, &[], &[]).len(), 1);
}

const SHORT: (&str, &str) = ("web/a.rs", "//! For a reason.\nfn f() {}\n");

#[test]
fn a_function_that_is_no_longer_long_is_taken_off_its_list() {
    let found = too_long(&sources(&[SHORT]), &[], &[("web/a.rs", "f", "a reason")]);
    assert_eq!(
        found,
        ["web/a.rs: f is no longer so long: take it off the list"]
    );
}

#[test]
fn a_file_that_is_no_longer_long_is_taken_off_its_list() {
    let explained = "//! A reason, which takes more than 500 lines.\n".repeat(501);
    for file in [SHORT, ("web/a.rs", &explained)] {
        let found = too_long(&sources(&[file]), &["web/a.rs"], &[]);
        assert_eq!(
            found,
            ["web/a.rs is no longer so long: take it off the list"]
        );
    }
}
