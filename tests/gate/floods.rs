//! Floods of HTTP/2, each of which is limited: other callers are served in the meantime, memory does not
//! grow, and the connection ends or makes no progress.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::process::say;
use crate::server::Server;
use support::malformed::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GET, GOAWAY, HEADERS, PING, POST, PREFACE,
    PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame, frames, head, text,
};

/// What a flood may take of memory, in KiB.
const MEMORY: u64 = 16 * 1024;
/// How long a flood goes on.
const TIME: Duration = Duration::from_secs(3);
/// In which anybody else is answered.
const OTHERS: Duration = Duration::from_secs(2);

/// How often a frame is sent that asks for nothing.
const SMALL: u32 = 400_000;

struct Flood {
    name: &'static str,
    /// What is sent after the preface.
    first: fn() -> Vec<u8>,
    /// What is sent for the n-th time.
    each: fn(u32, SocketAddr) -> Vec<u8>,
    times: u32,
    /// The caller reads what comes.
    reads: bool,
    /// The gateway ends the connection.
    ends: bool,
}

fn no_settings() -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[])
}

fn asked(nth: u32, host: SocketAddr) -> Vec<u8> {
    frame(
        HEADERS,
        END_HEADERS | END_STREAM,
        nth * 2 + 1,
        &head(GET, "/healthz", host),
    )
}

const FLOODS: [Flood; 16] = [
    Flood {
        name: "rapid reset",
        first: no_settings,
        each: |nth, host| {
            let reset = frame(RST_STREAM, 0, nth * 2 + 1, &8_u32.to_be_bytes());
            [asked(nth, host), reset].concat()
        },
        times: 50_000,
        reads: true,
        ends: true,
    },
    Flood {
        name: "resets that the gateway is made to send",
        first: no_settings,
        each: |nth, host| {
            let nothing = frame(WINDOW_UPDATE, 0, nth * 2 + 1, &[0; 4]);
            [asked(nth, host), nothing].concat()
        },
        times: 50_000,
        reads: true,
        ends: true,
    },
    Flood {
        name: "a head that never ends",
        first: no_settings,
        each: |nth, host| match nth {
            0 => frame(HEADERS, END_STREAM, 1, &head(GET, "/healthz", host)),
            _ => frame(CONTINUATION, 0, 1, &[0, 1, b'x', 1, b'y']),
        },
        times: 200_000,
        reads: true,
        ends: true,
    },
    Flood {
        name: "a head of empty pieces",
        first: no_settings,
        each: |nth, host| match nth {
            0 => frame(HEADERS, END_STREAM, 1, &head(GET, "/healthz", host)),
            _ => frame(CONTINUATION, 0, 1, &[]),
        },
        times: 200_000,
        reads: true,
        ends: true,
    },
    Flood {
        name: "a head of 64 MiB",
        first: no_settings,
        each: |nth, host| {
            let mut block = head(GET, "/healthz", host);
            if nth == 0 {
                return frame(HEADERS, END_STREAM, 1, &block);
            }
            block = vec![0];
            text(&mut block, b"x");
            text(&mut block, &[b'y'; 16_000]);
            frame(CONTINUATION, 0, 1, &block)
        },
        times: 4_000,
        reads: true,
        ends: true,
    },
    Flood {
        name: "pings",
        first: no_settings,
        each: |_, _| frame(PING, 0, 0, &[7; 8]),
        times: SMALL,
        reads: true,
        ends: false,
    },
    Flood {
        name: "pings whose answers nobody reads",
        first: no_settings,
        each: |_, _| frame(PING, 0, 0, &[7; 8]),
        times: SMALL,
        reads: false,
        ends: false,
    },
    Flood {
        name: "settings",
        first: no_settings,
        each: |nth, _| {
            frame(
                SETTINGS,
                0,
                0,
                &[0, 4, 0, 0, 0xff, u8::try_from(nth % 256).unwrap()],
            )
        },
        times: SMALL,
        reads: true,
        ends: false,
    },
    Flood {
        name: "settings whose answers nobody reads",
        first: no_settings,
        each: |_, _| frame(SETTINGS, 0, 0, &[]),
        times: SMALL,
        reads: false,
        ends: false,
    },
    Flood {
        name: "windows",
        first: no_settings,
        each: |_, _| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
        times: SMALL,
        reads: true,
        ends: false,
    },
    Flood {
        name: "priorities",
        first: no_settings,
        each: |nth, _| frame(PRIORITY, 0, nth % 10_000 * 2 + 1, &[0, 0, 0, 0, 1]),
        times: SMALL,
        reads: true,
        ends: false,
    },
    Flood {
        name: "empty data",
        first: no_settings,
        each: |nth, host| match nth {
            0 => frame(HEADERS, END_HEADERS, 1, &head(POST, "/healthz", host)),
            _ => frame(DATA, 0, 1, &[]),
        },
        times: SMALL,
        reads: true,
        ends: true,
    },
    Flood {
        name: "streams that stay open",
        first: no_settings,
        each: |nth, host| {
            frame(
                HEADERS,
                END_HEADERS,
                nth * 2 + 1,
                &head(POST, "/v1/messages", host),
            )
        },
        times: 50_000,
        reads: true,
        ends: true,
    },
    Flood {
        name: "answers that may not be sent",
        first: || frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]),
        each: |nth, host| {
            let head = head(GET, "/v1/models", host);
            frame(HEADERS, END_HEADERS | END_STREAM, nth * 2 + 1, &head)
        },
        times: 20_000,
        reads: true,
        ends: true,
    },
    Flood {
        name: "as many of them as may be",
        first: || frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]),
        each: |nth, host| {
            let head = head(GET, "/v1/models", host);
            frame(HEADERS, END_HEADERS | END_STREAM, nth * 2 + 1, &head)
        },
        times: 100,
        reads: true,
        ends: false,
    },
    Flood {
        name: "one field named again and again",
        first: no_settings,
        each: |nth, host| {
            let mut block = head(GET, "/healthz", host);
            if nth == 0 {
                // Kept in the table, as its first.
                block.push(0x40);
                text(&mut block, b"x");
                text(&mut block, &[b'y'; 4_000]);
            } else {
                block.extend([0xbe; 15_000]);
            }
            frame(HEADERS, END_HEADERS | END_STREAM, nth * 2 + 1, &block)
        },
        times: 2_000,
        reads: true,
        ends: true,
    },
];

