//! Requests of HTTP/2 as no library sends them.

use std::io::{Read, Write};
use std::net::SocketAddr;

use super::cases::bytes;
use super::frames::{
    DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PREFACE, RST_STREAM, SETTINGS, frame, frames,
    text,
};
use super::provider::Provider;

/// What comes of a request.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    Status(u16),
    /// The stream is reset, or the connection is ended.
    Reset,
}

const TEXT: &str = include_str!("http2.txt");

struct Case {
    name: &'static str,
    allowed: Vec<Came>,
    seen: usize,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
    body: Option<Vec<u8>>,
    trailers: Vec<(Vec<u8>, Vec<u8>)>,
}

/// All cases, for a door at `to`.
fn cases(to: SocketAddr, scheme: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in TEXT.lines().filter(|line| !line.is_empty()) {
        let rest = line.get(2..).unwrap_or_default();
        let case = cases.last_mut();
        match (line.as_bytes()[0], case) {
            (b'#', _) => {}
            (b'@', Some(case)) => {
                let (method, path) = rest.split_once(' ').unwrap();
                let host = to.to_string();
                let pseudo = [method, path, scheme, &host].into_iter();
                let names = [":method", ":path", ":scheme", ":authority"];
                let pairs = names.into_iter().zip(pseudo);
                let pairs = pairs.map(|(name, value)| (name.into(), value.into()));
                case.fields.extend(pairs);
            }
            (b'>', Some(case)) => {
                let (name, value) = rest.split_once(": ").unwrap();
                let is_own = name == ":scheme" && value == "http";
                let value = if is_own { scheme } else { value };
                case.fields.push((bytes(name, to), bytes(value, to)));
            }
            (b'%', Some(case)) => {
                let (name, value) = rest.split_once(": ").unwrap();
                case.trailers.push((bytes(name, to), bytes(value, to)));
            }
            (b'=', Some(case)) => case.body = Some(bytes(rest, to)),
            _ => cases.push(heading(line)),
        }
    }
    cases
}

fn heading(line: &'static str) -> Case {
    let (name, outcome) = line.split_once(" | ").unwrap();
    let (statuses, seen) = outcome.split_once(' ').unwrap_or((outcome, "0"));
    let came = |word: &str| word.parse().map_or(Came::Reset, Came::Status);
    Case {
        name,
        allowed: statuses.split('/').map(came).collect(),
        seen: seen.parse().unwrap(),
        fields: Vec::new(),
        body: None,
        trailers: Vec::new(),
    }
}

fn block(fields: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        text(&mut block, name);
        text(&mut block, value);
    }
    block
}

fn ask(mut stream: impl Read + Write, case: &Case) -> Came {
    let flags = END_HEADERS | if case.body.is_none() { END_STREAM } else { 0 };
    let mut bytes = [PREFACE.to_vec(), frame(SETTINGS, 0, 0, &[])].concat();
    bytes.extend(frame(HEADERS, flags, 1, &block(&case.fields)));
    if let Some(body) = &case.body {
        let flags = if case.trailers.is_empty() {
            END_STREAM
        } else {
            0
        };
        bytes.extend(frame(DATA, flags, 1, body));
    }
    if !case.trailers.is_empty() {
        let flags = END_HEADERS | END_STREAM;
        bytes.extend(frame(HEADERS, flags, 1, &block(&case.trailers)));
    }
    stream.write_all(&bytes).unwrap();
    let (mut held, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let (found, _) = frames(&held);
        for (kind, payload) in found {
            match kind {
                HEADERS => return Came::Status(status(payload)),
                RST_STREAM | GOAWAY => return Came::Reset,
                _ => {}
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return Came::Reset,
            Ok(length) => held.extend_from_slice(&buffer[..length]),
        }
    }
}

/// The status, which is the first field of an answer: by its number in the fixed table, or as
/// three digits in Huffman's code.
fn status(block: &[u8]) -> u16 {
    let known = [200, 204, 206, 304, 400, 404, 500];
    if let Some(at) = block[0].checked_sub(0x88).filter(|at| *at < 7) {
        return known[usize::from(at)];
    }
    let mut bits = u32::from_be_bytes([block[2], block[3], block[4], block[5]]);
    let mut status = 0;
    for _ in 0..3 {
        // Of five bits are 0, 1 and 2, of six the others.
        let five = bits >> 27;
        let (digit, length) = if five < 3 {
            (five, 5)
        } else {
            ((bits >> 26) - 22, 6)
        };
        status = status * 10 + u16::try_from(digit).unwrap();
        bits <<= length;
    }
    status
}

/// What is wrong with what comes of the cases, each on a connection of its own, and with what
/// `provider` sees of them.
pub fn wrong<S: Read + Write>(
    at: SocketAddr,
    scheme: &str,
    connect: impl Fn() -> S,
    provider: &Provider,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for case in cases(at, scheme) {
        let came = ask(connect(), &case);
        let seen = provider.take();
        let is_sound = seen.iter().all(|one| one.sound(provider.address).is_ok());
        if !case.allowed.contains(&came) || seen.len() != case.seen || !is_sound {
            wrong.push(format!("{}: {came:?}, seen: {seen:?}", case.name));
        }
    }
    wrong
}
