//! Bodies that parsers disagree on. What the gateway accepts must have the same model, the same choice of a
//! stream and the same limit for every parser: in Go, in Python, in Node and in Rust. `IRIS_GATE_BODIES`
//! runs more of them, and `IRIS_GATE_SEED` others.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use iris::formats::{ALL, Call, Destination, Format, Head};
use serde_json::Value;

use crate::process::{go, has, say, setting, source};
use support::random::Random;

/// How many there are by default.
const BODIES: usize = 100_000;
/// As many go to a judge at once.
const AT_ONCE: usize = 2_000;
/// The formats, whose three keys have the same names.
const PATHS: [&str; 2] = ["/v1/chat/completions", "/v1/messages"];

const KEYS: [&str; 34] = [
    "model",
    "stream",
    "stream",
    "stream",
    "max_tokens",
    "max_tokens",
    "max_tokens",
    "Model",
    "MODEL",
    "mode\\u006c",
    "\\u006dodel",
    "m\u{43e}del",
    "model ",
    " model",
    "model\\u0000",
    "model\u{200b}",
    "Stream",
    "\u{17f}tream",
    "\\u017ftream",
    "str\\u0065am",
    "max_to\u{212a}ens",
    "max_to\\u212aens",
    "max_token\u{17f}",
    "Max_Tokens",
    "maxTokens",
    "max\\u005ftokens",
    "__proto__",
    "constructor",
    "",
    "messages",
    "x",
    "\\ud83d\\ude00",
    "\\ud83d",
    "\\/",
];

const STRINGS: [&str; 20] = [
    "m",
    "m",
    "p/m",
    "n",
    "\\u006d",
    "m\\u0000",
    "m ",
    "",
    "\u{e9}",
    "e\u{301}",
    "\\ud83d\\ude00",
    "\\ud800",
    "\\udc00\\ud800",
    "\\uD83D\\u0041",
    "m\\/n",
    "\\u2028",
    "\u{feff}m",
    "\\\"m",
    "m\\x41",
    "\u{202e}m",
];

const NUMBERS: [&str; 30] = [
    "1",
    "0",
    "100",
    "100",
    "4096",
    "-1",
    "-0",
    "1.0",
    "1.5",
    "100.0",
    "1e2",
    "1E+2",
    "1e-2",
    "10000e-2",
    "0.1e3",
    "1e400",
    "-1e400",
    "1e308",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "123456789012345678901234567890",
    "01",
    "+1",
    ".5",
    "1.",
    "0x10",
    "NaN",
];

const REST: [&str; 12] = [
    "null",
    "true",
    "false",
    "True",
    "nul",
    "Infinity",
    "undefined",
    "[]",
    "{}",
    "[1,{\"model\":\"n\",\"stream\":true}]",
    "{\"model\":\"n\",\"model\":\"o\",\"max_tokens\":9}",
    "'m'",
];

const SPACES: [&str; 12] = [
    "", "", "", "", " ", "\n", "\t", "\r\n", "\u{b}", "\u{a0}", "\u{feff}", "/**/",
];

fn space(random: &mut Random, out: &mut String) {
    // The odd ones seldom, or nothing would be accepted.
    let known = if random.once_in(200) { SPACES.len() } else { 8 };
    out.push_str(SPACES[random.below(known)]);
}

fn quoted(out: &mut String, text: &str) {
    out.push('"');
    out.push_str(text);
    out.push('"');
}

fn value(random: &mut Random, key: &str, out: &mut String) {
    let fitting = !random.once_in(12);
    match key {
        "model" if fitting => quoted(out, STRINGS[random.below(5)]),
        "stream" if fitting => out.push_str(["true", "false", "null"][random.below(3)]),
        "max_tokens" if fitting => out.push_str(NUMBERS[random.below(25)]),
        _ => match random.below(8) {
            0 | 1 => quoted(out, random.one_of(&STRINGS)),
            2 => out.push_str(random.one_of(&NUMBERS)),
            3 => nested(random, out),
            4 => quoted(out, NUMBERS[random.below(8)]),
            _ => out.push_str(random.one_of(&REST)),
        },
    }
}

