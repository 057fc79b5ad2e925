//! Bodies that are small until they are decompressed or parsed.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::process::say;
use crate::server::Server;

const MIB: usize = 1024 * 1024;
/// How long each body is.
const LENGTH: usize = 16 * MIB;
/// What a body may take at most, as a multiple of itself.
const TIMES: u64 = 3;
/// What a compressed one may take, in KiB: 8 MiB that are opened whatever its length was, and the
/// window of its coding.
const PACKED: u64 = 20 * 1024;

/// Sends a body; the status that comes, and in which time.
fn post(server: &Server, path: &str, more: &str, body: &[u8]) -> (u16, Duration) {
    let mut stream = TcpStream::connect(server.at).unwrap();
    let patience = Some(Duration::from_mins(2));
    stream.set_read_timeout(patience).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n{more}content-length: {}\r\nconnection: close\r\n\r\n",
        server.at,
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    // A server that refuses early doesn't read all of it.
    let _ = stream.write_all(body);
    let begun = Instant::now();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1).and_then(|word| word.parse().ok());
    (status.unwrap_or_default(), begun.elapsed())
}

/// `start`, `piece` as often as there is room for it, and `end`.
fn filled(start: &str, piece: &str, end: &str) -> String {
    let times = (LENGTH - start.len() - end.len()) / piece.len();
    format!("{start}{}{end}", piece.repeat(times))
}

fn many_keys() -> String {
    let mut body = r#"{"model":"m""#.to_owned();
    let mut nth = 0;
    while body.len() < LENGTH - 40 {
        write!(body, ",\"k{nth}\":0").unwrap();
        nth += 1;
    }
    body + "}"
}

const CHAT: &str = "/v1/chat/completions";
const GEMINI: &str = "/v1beta/models/m:generateContent";
const BATCH: &str = "/v1beta/models/m:batchEmbedContents";

