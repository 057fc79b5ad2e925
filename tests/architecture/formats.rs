//! Only a format's own folder knows it by name, and the rest of the program takes what it needs from
//! the format's value: shown with a format that only this file has.

use std::collections::BTreeSet;
use std::path::Path;

use bytes::Bytes;
use http::{HeaderMap, Method};
use iris::formats::{self, Call, Destination, Flag, Format, Head, Path as Target};

use super::source::Sources;
use super::{hold, root, sources};

/// Files that name formats, each with its reason.
const OTHERS: [(&str, &str); 2] = [
    (
        "app/cli/init/service.rs",
        "a table of public services, and of the formats that each is known to speak",
    ),
    (
        "client/agents/mod.rs",
        "what runs on a colleague's machine has no formats: it knows their public names",
    ),
];

/// The names of formats and of flags, each with the folder that it belongs to.
fn names() -> Vec<(&'static str, String)> {
    let mut names = Vec::new();
    for format in formats::ALL {
        let flags = format.flags.iter().copied();
        let socket = format.socket.map(|socket| socket.flag);
        let flags = flags.chain(socket).map(|flag| flag.name);
        names.extend(flags.chain([format.name]));
    }
    names.sort_unstable();
    names.dedup();
    // Others, such as `rerank`, are also words of paths.
    names.retain(|name| name.contains('_'));
    let folder = |name: &str| {
        let own = root().join("src/formats").join(name);
        let folder = if own.is_dir() { name } else { "" };
        format!("formats/{folder}")
    };
    names.into_iter().map(|name| (name, folder(name))).collect()
}

/// Strings that are the name of a format, outside of its folder.
fn named_elsewhere(sources: &Sources) -> Vec<String> {
    let names = names();
    let (mut wrong, mut used) = (Vec::new(), BTreeSet::new());
    for file in &sources.files {
        if file.path.ends_with("tests.rs") {
            continue;
        }
        for string in file.strings.iter().filter(|string| !string.is_test) {
            let text = string.text.trim_matches('"');
            let named = names.iter().find(|(name, _)| *name == text);
            let Some((name, _)) = named.filter(|(_, home)| !file.path.starts_with(home)) else {
                continue;
            };
            match OTHERS
                .iter()
                .find(|(other, _)| file.path == Path::new(other))
            {
                Some((other, _)) => drop(used.insert(*other)),
                None => wrong.push(format!("{}:{} {name}", file.path.display(), string.line)),
            }
        }
    }
    let others = OTHERS.iter().map(|(other, _)| *other);
    let unused = others.filter(|other| !used.contains(other));
    wrong.extend(unused.map(|other| format!("{other} no longer needs its exception")));
    wrong
}

#[test]
fn formats_are_named_in_their_folders_alone() {
    hold(
        &named_elsewhere(sources()),
        "only `formats/<x>` names the format x",
        "a format is added or changed in its folder and a line of `formats!`",
    );
}

static FLAG: Flag = Flag {
    name: "echo_lines",
    text: "Lines that come back.",
    is_default: false,
    vendor: None,
};

/// A format that nothing else knows.
static ECHO: Format = Format {
    flags: &[&FLAG],
    endpoint: Some("/v1/echo"),
    paths: &["/v1/echo"],
    operation: "text_completion",
    export_name: "echo",
    ..Format::new(
        "echo_lines",
        formats::DEFAULT.known,
        |_, body| {
            Ok(Call {
                model: "m".into(),
                billed: true,
                path: Target::Fixed("/v1/echo".into()),
                body,
                ..Call::default()
            })
        },
        |request| (formats::DEFAULT.meter)(request),
    )
};

#[test]
fn a_format_is_what_its_value_says() {
    let table = [formats::ALL.as_slice(), &[&ECHO]].concat();
    // The configuration has a key for each flag, and the reference its text.
    let flags = formats::flags(&table);
    let flag = flags.last().unwrap();
    assert_eq!((flag.name, flag.text), ("echo_lines", FLAG.text));
    assert_eq!(flags.len(), formats::flags(&formats::ALL).len() + 1);
    // Doors, routing and listings ask the value.
    let meant = |path| {
        table
            .iter()
            .filter(move |one| one.recognises(&Method::POST, path))
    };
    assert_eq!(
        meant("/echo").map(|one| one.name).collect::<Vec<_>>(),
        ["echo_lines"]
    );
    assert!(ECHO.is_spoken_with(&["openai_chat", "echo_lines"]));
    assert!(!ECHO.is_spoken_with(&["openai_chat"]));
    let head = Head {
        path: "/echo",
        query: None,
        headers: &HeaderMap::new(),
    };
    let call = ECHO.read(&head, Bytes::from_static(b"line")).unwrap();
    let to = Destination {
        model: "m",
        project: None,
        region: None,
        flags: &["echo_lines"],
    };
    let out = ECHO.prepare(&call, &to).unwrap();
    assert_eq!((&*out.path, &*out.body), ("/v1/echo", &b"line"[..]));
    let mut meter = ECHO.meter(&call.metered(1_000));
    meter.body(br#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}"#);
    assert_eq!(meter.finish().tokens.output, Some(4));
}