/// What came of one.
#[derive(Debug, Default)]
struct Outcome {
    sent: u32,
    bytes: usize,
    /// The reason of a `GOAWAY`.
    goaway: Option<u32>,
    closed: bool,
    resets: u32,
}

fn flood(flood: &Flood, at: SocketAddr) -> Outcome {
    let mut stream = TcpStream::connect(at).unwrap();
    let reading = stream.try_clone().unwrap();
    let mut outcome = Outcome::default();
    std::thread::scope(|scope| {
        let until = Instant::now() + TIME;
        let reader = scope.spawn(move || flood.reads.then(|| listen(reading, until)));
        stream
            .set_write_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        let mut batch = [PREFACE.to_vec(), (flood.first)()].concat();
        for nth in 0..flood.times {
            batch.extend((flood.each)(nth, at));
            if batch.len() > 32_000 || nth + 1 == flood.times {
                if stream.write_all(&batch).is_err() || Instant::now() > until {
                    break;
                }
                outcome.sent = nth + 1;
                outcome.bytes += batch.len();
                batch.clear();
            }
        }
        if let Some(heard) = reader.join().unwrap() {
            outcome = Outcome {
                sent: outcome.sent,
                bytes: outcome.bytes,
                ..heard
            };
        }
    });
    outcome
}