fn nested(random: &mut Random, out: &mut String) {
    let depth = [1, 5, 60, 126, 127, 128, 129, 2_000][random.below(8)];
    let (open, inner, close) = [("[", "", "]"), ("{\"model\":", "\"n\"", "}")][random.below(2)];
    out.push_str(&open.repeat(depth));
    out.push_str(inner);
    out.push_str(&close.repeat(depth));
}

/// One body, most of which are nearly what they should be.
fn body(random: &mut Random) -> Vec<u8> {
    let mut out = String::new();
    space(random, &mut out);
    out.push('{');
    let members = 1 + random.below(4);
    for at in 0..members {
        if at > 0 {
            out.push(',');
        }
        space(random, &mut out);
        let key = match at {
            0 if !random.once_in(10) => "model",
            _ => random.one_of(&KEYS),
        };
        quoted(&mut out, key);
        space(random, &mut out);
        out.push(':');
        space(random, &mut out);
        value(random, key, &mut out);
        space(random, &mut out);
    }
    out.push_str(random.one_of(&["}", "}", "}", "}", "}", "}", ",}", "}}", "} {}", "}\0"]));
    space(random, &mut out);
    let mut bytes = out.into_bytes();
    match random.below(40) {
        0 => bytes.insert(0, random.one_of(&["\u{feff}", "\0", "x"]).as_bytes()[0]),
        1 => {
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
        }
        2 => bytes.truncate(random.below(bytes.len())),
        3 => bytes = bytes.iter().flat_map(|byte| [*byte, 0]).collect(),
        4 => {
            let at = random.below(bytes.len());
            bytes.insert(at, [0xff, 0xc0, 0x80, 0x00, 0x1f, 0x7f][random.below(6)]);
        }
        _ => {}
    }
    bytes
}

/// What was judged, and the bytes that go on.
struct Judged {
    call: Call,
    model: String,
    sent: Bytes,
}

fn judge(api: &Format, path: &str, body: &[u8], renamed: bool) -> Option<Judged> {
    let head = Head {
        path,
        query: None,
        headers: &http::HeaderMap::new(),
    };
    let call = api.read(&head, Bytes::copy_from_slice(body)).ok()?;
    let model = if renamed { "other/model" } else { &call.model }.to_owned();
    let to = Destination {
        model: &model,
        project: None,
        region: None,
        flags: &[],
    };
    let sent = api.prepare(&call, &to).unwrap().body;
    Some(Judged { call, model, sent })
}

impl Judged {
    /// What `line` says of a parser's reading, if it is another one. Who refuses reads nothing.
    fn differs(&self, line: &str) -> Option<&'static str> {
        if line == "x" {
            return None;
        }
        let parts: Vec<&str> = line.split('|').collect();
        let [model, stream, limit] = parts[..] else {
            return Some("the judge");
        };
        if model != hex(&self.model) {
            return Some("model");
        }
        if !matches!(
            (stream, self.call.stream),
            ("true", true) | ("false" | "-", false)
        ) {
            return Some("stream");
        }
        (!self.agrees_on_limit(limit)).then_some("max_tokens")
    }

    fn agrees_on_limit(&self, limit: &str) -> bool {
        match (limit.parse::<f64>(), self.call.answer_limit) {
            // No number, and none that bounds an answer.
            (Err(_), None) => true,
            (Ok(theirs), None) => theirs < 0.0,
            // Some take a text for the number that it holds.
            (Err(_), Some(_)) => limit == "!",
            (Ok(theirs), Some(ours)) => {
                let ours = ours.to_string().parse::<f64>().unwrap();
                let most = u64::MAX.to_string().parse::<f64>().unwrap();
                (theirs.ceil() - ours).abs() < 1.0
                    || (theirs > most && ours.total_cmp(&most).is_eq())
            }
        }
    }
}

fn hex(text: &str) -> String {
    let mut hex = String::new();
    for byte in text.bytes() {
        write!(hex, "{byte:02x}").unwrap();
    }
    hex
}

