//! The lines of a batch's input, read one after the other.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use serde_json::Value;
use serde_json::value::RawValue;

use super::bad;
use super::family::Family;
use crate::formats::openai_batches::{Flaw, error_line};
use crate::formats::{self, Call, Format, Head};
use crate::wire::Rejection;

/// Lines of a batch, as OpenAI has it.
const MOST_LINES: u64 = 50_000;
/// Different models of a batch.
const MOST_MODELS: usize = 32;
/// Flaws that a batch names.
const MOST_FLAWS: usize = 20;
/// Characters that are shown of what is wrong with a line.
const MOST_WORDS: usize = 300;

/// What is read of an input.
pub(super) enum NextLine {
    Line(Vec<u8>),
    /// It has more bytes than a request may have.
    TooLong,
    End,
}

/// An input, from some line on.
pub(super) struct Input {
    reader: BufReader<File>,
    /// Where the next line begins.
    at: u64,
    longest: usize,
}

impl Input {
    /// Begins to read at a line, of which each may have up to `longest` bytes.
    pub(super) fn open(mut file: File, at: u64, longest: usize) -> io::Result<Self> {
        file.seek(SeekFrom::Start(at))?;
        let reader = BufReader::new(file);
        Ok(Self {
            reader,
            at,
            longest,
        })
    }

    /// Where the next line begins.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// The next line that isn't blank.
    pub(super) fn line(&mut self) -> io::Result<NextLine> {
        loop {
            let mut line = Vec::new();
            let most = self.longest as u64 + 1;
            let length = (&mut self.reader).take(most).read_until(b'\n', &mut line)?;
            self.at += length as u64;
            if length == 0 {
                return Ok(NextLine::End);
            }
            if line.len() > self.longest && !line.ends_with(b"\n") {
                self.at += skip(&mut self.reader)?;
                return Ok(NextLine::TooLong);
            }
            if !line.trim_ascii().is_empty() {
                return Ok(NextLine::Line(line));
            }
        }
    }
}

/// Skips the rest of a line. Returns how many bytes that were.
fn skip(reader: &mut BufReader<File>) -> io::Result<u64> {
    let mut skipped = 0;
    loop {
        let (length, is_end) = {
            let piece = reader.fill_buf()?;
            match memchr::memchr(b'\n', piece) {
                Some(at) => (at + 1, true),
                None => (piece.len(), piece.is_empty()),
            }
        };
        reader.consume(length);
        skipped += length as u64;
        if is_end {
            return Ok(skipped);
        }
    }
}

/// What a whole input asks for.
#[derive(Default)]
pub(super) struct Scanned {
    pub(super) total: u64,
    /// The models, each with the first line that names it.
    pub(super) models: BTreeMap<String, u64>,
    /// What is wrong with it.
    pub(super) flaws: Vec<Value>,
}

impl Scanned {
    /// Reads all lines.
    pub(super) fn of(
        input: &mut Input,
        family: Family,
        format: &Format,
        endpoint: &str,
    ) -> io::Result<Self> {
        let mut scanned = Self::default();
        let mut ids = HashSet::new();
        loop {
            let line = match input.line()? {
                NextLine::End => break,
                NextLine::TooLong => {
                    scanned.total += 1;
                    let why = "this line is longer than a request may be".to_owned();
                    scanned.flaw(&Flaw::new("line_too_long", None, why));
                    continue;
                }
                NextLine::Line(line) => line,
            };
            scanned.total += 1;
            if scanned.total > MOST_LINES {
                let why = format!("a batch has at most {MOST_LINES} lines");
                scanned.flaw(&Flaw::new("too_many_requests", None, why));
                break;
            }
            let (id, call) = understood(&line, family, format, endpoint);
            match call {
                Ok(call) => {
                    if family.names_differ() && !ids.insert(id) {
                        let why = "another line has the same custom_id".to_owned();
                        scanned.flaw(&Flaw::new("duplicate_custom_id", Some("custom_id"), why));
                    }
                    let nth = scanned.total;
                    scanned.models.entry(call.model.to_string()).or_insert(nth);
                }
                Err(flaw) => scanned.flaw(&flaw),
            }
            if scanned.models.len() > MOST_MODELS {
                let why = format!("a batch names at most {MOST_MODELS} models");
                scanned.flaw(&Flaw::new("too_many_models", Some("model"), why));
                break;
            }
            if scanned.flaws.len() >= MOST_FLAWS {
                break;
            }
        }
        if scanned.total == 0 {
            let why = "the file has no lines".to_owned();
            scanned.flaw(&Flaw::new("empty_file", None, why));
        }
        Ok(scanned)
    }