/// Reads to the end, or until it is time.
fn listen(mut stream: TcpStream, until: Instant) -> Outcome {
    let (mut outcome, mut held, mut buffer) = (Outcome::default(), Vec::new(), vec![0; 65_536]);
    stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    while Instant::now() < until {
        match stream.read(&mut buffer) {
            Ok(0) => outcome.closed = true,
            Ok(length) => held.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(_) => outcome.closed = true,
        }
        let (found, taken) = frames(&held);
        for (kind, payload) in found {
            match kind {
                GOAWAY => {
                    let code = payload[4..8].try_into().unwrap();
                    outcome.goaway = Some(u32::from_be_bytes(code));
                }
                RST_STREAM => outcome.resets += 1,
                _ => {}
            }
        }
        held.drain(..taken);
        if outcome.closed {
            break;
        }
    }
    outcome
}

/// Runs a flood beside others, who ask fifty times a second. Gives what came of it, the most memory
/// that was seen, and the longest wait of the others.
fn beside_others(one: &Flood, server: &Server) -> (Outcome, u64, Duration) {
    let (mut most, mut longest) = (0, Duration::ZERO);
    let outcome = std::thread::scope(|scope| {
        let running = scope.spawn(|| flood(one, server.at));
        while !running.is_finished() {
            let begun = Instant::now();
            assert_eq!(server.ask(OTHERS), Some(200), "beside {}", one.name);
            longest = longest.max(begun.elapsed());
            most = most.max(server.resident());
            std::thread::park_timeout(Duration::from_millis(20));
        }
        running.join().unwrap()
    });
    (outcome, most, longest)
}

/// Milliseconds of processor for each MiB of the cheapest requests that there are, one after the other
/// on one connection.
fn cost_of_requests(server: &Server) -> f64 {
    const TIMES: usize = 4_000;
    let mut stream = TcpStream::connect(server.at).unwrap();
    let request = format!("GET /healthz HTTP/1.1\r\nhost: {}\r\n\r\n", server.at);
    let cpu = server.cpu();
    let mut writer = stream.try_clone().unwrap();
    let all = request.repeat(TIMES);
    std::thread::scope(|scope| {
        scope.spawn(move || writer.write_all(all.as_bytes()).unwrap());
        let (mut answers, mut buffer, mut last) = (0, vec![0; 65_536], Vec::new());
        while answers < TIMES {
            let length = stream.read(&mut buffer).unwrap();
            assert!(length > 0, "{answers} answers");
            last.extend_from_slice(&buffer[..length]);
            let found = memchr::memmem::find_iter(&last, b"HTTP/1.1 200 ").count();
            answers += found;
            // What may be the beginning of the next.
            let rest = memchr::memmem::rfind(&last, b"HTTP/1.1 200 ").map_or(0, |at| at + 1);
            last.drain(..rest.max(last.len().saturating_sub(12)));
        }
    });
    number(server.cpu() - cpu) / mib(request.len() * TIMES)
}

fn number(number: impl TryInto<u32>) -> f64 {
    number.try_into().map_or(f64::MAX, f64::from)
}

fn mib(bytes: usize) -> f64 {
    number(bytes) / f64::from(1 << 20)
}

#[test]
fn floods_drown_nobody() {
    let server = Server::start();
    for _ in 0..50 {
        assert_eq!(server.ask(OTHERS), Some(200));
    }
    let requests = cost_of_requests(&server);
    say(&format!(
        "requests: {requests:.0} ms of processor for each MiB"
    ));
    let mut wrong = Vec::new();
    for one in &FLOODS {
        let (before, cpu) = (server.resident(), server.cpu());
        let (outcome, most, longest) = beside_others(one, &server);
        let (grown, cpu) = (most.saturating_sub(before), server.cpu() - cpu);
        say(&format!(
            "{}: {outcome:?}, {grown} KiB, {cpu} ms of processor, others waited {longest:?}",
            one.name
        ));
        if grown > MEMORY {
            wrong.push(format!("{}: {grown} KiB", one.name));
        }
        // A flood could use more of the processor with ordinary requests.
        let cost = number(cpu) / mib(outcome.bytes);
        if one.times == SMALL && outcome.bytes > 0 && cost > requests {
            wrong.push(format!("{}: {cost:.0} ms for each MiB", one.name));
        }
        if one.ends && !outcome.closed {
            wrong.push(format!("{}: the connection lives on", one.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
