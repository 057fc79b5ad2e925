//! The corpus, `cases.txt`, whose first lines say how it is written.

use std::fmt::Write;
use std::net::SocketAddr;

const TEXT: &str = include_str!("cases.txt");

/// A question for the model of the gateway.
pub const ASK: &str = r#"{"model":"m","messages":[]}"#;

/// One request, or several on one connection, and what must become of them.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: &'static str,
    /// The statuses that each response may have; empty if no response may come.
    pub answers: Vec<Vec<u16>>,
    /// No answer will do as well.
    pub dropped: bool,
    pub closed: bool,
    /// How many requests the provider sees, if the case says so.
    pub seen: Option<usize>,
    /// What the last of them asks for.
    pub path: Option<&'static str>,
    lines: Vec<&'static str>,
}

/// All cases.
pub fn all() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in TEXT.lines() {
        if line.starts_with(['>', '=', '!']) {
            cases.last_mut().unwrap().lines.push(line);
        } else if !line.is_empty() && !line.starts_with('#') {
            cases.push(heading(line));
        }
    }
    cases
}

fn heading(line: &'static str) -> Case {
    let parts: Vec<&str> = line.split(" | ").collect();
    let [name, clause, outcome, seen] = parts[..] else {
        panic!("{line}");
    };
    assert!(clause.starts_with("RFC "), "{line}");
    let (answers, closed) = match outcome.split_once(' ') {
        Some((answers, "closed")) => (answers, true),
        None => (outcome, false),
        _ => panic!("{line}"),
    };
    let (seen, path) = seen
        .split_once(' ')
        .map_or((seen, None), |(seen, path)| (seen, Some(path)));
    let statuses = |one: &str| -> Vec<u16> {
        let known = one.split('/').filter(|word| *word != "dropped");
        known.map(|status| status.parse().unwrap()).collect()
    };
    let answers: Vec<Vec<u16>> = answers.split(',').map(statuses).collect();
    Case {
        name,
        dropped: outcome.contains("dropped"),
        answers: answers.into_iter().filter(|one| !one.is_empty()).collect(),
        closed,
        seen: (seen != "*").then(|| seen.parse().unwrap()),
        path,
        lines: Vec::new(),
    }
}

impl Case {
    /// What is sent to a gateway at `to`, and whether the caller then says that this was all.
    pub fn bytes(&self, to: SocketAddr) -> (Vec<u8>, bool) {
        let rest = self.after_head(to).len();
        let bytes = self.lines.iter().flat_map(|line| piece(line, to, rest));
        (bytes.collect(), self.lines.contains(&"!"))
    }

    fn after_head(&self, to: SocketAddr) -> Vec<u8> {
        let head = self.lines.iter().position(|line| line.trim_end() == ">");
        let after = head.map_or(&[][..], |end| &self.lines[end + 1..]);
        after.iter().flat_map(|line| piece(line, to, 0)).collect()
    }

    /// Whether an answer to it has no body.
    pub fn is_head(&self) -> bool {
        self.lines[0].contains("HEAD ")
    }
}

fn piece(line: &str, to: SocketAddr, rest: usize) -> Vec<u8> {
    let mut bytes = unescaped(&filled(line.get(2..).unwrap_or_default(), to, rest));
    if line.starts_with('>') {
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// The bytes that a text of the corpus means.
pub fn bytes(text: &str, to: SocketAddr) -> Vec<u8> {
    unescaped(&filled(text, to, 0))
}

/// Replaces the placeholders in angle brackets.
fn filled(text: &str, to: SocketAddr, rest: usize) -> String {
    let mut out = String::new();
    let mut text = text;
    while let Some(at) = text.find(['<', '>']) {
        out.push_str(&text[..at]);
        text = &text[at..];
        if let Some(after) = text.strip_prefix("<<") {
            out.push('<');
            text = after;
            continue;
        }
        if let Some(after) = text.strip_prefix(">>") {
            out.push('>');
            text = after;
            continue;
        }
        let end = text.find('>').expect("a closing bracket");
        let word = &text[1..end];
        match word {
            "host" => out.push_str(&to.to_string()),
            "port" => out.push_str(&to.port().to_string()),
            "port+65536" => out.push_str(&(u32::from(to.port()) + 65536).to_string()),
            "ask" => out.push_str(ASK),
            "length" => out.push_str(&ASK.len().to_string()),
            "size" => write!(out, "{:x}", ASK.len()).unwrap(),
            "rest" => out.push_str(&rest.to_string()),
            _ => {
                let (what, times) = word.rsplit_once('*').expect("something known");
                out.push_str(&what.repeat(times.parse().unwrap()));
            }
        }
        text = &text[end + 1..];
    }
    out.push_str(text);
    out
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match bytes.next().unwrap() {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'0' => 0,
            b'\\' => b'\\',
            b'x' => {
                let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            other => panic!("\\{} in {text}", char::from(other)),
        });
    }
    out
}