/// What it is, where it goes, and the status: 502 where all of it was read and passed on, to a
/// provider that is not there.
fn bombs() -> Vec<(&'static str, &'static str, String, u16)> {
    let short = "\"sixteen bytes..\",";
    let inside = |before: &str, piece: &str, after: &str| {
        let last = piece.strip_suffix(',').unwrap();
        filled(before, piece, &format!("{last}{after}"))
    };
    let x = |piece: &str| inside(r#"{"model":"m","x":["#, piece, "]}");
    let messages = |piece: &str| inside(r#"{"model":"m","messages":["#, piece, "]}");
    let tools = |piece: &str| inside(r#"{"model":"m","tools":["#, piece, "]}");
    let parts = |piece: &str| inside(r#"{"contents":[{"parts":["#, piece, "]}]}");
    let requests = |piece: &str| inside(r#"{"requests":["#, piece, "]}");
    let start = r#"{"model":"m","x":"#;
    vec![
        ("lists in lists", CHAT, filled(start, "[", ""), 400),
        ("objects in objects", CHAT, filled(start, "{\"\":", ""), 400),
        ("empty objects", CHAT, x("{\"\":0},"), 400),
        ("short numbers", CHAT, x("0,"), 400),
        ("short texts", CHAT, x(short), 502),
        ("many keys", CHAT, many_keys(), 400),
        (
            "escapes",
            CHAT,
            filled(&format!("{start}\""), "\\u0041", "\"}"),
            502,
        ),
        ("one number", CHAT, filled(start, "1", "}"), 400),
        (
            "white space",
            CHAT,
            filled("{\"model\":\"m\"", " ", "}"),
            502,
        ),
        (
            "messages",
            CHAT,
            messages("{\"\":\"thirty bytes, near..\"},"),
            400,
        ),
        ("texts as messages", CHAT, messages(short), 502),
        (
            "tools",
            CHAT,
            tools("{\"name\":\"thirty bytes, all\"},"),
            400,
        ),
        ("texts as tools", CHAT, tools(short), 502),
        ("parts", GEMINI, parts(short), 502),
        (
            "requests",
            BATCH,
            requests("{\"content\":\"fifty bytes, in all..........\"},"),
            400,
        ),
        ("short requests", BATCH, requests("{},"), 400),
        ("texts as requests", BATCH, requests(short), 400),
    ]
}

#[test]
fn a_body_takes_three_times_itself_at_most() {
    let mut wrong = Vec::new();
    for (name, path, body, expected) in bombs() {
        // Each for itself: memory that was taken once is not given back at once.
        let server = Server::start();
        assert_eq!(post(&server, CHAT, "", br#"{"model":"m"}"#).0, 502);
        server.forget_peak();
        let (before, cpu) = (server.resident(), server.cpu());
        let (status, after) = post(&server, path, "", body.as_bytes());
        let grown = server.peak().saturating_sub(before);
        let cpu = server.cpu() - cpu;
        let bound = TIMES * u64::try_from(body.len()).unwrap() / 1024;
        let length = u64::try_from(body.len() / MIB).unwrap();
        say(&format!(
            "{name}: {status} after {after:?}, {} KiB of {bound}, {} ms of processor a MiB",
            grown,
            cpu / length.max(1)
        ));
        if status != expected || grown > bound {
            wrong.push(format!("{name}: {status}, {grown} KiB of {bound}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut coder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    coder.write_all(bytes).unwrap();
    coder.finish().unwrap()
}

/// Bombs of 64 MiB of zeros, by their coding, with the status of their refusal.
fn packed_bombs() -> Vec<(&'static str, Vec<u8>, u16)> {
    let zeros = vec![0; 64 * MIB];
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    zlib.write_all(&zeros).unwrap();
    let once = gzip(&zeros);
    vec![
        ("gzip", once.clone(), 413),
        ("x-gzip", once.clone(), 413),
        ("gzip, gzip", gzip(&once), 415),
        ("deflate", zlib.finish().unwrap(), 413),
        ("zstd", zstd::encode_all(&zeros[..], 19).unwrap(), 413),
        (
            "zstd",
            zstd::encode_all(&zeros[..8 * MIB], 19).unwrap(),
            400,
        ),
        // Not what it says.
        ("br", vec![0x5b; 64 * 1024], 400),
        ("identity", once.clone(), 400),
        ("unknown", once, 415),
    ]
}

#[test]
fn what_is_compressed_opens_within_bounds() {
    let server = Server::start();
    let bombs = packed_bombs();
    post(&server, CHAT, "content-encoding: gzip\r\n", &bombs[0].1);
    for (coding, body, expected) in bombs {
        server.forget_peak();
        let before = server.resident();
        let more = format!("content-encoding: {coding}\r\n");
        let (status, after) = post(&server, CHAT, &more, &body);
        let grown = server.peak().saturating_sub(before);
        say(&format!("{coding}: {status} after {after:?}, {grown} KiB"));
        assert_eq!(status, expected, "{coding}");
        assert!(grown <= PACKED, "{coding}: {grown} KiB");
        // Called what it is not.
        let (status, _) = post(&server, CHAT, "", &body);
        assert_eq!(status, 400, "{coding}");
    }
}

#[test]
fn many_bombs_at_once_take_little_more_than_a_few() {
    let server = Server::start();
    let zeros = vec![0; 64 * MIB];
    let bomb = zstd::encode_all(&zeros[..], 19).unwrap();
    drop(zeros);
    let more = "content-encoding: zstd\r\n";
    post(&server, CHAT, more, &bomb);
    server.forget_peak();
    let before = server.resident();
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| assert_eq!(post(&server, CHAT, more, &bomb).0, 413));
        }
    });
    let grown = server.peak().saturating_sub(before);
    let processors = std::thread::available_parallelism().map_or(2, usize::from);
    say(&format!(
        "64 bombs at once on {processors} processors: {grown} KiB"
    ));
    assert!(
        grown <= PACKED * u64::try_from(processors).unwrap().max(2),
        "{grown} KiB"
    );
}

#[test]
fn what_is_too_long_is_refused_before_it_has_come() {
    let server = Server::start();
    let mut stream = TcpStream::connect(server.at).unwrap();
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: 100000000000\r\n\r\n{{",
        server.at
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(2)))
        .unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
}