    /// The same without flaws, for APIs that make no batch which has some. They call a line `what`.
    ///
    /// # Errors
    /// A 400 that names the first flaw.
    pub(super) fn flawless(self, what: &str) -> Result<Self, Rejection> {
        let Some(flaw) = self.flaws.first() else {
            return Ok(self);
        };
        let message = flaw["message"].as_str().unwrap_or_default();
        let why = match flaw["line"].as_u64() {
            Some(line) if line > 0 => format!("{what} {line}: {message}"),
            _ => message.to_owned(),
        };
        Err(bad("invalid_request", why))
    }

    /// Notes what is wrong with the line that was read last.
    fn flaw(&mut self, flaw: &Flaw) {
        let message = flaw.message.chars().take(MOST_WORDS).collect();
        let flaw = Flaw::new(flaw.code, flaw.param, message);
        self.flaws.push(error_line(&flaw, self.total));
    }
}

/// The format of requests for an endpoint.
pub(super) fn line_format(endpoint: &str) -> Option<&'static Format> {
    let mut all = formats::ALL.into_iter();
    all.find(|format| format.recognises(&Method::POST, endpoint))
}

/// What a line is called, and what it asks for.
pub(super) fn understood(
    line: &[u8],
    family: Family,
    format: &Format,
    endpoint: &str,
) -> (String, Result<Call, Flaw>) {
    match family.line(line, endpoint) {
        Ok((custom_id, body)) => (custom_id, call(body, format, endpoint)),
        Err(flaw) => (String::new(), Err(flaw)),
    }
}

fn call(body: &RawValue, format: &Format, endpoint: &str) -> Result<Call, Flaw> {
    let mut headers = HeaderMap::new();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    let head = Head {
        path: endpoint,
        query: None,
        headers: &headers,
    };
    let body = Bytes::copy_from_slice(body.get().as_bytes());
    let call = format.read(&head, body).map_err(|rejection| {
        let why = rejection.message.into_owned();
        Flaw::new("invalid_request", Some("body"), why)
    })?;
    if call.background {
        let why = "a line of a batch can't be answered in the background".to_owned();
        return Err(Flaw::new("invalid_request", Some("background"), why));
    }
    if call.stream {
        let why = "a line of a batch can't ask for a stream".to_owned();
        return Err(Flaw::new("invalid_request", Some("stream"), why));
    }
    Ok(call)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAT: &str = "/v1/chat/completions";

    fn input(text: &str, longest: usize) -> Input {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("input");
        std::fs::write(&path, text).unwrap();
        Input::open(File::open(path).unwrap(), 0, longest).unwrap()
    }

    fn line(id: &str, model: &str, more: &str) -> String {
        format!(
            r#"{{"custom_id":"{id}","method":"POST","url":"{CHAT}","body":{{"model":"{model}","messages":[]{more}}}}}"#
        )
    }

    fn scan(text: &str) -> Scanned {
        let format = line_format(CHAT).unwrap();
        Scanned::of(&mut input(text, 1_000), Family::OpenAi, format, CHAT).unwrap()
    }

    #[test]
    fn lines_are_found_again_where_they_begin() {
        let long = "x".repeat(50);
        let mut input = input(&format!("one\r\n\n{long}\ntwo"), 10);
        let NextLine::Line(one) = input.line().unwrap() else {
            panic!("a line")
        };
        assert_eq!((one.trim_ascii(), input.at()), (&b"one"[..], 5));
        assert!(matches!(input.line().unwrap(), NextLine::TooLong));
        assert_eq!(input.at(), 57);
        assert!(matches!(input.line().unwrap(), NextLine::Line(two) if two == b"two"));
        assert_eq!(input.at(), 60);
        assert!(matches!(input.line().unwrap(), NextLine::End));
    }

    #[test]
    fn an_input_names_its_models_and_what_is_wrong_with_it() {
        let good = scan(&[line("a", "m", ""), line("b", "n", ""), line("c", "m", "")].join("\n"));
        assert!(good.flaws.is_empty(), "{:?}", good.flaws);
        assert_eq!(good.total, 3);
        let models: Vec<_> = good.models.into_iter().collect();
        assert_eq!(models, [("m".to_owned(), 1), ("n".to_owned(), 2)]);
        for (text, code, nth) in [
            (
                line("a", "m", "") + "\n" + &line("a", "m", ""),
                "duplicate_custom_id",
                2,
            ),
            (line("a", "m", r#","stream":true"#), "invalid_request", 1),
            (line("a", "", ""), "invalid_request", 1),
            ("\n\n".to_owned(), "empty_file", 0),
            ("{".to_owned(), "invalid_json_line", 1),
            (line(&"a".repeat(2_000), "m", ""), "line_too_long", 1),
        ] {
            let flaws = scan(&text).flaws;
            let first = (flaws[0]["code"].as_str(), flaws[0]["line"].as_u64());
            assert_eq!(first, (Some(code), Some(nth)), "{text}");
        }
        let many: Vec<_> = (0..100).map(|_| "{").collect();
        assert_eq!(scan(&many.join("\n")).flaws.len(), MOST_FLAWS);
    }
}