/// serde's reading, in the words of the others.
fn serde(body: &[u8]) -> String {
    let Ok(Value::Object(seen)) = serde_json::from_slice::<Value>(body) else {
        return "x".to_owned();
    };
    let model = match seen.get("model") {
        Some(Value::String(text)) => hex(text),
        Some(_) => "!".to_owned(),
        None => "-".to_owned(),
    };
    let stream = match seen.get("stream") {
        Some(Value::Bool(flag)) => flag.to_string(),
        Some(Value::Null) | None => "-".to_owned(),
        Some(_) => "!".to_owned(),
    };
    let limit = match seen.get("max_tokens") {
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Null) | None => "-".to_owned(),
        Some(_) => "!".to_owned(),
    };
    format!("{model}|{stream}|{limit}")
}

/// A parser in a process of its own.
struct Judge {
    name: &'static str,
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Judge {
    fn start(name: &'static str, command: &mut Command) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self {
            name,
            child,
            answers,
        }
    }

    fn ask(&mut self, bodies: &[&[u8]]) -> Vec<String> {
        let into = self.child.stdin.as_mut().unwrap();
        let answers = &mut self.answers;
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for body in bodies {
                    let length = u32::try_from(body.len()).unwrap();
                    into.write_all(&length.to_be_bytes()).unwrap();
                    into.write_all(body).unwrap();
                }
                into.flush().unwrap();
            });
            let lines = answers.lines().take(bodies.len());
            lines.map(Result::unwrap).collect()
        })
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn judges(dir: &std::path::Path) -> Vec<Judge> {
    let mut judges = Vec::new();
    if has("go", "version") {
        judges.push(Judge::start("go", &mut Command::new(go("judge.go", dir))));
    }
    if has("python3", "--version") {
        let mut command = Command::new("python3");
        judges.push(Judge::start("python", command.arg(source("judge.py"))));
    }
    if has("node", "--version") {
        let mut command = Command::new("node");
        judges.push(Judge::start("node", command.arg(source("judge.mjs"))));
    }
    judges
}

#[test]
fn every_parser_reads_what_was_judged() {
    let bodies = setting("IRIS_GATE_BODIES").and_then(|many| usize::try_from(many).ok());
    let bodies = bodies.unwrap_or(BODIES);
    let seed = setting("IRIS_GATE_SEED").unwrap_or(1);
    let dir = tempfile::tempdir().unwrap();
    let mut judges = judges(dir.path());
    let mut random = Random::new(seed);
    let apis = PATHS.map(|path| {
        let meant = |api: &&&Format| api.recognises(&http::Method::POST, path);
        (*ALL.iter().find(meant).unwrap(), path)
    });
    let (mut done, mut accepted) = (0, 0);
    while done < bodies {
        let mut judged = Vec::new();
        for _ in 0..AT_ONCE.min(bodies - done) {
            let (api, path) = apis[random.below(apis.len())];
            let body = body(&mut random);
            let renamed = random.once_in(4);
            judged.extend(judge(api, path, &body, renamed));
            done += 1;
        }
        accepted += judged.len();
        let sent: Vec<&[u8]> = judged.iter().map(|one| &one.sent[..]).collect();
        let own = sent.iter().map(|body| serde(body)).collect();
        let mut readings = vec![("serde", own)];
        readings.extend(
            judges
                .iter_mut()
                .map(|judge| (judge.name, judge.ask(&sent))),
        );
        for (name, lines) in readings {
            assert_eq!(lines.len(), judged.len(), "{name} has ended");
            for (line, one) in lines.iter().zip(&judged) {
                let differs = one.differs(line);
                assert!(
                    differs.is_none(),
                    "{name} reads another {differs:?}, {line}, with seed {seed} in \"{}\", judged {:?} {} {:?}",
                    one.sent.escape_ascii(),
                    one.model,
                    one.call.stream,
                    one.call.answer_limit
                );
            }
        }
    }
    say(&format!("{accepted} of {done} bodies were accepted"));
    assert!(
        accepted > done / 8,
        "{accepted} of {done} is too few to tell"
    );
}
